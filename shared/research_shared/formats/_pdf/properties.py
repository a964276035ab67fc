"""What a PDF declares about itself: its information dictionary, and its XMP packet for what that leaves out."""

import ctypes
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from research_shared.formats._parts.metadata import NO_METADATA, Metadata
from research_shared.formats._parts.package import Attributes, ElementHandler, PartDamaged, parse_xml
from research_shared.formats._parts.properties import split_keywords

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_PACKET = b"<x:xmpmeta"
_PACKET_END = b"</x:xmpmeta>"
_OF_DOCUMENTS = b"http://ns.adobe.com/pdf/1.3/"
"""Stands in the packet of a document, and not in those of the pictures in it."""
_MAX_PACKET_BYTES = 256 * 1024
_MAX_PACKETS = 16
_MAX_LANGUAGE_CHARS = 64
_PDF_DATE = re.compile(r"(?:D:)?\d{4}")


class _Packet(ElementHandler):
    """Collects the items of the elements that bear metadata."""

    _NAMES = frozenset({"title", "creator", "subject", "language", "CreateDate"})

    def __init__(self) -> None:
        self.found: defaultdict[str, list[str]] = defaultdict(list)
        self._name = ""
        self._parts: list[str] = []

    def start(self, name: str, attributes: Attributes) -> None:
        if date := attributes.get("CreateDate"):
            self.found["CreateDate"].append(date)
        if name in self._NAMES:
            self._name = name
        if self._name:
            self._parts = []

    def text(self, data: str) -> None:
        if self._name:
            self._parts.append(data)

    def end(self, name: str) -> None:
        if self._name and (text := "".join(self._parts).strip()):
            self.found[self._name].append(text)
        self._parts = []
        if name == self._name:
            self._name = ""


def pdf_metadata(document: "PdfDocument", data: bytes) -> Metadata:
    """Return the metadata of an open PDF. `data` are its bytes."""
    said = document.get_metadata_dict()
    created = next(
        (said[name] for name in ("CreationDate", "ModDate") if _PDF_DATE.match(said.get(name, ""))), ""
    )
    declared = Metadata.of(
        title=said.get("Title", ""),
        authors=[said.get("Author", "")],
        date=created,
        language=_catalog_language(document),
        tags=split_keywords([said.get("Keywords", "")]),
    )
    if declared.title and declared.authors and declared.date:
        return declared
    return declared.or_else(_of_packet(data))


def _catalog_language(document: "PdfDocument") -> str:
    import pypdfium2.raw

    buffer = (ctypes.c_ushort * _MAX_LANGUAGE_CHARS)()
    size = pypdfium2.raw.FPDFCatalog_GetLanguage(document, buffer, ctypes.sizeof(buffer))
    if size > ctypes.sizeof(buffer):
        return ""
    return bytes(buffer)[: max(size - 2, 0)].decode("utf-16-le", "ignore")  # without the zero at the end


def _of_packet(data: bytes) -> Metadata:
    """Return what the last XMP packet of a document says. Packets that are compressed are not looked for."""
    end = len(data)
    for _ in range(_MAX_PACKETS):
        end = data.rfind(_PACKET, 0, end)
        if end == -1:
            break
        close = data.find(_PACKET_END, end, end + _MAX_PACKET_BYTES)
        packet = data[end : close + len(_PACKET_END)] if close != -1 else b""
        if _OF_DOCUMENTS in packet:
            handler = _Packet()
            try:
                parse_xml(iter((packet,)), handler)
            except PartDamaged:
                return NO_METADATA
            found = handler.found
            return Metadata.of(
                title="".join(found["title"][:1]),
                authors=found["creator"],
                date="".join(found["CreateDate"][:1]),
                language="".join(found["language"][:1]),
                tags=found["subject"],
            )
    return NO_METADATA
