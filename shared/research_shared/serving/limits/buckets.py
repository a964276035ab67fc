"""Token buckets: how often each of many may do something."""

import time
from collections.abc import Callable

from cachetools import LRUCache

MAX_BUCKETS = 10_000


class TokenBuckets:
    """A bucket of tokens for each key: `per_second` tokens on average, `burst` of them at once.

    Beyond `max_buckets` keys, the least recently seen one is evicted and gets a full bucket when it returns. `clock` gives
    seconds.

    >>> buckets = TokenBuckets(per_second=2, burst=1, clock=lambda: 0.0)
    >>> buckets.take("a"), buckets.take("a"), buckets.take("b")
    (0.0, 0.5, 0.0)
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: int,
        max_buckets: int = MAX_BUCKETS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second = per_second
        self.burst = burst
        self._clock = clock
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(max_buckets)

    def __len__(self) -> int:
        """Return the number of buckets that are remembered."""
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Take one token. Return the seconds until the next one if the bucket is empty, else 0."""
        now = self._clock()
        tokens, last = self._buckets.pop(key, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - last) * self.per_second)
        short = 1.0 - tokens
        self._buckets[key] = (tokens if short > 0 else tokens - 1.0, now)
        return max(short, 0.0) / self.per_second
