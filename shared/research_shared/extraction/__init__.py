"""From the bytes of a file to pages of lines."""

from research_shared.extraction.pdf import read_pdf
from research_shared.extraction.pool import WorkerPool
from research_shared.extraction.result import EXPLANATIONS, Extracted, Unreadable
from research_shared.extraction.text import read_text

__all__ = ["EXPLANATIONS", "Extracted", "Unreadable", "WorkerPool", "read_pdf", "read_text"]
