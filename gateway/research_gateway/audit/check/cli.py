"""`research-assistant audit …`: verify a log, and read it. Exit status 0 intact, 1 tampered with, 2 cannot tell."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.text import Text

from research_gateway.audit.check.chain_verifier import Expectations
from research_gateway.audit.check.copy import CopyError, copy_log
from research_gateway.audit.check.show import last_records, print_call, records_of, table_of
from research_gateway.audit.check.verify import LogFiles, Report, collect, verify
from research_gateway.audit.log.files import MAX_PROCESSES, LogName, refuse_inside_roots
from research_shared.base_errors import ConfigurationError
from research_shared.text.sizes import counted
from research_shared.text.visible import terminal_safe

if TYPE_CHECKING:
    from research_shared.settings import Settings

INTACT, TAMPERED, UNKNOWN = 0, 1, 2

audit_app = App(
    name="audit", help="Check and read audit logs. Without FILE the log of RESEARCH_AUDIT_LOG is meant."
)


def _cannot_tell(message: str) -> int:
    print(f"research-assistant audit: {message}", file=sys.stderr)  # noqa: T201  (the command line's own voice)
    return UNKNOWN


def _settings() -> "Settings":
    from research_shared.settings import Settings

    return Settings.load()


def _chosen(files: list[Path] | None, settings: "Settings") -> list[Path]:
    chosen = files or ([settings.audit_log] if settings.audit_log is not None else [])
    if not chosen:
        raise ConfigurationError("name a log file, or set RESEARCH_AUDIT_LOG")
    return chosen


def _files_of(files: list[Path] | None) -> list[Path]:
    return [path for log in collect(_chosen(files, _settings())) for path in log.files]


@audit_app.command(name="verify")
def verify_logs(
    files: Annotated[
        list[Path] | None, Parameter(negative="", help="Log files; the one in use stands for the whole log.")
    ] = None,
    *,
    head: Annotated[Path | None, Parameter(help="A copy of its head file that was kept elsewhere.")] = None,
    partial: Annotated[
        bool, Parameter(negative="", help="Accept that the oldest files were archived.")
    ] = False,
    acknowledge: Annotated[
        list[str] | None, Parameter(negative="", help="A new chain whose reason has been investigated.")
    ] = None,
) -> int:
    """Check that no record was changed, added, moved or removed, and name the first bad one.

    With RESEARCH_AUDIT_KEY the signatures are checked as well.
    """
    try:
        settings = _settings()
        key = settings.audit_key.get_secret_value().encode() if settings.audit_key is not None else None
        reports = [
            _verified(
                log,
                Expectations(
                    key=key,
                    head=_head_of(log, settings),
                    copied_head=head,
                    partial=partial,
                    acknowledged=frozenset(acknowledge or ()),
                ),
            )
            for log in collect(_chosen(files, settings))
        ]
    except ConfigurationError as error:
        return _cannot_tell(error.message)
    except OSError as error:
        return _cannot_tell(f"{error.filename or error.args[0]}: {error.strerror or 'no such file'}")
    console = Console(soft_wrap=True)
    for report in reports:
        _print_report(console, report)
    return INTACT if all(report.intact for report in reports) else TAMPERED


def _head_of(log: LogFiles, settings: "Settings") -> Path | None:
    """Return where the settings keep the head file of a log, None for beside it. Each process has a head of its own."""
    if settings.audit_head is None or settings.audit_log is None:
        return settings.audit_head
    path = log.names.path.absolute()
    for process in range(1, MAX_PROCESSES + 1):
        names = LogName.of(settings.audit_log.absolute(), settings.audit_head, process)
        if names.path == path:
            return names.head
    return None


def _verified(log: LogFiles, expected: Expectations) -> Report:
    """Verify one log, and show the progress on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return verify(log, expected)
    from rich.progress import Progress

    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(terminal_safe(log.names.path.name), total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return verify(log, expected, on_progress=show)


def _print_report(console: Console, report: Report) -> None:
    verdict = Text("intact", style="green") if report.intact else Text("NOT INTACT", style="bold red")
    console.print(Text(f"{terminal_safe(report.log)}: ").append(verdict))
    if report.problem is not None:
        console.print(
            Text(f"  first bad record: {terminal_safe(str(report.problem))} [{report.problem.code}]")
        )
    counts = f"  {counted(report.records, 'record')} in {counted(report.files, 'file')}, {counted(report.calls, 'call')}"
    if report.unfinished:
        counts += f", {report.unfinished} without an end"
    if report.lost:
        counts += f", {counted(report.lost, 'record')} lost while the log could not be written"
    console.print(Text(counts))
    if report.last is not None:
        console.print(
            Text(f"  last record: {report.last.sequence} of chain {terminal_safe(report.last.chain)}")
        )
    for note in report.notes:
        console.print(Text(f"  note: {terminal_safe(note)}"))


@audit_app.command(name="copy")
def copy_logs(
    directory: Annotated[Path, Parameter(help="Where the copy is; it is made when it is missing.")],
    files: Annotated[
        list[Path] | None,
        Parameter(negative="", help="Log files in use, each of which stands for its whole log."),
    ] = None,
) -> int:
    """Bring a copy of a log up to date, also while it is written.

    The copy verifies as the log does. Files that the log no longer has stay in it. What contradicts the copy is refused.
    """
    try:
        settings = _settings()
        refuse_inside_roots(directory.absolute(), settings.roots)
        directory.mkdir(mode=0o700, exist_ok=True)
        for log in collect(_chosen(files, settings)):
            refuse_inside_roots(directory / log.names.path.name, settings.roots)
            done = copy_log(log, directory, _head_of(log, settings))
            print(  # noqa: T201  (the command line's own voice)
                f"{terminal_safe(done.log)}: {counted(done.files, 'file')} written, "
                f"up to record {done.last.sequence} of chain {done.last.chain}"
            )
            if not done.locked:
                print(  # noqa: T201
                    f"{terminal_safe(done.log)}: the directory takes no locks, so see to it that one copying runs at a time",
                    file=sys.stderr,
                )
    except ConfigurationError as error:
        return _cannot_tell(error.message)
    except CopyError as error:
        return _cannot_tell(str(error))
    except OSError as error:
        return _cannot_tell(f"{error.filename or error.args[0]}: {error.strerror or 'no such file'}")
    return INTACT


@audit_app.command(name="tail")
def tail_log(
    files: Annotated[list[Path] | None, Parameter(negative="", help="Log files.")] = None,
    *,
    lines: Annotated[int, Parameter(name=["--lines", "-n"], help="How many records.")] = 20,
) -> int:
    """Show the last records of a log."""
    try:
        last = last_records(_files_of(files), max(lines, 0))
    except ConfigurationError as error:
        return _cannot_tell(error.message)
    except OSError as error:
        return _cannot_tell(f"{error.filename or error.args[0]}: {error.strerror or 'no such file'}")
    # Lines are not cut when they go to a file or a program.
    Console(width=None if sys.stdout.isatty() else 4_000).print(table_of(last))
    return INTACT


@audit_app.command(name="show")
def show_call(
    call: Annotated[
        str, Parameter(help="A call id or the beginning of one; rounds of one logical call belong together.")
    ],
    files: Annotated[list[Path] | None, Parameter(negative="", help="Log files.")] = None,
) -> int:
    """Show everything that is recorded about one call, all its rounds included."""
    try:
        paths = _files_of(files)
        found = _rounds(paths, call)
    except ConfigurationError as error:
        return _cannot_tell(error.message)
    except OSError as error:
        return _cannot_tell(f"{error.filename or error.args[0]}: {error.strerror or 'no such file'}")
    if not found:
        return _cannot_tell(f"no call {call!r} in this log")
    print_call(Console(soft_wrap=True), found)
    return INTACT


def _rounds(paths: list[Path], call: str) -> list[dict[str, Any]]:
    """Return the records of all logical calls whose id starts with `call`, all rounds included."""
    wanted = {
        str(record.get("logical_call_id", record["call_id"]))
        for record in records_of(paths)
        if call and str(record.get("call_id", "")).startswith(call)
    }
    rounds = set(wanted)
    found = []
    for record in records_of(paths):
        if record.get("logical_call_id") in wanted:
            rounds.add(str(record["call_id"]))
        if record.get("call_id") in rounds:
            found.append(record)
    return found
