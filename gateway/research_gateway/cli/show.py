"""Results of the tools for people at a terminal. What is incomplete comes first.

Text of documents is escaped, so that it cannot control the terminal.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from research_gateway.cli.wording import in_shell_words
from research_shared.document_urls import LinkTemplate
from research_shared.formats import place
from research_shared.text.analysis import STOP_WORDS, exact_terms, stems
from research_shared.text.sizes import counted, size_text
from research_shared.text.visible import terminal_safe
from research_shared.tools.names import INCOMPLETE

if TYPE_CHECKING:
    from research_shared.settings import Settings

Link = Callable[[str, int | None], str | None]
"""Return the address of a document, or of a 1-based page of it."""
Marker = Callable[[str], list[tuple[int, int]]]
"""Return the first and the last position of what a query found in a line."""

_WORD_CHARACTERS = re.compile(r"\w+")
_EXCLUDED = re.compile(r'(?<!\S)-(?:"[^"]*"|\S+)')
_PIPE_WIDTH = 4_000


def console(*, stderr: bool = False) -> Console:
    """Return a console, whose lines are not cut when they go to a file or a program."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(width=None if stream.isatty() else _PIPE_WIDTH, stderr=stderr)


def print_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if not all(char.isprintable() or char == "\n" for char in text):
        # The same value; what a terminal would act on is written as an escape.
        text = "".join(
            char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text
        )
    console().out(text, highlight=False)


def _markdown(text: str) -> RenderableType:
    """Return Markdown as people read it; a file or a program gets it as it is."""
    printable = "\n".join(terminal_safe(line) for line in text.split("\n"))
    if not sys.stdout.isatty():
        return Text(printable)
    from rich.markdown import Markdown

    return Markdown(printable, hyperlinks=False)


def linker(settings: "Settings") -> Link:
    """Return how documents are linked: with RESEARCH_DOCUMENT_URL, or to the file on this machine."""
    if settings.document_url is not None:
        return LinkTemplate.parse(settings.document_url).link
    if settings.documents_url is not None:  # the folder is elsewhere
        return lambda _path, _page: None
    roots = {root.name: root.directory for root in settings.roots}

    def file_link(path: str, page: int | None) -> str | None:
        name, _, rest = path.partition("/")
        directory, inside = (roots.get(name), rest) if len(roots) > 1 else (next(iter(roots.values())), path)
        if directory is None:
            return None
        return (directory / inside).as_uri() + (f"#page={page}" if page is not None else "")

    return file_link


def marker(query: str, *, regex: bool) -> Marker:
    """Return what marks the places in a line that a query found."""
    if regex:
        import re2

        try:
            pattern = re2.compile(query)
        except re2.error:
            return lambda _line: []
        return lambda line: [match.span() for match in pattern.finditer(line) if match.end() > match.start()]
    wanted_words = [word for word in exact_terms(_EXCLUDED.sub(" ", query)) if word not in STOP_WORDS]
    wanted = set(stems(" ".join(wanted_words)))
    beginnings = tuple(match.lower() for match in re.findall(r"(\w+)\*", query))

    def spans(line: str) -> list[tuple[int, int]]:
        return [
            match.span()
            for match in _WORD_CHARACTERS.finditer(line)
            if wanted.intersection(stems(match[0]))
            or (beginnings and match[0].lower().startswith(beginnings))
        ]

    return spans


