"""Facts about the current call, for the gateway's audit trail and metrics.

The server of a call opens a collector; code that works on the call records facts. Without a collector
recording does nothing. Facts are metadata: never document text, prompts, answers or keys.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

MODEL_SECONDS: Final = "model_seconds"
"""The fact that lists how long each attempt of a model call took, in seconds."""

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
            durations = (*outer.get(MODEL_SECONDS, ()), *facts.get(MODEL_SECONDS, ()))
            outer.update(facts)
            if durations:
                outer[MODEL_SECONDS] = durations


def record(**facts: Any) -> None:
    """Merge facts into the record of the current call; a later value replaces an earlier one."""
    collected = _facts.get()
    if collected is not None:
        collected.update(facts)


def record_duration(seconds: float) -> None:
    """Add how long one attempt of a model call took to the record of the current call."""
    collected = _facts.get()
    if collected is not None:
        collected[MODEL_SECONDS] = (*collected.get(MODEL_SECONDS, ()), seconds)
