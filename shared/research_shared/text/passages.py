"""Cut a document into passages with exact line ranges, for the index and for prompts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from research_shared.documents import DocumentText
from research_shared.formats import format_of

TARGET_PASSAGE_BYTES: Final = 1_200
MAX_PASSAGE_BYTES: Final = 2_000

# Matches the line break before a line that begins a block: a blank line, a code fence, a Markdown heading.
_BLANK: Final = re.compile(rb"\n(?=[ \t]*\n)")
_BLOCK_START: Final = re.compile(
    rb"\n(?:(?=[ \t]*\n)|(?P<fence> {0,3}(?:```|~~~))|(?P<heading>(?=#{1,6}[ \t])))"
)
_HEADING: Final = re.compile(rb"#{1,6}[ \t]+([^\n]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A passage as the byte range `begin:end` of the document's data, beginning at the 1-based line `start_line`."""

    begin: int
    end: int
    start_line: int
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A passage with its text. Lines are 1-based and inclusive; `page` is that of its first line."""

    start_line: int
    end_line: int
    page: int | None
    heading: str
    text: str


def _blocks(data: bytes, *, markdown: bool) -> Iterator[tuple[int, bool]]:
    """Yield the offset of each block in order, and whether a Markdown heading outside code fences begins it."""
    yield 0, markdown and _HEADING.match(data) is not None
    if not markdown:
        for match in _BLANK.finditer(data):
            yield match.end(), False
        return
    fenced = False
    for match in _BLOCK_START.finditer(data):
        if match.lastgroup == "fence":
            fenced = not fenced
        elif match.lastgroup == "heading":
            if not fenced:
                yield match.end(), True
        else:
            yield match.end(), False


def _split_range(data: bytes, *, begin: int, end: int, target: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield a range in pieces of about `target` bytes, cut between lines, or whole if it has at most `limit` bytes."""
    # Computed once: stripping the rest for each piece would take quadratic time.
    last = begin + len(data[begin:end].rstrip())
    while end - begin > limit:
        at = data.rfind(b"\n", begin, begin + target) + 1
        if at <= begin:
            at = data.find(b"\n", begin + target, end) + 1
        if at <= begin or at >= last:
            break
        yield begin, at
        begin = at
    yield begin, end


def _groups(text: DocumentText, target: int) -> Iterator[tuple[int, int, str]]:
    """Yield ranges of blocks with their heading. A heading, a page or a part of a long line begins a range; `target` bytes end it."""
    data = text.data
    pages = {text.offsets(line, line)[0] for line in text.page_starts if line <= text.total_lines}
    parts = frozenset(text.continued)
    blocks = dict.fromkeys((*pages, *parts), False)
    blocks.update(_blocks(data, markdown=format_of(text.media_type).markdown))
    begin, heading, has_body, title_end = 0, "", False, 0
    for offset, opens_section in sorted(blocks.items()):
        has_body = has_body or (offset > title_end and not data[title_end:offset].isspace())
        ends = has_body and (opens_section or offset in pages or offset - begin >= target)
        if ends or offset in parts:
            yield begin, offset, heading
            begin, has_body = offset, False
        title_end = max(title_end, begin)
        if opens_section and (match := _HEADING.match(data, offset)):
            heading = match[1].decode("utf-8").strip().rstrip("#").rstrip()
            title_end = match.end()
    yield begin, len(data), heading


def spans(
    text: DocumentText, *, target: int = TARGET_PASSAGE_BYTES, limit: int = MAX_PASSAGE_BYTES
) -> list[Span]:
    """Return the passages of a document as byte ranges of about `target` bytes, without blank lines at their ends.

    A heading, a page or a part of a long line begins a passage, a blank line may end one. A range longer than `limit` bytes is
    cut between other lines too, but never within a line.
    """
    data = text.data
    found: list[Span] = []
    at, line = 0, 1
    for group_begin, group_end, heading in _groups(text, target):
        for begin, end in _split_range(data, begin=group_begin, end=group_end, target=target, limit=limit):
            body = data[begin:end]
            blank = len(body) - len(body.lstrip())
            if blank == len(body):
                continue
            first = begin + body.rfind(b"\n", 0, blank) + 1
            last = begin + len(body.rstrip())
            line = text.line_at(first) if text.continued else line + data.count(b"\n", at, first)
            at = first
            found.append(Span(begin=first, end=last, start_line=line, heading=heading))
    return found


def passages(
    text: DocumentText, *, target: int = TARGET_PASSAGE_BYTES, limit: int = MAX_PASSAGE_BYTES
) -> list[Passage]:
    """Return the passages of a document in order, of about `target` and rarely over `limit` bytes."""
    return [_passage(text, span) for span in spans(text, target=target, limit=limit)]


def _passage(text: DocumentText, span: Span) -> Passage:
    body = text.data[span.begin : span.end]
    last = span.start_line + body.count(b"\n")
    return Passage(
        start_line=span.start_line,
        end_line=last,
        page=text.page_of(span.start_line),
        heading=span.heading,
        text=body.decode("utf-8"),
    )
