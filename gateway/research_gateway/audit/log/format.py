"""The form of an audit log: one JSON object a line, each bound to the one before it by a SHA-256 hash.

A line is `{"schema":1,"chain":C,"seq":N,"prev":H,…event…,"hash":H'}`, in ASCII. The hash covers the bytes of the line
up to `,"hash"`, so that verifying needs no canonical form of JSON and sees a change of any byte. `prev` of the first
record of a chain is 64 zeros.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

SCHEMA = 1
"""The version of the records' form; it changes when a field changes its meaning or is removed."""
NO_HASH = "0" * 64
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
