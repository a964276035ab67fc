"""What keyword and regex search have in common."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from research_documents.search.catalog.catalog import Catalog
from research_documents.search.executors import ThreadPools
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning


@dataclass(frozen=True, kw_only=True)
class TextSearch:
    """The parts of an engine that a search works with. Its answers have at most about `max_response_bytes` bytes.

    `tuning` paces the work, by `clock` in seconds.
    """

    pools: ThreadPools
    freshness: FreshnessChecker
    catalog: Catalog
    max_response_bytes: int
    tuning: SearchTuning = DEFAULT_TUNING
    clock: Callable[[], float] = time.monotonic
