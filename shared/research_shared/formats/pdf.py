"""PDF: pypdfium2 is fast, pypdf finds text in damaged files that pypdfium2 gives up."""

import contextlib
import io
import re
import zlib
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from research_shared.formats import (
    DAMAGED,
    ENCRYPTED,
    Format,
    PageContent,
    Pages,
    Picture,
    Reader,
    Refused,
)
from research_shared.text.sizes import counted

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024
"""Readers accept up to so many bytes before the header."""
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD
_LAYERS = b"/OCProperties"
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_MAX_OBJECTS_BYTES = 1024 * 1024
_MAX_OBJECT_STREAMS = 100
"""The catalog stands in one of the last, nearly always in the last one."""
_MAX_NAMED = 10


def open_with_pypdfium2(data: bytes, first: int, last: int) -> Pages:
    """Open with the fast reader."""
    import pypdfium2

    from research_shared.formats._pdf.pages import read_page
    from research_shared.formats._pdf.picture import draw_page
    from research_shared.formats._pdf.properties import pdf_metadata

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        wrong_password = getattr(error, "err_code", None) == _WRONG_PASSWORD
        raise Refused(ENCRYPTED if wrong_password else DAMAGED) from error
    if document.get_formtype() != pypdfium2.raw.FORMTYPE_NONE:
        document.init_forms()  # gives an appearance to fields that have none
    total = len(document)
    notes: list[str] = []
    layers_off = _layers_off(data, notes)
    metadata = pdf_metadata(document, data)

    def texts() -> Iterator[PageContent]:
        left_out: set[str] = set()
        attached = 0
        with contextlib.closing(document):
            for index in range(first - 1, min(total, last)):
                try:
                    page = read_page(document, index, layers_off)
                except (pypdfium2.PdfiumError, AssertionError, ValueError):
                    yield None
                    continue
                left_out |= page.left_out
                attached += page.attachments
                if page.undecodable and page.text:
                    notes.append(f"page {index + 1} is undecodable but for its fields and comments")
                if page.text or not (page.undecodable or page.drawn):
                    yield page.text
                else:
                    yield Picture(draw=partial(draw_page, document, index), undecodable=page.undecodable)
            notes.extend(_not_read(document, attached, left_out))

    return Pages(total=total, texts=texts(), notes=notes, metadata=metadata)


def _not_read(document: "PdfDocument", attached: int, left_out: set[str]) -> Iterator[str]:
    """Yield notes on what is in a document and not in its text."""
    import pypdfium2

    if document.get_formtype() == pypdfium2.raw.FORMTYPE_XFA_FULL:
        yield "it is an XFA form: what its fields say is not read"
    count = document.count_attachments()
    names: list[str] = []
    for number in range(min(count, _MAX_NAMED)):
        with contextlib.suppress(pypdfium2.PdfiumError):  # the list is longer than what is there
            names.append(document.get_attachment(number).get_name())
    if count:
        more = f" and {count - len(names)} more" if count > len(names) else ""
        yield f"{counted(count, 'attachment is', 'attachments are')} not read: {', '.join(names)}{more}"
    if attached:
        yield f"{counted(attached, 'file is', 'files are')} attached to its pages not read"
    if left_out:
        named = ", ".join(sorted(left_out)[:_MAX_NAMED])
        yield f"text on layers that are switched off is left out: {named}"


def _layers_off(data: bytes, notes: list[str]) -> frozenset[str]:
    """Return the names of the layers that are switched off when the document is opened.

    pdfium does not tell, and pypdf takes as long as the text of some pages: asked only where there are layers.
    """
    if not _has_layers(data):
        return frozenset()
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        properties: Any = reader.root_object["/OCProperties"]
        default = properties["/D"]
        listed = {layer.idnum: layer.get_object() for layer in properties["/OCGs"]}
        switched_off = {layer.idnum for layer in default.get("/OFF", ())}
        if default.get("/BaseState") == "/OFF":
            switched_off = listed.keys() - {layer.idnum for layer in default.get("/ON", ())}
        names = {number: str(layer["/Name"]) for number, layer in listed.items()}
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (anything at all, on damaged files)
        notes.append("it has layers; text on those that are switched off may be in the text")
        return frozenset()
    shown = {name for number, name in names.items() if number not in switched_off}
    off = {name for number, name in names.items() if number in switched_off}
    if off & shown:
        notes.append(
            "text on layers that are switched off may be in the text: other layers have the same names"
        )
    return frozenset(off - shown)


def _has_layers(data: bytes) -> bool:
    """Return whether the catalog of a document, which may be compressed, has layers."""
    if _LAYERS in data:
        return True
    end = len(data)
    for _ in range(_MAX_OBJECT_STREAMS):
        end = data.rfind(b"/ObjStm", 0, end)
        if end == -1:
            break
        begin = data.find(b"stream", end)
        if begin == -1:
            continue
        begin += len(b"stream\r\n" if data[begin + 6 : begin + 7] == b"\r" else b"stream\n")
        with contextlib.suppress(zlib.error):
            objects = zlib.decompressobj().decompress(
                data[begin : begin + _MAX_OBJECTS_BYTES], _MAX_OBJECTS_BYTES
            )
            if _LAYERS in objects or _CATALOG.search(objects):
                return _LAYERS in objects
    return False


def open_with_pypdf(data: bytes, first: int, last: int) -> Pages:
    """Open with the patient reader. It raises anything at all on damaged files, hence the broad handlers."""
    import pypdf

    try:
        document = pypdf.PdfReader(io.BytesIO(data))
        locked = document.is_encrypted and not document.decrypt("")
        total = 0 if locked else len(document.pages)
    except MemoryError:
        raise
    except Exception as error:
        raise Refused(DAMAGED) from error
    if locked:
        raise Refused(ENCRYPTED)

    def texts() -> Iterator[str | None]:
        for index in range(first - 1, min(total, last)):
            try:
                yield document.pages[index].extract_text()
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001  (one bad page must not take the others)
                yield None

    return Pages(total=total, texts=texts())


FORMATS = (
    Format(
        title="a PDF",
        media_types={".pdf": "application/pdf"},
        readers=(
            Reader(
                name="pypdfium2",
                open=open_with_pypdfium2,
                packages=("pypdfium2", "pypdfium2_raw", "pypdf"),
                distribution="pypdfium2",
                revision=3,
            ),
            Reader(name="pypdf", open=open_with_pypdf, packages=("pypdf",), distribution="pypdf"),
        ),
        part="page",
        recognises=lambda data: _HEADER in data[:_HEADER_WITHIN],
        preload=(
            "pypdfium2",
            "research_shared.formats._pdf.pages",
            "research_shared.formats._pdf.picture",
            "research_shared.formats._pdf.properties",
        ),
    ),
)
