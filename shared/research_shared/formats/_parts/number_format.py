"""Number formats of sheets: a stored number as people see it in its cell.

The codes are those of ECMA-376, 18.8.30 and 18.8.31, such as `#,##0.00;[Red](#,##0.00)` or `d mmmm yyyy`. Names of days and
months are English, as the code says nothing about the language of the reader.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction

EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001  (cells have no time zone)
EPOCH_1904 = datetime(1904, 1, 1)  # noqa: DTZ001
FALSE_LEAP_DAY = 60
"""Day 60 is the 29 February 1900 that never was; the days before count from a day later."""
LAST_DAY = 2_958_466
_MAX_DIGITS = 1e21
"""Numbers beyond are not written out, as no cell shows them so."""
_EXACT = 1e14
_SECONDS = 86_400
_PLAIN = re.compile(r"\0*((?:#,#{2})?0)(\.0+)?(%?)\0*")

BUILT_IN = {
    1: "0", 2: "0.00", 3: "#,##0", 4: "#,##0.00", 9: "0%", 10: "0.00%", 11: "0.00E+00", 12: "# ?/?", 13: "# ??/??",
    14: "m/d/yyyy", 15: "d-mmm-yy", 16: "d-mmm", 17: "mmm-yy", 18: "h:mm AM/PM", 19: "h:mm:ss AM/PM", 20: "h:mm",
    21: "h:mm:ss", 22: "m/d/yyyy h:mm", 37: "#,##0 ;(#,##0)", 38: "#,##0 ;(#,##0)", 39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;(#,##0.00)", 45: "mm:ss", 46: "[h]:mm:ss", 47: "mm:ss.0", 48: "##0.0E+0",
}  # fmt: skip
"""The codes of formats that files name by number alone."""

_FORMAT_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|(?P<space>_.)|\*(?P<fill>.)'
    r"|\[(?P<elapsed>h+|m+|s+)\]|\[\$(?P<currency>[^\]-]*)[^\]]*\]|\[(?P<condition>[<>=]+-?[\d.]+)\]|\[[^\]]*\]"
    r"|(?P<general>General)|(?P<noon>AM/PM|A/P)|(?P<exponent>E[+-])|(?P<date>y+|m+|d+|h+|s+(?:\.0+)?|e+)"
    r"|(?P<digits>[0#?])|(?P<mark>[.,%/@])|(?P<other>.)",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(r"([<>=]+)(-?[\d.]+)")
_ENGLISH_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CONDITIONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda value, bound: value < bound, "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound, ">=": lambda value, bound: value >= bound,
    "=": lambda value, bound: value == bound, "<>": lambda value, bound: value != bound,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


class NumberFormat:
    """A number format.

    >>> NumberFormat("#,##0.00").shown(1234567.891), NumberFormat("0.0%").shown(0.1234), NumberFormat("(0)").shown(-5)
    ('1,234,567.89', '12.3%', '-(5)')
    >>> NumberFormat("d mmmm yyyy").shown(46085), NumberFormat('0.0,,"M"').shown(1_500_000)
    ('4 March 2026', '1.5M')
    """

    def __init__(self, code: str) -> None:
        self._sections = [_Section(tokens) for tokens in _sections_of(code)]

    def shown(self, value: float, *, from_1904: bool = False) -> str:
        """Return a number as the format shows it; an empty string when it shows nothing, or cannot show it."""
        if not math.isfinite(value):
            return ""
        section, signed = self._chosen(value)
        text = section.shown(abs(value) if signed else value, from_1904=from_1904)
        negative = value < 0 and signed and section is self._sections[0] and not section.condition
        if negative and any(digit in text for digit in "123456789"):
            text = f"-{text}"
        return " ".join(text.split())

    def _chosen(self, value: float) -> tuple["_Section", bool]:
        """Return the section for a number, and whether it shows the number without its sign."""
        sections = self._sections[:3]
        conditions = [section for section in sections if section.condition]
        if conditions:
            for section in sections:
                if section.condition is None or section.condition(value):
                    return section, value < 0 and section.takes_sign_off(value)
            return sections[-1], True
        if len(sections) > 2 and value == 0:  # noqa: PLR2004  (positive; negative; zero)
            return sections[2], True
        if len(sections) > 1 and value < 0:
            return sections[1], True
        return sections[0], not sections[0].is_date


def _sections_of(code: str) -> list[list[_Token]]:
    sections: list[list[_Token]] = [[]]
    for match in _FORMAT_TOKEN.finditer(code):
        kind = match.lastgroup or "ignored"
        text = match[kind] if match.lastgroup else ""
        if kind == "other" and text == ";":
            sections.append([])
        elif kind == "space":
            sections[-1].append(_Token("literal", " "))
        elif kind == "fill":
            sections[-1].append(_Token("literal", text if text == " " else ""))
        elif kind in {"quoted", "escaped", "currency", "other"}:
            sections[-1].append(_Token("literal", text))
        elif kind != "ignored":
            sections[-1].append(_Token(kind, text))
    return sections


class _Section:
    """One of the up to four parts of a format."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.condition: Callable[[float], bool] | None = None
        for token in tokens:
            if token.kind == "condition" and (match := _CONDITION.fullmatch(token.text)):
                self.condition = _condition(match[1], match[2])
        self._tokens = [token for token in tokens if token.kind != "condition"]
        kinds = {token.kind for token in self._tokens}
        self._general = "general" in kinds
        self.is_date = not self._general and bool(kinds & {"date", "elapsed", "noon"})
        self._marks = {token.text for token in self._tokens if token.kind == "mark"}
        self._plain = _plain_template(self._tokens)

    def takes_sign_off(self, value: float) -> bool:
        """Return whether a format with a condition shows a negative number without its sign: when it is for such only."""
        return self.condition is not None and not self.condition(-value)

    def shown(self, value: float, *, from_1904: bool) -> str:
        if self._plain and abs(value) < _EXACT:
            template, factor = self._plain
            return template.format(value * factor)
        if self.is_date:
            return "".join(self._dated(value, from_1904=from_1904))
        return self._of_number(value)

    def _of_number(self, value: float) -> str:
        if self._general:
            number = f"{value:.10g}".upper()
            return "".join(number if token.kind == "general" else token.text for token in self._tokens)
        if not any(token.kind == "digits" for token in self._tokens):
            return "".join(token.text for token in self._tokens if token.text != "@")
        if abs(value) >= _MAX_DIGITS:
            return ""
        if any(token.kind == "exponent" for token in self._tokens):
            return self._scientific(value)
        if "/" in self._marks:
            return self._fraction(value)
        return self._decimal(value)

    # Numbers

    def _decimal(self, value: float) -> str:
        tokens = self._tokens
        digits = [at for at, token in enumerate(tokens) if token.kind == "digits"]
        point = next(
            (at for at, token in enumerate(tokens) if token.text == "." and token.kind == "mark"), None
        )
        whole = [at for at in digits if point is None or at < point]
        parts = [at for at in digits if point is not None and at > point]
        scaled, grouped, dropped = self._commas(whole, digits)
        percents = sum(token.text == "%" and token.kind == "mark" for token in tokens)
        number = _rounded(Decimal(repr(value)).scaleb(2 * percents - 3 * scaled), len(parts))
        integer, _, decimals = f"{number:f}".partition(".")
        sign, integer = ("-", integer[1:]) if integer.startswith("-") else ("", integer)
        shown = _spread(integer.lstrip("0"), [tokens[at].text for at in whole], grouped=grouped)
        rest = _decimals(decimals, [tokens[at].text for at in parts])
        texts = dict(zip(whole, shown, strict=True)) | dict(zip(parts, rest, strict=True))
        if whole:
            texts[whole[0]] = sign + texts[whole[0]]
        elif point is not None:
            texts[point] = f"{sign}{integer.lstrip('0')}."
        return "".join("" if at in dropped else texts.get(at, token.text) for at, token in enumerate(tokens))

    def _commas(self, whole: Sequence[int], digits: Sequence[int]) -> tuple[int, bool, set[int]]:
        """Return by how many thousands a number is divided, whether its digits are grouped, and which commas are no text."""
        commas = [at for at, token in enumerate(self._tokens) if token.text == "," and token.kind == "mark"]
        grouped = any(whole and whole[0] < at < whole[-1] for at in commas)
        last = whole[-1] if whole else -1
        trailing = {at for at in commas if at > last and (not digits or at > digits[-1] or at == last + 1)}
        scaled = 0
        for end in dict.fromkeys((last, digits[-1])):
            while end + 1 + scaled in trailing:
                scaled += 1
        return scaled, grouped, set(commas)

    def _scientific(self, value: float) -> str:
        at = next(at for at, token in enumerate(self._tokens) if token.kind == "exponent")
        before, after = self._tokens[:at], self._tokens[at + 1 :]
        point = next((at for at, token in enumerate(before) if token.text == "."), len(before))
        places = sum(token.kind == "digits" for token in before[point:])
        width = max(sum(token.kind == "digits" for token in before[:point]), 1)
        power = math.floor(math.log10(abs(value))) if value else 0
        power -= power % width
        mantissa = f"{_rounded(Decimal(repr(value)).scaleb(-power), places):f}"
        sign = "-" if power < 0 else "+" if self._tokens[at].text.endswith("+") else ""
        size = sum(token.kind == "digits" for token in after)
        return f"{mantissa}E{sign}{abs(power):0{size}d}"

    def _fraction(self, value: float) -> str:
        at = next(at for at, token in enumerate(self._tokens) if token.text == "/")
        denominators = [token.text for token in self._tokens[at + 1 :] if token.kind == "digits"]
        fixed = "".join(token.text for token in self._tokens[at + 1 :] if token.kind == "literal").strip()
        numerators = sum(token.kind == "digits" for token in self._tokens[:at])
        mixed = any(token.text == " " for token in self._tokens[:at]) and numerators > 1
        whole = int(value) if mixed else 0
        if fixed.isdigit() and not denominators:
            part = Fraction(round((value - whole) * int(fixed)), 1)
            top, bottom = int(part), int(fixed)
        else:
            most = 10 ** max(len(denominators), 1) - 1
            near = Fraction(value - whole).limit_denominator(most)
            top, bottom = near.numerator, near.denominator
        if top == bottom:
            whole, top = whole + 1, 0
        if not top:
            return str(whole)
        return f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}"

    # Dates

    def _dated(self, value: float, *, from_1904: bool) -> Iterator[str]:
        elapsed = any(token.kind == "elapsed" for token in self._tokens)
        if not (elapsed or 0 <= value < LAST_DAY):
            return
        fine = any("." in token.text for token in self._tokens if token.kind == "date")
        seconds = value * _SECONDS if fine else round(value * _SECONDS)
        if abs(seconds) > LAST_DAY * _SECONDS:
            return
        early = not from_1904 and value < FALSE_LEAP_DAY
        start = EPOCH_1904 if from_1904 else EPOCH + timedelta(days=early)
        try:
            moment = start + timedelta(seconds=abs(seconds))
        except OverflowError:
            return
        twelve = any(token.kind == "noon" for token in self._tokens)
        if elapsed and seconds < 0:
            yield "-"
        for at, token in enumerate(self._tokens):
            match token.kind:
                case "date":
                    yield _of_date(token.text.lower(), moment, minutes=self._is_minutes(at), twelve=twelve)
                case "elapsed":
                    unit = {"h": 3600, "m": 60, "s": 1}[token.text[0].lower()]
                    yield f"{int(abs(seconds)) // unit:0{len(token.text)}d}"
                case "noon":
                    half = "AM" if moment.hour < 12 else "PM"  # noqa: PLR2004
                    yield half if len(token.text) > 3 else half[0]  # noqa: PLR2004  (AM/PM or A/P)
                case "digits":
                    yield f"{moment.microsecond // 100_000}" if fine else token.text
                case _:
                    yield token.text

    def _is_minutes(self, at: int) -> bool:
        """Return whether an `m` is minutes: it follows hours, or precedes seconds."""
        if self._tokens[at].text[0].lower() != "m" or len(self._tokens[at].text) > 2:  # noqa: PLR2004
            return False
        units = [
            (each, token.text[0].lower())
            for each, token in enumerate(self._tokens)
            if token.kind in {"date", "elapsed"}
        ]
        here = next(number for number, (each, _) in enumerate(units) if each == at)
        before = units[here - 1][1] if here else ""
        after = units[here + 1][1] if here + 1 < len(units) else ""
        return before == "h" or after == "s"


