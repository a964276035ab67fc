"""Text in drawings of Office Open XML: shapes, tables, charts, diagrams, alternative texts and links."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from research_shared.formats._parts.lines import on_one_line
from research_shared.formats._parts.package import Attributes, ElementHandler, Package, Relationship

_FALSE = frozenset({"0", "false", "off", "none"})
_TITLES = frozenset({"title", "ctrTitle"})
_NO_TEXT = frozenset({"sldNum", "sldImg"})
"""Placeholders that say which slide this is, not what it says."""

MATH_SIGNS = {"den": "/", "sup": "^", "sub": "_", "deg": " ", "e": " ", "lim": " ", "fName": " ", "num": " "}
"""What stands before a part of a formula, so that its words are not glued to others."""

LinesOf = Callable[[Package, str], list[str]]


def is_on(value: str | None, *, default: bool = False) -> bool:
    """Return the value of an on-off attribute."""
    return default if value is None else value.lower() not in _FALSE


def number(text: str) -> str:
    """Return a stored number as people see it: without the noise of binary fractions."""
    if text.isdigit():
        return text
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text


@dataclass(slots=True, kw_only=True)
class Shape:
    """The text of one shape: its paragraphs and rows as lines."""

    lines: list[str] = field(default_factory=list)
    placeholder: str = ""
    hidden: bool = False


class Drawing(ElementHandler):
    """Reads the shapes of a slide, of notes, or of the drawing on a sheet."""

    def __init__(self, package: Package, part: str) -> None:
        self._package = package
        self._links: Mapping[str, Relationship] = package.relationships(part)
        self.shapes: list[Shape] = []
        self.show = True
        self._open: list[Shape] = []
        self._paragraph: list[str] | None = None
        self._level = 0
        self._cells: list[str] | None = None
        self._cell: list[str] | None = None
        self._in_text = False
        self._in_formula = 0
        self._skipped = 0

    def start(self, name: str, attributes: Attributes) -> None:
        """Open a shape, a paragraph, or a row."""
        if self._skipped or name == "Fallback":
            self._skipped += 1
            return
        match name:
            case "sld":
                self.show = is_on(attributes.get("show"), default=True)
            case "sp" | "pic" | "graphicFrame" | "cxnSp":
                self._open.append(Shape())
            case "ph" if self._open:
                self._open[-1].placeholder = attributes.get("type", "body")
            case "cNvPr":
                self._describe(attributes)
            case "p":
                self._paragraph, self._level = [], 0
            case "pPr":
                self._level = (
                    int(attributes.get("lvl", "0") or "0") if attributes.get("lvl", "").isdigit() else 0
                )
            case "tr":
                self._cells = []
            case "tc":
                self._cell = []
            case _:
                self._start_inside(name, attributes)

    def _start_inside(self, name: str, attributes: Attributes) -> None:
        match name:
            case "t":
                self._in_text = True
            case "oMath":
                self._in_formula += 1
            case _ if self._in_formula and name in MATH_SIGNS and self._paragraph is not None:
                self._paragraph.append(MATH_SIGNS[name])
            case "br" | "tab" if self._paragraph is not None:
                self._paragraph.append(" ")
            case "hlinkClick" | "hlinkHover":
                link = self._links.get(attributes.get("r:id", ""))
                if link and link.external:
                    self._say(f"[link] {link.target}")
            case "chart":
                self._say(*self._linked(attributes.get("r:id", ""), chart_lines))
            case "relIds":
                self._say(*self._linked(attributes.get("r:dm", ""), diagram_lines))

    def text(self, data: str) -> None:
        """Collect the text of a run."""
        if self._in_text and self._paragraph is not None and not self._skipped:
            self._paragraph.append(data)

    def end(self, name: str) -> None:
        """Close what was opened."""
        if self._skipped:
            self._skipped -= 1
            return
        match name:
            case "t":
                self._in_text = False
            case "oMath":
                self._in_formula -= 1
            case "p":
                self._end_paragraph()
            case "tc" if self._cells is not None and self._cell is not None:
                self._cells.append(" ".join(self._cell))
                self._cell = None
            case "tr" if self._cells is not None:
                self._say(" | ".join(self._cells))
                self._cells = None
            case "sp" | "pic" | "graphicFrame" | "cxnSp" if self._open:
                self.shapes.append(self._open.pop())

    def _end_paragraph(self) -> None:
        text = on_one_line("".join(self._paragraph or ()))
        self._paragraph = None
        if not text:
            return
        if self._cell is not None:
            self._cell.append(text)
        else:
            self._say("  " * min(self._level, 8) + text)

    def _describe(self, attributes: Attributes) -> None:
        if self._open and is_on(attributes.get("hidden")):
            self._open[-1].hidden = True
        for key in ("title", "descr"):
            if text := on_one_line(attributes.get(key, "")):
                self._say(f"[image] {text}")

    def _linked(self, identifier: str, lines_of: LinesOf) -> list[str]:
        link = self._links.get(identifier)
        return lines_of(self._package, link.target) if link and not link.external else []

    def _say(self, *lines: str) -> None:
        if self._open:
            self._open[-1].lines += lines
        else:
            self.shapes.append(Shape(lines=list(lines)))

    def title(self) -> str:
        """Return the text of the title's placeholder, or an empty string."""
        return next(
            (on_one_line(" ".join(each.lines)) for each in self.shapes if each.placeholder in _TITLES), ""
        )

    def lines(self, *, without_title: bool = False, with_number: bool = False) -> list[str]:
        """Return the lines of all shapes in their order. Those of a hidden shape say so, and that of the slide's number."""
        found: list[str] = []
        left_out = without_title
        for shape in self.shapes:
            if with_number and shape.placeholder == "sldNum":
                found += (f"[slide number] {line.strip()}" for line in shape.lines)
            if shape.placeholder in _NO_TEXT:
                continue
            if left_out and shape.placeholder in _TITLES and shape.lines:
                left_out = False
                continue
            found += (f"[hidden] {line.strip()}" for line in shape.lines) if shape.hidden else shape.lines
        return found


