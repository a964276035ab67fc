"""Calls of the gateway's tools from a shell: an own gateway in this process, with the progress of each call on stderr."""

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.text import Text

from research_gateway.cli.wording import WORK_OF_TOOL, in_shell_words
from research_shared.base_errors import ConfigurationError
from research_shared.serving.commandline import load_settings, report_failure
from research_shared.settings import APPLICATION
from research_shared.text.visible import terminal_safe

if TYPE_CHECKING:
    from fastmcp import Client
    from fastmcp.client.progress import ProgressHandler

    from research_shared.settings import Settings

JobResult = TypeVar("JobResult")

FOUND, NOTHING, FAILED = 0, 1, 2
"""Exit statuses: there is an answer, there is none, the question could not be asked."""

EMBEDDING_STALLED_S = 60.0
"""A model is loaded, and a slow one embeds a passage, in this time."""
FIRST_LOOK_S, LAST_LOOK_S = 0.1, 5.0
"""Seconds between looks at how much is embedded."""
INDEX_WAIT_S = 3600.0
"""A shell waits for the whole index: whoever waits sees how far it is, and can stop it."""


class CallFailed(Exception):
    """A tool answered with an error. Its text has the code, the message and the hint, for people at a shell."""


@dataclass(frozen=True, slots=True)
class Session:
    """A client of the gateway in this process."""

    client: "Client[Any]"
    settings: "Settings"

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured result of a tool. Arguments that are None are left out.

        Raises:
            CallFailed: the result is an error.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        with _progress_bar(WORK_OF_TOOL.get(tool, tool)) as advance:
            return await self._result(tool, given, advance)

    async def _result(
        self, tool: str, given: dict[str, Any], advance: "ProgressHandler | None"
    ) -> dict[str, Any]:
        result = await self.client.call_tool(tool, given, progress_handler=advance, raise_on_error=False)
        if result.is_error:
            said = "\n".join(getattr(part, "text", "") for part in result.content)
            raise CallFailed(in_shell_words(said))
        structured: dict[str, Any] = result.structured_content or {}
        return structured

    async def until_embedded(
        self,
        *,
        stalled_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        """Wait until all passages have vectors, the server says that no more get one for now, or none got one for so long.

        `stalled_s`: seconds of that; `EMBEDDING_STALLED_S` when not given.

        A search then says how many have. Whoever does not want to wait can stop it: the vectors that were made are kept.

        Raises:
            CallFailed: the search failed.
        """
        import asyncio

        pause = sleep or asyncio.sleep
        limit_s = EMBEDDING_STALLED_S if stalled_s is None else stalled_s
        most, since, pause_s = -1, clock(), FIRST_LOOK_S
        with _progress_bar("embedding passages") as advance:
            while clock() - since < limit_s:
                asked = {"query": "anything", "mode": "hybrid", "limit": 1}
                state = (await self._result("search_documents", asked, None)).get("embedded")
                if state is None or state["done"] >= state["total"] or state.get("stopped"):
                    return
                if advance is not None:
                    await advance(state["done"], state["total"], "embedding passages")
                if state["done"] > most:
                    most, since = state["done"], clock()
                await pause(pause_s)
                pause_s = min(2 * pause_s, LAST_LOOK_S)


@contextmanager
def _progress_bar(work: str) -> "Iterator[ProgressHandler | None]":
    """Give a handler that moves a bar on standard error, or None where that is no terminal. `work` is shown until it has a message.

    A bar that is only disabled still writes a line break in some releases of rich.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    with Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(work, total=None)

        async def advance(progress: float, total: float | None, message: str | None) -> None:
            said = terminal_safe(in_shell_words(message) if message else work)
            bar.update(task, completed=progress, total=total, description=said)

        yield advance


def shell_settings(roots: list[str] | None, *, index_dir: str | None = None) -> "Settings":
    """Return the settings for a command of the shell. A wrong one ends the process with one line and status 2.

    The index is kept in the user's cache directory and the trail in their state directory, unless settings name others.
    Without a model, answers are extractive.
    """
    from platformdirs import user_state_path

    from research_shared.settings import parse_index_dir

    settings = load_settings(roots, index_dir=index_dir)
    changes: dict[str, Any] = {"index_wait_s": max(settings.index_wait_s, INDEX_WAIT_S)}
    if "index_dir" not in settings.model_fields_set and settings.search_url is None:
        try:
            changes["index_dir"] = parse_index_dir("auto")
        except ValueError as error:
            sys.exit(report_failure(f"RESEARCH_INDEX_DIR: allowed: {error}"))
    if settings.audit_log is None:
        changes["audit_log"] = user_state_path(APPLICATION, appauthor=False) / "shell.jsonl"
    if settings.provider is None and settings.model_route in {"auto", "client"}:
        changes["model_route"] = "extractive"
    return settings.model_copy(update=changes)


def run(settings: "Settings", job: Callable[[Session], Awaitable[int]]) -> int:
    """Run a job with a session and return its exit status. Errors of tools and of settings are told in plain lines."""
    try:
        return session_of(settings, job)
    except CallFailed as error:
        text = Text("\n".join(terminal_safe(line) for line in str(error).splitlines()))
        Console(stderr=True, soft_wrap=True).print(text)
        return FAILED
    except ConfigurationError as error:
        return report_failure(settings.origins.as_written(error.message))
    except OSError as error:
        return report_failure(f"{error.filename or 'file'}: {error.strerror or error}")


def session_of(settings: "Settings", job: Callable[[Session], Awaitable[JobResult]]) -> JobResult:
    """Run a job with a session and return what it returns.

    Raises:
        CallFailed: a tool answered with an error.
        ConfigurationError: a folder or the trail is not usable.
    """
    import asyncio

    async def with_session() -> JobResult:
        async with _session(settings) as session:
            return await job(session)

    return asyncio.run(with_session())


@asynccontextmanager
async def _session(settings: "Settings") -> AsyncIterator[Session]:
    from fastmcp import Client
    from fastmcp.client.logging import LogMessage

    from research_gateway.app import build_gateway
    from research_shared.logs import configure_logging

    level = "error" if settings.log_level == "info" else settings.log_level
    configure_logging(level, form=settings.log_format)
    # A shell's folder may be another one than that of the servers whose tasks are waiting.
    settings = settings.without_tasks()
    if settings.audit_log is not None:
        settings.audit_log.parent.mkdir(parents=True, exist_ok=True)

    async def unprinted(_message: LogMessage) -> None:
        """Warnings are in the results, and progress is on the bar."""

    async with AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(Client(build_gateway(settings), log_handler=unprinted))
        except RuntimeError as error:  # the client's own, about what ended the start of the gateway
            if isinstance(error.__cause__, ConfigurationError):
                raise error.__cause__ from None
            raise
        yield Session(client, settings)
