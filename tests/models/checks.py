"""What must be true of every answer, whatever a model wrote: its form, and that no verified quote is false.

Quotes are looked up here by rules of their own, on lists of words, so that a mistake in the server's finder is not
repeated: letters and digits count, in order and complete; case, punctuation and Markdown do not.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from research_reasoning.replies.results import Summary, Synthesis

_NUMBER = r"\d+(?:[.,]\d+)*"
_WORD = re.compile(rf"{_NUMBER}|[^\W\d_]+(?:'[^\W\d_]+)*")
_CITATION = re.compile(r"\[\d[\d,;\s\u2013-]*\]")
_TARGET = re.compile(r"(?<=\])\([^()\s]*\)|(?<=\])\[[^\[\]]*\]")
_GAP = re.compile(r"\[\s*(?:\.\.\.|\u2026)\s*\]|\.\.\.|\u2026")
_BROKEN_WORD = re.compile(r"(?<=[^\W\d_])-[ \t]*\n[ \t]*(?=[^\W\d_])")
_MARKUP = re.compile(
    r"</?think(?:ing)?>|<\|[a-z_]+\|>|\"(?:findings|synthesis|insights|answered|relevant)\"\s*:"
)
_CITED = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")


def words(text: str) -> list[str]:
    """Return the words and numbers of a text, in small letters."""
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").replace("\u00ad", "")
    plain = _CITATION.sub(" ", _TARGET.sub(" ", plain)).replace("`", "").replace("_", " ")
    return _WORD.findall(plain.casefold())


def stands_in(quote: str, text: str) -> bool:
    """Return whether the words of a quote stand in a text: next to each other, or in order around its ellipses."""
    # A hyphen at the end of a line belongs to the word or only to the line break.
    return any(
        _in_order([words(part) for part in _GAP.split(quote)], words(reading))
        for reading in (text, _BROKEN_WORD.sub("", text))
    )


def _in_order(parts: Sequence[Sequence[str]], shown: Sequence[str]) -> bool:
    wanted = [list(part) for part in parts if part]
    at = 0
    for part in wanted:
        places = range(at, len(shown) - len(part) + 1)
        place = next((start for start in places if list(shown[start : start + len(part)]) == part), None)
        if place is None:
            return False
        at = place + len(part)
    return bool(wanted)


def wrong_summary(answer: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the form of a result of summarize_document."""
    result = Summary.model_validate(answer)
    wrong = [*_wrong_prose("summary", result.summary)]
    if not result.word_count:
        wrong.append("the summary has no words")
    if result.coverage.lines_shown > result.coverage.lines_total:
        wrong.append("more lines were shown than there are")
    if not result.coverage.complete and not result.warnings:
        wrong.append("a part of the document is missing without a warning")
    return wrong


def wrong_synthesis(answer: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong with a result of synthesize_research over documents whose lines are known."""
    result = Synthesis.model_validate(answer)
    wrong = [*_wrong_prose("synthesis", result.synthesis)]
    used = [source for source in result.sources if source.status == "used"]
    if (result.sources_used, result.sources_skipped) != (len(used), len(result.sources) - len(used)):
        wrong.append("the numbers of sources do not agree with the list of sources")
    cited = {int(number) for found in _CITED.findall(result.synthesis) for number in found.split(",")}
    if not cited <= set(range(1, len(result.sources) + 1)):
        wrong.append(f"a source is cited that is not there: {sorted(cited)}")
    for insight in result.key_insights:
        wrong += _wrong_prose("claim", insight.claim)
        if insight.verified and not (insight.evidence and all(quote.verified for quote in insight.evidence)):
            wrong.append("an insight is verified although its evidence is not")
        for quote in insight.evidence:
            if quote.verified:
                wrong += _wrong_quote(quote.quote, quote.lines, texts.get(quote.document))
    return wrong


def _wrong_prose(what: str, text: str) -> Iterator[str]:
    if not text.strip():
        yield f"the {what} is empty"
    if found := _MARKUP.search(text):
        yield f"the {what} holds what is meant for machines: {found[0]}"


def _wrong_quote(quote: str, lines: tuple[int, int] | None, text: str | None) -> Iterator[str]:
    if text is None:
        yield "a quote is verified in a document that was not asked for"
        return
    if lines is None:
        yield f"a quote is verified without a place: {quote!r}"
        return
    first, last = lines
    if not stands_in(quote, "\n".join(text.split("\n")[first - 1 : last])):
        yield f"a quote is verified that is not in lines {first} to {last}: {quote!r}"


def wrong_error(error: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the error of a model that did not answer: its hint must name the setting to change."""
    if error["code"] not in {"model_failed", "model_unavailable", "budget_exceeded"}:
        return [f"the error is {error['code']}: {error['message']}"]
    if "RESEARCH_" not in error["hint"]:
        return [f"no hint names a setting: {error['code']}: {error['message']} Hint: {error['hint']}"]
    return []
