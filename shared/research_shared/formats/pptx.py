"""PowerPoint presentations: slides with their tables, charts, diagrams, notes and comments, in the order of the show."""

from collections.abc import Iterator

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.drawing import Drawing
from research_shared.formats._parts.lines import on_one_line
from research_shared.formats._parts.package import (
    Attributes,
    ElementHandler,
    Package,
    damage_notes,
    is_package,
    main_part,
    properties,
)
from research_shared.formats._parts.properties import core_metadata

_HIDDEN_SLIDE = "[hidden slide]"


class _Order(ElementHandler):
    """Collects the identifiers of the slides, in the order of the show."""

    def __init__(self) -> None:
        self.identifiers: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "sldId":
            self.identifiers.append(attributes.get("r:id", ""))


class _Authors(ElementHandler):
    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        if name in {"cmAuthor", "author"}:
            self.names[attributes.get("id", "")] = on_one_line(attributes.get("name", ""))


class _SlideComments(ElementHandler):
    """Collects the comments on a slide, of the old kind (`text`) and of the new one (paragraphs)."""

    def __init__(self, authors: dict[str, str]) -> None:
        self._authors = authors
        self._author = ""
        self._text: list[str] = []
        self._reading = False
        self.lines: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name in {"cm", "reply"}:
            self._flush()
            self._author = self._authors.get(attributes.get("authorId", ""), "")
        self._reading = name in {"text", "t"}

    def text(self, data: str) -> None:
        if self._reading:
            self._text.append(data)

    def end(self, name: str) -> None:
        self._reading = False
        if name in {"cm", "reply"}:
            self._flush()
        elif name == "p":
            self._text.append(" ")

    def _flush(self) -> None:
        if text := on_one_line("".join(self._text)):
            by = f" by {self._author}" if self._author else ""
            self.lines.append(f"[comment{by}] {text}")
        self._text = []


def open_pptx(data: bytes, first: int, last: int) -> Pages:
    """Open a presentation."""
    package = Package(data)
    main = main_part(package)
    order = _Order()
    package.parse(main, order)
    links = package.relationships(main)
    slides = [links[each].target for each in order.identifiers if each in links]
    if not slides:
        raise Refused(DAMAGED if package.damaged else EMPTY)
    authors = _Authors()
    for kind in ("commentAuthors", "authors"):
        for part in package.linked(main, kind):
            package.parse(part, authors)
    notes: list[str] = []

    def texts() -> Iterator[str | None]:
        for number, part in enumerate(slides[first - 1 : last], start=first):
            before = properties(package) if number == 1 else []
            text = _slide_text(package, part, authors.names, before)
            if text and _HIDDEN_SLIDE in text.partition("\n")[0]:
                notes.append(f"slide {number} is hidden")
            yield text
        notes.extend(damage_notes(package))

    return Pages(total=len(slides), texts=texts(), notes=notes, metadata=core_metadata(package))


def _slide_text(package: Package, part: str, authors: dict[str, str], before: list[str]) -> str | None:
    """Return the text of a slide, or None when it cannot be read at all."""
    drawing = Drawing(package, part)
    whole = package.parse(part, drawing)
    title = drawing.title()
    # In the heading, so that each hit on the slide says so.
    hidden = "" if drawing.show else _HIDDEN_SLIDE
    lines = [" ".join(filter(None, ("#", title, hidden)))] if title or hidden else []
    lines += before
    lines += drawing.lines(without_title=bool(title), with_number=True)
    for kind in ("comments", "comment"):
        for linked in package.linked(part, kind):
            comments = _SlideComments(authors)
            package.parse(linked, comments)
            lines += comments.lines
    for linked in package.linked(part, "notesSlide"):
        spoken = Drawing(package, linked)
        package.parse(linked, spoken)
        lines += (f"[notes] {line.strip()}" for line in spoken.lines())
    return "\n".join(lines) if lines or whole else None


FORMATS = (
    Format(
        title="a PowerPoint presentation",
        media_types={
            ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            ".pptm": "application/vnd.ms-powerpoint.presentation.macroenabled.12",
            ".ppsx": "application/vnd.openxmlformats-officedocument.presentationml.slideshow",
            ".ppsm": "application/vnd.ms-powerpoint.slideshow.macroenabled.12",
            ".potx": "application/vnd.openxmlformats-officedocument.presentationml.template",
        },
        readers=(Reader(name="pptx", open=open_pptx, revision=2),),
        part="slide",
        markdown=True,
        recognises=is_package,
    ),
)
