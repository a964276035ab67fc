"""`research-assistant doctor` finds what was planted, and says what to do about it."""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_gateway.cli import app, doctor
from research_gateway.cli.doctor import Finding, examine
from support.serving import reserved_port


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RESEARCH_", "ANTHROPIC_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CACHE", "STATE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "note.md").write_text("# Note\n", encoding="utf-8")
    monkeypatch.setenv("RESEARCH_ROOTS", str(folder))
    # A command sets up the logging of its whole process, which is that of other tests here.
    monkeypatch.setattr("research_shared.logs.configure_logging", lambda _level, **_: None)
    return home


def found(about: str, **options: Any) -> Finding:
    """Return the one finding about something that is not in order, or the first that is."""
    findings = [finding for finding in examine(**options) if finding.about == about]
    return next((each for each in findings if each.status != "ok"), findings[0])


def test_a_folder_in_order_has_no_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESEARCH_INDEX_DIR", "auto")
    with pytest.raises(SystemExit) as end:
        app(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert {each["status"] for each in findings} <= {"ok", "warning"}
    assert all(each["remedy"] for each in findings if each["status"] != "ok")


LOGIN = {
    "RESEARCH_PUBLIC_URL": "https://research.example",
    "RESEARCH_LOGIN": "google",
    "RESEARCH_LOGIN_CLIENT_ID": "gateway",
    "RESEARCH_LOGIN_CLIENT_SECRET": "a-secret-of-the-client",
}
AT_GOOGLE = {"RESEARCH_LOGIN": "oidc", "RESEARCH_AUTH_ISSUER": "https://accounts.google.com"}
OF_AN_ISSUER = {"RESEARCH_LOGIN": "oidc", "RESEARCH_AUTH_ISSUER": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("changes", "status", "text", "remedy"),
    [
        ({}, "warning", "everybody with a Google account", "RESEARCH_POLICY"),
        (AT_GOOGLE, "warning", "everybody with a Google account", "RESEARCH_POLICY"),
        ({"RESEARCH_POLICY": "policy.toml"}, "ok", "google: clients of https://research.example/mcp", None),
        ({"RESEARCH_LOGIN_DIR": "{tmp}/folder/note.md/login"}, "problem", "Not a directory", "writable"),
        ({"RESEARCH_LOGIN_DIR": "{tmp}/folder"}, "problem", "other users can read", "alone"),
        (OF_AN_ISSUER, "problem", "http://127.0.0.1:1/.well-known/openid-configuration cannot", "issuer"),
    ],
)
def test_a_login_that_lets_nobody_or_everybody_in_is_found(
    changes: dict[str, str],
    status: str,
    text: str,
    remedy: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if changes is AT_GOOGLE:
        monkeypatch.setattr("research_shared.serving.login.discovery.discover", lambda _issuer: None)
    for name, value in {**LOGIN, **changes}.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    finding = found("login", ask_model=False)
    assert (finding.status, text in finding.text) == (status, True), finding
    assert (remedy or "None") in str(finding.remedy)
    assert LOGIN["RESEARCH_LOGIN_CLIENT_SECRET"] not in str(finding)


@pytest.mark.parametrize(
    ("about", "variable", "value", "status", "remedy"),
    [
        ("folder lost", "RESEARCH_ROOTS", "lost={tmp}/lost", "problem", "Create it"),
        ("folder empty", "RESEARCH_ROOTS", "empty={tmp}/home", "warning", "mounted"),
        ("settings", "RESEARCH_RETRY_ATTEMPTS", "0", "problem", "research-assistant config"),
        ("index", "RESEARCH_INDEX_DIR", "{tmp}/folder/index", "problem", "elsewhere"),
        ("index", "RESEARCH_INDEX_DIR", "{tmp}/folder/note.md/index", "problem", "elsewhere"),
        ("index", "RESEARCH_INDEX_DIR", "none", "warning", "RESEARCH_INDEX_DIR=auto"),
        ("watching", "RESEARCH_WATCH", "false", "warning", "RESEARCH_WATCH=true"),
        ("audit", "RESEARCH_AUDIT_LOG", "{tmp}/folder/audit.jsonl", "problem", "elsewhere"),
        ("audit", "RESEARCH_AUDIT_LOG", "{tmp}/missing/audit.jsonl", "problem", "Make the directory"),
        ("audit", "RESEARCH_AUDIT_LOG", "{tmp}/home/audit.jsonl", "warning", "RESEARCH_AUDIT_KEY"),
    ],
)
def test_a_planted_fault_of_the_settings_is_found_with_its_remedy(
    about: str,
    variable: str,
    value: str,
    status: str,
    remedy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value.format(tmp=tmp_path))
    finding = found(about)
    assert finding.status == status
    assert finding.remedy is not None
    assert remedy in finding.remedy


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    (tmp_path / "folder" / "plan.dwg").write_bytes(b"AC1032")
    finding = found("folder folder")
    assert (finding.status, finding.text) == ("warning", "not read: 1 .dwg")


def test_files_that_this_user_cannot_read_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "folder" / "closed.md"
    closed.write_text("x", encoding="utf-8")
    access = os.access  # root may read everything
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed and access(path, mode))
    finding = found("folder folder")
    assert finding.status == "problem"
    assert finding.text == f"1 files or folders cannot be read by this user, such as {closed}"


def test_too_few_watches_for_the_folders_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder" / "sub").mkdir()
    limit = tmp_path / "limit"
    monkeypatch.setattr(doctor, "_INOTIFY_WATCHES", limit)
    limit.write_text("1\n")
    finding = found("watching")
    assert finding.status == "problem"
    assert "fs.inotify.max_user_watches" in str(finding.remedy)
    limit.write_text("2\n")
    assert found("watching").status == "ok"


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (1023, 4096))
    assert found("open files").status == "warning"
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (1024, 4096))
    assert found("open files").status == "ok"


