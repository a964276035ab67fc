"""The route without a model: selects sentences by the words they share with the content and the question.

Deterministic, offline, and labelled in the result. It answers in the formats of a model, so quotes, citations and
coverage are processed alike.
"""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from research_reasoning.models.protocol import (
    Completion,
    Cost,
    Done,
    Extract,
    Prompt,
    PromptOutcome,
    Route,
    Spend,
)
from research_shared.text.analysis import STOP_WORDS, stems
from research_shared.text.dates import stated_dates
from research_shared.text.quotes import sentence_boundaries
from research_shared.text.tokens import Estimator

MODEL_NAME: Final = "extractive"

_MARKUP: Final = re.compile(
    r"^\s*(?:#{1,6}\s|[-*+>|]\s|\d+[.)]\s|\[(?:page \d+, )?lines \d+-\d+\]$|```|~~~|\[[^\W\d_][^\[\]]{0,80}\]\s)"
)
"""Beginnings of lines that are no running text; the last is what readers put before properties, notes and links."""
_LOCATOR: Final = re.compile(r"^\[(?:page \d+, )?lines \d+-\d+\]$")
_ENDS_A_SENTENCE: Final = re.compile(r"[.!\u3002\uff01][\"')\]”\u2019]*$")
_LEANS_ON_BEFORE: Final = re.compile(
    r"(?:(?:this|that|these|those|it|they|he|she|both|such|here|there)\s+(?!paper|study|report|article|work|note|chapter)"
    r"|(?:however|therefore|thus|hence|moreover|furthermore|also|but|and|so|yet|instead|consequently|nevertheless)\b"
    r"|(?:dies|diese[rsmn]?|er|sie|es|jedoch|daher|deshalb|außerdem|aber|und|doch)\s)",
    re.IGNORECASE,
)
"""Beginnings of sentences that go on with a thought of the sentence before."""
_LEANING: Final = 0.5
"""What such a sentence counts, of what it would count otherwise."""
_AIM: Final = re.compile(
    r"\b(?:(?:in\s+)?this\s+(?:paper|study|report|article|chapter|note|document|thesis|work|guide|memo|review)"
    r"|we\s+(?:present|propose|show|describe|introduce|study|investigate|examine|report|compare|develop|argue)"
    r"|(?:aims?|purpose|goals?|objectives?)\s+(?:of|is|was|are|were)|aims\s+to"
    r"|ziel\s+(?:ist|war|de[rs])|(?:in\s+)?diese[rs]?\s+(?:arbeit|studie|bericht|artikel|kapitel))\b",
    re.IGNORECASE,
)
"""What a sentence says that tells what a document is for."""
_AIM_WITHIN: Final = 40
"""Sentences of a document among which one may tell what it is for."""
_MIN_SHARE: Final = 0.6
"""Weight of a question's terms that what is shown of a document holds if its sentences are to answer it."""
_MIN_LETTERS: Final = 30
_FEWEST, _MOST = 2, 3
"""Bounds on the terms that a sentence must share with the question, by default half of them."""

_MAX_CHARS: Final = 420
_HEADING_WIDTH: Final = 0.7
"""A heading is at most so wide as a part of the line below it."""
_COMMON: Final = (
    "about after all also any because been before between both can could did do does each from had has "
    "have how its may more most only other our over same should so some than them those through under up "
    "use used using we were what when where which while who why would you your"
)
"""Common words that are ignored besides the index's stop words."""


@cache
def _stop() -> frozenset[str]:
    return frozenset(stems(f"{_COMMON} {' '.join(sorted(STOP_WORDS))}"))


def _terms(text: str) -> list[str]:
    common = _stop()
    return [term for term in stems(text) if term not in common]


def sentences(lines: Sequence[str]) -> list[str]:
    """Return the sentences of running text, without headings, lists, code and tables."""
    found: list[str] = []
    block: list[str] = []
    code = False

    def close() -> None:
        text, at = "\n".join(block), 0
        for end in [*(match.end() for match in sentence_boundaries(text)), len(text)]:
            sentence = text[at:end].strip()
            at = end
            if _is_prose(sentence):
                found.append(sentence)
        block.clear()

    for line in lines:
        if line.lstrip().startswith(("```", "~~~")):
            code = not code
        if code or not line.strip() or _MARKUP.match(line):
            close()
            continue
        if block and _looks_like_heading(block[-1], line):
            close()
        block.append(line)
    close()
    return found


def _looks_like_heading(line: str, following: str) -> bool:
    """Return whether a line looks like a heading: short, without punctuation at its end, before a capital.

    The text of a PDF has no other sign of headings.
    """
    return (
        len(line) < _HEADING_WIDTH * len(following)
        and line.rstrip()[-1:].isalnum()
        and following.lstrip()[:1].isupper()
    )


