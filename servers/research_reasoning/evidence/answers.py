"""Reads the answers that a model is asked for: strict about what they say, generous about how it is written."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from research_reasoning.evidence.lenient import Broken, Unknown, values
from research_reasoning.models.thinking import without_thinking
from research_reasoning.replies.code_spans import in_prose
from research_shared.text.visible import visible

MAX_CLAIM: Final = 600
MAX_QUOTES: Final = 3
MAX_MISSING: Final = 5
"""Open points of a question that an answer names."""
MAX_LISTED_TEXT: Final = 200
MAX_MARKS: Final = 20
"""Findings per insight: a model that lists all of them for each insight would make a result of megabytes."""

MAX_QUOTE_CHARS: Final = 1_200
MAX_READ: Final = 200_000
"""Characters of an answer that are read."""

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
    source: int | None = None
    """The number of its document, in an answer about several."""
    aspect: str = ""
    """The number or the name of what it is about, in an answer for a table."""
    date: str = ""
    """The date as it is stated, in an answer for a timeline."""


Marked = tuple[str, tuple[str, ...]]
"""A claim and the marks of its findings."""


@dataclass(frozen=True, slots=True)
class Combined:
    """An answer over all documents."""

    answered: bool
    synthesis: str
    insights: tuple[Marked, ...]
    contradictions: tuple[Marked, ...] = ()
    missing: tuple[str, ...] = ()
    """What of the question stays open, in the model's words."""
    left_out: int = 0
    """Insights and contradictions that are malformed, were cut, or are more than were asked for."""


def search_queries(answer: str, most: int) -> list[str]:
    """Return at most `most` search queries of an answer; none if it holds no list of them."""
    return _named_texts(answer, "queries", most)


def table_aspects(answer: str, most: int) -> list[str]:
    """Return at most `most` columns for a table of an answer; none if it holds no list of them."""
    return _named_texts(answer, "aspects", most)


def _named_texts(answer: str, key: str, most: int) -> list[str]:
    read = _last(answer, key, lambda _: None)
    return _listed_texts(read.items, most) if read is not None else []


def findings(answer: str, most: int) -> list[RawFinding] | None:
    """Return at most `most` findings of an answer about one document, or None if it holds no well-formed ones.

    The last object of the right shape counts. A malformed finding, or one that was cut, is left out; so is an example.
    """
    read = _last(answer, "findings", _finding)
    if read is None:
        return None
    kept = [finding for finding in map(_finding, read.items) if finding is not None]
    return kept[:most] if kept or read.is_empty else None


def findings_left_out(answer: str, most: int) -> int:
    """Return how many findings of an answer `findings` leaves out: malformed ones, ones that were cut, and those after `most`."""
    read = _last(answer, "findings", _finding)
    return 0 if read is None else _count_left_out(read.items, _finding, most)


def _count_left_out(items: Sequence[Any], read_item: Callable[[Any], object | None], most: int) -> int:
    """Return how many items are not among the first `most` that can be read, without those of the prompt's example."""
    said = [item for item in items if not _is_example({}, [item])]
    return len(said) - min(most, sum(read_item(item) is not None for item in said))


def combined(answer: str, most: int) -> Combined | None:
    """Return the combination of an answer with at most `most` insights, or None if it is malformed.

    The last object of the right shape counts. A malformed insight, or one that was cut, is left out.
    """
    read = _last(answer, "insights", _marked)
    if read is None:
        return None
    synthesis = _answer_paragraphs(read.outer.get("synthesis"))
    if looks_like_json(synthesis) or is_placeholder(synthesis):
        return None
    insights = [found for found in map(_marked, read.items) if found is not None]
    if not insights and not read.is_empty:
        return None
    listed = read.outer.get("contradictions")
    listed = listed if isinstance(listed, list) else []
    contradictions = [found for found in map(_marked, listed) if found]
    answered = _truth(read.outer.get("answered"))
    return Combined(
        bool(insights) if answered is None else answered,
        synthesis,
        tuple(insights[:most]),
        tuple(contradictions[:most]),
        tuple(_listed_texts(read.outer.get("missing"), MAX_MISSING)),
        # A model that sees none may write "none" or an empty object.
        _count_left_out(read.items, _marked, most)
        + _count_left_out([item for item in listed if isinstance(item, dict) and item], _marked, most),
    )


