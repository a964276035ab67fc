"""What the command lines share: options, loading of settings, the command `serve`.

Importing it takes 0.1 s, because `--help` and `--version` need no server. Commands import the rest when they run.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from research_shared.base_errors import ConfigurationError
from research_shared.serving.memory import disable_gc_for_startup, limit_arenas

if TYPE_CHECKING:
    from fastmcp import FastMCP

    from research_shared.settings import Settings

RootOption = Annotated[
    list[str] | None,
    Parameter(
        name="--root", negative="", help="A research folder, optionally name=/dir; repeat it for several."
    ),
]
IndexOption = Annotated[
    str | None,
    Parameter(
        name="--index",
        help="Where to keep text and index across restarts: auto (your cache directory), a directory, or none.",
    ),
]
TransportOption = Annotated[
    Literal["stdio", "http"], Parameter(name="--transport", help="How clients connect.")
]
HostOption = Annotated[
    str | None, Parameter(name="--host", help="Address to listen on (http); 127.0.0.1 when not given.")
]
PortOption = Annotated[
    int | None,
    Parameter(
        name="--port",
        validator=Number(gte=0, lte=65_535),
        help="Port to listen on (http); 0 picks a free one, 8000 when not given.",
    ),
]
WorkersOption = Annotated[
    int,
    Parameter(
        name="--workers",
        validator=Number(gte=1, lte=256),
        help="Processes that serve together at the address (http), such as one for each processor.",
    ),
]

_OPTIONS: Final = {"roots": "--root", "index_dir": "--index", "policy": "--policy"}
"""The options that give settings."""


def settings_of_options(roots: list[str] | None = None, **options: Any) -> "Settings":
    """Return the settings of the environment, overridden by options of the command line. None is an option not given.

    Raises:
        ConfigurationError: a value is wrong. The message names the option, the variable or the key of the file.
    """
    from research_shared.settings import Settings

    given = {name: value for name, value in options.items() if value is not None}
    if roots:
        given["roots"] = tuple(root for each in roots for root in as_roots(each))
    return Settings.load(None, {name: _OPTIONS[name] for name in given}, **given)


def load_settings(roots: list[str] | None = None, **options: Any) -> "Settings":
    """Return the settings of the environment, overridden by options of the command line. None is an option not given.

    A wrong value or a missing folder ends the process with one line on stderr and status 2.
    """
    try:
        settings = settings_of_options(roots, **options)
        if settings.documents_url is None or settings.reasoning_url is None:
            check_roots(settings)
    except ConfigurationError as error:
        sys.exit(report_failure(error.message))
    return settings


def as_roots(given: str) -> tuple[Any, ...]:
    """Return the roots that one `--root` names.

    Raises:
        ConfigurationError: it names none.
    """
    from research_shared.settings import parse_roots

    # A folder that is there is meant as a whole, whatever characters its name holds.
    whole = _is_directory(given) or _is_directory(given.partition("=")[2])
    try:
        parsed = parse_roots(json.dumps([given]) if whole else given)
    except ValueError as error:
        raise ConfigurationError(f"--root {error}") from error
    return parsed if isinstance(parsed, tuple) else ()


def _is_directory(text: str) -> bool:
    try:
        return bool(text) and Path(text).expanduser().is_dir()
    except (OSError, RuntimeError):  # a name that no directory can have
        return False


def check_roots(settings: "Settings") -> None:
    """Refuse to start without the research folders.

    Raises:
        ConfigurationError: a folder is missing; the message names the first one, and what the operator wrote.
    """
    for root in settings.roots:
        try:
            there = Path(root.directory).is_dir()
        except OSError:  # a name that no directory can have
            there = False
        if not there:
            chosen = (
                "RESEARCH_ROOTS"
                if "roots" in settings.origins.given
                else "the folder used when none is named"
            )
            raise ConfigurationError(
                settings.origins.as_written(
                    f"{chosen}: {root.directory} is not a directory: create it, or name another with --root DIR"
                )
            )


def report_failure(message: str) -> int:
    """Say in one line on stderr what is wrong with a command or a setting; gives exit status 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)  # noqa: T201  (the command line's own voice)
    return 2


def refuse_windows(platform: str = sys.platform) -> None:
    """End the process with one line on Windows, whose files and processes work in other ways than this server needs."""
    if platform == "win32":
        sys.exit(
            report_failure(
                "Windows is not supported yet. Use WSL, the container (compose.yaml), or connect your clients to a "
                "gateway on another machine over HTTP."
            )
        )


def prepare_dedicated_process() -> None:
    """Make the start of this process fast and its memory small; `serving.process.dedicated_process` follows when it serves."""
    disable_gc_for_startup()
    if "MALLOC_ARENA_MAX" not in os.environ:
        limit_arenas()


def add_serve(app: App, *, build: "Callable[[Settings], FastMCP[Any]]", text: str) -> None:
    """Add the command `serve` to a command line. It runs the server that `build` returns; `text` is its help."""

    @app.command(name="serve", help=text)
    def serve_command(
        *,
        root: RootOption = None,
        index: IndexOption = None,
        transport: TransportOption = "stdio",
        host: HostOption = None,
        port: PortOption = None,
        workers: WorkersOption = 1,
    ) -> None:
        prepare_dedicated_process()
        if transport == "stdio" and (host is not None or port is not None or workers > 1):
            given = "--port" if port is not None else "--host" if host is not None else "--workers"
            sys.exit(report_failure(f"{given} is for HTTP: add --transport http"))
        settings = load_settings(root, index_dir=index)
        from research_shared.serving.run import serve

        try:
            serve(
                build,
                settings,
                transport=transport,
                host="127.0.0.1" if host is None else host,
                port=8000 if port is None else port,
                workers=workers,
            )
        except ConfigurationError as error:
            sys.exit(report_failure(settings.origins.as_written(error.message)))
