"""PDF: pypdfium2 is fast, pypdf finds text in damaged files that pypdfium2 gives up."""

import contextlib
import io
from collections.abc import Iterator

from research_shared.formats import DAMAGED, ENCRYPTED, Format, Pages, Reader, Refused

_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024
"""Readers accept up to so many bytes before the header."""
_WRONG_PASSWORD = 4  # FPDF_ERR_PASSWORD


def open_with_pypdfium2(data: bytes, first: int, last: int) -> Pages:
    """Open with the fast reader."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        wrong_password = getattr(error, "err_code", None) == _WRONG_PASSWORD
        raise Refused(ENCRYPTED if wrong_password else DAMAGED) from error
    total = len(document)

    def texts() -> Iterator[str | None]:
        with contextlib.closing(document):
            for index in range(first - 1, min(total, last)):
                try:
                    with (
                        contextlib.closing(document[index]) as page,
                        contextlib.closing(page.get_textpage()) as text,
                    ):
                        # Bounded text keeps indices on their line; it is empty when a page's box makes no sense.
                        yield text.get_text_bounded() or text.get_text_range()
                except (pypdfium2.PdfiumError, AssertionError, ValueError):
                    yield None

    return Pages(total=total, texts=texts())


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
                packages=("pypdfium2", "pypdfium2_raw"),
                distribution="pypdfium2",
            ),
            Reader(name="pypdf", open=open_with_pypdf, packages=("pypdf",), distribution="pypdf"),
        ),
        part="page",
        recognises=lambda data: _HEADER in data[:_HEADER_WITHIN],
        preload=("pypdfium2",),
    ),
)
