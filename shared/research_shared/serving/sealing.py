"""Sealing of what travels through the client and comes back: the state of a multi-round call, and tokens of answers.

The outermost server seals the state. A gateway and a standalone server need the same keys and audience to continue each
other's rounds.
"""

import hashlib
import hmac
import json
import secrets
import struct
import time
from collections.abc import Callable
from typing import Final

from fastmcp.server.dependencies import get_access_token
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState, RequestStateSecurity

from research_shared.access.scope import current_scope
from research_shared.serving.auth import principal_of
from research_shared.settings import Settings

AUDIENCE = "research-assistant"
STATE_TTL_S = 3600.0
"""Seconds that a client may take for one round.

A local model works through the up to 32 model calls of a round one by one, so this is the time limit of a whole tool call.
"""

_HEAD: Final = struct.Struct(">d16s")
"""What a token holds before its value: the time it is good for, and the digest of whom it was given to."""


def request_state_security(settings: Settings) -> RequestStateSecurity:
    """Return the sealing policy with the operator's keys, or with a random key of this process.

    The first key seals and every key opens, so keys can be rotated while calls are in flight.
    """
    keys = [key.get_secret_value() for key in settings.state_keys]
    if not keys:
        return RequestStateSecurity.ephemeral(ttl=STATE_TTL_S, audience=AUDIENCE)
    return RequestStateSecurity(keys=keys, ttl=STATE_TTL_S, audience=AUDIENCE)


class TokenError(ValueError):
    """A token cannot be used. The message says why, in words for the client."""


class TokenSealer:
    """Seals a few bytes into a token that only the same caller can use, for a time.

    A token is encrypted and authenticated (AES-256-GCM), under a key derived from the operator's for its purpose: a sealed
    state is no token, and a token of one purpose is none of another. It opens for the caller and the scope that it was
    sealed for, on every server that has the key. `ttl_s` is in seconds, `clock` gives the Unix time.
    """

    def __init__(
        self, settings: Settings, *, purpose: str, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        keys = [key.get_secret_value() for key in settings.state_keys] or [secrets.token_hex(32)]
        self._codec = AESGCMRequestStateCodec([f"{purpose}:{key}" for key in keys])
        self._ttl_s = ttl_s
        self._clock = clock

    def seal(self, value: bytes) -> str:
        """Return a token: 75 characters, and four for each three bytes."""
        return self._codec.seal(_HEAD.pack(self._clock() + self._ttl_s, _caller_digest()) + value)

    def open(self, token: str) -> bytes:
        """Return the bytes in a token.

        Raises:
            TokenError: the token is malformed, changed, sealed with another key, expired, or of another caller or scope.
        """
        try:
            payload = self._codec.unseal(token)
        except InvalidRequestState as error:
            raise TokenError(
                "it is not one that this server gave, or not the whole of one, or the server has another key now"
            ) from error
        until, caller = _HEAD.unpack_from(payload)
        if not self._clock() < until:
            raise TokenError("it has expired")
        if not hmac.compare_digest(caller, _caller_digest()):
            raise TokenError(
                "it was given to another caller, or for other documents than this caller sees now"
            )
        return payload[_HEAD.size :]


def _caller_digest() -> bytes:
    """Return a digest of who asks, as far as the server knows, and of what may be seen."""
    token = get_access_token()
    who = None if token is None else [token.client_id, principal_of(token), (token.claims or {}).get("iss")]
    told = json.dumps([who, current_scope().to_json()])
    return hashlib.sha256(told.encode()).digest()[:16]
