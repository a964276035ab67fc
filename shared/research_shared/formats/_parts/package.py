"""Zip packages of XML parts (Office Open XML), read from memory within bounds.

Nothing in a package is trusted: what it inflates to is bounded in all and in proportion to its size, entities of XML are
refused, nothing outside of the package is ever fetched, and no macro is looked at.
"""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from xml.parsers import expat

from research_shared.formats._format import DAMAGED, EMPTY, ENCRYPTED, TOO_LARGE, Refused
from research_shared.formats._parts.lines import on_one_line

MAX_INFLATED_BYTES = 384 * 1024 * 1024
"""What the parts of one package may inflate to together."""
MAX_RATIO = 200
"""What a part may inflate to for each of its bytes, above `RATIO_FROM_BYTES`. Real sheets stay below 60."""
RATIO_FROM_BYTES = 32 * 1024 * 1024
MAX_XML_DEPTH = 2_000
"""How deep elements may be nested. Word's own limit is far below."""
_CHUNK_BYTES = 256 * 1024
_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_ZIP = b"PK"
_ENCRYPTED_FLAG = 1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

Attributes = Mapping[str, str]
"""The attributes of an element by their local names; those of the relationships namespace as `r:id`."""


class PartDamaged(Exception):
    """A part ends early or is no XML. What was read before stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationship:
    """A link from one part to another (`target` is its name in the package) or to an address (`external`)."""

    kind: str
    target: str
    external: bool


def is_package(data: bytes) -> bool:
    """Return whether bytes begin as a zip file does."""
    return data.startswith(_ZIP)


class Package:
    """The parts of a zip file.

    Raises:
        Refused: it is empty, encrypted, or no zip file that can be read.
    """

    def __init__(self, data: bytes) -> None:
        if not data:
            raise Refused(EMPTY)
        if data.startswith(_COMPOUND_FILE):
            raise Refused(ENCRYPTED if _ENCRYPTED_STREAM in data else DAMAGED)
        # zipfile raises NotImplementedError for versions and compressions that it does not know.
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
            raise Refused(DAMAGED) from error
        # Names differ in case between what links say and what is stored: look them up as Windows does.
        self._entries = {entry.filename.lstrip("/").lower(): entry for entry in self._zip.infolist()}
        self._room = MAX_INFLATED_BYTES
        self.damaged: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._entries

    def names(self) -> list[str]:
        """Return the names of all parts, as they are stored."""
        return [entry.filename.lstrip("/") for entry in self._entries.values()]

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a part.

        Raises:
            PartDamaged: it is missing, or ends early.
            Refused: it is encrypted, or inflates beyond the bounds.
        """
        entry = self._entries.get(name.lower())
        if entry is None:
            raise PartDamaged(name)
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise Refused(ENCRYPTED)
        if entry.compress_type not in _METHODS:
            raise PartDamaged(name)
        most = max(RATIO_FROM_BYTES, MAX_RATIO * entry.compress_size)
        try:
            with self._zip.open(entry) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    self._room -= len(chunk)
                    most -= len(chunk)
                    if self._room < 0 or most < 0:
                        raise Refused(TOO_LARGE)
                    yield chunk
        except (
            zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError,
        ) as error:  # fmt: skip
            raise PartDamaged(name) from error

    def read(self, name: str) -> bytes:
        """Return the bytes of a part. Raises what `chunks` raises."""
        return b"".join(self.chunks(name))

    def parse(self, name: str, handler: "ElementHandler") -> bool:
        """Give the elements of a part to a handler. Return whether it could be read to its end.

        What is damaged is noted in `damaged`, once. Raises `Refused` as `chunks` does.
        """
        try:
            parse_xml(self.chunks(name), handler)
        except PartDamaged:
            if name not in self.damaged:
                self.damaged.append(name)
            return False
        return True

    def parse_plainly(self, name: str, handler: "ElementHandler") -> bool:
        """Do what `parse` does twice as fast, for parts with millions of elements: see `parse_xml_plainly`."""
        try:
            parse_xml_plainly(self.chunks(name), handler)
        except PartDamaged:
            self.damaged.append(name)
            return False
        return True

    def relationships(self, part: str) -> dict[str, Relationship]:
        """Return the links of a part by their identifiers; none when it has no links."""
        directory, _, name = part.rpartition("/")
        links = posixpath.join(directory, "_rels", f"{name}.rels")
        handler = _Relationships(directory)
        if links in self:
            self.parse(links, handler)
        return handler.found

    def linked(self, part: str, kind: str) -> list[str]:
        """Return the parts of a kind that a part links to, in the order of their links, each once."""
        found = (link.target for link in self.relationships(part).values() if link.kind == kind)
        return [target for target in dict.fromkeys(found) if target in self]


