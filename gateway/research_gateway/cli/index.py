"""`research-assistant index`: feeds the index on an OpenSearch cluster, and shows what is there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from research_gateway.cli import show
from research_shared.base_errors import ConfigurationError, ResearchError
from research_shared.serving.commandline import RootOption, load_settings, report_failure
from research_shared.text.sizes import counted
from research_shared.text.visible import terminal_safe

if TYPE_CHECKING:
    from research_documents.opensearch.pushing import PushReport
    from research_documents.opensearch.pushing.run import PushJob
    from research_documents.opensearch.pushing.vectors import VectorMaker
    from research_shared.settings import Settings

PUSHED, SOME_FAILED, NOT_PUSHED = 0, 1, 2
"""Exit statuses of `push`."""
MAX_SHOWN = 20
"""Documents of one kind that are named."""
LIBRARY_CACHE_BYTES = 1024 * 1024
"""Each document is read once: keeping its text would only take memory."""
UPDATE_EVERY = 500
"""Documents between two lines of progress where there is no terminal."""

index_app = App(
    name="index",
    help="Feed the index on an OpenSearch cluster (RESEARCH_SEARCH_URL), and show what is there.",
)


@index_app.command(name="push")
def push_command(
    *,
    root: RootOption = None,
    watch: Annotated[
        bool, Parameter(negative="", help="Then follow the folder, and push what changes, until SIGTERM.")
    ] = False,
    full: Annotated[
        bool,
        Parameter(
            negative="", help="Push everything into new indices, which replace the present ones at the end."
        ),
    ] = False,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print the report as JSON.")] = False,
) -> int:
    """Push what of the research folders is not on the cluster in its present state.

    It can be ended at any time, and goes on where it ended. One process does it at a time. Exit status 0: the index holds what
    the folder holds; 1: all but some documents, which the cluster refuses, or some vectors, because the embedding model did
    not answer; 2: it could not be pushed.
    """
    import asyncio

    from research_shared.logs import configure_logging

    settings = load_settings(root)
    reports: list[PushReport] = []
    with _failures_told() as failed, _progress() as advance:
        job = _job(settings, full=full, advance=advance)
        configure_logging(
            "warning" if settings.log_level == "info" else settings.log_level, form=settings.log_format
        )
        asyncio.run(_until_told(job, reports, watch=watch, json_=json_))
    if failed or not reports:
        return NOT_PUSHED
    return SOME_FAILED if reports[-1].failed or reports[-1].embedding_failed else PUSHED


@index_app.command(name="status")
def status_command(
    *,
    json_: Annotated[bool, Parameter(name="--json", negative="", help="Print it as JSON.")] = False,
) -> int:
    """Show what is on the cluster: documents, passages, the last push, and which indexer writes.

    Exit status 0: the index is there and held all of the folder at some time; 1: it is not there or not complete; 2: the
    cluster does not answer.
    """
    from research_shared.settings import Settings

    found: list[dict[str, Any]] = []
    with _failures_told():
        found.append(_status(Settings.load()))
    if not found:
        return NOT_PUSHED
    if json_:
        show.print_json(found[0])
    else:
        for line in _status_lines(found[0]):
            _say(line)
    return PUSHED if found[0]["usable"] else SOME_FAILED


@contextmanager
def _failures_told() -> Iterator[list[str]]:
    """Tell in one line what ends a command; the list then holds it."""
    from research_documents.opensearch.client import ClusterFailed
    from research_documents.opensearch.pushing.cluster_index import RecordTaken, SchemaDiffers
    from research_documents.opensearch.pushing.lease import IndexHeld

    told: list[str] = []
    try:
        yield told
    except ClusterFailed as failure:
        told.append(f"{failure.message}. {failure.hint}")
    except (IndexHeld, SchemaDiffers, ConfigurationError) as error:
        told.append(error.message)
    except RecordTaken:
        told.append("another indexer writes this index: this one has ended")
    except ResearchError as error:
        told.append(f"{error.message}. {error.hint}")
    for message in told:
        report_failure(terminal_safe(message))


def _job(settings: "Settings", *, full: bool, advance: "Any") -> "PushJob":
    from research_documents.opensearch import IndexNames
    from research_documents.opensearch.client import ClusterClient
    from research_documents.opensearch.pushing import ClusterIndex, Indexer, IndexLease
    from research_documents.opensearch.pushing.run import PushJob
    from research_shared.reading.library import Library

    client = ClusterClient.from_settings(settings)
    names = IndexNames(prefix=settings.search_index)
    library = Library.from_settings(settings.model_copy(update={"cache_bytes": LIBRARY_CACHE_BYTES}))
    cluster = ClusterIndex(client, names)
    return PushJob(
        library=library,
        cluster=cluster,
        lease=IndexLease(client, names),
        indexer=Indexer(
            library,
            cluster,
            vectors=_vector_maker(settings),
            on_progress=advance,
            folder_id=settings.search_folder_id or "",
        ),
        full=full,
        rescan_s=settings.rescan_interval_s,
        on_wait=lambda holder: _say(
            f"waiting whether the indexer is still there that has the lease: {holder}", stderr=True
        ),
    )


def _vector_maker(settings: "Settings") -> "VectorMaker | None":
    """Return what makes vectors with the model of the settings; None if they name none."""
    if settings.embedding_dir is None and settings.embedding_url is None:
        return None
    from research_documents.search.semantic.build import embedder_if_installed

    embedder, absent = embedder_if_installed(settings)
    if embedder is None:
        raise ConfigurationError(f"the settings name an embedding model, and {absent}")
    from research_documents.opensearch.pushing.vectors import VectorMaker

    return VectorMaker(embedder)


async def _until_told(job: "PushJob", reports: "list[PushReport]", *, watch: bool, json_: bool) -> None:
    """Run a job until it ends, or until SIGTERM or SIGINT; each report is printed when it is there."""
    import asyncio
    import signal
    from contextlib import suppress
    from dataclasses import replace

    def told(report: "PushReport") -> None:
        reports.append(report)
        _print_push(report, job.indexer.totals(), json_=json_)

    stop = asyncio.Event()
    running = asyncio.ensure_future(replace(job, on_report=told).run(stop if watch else None))
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        if not watch or not reports:
            running.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    with suppress(asyncio.CancelledError):
        await running


def _print_push(report: "PushReport", totals: tuple[int, int], *, json_: bool) -> None:
    documents, without_text = totals
    if json_:
        show.print_json(
            {
                "pushed": report.pushed,
                "passages": report.passages,
                "unchanged": report.unchanged,
                "removed": report.removed,
                "unreadable": [{"document": path, "reason": reason} for path, reason in report.unreadable],
                "failed": [{"document": path, "reason": reason} for path, reason in report.failed],
                "documents": documents,
                "without_text": without_text,
                "without_vectors": report.without_vectors,
                "no_vectors": report.no_vectors,
            }
        )
        return
    _say(
        f"pushed {counted(report.pushed, 'document')} with {counted(report.passages, 'passage')}; "
        f"unchanged {report.unchanged}, removed {report.removed}; "
        f"the index now has {counted(documents, 'document')}, {without_text} of them without text"
    )
    if report.without_vectors:
        _say(
            f"hybrid: {counted(report.without_vectors, 'document has', 'documents have')} no vectors, or not all: {report.no_vectors}"
        )
    for title, listed in (("gives no text", report.unreadable), ("refused by the cluster", report.failed)):
        for path, reason in listed[:MAX_SHOWN]:
            _say(f"  {path}: {title}: {reason}")
        if len(listed) > MAX_SHOWN:
            _say(f"  and {len(listed) - MAX_SHOWN} more: {title}")


@contextmanager
def _progress() -> "Iterator[Any]":
    """Give what shows how far a push is on standard error: a bar on a terminal, else a line now and then."""
    if not sys.stderr.isatty():
        shown = [0]

        def tell(done: int, to_do: int) -> None:
            if to_do and (done == to_do or done - shown[0] >= UPDATE_EVERY):
                shown[0] = 0 if done == to_do else done
                print(f"{done} of {counted(to_do, 'document')}", file=sys.stderr, flush=True)  # noqa: T201  (the command line's own voice)

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("pushing"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pushing", total=None)
        yield lambda done, to_do: bar.update(task, completed=done, total=to_do)


def _status(settings: "Settings") -> dict[str, Any]:
    from dataclasses import asdict

    from research_documents.opensearch import IndexNames
    from research_documents.opensearch.client import ClusterClient
    from research_documents.opensearch.layout import CLUSTER_SCHEMA
    from research_documents.opensearch.pushing import ClusterIndex
    from research_documents.opensearch.pushing.lease import lease_holder

    client = ClusterClient.from_settings(settings)
    names = IndexNames(prefix=settings.search_index)
    index = ClusterIndex(client, names, attempts=1)
    schema = index.schema()
    documents, without_text, passages = (0, 0, 0) if schema is None else index.counts()
    state = index.state()
    return {
        "index": names.prefix,
        "schema": schema,
        "needed_schema": CLUSTER_SCHEMA,
        "documents": documents,
        "without_text": without_text,
        "passages": passages,
        "vectors": None if (model := index.vector_model()) is None else model.dimension,
        "push": None if state is None else asdict(state),
        "indexer": lease_holder(client, names) or None,
        "usable": schema == CLUSTER_SCHEMA and state is not None and bool(state.agreed_at),
    }


def _status_lines(status: dict[str, Any]) -> Iterator[str]:
    name, schema, push = status["index"], status["schema"], status["push"]
    if schema is None:
        yield f"{name}: there is no index yet: research-assistant index push"
    else:
        yield (
            f"{name}: {counted(status['documents'], 'document')} with {counted(status['passages'], 'passage')}, "
            f"and {status['without_text']} without text"
        )
        if schema != status["needed_schema"]:
            yield (
                f"the schema is {schema or '(none)'}, and this version needs {status['needed_schema']}: "
                "research-assistant index push --full"
            )
        if status["vectors"]:
            problem = push and push["embedding_problem"]
            missing = f"; some passages have none: {problem}" if problem else ""
            yield f"hybrid: vectors of {status['vectors']} components{missing}"
    if push is not None:
        if push["places"]:
            folder_id = f" ({push['folder_id']})" if push["folder_id"] else ""
            yield f"it was fed from {', '.join(push['places'])}{folder_id}"
        yield (
            f"it held all of the folder at {push['agreed_at']}"
            if push["agreed_at"]
            else "no push has ended yet: searches miss documents"
        )
        if push["waiting"] or push["failed"]:
            yield (
                f"the push of {push['begun_at']}: {push['waiting']} of {counted(push['listed'], 'document')} to be pushed, "
                f"{push['failed']} refused"
            )
    yield f"an indexer writes: {status['indexer']}" if status["indexer"] else "no indexer writes now"


def _say(line: str, *, stderr: bool = False) -> None:
    show.console(stderr=stderr).print(terminal_safe(line), markup=False, highlight=False, soft_wrap=True)
