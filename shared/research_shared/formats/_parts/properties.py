"""What office files and books declare about themselves, in elements named after the Dublin Core."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress

from research_shared.formats._parts.metadata import Metadata
from research_shared.formats._parts.package import (
    Attributes,
    ElementHandler,
    Package,
    PartDamaged,
    parse_xml,
)

_WANTED = frozenset({
    "title", "creator", "initial-creator", "date", "created", "modified", "creation-date", "language", "keyword",
    "keywords", "subject",
})  # fmt: skip
_MAX_DECLARED_CHARS = 64 * 1024
_MAX_FLAT_BYTES = 256 * 1024
_SEPARATORS = re.compile("[,;]")


class _Declared(ElementHandler):
    """Collects the texts of the known elements, those of an element `within` only if it is given."""

    def __init__(self, within: str = "") -> None:
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        self._within = within
        self._inside = not within
        self._room = _MAX_DECLARED_CHARS
        self._parts: list[str] | None = None

    def start(self, name: str, attributes: Attributes) -> None:  # noqa: ARG002  (part of the interface)
        self._inside = self._inside or name == self._within
        self._parts = [] if self._inside and name in _WANTED else self._parts

    def text(self, data: str) -> None:
        if self._parts is not None and self._room > 0:
            self._parts.append(data[: self._room])
            self._room -= len(data)

    def end(self, name: str) -> None:
        if name == self._within:
            self._inside = False
        if self._parts is not None and name in _WANTED:
            if text := "".join(self._parts).strip():
                self.found[name].append(text)
            self._parts = None


def _metadata_from(
    declared: _Declared, *, authors: Sequence[str], dates: Sequence[str], tags: Sequence[str]
) -> Metadata:
    """Return what was collected: the authors and the date of the first of these elements that is there, all tags."""
    found = declared.found
    return Metadata.of(
        title=_first_text(found["title"]),
        authors=next((found[name] for name in authors if found[name]), ()),
        date=next((found[name][0] for name in dates if found[name]), ""),
        language=_first_text(found["language"]),
        tags=split_keywords(text for name in tags for text in found[name]),
    )


def _first_text(texts: Sequence[str]) -> str:
    return texts[0] if texts else ""


def split_keywords(texts: Iterable[str]) -> list[str]:
    """Return the keywords of texts that hold one or, with commas or semicolons between them, several."""
    return [keyword for text in texts for keyword in _SEPARATORS.split(text)]


def core_metadata(package: Package) -> Metadata:
    """Return the metadata of an Office Open XML package. Its date is that of the last change that an author made.

    The date of creation is often that of another file, which was copied and written over.
    """
    declared = _Declared()
    for part in package.linked("", "core-properties"):
        package.parse(part, declared)
    return _metadata_from(declared, authors=("creator",), dates=("modified", "created"), tags=("keywords",))


def book_metadata(package: Package, part: str) -> Metadata:
    """Return the metadata of an EPUB book, from its package document."""
    declared = _Declared("metadata")
    package.parse(part, declared)
    return _metadata_from(declared, authors=("creator",), dates=("date",), tags=("subject",))


def open_document_metadata(data: bytes, package: Package | None) -> Metadata:
    """Return the metadata of an OpenDocument file: of its package, or of the beginning of a flat one."""
    declared = _Declared("meta")
    if package is None:
        # It goes on behind the part that is looked at. The reader tells when it is damaged.
        with suppress(PartDamaged):
            parse_xml(iter((data.lstrip()[:_MAX_FLAT_BYTES],)), declared)
    elif "meta.xml" in package:
        package.parse("meta.xml", declared)
    return _metadata_from(
        declared, authors=("initial-creator", "creator"), dates=("date", "creation-date"), tags=("keyword",)
    )
