"""Lines as they are shown: whole, or cut around the match and marked."""

from collections.abc import Sequence
from typing import Final

from research_documents.search.outcome import Hit

MAX_LINE: Final = 500
"""Characters of one shown line."""
ELLIPSIS: Final = "…"
HIT_OVERHEAD_BYTES: Final = 150
"""What the names and numbers of one hit take as JSON."""


def cut(line: str, at: int = 0, most: int = MAX_LINE) -> str:
    """The line, or about `most` characters of it around the position `at`, with `…` where something is left out."""
    if len(line) <= most:
        return line
    start = max(0, min(at - most // 4, len(line) - most))
    stop = start + most
    return (ELLIPSIS if start else "") + line[start:stop] + (ELLIPSIS if stop < len(line) else "")


def cut_bytes(data: bytes, begin: int, end: int, at: int) -> str:
    """The same for the bytes `begin:end` of UTF-8 text, without decoding much more than is shown."""
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
    if low > begin and not shown.startswith(ELLIPSIS):
        shown = ELLIPSIS + shown
    return shown + ELLIPSIS if high < end and not shown.endswith(ELLIPSIS) else shown


def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first one of its character."""
    return byte & 0b1100_0000 == 0b1000_0000  # noqa: PLR2004


def context(data: bytes, begin: int, end: int, lines: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Up to `lines` lines before and after the line at the bytes `begin:end`."""
    before: list[str] = []
    edge = begin
    while edge > 0 and len(before) < lines:
        start = data.rfind(b"\n", 0, edge - 1) + 1
        before.append(cut_bytes(data, start, edge - 1, start))
        edge = start
    after: list[str] = []
    start = end + 1
    while start < len(data) and len(after) < lines:
        stop = data.find(b"\n", start)
        stop = len(data) if stop < 0 else stop
        after.append(cut_bytes(data, start, stop, start))
        start = stop + 1
    return tuple(reversed(before)), tuple(after)


def bounded(hits: Sequence[Hit], most_bytes: int) -> list[Hit]:
    """The first hits that come to at most so many bytes, but at least one."""
    for number, hit in enumerate(hits):
        most_bytes -= hit_bytes(hit)
        if number and most_bytes < 0:
            return list(hits[:number])
    return list(hits)


def hit_bytes(hit: Hit) -> int:
    """About how many bytes a hit takes in an answer."""
    size = HIT_OVERHEAD_BYTES + _encoded_size(hit.document) + _encoded_size(hit.matched_text)
    if hit.before or hit.after:
        size += sum(map(_encoded_size, hit.before + hit.after))
    return size


def _encoded_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