@dataclass(slots=True)
class _ReadAnswer:
    """An object of the right shape, and the items of its list as far as they could be read."""

    outer: Mapping[str, Any]
    items: list[Any]
    open: bool
    """Whether items that stand alone after it belong to it."""

    @property
    def is_empty(self) -> bool:
        return not self.items and not self.open


def _last(answer: str, key: str, read_item: Callable[[Any], object | None]) -> _ReadAnswer | None:
    """Return the last object with a list `key`, without its thinking. A list of items and items in a row count as one."""
    text, _ = without_thinking(answer[:MAX_READ])
    last: _ReadAnswer | None = None
    for value in values(text):
        outer = _outer(value, key)
        if outer is not None:
            listed = outer.get(key)
            items = listed if isinstance(listed, list) else [listed] if isinstance(listed, dict) else []
            if not _is_example(outer, items):
                last = _ReadAnswer(outer, items, open=isinstance(outer, Broken))
        elif key == "findings" and isinstance(value, list) and any(map(read_item, value)):
            last = _ReadAnswer({}, value, open=False)
        elif read_item(value) is not None:
            if last is not None and last.open:
                last.items.append(value)
            elif key == "findings":
                last = _ReadAnswer({}, [value], open=True)
    return last


def _outer(value: Any, key: str) -> Mapping[str, Any] | None:
    """Return the object with the answer's list, which may be the only member of another one."""
    for _ in range(2):
        if not isinstance(value, dict):
            return None
        if isinstance(value.get(key), list | dict) or (
            key == "findings" and value.get("relevant") is False and value.get(key) is None
        ):
            return value
        if key == "insights" and isinstance(value, Broken) and "synthesis" in value and key not in value:
            return value
        inner = [item for item in value.values() if isinstance(item, dict)]
        if len(inner) != 1:
            return None
        value = inner[0]
    return None


def _is_example(outer: Mapping[str, Any], items: Sequence[Any]) -> bool:
    """Whether an object is the prompt's example: what it holds are placeholders."""
    said = [item.get("claim") if isinstance(item, dict) else item for item in items]
    said += [outer["synthesis"]] if "synthesis" in outer else []
    return bool(said) and all(isinstance(text, str) and is_placeholder(text) for text in said)


_PLACEHOLDER: Final = re.compile(r"<[^<>\n]{1,80}>|\W*")
_EXAMPLES: Final = frozenset(
    {"one sentence in your words", "one sentence", "copied word for word from the document"}
)
"""What stands in the place of content in a prompt's example, besides dots and words in angle brackets."""


def is_placeholder(text: str) -> bool:
    """Whether a string is one of a prompt's example, such as `<one sentence>` or `...`, and no content."""
    text = text.strip()
    return text.lower() in _EXAMPLES or _PLACEHOLDER.fullmatch(text) is not None


def _claim(item: Any) -> str | None:
    """Return the claim of a whole item."""
    if not isinstance(item, dict) or isinstance(item, Broken):
        return None
    claim = item.get("claim")
    if "aspect" in item and isinstance(claim, int | float) and not isinstance(claim, bool):
        claim = str(claim)  # the entry of a table may be a number
    return " ".join(claim.split()) if isinstance(claim, str) and not is_placeholder(claim) else None


def _finding(item: Any) -> RawFinding | None:
    claim = _claim(item)
    if claim is None:
        return None
    listed = item.get("quotes", item.get("quote", []))
    listed = [listed] if isinstance(listed, str | dict) else listed
    if not isinstance(listed, list):
        return None
    quotes = [text for text in map(_quote, listed) if text is not None]
    if listed and not quotes:
        return None
    kept = tuple(_bounded(quote) for quote in quotes if not is_placeholder(quote))[:MAX_QUOTES]
    # Numbers in brackets are the document's own references here; later they would pass for citations of sources.
    said = " ".join(without_citations(claim).split())[:MAX_CLAIM]
    return RawFinding(
        said,
        kept,
        _source_number(item.get("source", item.get("document"))),
        _short_text(item.get("aspect", "")),
        _short_text(item.get("date", "")),
    )


