"""The registry of the faults that a server has at the moment."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from research_shared.faults.kinds import FaultKind
from research_shared.logs import get_logger

log = get_logger("research.faults")


class Fault(NamedTuple):
    """One current fault. `about` is the name of the research folder that has it, empty for the whole server."""

    kind: FaultKind
    about: str = ""


class Faults:
    """The faults of one server. Components report them from any thread; beginning and end are logged, once each.

    `clock` gives seconds.

    >>> from research_shared.faults import WATCHING_FAILED
    >>> faults = Faults()
    >>> faults.begin(WATCHING_FAILED, error="no space left on device")
    >>> [fault.kind.name for fault in faults.current]
    ['watching_failed']
    >>> faults.end(WATCHING_FAILED)
    >>> faults.current
    ()
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._seen: dict[Fault, float] = {}
        """Each current fault with the time at which it was last reported."""

    @property
    def current(self) -> tuple[Fault, ...]:
        """Return the current faults, sorted by name and by what they are about."""
        with self._guard:
            seen = list(self._seen)
        return tuple(sorted(seen, key=lambda fault: (fault.kind.name, fault.about)))

    def begin(self, kind: FaultKind, about: str = "", *, error: object = None) -> None:
        """Report that there is a fault. `error` is for the log only."""
        fault = Fault(kind, about)
        with self._guard:
            known = fault in self._seen
            self._seen[fault] = self._clock()
        if not known:
            details = {"root": about} if about else {}
            if error is not None:
                details["error"] = str(error)
            log.warning(kind.began, fault=kind.name, **details)

    def end(self, kind: FaultKind, about: str = "") -> None:
        """Report that a fault is not there. Takes no time when it was not."""
        fault = Fault(kind, about)
        if fault not in self._seen:
            return
        with self._guard:
            seen = self._seen.get(fault)
            if seen is None or self._clock() - seen < kind.settle_s:
                return
            del self._seen[fault]
        log.warning(kind.ended, fault=kind.name, **({"root": about} if about else {}))