def _of_date(unit: str, moment: datetime, *, minutes: bool, twelve: bool) -> str:
    letter, size = unit[0], len(unit)
    match letter:
        case "y" | "e":
            return f"{moment.year % 100:02}" if size <= 2 and letter == "y" else f"{moment.year:04}"  # noqa: PLR2004
        case "m" if minutes:
            return f"{moment.minute:0{size}d}"
        case "m":
            name = _ENGLISH_MONTHS[moment.month - 1]
            return (f"{moment.month}", f"{moment.month:02}", name[:3], name, name[0])[min(size, 5) - 1]
        case "d":
            name = _DAYS[moment.weekday()]
            return (f"{moment.day}", f"{moment.day:02}", name[:3], name)[min(size, 4) - 1]
        case "h":
            hour = (moment.hour - 1) % 12 + 1 if twelve else moment.hour
            return f"{hour:0{min(size, 2)}d}"
        case _:
            whole, _, places = unit.partition(".")
            rest = f"{moment.microsecond:06}"[: len(places)]
            return f"{moment.second:0{min(len(whole), 2)}d}{'.' if places else ''}{rest}"


def _plain_template(tokens: Sequence[_Token]) -> tuple[str, float] | None:
    """Return what `str.format` does with most formats thirty times as fast, and by what the number is multiplied first."""
    code = "".join(token.text if token.kind in {"digits", "mark"} else "\0" for token in tokens)
    match = _PLAIN.fullmatch(code)
    if match is None:
        return None
    before, after = (
        "".join(token.text for token in part) for part in (tokens[: match.start(1)], tokens[match.end(3) :])
    )
    template = f"{{:{',' if ',' in match[1] else ''}.{max(len(match[2] or '') - 1, 0)}f}}{match[3]}"
    # A number halfway between two is shown as the larger one; binary ones are often a little below it.
    factor = (100 if match[3] else 1) * (1 + 2**-51)
    return f"{_braces(before)}{template}{_braces(after)}", factor


