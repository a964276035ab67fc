"""Two hundred quotes of documents written for this project, each changed in one way: honestly, or so that it lies."""

import random
import re
from collections.abc import Callable, Mapping

import pytest

from research_shared.documents import DocumentText, Identity
from research_shared.text.quotes import QuoteFinder

TRIAL = """# Trial of the evening filter

The *evening filter* was tried in 14 clinics between March and June 2021, and 12 of them finished the trial [3].
Median response time fell from 48 to 31 minutes in the clinics that kept the filter switched on for the whole period.
The change was not significant for clinics with fewer than 200 messages a week, which the authors call small [3, 4].
Staff in `triage` roles said that the **new queue** was "easier to read" than the one before it, but nobody measured this.
Costs rose by 3.5 per cent in the first quarter and had returned to their earlier level by the end of the second one.

## What was not tried

- The filter was never tested on messages that were written in more than one language
- No clinic used it together with the automatic replies that the vendor offers for an extra fee
- Weekend messages were left out because only 5 of the 14 clinics answer them at all

According to [the vendor's notes](https://vendor.example/notes), the filter does not store any message after it has been sorted.
The steering group decided \u2013 after a long debate \u2013 to keep the filter for another year without changing its settings.
A follow-up with 30 clinics is planned; it will not include the two hospitals that left the trial in its first week.
"""

ARCHIVE = """Report on the moving of the archive

The archive holds 2,417 boxes of letters, of which about 1,900 have been cata-
logued since the move to the new building in 2016. The river had reached the
cellar twice before, so nobody was surprised that the city council did not
wait for a third flood. \u201cWe moved what we could carry,\u201d the head of the archive
wrote to the mayor in May 2016, \u201cand left what we could copy later.\u201d

Temperature in the new store\u2019s upper floors stays between 16 and 18 degrees,
while the lower floor reached 21 degrees on 9 days of the last summer. None of
the boxes on the lower floor showed any damage when they were opened in Octo-
ber, although the humidity had been above 60 per cent for almost three weeks.

1. Boxes with wax seals are kept on the third floor and are never stacked
2. Maps that are longer than two metres hang in the hall beside the lift
3. Photographs stay in their old boxes until the cold room has been repaired

Visitors may use their own cameras without a permit, but they may not publish
more than ten pictures of the same collection before the council has agreed.
"""

HARBOUR = """Harbour study                                             page 1
Ships that wait outside the harbour for more than six hours use about four tonnes
of fuel a day, because their auxiliary engines cannot be switched off at sea. The
port authority has asked for shore power since 2008; it was not built until 2019
Harbour study                                             page 2
because the island's grid could not carry another 12 megawatts. Since then 41 per
cent of the ferries have used it on every visit, and no cruise ship has used it at
all. The study finds no link between shore power and the price of a berth, which
rose by 7 per cent in the same years as it did in harbours that have no such plant.
Harbour study                                             page 3
Fishing boats were not counted. Their owners had refused to carry the transponders
that the count relied on, and the authors did not want to guess at their number.
"""


def document(text: str, page_starts: tuple[int, ...] = ()) -> DocumentText:
    return DocumentText(
        path="d",
        media_type="text/plain",
        identity=Identity(0, 0, 0, 0, 0),
        digest="0",
        engine="text",
        data=text.encode(),
        page_starts=page_starts,
    )


FINDERS = [
    QuoteFinder(document(TRIAL)),
    QuoteFinder(document(ARCHIVE)),
    QuoteFinder(document(HARBOUR, (1, 5, 10))),
]

QUOTES: list[tuple[int, str]] = [
    (0, "The evening filter was tried in 14 clinics between March and June 2021, and 12 of them finished the trial [3]."),
    (0, "Median response time fell from 48 to 31 minutes in the clinics that kept the filter switched on for the whole period."),
    (0, "The change was not significant for clinics with fewer than 200 messages a week, which the authors call small [3, 4]."),
    (0, 'Staff in triage roles said that the new queue was "easier to read" than the one before it, but nobody measured this.'),
    (0, "Costs rose by 3.5 per cent in the first quarter and had returned to their earlier level by the end of the second one."),
    (0, "The filter was never tested on messages that were written in more than one language"),
    (0, "No clinic used it together with the automatic replies that the vendor offers for an extra fee"),
    (0, "According to the vendor's notes, the filter does not store any message after it has been sorted."),
    (0, "The steering group decided \u2013 after a long debate \u2013 to keep the filter for another year without changing its settings."),
    (0, "it will not include the two hospitals that left the trial in its first week."),
    (1, "The archive holds 2,417 boxes of letters, of which about 1,900 have been catalogued since the move to the new building in 2016."),
    (1, "nobody was surprised that the city council did not wait for a third flood."),
    (1, "Temperature in the new store's upper floors stays between 16 and 18 degrees, while the lower floor reached 21 degrees on 9 days of the last summer."),
    (1, "None of the boxes on the lower floor showed any damage when they were opened in October, although the humidity had been above 60 per cent for almost three weeks."),
    (1, "Boxes with wax seals are kept on the third floor and are never stacked"),
    (1, "Visitors may use their own cameras without a permit, but they may not publish more than ten pictures of the same collection before the council has agreed."),
    (2, "it was not built until 2019 because the island's grid could not carry another 12 megawatts."),
    (2, "Since then 41 per cent of the ferries have used it on every visit, and no cruise ship has used it at all."),
    (2, "The study finds no link between shore power and the price of a berth, which rose by 7 per cent in the same years as it did in harbours that have no such plant."),
    (2, "Their owners had refused to carry the transponders that the count relied on, and the authors did not want to guess at their number."),
]  # fmt: skip
"""Numbers of documents, and what they say in plain words."""

