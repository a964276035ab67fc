"""What the index knows of one version of a document."""

import json
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Self

from research_shared.documents import DocumentInfo, DocumentText
from research_shared.formats import NO_METADATA, Metadata

BLOCK: Final = 256
"""Bytes of text per entry of `breaks`: the line number of a hit is counted from the start of its block."""


_NO_BREAKS: Final = array("I")


def breaks_of(data: bytes) -> "array[int]":
    """Return the number of line breaks before each block of a text."""
    count = data.count
    return array(
        "I", accumulate((count(b"\n", at, at + BLOCK) for at in range(0, len(data), BLOCK)), initial=0)
    )


def checksum_of(text: DocumentText, data_sum: int) -> int:
    """Return a checksum of a text, its pages and its notes. `data_sum` is the CRC-32 of its bytes."""
    rest = json.dumps([text.page_starts, text.missing_pages, text.ocr_pages, text.notes])
    return zlib.crc32(rest.encode(), data_sum)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One version of a document, identified by `id`.

    `gap` names the pages that are not in the text. `text` is None when it gives none (then `reason` says why), when it is kept on disk, and when texts take more memory
    than they may: then it is read when it is needed. `breaks` may be missing then. `mtime_reliable` is False for a file so young when it was read that a
    later change may not show in its time stamps (git calls such an entry racily clean). `read_at` is a time of the monotonic clock, `checked` the id of the last reading.

    `digest` tells the version of the file. Two readings of one version can give different texts: a page that took too long
    is in one of them only. `checksum` tells the text.
    """

    id: int
    info: DocumentInfo
    text: DocumentText | None = None
    reason: str = ""
    gap: str = ""
    digest: str = ""
    metadata: Metadata = NO_METADATA
    pages: int | None = None
    text_bytes: int = 0
    checksum: int = 0
    is_ascii: bool = True
    breaks: "array[int]" = field(default_factory=lambda: _NO_BREAKS, repr=False)
    passages: int = 0
    mtime_reliable: bool = True
    read_at: float = 0.0
    checked: int = 0

    @classmethod
    def of(
        cls,
        number: int,
        info: DocumentInfo,
        text: DocumentText,
        passages: int,
        *,
        mtime_reliable: bool = True,
        holds_text: bool = True,
    ) -> Self:
        """Build the entry of a document that has text, without it unless it `holds_text`."""
        return cls(
            id=number,
            info=info,
            text=text if holds_text else None,
            gap=text.gap,
            digest=text.digest,
            metadata=text.metadata,
            pages=text.pages,
            text_bytes=len(text.data),
            checksum=checksum_of(text, zlib.crc32(text.data)),
            is_ascii=text.data.isascii(),
            breaks=breaks_of(text.data) if holds_text else _NO_BREAKS,
            passages=passages,
            mtime_reliable=mtime_reliable,
            checked=number,
        )

    @property
    def path(self) -> str:
        """Return the public path."""
        return self.info.path

    def is_of(self, text: DocumentText, data_sum: int | None = None) -> bool:
        """Return whether this is the text that the entry was made of. `data_sum` is the CRC-32 of its bytes, if it is known."""
        if self.reason or text.digest != self.digest or len(text.data) != self.text_bytes:
            return False
        return self.checksum == checksum_of(text, zlib.crc32(text.data) if data_sum is None else data_sum)

    def without_text(self) -> Self:
        """Return the entry of a document whose text is kept elsewhere."""
        return replace(self, text=None, breaks=_NO_BREAKS)


StoredTexts = Callable[[Sequence[CatalogEntry]], Mapping[int, DocumentText]]
"""Returns the texts of those of these documents that are in the store of the index, by the id of the entry. For any thread."""


def none_stored(_entries: Sequence[CatalogEntry]) -> Mapping[int, DocumentText]:
    """Return no text: there is no store."""
    return {}