def _braces(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _condition(sign: str, bound: str) -> Callable[[float], bool] | None:
    compared = _CONDITIONS.get(sign)
    try:
        limit = float(bound)
    except ValueError:
        return None
    return (lambda value: compared(value, limit)) if compared else None


def _rounded(number: Decimal, places: int) -> Decimal:
    try:
        return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    except InvalidOperation:  # more digits than a cell can show
        return number


def _spread(digits: str, placeholders: Sequence[str], *, grouped: bool) -> list[str]:
    """Return what each place for a digit before the point shows. The first one takes all digits that are left."""
    needed = len(placeholders) - (placeholders.index("0") if "0" in placeholders else len(placeholders))
    digits = digits.rjust(needed, "0")
    shown: list[str] = []
    for place in range(len(placeholders)):
        last = place == len(placeholders) - 1
        here, digits = (digits, "") if last else (digits[-1:], digits[:-1])
        if grouped:
            here = _grouped(here, place)
        shown.append(here)
    return shown[::-1]


def _grouped(digits: str, place: int) -> str:
    """Return digits with commas between thousands; the last one stands at `place` before the point, from 0."""
    text = ""
    for at, digit in enumerate(reversed(digits), start=place):
        text = f"{digit}{',' if at and at % 3 == 0 else ''}{text}"
    return text


def _decimals(digits: str, placeholders: Sequence[str]) -> list[str]:
    """Return what each place for a digit behind the point shows: nothing for zeros at the end that are not asked for."""
    shown = list(digits.ljust(len(placeholders), "0")[: len(placeholders)])
    for at in range(len(shown) - 1, -1, -1):
        if shown[at] != "0" or placeholders[at] == "0":
            break
        shown[at] = ""
    return shown
