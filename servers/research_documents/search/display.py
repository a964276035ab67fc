"""Formats the lines of a hit: whole, or cut around the match and marked with an ellipsis."""

from collections.abc import Sequence
from typing import Final

from research_documents.search.outcome import Hit
from research_shared.documents import DocumentText

MAX_LINE: Final = 500
"""Characters of one displayed line."""
CUT_MARK: Final = "…"
HIT_OVERHEAD_BYTES: Final = 150
"""Bytes that the field names and numbers of one hit take as JSON."""


def cut(line: str, at: int = 0, most: int = MAX_LINE) -> str:
    """Return the line, or about `most` characters of it around position `at`, with `…` where text is left out."""
    if len(line) <= most:
        return line
    start = max(0, min(at - most // 4, len(line) - most))
    stop = start + most
    return (CUT_MARK if start else "") + line[start:stop] + (CUT_MARK if stop < len(line) else "")


def cut_bytes(data: bytes, *, begin: int, end: int, at: int) -> str:
    """Return the line at the bytes `begin:end` of UTF-8 text, cut around byte `at`, decoding little more than is shown."""
    if end - begin <= MAX_LINE:
        return data[begin:end].decode("utf-8")
    reach = 4 * MAX_LINE
    low, high = max(begin, at - reach), min(end, at + reach)
    while low > begin and _continues(data[low]):
        low -= 1
    while high < end and _continues(data[high]):
        high += 1
    line = data[low:high].decode("utf-8")
    shown = cut(line, len(data[low:at].decode("utf-8", "ignore")))
    if low > begin and not shown.startswith(CUT_MARK):
        shown = CUT_MARK + shown
    return shown + CUT_MARK if high < end and not shown.endswith(CUT_MARK) else shown


def _continues(byte: int) -> bool:
    """Return whether a byte is a UTF-8 continuation byte."""
    return byte & 0b1100_0000 == 0b1000_0000  # noqa: PLR2004


def context(data: bytes, *, begin: int, end: int, lines: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return up to `lines` lines before and after the line at the bytes `begin:end`."""
    before: list[str] = []
    edge = begin
    while edge > 0 and len(before) < lines:
        start = data.rfind(b"\n", 0, edge - 1) + 1
        before.append(cut_bytes(data, begin=start, end=edge - 1, at=start))
        edge = start
    after: list[str] = []
    start = end + 1
    while start < len(data) and len(after) < lines:
        stop = data.find(b"\n", start)
        stop = len(data) if stop < 0 else stop
        after.append(cut_bytes(data, begin=start, end=stop, at=start))
        start = stop + 1
    return tuple(reversed(before)), tuple(after)


def lines_around(text: DocumentText, line: int, lines: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return up to `lines` lines before and after a line: the same as `context`, for texts with long lines too."""
    before = text.lines(line - lines, line - 1)
    return tuple(map(cut, before)), tuple(map(cut, text.lines(line + 1, line + lines)))


def bounded(hits: Sequence[Hit], most_bytes: int) -> list[Hit]:
    """Return the first hits that take at most `most_bytes` together, but at least one."""
    for number, hit in enumerate(hits):
        most_bytes -= hit_bytes(hit)
        if number and most_bytes < 0:
            return list(hits[:number])
    return list(hits)


def hit_bytes(hit: Hit) -> int:
    """Return about how many bytes a hit takes in an answer."""
    size = HIT_OVERHEAD_BYTES + _encoded_size(hit.document) + _encoded_size(hit.matched_text)
    if hit.before or hit.after:
        size += sum(map(_encoded_size, hit.before + hit.after))
    return size


def _encoded_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