def _is_prose(sentence: str) -> bool:
    """Return whether it is a complete statement in words: no question, not cut by a page or a table."""
    letters = sum(char.isalpha() for char in sentence)
    whole = _ENDS_A_SENTENCE.search(sentence) is not None and not sentence[:1].islower()
    return whole and letters >= _MIN_LETTERS and len(sentence) <= _MAX_CHARS and letters > 0.6 * len(sentence)


def best(lines: Sequence[str], question: str, amount: int) -> list[str]:
    """Return the sentences most relevant to the question, or to the content itself if there is no question.

    The result keeps the content's order.
    """
    candidates = sentences(lines)
    return [candidates[index] for index in sorted(_most_relevant(candidates, question, amount))]


def _most_relevant(candidates: Sequence[str], question: str, amount: int) -> list[int]:
    """Return the indexes of the most relevant sentences, best first.

    A sentence scores the sum of its terms' weights (rarity with a question, frequency without one) over the square
    root of its length, times the number of question terms it shares. Near-duplicates of a chosen sentence are skipped.
    """
    terms = [set(_terms(sentence)) for sentence in candidates]
    spread = Counter(term for found in terms for term in found)
    asked = set(_terms(question))
    enough = min(len(asked), max(_FEWEST, min(_MOST, len(asked) // 2))) if question else 0
    if question:
        weights = {term: 1.0 + math.log(1 + len(terms) / spread[term]) for term in asked if spread[term]}
    else:
        weights = {term: math.log(1 + count) for term, count in spread.items() if count > 1}

    def score(index: int) -> float:
        found = terms[index]
        matched = sorted(found & weights.keys())
        if len(matched) < enough:
            return 0.0
        early = 1.0 + 0.3 / (1 + index / 10)
        whole = _LEANING if _LEANS_ON_BEFORE.match(candidates[index]) else 1.0
        breadth = len(matched) if question else 1
        return sum(weights[term] for term in matched) * breadth * early * whole / math.sqrt(len(found) + 4)

    order = sorted(range(len(candidates)), key=lambda index: (-score(index), index))
    chosen: list[int] = []
    for index in order:
        if len(chosen) == amount or not weights or score(index) <= 0:
            break
        if all(len(terms[index] & terms[other]) < 0.7 * len(terms[index]) for other in chosen):
            chosen.append(index)
    return chosen


def one_line(sentence: str) -> str:
    """Return a sentence without line breaks and hyphenation at line ends."""
    return " ".join(re.sub(r"(?<=\w)-\n(?=[a-z])", "", sentence).split())


def _findings_reply(extract: Extract) -> str:
    findings = _findings_in(extract.lines, extract)
    return json.dumps({"relevant": bool(findings), "findings": findings}, ensure_ascii=False)


def _findings_in(lines: Sequence[str], extract: Extract) -> list[dict[str, Any]]:
    """Return the findings in lines of one document: for prose, for each aspect of a table, or with their dates."""
    if extract.format == "table":
        chosen = [
            ({"aspect": number}, sentence)
            for number, aspect in enumerate(extract.aspects, 1)
            for sentence in best(lines, aspect, 1)
        ]
    elif extract.format == "timeline":
        chosen = _dated(sentences(lines), extract.question, extract.amount)
    else:
        chosen = [({}, sentence) for sentence in best(lines, extract.question, extract.amount)]
    return [{**fields, "claim": one_line(sentence), "quotes": [sentence]} for fields, sentence in chosen]


def _dated(candidates: Sequence[str], question: str, amount: int) -> list[tuple[dict[str, Any], str]]:
    """Return the sentences that state a date and share most terms with the question, in their order."""
    asked = set(_terms(question))
    found = []
    for index, sentence in enumerate(candidates):
        shared = len(asked & set(_terms(sentence)))
        dates = next(stated_dates(one_line(sentence)), None)
        if shared and dates is not None:
            found.append((-shared, index, dates.stated))
    return [
        ({"date": date}, candidates[index])
        for _, index, date in sorted(sorted(found)[:amount], key=_by_index)
    ]


def _by_index(found: tuple[int, int, str]) -> int:
    return found[1]


def _passages_reply(extract: Extract) -> str:
    """Return findings from passages of several documents: the best sentences of all of them, best first."""
    if extract.format != "prose":
        each = [
            {"source": number, **finding}
            for number, lines in extract.sources
            for finding in _findings_in(lines, extract)
        ]
        return json.dumps({"relevant": bool(each), "findings": each}, ensure_ascii=False)
    bearing = _bearing(extract)
    every = [(number, sentence) for number, lines in bearing for sentence in sentences(lines)]
    chosen = _most_relevant([sentence for _, sentence in every], extract.question, extract.amount)
    findings = [
        {"source": every[index][0], "claim": one_line(every[index][1]), "quotes": [every[index][1]]}
        for index in chosen
    ]
    return json.dumps({"relevant": bool(findings), "findings": findings}, ensure_ascii=False)


def _bearing(extract: Extract) -> list[tuple[int, tuple[str, ...]]]:
    """Return the documents of which what is shown holds most of the question, by the rarity of its terms.

    A term that no document has weighs the most: what asks for it is not answered by sentences on the rest.
    """
    asked = sorted(set(_terms(extract.question)))
    held = [(number, lines, set(_terms("\n".join(lines)))) for number, lines in extract.sources]
    weights = {
        term: 1.0 + math.log((1 + len(held)) / (1 + sum(term in terms for *_, terms in held)))
        for term in asked
    }
    whole = sum(weights.values())
    return [
        (number, lines)
        for number, lines, terms in held
        if whole and sum(weights[term] for term in asked if term in terms) >= _MIN_SHARE * whole
    ]


def _combine(extract: Extract) -> str:
    ranked = _ranked(extract.findings, extract.question)
    insights = [{"claim": claim, "evidence": [mark]} for mark, claim in ranked[: extract.amount]]
    said = [f"{claim} [{mark.partition('.')[0]}]" for mark, claim in ranked[: extract.amount + 2]]
    count = len({mark.partition(".")[0] for mark, _ in extract.findings})
    lead = (
        f"No model was used. These sentences from {count} document{'s' * (count != 1)} fit the question best."
    )
    text = lead + "\n\n" + "\n\n".join(said) if said else "No sentence in the documents fits the question."
    return json.dumps({"answered": bool(said), "synthesis": text, "insights": insights}, ensure_ascii=False)


def _ranked(findings: Sequence[tuple[str, str]], question: str) -> list[tuple[str, str]]:
    """Sort findings by shared question terms, minus one for each earlier finding of the same source."""
    asked = set(_terms(question))
    rank: Counter[str] = Counter()
    ranked: list[tuple[int, int, tuple[str, str]]] = []
    by_fit = sorted(enumerate(findings), key=lambda item: (-len(asked & set(_terms(item[1][1]))), item[0]))
    for index, (mark, claim) in by_fit:
        source = mark.partition(".")[0]
        ranked.append((rank[source] - len(asked & set(_terms(claim))), index, (mark, claim)))
        rank[source] += 1
    return [finding for *_, finding in sorted(ranked)]


def _summary(extract: Extract) -> str:
    """Return paragraphs of three sentences each: the title and what the document is for, then what it says."""
    amount = 3 * extract.amount
    every = sentences(extract.lines)
    aim = next((index for index, sentence in enumerate(every[:_AIM_WITHIN]) if _AIM.search(sentence)), None)
    chosen = sorted(_most_relevant(every, "", amount))
    if aim is not None:
        chosen = [aim, *(index for index in chosen if index != aim)][:amount]
    said = [one_line(every[index]) for index in chosen]
    if not said:
        said = [one_line(line) for line in extract.lines if line.strip() and not _LOCATOR.match(line)][:3]
    title = one_line(extract.title)
    if title and said and not said[0].startswith(title):
        said[0] = f"{title}{'' if title[-1] in '.!?:' else '.'} {said[0]}"
    size = max(1, math.ceil(len(said) / extract.amount))
    return "\n\n".join(" ".join(said[at : at + size]) for at in range(0, len(said), size))


_ANSWERS = {
    "evidence": _findings_reply,
    "passages": _passages_reply,
    "combine": _combine,
    "summary": _summary,
}


class ExtractiveModel:
    """Answers at once, from the extract."""

    route: Route = "extractive"

    def __init__(self, estimate: Estimator) -> None:
        self._estimate = estimate

    def rounds(self, step: Sequence[Cost], reserve: int) -> int:
        """Return 0: no client is asked."""
        del step, reserve
        return 0

    async def complete(
        self, prompts: Sequence[Prompt], done: Done, *, spend: Spend, reserve: int = 0
    ) -> list[PromptOutcome]:
        """Return well-formed answers to all prompts."""
        del reserve, spend
        outcomes: list[PromptOutcome] = []
        for index, prompt in enumerate(prompts):
            extract = await prompt.extract()
            text = await asyncio.to_thread(_ANSWERS[extract.kind], extract)
            outcomes.append(Completion(text, MODEL_NAME, output_tokens=self._estimate(text)))
            await done(index, outcomes[-1])
        return outcomes
