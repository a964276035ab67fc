"""`search` and `fetch`, the two tools that ChatGPT and other connectors expect.

The result shapes are OpenAI's: `search` returns ids, titles and URLs, `fetch` the text of an id. Both return one text item
of JSON, and the same as structured content. An id is a `DocumentId`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

from fastmcp import Context, FastMCP
from mcp_types import ToolAnnotations
from pydantic import Field

from research_documents.document_ids import DocumentId
from research_documents.rendering import hidden_note
from research_documents.results import Result
from research_documents.search import IN_PART, DocumentSearch, SearchOutcome
from research_documents.search.request import Mode
from research_shared.document_urls import LinkTemplate, document_uri
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import DocumentError, DocumentNotFound, InvalidArguments
from research_shared.formats import format_of
from research_shared.reading.library import Library
from research_shared.telemetry import record
from research_shared.text.sizes import counted
from research_shared.text.tokens import ceiling_tokens
from research_shared.text.visible import without_hidden
from research_shared.tools.activity import waiting
from research_shared.tools.arguments import READ_TEXT, resolve_path
from research_shared.tools.descriptions import described
from research_shared.tools.progress import ClientLog, Progress
from research_shared.tools.schemas import output_schema

MAX_RESULTS: Final = 20
MAX_HITS: Final = 60
"""Hits requested per search; several hits on one page become one result."""
MAX_TOKENS: Final = 19_000
"""Estimated tokens of a fetched text; with its JSON and the error of the estimate it stays below 25,000."""
MAX_CHARACTERS: Final = 100_000
NEAR_BYTES: Final = 30_000
"""`fetch` of a whole document always includes this many bytes from its start."""
LINES_BEFORE: Final = 20
"""An id with lines begins at least this many lines before the hit."""
ID_LINE_STEP: Final = 200
"""Ids with lines begin at multiples of this, so that neighbouring hits are one result."""
MAX_TITLE: Final = 200
TITLE_LINES: Final = 50
"""Lines searched for a title."""
_CHUNK_CHARACTERS: Final = 1_000
_LINE_BREAK_TOKENS: Final = 2
"""Maximum number of tokens of a line break in JSON."""

_MARKDOWN_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_META_TITLE: Final = re.compile(r"title:[ \t]*(?P<quote>[\"']?)(.+?)(?P=quote)[ \t]*$", re.IGNORECASE)
_MARKDOWN_FENCE: Final = re.compile(r" {0,3}(?:```|~~~)")


class ConnectorResult(Result):
    """One result of `search`."""

    id: str = Field(description="pass it to fetch")
    title: str
    url: str


class ConnectorResults(Result):
    """What `search` found, best first."""

    results: tuple[ConnectorResult, ...]
    warnings: Annotated[
        tuple[str, ...],
        Field(exclude_if=lambda value: value == (), description="why results may be missing"),
    ] = ()


class FetchMetadata(Result):
    """Where a fetched text comes from."""

    path: str
    media_type: str
    modified: str = Field(description="time of the last change, UTC")
    pages: int | None = Field(description="pages of the document, null when it has none")
    page: int | None = Field(description="the page that this is, or that it begins on")
    total_lines: int = Field(description="lines of the document")
    lines: str | None = Field(description="first and last line of this text, null when it has none")
    truncated: bool = Field(description="whether the text goes on; then next_id gives the rest")
    next_id: str | None
    notes: tuple[str, ...] = Field(description="what was repaired in the text, or is missing from it")


class FetchedDocument(Result):
    """The text behind an id."""

    id: str
    title: str
    text: str
    url: str
    metadata: FetchMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Part of a document's text, from line `first` to `last`; `rest` is the id of the remainder, None if it is complete."""

    text: str
    first: int
    last: int
    rest: DocumentId | None


