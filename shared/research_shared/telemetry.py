"""Facts about the current call, for the gateway's audit trail.

The server of a call opens a collector; code that works on the call records facts. Without a collector
recording does nothing. Facts are metadata: never document text, prompts, answers or keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_facts: ContextVar[dict[str, Any] | None] = ContextVar("research_facts", default=None)


@contextmanager
def collecting() -> Iterator[dict[str, Any]]:
    """Collect the facts recorded in the block and in tasks it starts. An outer collector gets them as well."""
    facts: dict[str, Any] = {}
    outer = _facts.get()
    token = _facts.set(facts)
    try:
        yield facts
    finally:
        _facts.reset(token)
        if outer is not None:
            outer.update(facts)


def record(**facts: Any) -> None:
    """Merge facts into the record of the current call; a later value replaces an earlier one."""
    collected = _facts.get()
    if collected is not None:
        collected.update(facts)
