"""Excerpts of a document, bounded in lines, bytes and tokens."""

from collections.abc import Sequence

from research_documents.results import DocumentExcerpt, NumberedLine
from research_shared.documents import LONGEST_LINE_BYTES, DocumentText
from research_shared.errors import InvalidArguments
from research_shared.text.sizes import counted
from research_shared.text.tokens import ceiling_tokens

MAX_EXCERPT_BYTES = 48 * 1024
MAX_EXCERPT_TOKENS = 12_000
"""Estimated tokens. Text without words (base64, rare characters) can take twice as many; clients accept 25,000."""
LINE_TOKENS = 3
"""Tokens of a line number."""
MAX_RESOURCE_BYTES = 512 * 1024
_ON_LONG_LINES = f"lines of more than {LONGEST_LINE_BYTES:,} bytes are continued under the next numbers"


def excerpt(
    text: DocumentText, *, start_line: int, max_lines: int, page: int | None, notes: Sequence[str] = ()
) -> DocumentExcerpt:
    """Return the lines from `start_line`, or those of `page`: as many whole lines as fit, at most `max_lines`.

    A `start_line` on that page is where reading starts. No line is so long that it does not fit by itself: see `continued_at`.
    `notes` come before those of the text.

    Raises:
        InvalidArguments: the page or the line is beyond the document.
    """
    first, last, said = _requested_lines(text, start_line=start_line, max_lines=max_lines, page=page)
    all_notes = [*notes, *said, *text.notes, *((_ON_LONG_LINES,) if text.continued else ())]
    lines: list[NumberedLine] = []
    budget = _ReplyBudget()
    for number in range(first, last + 1):
        line = text.line(number)
        if not budget.takes(line) and lines:
            break
        on = text.page_of(number)
        lines.append(NumberedLine(number=number, text=line, page=on, ocr=text.is_ocr(on)))
    reached = lines[-1].number if lines else last
    return DocumentExcerpt(
        document_path=text.path,
        media_type=text.media_type,
        lines=tuple(lines),
        total_lines=text.total_lines,
        pages=text.pages,
        next_start_line=reached + 1 if reached < text.total_lines else None,
        notes=tuple(all_notes),
    )


class _ReplyBudget:
    """Bytes and tokens left in a reply."""

    def __init__(self) -> None:
        self._bytes = MAX_EXCERPT_BYTES
        self._tokens = MAX_EXCERPT_TOKENS

    def takes(self, line: str) -> bool:
        """Return whether a line fits, and if so subtract it from the budget."""
        size = len(line.encode())
        if size > self._bytes:
            return False
        tokens = ceiling_tokens(line) + LINE_TOKENS
        if tokens > self._tokens:
            return False
        self._bytes -= size
        self._tokens -= tokens
        return True


def _requested_lines(
    text: DocumentText, *, start_line: int, max_lines: int, page: int | None
) -> tuple[int, int, list[str]]:
    """Return the first and the last line to show, and notes on the choice."""
    notes: list[str] = []
    if page is not None:
        if text.pages is None:
            raise InvalidArguments(
                "page: this document has no pages", hint="Read it with start_line instead."
            )
        if page > text.pages:
            raise InvalidArguments(
                f"page: the document has {counted(text.pages, 'page')}",
                hint=f"Use a page from 1 to {text.pages}.",
                pages=text.pages,
            )
        first, last = text.page_lines(page)
        if start_line > 1 and first <= start_line <= last:
            notes.append(f"page {page} is read from line {start_line} on; it begins at line {first}")
            first = start_line
        elif start_line > 1:
            notes.append(
                f"line {start_line} is not on page {page} (lines {first}-{last}): the page is shown; "
                "leave page out to read by line"
            )
        return first, min(last, first + max_lines - 1), notes
    if start_line > max(text.total_lines, 1):
        raise InvalidArguments(
            f"start_line: the document has {counted(text.total_lines, 'line')}",
            hint=f"Use a start_line from 1 to {text.total_lines}.",
            total_lines=text.total_lines,
        )
    return start_line, min(text.total_lines, start_line + max_lines - 1), notes


def whole_text(text: DocumentText) -> str:
    """Return the whole text of a document, or the lines that fit and a last line that says where to continue."""
    if len(text.data) <= MAX_RESOURCE_BYTES:
        return text.text
    shown = text.line_at(MAX_RESOURCE_BYTES) - 1
    begin, end = text.offsets(1, shown)
    kept = text.data[begin:end].decode("utf-8")
    return f"{kept}\n[cut after line {shown} of {text.total_lines}; go on with read_document from line {shown + 1}]"
