"""What is computed from a document once and used again: in the next round, and in the next call."""

import asyncio
import threading
import time
from array import array
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Final, TypeVar, cast

from cachetools import TTLCache

from research_reasoning.evidence.selection import Shown, passage_sizes, select, split_document
from research_shared.documents import DocumentText
from research_shared.text.passages import passages
from research_shared.text.quotes import QuoteFinder
from research_shared.text.tokens import Estimator

MAX_BYTES: Final = 256 * 1024 * 1024
"""What is kept of all documents together, about. A quote finder takes three times its document."""

KEPT_S: Final = 600.0
"""Seconds that something is kept after its last use: longer than a client takes for a round. Each question has its own
selections, and hardly any comes back later."""

_OVERHEAD_BYTES: Final = 1_024
_FINDER_FACTOR: Final = 3

T = TypeVar("T")


class PreparedDocuments:
    """Selections, parts and folded texts of documents, by digest, until `KEPT_S` seconds after the last use.

    Beyond `max_bytes`, the least recently used go first.

    A call of several rounds runs from the top in each of them. Without this, a text of 60 MB would be cut, estimated and
    ranked in each round. `estimate` gives the tokens of a text; every key implies it. `clock` gives seconds, as `kept_s`
    does. While `let_go` runs, memory is free in time also if no question comes any more.
    """

    def __init__(
        self,
        estimate: Estimator,
        *,
        max_bytes: int = MAX_BYTES,
        kept_s: float = KEPT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._estimate = estimate
        self._kept: TTLCache[Hashable, tuple[object, int]] = TTLCache(
            max_bytes, kept_s, timer=clock, getsizeof=lambda kept: kept[1]
        )
        self._kept_s = kept_s
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """What is kept, in bytes."""
        return int(self._kept.currsize)

    async def let_go(self) -> None:
        """Look now and then for what was not used in time, and let go of it, until cancelled."""
        while True:
            await asyncio.sleep(self._kept_s / 10)
            with self._lock:
                self._kept.expire()

    def select(self, text: DocumentText, question: str, tokens: int) -> tuple[Shown, str]:
        """Return what to show of a document for a question within `tokens`, and the outline of the rest."""
        return self._once(
            ("select", text.digest, question, tokens),
            lambda: select(text, question, tokens, self._estimate, sizes=self._sizes(text)),
            lambda selected: len(selected[0].text) + len(selected[1]),
        )

    def split(
        self, text: DocumentText, size: int, ceiling: int, overhead_for: Callable[[int], int], plan: Hashable
    ) -> list[Shown]:
        """Return the parts of a document, of at most `size` tokens each. `plan` determines `overhead_for`."""
        return self._once(
            ("split", text.digest, size, ceiling, plan),
            lambda: split_document(
                text, size, ceiling, self._estimate, overhead_for, sizes=self._sizes(text)
            ),
            lambda parts: sum(len(part.text) for part in parts),
        )

    def quotes(self, text: DocumentText) -> QuoteFinder:
        """Return what finds quotes in a document."""
        return self._once(
            ("quotes", text.digest), lambda: QuoteFinder(text), lambda _: _FINDER_FACTOR * len(text.data)
        )

    def _sizes(self, text: DocumentText) -> Sequence[int]:
        """Return the tokens of each passage of a document."""
        return self._once(
            ("sizes", text.digest),
            lambda: array("Q", passage_sizes(passages(text), self._estimate)),
            lambda sizes: len(sizes) * sizes.itemsize,
        )

    def _once(self, key: Hashable, compute: Callable[[], T], size_of: Callable[[T], int]) -> T:
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept[key] = kept  # its time begins anew
                return cast("T", kept[0])
        value = compute()
        with self._lock, suppress(ValueError):  # larger than everything that may be kept
            self._kept[key] = (value, size_of(value) + _OVERHEAD_BYTES)
        return value
