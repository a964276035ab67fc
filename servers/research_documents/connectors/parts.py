"""The part of a document's text that one `fetch` returns."""

import json
from dataclasses import dataclass
from typing import Final

from research_documents.connectors.document_ids import DocumentId
from research_shared.documents import DocumentText
from research_shared.errors import InvalidArguments
from research_shared.text.sizes import counted
from research_shared.text.tokens import ceiling_tokens

MAX_TOKENS: Final = 19_000
"""Estimated tokens of a fetched text; with its JSON and the error of the estimate it stays below 25,000."""
MAX_CHARACTERS: Final = 100_000
_CHUNK_CHARACTERS: Final = 1_000
_LINE_BREAK_TOKENS: Final = 2
"""Maximum number of tokens of a line break in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Part of a document's text, from line `first` to `last`; `rest` is the id of the remainder, None if it is complete."""

    text: str
    first: int
    last: int
    rest: DocumentId | None


def text_part(text: DocumentText, wanted: DocumentId, max_tokens: int = MAX_TOKENS) -> TextPart:
    """Return as much of the wanted text as `max_tokens` allows, cut at a line end or within an overlong line.

    A line that is continued under the next number is one line here.

    Raises:
        InvalidArguments: the page or the line is beyond the document.
    """
    first, last = _line_range(text, wanted)
    end = text.page_lines(wanted.page)[1] if wanted.page is not None else wanted.last
    kept = ""
    tokens, characters = 0, MAX_CHARACTERS
    for number in range(first, last + 1):
        skipped = wanted.character - 1 if number == first else 0
        line = text.line(number)[skipped:]
        shown = _beginning(line, tokens=max_tokens - tokens, characters=characters)
        if shown == line and tokens < max_tokens and characters > 0:
            kept += line if number == first or text.is_continuation(number) else f"\n{line}"
            tokens += _tokens(line)
            characters -= len(line) + 1
            continue
        if kept or (number > first and not text.is_continuation(number)):
            rest = DocumentId(path=text.path, first=number, last=end)
            if text.is_continuation(number):
                behind = len(text.line(number - 1)) + 1
                rest = DocumentId(path=text.path, first=number - 1, last=end, character=behind)
            return TextPart(text=kept, first=first, last=number - 1, rest=rest)
        rest = DocumentId(path=text.path, first=number, last=end, character=skipped + len(shown) + 1)
        return TextPart(text=shown, first=first, last=number, rest=rest)
    return TextPart(text=kept, first=first, last=last, rest=None)


def _beginning(line: str, *, tokens: int, characters: int) -> str:
    """Return the start of a line, in whole chunks, within these limits; all of it if it fits."""
    for at in range(0, len(line), _CHUNK_CHARACTERS):
        chunk = line[at : at + _CHUNK_CHARACTERS]
        tokens -= _token_cost(chunk)
        characters -= len(chunk)
        if tokens < 1 or characters < 1:
            return line[:at]
    return line


def _tokens(line: str) -> int:
    """Estimate the tokens of a line and its line break, the way `_beginning` counts them."""
    return (
        sum(_token_cost(line[at : at + _CHUNK_CHARACTERS]) for at in range(0, len(line), _CHUNK_CHARACTERS))
        + _LINE_BREAK_TOKENS
    )


def _token_cost(text: str) -> int:
    """Estimate the tokens of a text as JSON, which is what the model reads."""
    return ceiling_tokens(json.dumps(text, ensure_ascii=False)[1:-1])


def _line_range(text: DocumentText, wanted: DocumentId) -> tuple[int, int]:
    if wanted.page is not None:
        if text.pages is None:
            raise InvalidArguments(
                "id: this document has no pages", hint=f"Fetch the whole document: {text.path}"
            )
        if wanted.page > text.pages:
            raise InvalidArguments(
                f"id: the document has {counted(text.pages, 'page')}",
                hint=f"Use a page from 1 to {text.pages}.",
                pages=text.pages,
            )
        return text.page_lines(wanted.page)
    last = min(wanted.last or text.total_lines, text.total_lines)
    if wanted.first > max(text.total_lines, 1) or (wanted.last is not None and wanted.first > wanted.last):
        raise InvalidArguments(
            f"id: the document has {counted(text.total_lines, 'line')}",
            hint=f"Use lines from 1 to {text.total_lines}.",
            total_lines=text.total_lines,
        )
    return wanted.first, last
