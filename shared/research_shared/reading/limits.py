"""How much of a document is read, how long that may take, and how much of it is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from research_shared.reading.ocr import Ocr, ocr_of

if TYPE_CHECKING:
    from research_shared.settings import Settings

MIB = 1024 * 1024
CACHE_BESIDE_INDEX = 32 * MIB
"""Bytes of text that are kept in memory at most when an index directory keeps all texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on reading. The defaults are those of the settings.

    Sizes are bytes and times are seconds. `max_pages` and `max_text_bytes` cut a document and leave a note in its
    text; `max_file_bytes` refuses it as `too large`. `ocr` reads pages without text; they are not read without it.
    """

    max_file_bytes: int = 256 * MIB
    max_pages: int = 5_000
    max_text_bytes: int = 64 * MIB
    cache_bytes: int = 1024 * MIB
    workers: int = 2
    document_timeout_s: float = 60.0
    page_timeout_s: float = 20.0
    worker_memory_bytes: int = 1024 * MIB
    ocr: Ocr | None = None

    @property
    def reading_s(self) -> float:
        """The longest that reading one document takes, once it has begun."""
        return self.document_timeout_s + (self.ocr.document_timeout_s if self.ocr else 0.0)

    @property
    def of_text(self) -> tuple[float | str, ...]:
        """Those that decide what the text of a document is."""
        return (
            self.max_file_bytes,
            self.max_pages,
            self.max_text_bytes,
            self.document_timeout_s,
            self.page_timeout_s,
            self.worker_memory_bytes,
            *((self.ocr.identity,) if self.ocr else ()),
        )

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """Return the limits of the settings."""
        return cls(
            max_file_bytes=settings.max_file_bytes,
            max_pages=settings.max_pages,
            max_text_bytes=settings.max_text_bytes,
            cache_bytes=settings.cache_bytes
            if settings.index_dir is None
            else min(settings.cache_bytes, CACHE_BESIDE_INDEX),
            workers=settings.extract_workers,
            document_timeout_s=settings.extract_timeout_s,
            page_timeout_s=settings.page_timeout_s,
            worker_memory_bytes=settings.worker_memory_bytes,
            ocr=ocr_of(settings),
        )
