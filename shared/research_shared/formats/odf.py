"""OpenDocument texts, spreadsheets and presentations, packed in a zip file or flat in one XML file."""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from research_shared.formats._format import DAMAGED, EMPTY, ENCRYPTED, Format, Pages, Reader, Refused
from research_shared.formats._parts.cells import PERCENT, PLAIN, column_name, shown_number
from research_shared.formats._parts.lines import MAX_HEADING, no_heading, on_one_line
from research_shared.formats._parts.package import (
    Attributes,
    Collector,
    ElementHandler,
    Package,
    PartDamaged,
    damage_notes,
    is_package,
    parse_xml,
)
from research_shared.formats._parts.properties import open_document_metadata

_MANIFEST = "META-INF/manifest.xml"
_ODF_SKIPPED = frozenset({
    "note-citation", "change-info", "ruby-text", "scripts", "sequence-decls", "variable-decls", "user-field-decls",
    "content-validations", "handout-master", "settings", "font-face-decls", "page-thumbnail",
})  # fmt: skip
_ODF_PROPERTIES = {
    "title": "title", "initial-creator": "author", "creator": "author", "subject": "subject",
    "keyword": "keywords", "description": "description",
}  # fmt: skip
_FLOWS = frozenset(
    {"note-body", "annotation", "text-box", "table-cell", "deletion", "header", "footer", "notes"}
)
_FLAT_CHUNK_BYTES = 256 * 1024


@dataclass(slots=True, kw_only=True)
class _OdfPart:
    """A sheet, a slide, or a whole text."""

    name: str = ""
    title: str = ""
    hidden: bool = False
    lines: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _OdfFlow:
    """Lines that follow each other inside of an element. Those beside a cell wait for the end of its row."""

    element: str
    kind: str = ""
    author: str = ""
    lines: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _OdfParagraph:
    depth: int
    """How many flows are open around it: what stands in a deeper one is no text of it."""
    heading: int = 0
    level: int = 0
    words: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _OdfCell:
    """A cell of the open row: the value it was stored with, and how often it is repeated."""

    formula: str = ""
    stored: str = ""
    repeated: int = 1
    covered: bool = False


_UNASKED_MARGIN = re.compile(r"\[\w+\] (?:[\W\d]|Page)*")
"""What is left of the margins that programs print without being asked: the number of a page, `???` for a name."""


def _repetitions(text: str) -> int:
    return min(int(text), 1 << 21) if text.isdigit() and int(text) else 1


def _stored(attributes: Attributes) -> str:
    """Return what is stored in a cell: a date in ISO 8601, or a number as cells of Excel give it."""
    if date := attributes.get("date-value", ""):
        return date.removesuffix("T00:00:00").replace("T", " ").removesuffix(":00")
    value = attributes.get("value", "")
    kind = attributes.get("value-type", "")
    return shown_number(value, PERCENT if kind == "percentage" else PLAIN) if value else ""


