"""What the beginning of a text says about the document, for what its file does not declare.

Only what is hard to mistake is taken: front matter, the first heading, a line that is a date and nothing else, the first
line of a page that goes on with an abstract. Authors are never guessed, nor is a language.
"""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from research_shared.documents import DocumentInfo
from research_shared.formats import NO_METADATA, Metadata, format_of
from research_shared.reading.front_matter import front_matter

IDENTITY: Final = "metadata 1"
"""Increased when the same text gives other metadata. Stored texts are kept under it."""
HEAD_BYTES: Final = 8 * 1024
_MAX_LINES: Final = 260
_LINE_CHARS: Final = 400
"""Longer lines are no headings, and expressions would take long on them."""
_HEADING_LINES: Final = 60
_DATE_LINES: Final = 15
_DATE_LINE_CHARS: Final = 80
_YEAR: Final = re.compile("[12][0-9]{3}")
_ABSTRACT_LINES: Final = 40
_TITLE_CHARS: Final = (8, 150)
_MARKDOWN_TITLE: Final = re.compile(r"#{1,3}\s+(.*?)\s*#*$")
_UNDERLINE: Final = re.compile(r"={3,}\s*$")
_CODE_FENCE_LINE: Final = re.compile(r"\s*(?:```|~~~)")
_MARKDOWN_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_EMPHASIS: Final = re.compile(r"[*_`]+(?=\S)|(?<=\S)[*_`]+|\{#[^}]*\}|<[^>]{1,80}>")
_LABEL: Final = re.compile(
    r"^[\W_]*(?:(?:date|dated|published|last updated|updated|created|revised|version of|as of)\b[\W_]*)?",
    re.IGNORECASE,
)
_ONLY_DATE: Final = re.compile(
    r"(?:\d{4}-\d\d-\d\d|\d{1,2}\.? [A-Z][a-z]{2,8}\.? \d{4}|[A-Z][a-z]{2,8}\.? \d{1,2},? \d{4})(?: \(\d{4}-\d\d-\d\d\))?\W*"
)
_ISO_INSIDE: Final = re.compile(r"(?<![\d-])\d{4}-\d\d-\d\d(?![\d-])")
_ABSTRACT: Final = re.compile(r"\W*(?:abstract|summary|(?:1|I)?[. ]*introduction)\b", re.IGNORECASE)
_OPEN_END: Final = re.compile(
    r"(?:\b(?:a|an|and|as|at|by|for|from|in|of|on|or|the|to|with)|[:,-])$", re.IGNORECASE
)
_GOES_ON: Final = re.compile(r"[a-z(-]")


def with_first_page(info: DocumentInfo, declared: Metadata, data: bytes) -> Metadata:
    """Return the metadata of a document: what its file declares, and what its text begins with."""
    lines = data[:HEAD_BYTES].decode("utf-8", "ignore").split("\n", _MAX_LINES)[:_MAX_LINES]
    document_format = format_of(info.media_type)
    front = NO_METADATA
    if document_format.is_text:
        front, used = front_matter(lines)
        lines = lines[used:]
    lines = [line[:_LINE_CHARS] for line in lines[:_HEADING_LINES]]
    known = front.or_else(declared)
    if known.title and known.date:
        return known
    title = known.title
    if not title and document_format.markdown and document_format.part != "sheet":
        title = _first_heading(lines)
    elif not title and document_format.part == "page":
        title = _title_of_paper(lines)
    return known.or_else(Metadata.of(title=title, date=_date(lines, title or "", info.filename)))


def _first_heading(lines: Sequence[str]) -> str:
    """Return the first heading of a Markdown text; code between fences has none."""
    fenced, before = False, ""
    for line in lines[:_HEADING_LINES]:
        if _CODE_FENCE_LINE.match(line):
            fenced = not fenced
        elif not fenced:
            if match := _MARKDOWN_TITLE.match(line):
                return _without_marks(match[1])
            if before and _UNDERLINE.match(line):
                return _without_marks(before)
        before = line.strip()
    return ""


def _without_marks(text: str) -> str:
    return _EMPHASIS.sub("", _MARKDOWN_LINK.sub(r"\1", text)).strip()


def _title_of_paper(lines: Sequence[str]) -> str:
    """Return the first line of a page on which an abstract follows, with its second line if it plainly goes on there."""
    shown = [line.strip() for line in lines[:_ABSTRACT_LINES] if line.strip()]
    if not any(_ABSTRACT.match(line) for line in shown[1:]):
        return ""
    title = shown[0]
    if _OPEN_END.search(title) or _GOES_ON.match(shown[1]):
        title += shown[1] if shown[1].startswith("-") else f" {shown[1]}"
    title = title.rstrip("\u2217*†‡? ")
    least, most = _TITLE_CHARS
    return title if least <= len(title) <= most and " " in title else ""


def _date(lines: Sequence[str], title: str, filename: str) -> str:
    """Return the date that a line of the beginning consists of, or one in the title or in the file's name."""
    for line in islice(filter(str.strip, lines), _DATE_LINES):
        if len(line) > _DATE_LINE_CHARS or not _YEAR.search(line):
            continue
        rest = _LABEL.sub("", line, count=1)
        if _ONLY_DATE.fullmatch(rest) and (found := Metadata.of(date=rest).date):
            return found
    for text in (title, filename):
        if match := _ISO_INSIDE.search(text):
            return match[0]
    return ""
