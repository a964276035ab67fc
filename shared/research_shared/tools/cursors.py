"""Opaque cursors: the position at which a page ended and the call it belongs to, without state on the server."""

import base64
import binascii
import hashlib
import json
from typing import Any

from research_shared.errors import InvalidCursor

MAX_CURSOR_LENGTH = 8_192
FINGERPRINT_DIGITS = 8
"""Enough to detect a cursor used with another call. A cursor gives access to nothing."""


def fingerprint(*question: object) -> str:
    """Return a short digest of the arguments of the call that a cursor continues."""
    return hashlib.sha256(json.dumps(question).encode()).hexdigest()[:FINGERPRINT_DIGITS]


def encode_cursor(question: str, position: Any) -> str:
    """Return a cursor that continues the call with this fingerprint after `position` (any JSON value)."""
    # Without blanks: models read cursors, and about every second character is a token.
    content = json.dumps([question, position], separators=(",", ":"))
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, question: str) -> Any:
    """Return the position in a cursor.

    Raises:
        InvalidCursor: this server did not make it, or it belongs to another call.
    """
    if len(cursor) > MAX_CURSOR_LENGTH:
        raise InvalidCursor("the cursor is too long to be one of this server's")
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        decoded = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidCursor("the cursor is not one of this server's") from error
    if not isinstance(decoded, list) or len(decoded) != 2 or decoded[0] != question:  # noqa: PLR2004  (question, position)
        raise InvalidCursor("the cursor belongs to another call; keep the other arguments as they were")
    return decoded[1]