def text_part(text: DocumentText, wanted: DocumentId, max_tokens: int = MAX_TOKENS) -> TextPart:
    """Return as much of the wanted text as `max_tokens` allows, cut at a line end or within an overlong line.

    A line that is continued under the next number is one line here.

    Raises:
        InvalidArguments: the page or the line is beyond the document.
    """
    first, last = _line_range(text, wanted)
    end = text.page_lines(wanted.page)[1] if wanted.page is not None else wanted.last
    kept = ""
    tokens, characters = 0, MAX_CHARACTERS
    for number in range(first, last + 1):
        skipped = wanted.character - 1 if number == first else 0
        line = text.line(number)[skipped:]
        shown = _beginning(line, tokens=max_tokens - tokens, characters=characters)
        if shown == line and tokens < max_tokens and characters > 0:
            kept += line if number == first or text.is_continuation(number) else f"\n{line}"
            tokens += _tokens(line)
            characters -= len(line) + 1
            continue
        if kept or (number > first and not text.is_continuation(number)):
            rest = DocumentId(path=text.path, first=number, last=end)
            if text.is_continuation(number):
                behind = len(text.line(number - 1)) + 1
                rest = DocumentId(path=text.path, first=number - 1, last=end, character=behind)
            return TextPart(text=kept, first=first, last=number - 1, rest=rest)
        rest = DocumentId(path=text.path, first=number, last=end, character=skipped + len(shown) + 1)
        return TextPart(text=shown, first=first, last=number, rest=rest)
    return TextPart(text=kept, first=first, last=last, rest=None)


def _beginning(line: str, *, tokens: int, characters: int) -> str:
    """Return the start of a line, in whole chunks, within these limits; all of it if it fits."""
    for at in range(0, len(line), _CHUNK_CHARACTERS):
        chunk = line[at : at + _CHUNK_CHARACTERS]
        tokens -= _token_cost(chunk)
        characters -= len(chunk)
        if tokens < 1 or characters < 1:
            return line[:at]
    return line


def _tokens(line: str) -> int:
    """Estimate the tokens of a line and its line break, the way `_beginning` counts them."""
    return (
        sum(_token_cost(line[at : at + _CHUNK_CHARACTERS]) for at in range(0, len(line), _CHUNK_CHARACTERS))
        + _LINE_BREAK_TOKENS
    )


def _token_cost(text: str) -> int:
    """Estimate the tokens of a text as JSON, which is what the model reads."""
    return ceiling_tokens(json.dumps(text, ensure_ascii=False)[1:-1])


def _line_range(text: DocumentText, wanted: DocumentId) -> tuple[int, int]:
    if wanted.page is not None:
        if text.pages is None:
            raise InvalidArguments(
                "id: this document has no pages", hint=f"Fetch the whole document: {text.path}"
            )
        if wanted.page > text.pages:
            raise InvalidArguments(
                f"id: the document has {counted(text.pages, 'page')}",
                hint=f"Use a page from 1 to {text.pages}.",
                pages=text.pages,
            )
        return text.page_lines(wanted.page)
    last = min(wanted.last or text.total_lines, text.total_lines)
    if wanted.first > max(text.total_lines, 1) or (wanted.last is not None and wanted.first > wanted.last):
        raise InvalidArguments(
            f"id: the document has {counted(text.total_lines, 'line')}",
            hint=f"Use lines from 1 to {text.total_lines}.",
            total_lines=text.total_lines,
        )
    return wanted.first, last


