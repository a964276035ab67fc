"""From the bytes of a file to pages of lines."""

from research_shared.formats import formats
from research_shared.reading.extraction.binary import read_binary
from research_shared.reading.extraction.pictures import PictureReader
from research_shared.reading.extraction.pool import WorkerPool
from research_shared.reading.extraction.result import Extracted, Unreadable, explanation
from research_shared.reading.extraction.text import ENGINE, read_text

__all__ = [
    "Extracted",
    "PictureReader",
    "Unreadable",
    "WorkerPool",
    "engines",
    "explanation",
    "read_binary",
    "read_text",
]


def engines() -> tuple[str, ...]:
    """Return what reads documents, with versions: another version may read the same file differently."""
    readers = (reader for each in formats() for reader in each.readers)
    return (ENGINE, *(reader.identity if reader.installed else f"{reader.name} none" for reader in readers))
