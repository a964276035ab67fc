"""Record format of the audit log: JSON lines, chained by SHA-256 hashes.

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

RECORD_SCHEMA = 1
"""Version of the record format. It changes when a field changes its meaning or is removed."""
NO_HASH = "0" * 64
MAX_BATCH_RECORDS = 256
"""Upper limit of records in one write, checkpoints and gap records included."""
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode
_HASH_FIELD = b',"hash":"'
_HASH_FIELD_BYTES = len(_HASH_FIELD) + 64 + len(b'"}')


def to_json(value: object) -> str:
    """Encode a value as one line of printable ASCII JSON; all other characters are escaped."""
    return _encode(value).replace("\x7f", "\\u007f")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainPosition:
    """Position in a chain: sequence number (-1 before the first record) and hash of the last record."""

    chain: str
    sequence: int = -1
    digest: str = NO_HASH

    @classmethod
    def fresh(cls) -> Self:
        """Return the start of a new chain with a random id."""
        return cls(chain=secrets.token_hex(8))

    def append(self, event: str) -> tuple[bytes, "ChainPosition"]:
        """Return the line of the next record and the position behind it. `event` is a non-empty JSON object."""
        sequence = self.sequence + 1
        head = (
            f'{{"schema":{RECORD_SCHEMA},"chain":"{self.chain}","seq":{sequence},"prev":"{self.digest}",{event[1:-1]}'
        ).encode("ascii")
        digest = hashlib.sha256(head).hexdigest()
        return b"%b%b%b%b" % (head, _HASH_FIELD, digest.encode(), b'"}\n'), ChainPosition(
            chain=self.chain, sequence=sequence, digest=digest
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A parsed record."""

    position: ChainPosition
    previous: str
    fields: Mapping[str, Any]

    @property
    def event(self) -> str:
        """The record's event type."""
        return str(self.fields["event"])


def parse_record(line: bytes) -> Record:
    """Parse one line without its line break.

    Raises:
        ValueError: the line is not a record, or its hash does not match. The message says which.
    """
    head, field = line[:-_HASH_FIELD_BYTES], line[-_HASH_FIELD_BYTES:]
    if not field.startswith(_HASH_FIELD):
        raise ValueError("is not an audit record")
    try:
        fields = json.loads(line)
        position = ChainPosition(
            chain=str(fields["chain"]), sequence=int(fields["seq"]), digest=fields["hash"]
        )
        previous, _ = fields["prev"], fields["event"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("is not an audit record") from error
    if hashlib.sha256(head).hexdigest().encode() != field[len(_HASH_FIELD) : -2]:
        raise ValueError("has been changed: its hash does not fit")
    return Record(position=position, previous=previous, fields=fields)


def sign(key: bytes, purpose: str, *parts: object) -> str:
    """Return the HMAC-SHA-256 of a purpose and the signed values, in hexadecimal."""
    text = "\0".join([f"research-audit/{RECORD_SCHEMA}", purpose, *map(str, parts)])
    return hmac.digest(key, text.encode(), "sha256").hex()


def key_id(key: bytes) -> str:
    """Return a public identifier of the key."""
    return sign(key, "key-id")[:16]
