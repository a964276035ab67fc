"""Dates as texts state them, and the same dates in ISO 8601.

English, German, French and Spanish names of months are read, numbers in the order that the text leaves no doubt about: of
`03/04/2021` only the year is sure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

MAX_STATED_CHARS: Final = 60
"""Characters of a date as a text states it; more is a sentence."""

_MONTHS_BY_NAME: Final = {
    name: number
    for number, names in enumerate(
        (
            "january jan januar jänner janvier enero", "february feb februar février febrero", "march mar märz mars marzo",
            "april apr avril abril", "may mai mayo", "june jun juni juin junio", "july jul juli juillet julio",
            "august aug août agosto", "september sept sep septembre septiembre", "october oct oktober okt octobre octubre",
            "november nov novembre noviembre", "december dec dezember dez décembre diciembre",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH_NAME: Final = "|".join(sorted(_MONTHS_BY_NAME, key=len, reverse=True))
_YEAR_DIGITS: Final = r"(?:1[0-9]|20)\d\d"
_DATE: Final = re.compile(
    rf"""(?<![\w.,/-])(?:
        (?P<iso_year>{_YEAR_DIGITS})-(?P<iso_month>\d\d)(?:-(?P<iso_day>\d\d)(?=T\d\d|(?![\w-]))|(?![\w-]))
      | (?P<year_first>{_YEAR_DIGITS})/(?P<month_second>\d\d?)/(?P<day_third>\d\d?)(?![\w/])
      | (?P<day>\d{{1,2}})(?:\.|st|nd|rd|th|er)?\s+(?:of\s+|de\s+)?(?P<day_month>{_MONTH_NAME})\.?,?\s+(?:de\s+|del\s+)?(?P<day_year>{_YEAR_DIGITS})\b
      | (?P<month_name>{_MONTH_NAME})\.?\s+(?P<month_day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<month_day_year>{_YEAR_DIGITS})\b
      | (?P<only_month>{_MONTH_NAME})\.?,?\s+(?:of\s+|de\s+|del\s+)?(?P<only_month_year>{_YEAR_DIGITS})\b
      | (?P<dotted_day>\d{{1,2}})\.\s?(?P<dotted_month>\d{{1,2}})\.\s?(?P<dotted_year>{_YEAR_DIGITS})\b
      | (?P<first>\d{{1,2}})/(?P<second>\d{{1,2}})/(?P<slashed_year>{_YEAR_DIGITS})\b
      | (?:Q(?P<quarter>[1-4])[\s/]+(?P<quarter_year>{_YEAR_DIGITS})|(?P<year_of_quarter>{_YEAR_DIGITS})[\s/-]?Q(?P<quarter_after>[1-4]))\b
      | (?P<year>{_YEAR_DIGITS})(?![\w%-]|[.,/:]\d|\s(?:bits?|bytes?|tokens?|words?|pages?|users?|people|km|kg|m|%)\b)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_SURE_FORMS: Final = (
    ("iso_year", "iso_month", "iso_day"),
    ("year_first", "month_second", "day_third"),
    ("day_year", "day_month", "day"),
    ("month_day_year", "month_name", "month_day"),
    ("only_month_year", "only_month", ""),
    ("dotted_year", "dotted_month", "dotted_day"),
)
"""Names of the year, the month and the day in the forms whose order leaves no doubt."""
_TELLS_OF_A_YEAR: Final = re.compile(
    r"(?:\b(?:(?P<surely>years?|jahre?s?|années?|años?|anno)|in|since|until|till|from|during|before|after|around|circa|early|mid"
    r"|late|im|seit|ab|bis|vor|nach|um|en|depuis|vers|avant|après|desde|hasta)|\()\s*$",
    re.IGNORECASE,
)
"""What stands before a number of four digits that is a year and no amount; `surely` whatever follows."""
_FIRST_PROBABLE_YEAR: Final = 1500
"""Smaller numbers are amounts far more often than years where no word for a year stands before them."""
_AFTER_A_YEAR: Final = re.compile(
    r"""(?:\s*+(?:to|and|or|until|till|bis|und|oder|et|ou|à|y|o|a|hasta|[\u2013\u2014])\s*+\d{4}(?!\d))*+\s*+
        (?:$|(?!\(\s*+[\d.,]++\s*+%)[^\w\s+%*/=<>°€$£\u00d7~]|(?:
            a|an|the|this|that|these|those|its?|he|she|they|we|i|you|his|her|their|our|there|who|which|when|where|while|because
          | although|but|and|or|nor|so|as|at|by|for|from|in|into|on|onto|through|to|under|until|till|with|within|without|after
          | before|during|since|over|than|if|not|no|all|each|both|only|also|was|were|is|are|has|have|had|did|does|do|will|would
          | can|could|may|might|must|should|shall
          | der|die|das|den|dem|ein|eine|einen|einer|er|sie|es|wir|ich|und|oder|aber|als|auf|aus|bei|durch|für|gegen|im|mit|nach|seit
          | um|vom|vor|zu|zum|zur|bis|wurden?|war|waren|wird|werden|hat|haben|hatten?|ist|sind|nicht|noch|nur|auch|dass|weil|wenn
          | le|la|les|une?|il|elle|ils|elles|on|nous|et|ou|mais|au|aux|avec|dans|par|pour|sur|ont|est|sont|était|étaient|fut
          | furent|ne|que|qui|el|los|las|una?|y|con|por|para|sobre|se|fue|fueron|era|eran|ha|han|es|son|pero
        )(?![\w'\u2019-]))""",
    re.VERBOSE | re.IGNORECASE,
)
"""What stands behind a year and behind no amount: an end, punctuation or a function word, after more years or at once."""
_LEAD_IN: Final = re.compile(
    r"(?:(?:in|on|of|the|year|dated|im|am|jahre?|en|le|la|année|el|del|año)\s+)+", re.IGNORECASE
)
"""Words before a date that change nothing about it, unlike those of `before 2021` and `winter 2021`."""


@dataclass(frozen=True, slots=True)
class StatedDate:
    """A date as a text states it, and in ISO 8601 as far as it tells: a year, month or day, or the months of a quarter.

    `iso` is `2021`, `2021-03`, `2021-03-12` or `2021-07/2021-09`.
    """

    stated: str
    iso: str


def stated_dates(text: str) -> Iterator[StatedDate]:
    """Yield the dates in a running text, in order. A year alone counts where a word before it tells that it is one.

    >>> [found.iso for found in stated_dates("It opened on 12 March 2021; 2048 bits were kept until May 2023.")]
    ['2021-03-12', '2023-05']
    """
    for match in _DATE.finditer(text):
        if match["year"] and not _is_year(text, match):
            continue
        iso = _iso_of(match)
        if iso:
            yield StatedDate(match[0], iso)


def normalised_date(stated: str) -> str | None:
    """Return the first date of a short text that states one, in ISO 8601, or None.

    >>> [normalised_date(text) for text in ("12. März 2021", "Q3 2021", "03/04/2021", "summer 2020", "last week")]
    ['2021-03-12', '2021-07/2021-09', '2021', '2020', None]
    """
    found = (_iso_of(match) for match in _DATE.finditer(stated[:MAX_STATED_CHARS]))
    return next((iso for iso in found if iso), None)


def holds_date(text: str, stated: str) -> bool:
    """Return whether a running text holds a date, as it is stated or in another form that says the same or more.

    >>> [holds_date("It opened on 11 March 2021.", stated) for stated in ("2021-03-11", "1 March 2021", "winter 2021")]
    [True, False, False]
    """
    text, stated = " ".join(text.split()), " ".join(stated.split()).strip(" .,;:()[]")
    lead_in = _LEAD_IN.match(stated)
    date_alone = stated[lead_in.end() :] if lead_in else stated
    if not date_alone:
        return False
    as_stated = re.compile(rf"(?<![\w.,/-]){re.escape(date_alone.casefold())}(?!\w|[.,/]\d)")
    if as_stated.search(text.casefold()):
        return True
    iso = _iso_of_whole(date_alone)
    return iso is not None and any(f"{found.iso}-".startswith(f"{iso}-") for found in stated_dates(text))


def _iso_of_whole(stated: str) -> str | None:
    """Return a date in ISO 8601 if it says no more than that: of `03/04/2021` and `winter 2021`, a year would be less."""
    match = _DATE.fullmatch(stated)
    if match is None:
        return None
    iso = _iso_of(match)
    return None if match["slashed_year"] and iso == match["slashed_year"] else iso or None


def _is_year(text: str, match: re.Match[str]) -> bool:
    """Return whether the words around a number of four digits say that it is a year."""
    before = _TELLS_OF_A_YEAR.search(text, max(0, match.start() - 16), match.start())
    if before is None or before["surely"]:
        return before is not None
    return int(match["year"]) >= _FIRST_PROBABLE_YEAR and _AFTER_A_YEAR.match(text, match.end()) is not None


def _iso_of(match: re.Match[str]) -> str:
    """Return what a match says in ISO 8601, or nothing for a day that there is not."""
    part = match.groupdict()
    for year, month, day in _SURE_FORMS:
        if part[year]:
            return _iso_day(part[year], _month_number(part[month]), part.get(day))
    if part["slashed_year"]:
        return _slashed(part["slashed_year"], int(part["first"]), int(part["second"]))
    quarter = part["quarter"] or part["quarter_after"]
    if quarter:
        year, last = part["quarter_year"] or part["year_of_quarter"], 3 * int(quarter)
        return f"{year}-{last - 2:02}/{year}-{last:02}"
    return part["year"]


def _month_number(month: str) -> int:
    return int(month) if month.isdigit() else _MONTHS_BY_NAME[month.lower()]


def _slashed(year: str, first: int, second: int) -> str:
    """Return a day written with slashes, of which the order of day and month is sure only if one is no month."""
    if first == second:
        return _iso_day(year, first, second)
    months = [number for number in (first, second) if 1 <= number <= 12]  # noqa: PLR2004  (months)
    if len(months) != 1:
        return year
    return _iso_day(year, months[0], first + second - months[0])


def _iso_day(year: str, month: int, day: int | str | None = None) -> str:
    try:
        date(int(year), month, int(day or 1))
    except ValueError:
        return ""
    return f"{year}-{month:02}" + (f"-{int(day):02}" if day else "")
