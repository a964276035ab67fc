"""Logging of a server process: structured lines on stderr, never on stdout, which stdio clients read."""

import logging
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

from research_shared.base_errors import ResearchError
from research_shared.text.secrets import without_secrets

QUIET = {
    "fastmcp.server.context.to_client": logging.CRITICAL + 1,
    "httpcore": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "mcp.client.streamable_http": logging.CRITICAL,
    "uvicorn.access": logging.WARNING,
    "watchfiles": logging.WARNING,
}
"""Minimum levels of libraries whose log lines are too many or contain URLs with secrets."""


def _without_secrets(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Redact URLs in all fields of a line, tracebacks included."""
    return {key: without_secrets(value) if isinstance(value, str) else value for key, value in event.items()}


def _with_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the current trace, if the line belongs to one."""
    from research_shared.telemetry.spans import trace_fields  # slow to load, and loaded by every server

    event.update(trace_fields())
    return event


def _with_call_of_library(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add the ids of the call and of its trace to a line of a library. Our own lines bring theirs, from `get_logger`."""
    if event["_record"].name.partition(".")[0] == OUR_LOGGER:
        return event
    return _with_trace(logger, method, structlog.contextvars.merge_contextvars(logger, method, event))


OUR_LOGGER = "research"
"""The logger above all of ours."""

RESERVED = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def _without_reserved_names(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    kept = {"event", "exc_info", "stack_info"}
    return {f"{k}_" if k in RESERVED and k not in kept else k: v for k, v in event.items()}


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a structured logger that wraps the standard library's logger of this name, which begins with `research`.

    It works without configuration: warnings go to stderr and nothing to stdout, where structlog writes by default.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _with_trace,
            _without_reserved_names,
            _without_secrets,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return logger


class ExpectedFailures(logging.Filter):
    """Drops FastMCP's tracebacks of failures that the error boundary has turned into errors for the client.

    FastMCP logs each error of a resource or prompt, a missing document too, with a traceback and the client's own words.
    What is unexpected is logged by the boundary.
    """

    LOGGER = "fastmcp.server.server"

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        from fastmcp.exceptions import FastMCPError  # loaded by whoever logs here, and slow to load

        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, MCPError | FastMCPError | ResearchError)


LogFormat = Literal["auto", "logfmt", "json"]
"""How lines look. `auto`: colours on a terminal, logfmt elsewhere."""


def configure_logging(level: str = "info", *, form: LogFormat = "auto") -> None:
    """Send this process's own and its libraries' log lines to stderr. Called by the command line only.

    `level` is one of debug, info, warning, error. Lines of a call carry its id in the audit trail as `call_id`, and the
    ids of its trace as `trace_id` and `span_id`.
    """
    fields: list[structlog.typing.Processor] = [
        _with_call_of_library,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=fields,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_secrets,
                _renderer(form),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], force=True)
    fastmcp = logging.getLogger("fastmcp")
    fastmcp.handlers.clear()
    fastmcp.propagate = True
    logging.getLogger(ExpectedFailures.LOGGER).addFilter(ExpectedFailures())
    set_level(level)
    # The wire deprecates client logging, both eras still deliver it, and users of this server read it.
    warnings.filterwarnings("ignore", category=MCPDeprecationWarning)


def _renderer(form: LogFormat) -> structlog.typing.Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False)
    if form == "auto" and sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer()
    return structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"])


def set_level(level: str) -> None:
    """Log lines of this level and above from now on: debug, info, warning or error."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(threshold)
    logging.getLogger("fastmcp").setLevel(max(threshold, logging.INFO))
    for name, minimum in QUIET.items():
        logging.getLogger(name).setLevel(max(threshold, minimum))


def switch_level(level: str) -> None:
    """Log everything from now on, or again from `level` if everything is logged already."""
    level = level if logging.getLogger().level == logging.DEBUG else "debug"
    set_level(level)
    get_logger("research.logs").warning("the log level was switched", to=level)