def title_of(text: DocumentText) -> str:
    """Return the title from the front matter or first heading of a Markdown document, else the file name."""
    name = text.path.rpartition("/")[2]
    if not format_of(text.media_type).markdown or not text.total_lines:
        return name
    found = next(_titles(text), "")
    title = " ".join(without_hidden(found)[0].split())
    return (title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…") or name


def _titles(text: DocumentText) -> Iterator[str]:
    fenced = front_matter = False
    for number in range(1, min(text.total_lines, TITLE_LINES) + 1):
        line = text.line(number)
        if line.rstrip() == "---" and (number == 1 or front_matter):
            front_matter = number == 1
        elif front_matter:
            if match := _META_TITLE.match(line):
                yield match[2]
        elif _MARKDOWN_FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _MARKDOWN_HEADING.match(line)):
            yield match[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connector:
    library: Library
    links: LinkTemplate | None
    extract_timeout_s: float
    max_tokens: int

    def url(self, path: str, page: int | None) -> str:
        if self.links is not None:
            return self.links.link(path, page)
        return document_uri(path) + ("" if page is None else f"#page={page}")

    async def results(self, outcome: SearchOutcome) -> list[ConnectorResult]:
        titles: dict[str, str | None] = {}
        found: dict[str, ConnectorResult] = {}
        for hit in outcome.hits:
            if hit.document not in titles:
                titles[hit.document] = await self._title(hit.document, paged=hit.page is not None)
            title = titles[hit.document]
            if title is None:
                continue
            named = await self._named(hit.document, hit.line_number, hit.page)
            url = self.url(hit.document, hit.page)
            result = ConnectorResult(id=str(named), title=_titled(title, named), url=url)
            found.setdefault(result.id, result)
            if len(found) == MAX_RESULTS:
                break
        return list(found.values())

    async def _title(self, path: str, *, paged: bool) -> str | None:
        """Return the title of a document; None if it no longer exists."""
        name = path.rpartition("/")[2]
        if paged:  # only Markdown documents declare a title
            return name
        try:
            return title_of(await self.library.read(path))
        except DocumentNotFound:
            return None
        except DocumentError:
            return name

    async def _named(self, path: str, line: int, page: int | None) -> DocumentId:
        """Return the id whose text contains the hit: the whole document, if its fetched start includes the hit."""
        if page is not None:
            return DocumentId(path=path, page=page)
        try:
            text = await self.library.read(path)
        except DocumentError:
            return DocumentId(path=path)
        if line > text.total_lines or text.offsets(line, line)[1] <= NEAR_BYTES:
            return DocumentId(path=path)
        before = max(line - 1 - LINES_BEFORE, 0)
        return DocumentId(path=path, first=before // ID_LINE_STEP * ID_LINE_STEP + 1)

    async def fetch(self, given: str) -> FetchedDocument:
        wanted = DocumentId.parse(given)
        record(documents=[wanted.path])
        with waiting(wanted.path, limit_s=self.extract_timeout_s):
            path = await resolve_path(self.library, wanted.path)
            text = await self.library.read(path)
        record(documents=[path])
        part = text_part(text, wanted, self.max_tokens)
        shown, hidden = without_hidden(part.text)
        notes = (*text.notes, *([hidden_note(hidden)] if hidden else ()))
        page = text.page_of(part.first) if text.total_lines else None
        identified = DocumentId(
            path=path, page=wanted.page, first=wanted.first, last=wanted.last, character=wanted.character
        )
        title = _titled(title_of(text), identified)
        info = DocumentInfo(path=path, root="", media_type=text.media_type, identity=text.identity)
        return FetchedDocument(
            id=str(identified),
            title=title,
            text=_with_notes(replace(part, text=shown), notes=notes, total_lines=text.total_lines),
            url=self.url(path, page if str(identified) != path else None),
            metadata=FetchMetadata(
                path=path,
                media_type=text.media_type,
                modified=info.modified.isoformat().replace("+00:00", "Z"),
                pages=text.pages,
                page=page,
                total_lines=text.total_lines,
                lines=f"{part.first}-{part.last}" if part.first <= part.last else None,
                truncated=part.rest is not None,
                next_id=str(part.rest) if part.rest is not None else None,
                notes=notes,
            ),
        )


def _titled(title: str, named: DocumentId) -> str:
    """Return the title for an id: with its page, or the line it starts at."""
    if named.page is not None:
        return f"{title}, page {named.page}"
    return f"{title}, from line {named.first}" if named.first > 1 or named.character > 1 else title


def _with_notes(part: TextPart, *, notes: Sequence[str], total_lines: int) -> str:
    """Return the text with notes in front, and behind it how to fetch the rest."""
    before = "".join(f"[{note}]\n" for note in notes)
    if part.rest is None:
        return before + part.text
    within = f" within line {part.last}" if part.rest.character > 1 else f" after line {part.last}"
    return f'{before}{part.text}\n[cut{within} of {total_lines}; fetch the rest with id "{part.rest}"]'


def _connector_warnings(outcome: SearchOutcome) -> tuple[str, ...]:
    """Return why results may be missing; an incomplete index comes first."""
    if not outcome.unreadable:
        return outcome.warnings
    count = len(outcome.unreadable)
    partial = sum(reason.startswith(IN_PART) for _, reason in outcome.unreadable)
    said = [
        counted(number, f"document {one}", f"documents {many}")
        for number, one, many in (
            (count - partial, "gives no text and was not searched", "give no text and were not searched"),
            (partial, "was searched in part", "were searched in part"),
        )
        if number
    ]
    return (*outcome.warnings, *said)


def add_connector_tools(
    server: FastMCP[Any],
    *,
    library: Library,
    engine: DocumentSearch,
    annotations: ToolAnnotations,
    mode: Mode = "keyword",
    document_url: str | None = None,
    extract_timeout_s: float = 60.0,
    max_tokens: int = MAX_TOKENS,
) -> None:
    """Add `search` and `fetch` to a server.

    `mode` is how `search` ranks. `document_url` is a `LinkTemplate`; without it, URLs are `research://` URIs. Progress is reported while `fetch` waits
    for a document, for up to `extract_timeout_s` seconds. `max_tokens` is the estimated size of one fetched text.

    Raises:
        ValueError: `document_url` is not a valid template.
    """
    links = LinkTemplate.parse(document_url) if document_url is not None else None
    connector = _Connector(
        library=library, links=links, extract_timeout_s=extract_timeout_s, max_tokens=max_tokens
    )
    _add_search(server, connector=connector, engine=engine, mode=mode, annotations=annotations)
    _add_fetch(server, connector=connector, annotations=annotations)


def _add_search(
    server: FastMCP[Any],
    *,
    connector: _Connector,
    engine: DocumentSearch,
    mode: Mode,
    annotations: ToolAnnotations,
) -> None:
    @described(
        server.tool,
        title="Search the research folder",
        annotations=annotations,
        output_schema=output_schema(ConnectorResults),
    )
    async def search(
        ctx: Context,
        query: Annotated[
            str,
            Field(
                min_length=1,
                max_length=10_000,
                description='words (the more of them a passage has, the better), "a phrase", +must, -not',
            ),
            READ_TEXT,
        ],
    ) -> ConnectorResults:
        """Find documents of the research folder (PDF, Office, mail, text) by words; best first. Then fetch a result by its id.

        Results are pages of PDFs and documents or parts of other files. A warning that begins with INCOMPLETE says that
        the index is still being built: search again in a few seconds.
        """
        outcome = await engine.search(query, mode=mode, limit=MAX_HITS, on_progress=Progress(ctx, 1).advance)
        results = await connector.results(outcome)
        record(documents=sorted({hit.document for hit in outcome.hits}))
        client_log = ClientLog(ctx, server.name)
        warnings = _connector_warnings(outcome)
        for warning in warnings:
            await client_log.warning(warning)
        await client_log.info(
            f"{counted(len(results), 'result')} in {counted(outcome.total_documents, 'document')}"
        )
        return ConnectorResults(results=tuple(results), warnings=warnings)


def _add_fetch(server: FastMCP[Any], *, connector: _Connector, annotations: ToolAnnotations) -> None:
    @described(
        server.tool,
        title="Fetch a document",
        annotations=annotations,
        output_schema=output_schema(FetchedDocument),
    )
    async def fetch(
        ctx: Context,
        id: Annotated[  # noqa: A002  (the name is the contract's)
            str,
            Field(
                min_length=1,
                max_length=20_000,
                description="an id that search gave, or a document's path: the whole document, "
                "#page=3 behind it for one page, #lines=2001- for the lines from there",
                examples=["papers/tor.pdf#page=3", "notes/log.txt"],
            ),
            READ_TEXT,
        ],
    ) -> FetchedDocument:
        """Get the text of a document, a page or a part that search found.

        A long text is cut at a line's end. Then metadata.truncated is true, and metadata.next_id and the last line of the
        text name the id that gets the rest.
        """
        fetched = await connector.fetch(id)
        await ClientLog(ctx, server.name).info(
            f"{fetched.id} fetched: lines {fetched.metadata.lines} of {fetched.metadata.total_lines}"
        )
        return fetched
