"""Exchanges pairs of names without pause until its input ends: `swapper.py A B [C D …]`. Says `begun` after the first time."""

import ctypes
import os
import select
import sys
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2


def swap(one: Path, other: Path) -> None:
    """Exchange two names in one step where the system can, in three elsewhere."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        first, second = os.fsencode(one), os.fsencode(other)
        if libc.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE) == 0:
            return
    aside = one.with_name(one.name + ".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def main() -> None:
    """Swap there and back, so that everything is as it was when this ends."""
    paths = [Path(argument) for argument in sys.argv[1:]]
    pairs = list(zip(paths[::2], paths[1::2], strict=True))
    begun = False
    while not select.select([sys.stdin], [], [], 0)[0]:
        for one, other in (*pairs, *reversed(pairs)):
            swap(one, other)
        if not begun:
            print("begun", flush=True)
            begun = True


if __name__ == "__main__":
    main()
