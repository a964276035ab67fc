"""What reading a file comes to: its text, or the reason why there is none."""

from dataclasses import dataclass, field

from research_shared.formats import (
    DAMAGED,
    EMPTY,
    ENCRYPTED,
    NO_METADATA,
    NO_TEXT,
    TOO_LARGE,
    UNDECODABLE,
    Format,
    Metadata,
)
from research_shared.reading.ocr import Ocr

READ_BY_OCR = "read by OCR"
TIMED_OUT = "timed out"
BINARY = "binary content"
CHANGING = "changed while being read"
UNAVAILABLE = "not available"
NOT_STARTED = "no process"
NOT_INSTALLED = "not installed"

_EXPLANATIONS = {
    ENCRYPTED: "it is encrypted and asks for a password",
    DAMAGED: "the file is damaged",
    EMPTY: "there is no text in it",
    NO_TEXT: "no text was found on its pages, which may be scanned images",
    UNDECODABLE.value: "it is undecodable: its fonts have no Unicode table, so nobody can tell which letters they show",
    TOO_LARGE: "it is too large, or needs more memory than is allowed",
    TIMED_OUT: "reading it took longer than is allowed",
    BINARY: "it holds binary data, not text",
    CHANGING: "it was being changed while it was read",
    UNAVAILABLE: "the system could not read it now",
    NOT_STARTED: "the process that reads such documents cannot be started now",
}


def ocr_remedy(ocr: Ocr | None) -> str:
    """Return what the operator can do so that pages without text are read, or nothing when they were looked at."""
    if ocr is None:
        return "with RESEARCH_OCR=tesseract the server reads such pages"
    return f"RESEARCH_OCR is on, but {ocr.problem}" if ocr.problem else ""


def explanation(reason: str, document_format: Format, ocr: Ocr | None = None) -> str:
    """Return what a reason means for a document of this format, for people. `ocr` is what reads pages without text."""
    if reason == NO_TEXT and document_format.part == "page":
        remedy = ocr_remedy(ocr) or "OCR found no text on them either"
        return f"{_EXPLANATIONS[reason]}; {remedy}"
    if reason == document_format.mismatch:
        return f"it is {reason}"
    if reason == NOT_INSTALLED:
        how = next((f": {reader.install}" for reader in document_format.readers if reader.install), "")
        return f"the package that reads it is not installed{how}"
    return _EXPLANATIONS[reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The text of a file. The fields are those of `DocumentText`; `file_digest` is the SHA-256 of the file's bytes.

    `metadata` is what the file declares about itself.
    """

    engine: str
    file_digest: str
    data: bytes = field(repr=False)
    page_starts: tuple[int, ...] = ()
    missing_pages: tuple[int, ...] = ()
    ocr_pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    metadata: Metadata = NO_METADATA


class Unreadable(Exception):
    """A file gives no text, for one of the reasons above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
