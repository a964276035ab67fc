"""Word documents, with what other readers leave out: notes, comments, headers, text boxes, deleted and hidden text.

Text that stands beside the words of a paragraph follows it on lines of their own, under a name in brackets, so that the
paragraph itself can be searched and quoted as it is printed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.drawing import MATH_SIGNS, chart_lines, diagram_lines, is_on
from research_shared.formats._parts.lines import MAX_HEADING, decoded, no_heading, on_one_line
from research_shared.formats._parts.numbering import Numbering
from research_shared.formats._parts.package import (
    Attributes,
    ElementHandler,
    Package,
    PartDamaged,
    Relationship,
    damage_notes,
    is_package,
    main_part,
    properties,
)
from research_shared.formats._parts.properties import core_metadata
from research_shared.formats._parts.symbols import symbol

_WORD_SKIPPED = frozenset({"Fallback", "rPrChange", "pPrChange", "sectPrChange", "tblPrChange"})
_NOTES = {"footnote": "footnote", "endnote": "endnote", "comment": "comment"}
_HEADING_NAME = re.compile(r"heading (\d)")
_LINK = re.compile(r'HYPERLINK\s+"([^"]+)"')


@dataclass(slots=True, kw_only=True)
class _Style:
    """What a style of paragraphs says: the level of a heading (0: none), and the list and its level that it belongs to."""

    heading: int = 0
    list_id: str = ""
    list_level: int | None = None
    based_on: str = ""


class _Styles(ElementHandler):
    def __init__(self) -> None:
        self.found: dict[str, _Style] = {}
        self._style = _Style()

    def start(self, name: str, attributes: Attributes) -> None:
        value = attributes.get("val", "")
        match name:
            case "style":
                self._style = self.found[attributes.get("styleId", "")] = _Style()
            case "name":
                match = _HEADING_NAME.fullmatch(value.lower())
                level = int(match[1]) if match else int(value.lower() == "title")
                self._style.heading = self._style.heading or level
            case "basedOn":
                self._style.based_on = value
            case "outlineLvl" if value.isdigit() and int(value) < MAX_HEADING:
                self._style.heading = self._style.heading or int(value) + 1
            case "numId":
                self._style.list_id = value
            case "ilvl" if value.isdigit():
                self._style.list_level = min(int(value), 8)

    def of(self, identifier: str) -> _Style:
        """Return what a style says, with what it inherits."""
        found = _Style()
        seen: set[str] = set()
        while identifier in self.found and identifier not in seen:
            seen.add(identifier)
            style = self.found[identifier]
            found.heading = found.heading or style.heading
            found.list_id = found.list_id or style.list_id
            if found.list_level is None:
                found.list_level = style.list_level
            identifier = style.based_on
        return found


@dataclass(slots=True, kw_only=True)
class _WordParagraph:
    """A paragraph being read: its words, and the lines that follow it."""

    words: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    ruby: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    style: str = ""
    heading: int = 0
    list_level: int | None = None
    list_id: str | None = None
    choices: list[str] = field(default_factory=list)
    chosen: int = 0
    hidden_run: bool = False


@dataclass(slots=True, kw_only=True)
class _WordFlow:
    """Lines that follow each other: the body, a cell, a text box, a note. Those beside a cell wait for its row's end."""

    name: str
    identifier: str = ""
    author: str = ""
    lines: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class _Story(ElementHandler):
    """Reads the body of a document, or another part with paragraphs."""

    def __init__(
        self,
        package: Package,
        part: str,
        styles: _Styles,
        notes: Mapping[tuple[str, str], list[str]],
        numbering: Numbering,
    ) -> None:
        self._package = package
        self._links: Mapping[str, Relationship] = package.relationships(part)
        self._styles = styles
        self._notes = notes
        self._numbering = numbering
        self._flows = [_WordFlow(name="body")]
        self._paragraphs: list[_WordParagraph] = []
        self._rows: list[tuple[list[str], list[str]]] = []
        self._skipped = 0
        self._deleting = 0
        self._in_properties = self._ruby = self._in_formula = 0
        self._reading = ""
        self.found: dict[tuple[str, str], list[str]] = {}
        self.used: set[tuple[str, str]] = set()
        self.embedded = 0

    def start(self, name: str, attributes: Attributes) -> None:
        """Open a paragraph, a row, or a flow."""
        if self._skipped or name in _WORD_SKIPPED:
            self._skipped += 1
            return
        match name:
            case "p":
                self._paragraphs.append(_WordParagraph())
            case "r" if self._paragraphs:
                self._paragraphs[-1].hidden_run = False
            case "t" | "delText" | "instrText":
                self._reading = name
            case "tr":
                self._rows.append(([], []))
            case "tc" | "txbxContent":
                self._flows.append(_WordFlow(name=name))
            case "footnote" | "endnote" | "comment":
                identifier, author = attributes.get("id", ""), attributes.get("author", "")
                self._flows.append(_WordFlow(name=name, identifier=identifier, author=author))
            case "del" | "moveFrom":
                self._deleting += 1
            case "pPr":
                self._in_properties += 1
            case _ if self._in_properties and self._paragraphs:
                self._format(self._paragraphs[-1], name, attributes)
            case _:
                self._start_inside(name, attributes)

    def _format(self, paragraph: _WordParagraph, name: str, attributes: Attributes) -> None:
        value = attributes.get("val", "")
        match name:
            case "pStyle":
                paragraph.style = value
            case "outlineLvl" if value.isdigit() and int(value) < MAX_HEADING:
                paragraph.heading = int(value) + 1
            case "ilvl" if value.isdigit():
                paragraph.list_level = min(int(value), 8)
            case "numId":
                paragraph.list_id = value

    def _start_inside(self, name: str, attributes: Attributes) -> None:
        paragraph = self._paragraphs[-1] if self._paragraphs else None
        match name:
            case "vanish" if paragraph:
                paragraph.hidden_run = is_on(attributes.get("val"), default=True)
            case "tab" | "ptab" | "br" | "cr":
                self._write("\t" if name in {"tab", "ptab"} else "\n")
            case "noBreakHyphen":
                self._write("-")
            case "sym":
                self._write(symbol(attributes.get("font", ""), attributes.get("char", "")))
            case "rt" if paragraph:
                self._ruby += 1
            case "listEntry" if paragraph:
                paragraph.choices.append(attributes.get("val", ""))
            case "result" if paragraph and attributes.get("val", "").isdigit():
                paragraph.chosen = int(attributes["val"])
            case "footnoteReference" | "endnoteReference" | "commentReference":
                self._refer(name.removesuffix("Reference"), attributes.get("id", ""))
            case "hyperlink":
                self._link(attributes.get("r:id", ""))
            case "fldSimple" if paragraph:
                paragraph.code.append(attributes.get("instr", ""))
            case _:
                self._draw(name, attributes)

    def _draw(self, name: str, attributes: Attributes) -> None:
        match name:
            case "altChunk":
                self._include(attributes.get("r:id", ""))
            case "OLEObject":
                self.embedded += 1
            case "oMath":
                self._in_formula += 1
            case _ if self._in_formula and name in MATH_SIGNS:
                self._write(MATH_SIGNS[name])
            case "docPr" | "shape" | "rect" | "cNvPr":
                for key in ("title", "descr", "alt"):
                    self._say("image", attributes.get(key, ""))
            case "textpath":
                self._say("text art", attributes.get("string", ""))
            case "chart":
                self._follow(attributes.get("r:id", ""), diagram=False)
            case "relIds":
                self._follow(attributes.get("r:dm", ""), diagram=True)

    def text(self, data: str) -> None:
        """Collect the text of a run."""
        if self._skipped or not self._reading or not self._paragraphs:
            return
        if self._reading == "instrText":
            self._paragraphs[-1].code.append(data)
        else:
            self._write(data)

    def end(self, name: str) -> None:
        """Close what was opened."""
        if self._skipped:
            self._skipped -= 1
            return
        match name:
            case "t" | "delText" | "instrText":
                self._reading = ""
            case "p" if self._paragraphs:
                self._end_paragraph(self._paragraphs.pop())
            case "tc" | "txbxContent" | "footnote" | "endnote" | "comment" if len(self._flows) > 1:
                self._end_flow(self._flows.pop())
            case "tr" if self._rows:
                cells, after = self._rows.pop()
                if any(cells):
                    self._add([" | ".join(cells)], after)
            case "del" | "moveFrom":
                self._deleting -= 1
            case "oMath":
                self._in_formula -= 1
            case "pPr":
                self._in_properties -= 1
            case "rt":
                self._ruby = max(self._ruby - 1, 0)
            case "ddList":
                self._choose()

    def finish(self) -> list[str]:
        """Return the lines of the part, with what was open when a damaged part ended."""
        while self._paragraphs:
            self._end_paragraph(self._paragraphs.pop())
        while len(self._flows) > 1:
            flow = self._flows.pop()
            self._skipped = 0
            self._end_flow(flow)
            if flow.name == "tc":
                self.end("tr")
        return self._flows[0].lines

    def _write(self, data: str) -> None:
        if not self._paragraphs:
            return
        paragraph = self._paragraphs[-1]
        if self._ruby:
            paragraph.ruby.append(data)
        elif self._deleting or self._reading == "delText":
            paragraph.deleted.append(data)
        elif paragraph.hidden_run:
            paragraph.hidden.append(data)
        else:
            paragraph.words.append(data)

    def _include(self, identifier: str) -> None:
        """Add a document of another format that Word shows as a part of this one."""
        link = self._links.get(identifier)
        lines = _included_lines(self._package, link.target) if link and not link.external else None
        if lines is None:
            self.embedded += 1
        else:
            self._flows[-1].lines += lines

    def _choose(self) -> None:
        """Write the chosen entry of a list in a form."""
        paragraph = self._paragraphs[-1] if self._paragraphs else None
        if paragraph and paragraph.choices:
            self._write(paragraph.choices[min(paragraph.chosen, len(paragraph.choices) - 1)])
            paragraph.choices, paragraph.chosen = [], 0

    def _say(self, what: str, text: str) -> None:
        if not (text := on_one_line(text)):
            return
        line = f"[{what}] {text}"
        after = self._paragraphs[-1].after if self._paragraphs else self._flows[-1].lines
        if line not in after[-4:]:
            after.append(line)

    def _link(self, identifier: str) -> None:
        link = self._links.get(identifier)
        if link and link.external:
            self._say("link", link.target)

    def _follow(self, identifier: str, *, diagram: bool) -> None:
        link = self._links.get(identifier)
        if link and not link.external and self._paragraphs:
            lines = (diagram_lines if diagram else chart_lines)(self._package, link.target)
            self._paragraphs[-1].after += lines

    def _refer(self, kind: str, identifier: str) -> None:
        key = (kind, identifier)
        if self._paragraphs and key not in self.used:
            self.used.add(key)
            self._paragraphs[-1].after += self._notes.get(key, ())

    def _end_paragraph(self, paragraph: _WordParagraph) -> None:
        for what, words in (
            ("deleted", paragraph.deleted),
            ("hidden", paragraph.hidden),
            ("reading", paragraph.ruby),
        ):
            if text := on_one_line("".join(words)):
                paragraph.after.append(f"[{what}] {text}")
        paragraph.after += (f"[link] {match[1]}" for match in _LINK.finditer("".join(paragraph.code)))
        lines = [line.strip() for line in "".join(paragraph.words).split("\n")]
        lines = [line for line in lines if line]
        if lines:
            lines = self._marked(paragraph, lines)
        self._add(lines, paragraph.after)

    def _marked(self, paragraph: _WordParagraph, lines: list[str]) -> list[str]:
        """Return the lines of a paragraph with its number; in the body with the mark of a heading or of a list too."""
        style = self._styles.of(paragraph.style)
        list_id = style.list_id if paragraph.list_id is None else paragraph.list_id
        level = style.list_level if paragraph.list_level is None else paragraph.list_level
        number = None
        if list_id and list_id != "0":
            if level is None:
                level = self._numbering.level_of_style(list_id, paragraph.style)
            number = self._numbering.next_number(list_id, level)
            if number:
                lines = [f"{number} {lines[0]}", *lines[1:]]
        if self._flows[-1].name != "body":
            return lines
        heading = paragraph.heading or style.heading
        if heading:
            return ["#" * min(heading, MAX_HEADING) + " " + " ".join(lines)]
        if list_id and list_id != "0":
            return [f"{'  ' * (level or 0)}{'' if number else '- '}{lines[0]}", *lines[1:]]
        # Only what the document calls a heading is one.
        return [no_heading(line) for line in lines]

    def _add(self, lines: list[str], after: list[str]) -> None:
        flow = self._flows[-1]
        flow.lines += lines
        if flow.name == "tc":
            flow.after += after
        else:
            flow.lines += after

    def _end_flow(self, flow: _WordFlow) -> None:
        if flow.name == "tc":
            if self._rows:
                self._rows[-1][0].append(" ".join(flow.lines))
                self._rows[-1][1].extend(flow.after)
        elif flow.name == "txbxContent":
            boxed = [line if line.startswith("[") else f"[text box] {line}" for line in flow.lines]
            if self._paragraphs:
                self._paragraphs[-1].after += boxed
            else:
                self._flows[-1].lines += boxed
        else:
            name = f"{flow.name} by {on_one_line(flow.author)}" if flow.author else flow.name
            self.found[flow.name, flow.identifier] = [
                line if line.startswith("[") else f"[{name}] {line}" for line in flow.lines
            ]


