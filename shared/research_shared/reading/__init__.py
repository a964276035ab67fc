"""Reading documents: the library, its cache and its limits."""

from research_shared.reading.library import Library, Stats
from research_shared.reading.limits import Limits

__all__ = ["Library", "Limits", "Stats"]
