"""The form of an audit log: one JSON object a line, each bound to the one before it by a SHA-256 hash.

A line is `{"schema":1,"chain":C,"seq":N,"prev":H,…event…,"hash":H'}`, in ASCII. The hash covers the bytes of the line
up to `,"hash"`, so that verifying needs no canonical form of JSON and sees a change of any byte. `prev` of the first
record of a chain is 64 zeros.
"""

import hashlib
import hmac
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SCHEMA = 1
"""The version of the records' form; it changes when a field changes its meaning or is removed."""
NO_HASH = "0" * 64
SLOT_BYTES = 512
MAX_BATCH_RECORDS = 256
"""More records than these are not written at once, those that the log adds by itself included."""
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode
_HASH_FIELD = b',"hash":"'
_TAIL_BYTES = len(_HASH_FIELD) + 64 + len(b'"}')


def to_json(value: object) -> str:
    """JSON in one line of printable ASCII: control, bidirectional and all other characters are escaped."""
    return _encode(value).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True)
class Position:
    """How far a chain has come: the sequence number and the hash of its last record (-1 when it has none)."""

    chain: str
    sequence: int = -1
    digest: str = NO_HASH

    @classmethod
    def fresh(cls) -> Self:
        """The beginning of a chain that no other process uses."""
        return cls(secrets.token_hex(8))

    def append(self, event: str) -> tuple[bytes, "Position"]:
        """The line of the next record and the position behind it; `event` is a JSON object that is not empty."""
        sequence = self.sequence + 1
        head = (
            f'{{"schema":{SCHEMA},"chain":"{self.chain}","seq":{sequence},"prev":"{self.digest}",{event[1:-1]}'
        ).encode("ascii")
        digest = hashlib.sha256(head).hexdigest()
        return b"%b%b%b%b" % (head, _HASH_FIELD, digest.encode(), b'"}\n'), Position(
            self.chain, sequence, digest
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One line that was read back."""

    position: Position
    previous: str
    fields: Mapping[str, Any]

    @property
    def event(self) -> str:
        """What kind of record it is."""
        return str(self.fields["event"])


def parse(line: bytes) -> Record:
    """Read one line (without its line break) back.

    Raises:
        ValueError: it is no record, or its hash does not fit its bytes. The message says which.
    """
    head, field = line[:-_TAIL_BYTES], line[-_TAIL_BYTES:]
    if not field.startswith(_HASH_FIELD) or not field.endswith(b'"}'):
        raise ValueError("is not an audit record")
    try:
        fields = json.loads(line)
        position = Position(str(fields["chain"]), int(fields["seq"]), fields["hash"])
        previous, _ = fields["prev"], fields["event"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("is not an audit record") from error
    if hashlib.sha256(head).hexdigest().encode() != field[len(_HASH_FIELD) : -2]:
        raise ValueError("has been changed: its hash does not fit")
    return Record(position, previous, fields)


def sign(key: bytes, purpose: str, *parts: object) -> str:
    """An HMAC-SHA-256 over what a signature is for and the values it vouches for."""
    text = "\0".join([f"research-audit/{SCHEMA}", purpose, *map(str, parts)])
    return hmac.digest(key, text.encode(), "sha256").hex()


def key_id(key: bytes) -> str:
    """A name of the key that says nothing about it."""
    return sign(key, "key-id")[:16]


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
