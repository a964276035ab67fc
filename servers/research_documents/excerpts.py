"""Stretches of a document, bounded in lines and bytes."""

from research_documents.results import DocumentExcerpt, NumberedLine
from research_shared.documents import DocumentText
from research_shared.errors import InvalidArguments

MAX_LINE_CHARACTERS = 4_000
MAX_EXCERPT_BYTES = 256 * 1024
"""A reply stays well below the 1 MiB that clients accept in one server-sent event."""
MAX_RESOURCE_BYTES = 512 * 1024


def excerpt(text: DocumentText, *, start_line: int, max_lines: int, page: int | None) -> DocumentExcerpt:
    """The lines from `start_line`, or those of `page`, at most `max_lines` and `MAX_EXCERPT_BYTES`.

    Raises:
        InvalidArguments: the page or the line is beyond the document.
    """
    first, last = _range(text, start_line, max_lines, page)
    lines: list[NumberedLine] = []
    size = 0
    for number, line in zip(range(first, last + 1), text.lines(first, last), strict=True):
        shown = _bounded(line)
        size += len(shown.encode())
        if lines and size > MAX_EXCERPT_BYTES:
            break
        lines.append(NumberedLine(number=number, text=shown, page=text.page_of(number)))
    reached = lines[-1].number if lines else last
    return DocumentExcerpt(
        document_path=text.path,
        media_type=text.media_type,
        lines=tuple(lines),
        total_lines=text.total_lines,
        pages=text.pages,
        next_start_line=reached + 1 if reached < text.total_lines else None,
        notes=text.notes,
    )


def _range(text: DocumentText, start_line: int, max_lines: int, page: int | None) -> tuple[int, int]:
    if page is not None:
        if text.pages is None:
            raise InvalidArguments(
                "page: this document has no pages", hint="Read it with start_line instead."
            )
        if page > text.pages:
            raise InvalidArguments(
                f"page: the document has {text.pages} pages",
                hint=f"Use a page from 1 to {text.pages}.",
                pages=text.pages,
            )
        first, last = text.page_lines(page)
        return first, min(last, first + max_lines - 1)
    if start_line > max(text.total_lines, 1):
        raise InvalidArguments(
            f"start_line: the document has {text.total_lines} lines",
            hint=f"Use a start_line from 1 to {text.total_lines}.",
            total_lines=text.total_lines,
        )
    return start_line, min(text.total_lines, start_line + max_lines - 1)


def _bounded(line: str) -> str:
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    return f"{line[:MAX_LINE_CHARACTERS]}… [{len(line) - MAX_LINE_CHARACTERS} more characters]"


def whole_text(text: DocumentText) -> str:
    """All of a document's text, or as many whole lines as fit a reply and a last line that says what is missing."""
    if len(text.data) <= MAX_RESOURCE_BYTES:
        return text.text
    shown = max(text.line_at(MAX_RESOURCE_BYTES) - 1, 1)
    begin, end = text.offsets(1, shown)
    kept = text.data[begin : min(end, MAX_RESOURCE_BYTES)].decode("utf-8", "ignore")
    return f"{kept}\n[cut after line {shown} of {text.total_lines}; go on with read_document from line {shown + 1}]"
