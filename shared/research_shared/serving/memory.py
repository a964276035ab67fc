"""Garbage collection and memory of a long-running server.

Only a process that is dedicated to our servers tunes the collector (`tune_gc_for_dedicated_process`). In the process of
another program the collector is left alone.
"""

import ctypes
import gc
from contextlib import suppress
from typing import Final

_dedicated: bool = False
GC_GEN0_THRESHOLD: Final = 50_000
"""New objects before a collection of the youngest generation. A search can create a hundred thousand that stay alive."""


def disable_gc_for_startup() -> None:
    """Disable the collector until `tune_gc_for_dedicated_process`, in a dedicated process.

    Imports and start-up create a hundred thousand objects that stay alive. Not scanning them saves 10 % of the start.
    """
    gc.disable()


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
    milliseconds.
    """
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    if _dedicated:
        gc.collect()
        gc.freeze()
