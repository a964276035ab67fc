"""Settings of reading documents."""

from typing import Literal

from pydantic import Field

from research_shared.reading.limits import MIB
from research_shared.settings.sections.section import Section


class ReadingSettings(Section):
    """Limits of reading one document, and who reads pages without text."""

    max_file_bytes: int = Field(default=256 * MIB, ge=1024, description="a larger file is `too large`")
    max_pages: int = Field(default=5_000, ge=1, description="pages read of one document")
    max_text_bytes: int = Field(default=64 * MIB, ge=1024, description="text kept of one document")
    cache_bytes: int = Field(
        default=1024 * MIB,
        ge=MIB,
        description="text kept in memory, by the library and by the index each; with `RESEARCH_INDEX_DIR` the library keeps at most 32 MiB, "
        "and the index what the directory does not hold",
    )
    extract_workers: int = Field(default=2, ge=1, le=64, description="processes that read PDFs")
    extract_timeout_s: float = Field(default=60.0, gt=0, description="time limit for one document")
    page_timeout_s: float = Field(default=20.0, gt=0, description="time limit for one page")
    worker_memory_bytes: int = Field(
        default=1024 * MIB, ge=128 * MIB, description="address space of one worker"
    )
    ocr: Literal["off", "tesseract"] = Field(
        default="off",
        description="what reads pages without text, such as scanned ones: `tesseract` when it is on the machine",
    )
    ocr_languages: str = Field(
        default="eng",
        pattern=r"^[A-Za-z_]+(/[A-Za-z_]+)?(\+[A-Za-z_]+(/[A-Za-z_]+)?)*$",
        description="languages of those pages as Tesseract names them, such as `eng+deu`",
    )
    ocr_timeout_s: float = Field(
        default=1800.0, gt=0, description="time limit for recognising the text of one document"
    )
    ocr_page_timeout_s: float = Field(
        default=120.0, gt=0, description="time limit for recognising the text of one page"
    )
