"""What reading a file comes to: its text, or the reason why there is none."""

from dataclasses import dataclass, field

# The worker says these; it is a script that cannot import this module.
from research_shared.reading.extraction._worker import DAMAGED, ENCRYPTED, NO_TEXT, NOT_A_PDF, TOO_LARGE

__all__ = [
    "BINARY",
    "CHANGING",
    "DAMAGED",
    "ENCRYPTED",
    "EXPLANATIONS",
    "NOT_A_PDF",
    "NO_TEXT",
    "TIMED_OUT",
    "TOO_LARGE",
    "UNAVAILABLE",
    "Extracted",
    "Unreadable",
]

TIMED_OUT = "timed out"
BINARY = "binary content"
CHANGING = "changed while being read"
UNAVAILABLE = "not available"

EXPLANATIONS = {
    ENCRYPTED: "it is encrypted and asks for a password",
    DAMAGED: "the file is damaged",
    NOT_A_PDF: "it is not a PDF",
    NO_TEXT: "no text was found on its pages, which may be scanned images",
    TOO_LARGE: "it is too large, or needs more memory than is allowed",
    TIMED_OUT: "reading it took longer than is allowed",
    BINARY: "it holds binary data, not text",
    CHANGING: "it was being changed while it was read",
    UNAVAILABLE: "the system could not read it now",
}
"""What each reason means, for people."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text of a file. The fields are those of `DocumentText`; `file_digest` is the SHA-256 of the file's bytes."""

    engine: str
    file_digest: str
    data: bytes = field(repr=False)
    page_starts: tuple[int, ...] = ()
    missing_pages: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Unreadable(Exception):
    """A file gives no text, for one of the reasons above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