class ElementHandler:
    """What is done with the elements of a part. Names are local: the namespace is left out."""

    def start(self, name: str, attributes: Attributes) -> None:
        """Take the start of an element."""

    def end(self, name: str) -> None:
        """Take the end of an element."""

    def text(self, data: str) -> None:
        """Take a run of characters."""


class _ShortNames(dict[str, str]):
    """Local names by qualified names ("namespace local"); `r:` marks those of the relationships namespace."""

    def __missing__(self, qualified: str) -> str:
        namespace, _, local = qualified.rpartition(" ")
        short = f"r:{local}" if namespace.endswith("/relationships") and "package" not in namespace else local
        self[qualified] = short
        return short


def parse_xml(chunks: Iterator[bytes], handler: ElementHandler) -> None:
    """Give the elements of an XML text to a handler.

    Raises:
        PartDamaged: it is not well-formed, defines entities, or is nested too deeply.
    """
    parser = expat.ParserCreate(namespace_separator=" ")
    names = _ShortNames()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_XML_DEPTH:
            raise PartDamaged("nested too deeply")
        handler.start(names[name], {names[key]: value for key, value in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        handler.end(names[name])

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = handler.text
    _run(parser, chunks)


def parse_xml_plainly(chunks: Iterator[bytes], handler: ElementHandler) -> None:
    """Give the elements of an XML text to a handler with their names as written, prefixes included, and at any depth.

    Raises:
        PartDamaged: it is not well-formed, or defines entities.
    """
    parser = expat.ParserCreate()
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.text
    _run(parser, chunks)


def _run(parser: expat.XMLParserType, chunks: Iterator[bytes]) -> None:
    def refuse(*_: Any) -> int:
        raise PartDamaged("it defines entities")

    parser.buffer_text = True
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        parser.buffer_text = False  # hands over the characters before the damage
        raise PartDamaged(str(error)) from error
    except (UnicodeError, LookupError, ValueError) as error:
        # An encoding that Python does not know, or that takes several bytes a character and is not UTF-8 or UTF-16.
        raise PartDamaged("its encoding is unknown") from error


class _Relationships(ElementHandler):
    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.found: dict[str, Relationship] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        if name != "Relationship":
            return
        target = attributes.get("Target", "")
        external = attributes.get("TargetMode") == "External"
        if not external:
            target = posixpath.normpath(posixpath.join("/", self._directory, unquote(target))).lstrip("/")
        kind = attributes.get("Type", "").rpartition("/")[2]
        self.found[attributes.get("Id", "")] = Relationship(kind=kind, target=target, external=external)


class Collector(ElementHandler):
    """Hands the text of each element whose name is known to a function: `collect(name, text)`."""

    def __init__(self, wanted: frozenset[str], collect: Callable[[str, str], None]) -> None:
        self._wanted = wanted
        self._collect = collect
        self._parts: list[str] | None = None

    def start(self, name: str, attributes: Attributes) -> None:  # noqa: ARG002  (part of the interface)
        """Begin to collect."""
        if name in self._wanted:
            self._parts = []

    def text(self, data: str) -> None:
        """Collect."""
        if self._parts is not None:
            self._parts.append(data)

    def end(self, name: str) -> None:
        """Hand over what was collected."""
        if self._parts is not None and name in self._wanted:
            self._collect(name, "".join(self._parts))
            self._parts = None


_CORE_PROPERTIES = {
    "title": "title", "creator": "author", "subject": "subject",
    "keywords": "keywords", "description": "description",
}  # fmt: skip


def properties(package: Package) -> list[str]:
    """Return the title, the author and the like of a package as lines."""
    lines: list[str] = []

    def collect(name: str, text: str) -> None:
        if text.strip():
            lines.append(f"[{_CORE_PROPERTIES[name]}] {on_one_line(text)}")

    for part in package.linked("", "core-properties"):
        package.parse(part, Collector(frozenset(_CORE_PROPERTIES), collect))
    return lines


def main_part(package: Package) -> str:
    """Return the part that a package is about.

    Raises:
        Refused: it links to none.
    """
    parts = package.linked("", "officeDocument")
    if not parts:
        raise Refused(DAMAGED)
    return parts[0]


def damage_notes(package: Package) -> list[str]:
    """Return a note on the damaged parts of a package, if it has any."""
    parts = package.damaged
    if not parts:
        return []
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""  # noqa: PLR2004  (enough to name)
    return [f"the file is damaged; text is missing from {', '.join(parts[:3])}{more}"]
