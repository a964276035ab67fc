"""Compares a claim with its quotes: whether they hold its numbers, and whether they negate where it does.

A quote that stands in a document says nothing about the claim that a model rests on it. Numbers and negations can be
compared without understanding either, and across languages: 20 percent is 20 Prozent.
"""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from research_reasoning.evidence.answers import without_citations
from research_shared.text.analysis import stems
from research_shared.text.negation import is_negation, negates, words

_CLAIM_NUMBER: Final = re.compile(
    r"""(?<![\w])(?P<digits>\d{1,3}(?:[ \u00a0\u202f'\u2019]\d{3})+(?:[.,]\d{1,9})?(?![\d])|\d{1,18}(?:[.,]\d{1,9}){0,6})
        (?:[ \u00a0]?(?P<scale>thousand|tausend|mil+ion(?:en|s|es|er)?|mio|mil+iard(?:en?|s)?|mrd|billions?|bn|k)(?!\w))?""",
    re.VERBOSE | re.IGNORECASE,
)
_COUNTS_SOURCES: Final = re.compile(
    r"\s+(?:of\s+(?:the\s+)?(?:\d+\s+)?)?(?:sources?|documents?)\b", re.IGNORECASE
)
_FINDING_MARKS: Final = re.compile(r"\bfindings?\s+\d+\.\d+(?:\s*(?:,|;|&|and)\s*\d+\.\d+)*", re.IGNORECASE)
"""Names of findings in the prompt, which are no numbers of a document."""
_PERCENT: Final = re.compile(
    r"[ \u00a0-]?(?:%|per\s?cent|percent|prozent|pour\s?cent|por\s?cento?|procent)", re.IGNORECASE
)
_SCALES: Final = {"t": 1_000, "k": 1_000, "mil": 10**6, "mio": 10**6, "mrd": 10**9, "b": 10**9}
_LEAST_WORD: Final = 13
"""Smallest number that is checked if a claim writes it as a word: smaller ones count what is told."""

_UNITS: Final = {
    word: value
    for value, said in enumerate(
        (
            "zero null zéro cero", "one ein eins eine un une uno una", "two zwei deux dos twice double", "three drei trois tres",
            "four vier quatre cuatro", "five fünf cinq cinco", "six sechs seis", "seven sieben sept siete", "eight acht huit ocho",
            "nine neun neuf nueve", "ten zehn dix diez", "eleven elf onze once", "twelve zwölf douze doce dozen",
            "thirteen dreizehn treize trece", "fourteen vierzehn quatorze catorce", "fifteen fünfzehn quinze quince",
            "sixteen sechzehn seize dieciséis", "seventeen siebzehn dix-sept diecisiete",
            "eighteen achtzehn dix-huit dieciocho", "nineteen neunzehn dix-neuf diecinueve",
        )
    )
    for word in said.split()
}  # fmt: skip
_TENS: Final = {
    word: value
    for value, said in {
        20: "twenty zwanzig vingt veinte", 30: "thirty dreißig dreissig trente treinta",
        40: "forty vierzig quarante cuarenta", 50: "fifty fünfzig cinquante cincuenta",
        60: "sixty sechzig soixante sesenta", 70: "seventy siebzig setenta", 80: "eighty achtzig ochenta",
        90: "ninety neunzig noventa", 100: "hundred hundert cent cien", 1_000: "thousand tausend mille mil",
    }.items()
    for word in said.split()
}  # fmt: skip
_PARTS: Final = {
    "half": ("0.5", "50"), "quarter": ("0.25", "25"), "third": ("3", "33"), "hälfte": ("0.5", "50"), "viertel": ("25",),
    "first": ("1",), "second": ("2",), "drittel": ("33",), "moitié": ("0.5", "50"), "mitad": ("0.5", "50"),
}  # fmt: skip
_GERMAN: Final = re.compile(r"(?P<unit>ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun)und(?P<ten>\w+)")
_NUMBER_WORD: Final = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")

_CUES: Final = re.compile(
    r"""\b(?:fail|lack|absen|unable|unlikely|hardly|barely|scarcely|rarely|seldom|few\b|little\b|refus|prevent|den(?:y|ied)
        |reject|exclu|miss(?:ing|ed)|except|free\ (?:of|from)|instead|rather\ than|unless|stop|avoid|cease|declin|insignifican|insufficien
        |inadequa|ineffective|incomplete|inconsisten|incorrect|inaccura|invalid|inabil|impossib|improbab|irrelevan|independen
        |un(?:chang|affect|clear|known|success|reli|avail|test|measur|prov|support|necess|safe|stab|common|expect|equal|treat|us)
        |dis(?:agree|continu|approv|prov|allow)|non-?\w|kaum|selten|fehl|mangel|un(?:ver|m\u00f6g|klar|wirk)|sauf|peu\b|rare|falt)""",
    re.VERBOSE | re.IGNORECASE,
)
_EXEMPT: Final = (
    ["only"], ["just"], ["more"], ["less"], ["fewer"], ["later"], ["nur"], ["mehr"], ["weniger"], ["bloß"], ["seulement"],
    ["sólo"], ["solo"], ["solamente"],
)  # fmt: skip
"""Words before which a negation says something else: not only, no more than."""
_REACH: Final = 4
_LEAST_LETTERS: Final = 4
_LATE: Final = frozenset({"nicht", "niet", "pas"})
"""Negations that follow what they negate."""


