"""The document library: what is there, and the text of each document, cached by the file's identity."""

import asyncio
import hashlib
import os
from types import TracebackType
from typing import Self

from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import DocumentUnreadable
from research_shared.patterns import compile_pattern
from research_shared.roots import RootsPolicy


class Library:
    """Documents beneath the roots. One instance serves all requests of a process.

    Use it as an asynchronous context manager; servers that share one enter it each, and the last one to leave
    closes it.
    """

    def __init__(self, roots: RootsPolicy) -> None:
        self.roots = roots
        self._cache: dict[tuple[str, object], DocumentText] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.clear()

    async def documents(self, pattern: str = "*") -> list[DocumentInfo]:
        """The documents within the current scope whose path matches, sorted by path."""
        matches = compile_pattern(pattern)
        found = await asyncio.to_thread(lambda: list(self.roots.walk()))
        return sorted((info for info in found if matches(info.path)), key=lambda info: info.path)

    async def read(self, path: str) -> DocumentText:
        """The text of one document.

        Raises:
            DocumentNotFound: no such document within the current scope.
            DocumentUnreadable: it is there, but gives no text.
        """
        opened = self.roots.open(path)
        try:
            key = (path, opened.info.identity)
            if key not in self._cache:
                raw = await asyncio.to_thread(_read_all, opened.fd)
                self._cache[key] = await asyncio.to_thread(_extract, opened.info, raw)
            return self._cache[key]
        finally:
            os.close(opened.fd)


def _read_all(fd: int) -> bytes:
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()


def _extract(info: DocumentInfo, raw: bytes) -> DocumentText:
    digest = hashlib.sha256(raw).hexdigest()
    if info.media_type != "application/pdf":
        text = raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
        return DocumentText(info.path, info.media_type, info.identity, digest, "text", text.encode())
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(raw)
        pages = [page.get_textpage().get_text_bounded() for page in pdf]
    except pypdfium2.PdfiumError as error:
        raise DocumentUnreadable(f"{info.path} gives no text: damaged", reason="damaged") from error
    lines: list[str] = []
    starts: list[int] = []
    for page in pages:
        starts.append(len(lines) + 1)
        lines += page.replace("\r\n", "\n").split("\n")
    data = "\n".join(lines).encode()
    return DocumentText(info.path, info.media_type, info.identity, digest, "pypdfium2", data, tuple(starts))
