"""Web pages, and EPUB books: each file of their reading order is a chapter."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from research_shared.formats._format import DAMAGED, EMPTY, ENCRYPTED, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import decoded, encoding_notes, on_one_line
from research_shared.formats._parts.package import (
    Attributes,
    Collector,
    ElementHandler,
    Package,
    PartDamaged,
    damage_notes,
    is_package,
)
from research_shared.formats._parts.properties import book_metadata
from research_shared.formats._parts.web_page import declared_encoding, html_lines, html_metadata

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_BOOK_PROPERTIES = {"title": "title", "creator": "author", "subject": "subject", "description": "description"}


def open_html(data: bytes, _first: int, _last: int) -> Pages:
    """Open a web page. Scripts do not run, and nothing that it links to is fetched."""
    text, encoding = decoded(data, declared_encoding(data))
    lines = html_lines(text)
    if not lines:
        raise Refused(EMPTY)
    return Pages(
        total=1,
        texts=iter(("\n".join(lines),)),
        notes=encoding_notes(encoding),
        metadata=html_metadata(text),
    )


class _Attributes(ElementHandler):
    """Collects an attribute of the elements of one name."""

    def __init__(self, element: str, attribute: str) -> None:
        self._element = element
        self._attribute = attribute
        self.found: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name == self._element:
            self.found.append(attributes.get(self._attribute, ""))


@dataclass(slots=True, kw_only=True)
class _Item:
    identifier: str
    address: str
    media_type: str
    is_contents: bool


class _Manifest(ElementHandler):
    """Collects the files of a book and their order."""

    def __init__(self) -> None:
        self.items: list[_Item] = []
        self.spine: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if name == "itemref":
            self.spine.append(attributes.get("idref", ""))
        elif name == "item":
            self.items.append(
                _Item(
                    identifier=attributes.get("id", ""),
                    address=unquote(attributes.get("href", "")),
                    media_type=attributes.get("media-type", ""),
                    is_contents="nav" in attributes.get("properties", "").split(),
                )
            )

    def chapters(self) -> list[str]:
        """Return the addresses of the files in their reading order, then those that are in no order."""
        by_identifier = {item.identifier: item for item in self.items}
        ordered = [by_identifier[each] for each in self.spine if each in by_identifier]
        rest = [item for item in self.items if "html" in item.media_type and not item.is_contents]
        return list(dict.fromkeys(item.address for item in (*ordered, *rest)))


def open_epub(data: bytes, first: int, last: int) -> Pages:
    """Open a book."""
    package = Package(data)
    roots = _Attributes("rootfile", "full-path")
    package.parse(_CONTAINER, roots)
    if not roots.found or roots.found[0] not in package:
        raise Refused(DAMAGED)
    root = roots.found[0]
    manifest, properties = _Manifest(), list[str]()
    package.parse(root, manifest)

    def collect(name: str, text: str) -> None:
        if text := on_one_line(text):
            properties.append(f"[{_BOOK_PROPERTIES[name]}] {text}")

    package.parse(root, Collector(frozenset(_BOOK_PROPERTIES), collect))
    directory = posixpath.dirname(root)
    chapters = [posixpath.normpath(posixpath.join(directory, each)) for each in manifest.chapters()]
    if _ENCRYPTION in package:
        locked = _Attributes("CipherReference", "URI")
        package.parse(_ENCRYPTION, locked)
        if {unquote(each) for each in locked.found}.intersection(chapters):
            raise Refused(ENCRYPTED)
    if not chapters:
        raise Refused(DAMAGED if package.damaged else EMPTY)
    notes: list[str] = []

    def texts() -> Iterator[str | None]:
        for number, part in enumerate(chapters[first - 1 : last], start=first):
            try:
                content = package.read(part)
            except PartDamaged:
                package.damaged.append(part)
                yield None
                continue
            text, _ = decoded(content, declared_encoding(content))
            lines = html_lines(text, with_title=False)
            yield "\n".join([*(properties if number == 1 else ()), *lines])
        notes.extend(damage_notes(package))

    return Pages(total=len(chapters), texts=texts(), notes=notes, metadata=book_metadata(package, root))


FORMATS = (
    Format(
        title="a web page",
        media_types={".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml"},
        readers=(Reader(name="html", open=open_html),),
        markdown=True,
    ),
    Format(
        title="an EPUB book",
        media_types={".epub": "application/epub+zip"},
        readers=(Reader(name="epub", open=open_epub),),
        part="chapter",
        markdown=True,
        recognises=is_package,
    ),
)
