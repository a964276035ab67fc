"""The head file beside a log: how far the log has come, written in place for every batch of records."""

import errno
import hmac
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from research_gateway.audit.log.files import is_named, lock, open_private
from research_gateway.audit.log.format import MAX_BATCH_RECORDS, SCHEMA, Position, sign


class HeadFile:
    """An open head file that belongs to this process. `last` is the head that it held when it was opened."""

    def __init__(self, path: Path, fd: int, key: bytes | None) -> None:
        self.fd = fd
        self._path = path
        self._key = key
        self.last = decode_head(os.pread(fd, 2 * SLOT_BYTES, 0))
        self._count = self.last.count if self.last is not None else 0

    @classmethod
    def open(cls, path: Path, key: bytes | None) -> "HeadFile | None":
        """Open the file, creating it when it is missing; None when another process has it.

        Raises:
            OSError: it cannot be opened, or is no plain file.
        """
        fd = open_private(path, os.O_RDWR)
        if not lock(fd):
            os.close(fd)
            return None
        return cls(path, fd, key)

    @property
    def is_closed(self) -> bool:
        """Whether the file has been given back."""
        return self.fd < 0

    def is_in_place(self) -> bool:
        """Whether the file is still where it was opened."""
        return is_named(self.fd, self._path)

    def write(self, at: Position, segment: int, *, in_use: bool = True) -> None:
        """Say that the log has come to `at`, in the file with the number `segment`.

        Raises:
            OSError: the older head still stands.
        """
        count = self._count + 1
        head = Head.of(at, segment, count, in_use=in_use, key=self._key)
        if os.pwrite(self.fd, head.encode(), count % 2 * SLOT_BYTES) != SLOT_BYTES:
            raise OSError(errno.ENOSPC, "the head file cannot be written")
        self._count = count

    def close(self) -> None:
        """Give the file back."""
        if not self.is_closed:
            os.close(self.fd)
            self.fd = -1


SLOT_BYTES = 512


def _vouched(at: Position, segment: int, count: int, *, in_use: bool) -> tuple[object, ...]:
    return at.chain, at.sequence, at.digest, segment, count, in_use


@dataclass(frozen=True, slots=True)
class Head:
    """What the head file says: how far the log had come when it was last written.

    A log that is shorter than its head has lost records; one that is longer has been added to, except that while the
    log is `in_use` one batch may have been written that the head does not know yet. `count` numbers the writes;
    `segment` is the number of the file that held the last record.
    """

    position: Position
    segment: int
    count: int
    in_use: bool = False
    mac: str | None = None

    @classmethod
    def of(cls, at: Position, segment: int, count: int, *, in_use: bool, key: bytes | None) -> Self:
        """A head, signed if there is a key."""
        mac = sign(key, "head", *_vouched(at, segment, count, in_use=in_use)) if key else None
        return cls(at, segment, count, in_use, mac)

    def is_signed_by(self, key: bytes) -> bool:
        """Whether the signature is the key's."""
        vouched = _vouched(self.position, self.segment, self.count, in_use=self.in_use)
        return self.mac is not None and hmac.compare_digest(self.mac, sign(key, "head", *vouched))

    @property
    def limit(self) -> int:
        """The sequence number that no record can be beyond."""
        return self.position.sequence + (MAX_BATCH_RECORDS if self.in_use else 0)

    def encode(self) -> bytes:
        """A slot of the head file: fixed in size, so that writing it replaces the older one in place."""
        at, mac = self.position, f'"{self.mac}"' if self.mac else "null"
        # written for every batch, of hexadecimal and numbers only: no need for a general encoder
        body = (
            f'{{"schema":{SCHEMA},"chain":"{at.chain}","seq":{at.sequence},"hash":"{at.digest}",'
            f'"segment":{self.segment},"count":{self.count},"in_use":{str(self.in_use).lower()},"mac":{mac}}}'
        ).encode("ascii")
        return (b"%08x %b" % (zlib.crc32(body), body)).ljust(SLOT_BYTES - 1) + b"\n"


def decode_slot(slot: bytes) -> Head | None:
    """The head of one slot, or None for a slot that is empty or torn."""
    check, _, body = slot.strip().partition(b" ")
    if b"%08x" % zlib.crc32(body) != check:
        return None
    try:
        fields = json.loads(body)
        at = Position(fields["chain"], int(fields["seq"]), fields["hash"])
        return Head(at, int(fields["segment"]), int(fields["count"]), bool(fields["in_use"]), fields["mac"])
    except (ValueError, KeyError, TypeError):
        return None


def decode_head(data: bytes) -> Head | None:
    """The newest head of a head file's two slots; they are written in turn so that one of them is always whole."""
    slots = (data[:SLOT_BYTES], data[SLOT_BYTES : 2 * SLOT_BYTES])
    heads = [head for slot in slots if (head := decode_slot(slot)) is not None]
    return max(heads, key=lambda head: head.count, default=None)
