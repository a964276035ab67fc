"""A research folder, as an operator names it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Root:
    """A named directory. The name is public, the directory is not."""

    name: str
    directory: Path


def root_around(directory: Path, roots: Iterable[Root]) -> Root | None:
    """Return the research folder that a directory lies in, under whatever name; None if it lies in none.

    The directory need not exist yet.
    """
    place = directory.resolve()
    for root in roots:
        for ancestor in (place, *place.parents):
            if ancestor.exists() and root.directory.exists() and ancestor.samefile(root.directory):
                return root
    return None
