"""Facts about the call that is being served, for whoever keeps its record (the gateway's audit trail).

Whoever serves a call opens a collector; whatever works on the call records what it knows. Without a collector
recording does nothing. Facts are metadata: never document text, prompts, answers or keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_facts: ContextVar[dict[str, Any] | None] = ContextVar("research_facts", default=None)


@contextmanager
def collecting() -> Iterator[dict[str, Any]]:
    """Collect what the enclosed work records, tasks that it starts included; an outer collector gets it as well."""
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
