"""Links the rounds of one logical call.

A tool that requires input ends the request; the client calls again with the answers. The rounds are linked by the state
that the client echoes, or, without a state, by the same client sending the same request with answers.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from cachetools import LRUCache

MAX_WAITING = 4_096


def state_digest(state: str | None) -> str | None:
    """Return a short digest of a round's state, or None without a state."""
    return hashlib.sha256(state.encode(errors="surrogatepass")).hexdigest()[:32] if state else None


def asked_state(result: object) -> str | None:
    """Return the digest of the state in an `input_required` result, or None for any other result."""
    ask = getattr(result, "input_required", None)
    return state_digest(ask.request_state) if ask is not None else None


class WaitingCalls:
    """Calls that wait for input from their client, limited to the latest `MAX_WAITING`."""

    def __init__(self) -> None:
        self._waiting: LRUCache[tuple[object, ...], tuple[str, int]] = LRUCache(MAX_WAITING)

    def resume(
        self, fields: Mapping[str, Any], state: str | None, *, answered: bool
    ) -> tuple[str, int] | None:
        """Return `(logical call id, round number)` if the request resumes a waiting call, else None."""
        if state is None and not answered:
            return None
        return self._waiting.pop(self._key(fields, state), None)

    def wait(self, fields: Mapping[str, Any], state: str | None, logical_call: str, number: int) -> None:
        """Add a waiting call. `number` is that of its next round."""
        self._waiting[self._key(fields, state)] = (logical_call, number)

    def _key(self, fields: Mapping[str, Any], state: str | None) -> tuple[object, ...]:
        names = ("method", "tool", "prompt", "uri", "argument_digest")
        client, principal = fields.get("client") or {}, fields.get("principal") or {}
        return (state, *(fields.get(name) for name in names), *client.values(), *principal.values())
