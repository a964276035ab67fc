"""A research folder, as an operator names it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Root:
    """A named directory. The name is public, the directory is not."""

    name: str
    directory: Path
