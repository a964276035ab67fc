"""`research-assistant install` and `config`: files of clients and of settings, written without losing anything."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from research_gateway.cli import app
from research_gateway.cli.clients import CLIENTS
from research_gateway.cli.session import shell_settings
from research_shared.base_errors import ConfigurationError
from research_shared.settings import Settings, parse_index_dir


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RESEARCH_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    folder = tmp_path / "my research"
    folder.mkdir()
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        app(list(arguments))
    assert isinstance(end.value.code, int | None)
    return end.value.code or 0


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_the_absolute_command_and_loses_nothing(client: Any, home: Path) -> None:
    file = CLIENTS[client]
    file.path.parent.mkdir(parents=True, exist_ok=True)
    others = {"theme": "dark", file.key: {"other": {"command": "x"}}}
    file.path.write_text(json.dumps(others), encoding="utf-8")
    file.path.chmod(0o640)
    assert run("install", client) == 0
    written = json.loads(file.path.read_text(encoding="utf-8"))
    entry = written[file.key].pop("research")
    assert written == others
    assert Path(entry["command"]).is_absolute()
    assert os.access(entry["command"], os.X_OK)
    assert entry["args"] == ["serve", "--root", str(home / "my research"), "--index", "auto"]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
    assert run("install", client) == 0
    assert run("install", client, "--undo") == 0
    assert json.loads(file.path.read_text(encoding="utf-8")) == others


def test_a_new_file_is_for_its_owner_alone_and_a_dry_run_writes_none(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CLIENTS["cursor"].path
    assert run("install", "cursor", "--dry-run", "--env", "RESEARCH_PROVIDER_KEY=s3cret") == 0
    printed = capsys.readouterr().out
    assert "RESEARCH_PROVIDER_KEY" in printed
    assert "s3cret" not in printed
    assert not file.exists()
    assert run("install", "cursor", "--env", "RESEARCH_PROVIDER_KEY=s3cret") == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["mcpServers"]["research"]["env"] == {
        "RESEARCH_PROVIDER_KEY": "s3cret"
    }


def test_another_server_of_that_name_stays_unless_it_is_to_be_replaced(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CLIENTS["cursor"].path
    file.parent.mkdir()
    before = json.dumps({"mcpServers": {"research": {"command": "theirs"}}})
    file.write_text(before)
    assert run("install", "cursor") == 2
    assert "--replace" in capsys.readouterr().err
    assert run("install", "cursor", "--undo") == 2
    assert file.read_text() == before
    assert run("install", "cursor", "--replace") == 0
    assert "theirs" not in file.read_text()


@pytest.mark.parametrize("content", ["{ // comment\n}", "[]", '{"mcpServers": []}', "\udcff"])
def test_a_file_that_is_not_understood_is_left_alone(
    content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CLIENTS["cursor"].path
    file.parent.mkdir()
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = file.read_bytes()
    assert run("install", "cursor") == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("--name", "a b"), ("--env", "novalue"), ("--root", "/nowhere/at/all")]
)
def test_a_wrong_option_ends_with_one_line(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("install", "cursor", *arguments) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not CLIENTS["cursor"].path.exists()


def test_mcp_json_prints_the_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("install", "mcp-json", "--name", "mine") == 0
    assert list(json.loads(capsys.readouterr().out)["mcpServers"]) == ["mine"]


def test_config_says_where_each_setting_comes_from_and_hides_secrets(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "research.toml"
    file.write_text('log_level = "error"\nretry_attempts = 5\n')
    monkeypatch.setenv("RESEARCH_CONFIG", str(file))
    monkeypatch.setenv("RESEARCH_RETRY_ATTEMPTS", "2")
    monkeypatch.setenv("RESEARCH_PROVIDER", "openai")
    monkeypatch.setenv("RESEARCH_PROVIDER_MODEL", "m")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("RESEARCH_PROVIDER_URL", "https://user:pw@host/v1")
    assert run("config", "--json") == 0
    printed = capsys.readouterr().out
    assert "s3cret" not in printed
    assert "user:pw" not in printed
    listed = {name: (each["value"], each["from"]) for name, each in json.loads(printed).items()}
    assert listed["log_level"] == ("error", str(file))
    assert listed["retry_attempts"] == (2, "environment")
    assert listed["provider_key"][1] == "environment, OPENAI_API_KEY"
    assert listed["max_pages"] == (5_000, "default")
    assert set(listed) == set(Settings.model_fields)


def test_a_written_file_of_settings_gives_the_same_settings(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESEARCH_DOCUMENT_URL", 'https://dms.example/{path}?q="ü\\')
    monkeypatch.setenv("RESEARCH_ALLOWED_HOSTS", "a.example b.example")
    monkeypatch.setenv("RESEARCH_PROVIDER_BODY", '{"think": false, "options": {"num_ctx": 32000}}')
    monkeypatch.setenv("RESEARCH_STATE_KEYS", "k" * 32)
    before = Settings.load()
    file = home / "out.toml"
    assert run("config", "--write-toml", str(file)) == 0
    assert "k" * 32 not in file.read_text(encoding="utf-8")
    assert run("config", "--write-toml", str(file)) == 2  # it is not overwritten
    capsys.readouterr()
    after = Settings.load({"RESEARCH_CONFIG": str(file), "RESEARCH_STATE_KEYS": "k" * 32})
    assert after.model_dump(exclude={"config"}) == before.model_dump(exclude={"config"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("log_levle = 'error'", "did you mean log_level?"),
        ("roots = ", "Invalid value"),
        ("retry_attempts = 0", "wrong.toml: retry_attempts=0: allowed: "),
        ("config = 'x'", "there is no setting config"),
    ],
)
def test_a_wrong_file_of_settings_is_told_in_one_line(home: Path, content: str, said: str) -> None:
    file = home / "wrong.toml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")) as error:
        Settings.load({"RESEARCH_CONFIG": str(file)})
    assert "\n" not in error.value.message


def test_folders_in_a_file_of_settings_are_a_list_or_a_table(home: Path) -> None:
    file = home / "roots.toml"
    for content in ('roots = ["a=/x/y", "/x/z"]', '[roots]\na = "/x/y"\nz = "/x/z"'):
        file.write_text(content)
        settings = Settings.load({"RESEARCH_CONFIG": str(file)})
        assert [(root.name, str(root.directory)) for root in settings.roots] == [("a", "/x/y"), ("z", "/x/z")]


def test_a_named_file_of_settings_has_to_exist(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        Settings.load({"RESEARCH_CONFIG": str(home / "gone.toml")})


@pytest.mark.parametrize("indent", [None, 2])
def test_secrets_of_other_servers_are_not_shown(
    indent: int | None, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CLIENTS["cursor"].path
    file.parent.mkdir()
    other = {"command": "npx", "env": {"GITHUB_TOKEN": "ghpSECRET"}, "headers": {"Authorization": "SECRET2"}}
    file.write_text(json.dumps({"mcpServers": {"github": other}}, indent=indent))
    assert run("install", "cursor") == 0
    printed = capsys.readouterr().out
    assert "SECRET" not in printed
    assert '"research"' in printed
    assert json.loads(file.read_text())["mcpServers"]["github"] == other


def test_an_index_that_settings_name_is_not_overruled(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("install", "mcp-json", "--env", "RESEARCH_INDEX_DIR=/srv/index") == 0
    assert "--index" not in json.loads(capsys.readouterr().out)["mcpServers"]["research"]["args"]


def test_the_index_of_a_shell_is_kept_unless_settings_say_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell_settings(None).index_dir == parse_index_dir("auto")
    assert shell_settings(None, index_dir="none").index_dir is None
    file = home / "memory.toml"
    file.write_text('index_dir = "none"\n', encoding="utf-8")
    monkeypatch.setenv("RESEARCH_CONFIG", str(file))
    assert shell_settings(None).index_dir is None
    monkeypatch.setenv("RESEARCH_INDEX_DIR", str(home / "index"))
    assert shell_settings(None).index_dir == home / "index"


def test_the_key_of_a_provider_in_a_file_of_settings_is_that_of_its_own_variable(home: Path) -> None:
    file = home / "provider.toml"
    file.write_text('provider = "openai"\nprovider_model = "m"\n')
    settings = Settings.load({"RESEARCH_CONFIG": str(file), "OPENAI_API_KEY": "k"})
    assert settings.provider_key is not None
