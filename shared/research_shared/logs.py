"""Logging of a server process: structured lines on stderr, never on stdout, where stdio clients listen."""

import logging
import sys
import warnings

import structlog
from mcp.shared.exceptions import MCPDeprecationWarning

QUIET = {"uvicorn.access": logging.WARNING, "watchfiles": logging.WARNING, "httpx": logging.WARNING}
"""Libraries whose informational lines would drown ours, or would print addresses with secrets in them."""


def configure_logging(level: str = "info") -> None:
    """Send this process's own and its libraries' log lines to stderr. Called by the command line only.

    `level` is one of debug, info, warning, error. Colours appear on a terminal, plain logfmt lines elsewhere.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "logger", "event"])
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    fastmcp = logging.getLogger("fastmcp")
    fastmcp.handlers.clear()
    fastmcp.propagate = True
    fastmcp.setLevel(max(threshold, logging.INFO))
    for name, minimum in QUIET.items():
        logging.getLogger(name).setLevel(max(threshold, minimum))
    # The wire deprecates client logging, both eras still deliver it, and users of this server read it.
    warnings.filterwarnings("ignore", category=MCPDeprecationWarning)
