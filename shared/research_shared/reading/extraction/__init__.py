"""From the bytes of a file to pages of lines."""

from importlib.metadata import version

from research_shared.reading.extraction.pdf import ENGINES, read_pdf
from research_shared.reading.extraction.pool import WorkerPool
from research_shared.reading.extraction.result import EXPLANATIONS, Extracted, Unreadable
from research_shared.reading.extraction.text import ENGINE, read_text

__all__ = ["EXPLANATIONS", "Extracted", "Unreadable", "WorkerPool", "engines", "read_pdf", "read_text"]


def engines() -> tuple[str, ...]:
    """What reads documents, with versions: another version may read the same file differently."""
    return (ENGINE, *(f"{name} {version(name)}" for name in ENGINES))