class _OpenDocument(ElementHandler):
    """Reads properties, styles and content, given one after the other."""

    def __init__(self, package: Package | None) -> None:
        self.package = package
        self.properties: list[str] = []
        self.margins: list[str] = []
        self.parts: list[_OdfPart] = []
        self.kind = ""
        self._area = ""
        self._skipped = 0
        self._style = ""
        self._hidden_words: set[str] = set()
        self._hidden_parts: set[str] = set()
        self._flows: list[_OdfFlow] = []
        self._paragraphs: list[_OdfParagraph] = []
        self._spans: list[bool] = []
        self._lists = 0
        self._rows: list[list[tuple[_OdfCell, str]]] = []
        self._row_after: list[list[str]] = []
        self._open_cells: list[_OdfCell] = []
        self._tables = 0
        self._row = 0
        self._row_repeated = 1
        self._row_hidden = False
        self._frames: list[str] = []
        self._frame_paragraphs: list[int] = []
        """How many paragraphs were open where each frame began."""
        self._deleted: dict[str, list[str]] = {}
        self._region = ""
        self._field: list[str] | None = None

    # Elements

    def start(self, name: str, attributes: Attributes) -> None:
        """Open an element."""
        if self._skipped or name in _ODF_SKIPPED:
            self._skipped += 1
            return
        match name:
            case "meta" | "automatic-styles" | "styles" | "master-styles" | "body" if not self._area:
                self._area = name
            case _ if self._area == "meta":
                self._field = [] if name in _ODF_PROPERTIES else None
            case _ if self._area in {"automatic-styles", "styles"}:
                self._start_style(name, attributes)
            case _:
                self._start_content(name, attributes)

    def _start_style(self, name: str, attributes: Attributes) -> None:
        if name == "style":
            self._style = attributes.get("name", "")
        elif name == "text-properties" and attributes.get("display") == "none":
            self._hidden_words.add(self._style)
        elif (name == "table-properties" and attributes.get("display") == "false") or (
            name == "drawing-page-properties" and attributes.get("visibility") == "hidden"
        ):
            self._hidden_parts.add(self._style)

    def _start_content(self, name: str, attributes: Attributes) -> None:
        if name in _FLOWS:
            self._start_flow(name, attributes)
            return
        match name:
            case "p" | "h" if self._area == "body" or self._flows:
                level = attributes.get("outline-level", "1") if name == "h" else "0"
                heading = min(int(level), MAX_HEADING) if level.isdigit() else 1
                self._paragraphs.append(
                    _OdfParagraph(depth=len(self._flows), heading=heading, level=self._lists)
                )
            case "list":
                self._lists += 1
            case "table":
                self._start_table(attributes)
            case "table-row":
                self._row_repeated = _repetitions(attributes.get("number-rows-repeated", ""))
                self._row_hidden = attributes.get("visibility") in {"collapse", "filter"}
                self._rows.append([])
                self._row_after.append([])
            case "covered-table-cell" if self._rows:
                repeated = _repetitions(attributes.get("number-columns-repeated", ""))
                self._rows[-1].append((_OdfCell(repeated=repeated, covered=True), ""))
            case "text" | "spreadsheet" | "presentation" | "drawing" if (
                self._area == "body" and not self.kind
            ):
                self.kind = name
            case "page" if self._area == "body":
                hidden = attributes.get("style-name", "") in self._hidden_parts
                self.parts.append(_OdfPart(hidden=hidden))
            case _:
                self._start_inside(name, attributes)

    def _start_flow(self, name: str, attributes: Attributes) -> None:
        kind = attributes.get("note-class", "") if name == "note-body" else name
        if name == "table-cell":
            self._open_cells.append(
                _OdfCell(
                    formula=attributes.get("formula", "").partition(":")[2] or attributes.get("formula", ""),
                    stored=_stored(attributes),
                    repeated=_repetitions(attributes.get("number-columns-repeated", "")),
                )
            )
        self._flows.append(_OdfFlow(element=name, kind=kind))

    def _start_table(self, attributes: Attributes) -> None:
        self._tables += 1
        if self.kind == "spreadsheet" and self._tables == 1:
            hidden = attributes.get("style-name", "") in self._hidden_parts
            self.parts.append(_OdfPart(name=on_one_line(attributes.get("name", "")), hidden=hidden))
            self._row = 0

    def _start_inside(self, name: str, attributes: Attributes) -> None:
        match name:
            case "span":
                self._spans.append(attributes.get("style-name", "") in self._hidden_words)
            case "s":
                self._write(" " * min(_repetitions(attributes.get("c", "1")), 100))
            case "tab":
                self._write("\t")
            case "line-break":
                self._write("\n")
            case _:
                self._start_beside(name, attributes)

    def _start_beside(self, name: str, attributes: Attributes) -> None:
        match name:
            case "a":
                self._say("link", attributes.get("href", ""))
            case "note":
                self._frames.append(attributes.get("note-class", "note"))
                self._frame_paragraphs.append(len(self._paragraphs))
            case "hidden-text" | "hidden-paragraph":
                self._say("hidden", attributes.get("string-value", ""))
            case "changed-region":
                self._region = attributes.get("id", "")
            case "change":
                self._beside().extend(self._deleted.get(attributes.get("change-id", ""), ()))
            case "frame":
                self._frames.append(attributes.get("class", ""))
                self._frame_paragraphs.append(len(self._paragraphs))
            case "object":
                self._beside().extend(self._chart(attributes.get("href", "")))
            case "title" | "desc" if self._describes_a_drawing():
                self._field = []
            case "creator" if self._flows and self._flows[-1].element == "annotation":
                self._field = []

    def _describes_a_drawing(self) -> bool:
        """Whether a title here is that of a drawing; in a paragraph of its own it is a field with the document's title."""
        return not self._paragraphs or (
            bool(self._frames) and len(self._paragraphs) == self._frame_paragraphs[-1]
        )

    def text(self, data: str) -> None:
        """Collect characters."""
        if self._skipped:
            return
        if self._field is not None:
            self._field.append(data)
        elif self._paragraphs:
            self._write(" ".join(data.split("\n")))

    def end(self, name: str) -> None:
        """Close an element."""
        if self._skipped:
            self._skipped -= 1
            return
        if self._field is not None and name in {*_ODF_PROPERTIES, "desc"}:
            self._end_field(name)
            return
        if name in _FLOWS:
            if self._flows and self._flows[-1].element == name:
                self._end_flow(self._flows.pop())
            return
        match name:
            case "p" | "h" if self._paragraphs:
                self._end_paragraph(self._paragraphs.pop())
            case "span" if self._spans:
                self._spans.pop()
            case "list":
                self._lists -= 1
            case "table":
                self._tables -= 1
            case "table-row" if self._rows:
                self._end_row(self._rows.pop(), self._row_after.pop())
            case "frame" | "note" if self._frames:
                self._frames.pop()
                self._frame_paragraphs.pop()
            case _ if name == self._area:
                self._area = ""

    # What they come to

    def _end_field(self, name: str) -> None:
        text = on_one_line("".join(self._field or ()))
        self._field = None
        if not text:
            return
        if self._area == "meta":
            line = f"[{_ODF_PROPERTIES[name]}] {text}"
            if line not in self.properties:
                self.properties.append(line)
        elif name == "creator":
            if self._flows:
                self._flows[-1].author = text
        else:
            self._say("image", text)

    def _write(self, data: str) -> None:
        if self._paragraphs and self._paragraphs[-1].depth == len(self._flows):
            paragraph = self._paragraphs[-1]
            (paragraph.hidden if any(self._spans) else paragraph.words).append(data)

    def _beside(self) -> list[str]:
        """Return where lines go that stand beside the words."""
        if self._paragraphs:
            return self._paragraphs[-1].after
        if not self._flows:
            return self._part().lines
        flow = self._flows[-1]
        return flow.after if flow.element == "table-cell" else flow.lines

    def _say(self, what: str, text: str) -> None:
        if text := on_one_line(text):
            self._beside().append(f"[{what}] {text}")

    def _part(self) -> _OdfPart:
        if not self.parts:
            self.parts.append(_OdfPart())
        return self.parts[-1]

    def _add(self, lines: list[str], after: list[str]) -> None:
        if not self._flows:
            self._part().lines += [*lines, *after]
            return
        flow = self._flows[-1]
        flow.lines += lines
        (flow.after if flow.element == "table-cell" else flow.lines).extend(after)

    def _end_paragraph(self, paragraph: _OdfParagraph) -> None:
        if hidden := on_one_line("".join(paragraph.hidden)):
            paragraph.after.append(f"[hidden] {hidden}")
        lines = [line.strip() for line in "".join(paragraph.words).split("\n")]
        lines = [line for line in lines if line]
        if lines and not self._flows:
            if paragraph.heading:
                lines = [f"{'#' * paragraph.heading} {' '.join(lines)}"]
            elif paragraph.level:
                lines = [f"{'  ' * min(paragraph.level - 1, 8)}- {lines[0]}", *lines[1:]]
            else:
                lines = [no_heading(line) for line in lines]
        self._add(lines, paragraph.after)

    def _end_flow(self, flow: _OdfFlow) -> None:
        lines = flow.lines
        match flow.element:
            case "table-cell":
                if self._rows and self._open_cells:
                    self._rows[-1].append((self._open_cells.pop(), " ".join(lines)))
                    self._row_after[-1].extend(self._placed(flow.after))
            case "text-box" if self.kind == "presentation":
                if self._frames and self._frames[-1] == "title" and lines and not self._part().title:
                    self._part().title = on_one_line(" ".join(lines))
                else:
                    self._add(lines, [])
            case "header" | "footer":
                self.margins += _named(flow.kind, lines)
            case "deletion":
                self._deleted[self._region] = _named("deleted", lines)
            case "annotation":
                self._beside().extend(
                    _named(f"comment by {flow.author}" if flow.author else "comment", lines)
                )
            case "note-body":
                self._beside().extend(_named(self._frames[-1] if self._frames else "note", lines))
            case "text-box":
                self._beside().extend(_named("text box", lines))
            case _:
                self._beside().extend(_named(flow.element, lines))

    def _placed(self, lines: list[str]) -> list[str]:
        """Return the lines beside the last cell with its name, if it is one of a sheet."""
        if self.kind != "spreadsheet" or self._tables > 1:
            return lines
        cells = [cell for cell, _ in self._rows[-1]]
        name = f"{column_name(1 + sum(cell.repeated for cell in cells[:-1]))}{self._row + 1}"
        return [line.replace("] ", f"] {name}: ", 1) if line.startswith("[") else line for line in lines]

    def _end_row(self, cells: list[tuple[_OdfCell, str]], after: list[str]) -> None:
        if self.kind != "spreadsheet" or self._tables > 1:
            words = [text for cell, text in cells if not cell.covered]
            self._add([" | ".join(words)] if any(words) else [], after)
            return
        first, column, shown = self._row + 1, 1, list[str]()
        self._row += self._row_repeated
        for cell, text in cells:
            last = column + cell.repeated - 1
            value = f"{text} [{cell.stored}]" if text and cell.stored not in {"", text} else text
            if cell.formula:
                value = f"{value} ({cell.formula})"
            if value:
                name = f"{column_name(column)}{first}"
                shown.append(f"{name if last == column else f'{name}:{column_name(last)}{first}'}: {value}")
            column = last + 1
        if shown:
            alike = f"[rows {first}-{self._row}] " if self._row_repeated > 1 else ""
            hidden = "[hidden row] " if self._row_hidden else ""
            self._add([f"{hidden}{alike}{' | '.join(shown)}"], after)
        else:
            self._add([], after)

    def _chart(self, address: str) -> list[str]:
        """Return the words and numbers of a chart, which is a document inside of the package."""
        part = posixpath.normpath(f"{unquote(address)}/content.xml")
        found: list[str] = []
        if self.package is not None and part in self.package:
            wanted = Collector(frozenset({"p"}), lambda _, text: found.append(on_one_line(text)))
            self.package.parse(part, wanted)
        words = [text for text in found if text]
        return [f"[chart] {' | '.join(words)}"] if words else []