class _Chart(ElementHandler):
    """Collects titles, series, categories and values of a chart, in both of the formats that Office writes."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        self.series: list[tuple[list[str], dict[int, list[str]], list[dict[int, str]]]] = []
        self.others: list[str] = []
        self._path: list[str] = []
        self._text: list[str] | None = None
        self._paragraph: list[str] = []
        self._index = 0

    def start(self, name: str, attributes: Attributes) -> None:
        self._path.append(name)
        match name:
            case "ser" | "series":
                self.series.append(([], {}, []))
            case "val" | "yVal" | "bubbleSize" if self.series:
                self.series[-1][2].append({})
            case "pt":
                index = attributes.get("idx", "0")
                self._index = int(index) if index.isdigit() else 0
                self._text = []
            case "v" | "t":
                self._text = []
            case "p":
                self._paragraph = []

    def text(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def end(self, name: str) -> None:
        text = on_one_line("".join(self._text)) if self._text is not None and name in {"v", "t", "pt"} else ""
        if name in {"v", "t", "pt"}:
            self._text = None
        if name == "t":
            self._paragraph.append(text)
        elif name == "p" and (line := on_one_line(" ".join(self._paragraph))):
            self.titles.append(line)
        elif text:
            self._value(text)
        self._path.pop()

    def _value(self, text: str) -> None:
        inside = self._path
        if not self.series or not {"ser", "series"}.intersection(inside):
            self.others.append(text)
        elif "tx" in inside:
            self.series[-1][0].append(text)
        elif "cat" in inside or "xVal" in inside:
            self.series[-1][1].setdefault(self._index, []).append(text)
        elif self.series[-1][2]:
            self.series[-1][2][-1][self._index] = number(text)

    def lines(self) -> list[str]:
        found = [f"[chart] {title}" for title in self.titles]
        if self.others:
            found.append(f"[chart] {' | '.join(self.others)}")
        for names, categories, values in self.series:
            points = (
                " ".join(
                    [
                        *reversed(categories.get(index, [])),
                        *(each[index] for each in values if index in each),
                    ]
                )
                for index in sorted({*categories, *(index for each in values for index in each)})
            )
            found.append(f"[chart] {' '.join(names) or 'series'}: {' | '.join(points)}")
        return found


def chart_lines(package: Package, part: str) -> list[str]:
    """Return the lines of a chart: its titles, and each series with its categories and values."""
    handler = _Chart()
    package.parse(part, handler)
    return handler.lines()


def diagram_lines(package: Package, part: str) -> list[str]:
    """Return the lines of a diagram (SmartArt)."""
    drawing = Drawing(package, part)
    package.parse(part, drawing)
    return [f"[diagram] {line.strip()}" for line in drawing.lines()]
