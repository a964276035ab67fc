"""Titles of documents, as they declare them."""

import re
from collections.abc import Iterator
from typing import Final

from research_shared.documents import DocumentText
from research_shared.formats import format_of
from research_shared.text.visible import without_hidden

MAX_TITLE: Final = 200
TITLE_LINES: Final = 50
"""Lines searched for a title."""

_MARKDOWN_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_META_TITLE: Final = re.compile(r"title:[ \t]*(?P<quote>[\"']?)(.+?)(?P=quote)[ \t]*$", re.IGNORECASE)
_MARKDOWN_FENCE: Final = re.compile(r" {0,3}(?:```|~~~)")


def title_of(text: DocumentText) -> str:
    """Return the title from the front matter or first heading of a Markdown document, else the file name."""
    name = text.path.rpartition("/")[2]
    if not format_of(text.media_type).markdown or not text.total_lines:
        return name
    found = next(_titles(text), "")
    title = " ".join(without_hidden(found)[0].split())
    return (title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…") or name


def _titles(text: DocumentText) -> Iterator[str]:
    fenced = front_matter = False
    for number in range(1, min(text.total_lines, TITLE_LINES) + 1):
        line = text.line(number)
        if line.rstrip() == "---" and (number == 1 or front_matter):
            front_matter = number == 1
        elif front_matter:
            if match := _META_TITLE.match(line):
                yield match[2]
        elif _MARKDOWN_FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _MARKDOWN_HEADING.match(line)):
            yield match[1]
