"""The account of what a model was shown of a document."""

from collections.abc import Sequence

from research_reasoning.replies.results import Coverage
from research_shared.documents import DocumentText
from research_shared.text.visible import visible


def is_blank(text: DocumentText, first: int = 1, last: int | None = None) -> bool:
    """Whether lines of a document, by default all, show nothing. Ends at the first one that does."""
    until = text.total_lines if last is None else min(last, text.total_lines)
    return not any(visible(text.line(number)).strip() for number in range(first, until + 1))


def coverage_of(text: DocumentText, ranges: Sequence[tuple[int, int]], clipped: int = 0) -> Coverage:
    """The coverage of a document by these line ranges (1-based, inclusive, in order)."""
    pages = {
        page
        for first, last in ranges
        for page in range(text.page_of(first) or 0, (text.page_of(last) or 0) + 1)
        if page
    }
    at, complete = 1, clipped == 0 and not text.missing_pages
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and first == joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    for first, last in [*ranges, (text.total_lines + 1, text.total_lines + 1)]:
        complete = complete and is_blank(text, at, first - 1)
        at = last + 1
    return Coverage(
        lines_shown=sum(last - first + 1 for first, last in ranges),
        lines_total=text.total_lines,
        pages_shown=len(pages) if text.pages is not None else None,
        pages_total=text.pages,
        ranges=joined,
        complete=complete,
        clipped_lines=clipped,
    )