def _short_text(value: Any) -> str:
    """Return a text or a number on one short line; nothing for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or isinstance(value, Unknown):
        return ""
    text = " ".join(visible(str(value)).split())[:MAX_LISTED_TEXT]
    return "" if is_placeholder(text) else text


def _source_number(value: Any) -> int | None:
    """Return the number of a source, which may be written as `2`, `"2"`, `[2]` or `"Source 2"`."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(value, int | float | str):
        return None
    number = re.search(r"\d{1,6}", str(value))
    return int(number[0]) if number else None


def _listed_texts(value: Any, most: int) -> list[str]:
    """Return the texts of a list, on one line each, without placeholders."""
    listed = value if isinstance(value, list) else [value]
    texts = (
        " ".join(text.split())[:MAX_LISTED_TEXT]
        for text in listed
        if isinstance(text, str) and not isinstance(text, Unknown) and not is_placeholder(text)
    )
    return list(dict.fromkeys(filter(None, texts)))[:most]


def _quote(quote: Any) -> str | None:
    """Return the text of a quote, which may be an object that holds it."""
    if isinstance(quote, dict):
        quote = next((quote[key] for key in ("text", "quote", "content") if key in quote), None)
    return quote if isinstance(quote, str) and not isinstance(quote, Unknown) else None


def _marked(item: Any) -> Marked | None:
    claim = _claim(item)
    if claim is None:
        return None
    marks = item.get("evidence", [])
    marks = marks.replace(";", ",").split(",") if isinstance(marks, str) else marks
    marks = [marks] if isinstance(marks, float) else marks
    if not isinstance(marks, list):
        return None
    texts = tuple(str(mark).strip(" []") for mark in marks[:MAX_MARKS] if isinstance(mark, str | float | int))
    return claim[:MAX_CLAIM], texts


def _bounded(quote: str) -> str:
    """Return a quote, cut with an ellipsis so that the part does not pass for the whole."""
    return quote if len(quote) <= MAX_QUOTE_CHARS else quote[: MAX_QUOTE_CHARS - 1] + "…"


def _answer_paragraphs(value: Any) -> str:
    """Return a text, which may be a list of its paragraphs."""
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "\n\n".join(value)
    return value.strip() if isinstance(value, str) else ""


def _truth(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "yes": True, "false": False, "no": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


_JSON: Final = re.compile(
    r"""\s*(?:`{3,}\w*\s*)?[{\[]\s*["'{\[}\]]
      | .*?["'](?:findings|claim|quotes|synthesis|insights|relevant|answered|evidence|contradictions)["']\s*:""",
    re.VERBOSE | re.DOTALL,
)


def looks_like_json(text: str) -> bool:
    """Whether a text is, or holds, the JSON that a model was asked for, or begins as any JSON."""
    return _JSON.match(text) is not None


def prose(answer: str) -> str:
    """Return what an answer says in words, or nothing if it is JSON."""
    text, _ = without_thinking(answer[:MAX_READ])
    return "" if looks_like_json(text) else text.strip()


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


def with_citations(text: str, write: Callable[[Sequence[int]], str | None]) -> str:
    """Return a text with its citations of sources written otherwise; code is unchanged.

    `write` gets the numbers of a citation, and returns what stands in its place, or None to leave it.
    """

    def rewritten(match: re.Match[str]) -> str:
        numbers = [
            number for first, last in _RANGE.findall(match["numbers"]) for number in _counted(first, last)
        ]
        written = write(numbers)
        return match[0] if written is None else f"{match['space']}{written}{match['place'] or ''}"

    return in_prose(text, lambda prose: _CITATION.sub(rewritten, prose), no_code=lambda _content: False)


def without_citations(text: str) -> str:
    """Remove a document's own numbers in brackets, which would later pass for citations of sources."""
    return checked_citations(text, set())[0]


def _counted(first: str, last: str) -> list[int]:
    low, high = int(first), int(last or first)
    if 0 <= high - low <= _WIDEST:
        return list(range(low, high + 1))
    return [low, high]
