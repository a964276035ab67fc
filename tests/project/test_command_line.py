"""The commands, as a person or a client starts them."""

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from cyclopts import App
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

from research_documents.cli import app as documents_app
from research_gateway.cli import app
from research_shared.base_errors import ConfigurationError
from research_shared.root import Root
from research_shared.serving.commandline import load_settings, refuse_windows
from research_shared.serving.transports.http import check_address
from research_shared.settings import Settings
from support.serving import reserved_port
from support.sizes import FULL

BIN = Path(sys.executable).parent
COMMANDS = ("research-assistant", "research-documents")
SAMPLES = Path(__file__).parents[2] / "gateway" / "research_gateway" / "samples"


def environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RESEARCH_", "ANTHROPIC_", "OPENAI_"))}
    return kept | extra


def run(*command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("RESEARCH_MODEL_ROUTE", "magic", "'auto', 'client', 'provider' or 'extractive'"),
        ("RESEARCH_PROVIDER", "acme", "'anthropic', 'openai', 'azure'"),
        ("RESEARCH_CLIENT_ROOTS", "widen", "'ignore' or 'narrow'"),
        ("RESEARCH_RETRY_ATTEMPTS", "0", "greater than or equal to 1"),
        ("RESEARCH_RETRY_BASE_S", "soon", "number"),
        ("RESEARCH_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("RESEARCH_PROVIDER_URL", "ftp://x", "https?"),
        ("RESEARCH_ROOTS", "/nonexistent-research-folder", "not a directory"),
    ],
)
def test_a_wrong_setting_ends_the_start_with_one_line(
    variable: str,
    value: str,
    allowed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as end:
        app(["serve"])
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.strip().splitlines()
    assert variable in line
    assert value in line
    assert allowed in line


def test_windows_is_told_in_one_line_what_works_instead(capsys: pytest.CaptureFixture[str]) -> None:
    refuse_windows("linux")
    with pytest.raises(SystemExit) as end:
        refuse_windows("win32")
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert all(way in line for way in ("WSL", "container", "HTTP"))


def test_a_key_is_never_printed() -> None:
    result = run("research-documents", "serve", "--root", str(SAMPLES), RESEARCH_STATE_KEYS="short-secret")
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "RESEARCH_STATE_KEYS" in line
    assert "short-secret" not in line


@pytest.mark.parametrize(
    ("command", "mode"),
    [(command, mode) for command in COMMANDS for mode in ("auto", "legacy")]
    if FULL
    else [(COMMANDS[0], "auto")],
)
async def test_a_client_over_stdio_lists_and_searches(command: str, mode: str) -> None:
    transport = StdioTransport(
        str(BIN / command),
        ["serve", "--root", str(SAMPLES)],
        env=environment(RESEARCH_SEARCH_DEADLINE_S="60"),
        keep_alive=False,
    )
    async with Client(transport, mode=mode) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == (
            command,
            version("research-assistant-mcp"),
        )
        listing = await client.call_tool("list_research_documents", {})
        found = await client.call_tool(
            "search_documents", {"query": "burnout score", "file_pattern": "*.pdf"}
        )
    assert listing.structured_content is not None
    assert listing.structured_content["total"] == 11
    assert found.structured_content is not None
    assert found.structured_content["matches"][0]["document"] == "results-report.pdf"


def commands(part: App, *words: str) -> Iterator[tuple[tuple[str, ...], App]]:
    """Yield all commands below a part of a command line, each with its words."""
    if part.default_command is not None:
        yield words, part
    for name in part:
        if not name.startswith("-"):
            yield from commands(part[name], *words, name)


@pytest.mark.parametrize("whole", [app, documents_app], ids=COMMANDS)
def test_each_option_of_each_command_says_what_it_is_for(whole: App) -> None:
    found = dict(commands(whole))
    assert ("serve",) in found
    silent = [
        (words, argument.names)
        for words, command in found.items()
        for argument in command.assemble_argument_collection()
        if argument.show and not argument.parameter.help
    ]
    assert silent == []
    assert [words for words, command in found.items() if not command.help] == []


@contextmanager
def served(command: str, *arguments: str) -> Iterator[int]:
    with reserved_port() as port:
        process = subprocess.Popen(
            [str(BIN / command), "serve", "--transport", "http", "--port", str(port), *arguments],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "running on" in line:
                    break
            assert process.poll() is None
            yield port
        finally:
            process.terminate()
            _, rest = process.communicate(timeout=60)
    assert process.returncode in {0, -15}, rest


@pytest.mark.parametrize("command", ["research-assistant", *(["research-documents"] if FULL else [])])
async def test_http_serves_mcp_and_a_health_check_and_stops_on_sigterm(command: str, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "cost-analysis.pdf", tmp_path)
    with served(command, "--root", f"one={SAMPLES}", "--root", f"two={tmp_path}") as port:
        async with httpx.AsyncClient() as http:
            response = await http.get(f"http://127.0.0.1:{port}/healthz")
        assert response.json()["status"] == "ok"
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            listing = await client.call_tool("list_research_documents", {"file_pattern": "two/*.pdf"})
    assert listing.structured_content is not None
    paths = [document["path"] for document in listing.structured_content["documents"]]
    assert paths == ["two/cost-analysis.pdf"]


@pytest.fixture
def demo_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave this process's logging alone when the demonstration runs in it."""
    monkeypatch.setattr("research_gateway.demo.configure_logging", lambda _level, **_: None)
    monkeypatch.setenv("COLUMNS", "160")
    level = logging.getLogger("uvicorn").level
    yield
    logging.getLogger("uvicorn").setLevel(level)


@pytest.mark.usefixtures("demo_here")
def test_the_demo_shows_the_main_job_and_says_that_no_model_was_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app(["demo"], result_action="return_value") is None
    out, err = capsys.readouterr()
    assert "extractive" in out
    for tool in ("list_research_documents", "search_documents", "summarize_document", "synthesize_research"):
        assert tool in out
    for suffix in ("pdf", "docx", "pptx", "xlsx", "eml", "md"):
        assert re.search(rf"^\S+\.{suffix} +[\d.]+ k?B +\d{{4}}-", out, re.MULTILINE)
    assert re.search(r"synthesize_research .*9/9 answered", out)
    assert 'left out, because the newer version is heard: "results-report (draft).pdf"' in out
    assert "results-report.pdf, page 2, line 17\n" in out
    assert "line 11  older version of results-report.pdf" in out
    assert "quoted “3.9”, the document has “3.4”" in out
    assert "document_not_found: no document has this path" in out
    assert "read_document            denied" in out
    assert "each sealed by the one before; none was changed, added or removed." in out
    assert "Traceback" not in err


@pytest.mark.usefixtures("demo_here")
def test_the_demo_shows_names_and_questions_with_brackets_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "[draft] plan.md").write_text("The plan is to move the harbour [/b].\n", encoding="utf-8")
    question = "What is the plan [/x]?"
    arguments = ["demo", "--question", question, "--root", str(tmp_path)]
    assert app(arguments, result_action="return_value") is None
    out = capsys.readouterr().out
    assert "summarize_document [draft] plan.md" in out
    assert f"synthesize_research {question}" in out


@pytest.mark.usefixtures("demo_here")
def test_the_demo_of_an_empty_folder_says_that_it_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app(["demo", "--root", str(tmp_path)], result_action="return_value") is None
    assert "The folder holds no document." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (["serve", "--root", "~nobody-of-that-name/x"], {}, "--root"),
        (["serve"], {"RESEARCH_ROOTS": "~nobody-of-that-name/x"}, "RESEARCH_ROOTS"),
        (["serve"], {"RESEARCH_ROOTS": "/" + "a" * 300}, "RESEARCH_ROOTS"),
        (["serve"], {"RESEARCH_PROVIDER_URL": "htp://user:sekret@host"}, "RESEARCH_PROVIDER_URL"),
        (["serve"], {"RESEARCH_ROOT": "/tmp"}, "RESEARCH_ROOT; did you mean RESEARCH_ROOTS?"),
        (["serve"], {"RESEARCH_AUDITLOG": "sekret"}, "RESEARCH_AUDITLOG; did you mean RESEARCH_AUDIT_LOG?"),
        (["serve"], {"RESEARCH_ZZZ": "sekret"}, "there is no setting RESEARCH_ZZZ"),
        (
            ["serve"],
            {"RESEARCH_AUTH_ISSUER": "https://i"},
            "RESEARCH_AUTH_ISSUER needs RESEARCH_AUTH_JWKS_URL",
        ),
        (["serve"], {"RESEARCH_AUTH_AUDIENCE": "a"}, "RESEARCH_AUTH_AUDIENCE needs RESEARCH_AUTH_JWKS_URL"),
        (["serve"], {"RESEARCH_PROVIDER_KEY": "sekret"}, "RESEARCH_PROVIDER_KEY needs RESEARCH_PROVIDER"),
        (["serve"], {"RESEARCH_PROVIDER_URL": "http://h"}, "RESEARCH_PROVIDER_URL needs RESEARCH_PROVIDER"),
        (["serve"], {"RESEARCH_PROVIDER_MODEL": "m"}, "RESEARCH_PROVIDER_MODEL needs RESEARCH_PROVIDER"),
        (["serve", "--port", "8001"], {}, "--port is for HTTP"),
        (["serve", "--host", "0.0.0.0"], {}, "--host is for HTTP"),
        (["serve", "--root", str(SAMPLES), "--root", str(SAMPLES)], {}, "is given twice"),
        (["serve", "--root", f"a={SAMPLES}", "--root", "a=/"], {}, "are both called a"),
        (["serve", "--root", f"a={SAMPLES}", "--root", f"b={SAMPLES}/../samples"], {}, "is given twice"),
        (
            ["serve", "--root", str(SAMPLES), "--index", f"{SAMPLES}/x"],
            {},
            "lies inside the research folder samples",
        ),
        (["serve"], {"RESEARCH_ROOTS": '["/tmp", 1]'}, "a JSON list of directories"),
        (["serve", "--root", str(SAMPLES)], {"RESEARCH_POLICY": __file__}, "test_command_line.py: line 1: "),
    ],
)
def test_what_cannot_be_used_ends_the_start_with_one_line_and_no_secret(
    arguments: list[str],
    variables: dict[str, str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["research-assistant"])
    monkeypatch.setattr("research_shared.serving.run.configure_logging", lambda _level, **_: None)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        app(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("research-assistant: ")
    assert named in line
    assert "sekret" not in line


@pytest.mark.parametrize("options", [[], *([["--transport", "http", "--port", "0"]] if FULL else [])])
def test_an_audit_log_that_cannot_be_written_ends_the_start_with_one_line(options: list[str]) -> None:
    result = run(
        "research-assistant",
        "serve",
        "--root",
        str(SAMPLES),
        *options,
        RESEARCH_AUDIT_LOG="/nonexistent/a.jsonl",
    )
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("research-assistant: ")
    assert "audit" in line


def test_a_port_in_use_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("research_shared.serving.run.configure_logging", lambda _level, **_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as end:
            app(["serve", "--root", str(SAMPLES), "--transport", "http", "--port", port])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"cannot listen on 127.0.0.1 port {port}: it is in use" in line


def test_an_address_of_another_machine_is_refused_and_a_free_port_is_not() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1 port 8000"):
        check_address("192.0.2.1", 8000)
    check_address("127.0.0.1", 0)
    check_address("localhost", 0)


def test_a_folder_whose_name_holds_a_colon_can_be_given(tmp_path: Path) -> None:
    folder = tmp_path / "a:b"
    folder.mkdir()
    assert load_settings([str(folder)]).roots == (Root("a-b", folder),)
    assert load_settings([f"x={folder}", str(SAMPLES)]).roots == (Root("x", folder), Root("samples", SAMPLES))
    assert Settings.load({"RESEARCH_ROOTS": f'["{folder}", "y={SAMPLES}"]'}).roots == (
        Root("a-b", folder),
        Root("y", SAMPLES),
    )


def test_variables_that_are_no_settings_may_stand_beside_them() -> None:
    others = {"RESEARCH_FOLDER": "/x", "RESEARCH_TEST_FULL": "1", "RESEARCHER": "ann", "research_x": "y"}
    assert Settings.load(others | {"RESEARCH_LOG_LEVEL": "error"}).log_level == "error"


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("research-documents", "--version").stdout.strip() == version("research-assistant-mcp")
