"""Plain text: decode any bytes to lines of UTF-8, in bounded time and memory."""

import codecs
import hashlib
import os
from collections.abc import Callable

from research_shared.formats import TOO_LARGE
from research_shared.reading.extraction.result import BINARY, CHANGING, Extracted, Unreadable
from research_shared.reading.limits import Limits

ENGINE = "text 1"
"""Increased when the same bytes are split into lines differently."""
CHUNK = 1024 * 1024
ENCODING_SAMPLE_BYTES = 64 * 1024
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, because it begins with its mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NAMES = {"utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-32-le": "UTF-32", "utf-32-be": "UTF-32"}
_CONTROLS = bytes(code for code in range(32) if chr(code) not in "\t\n\r\f\x1b")
_MAX_CONTROLS = 0.05
_FEW_CONTROLS = 8
_NUL_SHARE = 0.8
_FEW_PAIRS = 4


def read_text(fd: int, size: int, limits: Limits, stopped: Callable[[], bool] = lambda: False) -> Extracted:
    """Return the text of an open file of `size` bytes. `stopped` is called between chunks.

    Raises:
        Unreadable: it is too large, is no text, or ended before its size.
    """
    if size > limits.max_file_bytes:
        raise Unreadable(TOO_LARGE)
    digest = hashlib.sha256()
    chunk = os.pread(fd, min(CHUNK, size), 0)
    encoding, mark = _encoding(chunk[:ENCODING_SAMPLE_BYTES])
    lines = _Lines(encoding, limits.max_text_bytes)
    at = 0
    while at < size:
        if not chunk or stopped():
            raise Unreadable(CHANGING)
        digest.update(chunk)
        lines.feed(chunk[mark:] if at == 0 else chunk, final=at + len(chunk) == size)
        at += len(chunk)
        if at < size:
            chunk = os.pread(fd, min(CHUNK, size - at), at)
    notes = []
    if encoding in _NAMES:
        notes.append(f"decoded from {_NAMES[encoding]}")
    if lines.replaced:
        were = "character" if lines.replaced == 1 else "characters"
        notes.append(f"{lines.replaced} {were} could not be decoded and are shown as U+FFFD")
    if lines.cut:
        notes.append(f"the text was cut after {len(lines.data)} bytes of a file of {size} bytes")
    return Extracted(
        engine=ENGINE, file_digest=digest.hexdigest(), data=bytes(lines.data), notes=tuple(notes)
    )


def _encoding(sample: bytes) -> tuple[str, int]:
    """Return the encoding and the length of its byte order mark, from the first bytes of a file."""
    for mark, encoding in _BOMS:
        if sample.startswith(mark):
            return encoding, len(mark)
    if b"\0" in sample:
        # Western text in UTF-16 without a mark: nearly every other byte is NUL.
        pairs = len(sample) // 2
        if pairs < _FEW_PAIRS:
            raise Unreadable(BINARY)
        low, high = sample[0::2].count(0) / pairs, sample[1::2].count(0) / pairs
        if high > _NUL_SHARE and low < 1 - _NUL_SHARE:
            return "utf-16-le", 0
        if low > _NUL_SHARE and high < 1 - _NUL_SHARE:
            return "utf-16-be", 0
        raise Unreadable(BINARY)
    controls = len(sample) - len(sample.translate(None, _CONTROLS))
    if controls > max(_MAX_CONTROLS * len(sample), _FEW_CONTROLS):
        raise Unreadable(BINARY)
    return "utf-8", 0


class _Lines:
    r"""Decodes chunks into UTF-8 with `\n` alone between lines, up to a limit."""

    def __init__(self, encoding: str, most: int) -> None:
        self.data = bytearray()
        self.replaced = 0
        self.cut = False
        self._most = most
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._genuine = "\ufffd".encode(encoding)
        self._after_cr = False

    def feed(self, chunk: bytes, *, final: bool) -> None:
        if self.cut:
            return
        text = self._decoder.decode(chunk, final)
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        self._after_cr = text.endswith("\r") if text else self._after_cr
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
        data = text.encode()
        self.replaced += max(text.count("\ufffd") - chunk.count(self._genuine), 0)
        room = self._most - len(self.data)
        if len(data) > room:
            self.cut = True
            data = data[:room].decode("utf-8", "ignore").encode()
        self.data += data
