"""Circuit breaker that stops calls to a failing provider for a while."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CircuitBreaker:
    """Opens after `threshold` failures in a row that span `patience_s` seconds; `rest_s` later it lets one call probe.

    The span is needed because calls are concurrent: one short outage fails all of them together. Only signs of the
    provider's health count as failures: no connection, a time-out, an overload, a server error. Not thread-safe: use it
    in one event loop.
    """

    threshold: int = 8
    patience_s: float = 10.0
    rest_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)
    _since: float = field(default=0.0, init=False)
    _opened_at: float | None = field(default=None, init=False)
    _probing: bool = field(default=False, init=False)

    def admit(self) -> float:
        """Return 0 if a call may be made, otherwise the seconds until the next try."""
        if self._opened_at is None:
            return 0.0
        left = self._opened_at + self.rest_s - self.clock()
        if left > 0 or self._probing:
            return max(left, 1.0)
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """The provider answered."""
        self._failures, self._opened_at, self._probing = 0, None, False

    def failed(self) -> None:
        """The provider did not answer, or answered that it cannot."""
        now = self.clock()
        if not self._failures:
            self._since = now
        self._failures += 1
        if self._probing or (self._failures >= self.threshold and now - self._since >= self.patience_s):
            self._opened_at = now
        self._probing = False

    def abandoned(self) -> None:
        """A call ended without a word about the provider's health (it was cancelled)."""
        self._probing = False
