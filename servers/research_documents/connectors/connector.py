"""From the hits of a search to ids, titles and addresses, and from an id to its text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from research_documents.connectors.document_ids import DocumentId
from research_documents.connectors.parts import TextPart, text_part
from research_documents.connectors.results import ConnectorResult, FetchedDocument, FetchMetadata
from research_documents.connectors.titles import title_of
from research_documents.rendering import hidden_note
from research_documents.search import SearchOutcome
from research_shared.document_urls import LinkTemplate, document_uri
from research_shared.documents import DocumentInfo
from research_shared.errors import DocumentError, DocumentNotFound
from research_shared.reading.library import Library
from research_shared.telemetry import record
from research_shared.text.visible import without_hidden
from research_shared.tools.activity import waiting
from research_shared.tools.arguments import resolve_path

MAX_RESULTS: Final = 20
NEAR_BYTES: Final = 30_000
"""`fetch` of a whole document always includes this many bytes from its start."""
LINES_BEFORE: Final = 20
"""An id with lines begins at least this many lines before the hit."""
ID_LINE_STEP: Final = 200
"""Ids with lines begin at multiples of this, so that neighbouring hits are one result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """Looks up the results of `search` and the text that `fetch` returns.

    `links` gives the addresses of documents, `research://` URIs without it. `extract_timeout_s` is how long a text is waited
    for in seconds, `max_tokens` the estimated size of one fetched text.
    """

    library: Library
    links: LinkTemplate | None
    extract_timeout_s: float
    max_tokens: int

    def url(self, path: str, page: int | None) -> str:
        """Return the address of a document, or of a page of it."""
        if self.links is not None:
            return self.links.link(path, page)
        return document_uri(path) + ("" if page is None else f"#page={page}")

    async def results(self, outcome: SearchOutcome) -> list[ConnectorResult]:
        """Return the pages, documents and parts of documents that hold the hits of a search, best first."""
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
        """Return the text behind an id, as much of it as one reply holds.

        Raises:
            DocumentError: there is no such document, or it gives no text.
            InvalidArguments: the page or the line is beyond the document.
        """
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
