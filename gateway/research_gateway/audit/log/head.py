"""The head file of a log: stores the position of the last record, updated in place for each batch."""

import errno
import hmac
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from research_gateway.audit.log.files import is_named, lock_file, open_private
from research_gateway.audit.log.format import MAX_BATCH_RECORDS, RECORD_SCHEMA, ChainPosition, sign


class HeadFile:
    """A head file, open and locked. `last` is the head read when it was opened."""

    def __init__(self, path: Path, fd: int, key: bytes | None) -> None:
        self.fd = fd
        self._path = path
        self._key = key
        self.last = decode_head(os.pread(fd, 2 * SLOT_BYTES, 0))
        self._count = self.last.count if self.last is not None else 0

    @classmethod
    def open(cls, path: Path, key: bytes | None) -> "HeadFile | None":
        """Open or create the file. Return None if another process has locked it.

        Raises:
            OSError: the file cannot be opened or is not a regular file.
        """
        fd = open_private(path, os.O_RDWR)
        if not lock_file(fd):
            os.close(fd)
            return None
        return cls(path, fd, key)

    @property
    def is_closed(self) -> bool:
        """Whether the file has been closed."""
        return self.fd < 0

    def is_in_place(self) -> bool:
        """Return whether the path still refers to the open file."""
        return is_named(self.fd, self._path)

    def write(self, at: ChainPosition, segment: int, *, in_use: bool = True) -> None:
        """Store `at` as the position of the last record, in segment `segment`.

        Raises:
            OSError: the write failed; the previous head is still valid.
        """
        count = self._count + 1
        head = Head.of(at, segment, count, in_use=in_use, key=self._key)
        if os.pwrite(self.fd, head.encode(), count % 2 * SLOT_BYTES) != SLOT_BYTES:
            raise OSError(errno.ENOSPC, "the head file cannot be written")
        self._count = count

    def close(self) -> None:
        """Close the file."""
        if not self.is_closed:
            os.close(self.fd)
            self.fd = -1


SLOT_BYTES = 512


def _signed_fields(at: ChainPosition, *, segment: int, count: int, in_use: bool) -> tuple[object, ...]:
    return at.chain, at.sequence, at.digest, segment, count, in_use


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Content of the head file: the position of the last record.

    A log shorter than its head has lost records, and a longer one was added to. While the log is `in_use`, one batch
    may be ahead of the head. `count` numbers the writes; `segment` is the number of the file with the last record.
    """

    position: ChainPosition
    segment: int
    count: int
    in_use: bool = False
    mac: str | None = None

    @classmethod
    def of(cls, at: ChainPosition, segment: int, count: int, *, in_use: bool, key: bytes | None) -> Self:
        """Create a head, signed if there is a key."""
        mac = (
            sign(key, "head", *_signed_fields(at, segment=segment, count=count, in_use=in_use))
            if key
            else None
        )
        return cls(position=at, segment=segment, count=count, in_use=in_use, mac=mac)

    def is_signed_by(self, key: bytes) -> bool:
        """Return whether the head is signed with `key`."""
        signed = _signed_fields(self.position, segment=self.segment, count=self.count, in_use=self.in_use)
        return self.mac is not None and hmac.compare_digest(self.mac, sign(key, "head", *signed))

    @property
    def limit(self) -> int:
        """The highest sequence number that the log can have."""
        return self.position.sequence + (MAX_BATCH_RECORDS if self.in_use else 0)

    def encode(self) -> bytes:
        """Encode the head as one slot of `SLOT_BYTES`."""
        at, mac = self.position, f'"{self.mac}"' if self.mac else "null"
        # on the hot path, and all values are hexadecimal or numbers: no general encoder is needed
        body = (
            f'{{"schema":{RECORD_SCHEMA},"chain":"{at.chain}","seq":{at.sequence},"hash":"{at.digest}",'
            f'"segment":{self.segment},"count":{self.count},"in_use":{str(self.in_use).lower()},"mac":{mac}}}'
        ).encode("ascii")
        return (b"%08x %b" % (zlib.crc32(body), body)).ljust(SLOT_BYTES - 1) + b"\n"


def decode_slot(slot: bytes) -> Head | None:
    """Decode one slot. Return None if it is empty or incomplete."""
    check, _, body = slot.strip().partition(b" ")
    if b"%08x" % zlib.crc32(body) != check:
        return None
    try:
        fields = json.loads(body)
        at = ChainPosition(chain=fields["chain"], sequence=int(fields["seq"]), digest=fields["hash"])
        return Head(
            position=at,
            segment=int(fields["segment"]),
            count=int(fields["count"]),
            in_use=bool(fields["in_use"]),
            mac=fields["mac"],
        )
    except (ValueError, KeyError, TypeError):
        return None


def decode_head(data: bytes) -> Head | None:
    """Return the newest head of the two slots. They are written in turn, so that one is always complete."""
    slots = (data[:SLOT_BYTES], data[SLOT_BYTES : 2 * SLOT_BYTES])
    heads = [head for slot in slots if (head := decode_slot(slot)) is not None]
    return max(heads, key=lambda head: head.count, default=None)
