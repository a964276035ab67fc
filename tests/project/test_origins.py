"""A message about a wrong setting names what the operator wrote: an option, a variable or a key of the file."""

import json
import sys
from pathlib import Path

import pytest

from research_gateway.cli import app
from research_shared.base_errors import ConfigurationError
from research_shared.settings import Settings

SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"
INSIDE = SAMPLES / "index"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory that holds nothing, and no line that starts logging for the whole test run."""
    monkeypatch.setattr(sys, "argv", ["research-assistant"])
    monkeypatch.setattr("research_shared.serving.run.configure_logging", lambda *_, **__: None)
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda *_, **__: None)
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path


def line_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that cannot work. Return the one line that it prints."""
    try:
        status = app(arguments, result_action="return_value")
    except SystemExit as end:
        status = end.code
    assert status == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    return line.removeprefix("research-assistant: ")


@pytest.mark.parametrize(
    ("arguments", "variables", "line"),
    [
        *(
            (
                [*command, "--root", "/nowhere/x"],
                {"RESEARCH_ROOTS": str(SAMPLES)},
                "--root: /nowhere/x is not a directory: create it, or name another with --root DIR",
            )
            for command in (
                ["serve"],
                ["search", "x"],
                ["ask", "x"],
                ["list"],
                ["policy", "check"],
                ["worker"],
            )
        ),
        (
            ["config", "--root", str(SAMPLES), "--root", f"b={SAMPLES}"],
            {},
            f"--root: allowed: each directory once; {SAMPLES} is given twice",
        ),
        (["serve", "--index", ""], {}, "--index='': allowed: a directory, `auto` or `none`"),
        *(
            (
                [*command, "--root", str(SAMPLES), "--index", str(INSIDE)],
                {"RESEARCH_INDEX_DIR": "/var/index"},
                f"--index={INSIDE} lies inside the research folder samples: name one outside of it",
            )
            for command in (["serve"], ["search", "x"])
        ),
        (
            ["serve", "--index", "/var/index"],
            {"RESEARCH_SEARCH_URL": "http://localhost:9200"},
            (
                "only one of RESEARCH_SEARCH_URL and --index can be set: what is searched on a cluster is not kept "
                "here as well (--index=none)"
            ),
        ),
        (
            ["policy", "check", "--root", str(SAMPLES), "--policy", "/nowhere/policy.toml"],
            {"RESEARCH_POLICY": "/nowhere/other.toml"},
            "--policy=/nowhere/policy.toml: No such file or directory",
        ),
        # What a variable gives is told by the variable.
        (
            ["serve"],
            {"RESEARCH_ROOTS": "/nowhere/x"},
            "RESEARCH_ROOTS: /nowhere/x is not a directory: create it, or name another with --root DIR",
        ),
        (
            ["serve", "--root", str(SAMPLES)],
            {"RESEARCH_INDEX_DIR": str(INSIDE)},
            f"RESEARCH_INDEX_DIR={INSIDE} lies inside the research folder samples: name one outside of it",
        ),
        (
            ["config"],
            {"RESEARCH_PROVIDER": "openai", "RESEARCH_PROVIDER_MODEL": "m", "OPENAI_API_KEY": "schlüssel"},
            "OPENAI_API_KEY=(hidden): allowed: printable ASCII characters, as an HTTP header takes them",
        ),
    ],
)
def test_what_an_option_or_a_variable_gives_is_told_by_its_name(
    arguments: list[str],
    variables: dict[str, str],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert line_of(arguments, capsys) == line


@pytest.mark.parametrize(
    ("content", "arguments", "line"),
    [
        (
            {"roots": ["/nowhere/x"]},
            ["serve"],
            "roots: /nowhere/x is not a directory: create it, or name another with --root DIR",
        ),
        (
            {"roots": [str(SAMPLES), f"b={SAMPLES}"]},
            ["config"],
            f"roots: allowed: each directory once; {SAMPLES} is given twice",
        ),
        (
            {"retry_attempts": 0},
            ["config"],
            "retry_attempts=0: allowed: Input should be greater than or equal to 1",
        ),
        (
            {"index_dir": str(INSIDE)},
            ["serve", "--root", str(SAMPLES)],
            f"index_dir={INSIDE} lies inside the research folder samples: name one outside of it",
        ),
        (
            {"search_url": "http://localhost:9200"},
            ["serve", "--index", "/var/index"],
            (
                "only one of search_url and --index can be set: what is searched on a cluster is not kept here as well "
                "(--index=none)"
            ),
        ),
    ],
)
def test_what_the_file_of_settings_gives_is_told_by_file_and_key(
    content: dict[str, object],
    arguments: list[str],
    line: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = home / "mine.toml"
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in content.items()))
    monkeypatch.setenv("RESEARCH_CONFIG", str(file))
    assert line_of(arguments, capsys) == f"{file}: {line}"


def test_what_the_file_of_a_secret_gives_is_told_by_its_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "keys").write_text("short")
    monkeypatch.setenv("RESEARCH_STATE_KEYS_FILE", str(home / "keys"))
    assert (
        line_of(["config"], capsys)
        == "RESEARCH_STATE_KEYS_FILE=(hidden): allowed: each key needs at least 32 bytes"
    )


def test_the_folder_that_nobody_named_is_told_as_such(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert line_of(["serve"], capsys) == (
        f"the folder used when none is named: {home}/research is not a directory: create it, or name another with --root DIR"
    )


def test_settings_that_were_changed_still_know_where_they_come_from() -> None:
    settings = Settings.load({"RESEARCH_WATCH": "false"}, {"roots": "--root"}, roots="/srv/a")
    changed = settings.without_tasks()
    assert changed.origins.as_written("RESEARCH_ROOTS, RESEARCH_WATCH, RESEARCH_OCR") == (
        "--root, RESEARCH_WATCH, RESEARCH_OCR"
    )
    assert [changed.origins.place_of(name) for name in ("roots", "watch", "ocr")] == [
        "command line",
        "environment",
        "default",
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "provider_url",
        "embedding_url",
        "search_url",
        "documents_url",
        "reasoning_url",
        "otlp_url",
        "auth_jwks_url",
        "public_url",
        "document_url",
    ],
)
def test_an_address_whose_password_has_a_slash_is_refused_without_a_part_of_it(setting: str) -> None:
    variable = f"RESEARCH_{setting.upper()}"
    with pytest.raises(ConfigurationError, match=rf"{variable}=\(hidden\): allowed: an ") as refused:
        Settings.load({variable: "http://user:secretpart/rest@host.example:8080/{path}"})
    assert "secretpart" not in str(refused.value)
