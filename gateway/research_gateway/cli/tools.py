"""The tools as commands: `list`, `search`, `read`, `ask`, `summarize`.

Exit status 0: there is an answer; 1: there is none; 2: the question could not be asked.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import RenderableType

from research_gateway.cli import show
from research_gateway.cli.filters import EVERYTHING_WANTED, FilterOptions
from research_gateway.cli.session import FOUND, NOTHING, Session, run, shell_settings
from research_shared.serving.commandline import IndexOption, RootOption, report_failure

if TYPE_CHECKING:
    from research_shared.settings import Settings

JsonOption = Annotated[
    bool, Parameter(name="--json", negative="", help="Print the tool's structured result.")
]
CursorOption = Annotated[
    str | None, Parameter(name="--cursor", help="Go on where the last page ended; it says with what.")
]
PatternOption = Annotated[
    str | None, Parameter(name=["--in", "-i"], help="Only these documents: papers/**, '*.pdf', a folder.")
]


def list_command(
    pattern: Annotated[
        str | None, Parameter(help="Only these documents: papers/**, '*.pdf', a folder.")
    ] = None,
    /,
    *,
    limit: Annotated[
        int,
        Parameter(
            name=["--limit", "-n"], validator=Number(gte=1, lte=1000), help="Documents to list at once."
        ),
    ] = 100,
    cursor: CursorOption = None,
    filters: FilterOptions = EVERYTHING_WANTED,
    root: RootOption = None,
    json_: JsonOption = False,
) -> int:
    """List the documents."""

    async def job(session: Session) -> int:
        result = await session.call(
            "list_research_documents",
            file_pattern=pattern,
            limit=limit,
            cursor=cursor,
            **filters.arguments(),
        )
        _print(result, json_, lambda: show.documents_view(result))
        return FOUND if result["total"] else NOTHING

    return run(shell_settings(root), job)


def search_command(
    query: Annotated[str, Parameter(help='Words, +required, -excluded, "a phrase".')],
    /,
    *,
    within: PatternOption = None,
    regex: Annotated[
        bool, Parameter(name=["--regex", "-e"], negative="", help="QUERY is a regular expression.")
    ] = False,
    hybrid: Annotated[
        bool,
        Parameter(
            name="--hybrid",
            negative="",
            help="Rank by meaning, too (RESEARCH_EMBEDDING_DIR or _URL). Waits until all passages are embedded that the model embeds.",
        ),
    ] = False,
    context: Annotated[
        int | None,
        Parameter(name=["--context", "-C"], validator=Number(gte=0), help="Lines around each hit."),
    ] = None,
    limit: Annotated[
        int,
        Parameter(name=["--limit", "-n"], validator=Number(gte=1, lte=1000), help="Matches to show at once."),
    ] = 10,
    cursor: CursorOption = None,
    filters: FilterOptions = EVERYTHING_WANTED,
    root: RootOption = None,
    index: IndexOption = None,
    json_: JsonOption = False,
) -> int:
    """Find where something is said."""
    settings = shell_settings(root, index_dir=index)
    if hybrid and (obstacle := "not with --regex" if regex else _no_hybrid(settings)):
        sys.exit(report_failure(f"--hybrid: {obstacle}"))

    async def job(session: Session) -> int:
        if hybrid:
            await session.until_embedded()
        result = await session.call(
            "search_documents",
            query=query,
            mode="regex" if regex else "hybrid" if hybrid else "keyword",
            file_pattern=within,
            context_lines=context,
            limit=limit,
            cursor=cursor,
            **filters.arguments(),
        )
        _print(
            result,
            json_,
            lambda: show.hits_view(
                result, marker=show.marker(query, regex=regex), link=show.linker(session.settings)
            ),
        )
        return FOUND if result["matches"] else NOTHING

    return run(settings, job)


def _no_hybrid(settings: "Settings") -> str | None:
    """Return why there is no search by meaning with these settings, and what adds it; None if there is."""
    if settings.documents_url is not None:  # that server has its own settings
        return None
    if settings.embedding_dir is None and settings.embedding_url is None:
        from research_documents.search.hybrid import NOT_SET_UP

        return NOT_SET_UP
    from research_documents.search.semantic.build import missing_packages, not_installed

    missing = missing_packages(settings)
    return not_installed(missing) if missing else None


_LINES = re.compile(r"(\d+)(?:-(\d+))?")


def read_command(
    document: Annotated[str, Parameter(help="Path of a listing or a hit; a unique file name will do.")],
    /,
    *,
    page: Annotated[
        int | None, Parameter(name=["--page", "-p"], validator=Number(gte=1), help="Only this page.")
    ] = None,
    lines: Annotated[
        str | None,
        Parameter(name=["--lines", "-l"], help="First and last line, such as 40-80, or the first."),
    ] = None,
    root: RootOption = None,
    json_: JsonOption = False,
) -> int:
    """Read a document, or a part of it."""
    first, most = _lines_of_option(lines)

    async def job(session: Session) -> int:
        result = await session.call(
            "read_document", document_path=document, page=page, start_line=first, max_lines=most
        )
        _print(result, json_, lambda: show.excerpt_view(result))
        return FOUND if result["lines"] else NOTHING

    return run(shell_settings(root), job)


EXPORTS: Final = {".md": "markdown", ".bib": "bibtex", ".json": "csl-json"}
"""What a file is written as, by the end of its name."""


def ask_command(
    question: Annotated[str, Parameter(help="One whole question.")],
    documents: Annotated[
        list[str] | None, Parameter(help="Documents, folders or patterns to answer it from.")
    ] = None,
    /,
    *,
    depth: Annotated[
        Literal["overview", "detailed"],
        Parameter(help="A short answer, or a long one from more of each document."),
    ] = "overview",
    format_: Annotated[
        Literal["prose", "table", "timeline"],
        Parameter(name="--format", help="A table compares documents, a timeline orders dated events."),
    ] = "prose",
    aspects: Annotated[
        list[str] | None,
        Parameter(name="--aspect", negative="", help="A column of the table; repeat it for several."),
    ] = None,
    export: Annotated[
        Path | None,
        Parameter(
            name="--export",
            help="Write the answer to FILE.md with footnotes, or its sources to FILE.bib (BibTeX) or FILE.json (CSL-JSON).",
        ),
    ] = None,
    html: Annotated[
        Path | None, Parameter(name="--html", help="Write the answer with its sources to this page, too.")
    ] = None,
    filters: FilterOptions = EVERYTHING_WANTED,
    root: RootOption = None,
    index: IndexOption = None,
    json_: JsonOption = False,
) -> int:
    """Answer a question from documents, with quotes that were checked."""
    if export is not None and export.suffix.lower() not in EXPORTS:
        sys.exit(report_failure(f"--export {export}: allowed: a file that ends in {', '.join(EXPORTS)}"))

    async def job(session: Session) -> int:
        result = await session.call(
            "synthesize_research",
            document_paths=documents or None,
            research_question=question,
            depth=depth,
            **filters.arguments(),
            format=format_,
            aspects=aspects,
            export=EXPORTS[export.suffix.lower()] if export is not None else None,
        )
        link = show.linker(session.settings)
        _print(result, json_, lambda: show.answer_view(result, link=link))
        if export is not None:
            export.write_text(result["export"]["content"], encoding="utf-8")
            show.console(stderr=True).print(f"written: {export}", style="dim", markup=False)
        if html is not None:  # last, because it reads more, and a read can fail
            from research_gateway.cli.page import context_of, page

            html.write_text(
                page(result, link=link, context=await context_of(result, session.call)), encoding="utf-8"
            )
            show.console(stderr=True).print(f"written: {html}", style="dim", markup=False)
        return FOUND if result["answered"] else NOTHING

    return run(shell_settings(root, index_dir=index), job)


def summarize_command(
    document: Annotated[str, Parameter(help="Path of a listing or a hit; a unique file name will do.")],
    /,
    *,
    length: Annotated[
        Literal["brief", "standard", "detailed"],
        Parameter(name=["--length", "-n"], help="One paragraph, three, or five and more."),
    ] = "standard",
    root: RootOption = None,
    json_: JsonOption = False,
) -> int:
    """Summarize one document."""

    async def job(session: Session) -> int:
        result = await session.call("summarize_document", document_path=document, summary_length=length)
        _print(result, json_, lambda: show.summary_view(result))
        return FOUND

    return run(shell_settings(root), job)


def verify_quotes_command(
    quotes: Annotated[
        list[str], Parameter(help="Quotes, word for word; - reads one from each line of standard input.")
    ],
    /,
    *,
    document: Annotated[
        str | None,
        Parameter(name=["--in", "-i"], help="The document they are from; by default the folder is searched."),
    ] = None,
    root: RootOption = None,
    index: IndexOption = None,
    json_: JsonOption = False,
) -> int:
    """Check whether documents hold quotes word for word.

    Exit status 0: all of them are verified; 1: at least one is not.
    """
    if quotes == ["-"]:
        quotes = [line.strip() for line in sys.stdin if line.strip()]

    async def job(session: Session) -> int:
        asked = [{"quote": quote, "document_path": document or ""} for quote in quotes]
        result = await session.call("verify_quotes", quotes=asked)
        link = show.linker(session.settings)
        _print(result, json_, lambda: show.quotes_view(result, link=link))
        return FOUND if all(quote["verified"] for quote in result["quotes"]) else NOTHING

    return run(shell_settings(root, index_dir=index), job)


def _lines_of_option(lines: str | None) -> tuple[int | None, int | None]:
    """Return the first line and the number of lines of a text such as `40-80`."""
    if lines is None:
        return None, None
    match = _LINES.fullmatch(lines.strip())
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        sys.exit(report_failure(f"--lines {lines}: allowed: a line number, or a range such as 40-80"))
    first = int(match[1])
    return first, int(match[2]) - first + 1 if match[2] else None


def _print(result: dict[str, Any], as_json: bool, shown: Callable[[], RenderableType]) -> None:
    if as_json:
        show.print_json(result)
    else:
        show.console().print(shown())
