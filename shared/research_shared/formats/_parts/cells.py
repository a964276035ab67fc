"""How the cells of a sheet become text: their names, their values, and one line for each row."""

import re
from datetime import timedelta

from research_shared.formats._parts.drawing import number
from research_shared.formats._parts.number_format import EPOCH, EPOCH_1904, FALSE_LEAP_DAY, LAST_DAY

_LETTERS = 26
_BUILT_IN_DATES = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
_BUILT_IN_PERCENT = frozenset({9, 10})
_LITERALS = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_NAME = re.compile(r"([A-Z]{1,3})(\d{1,7})")

DATE, DURATION, PERCENT, PLAIN = "date", "duration", "percent", ""


def column_name(column: int) -> str:
    """Return the letters of a column, counted from 1.

    >>> column_name(30)
    'AD'
    """
    letters = ""
    while column > 0:
        column, rest = divmod(column - 1, _LETTERS)
        letters = chr(ord("A") + rest) + letters
    return letters


def cell_place(name: str) -> tuple[int, int] | None:
    """Return the row and the column of a cell's name, counted from 1, or None when it is none.

    >>> cell_place("AD500")
    (500, 30)
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    column = 0
    for letter in match[1]:
        column = column * _LETTERS + ord(letter) - ord("A") + 1
    return int(match[2]), column


def kind_of_format(identifier: int, code: str) -> str:
    """Return what a number format makes of a number: a date, a duration, a percentage, or a plain number."""
    if not code:
        if identifier in _BUILT_IN_DATES:
            return DURATION if identifier == 46 else DATE  # noqa: PLR2004  ([h]:mm:ss)
        return PERCENT if identifier in _BUILT_IN_PERCENT else PLAIN
    bare = _LITERALS.sub("", code.partition(";")[0]).lower()
    if "general" in bare:
        return PLAIN
    if re.search(r"\[(h+|m+|s+)\]", bare):
        return DURATION
    if re.search("[ymdhs]", bare):
        return DATE
    return PERCENT if "%" in bare else PLAIN


def shown_number(text: str, kind: str, *, from_1904: bool = False) -> str:
    """Return a stored number in one way for all formats of its kind: dates in ISO 8601, percentages with their sign.

    >>> shown_number("46085", "date"), shown_number("0.125", "percent"), shown_number("0.30000000000000004", "")
    ('2026-03-04', '12.5%', '0.3')
    """
    if not kind and text.isdigit():
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    if kind == PERCENT:
        return f"{number(repr(value * 100))}%"
    if kind == DURATION and abs(value) < LAST_DAY:
        minutes, seconds = divmod(round(abs(value) * 86_400), 60)
        return f"{'-' if value < 0 else ''}{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if kind == DATE and 0 <= value < LAST_DAY:
        return _moment(value, from_1904=from_1904)
    return number(text)


def _moment(value: float, *, from_1904: bool) -> str:
    early = not from_1904 and value < FALSE_LEAP_DAY
    start = EPOCH_1904 if from_1904 else EPOCH + timedelta(days=early)
    try:
        moment = start + timedelta(seconds=round(value * 86_400))
    except OverflowError:
        return str(value)
    time = f"{moment:%H:%M:%S}".removesuffix(":00")
    if value < 1 and not from_1904:
        return time
    return moment.date().isoformat() if value == int(value) else f"{moment.date().isoformat()} {time}"
