"""The processors on which the threads of this process run."""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_CAN_BIND = sys.platform == "linux"
_all: frozenset[int] = frozenset()
"""Those that the process had before it was bound; none if it was not."""
_own: frozenset[int] = frozenset()


class _Depth(threading.local):
    """How many blocks of `all_processors` a thread is in. Those of an event loop need not end in their order."""

    number = 0


_depth = _Depth()


def bind_process(number: int, *, of: int) -> bool:
    """Bind process `number` (from 1) `of` so many to a processor of its own, if there is exactly one for each. Linux only.

    For a process that has just begun: the threads and processes that it starts are bound with it. Threads of Python run one
    at a time. On two processors each file that one of them opens wakes the next one over there, which finds the
    interpreter's lock taken again; on one processor that costs nothing (half as many calls again).

    With fewer processes than processors, or more, the system knows better where there is room.

    Returns whether it is bound.
    """
    global _all, _own
    if not _CAN_BIND or len(usable := os.sched_getaffinity(0)) != of:
        return False
    own = frozenset({sorted(usable)[number - 1]})
    if not _run_on(own):
        return False
    _all, _own = frozenset(usable), own
    return True


def use_all_processors() -> None:
    """Let this thread, and what it starts, run on all processors: for work outside the interpreter."""
    if _all:
        _run_on(_all)


@contextmanager
def all_processors() -> Iterator[None]:
    """Start processes for work of their own: what starts while the block runs is not bound."""
    _depth.number += 1
    use_all_processors()
    try:
        yield
    finally:
        _depth.number -= 1
        if _own and not _depth.number:
            _run_on(_own)


def _run_on(processors: Iterable[int]) -> bool:
    """Let this thread run on these processors. Return False, and change nothing, if they were taken from the process."""
    try:
        os.sched_setaffinity(0, processors)
    except OSError:
        return False
    return True