Change = Callable[[str, random.Random], str]


def ellipsis(quote: str, rng: random.Random) -> str:
    """Leave out words that are no negation, far from both ends."""
    words = quote.split()
    spots = [
        at
        for at in range(5, len(words) - 5)
        if not re.search(
            r"\b(?:no|not|never|none|nobody|without|cannot)\b", " ".join(words[at : at + 2]), re.IGNORECASE
        )
    ]
    if not spots:
        return quote
    at = rng.choice(spots)
    return " ".join([*words[:at], rng.choice(["...", "\u2026", "[...]", "(\u2026)"]), *words[at + 2 :]])


def emphasis(quote: str, rng: random.Random) -> str:
    words = quote.split()
    at = rng.randrange(len(words))
    mark = rng.choice(["*", "**", "_", "`"])
    words[at] = re.sub(r"^(\W*)(.*?)(\W*)$", rf"\1{mark}\2{mark}\3", words[at])
    return " ".join(words)


HONEST: dict[str, Change] = {
    "as it is": lambda quote, _rng: quote,
    "in quotation marks": lambda quote, rng: rng.choice(['"%s"', "\u201c%s\u201d", "\u00ab%s\u00bb", "'%s'"]) % quote,
    "first letter": lambda quote, _rng: quote[0].swapcase() + quote[1:],
    "full stop": lambda quote, _rng: quote.rstrip(".") + ("" if quote.endswith(".") else "."),
    "ellipsis": ellipsis,
    "ellipses at the ends": lambda quote, _rng: f"... {quote.rstrip('.')} ...",
    "emphasis": emphasis,
    "references": lambda quote, _rng: re.sub(r" \[[\d, ]+\]", "", quote),
    "dashes": lambda quote, rng: quote.replace("\u2013", rng.choice(["-", "\u2014", "--"])).replace("-", "\u2010"),
    "line breaks": lambda quote, rng: "\n".join(quote.rsplit(" ", rng.randrange(1, 4))),
    "curly marks": lambda quote, _rng: quote.replace("'", "\u2019").replace('"', "\u201d"),
    "bullet": lambda quote, rng: rng.choice(["- ", "* ", "\u2022 ", "> "]) + quote,
}  # fmt: skip

NEGATION = re.compile(r"\b(?:not|never|no|None of|nobody) ", re.IGNORECASE)


def digit(quote: str, rng: random.Random) -> str | None:
    spots = [match.start() for match in re.finditer(r"\d", quote)]
    if not spots:
        return None
    at = rng.choice(spots)
    return quote[:at] + rng.choice([digit for digit in "0123456789" if digit != quote[at]]) + quote[at + 1 :]


def dropped(quote: str, rng: random.Random) -> str | None:
    spots = list(NEGATION.finditer(quote))
    if not spots:
        return None
    spot = rng.choice(spots)
    rest = quote[: spot.start()] + quote[spot.end() :]
    return rest[0].upper() + rest[1:]


def added(quote: str, rng: random.Random) -> str | None:
    words = quote.split()
    words.insert(rng.randrange(1, len(words)), rng.choice(["not", "never", "no"]))
    return " ".join(words)


def replaced(quote: str, rng: random.Random) -> str | None:
    words = quote.split()
    at = rng.randrange(len(words))
    words[at] = re.sub(
        r"[\w'\u2019-]+", lambda _: rng.choice(["harbours", "seldom", "many", "it"]), words[at], count=1
    )
    return None if words == quote.split() else " ".join(words)


def swapped(quote: str, rng: random.Random) -> str | None:
    words = quote.split()
    at = rng.randrange(1, len(words) - 1)
    words[at], words[at - 1] = words[at - 1], words[at]
    return None if words == quote.split() else " ".join(words)


def removed(quote: str, rng: random.Random) -> str | None:
    words = quote.split()
    del words[rng.randrange(2, len(words) - 2)]
    return " ".join(words)


LYING: dict[str, Callable[[str, random.Random], str | None]] = {
    "digit": digit,
    "dropped negation": dropped,
    "added negation": added,
    "replaced word": replaced,
    "swapped words": swapped,
    "left out word": removed,
}


def generated(
    changes: Mapping[str, Callable[[str, random.Random], str | None]], amount: int
) -> list[tuple[str, int, str]]:
    rng = random.Random(20261126)
    made: list[tuple[str, int, str]] = []
    while len(made) < amount:
        name = list(changes)[len(made) % len(changes)]
        number, quote = rng.choice(QUOTES)
        changed = changes[name](quote, rng)
        if changed is not None:
            made.append((name, number, changed))
    return made


def test_at_least_95_of_100_honest_quotes_are_verified() -> None:
    quotes = generated(HONEST, 100)
    missed = [(name, quote) for name, number, quote in quotes if FINDERS[number].find(quote) is None]
    assert len(missed) <= 5, missed


def test_none_of_100_quotes_with_another_digit_negation_or_word_is_verified() -> None:
    wrong = [
        (name, quote)
        for name, number, quote in generated(LYING, 100)
        if FINDERS[number].find(quote) is not None
    ]
    assert wrong == []


@pytest.mark.parametrize("change", sorted(LYING))
def test_no_lie_of_any_kind_is_verified_in_a_larger_sample(change: str) -> None:
    quotes = generated({change: LYING[change]}, 60)
    assert [quote for _, number, quote in quotes if FINDERS[number].find(quote) is not None] == []
