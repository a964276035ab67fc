"""Log lines go to stderr, structured, whoever set up logging, or nobody."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator

import pytest
from mcp.shared.exceptions import MCPDeprecationWarning

from research_shared.logs import configure_logging, get_logger


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