def flags(claim: str, quotes: Sequence[str]) -> list[str]:
    """Return what in a claim its verified quotes do not hold, in words. Nothing is compared where there are none."""
    if not quotes:
        return []
    claim = _FINDING_MARKS.sub("", without_citations(claim))
    held = {value for quote in quotes for value in _held(quote)}
    found = [
        f"the number {shown} is in none of its quotes"
        for shown, values in _claimed(claim)
        if held.isdisjoint(values)
    ]
    return [*dict.fromkeys(found), *_negation_flags(claim, quotes)]


# ---- numbers


def _claimed(claim: str) -> Iterator[tuple[str, set[Decimal]]]:
    """Yield the numbers of a claim, each with what it may mean."""
    for match in _CLAIM_NUMBER.finditer(claim):
        if not _COUNTS_SOURCES.match(claim, match.end()):
            values = _values(match)
            yield match[0].strip(), values | {100 * value for value in values if value < 1}
    for match in _NUMBER_WORD.finditer(claim):
        number = _word_value(match[0].lower())
        if number is not None and (
            number >= _LEAST_WORD or (number > 1 and _PERCENT.match(claim, match.end()))
        ):
            yield match[0], {Decimal(number)}


def _held(quote: str) -> Iterator[Decimal]:
    """Yield what the numbers of a quote may mean, written as digits or as words."""
    for match in _CLAIM_NUMBER.finditer(quote):
        for value in _values(match):
            yield value
            if value < 1:
                yield 100 * value
    for match in _NUMBER_WORD.finditer(quote.lower()):
        for word in {match[0], *match[0].split("-")}:
            number = _word_value(word)
            if number is not None:
                yield Decimal(number)
            yield from map(Decimal, _PARTS.get(word, ()))


def _values(match: re.Match[str]) -> set[Decimal]:
    """Return what a number may mean: a single point or comma may part thousands or decimals."""
    digits = re.sub(r"[ \u00a0\u202f'\u2019]", "", match["digits"])
    marks = [mark for mark in digits if mark in ".,"]
    plain = Decimal(digits.replace(".", "").replace(",", ""))
    if not marks:
        values = {plain}
    elif len(set(marks)) > 1 or len(marks) == 1:
        whole, _, fraction = digits.rpartition(marks[-1])
        values = {Decimal(f"{whole.replace('.', '').replace(',', '')}.{fraction}")}
        if len(marks) == 1 and len(fraction) == len("000"):
            values.add(plain)
    else:
        values = {plain}
    scale = (match["scale"] or "").lower()
    factor = next((factor for start, factor in _SCALES.items() if scale.startswith(start)), 1) if scale else 1
    if scale.startswith(("milliard", "miliard")):
        factor = 10**9
    return {value * factor for value in values}


def _word_value(word: str) -> int | None:
    if word in _UNITS or word in _TENS:
        return _UNITS.get(word, _TENS.get(word))
    ten, _, unit = word.partition("-")
    if ten in _TENS and unit in _UNITS:
        return _TENS[ten] + _UNITS[unit]
    german = _GERMAN.fullmatch(word)
    if german is not None and german["ten"] in _TENS:
        return _UNITS[german["unit"]] + _TENS[german["ten"]]
    return None


# ---- negations


def _negation_flags(claim: str, quotes: Sequence[str]) -> list[str]:
    if _denies(words(claim)):
        if any(negates(quote) or _CUES.search(quote) for quote in quotes):
            return []
        return ["it negates, and none of its quotes does"]
    if _CUES.search(claim):
        return []
    said = set(_content(words(claim)))
    negated: dict[str, str] = {}
    plain: set[str] = set()
    for quote in quotes:
        within = words(quote)
        hidden = _negated(within)
        negated |= {stem: within[at] for at in hidden for stem in _content([within[at]])}
        plain |= set(_content([word for at, word in enumerate(within) if at not in hidden]))
    opposite = [word for stem, word in negated.items() if stem in said and stem not in plain]
    return [f"its quotes negate '{opposite[0]}', and it does not"] if opposite else []


def _denies(said: Sequence[str]) -> bool:
    return any(is_negation(word) and said[at + 1 : at + 2] not in _EXEMPT for at, word in enumerate(said))


def _negated(within: Sequence[str]) -> set[int]:
    """Return which words stand right behind a negation, or before one that follows what it negates."""
    found: set[int] = set()
    for at, word in enumerate(within):
        if not is_negation(word) or within[at + 1 : at + 2] in _EXEMPT:
            continue
        found.update(range(at + 1, min(len(within), at + 1 + _REACH)))
        if word in _LATE:
            found.update(range(max(0, at - 2), at))
    return found


def _content(said: Sequence[str]) -> list[str]:
    """Return the stems of words that are long enough to tell something."""
    return [stem for word in said if len(word) >= _LEAST_LETTERS for stem in stems(word)]
