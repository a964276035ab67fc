"""Pages of the document listing."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import anyio

from research_documents.results import Document, DocumentFacts, DocumentList
from research_documents.search.contract import DocumentSearch
from research_documents.search.outcome import Hit
from research_documents.search.request import OnProgress
from research_shared.access.unread import count_of_unread
from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidCursor
from research_shared.formats import NO_METADATA, Metadata
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.library import Library
from research_shared.text.sizes import counted
from research_shared.tools.arguments import nothing_matches
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

DEFAULT_LIMIT = 200
MAX_LIMIT = 1_000
MAX_DEFAULT_PAGE_BYTES = 64 * 1024
MAX_PAGE_BYTES = 256 * 1024
"""Approximate limits of a page as structured content; up to `DEFAULT_LIMIT` documents, the smaller one applies."""
DOCUMENT_OVERHEAD_BYTES = 110
"""Bytes one document takes beside its names."""
FACT_OVERHEAD_BYTES = 20
DETAILED_DOCUMENTS = 50
"""A page of more documents shows only which are copies and older versions, unless a filter chose the documents."""
DETAILS_WAIT_S: Final = 2.0
"""How long a listing of few documents waits until they are read."""


async def list_page(
    library: Library,
    engine: DocumentSearch,
    *,
    pattern: str,
    wanted: DocumentFilter,
    limit: int,
    cursor: str | None,
    notes: Sequence[str] = (),
    on_progress: OnProgress | None = None,
) -> DocumentList:
    """Return the documents after `cursor` that match `pattern` and are `wanted`: at most `limit`, fewer if paths are long.

    `notes` become warnings; files of types that are not read, a pattern or a filter that matches nothing, and documents
    that are not read yet or do not say what the filter asks for add one each. The cursor names the last path of the
    previous page, so pages stay correct when files are added or removed in between.

    Raises:
        InvalidPattern: `pattern` is malformed.
        InvalidCursor: `cursor` belongs to another listing.
    """
    question = fingerprint("list", pattern, wanted.key)
    missing = (
        await engine.read_wanted(pattern, wanted, on_progress=on_progress) if wanted.needs_text else None
    )
    everything, unread = await library.survey(pattern)
    if not wanted.needs_text and min(len(everything), limit) <= DETAILED_DOCUMENTS:
        # What documents say about themselves is known once they are read, which takes few of them no time.
        with anyio.move_on_after(DETAILS_WAIT_S):
            await engine.read_wanted(pattern, wanted)
    found, warnings = _wanted(engine, everything, wanted, missing)
    start = 0
    if cursor is not None:
        after = decode_cursor(cursor, question)
        if not isinstance(after, str):
            raise InvalidCursor("the cursor is not one of this server's")
        start = bisect_right(found, after, key=lambda info: info.path)
    shown = found[start : start + limit]
    brief = wanted.admits_everything and len(shown) > DETAILED_DOCUMENTS
    page = _bounded_page(
        _listed_documents(engine, shown, brief=brief),
        MAX_DEFAULT_PAGE_BYTES if limit <= DEFAULT_LIMIT else MAX_PAGE_BYTES,
    )
    more = start + len(page) < len(found)
    unknown = 0 if brief else sum(not _is_known(engine, info) for info in shown)
    if unknown:
        warnings.append(
            counted(
                unknown,
                "document is not read yet: its title, authors and copies are missing here",
                "documents are not read yet: their titles, authors and copies are missing here",
            )
        )
    warnings = [*library.fault_warnings(), *warnings, *notes]
    if cursor is None and (count := count_of_unread(unread, library.known_reasons(found))):
        warnings.append(count)
    if not everything and (others := await library.documents()):
        warnings.append(nothing_matches(pattern, [info.path for info in others]))
    return DocumentList(
        documents=tuple(page),
        count=len(page),
        total=len(found),
        next_cursor=encode_cursor(question, page[-1].path) if more else None,
        warnings=tuple(warnings),
    )


def _wanted(
    engine: DocumentSearch, everything: Sequence[DocumentInfo], wanted: DocumentFilter, missing: str | None
) -> tuple[list[DocumentInfo], list[str]]:
    """Return the documents that are wanted, and what is to be said about the choice, `missing` first."""
    if wanted.admits_everything:
        return list(everything), []
    known = [(info, _metadata_of(engine, info)) for info in everything]
    found = [
        info
        for info, metadata in known
        if wanted.admits(info, metadata or NO_METADATA) and (metadata is not None or not wanted.needs_text)
    ]
    warnings = [missing] if missing else []
    told = [(info, metadata or NO_METADATA) for info, metadata in known if metadata or not wanted.needs_text]
    if everything and not found:
        warnings.append(wanted.why_nothing(told or [(info, NO_METADATA) for info in everything]))
    warnings += silent_documents(wanted, told)
    return found, warnings


def silent_documents(wanted: DocumentFilter, told: Sequence[tuple[DocumentInfo, Metadata]]) -> list[str]:
    """Return a note on the documents that a filter leaves out because they do not say what it asks for."""
    lacking = Counter(
        name for info, metadata in told if wanted.admits_info(info) for name in wanted.lacking(metadata)
    )
    if not lacking:
        return []
    named = ", ".join(f"{count} name no {name}" for name, count in lacking.items())
    return [f"left out because they do not say: {named}"]


def filter_notes(engine: DocumentSearch, pattern: str, wanted: DocumentFilter, *, found: bool) -> list[str]:
    """Return what a search has to say about its filter: why it fits nothing, and what cannot be told of some documents."""
    if wanted.admits_everything:
        return []
    told = [(entry.info, entry.metadata) for entry in engine.entries(pattern) if not entry.reason]
    nothing = [wanted.why_nothing(told)] if told and not found else []
    return nothing + silent_documents(wanted, told)


def document_facts(engine: DocumentSearch, hits: Sequence[Hit]) -> list[DocumentFacts]:
    """Return what is known of the documents of hits, in their order; of many only what they are to others."""
    paths = list(dict.fromkeys(hit.document for hit in hits))
    notes = engine.version_notes()
    found = []
    for path in paths:
        entry = engine.entry(path)
        facts = DocumentFacts.facts_of(
            entry.metadata if entry else NO_METADATA,
            pages=entry.pages if entry else None,
            note=notes.get(path),
            brief=len(paths) > DETAILED_DOCUMENTS,
        )
        if any(facts.values()):
            found.append(DocumentFacts(path=path, **facts))
    return found


def _is_known(engine: DocumentSearch, info: DocumentInfo) -> bool:
    """Whether the present version of a document was read, or found to give no text."""
    entry = engine.entry(info.path)
    return entry is not None and entry.info.identity.same_file(info.identity)


def _metadata_of(engine: DocumentSearch, info: DocumentInfo) -> Metadata | None:
    """Return what a document says about itself, or None when its present version was not read or gives no text."""
    entry = engine.entry(info.path)
    if entry is None or entry.reason or not entry.info.identity.same_file(info.identity):
        return None
    return entry.metadata


def _listed_documents(
    engine: DocumentSearch, infos: Sequence[DocumentInfo], *, brief: bool
) -> list[Document]:
    notes = engine.version_notes()
    found = []
    for info in infos:
        entry = engine.entry(info.path)
        known = _is_known(engine, info)
        facts = DocumentFacts.facts_of(
            entry.metadata if entry and known else NO_METADATA,
            pages=entry.pages if entry and known else None,
            note=notes.get(info.path) if known else None,
            brief=brief,
        )
        found.append(
            Document(
                path=info.path,
                filename=info.filename,
                size_bytes=info.size_bytes,
                media_type=info.media_type,
                modified=info.modified,
                **facts,
            )
        )
    return found


def _listed_bytes(document: Document) -> int:
    """Return about how many bytes a document takes."""
    facts = (document.title, document.date, document.language, document.same_content_as, document.version_of)
    texts = [*filter(None, facts), *document.authors, *document.tags]
    return (
        DOCUMENT_OVERHEAD_BYTES
        + 2 * len(document.path.encode())
        + sum(len(text.encode()) + FACT_OVERHEAD_BYTES for text in texts)
    )


def _bounded_page(documents: Sequence[Document], most: int) -> Sequence[Document]:
    """Return the first documents that take at most `most` bytes, but at least one."""
    sizes = accumulate(map(_listed_bytes, documents))
    return documents[: max(sum(size <= most for size in sizes), 1)]
