"""Events, and their encoding as chained records."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, Self

from research_gateway.audit.log.format import ChainPosition, key_id, sign, to_json

Clock = Callable[[], float]
MAX_LISTED_CALLS = 1_000
CLOCK_TOLERANCE_S = 60.0
"""Records of one moment may wait so long for each other. A record with an earlier time shows that the clock was set back."""


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")


def timestamp(seconds: float) -> str:
    """Format seconds since the epoch as RFC 3339 in UTC, with microseconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


def seconds_of(stamp: str) -> float:
    """Parse a `timestamp` into seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An encoded event. `phase` and `call_id` tell the log which calls are in flight."""

    body: str
    call_id: str | None = None
    phase: Literal["start", "end", "log"] = "log"

    @classmethod
    def of(cls, kind: str, now: float, /, **fields: Any) -> Self:
        """Create an event about the log itself."""
        return cls(body=to_json({"event": kind, "time": timestamp(now), **fields}))


@dataclass(slots=True)
class Chain:
    """Encodes events as lines. With a key, adds a signed checkpoint every `checkpoint_every` records."""

    key: bytes | None
    checkpoint_every: int
    clock: Clock

    def genesis(self, at: ChainPosition, **fields: Any) -> Event:
        """Return the first event of a chain."""
        return Event.of(
            "genesis",
            self.clock(),
            **fields,
            key_id=key_id(self.key) if self.key else None,
            checkpoint_every=self.checkpoint_every if self.key else None,
            mac=sign(self.key, "genesis", at.chain) if self.key else None,
        )

    def checkpoint(self, at: ChainPosition) -> Event:
        """Return a signed checkpoint of all records up to `at`."""
        if self.key is None:
            raise AssertionError("only a keyed chain has checkpoints")
        mac = sign(self.key, "checkpoint", at.chain, at.sequence, at.digest)
        return Event.of("checkpoint", self.clock(), key_id=key_id(self.key), mac=mac)

    def encode(
        self, at: ChainPosition, events: list[Event], *, final: bool = False
    ) -> tuple[bytes, ChainPosition]:
        """Return the lines of the events and the position behind them. A `final` batch ends with a checkpoint."""
        lines: list[bytes] = []
        for event in events:
            line, at = at.append(event.body)
            lines.append(line)
            if self.key is not None and (at.sequence + 1) % self.checkpoint_every == 0:
                line, at = at.append(self.checkpoint(at).body)
                lines.append(line)
        if final and self.key is not None:
            line, at = at.append(self.checkpoint(at).body)
            lines.append(line)
        return b"".join(lines), at
