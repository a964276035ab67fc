"""One page of the listing."""

from bisect import bisect_right

from research_documents.results import Document, DocumentList
from research_shared.cursors import decode_cursor, encode_cursor, fingerprint
from research_shared.errors import InvalidCursor
from research_shared.library import Library


async def list_page(library: Library, pattern: str, limit: int, cursor: str | None) -> DocumentList:
    """The documents after `cursor` that match `pattern`, at most `limit`.

    The cursor names the last path of the page before, so a page stays right when files come and go in between.

    Raises:
        InvalidPattern: `pattern` is no glob.
        InvalidCursor: `cursor` belongs to another listing.
    """
    question = fingerprint("list", pattern)
    found = await library.documents(pattern)
    start = 0
    if cursor is not None:
        after = decode_cursor(cursor, question)
        if not isinstance(after, str):
            raise InvalidCursor("the cursor is not one of this server's")
        start = bisect_right(found, after, key=lambda info: info.path)
    page = found[start : start + limit]
    more = start + limit < len(found)
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
    )
