"""Garbage collection and memory of a long-running server.

Only a process that is dedicated to our servers tunes the collector (`tune_gc_for_dedicated_process`). In the process of
another program the collector is left alone.
"""

import ctypes
import gc
import time
from contextlib import suppress
from typing import Final

_dedicated: bool = False
GC_GEN0_THRESHOLD: Final = 50_000
"""New objects before a collection of the youngest generation. A search can create a hundred thousand that stay alive."""

MANY_OBJECTS: Final = 10_000
"""New objects for which garbage is collected early: those of 30 sessions."""
_EARLY_SHARE: Final = 0.02
"""Largest part of the time that early collections may take."""

ARENAS: Final = 2
_M_ARENA_MAX: Final = -8
"""The parameter's number in `malloc.h`."""


def disable_gc_for_startup() -> None:
    """Disable the collector until `tune_gc_for_dedicated_process`, in a dedicated process.

    Imports and start-up create a hundred thousand objects that stay alive. Not scanning them saves 10 % of the start.
    """
    gc.disable()


def limit_arenas() -> None:
    """Let the C library serve all threads from a few arenas. To be called before a dedicated process starts threads.

    The keyword index writes in threads that end with each commit. Each may leave 15 MB of pieces in an arena of its own,
    of which glibc has eight for each processor.
    """
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def tune_gc_for_dedicated_process() -> None:
    """Declare that this process runs only our servers: freeze the heap and collect less often.

    The few thousand garbage objects of the start are frozen too: collecting them takes longer than they are worth.
    """
    global _dedicated  # noqa: PLW0603  (the state belongs to the process)
    _dedicated = True
    gc.set_threshold(GC_GEN0_THRESHOLD, *gc.get_threshold()[1:])
    gc.freeze()
    gc.enable()


def trim_memory() -> None:
    """Return freed memory to the operating system. In a dedicated process, collect once and freeze the heap.

    An index holds hundreds of thousands of objects: each full collection would pause all calls for tens of
    milliseconds. What an earlier freeze held and is garbage by now, such as ended sessions, is collected first.
    """
    if _dedicated:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
    return_freed_memory()


async def keep_memory_low(
    *, collect_every_s: float = 10.0, collections_to_trim: int = 6, looks: int = 10
) -> None:
    """Collect garbage every `collect_every_s` seconds, and return freed memory every so many collections, until cancelled.

    An ended session leaves 40 KB of cycles that are too old for the collections of an idle server. Garbage that is left
    for longer is not lost, but the process grows by it for good: new objects that stay alive are put between it, and the
    allocator of Python returns only whole mebibytes that nothing lives in. Hundreds of sessions may end in ten seconds, so
    between two collections there are so many `looks` for new objects. Many of them are collected at once, unless the
    collection before took long. The frozen heap is left out, so that a collection takes milliseconds. The C library keeps
    freed pieces, too, until it is asked for them.
    """
    import anyio.to_thread  # `--help` needs none of it

    look_every_s = collect_every_s / looks
    took_s = passed_s = 0.0
    while True:
        for _ in range(collections_to_trim):
            for look in range(1, looks + 1):
                await anyio.sleep(look_every_s)
                passed_s += look_every_s
                if look == looks or (took_s <= _EARLY_SHARE * passed_s and _many_new_objects()):
                    took_s, passed_s = _collect(), 0.0
        await anyio.to_thread.run_sync(return_freed_memory)


def _many_new_objects() -> bool:
    """Return whether there are many objects that were not there after the last collection."""
    youngest, *older = gc.get_count()
    return youngest >= MANY_OBJECTS or any(older)


def _collect() -> float:
    """Collect garbage and return the processor time that it took, in seconds.

    This is for the thread of the event loop, which finalizers may expect.
    """
    began = time.thread_time()
    gc.collect()
    return time.thread_time() - began


def return_freed_memory() -> None:
    """Return what the C library keeps of freed memory to the operating system: a few milliseconds."""
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
