"""Strict parsers of the JSON that a model is asked for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from research_reasoning.replies.code_spans import in_prose
from research_shared.text.visible import visible

MAX_CLAIM: Final = 600
MAX_QUOTES: Final = 3
MAX_MARKS: Final = 20
"""Findings per insight: a model that lists all of them for each insight would make a result of megabytes."""

MAX_QUOTE_CHARS: Final = 1_200

_DASH: Final = "[-\u2010-\u2015\u2212]"
_SOURCE_NUMBERS: Final = rf"(?:(?:sources?|documents?|docs?|ref(?:erence)?s?|nos?)\.?\s{{0,3}}|\#)?\d{{1,18}}(?:\s{{0,3}}{_DASH}\s{{0,3}}\d{{1,18}})?"
_PLACE: Final = (
    r"(?:\s{0,3},)?\s{0,3}(?:(?:pp?|pages?|lines?|ll?|sec(?:tion)?s?|ch(?:apter)?s?|figs?|figures?|tables?|para)\b|§|†|:)"
    r"[^\[\]\u3010\u3011\uff3b\uff3d\n]{0,80}"
)
_CITATION: Final = re.compile(
    rf"""(?P<space>[ \t]?)(?P<outer>\[)?\\?[\[\u3010\uff3b]\s{{0,3}}
        (?P<numbers>{_SOURCE_NUMBERS}(?:\s{{0,3}}(?:[,;&]|and)\s{{0,3}}{_SOURCE_NUMBERS})*)
        (?P<place>{_PLACE})?\s{{0,3}}\\?[\]\u3011\uff3d](?(outer)\])""",
    re.VERBOSE | re.IGNORECASE,
)
_RANGE: Final = re.compile(rf"(\d+)(?:\s*{_DASH}\s*(\d+))?")
_WIDEST: Final = 50
"""Widest range of source numbers that is expanded; of a wider one only the ends count."""


@dataclass(frozen=True, slots=True)
class RawFinding:
    """A statement of a document in the model's words, with its unverified quotes."""

    claim: str
    quotes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Combined:
    """An answer over all documents. An insight is a claim and the marks of its findings."""

    answered: bool
    synthesis: str
    insights: tuple[tuple[str, tuple[str, ...]], ...]


def json_object(answer: str) -> Mapping[str, Any] | None:
    """Return the JSON object in an answer, also from a code fence or between words, or None."""
    decoder = json.JSONDecoder(strict=False)
    for match in re.finditer(r"\{", answer[:200_000]):
        try:
            value, _ = decoder.raw_decode(answer, match.start())
        except (ValueError, RecursionError):
            if match.start() > answer.index("{") + _MAX_PREFACE:
                return None
            continue
        return value if isinstance(value, dict) else None
    return None


_MAX_PREFACE: Final = 2_000
"""Largest distance of the object from the first brace, to bound the work on an answer full of braces."""


def findings(answer: str, most: int) -> list[RawFinding] | None:
    """Return at most `most` findings of an answer about one document, or None if it is malformed."""
    value = json_object(answer)
    if value is None or not isinstance(value.get("findings"), list):
        return None
    found: list[RawFinding] = []
    for item in value["findings"][:most]:
        if not isinstance(item, dict) or not isinstance(item.get("claim"), str) or not item["claim"].strip():
            return None
        quotes = item.get("quotes", [])
        quotes = [quotes] if isinstance(quotes, str) else quotes
        if not isinstance(quotes, list) or not all(isinstance(quote, str) for quote in quotes):
            return None
        kept = tuple(_bounded(quote) for quote in quotes[:MAX_QUOTES] if quote.strip())
        # Numbers in brackets are the document's own references here; later they would pass for citations of sources.
        claim = without_citations(item["claim"])
        found.append(RawFinding(" ".join(claim.split())[:MAX_CLAIM], kept))
    return found


def _bounded(quote: str) -> str:
    """Return a quote, cut with an ellipsis so that the part does not pass for the whole."""
    return quote if len(quote) <= MAX_QUOTE_CHARS else quote[: MAX_QUOTE_CHARS - 1] + "…"


def combined(answer: str, most: int) -> Combined | None:
    """Return the combination of an answer with at most `most` insights, or None if it is malformed."""
    value = json_object(answer)
    if value is None or not isinstance(value.get("synthesis"), str) or not value["synthesis"].strip():
        return None
    insights = value.get("insights")
    if not isinstance(insights, list) or not isinstance(value.get("answered", True), bool):
        return None
    kept: list[tuple[str, tuple[str, ...]]] = []
    for item in insights[:most]:
        if not isinstance(item, dict) or not isinstance(item.get("claim"), str) or not item["claim"].strip():
            return None
        marks = item.get("evidence", [])
        if not isinstance(marks, list):
            return None
        texts = tuple(str(mark).strip(" []") for mark in marks[:MAX_MARKS])
        kept.append((" ".join(item["claim"].split())[:MAX_CLAIM], texts))
    return Combined(value.get("answered", True), value["synthesis"].strip(), tuple(kept))


def checked_citations(text: str, citable: set[int]) -> tuple[str, list[int]]:
    """Return the text without citations of sources outside `citable`, and the removed numbers.

    Citations are numbers in brackets of any kind: `[1]`, `[1, 2]`, `[1-3]`, `[1, p. 3]`, `[Source 1]`, `[[1]]`, `【1】`.
    Invisible characters, which could hide one, are removed as well. Code is unchanged, unless it is only a citation.
    """
    wrong: list[int] = []

    def keep(match: re.Match[str]) -> str:
        numbers = [
            number for first, last in _RANGE.findall(match["numbers"]) for number in _counted(first, last)
        ]
        missing = [number for number in numbers if number not in citable]
        if not missing:
            return match[0]
        wrong.extend(missing)
        right = ", ".join(str(number) for number in numbers if number in citable)
        if right:
            return f"{match['space']}[{right}{match['place'] or ''}]"
        following = match.string[match.end() : match.end() + 1]
        return match["space"] if following.isalnum() else ""

    def only_cites(content: str) -> bool:
        return _CITATION.fullmatch(content.strip()) is not None

    checked = in_prose(visible(text), lambda prose: _CITATION.sub(keep, prose), no_code=only_cites)
    return checked, wrong


def without_citations(text: str) -> str:
    """Remove a document's own numbers in brackets, which would later pass for citations of sources."""
    return checked_citations(text, set())[0]


def _counted(first: str, last: str) -> list[int]:
    low, high = int(first), int(last or first)
    if 0 <= high - low <= _WIDEST:
        return list(range(low, high + 1))
    return [low, high]
