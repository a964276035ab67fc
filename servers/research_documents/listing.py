"""Pages of the document listing."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from research_documents.results import Document, DocumentList
from research_shared.access.unread import count_of_unread
from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidCursor
from research_shared.reading.library import Library
from research_shared.tools.arguments import nothing_matches
from research_shared.tools.cursors import decode_cursor, encode_cursor, fingerprint

DEFAULT_LIMIT = 200
MAX_LIMIT = 1_000
MAX_DEFAULT_PAGE_BYTES = 64 * 1024
MAX_PAGE_BYTES = 256 * 1024
"""Approximate limits of a page as structured content; up to `DEFAULT_LIMIT` documents, the smaller one applies."""
DOCUMENT_OVERHEAD_BYTES = 110
"""Bytes one document takes beside its names."""


async def list_page(
    library: Library, *, pattern: str, limit: int, cursor: str | None, notes: Sequence[str] = ()
) -> DocumentList:
    """Return the documents after `cursor` that match `pattern`: at most `limit`, fewer if paths are very long.

    `notes` become warnings; files of types that are not read, and a pattern that matches nothing, add one each. The cursor names the last path of the previous page,
    so pages stay correct when files are added or removed in between.

    Raises:
        InvalidPattern: `pattern` is malformed.
        InvalidCursor: `cursor` belongs to another listing.
    """
    question = fingerprint("list", pattern)
    found, unread = await library.survey(pattern)
    start = 0
    if cursor is not None:
        after = decode_cursor(cursor, question)
        if not isinstance(after, str):
            raise InvalidCursor("the cursor is not one of this server's")
        start = bisect_right(found, after, key=lambda info: info.path)
    page = _bounded_page(
        found[start : start + limit], MAX_DEFAULT_PAGE_BYTES if limit <= DEFAULT_LIMIT else MAX_PAGE_BYTES
    )
    more = start + len(page) < len(found)
    warnings = list(notes)
    if cursor is None and (count := count_of_unread(unread, library.known_reasons(found))):
        warnings.append(count)
    if not found and (everything := await library.documents()):
        warnings.append(nothing_matches(pattern, [info.path for info in everything]))
    return DocumentList(
        documents=tuple(
            Document(
                path=info.path,
                filename=info.filename,
                size_bytes=info.size_bytes,
                media_type=info.media_type,
                modified=info.modified,
            )
            for info in page
        ),
        count=len(page),
        total=len(found),
        next_cursor=encode_cursor(question, page[-1].path) if more else None,
        warnings=tuple(warnings),
    )


def _bounded_page(documents: Sequence[DocumentInfo], most: int) -> Sequence[DocumentInfo]:
    """Return the first documents that take at most `most` bytes, but at least one."""
    sizes = accumulate(DOCUMENT_OVERHEAD_BYTES + 2 * len(info.path.encode()) for info in documents)
    return documents[: max(sum(size <= most for size in sizes), 1)]