def test_a_model_server_that_is_not_there_is_a_problem_with_the_tools_own_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with reserved_port() as port:
        monkeypatch.setenv("RESEARCH_PROVIDER", "ollama")
        monkeypatch.setenv("RESEARCH_PROVIDER_MODEL", "m")
        monkeypatch.setenv("RESEARCH_PROVIDER_URL", f"http://127.0.0.1:{port}/v1")
        finding = found("model")
        assert found("model", ask_model=False).status == "ok"
    assert finding.status == "problem"
    assert "RESEARCH_PROVIDER_URL" in str(finding.remedy)


def test_a_client_that_starts_a_missing_program_is_a_problem(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    for command, status in (
        ("/gone/research-assistant", "problem"),
        ("research-assistant", "warning"),
        (str(Path(sys.executable).with_name("research-assistant")), "ok"),
    ):
        file.write_text(json.dumps({"mcpServers": {"r": {"command": command, "args": []}}}))
        assert found("Cursor").status == status
    file.write_text("{ // a comment\n}")
    assert found("Cursor").status == "warning"


def test_no_client_at_all_is_a_warning() -> None:
    finding = found("clients")
    assert finding.status == "warning"
    assert "research-assistant install" in str(finding.remedy)


def test_the_state_of_hybrid_search_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "off" in found("hybrid search").text
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("numpy",))
    monkeypatch.setenv("RESEARCH_EMBEDDING_DIR", str(home))
    without_model = found("hybrid search", ask_model=True)
    assert (without_model.status, "has no model.onnx" in without_model.text) == ("problem", True)
    assert "(not asked)" in found("hybrid search", ask_model=False).text
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("numpy", "no_such_package"))
    without_extra = found("hybrid search")
    assert (without_extra.status, without_extra.text) == ("problem", "not installed: no_such_package")
    assert "[semantic]" in (without_extra.remedy or "")
    monkeypatch.delenv("RESEARCH_EMBEDDING_DIR")

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"embedding": [0.5, 0.5]}]})

    monkeypatch.setattr(
        "research_documents.search.semantic.endpoint.EmbeddingEndpoint._default_client",
        lambda _self: httpx.AsyncClient(transport=httpx.MockTransport(answer)),
    )
    monkeypatch.setenv("RESEARCH_EMBEDDING_URL", "http://localhost:1")
    monkeypatch.setenv("RESEARCH_EMBEDDING_MODEL", "minilm")
    assert "answers with 2 components" in found("hybrid search").text
    monkeypatch.setenv("RESEARCH_INDEX_DIR", "auto")
    assert "0 passages are kept" in found("hybrid search").text