def documents_view(result: dict[str, Any]) -> RenderableType:
    """Show a page of the listing."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("path", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("modified", no_wrap=True)
    for document in result["documents"]:
        table.add_row(
            Text(terminal_safe(document["path"])),
            size_text(document["size_bytes"]),
            document["modified"][:10],
        )
    total = result["total"]
    shown = "" if result["count"] == total else f"{result['count']} of "
    tail = [Text(f"{shown}{total} document{'' if total == 1 else 's'}", style="dim"), *_next(result)]
    return Group(*_warning_lines(result), *([table] if result["documents"] else []), *tail)


def hits_view(result: dict[str, Any], *, marker: Marker, link: Link) -> RenderableType:
    """Show the hits of a search, those of a document under its path."""
    parts: list[RenderableType] = [*_warning_lines(result)]
    parts += (
        Text(
            f"not searched, or only in part: {terminal_safe(unread['path'])} ({terminal_safe(unread['reason'])})",
            style="yellow",
        )
        for unread in result["unreadable"]
    )
    last = None
    for match in result["matches"]:
        path, page = match["document"], match.get("page")
        if path != last:
            parts.append(_linked(path, link(path, page), style="bold cyan"))
            last = path
        before = match.get("before", ())
        around = [(text, False) for text in before] + [(match["matched_text"], True)]
        around += [(text, False) for text in match.get("after", ())]
        for number, (line, found) in enumerate(around, match["line_number"] - len(before)):
            parts.append(
                _numbered(number, line, marker(line) if found else [], place(path, page) if found else "")
            )
    total = result["total_documents"]
    count = len(result["matches"])
    heading = f"{count} match{'' if count == 1 else 'es'} in {total} document{'' if total == 1 else 's'}"
    parts += [Text(heading, style="dim"), *_next(result)]
    return Group(*parts)


def excerpt_view(result: dict[str, Any]) -> RenderableType:
    """Show numbered lines of a document, with a rule where a page begins."""
    parts: list[RenderableType] = [
        Text(f"note: {terminal_safe(in_shell_words(note))}", style="yellow")
        for note in result.get("notes", ())
    ]
    page = None
    for line in result["lines"]:
        if line.get("page") != page:
            page = line.get("page")
            parts.append(Text(f"── {place(result['document_path'], page)} ──", style="dim"))
        parts.append(_numbered(line["number"], line["text"], [], ""))
    if (following := result.get("next_start_line")) is not None:
        parts.append(
            Text(
                f"{counted(result['total_lines'], 'line')} in all; go on with --lines {following}",
                style="dim",
            )
        )
    return Group(*parts)


def summary_view(result: dict[str, Any]) -> RenderableType:
    """Show a summary."""
    return Group(
        *_warning_lines(result),
        _markdown(result["summary"]),
        Text(
            f"{counted(result['word_count'], 'word')} · route {result['route']} · model {result['model']}",
            style="dim",
        ),
    )


def answer_view(result: dict[str, Any], *, link: Link) -> RenderableType:
    """Show a synthesis: the answer, each insight with its quotes and where they stand, and the sources."""
    used, skipped = result["sources_used"], result["sources_skipped"]
    parts: list[RenderableType] = [*_warning_lines(result), _markdown(result["synthesis"])]
    for title, listed in (("Insights", result["key_insights"]), ("Contradictions", result["contradictions"])):
        if listed:
            parts += [
                Text(f"\n{title}", style="bold"),
                *(part for each in listed for part in _insight_lines(each, link)),
            ]
    parts.append(Text("\nSources", style="bold"))
    for number, source in enumerate(result["sources"], 1):
        line = Text(f"[{number}] ").append(_linked(source["path"], link(source["path"], None)))
        if source["status"] != "used":
            line.append(f"  {source['status']}: {terminal_safe(source['reason'] or '')}", style="yellow")
        elif source["coverage"]:
            coverage = source["coverage"]
            line.append(
                f"  {coverage['lines_shown']} of {counted(coverage['lines_total'], 'line')} read", style="dim"
            )
        parts.append(line)
    parts.append(
        Text(
            f"{counted(used, 'source')} used, {skipped} skipped · route {result['route']} · model {result['model']}",
            style="dim",
        )
    )
    return Group(*parts)


def quotes_view(result: dict[str, Any], *, link: Link) -> RenderableType:
    """Show what became of quotes: where each stands, or the words that differ in the nearest place."""
    parts: list[RenderableType] = [*_warning_lines(result)]
    for quote_ in result["quotes"]:
        mark = Text("✓ ", style="green") if quote_["verified"] else Text("✗ ", style="bold red")
        parts.append(mark.append(f"“{terminal_safe(quote_['quote'])}”", style="default"))
        if quote_.get("reason"):
            parts.append(Text(f"    {terminal_safe(quote_['reason'])}", style="yellow"))
        stands = quote_ if quote_["verified"] else quote_.get("nearest")
        if stands and stands.get("document"):
            where = Text("    " if quote_["verified"] else "    nearest: ")
            where.append_text(_located(stands, link))
            if stands.get("version"):
                where.append(f"  {terminal_safe(stands['version'])}", style="yellow")
            parts.append(where)
        for difference in (stands or {}).get("differences", ()):
            said, there = terminal_safe(difference["quoted"]), terminal_safe(difference["document"])
            parts.append(Text(f"      quoted “{said}”, the document has “{there}”", style="dim"))
    return Group(*parts)


def _located(stands: dict[str, Any], link: Link) -> Text:
    """Return the document, page and lines of something, linked."""
    where = stands["document"]
    if stands.get("page"):
        where += f", {place(stands['document'], stands['page'])}"
    if stands.get("lines"):
        first, last = stands["lines"][0], stands["lines"][-1]
        where += f", line {first}" if first == last else f", lines {first}-{last}"
    return _linked(where, link(stands["document"], stands.get("page")), style="not italic cyan")


def _insight_lines(insight: dict[str, Any], link: Link) -> Iterator[RenderableType]:
    mark = Text("✓ ", style="green") if insight["verified"] else Text("? ", style="yellow")
    claim = mark.append(terminal_safe(insight["claim"]), style="default")
    for flag in insight["flags"]:
        claim.append(f"  [{terminal_safe(flag)}]", style="yellow")
    yield claim
    for evidence in insight["evidence"]:
        said = "" if evidence["quote"] == insight["claim"] else f"“{terminal_safe(evidence['quote'])}” "
        quote_ = Text(said, style="italic")
        quote_.append_text(_located(evidence, link))
        if not evidence["verified"]:
            quote_.append(" not found", style="not italic red")
        yield Padding(quote_, (0, 0, 0, 4)) if sys.stdout.isatty() else Text("    ").append_text(quote_)


def _numbered(number: int, text: str, spans: Sequence[tuple[int, int]], where: str) -> Text:
    """Return a line with its number, the places of a query in it marked."""
    line = Text(f"{number:>6} ", style="dim")
    body = Text()
    position = 0
    for first, last in spans:
        body.append(terminal_safe(text[position:first]), style="default")
        body.append(terminal_safe(text[first:last]), style="bold red")
        position = last
    body.append(terminal_safe(text[position:]), style="default" if spans or where else "dim")
    line.append_text(body)
    if where:
        line.append(f"  ({where})", style="dim")
    return line


def _linked(text: str, address: str | None, style: str = "") -> Text:
    style = f"{style} link {quote(address, safe=':/?#[]@!$&()*+,;=%')}" if address else style
    return Text(terminal_safe(text), style=style.strip())


def _warning_lines(result: dict[str, Any]) -> Iterator[Text]:
    """Yield the warnings, those first that say what the result lacks."""
    warnings = sorted(result.get("warnings", ()), key=lambda each: not each.startswith(INCOMPLETE))
    for warning in warnings:
        bold = "bold " if warning.startswith(INCOMPLETE) else ""
        yield Text(terminal_safe(in_shell_words(warning)), style=f"{bold}yellow")


def _next(result: dict[str, Any]) -> Iterator[Text]:
    if cursor := result.get("next_cursor"):
        yield Text(f"more with --cursor {cursor}", style="dim")
