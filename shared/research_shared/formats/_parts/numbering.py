"""The numbers that Word computes for the paragraphs of lists and for headings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from research_shared.formats._parts.package import Attributes, ElementHandler

_LIST_LEVELS = 9
_LETTERS_OF_LISTS = 26
_MAX_ROMAN = 3999
_MAX_LETTERS = 780
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
_LEVEL_MARK = re.compile(r"%([1-9])")
_NO_NUMBER = frozenset({"bullet", "none"})


@dataclass(slots=True, kw_only=True)
class Level:
    """One level of a list: where it starts, how its numbers are written, and what stands around them (`%1.%2`)."""

    start: int = 1
    kind: str = "decimal"
    template: str = ""
    restart_after: int | None = None
    legal: bool = False
    style: str = ""


@dataclass(slots=True, kw_only=True)
class _Definition:
    levels: dict[int, Level] = field(default_factory=dict)
    link: str = ""


class Numbering(ElementHandler):
    """Reads the definitions of lists, and counts."""

    def __init__(self) -> None:
        self._definitions: dict[str, _Definition] = {}
        self._named: dict[str, str] = {}
        self._lists: dict[str, str] = {}
        self._overrides: dict[str, dict[int, Level | int]] = {}
        self._definition = _Definition()
        self._levels: dict[int, Level | int] | dict[int, Level] = {}
        self._level: Level | None = None
        self._list = ""
        self._at = 0
        self._counts: dict[str, list[int | None]] = {}
        self._seen: set[tuple[str, int]] = set()

    def start(self, name: str, attributes: Attributes) -> None:
        """Take a part of a definition."""
        value = attributes.get("val", "")
        match name:
            case "abstractNum":
                self._definition = _Definition()
                self._definitions[attributes.get("abstractNumId", "")] = self._definition
                self._levels = self._definition.levels
            case "styleLink":
                self._named[value] = next(reversed(self._definitions), "")
            case "numStyleLink":
                self._definition.link = value
            case "num":
                self._list = attributes.get("numId", "")
                self._levels = self._overrides[self._list] = {}
            case "abstractNumId":
                self._lists[self._list] = value
            case "lvlOverride":
                self._at = _whole_number(attributes.get("ilvl", ""))
            case "startOverride" if isinstance(self._overrides.get(self._list), dict):
                self._overrides[self._list][self._at] = _whole_number(value)
            case "lvl":
                self._level = Level()
                self._levels[_whole_number(attributes.get("ilvl", ""))] = self._level
            case _ if self._level is not None:
                self._describe(self._level, name, value)

    def _describe(self, level: Level, name: str, value: str) -> None:
        match name:
            case "start":
                level.start = _whole_number(value)
            case "numFmt":
                level.kind = value
            case "lvlText":
                level.template = value
            case "lvlRestart" if value.isdigit():
                level.restart_after = int(value)
            case "isLgl":
                level.legal = value not in {"0", "false"}
            case "pStyle":
                level.style = value

    def end(self, name: str) -> None:
        """Close a level."""
        if name == "lvl":
            self._level = None

    def level_of_style(self, list_id: str, style: str) -> int:
        """Return the level of a list that belongs to a style of paragraphs."""
        levels = self._levels_of(list_id)
        return next((at for at, level in levels.items() if style and level.style == style), 0)

    def next_number(self, list_id: str, at: int) -> str | None:
        """Count one more paragraph on a level (from 0) of a list. Return what stands before it; None for a bullet or nothing."""
        levels = self._levels_of(list_id)
        level = levels.get(at)
        if level is None:
            return None
        counts = self._counts.setdefault(self._definition_of(list_id), [None] * _LIST_LEVELS)
        override = self._overrides.get(list_id, {}).get(at)
        if override is not None and (list_id, at) not in self._seen:
            counts[at] = None  # a list of its own, that goes on with the definition of another
        self._seen.add((list_id, at))
        before = counts[at]
        counts[at] = level.start if before is None else before + 1
        for deeper in range(at + 1, _LIST_LEVELS):
            restart = levels[deeper].restart_after if deeper in levels else None
            if restart is None or (restart and at < restart):
                counts[deeper] = None
        if level.kind in _NO_NUMBER:
            return None

        def written(match: re.Match[str]) -> str:
            place = int(match[1]) - 1
            shown = levels.get(place, level)
            count = counts[place]
            return _written(shown.start if count is None else count, "decimal" if level.legal else shown.kind)

        return _LEVEL_MARK.sub(written, level.template).strip() or None

    def _definition_of(self, list_id: str) -> str:
        definition = self._lists.get(list_id, "")
        link = self._definitions.get(definition, _Definition()).link
        return self._named.get(link, definition) if link else definition

    def _levels_of(self, list_id: str) -> Mapping[int, Level]:
        levels = dict(self._definitions.get(self._definition_of(list_id), _Definition()).levels)
        for at, override in self._overrides.get(list_id, {}).items():
            if isinstance(override, Level):
                levels[at] = override
            elif at in levels:
                levels[at] = replace(levels[at], start=override)
        return levels


def _whole_number(text: str) -> int:
    return int(text) if text.isdigit() and len(text) < _LIST_LEVELS else 0


def _written(count: int, kind: str) -> str:
    """Return a number in one of the ways of ECMA-376, 17.18.59; in digits for those of other scripts.

    >>> _written(27, "lowerLetter"), _written(14, "upperRoman"), _written(3, "decimalZero"), _written(2, "ordinal")
    ('aa', 'XIV', '03', '2nd')
    """
    match kind:
        case "lowerLetter" | "upperLetter" if 0 < count <= _MAX_LETTERS:
            letter = chr(ord("a") + (count - 1) % _LETTERS_OF_LISTS) * ((count - 1) // _LETTERS_OF_LISTS + 1)
            return letter.upper() if kind == "upperLetter" else letter
        case "lowerRoman" | "upperRoman" if 0 < count <= _MAX_ROMAN:
            roman = ""
            for value, letters in _ROMAN:
                roman += letters * (count // value)
                count %= value
            return roman.upper() if kind == "upperRoman" else roman
        case "decimalZero":
            return f"{count:02}"
        case "ordinal":
            teen = count % 100 in {11, 12, 13}
            return f"{count}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th')}"
        case "none":
            return ""
    return str(count)
