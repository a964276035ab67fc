"""What becomes of memory once something large has been built that stays.

A process that serves research documents and nothing else says so by `own_process`; within the process of another
program its collector is left alone.
"""

import ctypes
import gc
from contextlib import suppress
from typing import Final

_owned: bool = False
_YOUNG: Final = 50_000
"""Objects after which the collector looks for garbage among the new ones; a search can make a hundred thousand that stay."""


def begin_start() -> None:
    """Let the collector rest until `own_process`: importing and building make a hundred thousand objects that stay.

    For a process of our own; it takes a tenth off the start.
    """
    gc.disable()


def own_process() -> None:
    """From now on this process is there for our servers alone; what it holds already stays as long as it does.

    The garbage of the start, a few thousand small objects, stays too: to look for it takes longer than it is worth.
    """
    global _owned  # noqa: PLW0603  (of a process there is one)
    _owned = True
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    gc.freeze()
    gc.enable()


def tidy() -> None:
    """Give back what was needed only to build; in a process of our own, look for garbage in the rest no more.

    What is built holds hundreds of thousands of objects: looking through them again and again would hold everything up
    for tens of milliseconds each time.
    """
    with suppress(AttributeError):  # the C library of Linux has it
        ctypes.CDLL(None).malloc_trim(0)
    if _owned:
        _keep()


def _keep() -> None:
    gc.collect()
    gc.freeze()