def _named(what: str, lines: list[str]) -> list[str]:
    return [line if line.startswith("[") else f"[{what}] {line}" for line in lines]


def _flat_chunks(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _FLAT_CHUNK_BYTES):
        yield data[at : at + _FLAT_CHUNK_BYTES]


def _read_odf(data: bytes) -> tuple[_OpenDocument, list[str]]:
    """Return a document and notes on what is damaged."""
    if data.lstrip()[:1] == b"<":
        document = _OpenDocument(None)
        try:
            parse_xml(_flat_chunks(data.lstrip()), document)
        except PartDamaged:
            return document, ["the file is damaged; text is missing from its end"]
        return document, []
    package = Package(data)
    if _MANIFEST in package:
        encrypted = Collector(frozenset({"encryption-data"}), lambda _name, _text: refuse())
        package.parse(_MANIFEST, encrypted)
    document = _OpenDocument(package)
    for name in ("meta.xml", "styles.xml", "content.xml"):
        if name in package or name == "content.xml":
            package.parse(name, document)
    return document, damage_notes(package)


def refuse() -> None:
    """Refuse an encrypted document."""
    raise Refused(ENCRYPTED)


def open_odf(data: bytes, first: int, last: int) -> Pages:
    """Open an OpenDocument file."""
    if not data:
        raise Refused(EMPTY)
    document, notes = _read_odf(data)
    parts = document.parts
    margins = [line for line in dict.fromkeys(document.margins) if not _UNASKED_MARGIN.fullmatch(line)]
    if document.kind == "text" and margins:
        parts = parts or [_OdfPart()]
    elif not any(part.lines or part.title or part.name for part in parts):
        raise Refused(DAMAGED if notes else EMPTY)
    what = "sheet" if document.kind == "spreadsheet" else "slide"
    for number, part in enumerate(parts, start=1):
        if part.hidden:
            notes.append(f"{what} {number} is hidden")

    def texts() -> Iterator[str]:
        before = [*document.properties, *(margins if document.kind != "presentation" else ())]
        for number, part in enumerate(parts[first - 1 : last], start=first):
            hidden = f"[hidden {what}]" if part.hidden else ""
            heading = " ".join(filter(None, (part.name or part.title, hidden)))
            lines = [f"# {heading}"] if heading else []
            yield "\n".join([*lines, *(before if number == 1 else ()), *part.lines])

    metadata = open_document_metadata(data, document.package)
    return Pages(total=len(parts), texts=texts(), notes=notes, metadata=metadata)


_READERS = (Reader(name="odf", open=open_odf, revision=2),)
_TYPE = "application/vnd.oasis.opendocument"


def _recognises(data: bytes) -> bool:
    return is_package(data) or data.lstrip()[:1] == b"<"


FORMATS = (
    Format(
        title="an OpenDocument text",
        media_types={
            ".odt": f"{_TYPE}.text", ".ott": f"{_TYPE}.text-template", ".fodt": f"{_TYPE}.text-flat-xml",
        },
        readers=_READERS,
        markdown=True,
        recognises=_recognises,
    ),
    Format(
        title="an OpenDocument spreadsheet",
        media_types={".ods": f"{_TYPE}.spreadsheet", ".fods": f"{_TYPE}.spreadsheet-flat-xml"},
        readers=_READERS,
        part="sheet",
        markdown=True,
        recognises=_recognises,
    ),
    Format(
        title="an OpenDocument presentation",
        media_types={".odp": f"{_TYPE}.presentation", ".fodp": f"{_TYPE}.presentation-flat-xml"},
        readers=_READERS,
        part="slide",
        markdown=True,
        recognises=_recognises,
    ),
)  # fmt: skip