def _included_lines(package: Package, part: str) -> list[str] | None:
    """Return the lines of a part that is a document of its own, or None when no reader takes it."""
    from research_shared.formats import format_of, media_type_of

    media_type = media_type_of(part)
    document_format = format_of(media_type) if media_type else None
    if document_format is None or part not in package:
        return None
    try:
        data = package.read(part)
        if document_format.is_text:
            return [no_heading(line) for line in decoded(data)[0].splitlines() if line.strip()]
        (reader,) = document_format.readers
        if reader.open is open_docx:  # it could hold itself
            return None
        pages = reader.open(data, 1, 1)
    except (PartDamaged, Refused):
        return None
    return [line for page in pages.texts for line in str(page).splitlines()]


def open_docx(data: bytes, _first: int, _last: int) -> Pages:
    """Open a Word document. It has no pages before it is laid out."""
    package = Package(data)
    main = main_part(package)
    styles = _Styles()
    for part in package.linked(main, "styles"):
        package.parse(part, styles)
    numbering = Numbering()
    for part in package.linked(main, "numbering"):
        package.parse(part, numbering)
    notes: dict[tuple[str, str], list[str]] = {}
    for kind in _NOTES:
        for part in package.linked(main, f"{kind}s"):
            story = _Story(package, part, styles, {}, numbering)
            package.parse(part, story)
            notes |= story.found
    lines = properties(package)
    for kind in ("header", "footer"):
        lines += dict.fromkeys(_margins(package, main, kind, styles))
    body = _Story(package, main, styles, notes, numbering)
    package.parse(main, body)
    lines += body.finish()
    for key, left in notes.items():
        if key not in body.used:
            lines += left
    if not lines:
        raise Refused(DAMAGED if package.damaged else EMPTY)
    said = damage_notes(package)
    if body.embedded:
        said.append(f"{body.embedded} embedded file{'s are' if body.embedded > 1 else ' is'} not read")
    return Pages(total=1, texts=iter(("\n".join(lines),)), notes=said, metadata=core_metadata(package))


def _margins(package: Package, main: str, kind: str, styles: _Styles) -> Iterator[str]:
    """Yield the lines of the headers or footers of a document."""
    for part in package.linked(main, kind):
        story = _Story(package, part, styles, {}, Numbering())
        package.parse(part, story)
        for line in story.finish():
            yield line if line.startswith("[") else f"[{kind}] {line}"


FORMATS = (
    Format(
        title="a Word document",
        media_types={
            ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            ".docm": "application/vnd.ms-word.document.macroenabled.12",
            ".dotx": "application/vnd.openxmlformats-officedocument.wordprocessingml.template",
            ".dotm": "application/vnd.ms-word.template.macroenabled.12",
        },
        readers=(Reader(name="docx", open=open_docx, revision=2),),
        markdown=True,
        recognises=is_package,
    ),
)
