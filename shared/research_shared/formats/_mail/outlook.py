"""Messages of Outlook (MSG): what their properties say ([MS-OXMSG], [MS-OXPROPS]).

Only a worker process imports this module.
"""

import codecs
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from io import BytesIO

import olefile

from research_shared.formats._format import DAMAGED, Refused
from research_shared.formats._parts.lines import decoded

SUBJECT, BODY, HTML, COMPRESSED_RTF = 0x0037, 0x1000, 0x1013, 0x1009
SENDER_NAME, SENDER_ADDRESS, SENDER_SMTP = 0x0C1A, 0x0C1F, 0x5D01
SENT_AS_NAME, SENT_AS_ADDRESS, SENT_AS_SMTP = 0x0042, 0x0065, 0x5D02
TO, CC, BCC = 0x0E04, 0x0E03, 0x0E02
SUBMITTED, DELIVERED = 0x0039, 0x0E06
RECIPIENT_NAME, RECIPIENT_ADDRESS, RECIPIENT_SMTP, RECIPIENT_KIND = 0x3001, 0x3003, 0x39FE, 0x0C15
ATTACHMENT_DATA, ATTACHMENT_NAME, ATTACHMENT_SHORT_NAME = 0x3701, 0x3707, 0x3704
_MESSAGE_CODE_PAGE, _INTERNET_CODE_PAGE = 0x3FFD, 0x3FDE
_STRING, _STRING8, _BINARY, _TIME = 0x001F, 0x001E, 0x0102, 0x0040
_FIXED = struct.Struct("<HHI8s")
_TO_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_HEADER_BYTES = {"message": 32, "embedded": 24, "other": 8}
_UTF8 = 65_001

Path = tuple[str, ...]


class MessageStore:
    """The properties of a message, of its recipients and of its attachments.

    Raises:
        Refused: it is no compound file that can be read.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._file = olefile.OleFileIO(BytesIO(data))
            self._entries = [tuple(entry) for entry in self._file.listdir(streams=True, storages=True)]
        except MemoryError:
            raise
        except Exception as error:  # olefile raises anything at all on damaged files
            raise Refused(DAMAGED) from error
        self._names = {tuple(part.lower() for part in entry): entry for entry in self._entries}
        self._inside: dict[Path, dict[Path, None]] = {}
        for entry in self._entries:
            self._inside.setdefault(entry[:-1], {})[entry] = None
        self._fixed = lru_cache(maxsize=4)(self._fixed_properties)

    def within(self, place: Path, prefix: str) -> Iterator[Path]:
        """Yield the storages of a storage whose names begin so, in their order."""
        found = self._inside.get(place, {})
        yield from sorted(each for each in found if each[-1].lower().startswith(prefix))

    def has(self, place: Path) -> bool:
        """Return whether there is a stream or a storage of this name."""
        return tuple(part.lower() for part in place) in self._names

    def read(self, place: Path) -> bytes:
        """Return the bytes of a stream; none when it is missing or damaged."""
        entry = self._names.get(tuple(part.lower() for part in place))
        if entry is None:
            return b""
        try:
            return bytes(self._file.openstream(list(entry)).read())
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  (olefile raises anything at all on damaged files)
            return b""

    def text(self, place: Path, tag: int) -> str:
        """Return a property that is text, or an empty string."""
        if data := self.read((*place, _stream(tag, _STRING))):
            return data.decode("utf-16-le", "replace").replace("\0", "")
        if data := self.read((*place, _stream(tag, _STRING8))):
            return self.decoded(data, place).replace("\0", "")
        return ""

    def markup(self, place: Path) -> tuple[str, bytes]:
        """Return the HTML body as text, or as bytes in the encoding that it declares."""
        if text := self.text(place, HTML):
            return text, b""
        return "", self.read((*place, _stream(HTML, _BINARY))).rstrip(b"\0")

    def binary(self, place: Path, tag: int) -> bytes:
        """Return a property that is bytes."""
        return self.read((*place, _stream(tag, _BINARY)))

    def embedded(self, place: Path) -> Path | None:
        """Return the storage of the message that is attached here."""
        inner = (*place, "__substg1.0_3701000D")
        return inner if self.has(inner) else None

    def number(self, place: Path, tag: int) -> int | None:
        """Return a property that is a whole number."""
        found = self._fixed(place).get(tag)
        return int.from_bytes(found[1][:4], "little") if found else None

    def moment(self, place: Path, tag: int) -> datetime | None:
        """Return a property that is a time, in UTC."""
        kind, value = self._fixed(place).get(tag, (0, b""))
        if kind != _TIME:
            return None
        try:
            return _TO_1601 + timedelta(microseconds=int.from_bytes(value, "little") // 10)
        except OverflowError:
            return None

    def _fixed_properties(self, place: Path) -> dict[int, tuple[int, bytes]]:
        """Return the properties of fixed size: their type and their eight bytes."""
        data = self.read((*place, "__properties_version1.0"))
        kind = "message" if not place else "embedded" if place[-1].lower().endswith("000d") else "other"
        start = _HEADER_BYTES[kind]
        whole = start + (len(data) - start) // _FIXED.size * _FIXED.size
        return (
            {tag: (kind, value) for kind, tag, _, value in _FIXED.iter_unpack(data[start:whole])}
            if whole > start
            else {}
        )

    def decoded(self, data: bytes, place: Path) -> str:
        """Return text in the code page that its message names."""
        message = next(
            (place[:end] for end in range(len(place), -1, -1) if self._is_message(place[:end])), ()
        )
        pages = (self.number(message, _MESSAGE_CODE_PAGE), self.number(message, _INTERNET_CODE_PAGE))
        for page in pages:
            name = "utf-8" if page == _UTF8 else f"cp{page}"
            try:
                codecs.lookup(name)
                return data.decode(name)
            except (LookupError, UnicodeError):
                continue
        return decoded(data)[0]

    def _is_message(self, place: Path) -> bool:
        return not place or place[-1].lower().endswith("000d")


def _stream(tag: int, kind: int) -> str:
    return f"__substg1.0_{tag:04X}{kind:04X}"
