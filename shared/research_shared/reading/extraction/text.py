"""Plain text: decode any bytes to lines of UTF-8, in bounded time and memory."""

import codecs
import hashlib
import os
from collections.abc import Callable
from functools import partial

from research_shared.formats import TOO_LARGE
from research_shared.reading.extraction.encodings import NAMES, SAMPLE_BYTES, encoding_of, legacy_encoding
from research_shared.reading.extraction.result import CHANGING, Extracted, Unreadable
from research_shared.reading.limits import Limits

ENGINE = "text 2"
"""Increased when the same bytes give other lines."""
CHUNK = 1024 * 1024
_ASCII = bytes(range(128))
_BEFORE = 200


def read_text(fd: int, size: int, limits: Limits, stopped: Callable[[], bool] = lambda: False) -> Extracted:
    """Return the text of an open file of `size` bytes. `stopped` is called between chunks.

    Raises:
        Unreadable: it is too large, is no text, or ended before its size.
    """
    if size > limits.max_file_bytes:
        raise Unreadable(TOO_LARGE)
    digest = hashlib.sha256()
    chunk = os.pread(fd, min(CHUNK, size), 0)
    encoding, mark = encoding_of(chunk[:SAMPLE_BYTES])
    lines = _Lines(encoding, limits.max_text_bytes)
    at = 0
    while at < size:
        if not chunk or stopped():
            raise Unreadable(CHANGING)
        digest.update(chunk)
        following = at + len(chunk)
        ahead = partial(os.pread, fd, SAMPLE_BYTES, following)
        lines.feed(chunk[mark:] if at == 0 else chunk, final=following == size, ahead=ahead)
        at = following
        if at < size:
            chunk = os.pread(fd, min(CHUNK, size - at), at)
    notes = []
    if lines.encoding != "utf-8":
        notes.append(f"decoded from {NAMES.get(lines.encoding, lines.encoding)}")
    if lines.replaced:
        were = "character" if lines.replaced == 1 else "characters"
        notes.append(f"{lines.replaced} {were} could not be decoded and are shown as U+FFFD")
    if lines.cut:
        notes.append(f"the text was cut after {len(lines.data)} bytes of a file of {size} bytes")
    return Extracted(
        engine=ENGINE, file_digest=digest.hexdigest(), data=bytes(lines.data), notes=tuple(notes)
    )


class _Lines:
    r"""Decodes chunks into UTF-8 with `\n` alone between lines, up to a limit.

    UTF-8 is decoded strictly until the first byte that is not valid. If nothing but ASCII came before it, the `encoding` may
    be another one.
    """

    def __init__(self, encoding: str, most: int) -> None:
        self.data = bytearray()
        self.encoding = encoding
        self.replaced = 0
        self.cut = False
        self._most = most
        self._only_ascii = True
        self._after_cr = False
        self._start("replace" if encoding != "utf-8" else "strict")

    def _start(self, errors: str) -> None:
        self._decoder = codecs.getincrementaldecoder(self.encoding)(errors)
        self._genuine = "\ufffd".encode(self.encoding, "ignore")

    def feed(self, chunk: bytes, *, final: bool, ahead: Callable[[], bytes]) -> None:
        """Add a chunk. `ahead` gives what follows it, for a look at more of an encoding that begins at its end."""
        if self.cut:
            return
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError:
            rest = self._decoder.getstate()[0] + chunk
            if self._only_ascii:
                self.encoding = legacy_encoding(_from_first_letter(rest) + ahead()) or "utf-8"
            self._start("replace")
            text = self._decoder.decode(rest, final)
        self._only_ascii = self._only_ascii and text.isascii()
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        self._after_cr = text.endswith("\r") if text else self._after_cr
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
        data = text.encode()
        genuine = chunk.count(self._genuine) if self._genuine else 0
        self.replaced += max(text.count("\ufffd") - genuine, 0)
        room = self._most - len(self.data)
        if len(data) > room:
            self.cut = True
            data = data[:room].decode("utf-8", "ignore").encode()
        self.data += data


def _from_first_letter(data: bytes) -> bytes:
    """Return the data from the line on in which the first byte that is not ASCII stands, or from a little before it."""
    first = len(data) - len(data.lstrip(_ASCII))
    return data[max(data.rfind(b"\n", 0, first), first - _BEFORE) + 1 :]
