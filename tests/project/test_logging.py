"""Log lines go to stderr, structured, whoever set up logging, or nobody."""

import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import httpx
import httpx2
import pytest
from mcp.shared.exceptions import MCPDeprecationWarning
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span
from structlog.contextvars import bound_contextvars

from research_shared.logs import configure_logging, get_logger, switch_level
from research_shared.text.secrets import without_secrets
from support.starts import start_of_servers


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """The process's logging as it was, also for the libraries whose loggers are changed."""
    root, fastmcp = logging.getLogger(), logging.getLogger("fastmcp")
    kept = (root.handlers[:], root.level, fastmcp.handlers[:], fastmcp.propagate, fastmcp.level)
    levels = {name: logging.getLogger(name).level for name in logging.Logger.manager.loggerDict}
    with warnings.catch_warnings():
        yield
    root.handlers[:], fastmcp.handlers[:], fastmcp.propagate = kept[0], kept[2], kept[3]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    root.setLevel(kept[1])
    fastmcp.setLevel(kept[4])


@pytest.mark.usefixtures("logging_put_back")
def test_lines_carry_their_fields_and_the_threshold_holds(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log = get_logger("research.test")
    log.debug("not shown")
    log.info("something happened", name="a reserved name", pages=3)
    log.error("it failed", error_id="abc", exc_info=ZeroDivisionError("a cause"))
    logging.getLogger("uvicorn.access").info("a request with a secret in its address")
    logging.getLogger("somebody.else").warning("from a library")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "not shown" not in printed.err
    assert "secret" not in printed.err
    assert 'level=info logger=research.test event="something happened"' in printed.err
    assert 'name_="a reserved name" pages=3' in printed.err
    assert "error_id=abc" in printed.err
    assert "ZeroDivisionError" in printed.err
    assert 'logger=somebody.else event="from a library"' in printed.err


@pytest.mark.usefixtures("logging_put_back")
def test_what_clients_are_told_is_not_repeated_and_the_protocol_s_own_deprecation_is_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info")
    logging.getLogger("fastmcp.server.context.to_client").warning("the name of a document")
    warnings.warn("the logging capability", MCPDeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("logging_put_back")
def test_json_lines_carry_the_call_and_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", form="json")
    context = SpanContext(trace_id=0xA1, span_id=0xB2, is_remote=True)
    with bound_contextvars(call_id="c-1"), use_span(NonRecordingSpan(context)):
        get_logger("research.test").warning("worth a look", name="a reserved name")
        logging.getLogger("somebody.else").warning("from a library")
    get_logger("research.test").warning("outside of a call")
    ours, other, outside = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["name_"]) == ("worth a look", "a reserved name")
    for line in (ours, other):
        assert line["call_id"] == "c-1"
        assert line["trace_id"] == f"{0xA1:032x}"
        assert line["span_id"] == f"{0xB2:016x}"
        assert line["level"] == "warning"
    assert other["logger"] == "somebody.else"
    assert outside.keys().isdisjoint({"call_id", "trace_id", "span_id"})


@pytest.mark.usefixtures("logging_put_back")
@pytest.mark.parametrize("name", ["research.test", "somebody.else"])
def test_the_ids_of_a_line_are_looked_up_once(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", form="json")
    looked_up = []

    def fields() -> dict[str, str]:
        looked_up.append(name)
        return {"trace_id": "t-1"}

    monkeypatch.setattr("research_shared.telemetry.spans.trace_fields", fields)
    logger = get_logger(name) if name.startswith("research") else logging.getLogger(name)
    with bound_contextvars(call_id="c-1"):
        logger.warning("worth a look")
    line = json.loads(capsys.readouterr().err)
    assert (line["call_id"], line["trace_id"]) == ("c-1", "t-1")
    assert looked_up == [name]


@pytest.mark.usefixtures("logging_put_back")
def test_the_level_is_switched_to_everything_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", form="logfmt")
    log = get_logger("research.test")
    log.debug("before")
    switch_level("warning")
    log.debug("between")
    switch_level("warning")
    log.info("after")
    printed = capsys.readouterr().err
    assert "event=between" in printed
    assert "before" not in printed
    assert "after" not in printed
    assert logging.getLogger("httpx").level == logging.WARNING


def test_without_any_set_up_nothing_is_written_to_stdout() -> None:
    code = """
from research_shared.logs import get_logger
log = get_logger("research.test")
log.info("of no interest")
log.warning("worth a look", reason="because")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr.strip() == "worth a look"


SECRET_URL = "http://ann:PASSWORD@127.0.0.1:9/mcp?api_key=SECRET"
LIBRARIES = {
    "asyncio": "tasks and callbacks; no addresses",
    "client": "FastMCP's name for lines of servers, quiet by default",
    "concurrent": "executors; no addresses",
    "dotenv": "pydantic-settings loads it; no file is read",
    "fastmcp": "the framework",
    "griffe": "FastMCP parses docstrings with it",
    "httpcore": "httpx's connections, quiet",
    "httpcore2": "httpx2's connections, quiet",
    "httpx": "the provider's client, quiet: it logs addresses",
    "httpx2": "the relay's client, quiet: it logs addresses",
    "key_value": "FastMCP keeps session state with it",
    "markdown_it": "rich renders Markdown with it",
    "mcp": "the protocol",
    "openapi_pydantic": "FastMCP imports it",
    "opentelemetry": "traces",
    "pydantic_settings": "settings",
    "research": "ours",
    "rich": "the terminal",
    "sse_starlette": "event streams",
    "structlog": "ours are made with it",
    "uvicorn": "the HTTP server; its access log is quiet",
    "watchfiles": "file changes, quiet",
}
"""Whose loggers a server has, and what they log. Another one is to be looked at before it is added here."""


def test_every_logger_in_use_is_known() -> None:
    in_use = {name.partition(".")[0] for name in start_of_servers()["a provider"].loggers}
    assert {"httpx", "httpx2", "mcp", "fastmcp"} <= in_use
    assert in_use - LIBRARIES.keys() == set()


@pytest.mark.usefixtures("logging_put_back")
@pytest.mark.parametrize("level", ["info", "debug"])
def test_no_library_logs_the_secrets_of_an_address(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level)
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as one:
        one.get(SECRET_URL)
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(503))) as other:
        answer = other.get(SECRET_URL)
    try:
        answer.raise_for_status()
    except httpx2.HTTPStatusError as error:
        get_logger("research.upstreams").exception("an upstream does not list", error=repr(error))
        logging.getLogger("a.library").exception("failed for %s", SECRET_URL)
    printed = capsys.readouterr().err
    assert "an upstream does not list" in printed
    assert "failed for http://***@127.0.0.1:9/mcp?***" in printed
    assert "PASSWORD" not in printed
    assert "SECRET" not in printed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no address: a@b.example?", "no address: a@b.example?"),
        ("http://host/path", "http://host/path"),
        ("'https://u:p@h:1/x?k=v' and ws://t@h", "'https://***@h:1/x?***' and ws://***@h"),
        ("http://h/?a=b#c", "http://h/?***"),
    ],
)
def test_addresses_lose_their_secrets_and_nothing_else(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
