"""Which requests are rounds of one logical call.

A tool that asks its client for input ends the request and is called again with the answers. What links the two is the
state that the client echoes, or just that the same client asks for the same thing again, now with answers.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

MAX_WAITING = 4_096


def state_digest(state: str | None) -> str | None:
    """A short name for a round's state that reveals nothing of it."""
    return hashlib.sha256(state.encode(errors="surrogatepass")).hexdigest()[:32] if state else None


def asked_state(result: object) -> str | None:
    """The digest of the state that a result hands to the client, when it asks for input."""
    ask = getattr(result, "input_required", None)
    return state_digest(ask.request_state) if ask is not None else None


class WaitingCalls:
    """Remembers the calls that wait for their client's answers, the latest few thousand of them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[object, ...], tuple[str, int]] = OrderedDict()

    def resume(
        self, fields: Mapping[str, Any], state: str | None, *, answered: bool
    ) -> tuple[str, int] | None:
        """The logical call and the number of the round when a request goes on with one that waits."""
        if state is None and not answered:
            return None
        return self._waiting.pop(self._key(fields, state), None)

    def wait(self, fields: Mapping[str, Any], state: str | None, logical_call: str, number: int) -> None:
        """Note that a call waits for its client."""
        self._waiting[self._key(fields, state)] = (logical_call, number)
        while len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)

    def _key(self, fields: Mapping[str, Any], state: str | None) -> tuple[object, ...]:
        names = ("method", "tool", "prompt", "uri", "argument_digest")
        client, principal = fields.get("client") or {}, fields.get("principal") or {}
        return (state, *(fields.get(name) for name in names), *client.values(), *principal.values())
