"""The vectors of all texts that were ever embedded, by the digest of the text: in memory, or mapped from disk."""

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from research_documents.search.index.directories import locked, make_private
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_documents.search.semantic.vector_file import (
    KEY,
    Keys,
    VectorBlock,
    generations,
    joined,
    mapped_generation,
    quantized,
    write_generation,
)
from research_shared.faults import VECTORS_FAILED, Faults

NO_ROW: Final = -1
"""The row of a text that has no vector."""
_EXACT_WHOLE: Final = 2**24
"""Whole numbers up to this are exact in floats of 32 bits."""
_BLOCK_NUMBERS: Final = 196_608
"""Numbers that are converted to floats at a time: a block of them stays in the cache of a processor."""
_MANY_BLOCKS: Final = 64

Rows = NDArray[np.int32]
Scores = NDArray[np.float32]


def keys_of(texts: Sequence[str]) -> Keys:
    """Return the digests of texts."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=KEY.itemsize).digest() for text in texts)
    return np.frombuffer(digests, dtype=KEY)


def check_vectors(vectors: Vectors, dimension: int | None) -> None:
    """Make sure that vectors can be compared with others of this size, or of any if it is None.

    Raises:
        EmbeddingFailed: they have another number of components, or one that is no finite number.
    """
    if not np.isfinite(vectors).all():
        raise EmbeddingFailed("the embedding model gave a vector that is none", about_texts=True)
    if dimension not in {None, vectors.shape[1]}:
        raise EmbeddingFailed("the embedding model gives vectors of another size than before")


@dataclass(frozen=True, slots=True, eq=False)
class VectorRows:
    """All vectors at one time, numbered through the blocks."""

    blocks: tuple[VectorBlock, ...] = ()

    @property
    def dimension(self) -> int | None:
        """Number of components of each vector; None while there is none."""
        return int(self.blocks[0].codes.shape[1]) if self.blocks else None

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def similarities(self, query: NDArray[np.float32], rows: Rows | None = None) -> Scores:
        """Return the cosine of a query with all vectors, or with those of `rows`.

        Both sides are whole numbers so small that every sum of their products is exact. So a similarity depends on its own
        two vectors only: not on the order of summation, the number of threads, or which other vectors there are.

        Raises:
            EmbeddingFailed: the query has another number of components.
        """
        dimension = self.dimension
        if dimension is None:
            return np.zeros(0, dtype=np.float32)
        if query.shape != (dimension,):
            raise EmbeddingFailed("the embedding model gives vectors of another size than before")
        whole, unit = _whole_numbers(query, dimension)
        scores = np.empty(len(self) if rows is None else len(rows), dtype=np.float32)
        if rows is None:
            at = 0
            for block in self.blocks:
                _multiply(block.codes, block.scales, whole, scores[at : at + len(block)])
                at += len(block)
        else:
            first = 0
            for block in self.blocks:
                inside = (rows >= first) & (rows < first + len(block))
                chosen = rows[inside] - first
                part = np.empty(len(chosen), dtype=np.float32)
                _multiply(block.codes[chosen], block.scales[chosen], whole, part)
                scores[inside] = part
                first += len(block)
        scores *= np.float32(unit)
        return scores


def _whole_numbers(query: NDArray[np.float32], dimension: int) -> tuple[NDArray[np.float32], float]:
    """Return the direction of a query in whole numbers, and what one of them is worth.

    No partial sum of products exceeds the product of the lengths (Cauchy and Schwarz): that of a row of codes is at most
    127·√d, and that of the query is chosen so that the product stays below 2²⁴.
    """
    length = math.sqrt(float(np.square(query, dtype=np.float64).sum()))
    most = _EXACT_WHOLE / (127 * math.sqrt(dimension)) - math.sqrt(dimension)
    if not length or not math.isfinite(length):
        return np.zeros(dimension, dtype=np.float32), 0.0
    return np.rint(query.astype(np.float64) * (most / length)).astype(np.float32), 1 / most


def _multiply(
    codes: NDArray[np.int8], scales: NDArray[np.float32], query: NDArray[np.float32], out: Scores
) -> None:
    step = max(_BLOCK_NUMBERS // codes.shape[1], 1)
    buffer = np.empty((min(step, len(codes)), codes.shape[1]), dtype=np.float32)
    for begin in range(0, len(codes), step):
        end = min(begin + step, len(codes))
        part = buffer[: end - begin]
        np.copyto(part, codes[begin:end])
        np.dot(part, query, out=out[begin:end])
    out *= scales


class VectorStore:
    """Keeps vectors of one model in a directory, or in memory only without one.

    The process that holds the lock of the directory `writes`; the others map what it wrote. Rows keep their numbers until
    `look` or `keep_only` say that they changed. One task at a time uses it, also from other
    threads; what `rows` gives is a snapshot for any thread. A directory that cannot be used is reported to `faults` and
    tried again after `retry_s` seconds by `clock`; until then vectors are in memory.
    """

    def __init__(
        self,
        directory: Path | None,
        identity: str,
        *,
        faults: Faults | None = None,
        retry_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._faults = faults or Faults()
        self._retry_s = retry_s
        self._clock = clock
        self._failed_at: float | None = None
        """When the directory could not be used the last time, if that was the case since it was used."""
        self._lock: int | None = None
        self._generation = 0
        self._settled: VectorBlock | None = None
        """Vectors in the file, or in one block of memory."""
        self._order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        """The rows of that block by key, and their keys."""
        self._sorted: Keys = np.zeros(0, dtype=KEY)
        self._blocks: list[VectorBlock] = []
        """Vectors that came after it."""
        self._added: dict[bytes, int] = {}
        self._writing = threading.Lock()
        """A task that is cancelled leaves its thread behind, which may still write."""

    @property
    def writes(self) -> bool:
        """Whether this process adds vectors."""
        return self._directory is None or self._lock is not None or self._failed_at is not None

    @property
    def failed(self) -> bool:
        """Whether the directory cannot be used for now."""
        return self._failed_at is not None

    @property
    def rows(self) -> VectorRows:
        """All vectors that there are now."""
        settled = () if self._settled is None or not len(self._settled) else (self._settled,)
        return VectorRows((*settled, *self._blocks))

    @property
    def unsaved(self) -> int:
        """Number of vectors that are not settled: in memory only, although there is a directory."""
        return len(self._added)

    def open(self) -> None:
        """Map what is kept, and become the one who writes if nobody does.

        Of a directory that cannot be used, vectors are in memory for the time being.
        """
        if self._directory is None:
            return
        try:
            make_private(self._directory)
            self.look()
        except OSError as error:
            self.close()
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._failed_at = self._clock()
        self._faults.begin(VECTORS_FAILED, error=error)

    def look(self) -> bool:
        """Map a newer generation, or take over from a writer that ended; return whether row numbers changed.

        Raises:
            OSError: the directory cannot be used.
        """
        if self._directory is None:
            return False
        if self._lock is None:
            self._lock = locked(self._directory / "lock")
        newest = generations(self._directory)
        if not newest or newest[0][0] == self._generation or self._added:
            return False
        self._generation = newest[0][0]
        found = mapped_generation(self._directory, self._identity)
        if found is None:
            return False
        self._generation = found[0]
        self._settle(found[1])
        return True

    def _settle(self, block: VectorBlock) -> None:
        """Make this block all there is, and put it in order."""
        self._order = np.argsort(block.keys["high"], kind="stable")
        self._sorted = block.keys[self._order]
        self._settled, self._blocks, self._added = block, [], {}

    def rows_of(self, keys: Keys) -> Rows:
        """Return the row of each key, `NO_ROW` without one."""
        found = np.full(len(keys), NO_ROW, dtype=np.int32)
        if len(self._sorted):
            at = np.searchsorted(self._sorted["high"], keys["high"])
            at[at == len(self._sorted)] = 0
            same = self._sorted[at] == keys
            found[same] = self._order[at[same]]
            for number in np.flatnonzero(~same & (self._sorted["high"][at] == keys["high"])):
                # Two keys with the same first half stand beside each other, in either order.
                found[number] = self._row_beyond(int(at[number]), keys[number])
        if self._added:
            for number in np.flatnonzero(found == NO_ROW):
                found[number] = self._added.get(keys[number].tobytes(), NO_ROW)
        return found

    def _row_beyond(self, at: int, key: Any) -> int:
        while at < len(self._sorted) and self._sorted[at]["high"] == key["high"]:
            if self._sorted[at] == key:
                return int(self._order[at])
            at += 1
        return NO_ROW

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add vectors of new keys, each once. They are kept from the next `save` on.

        Raises:
            EmbeddingFailed: they have another number of components than the others, or one that is no finite number.
        """
        rows = self.rows
        check_vectors(vectors, rows.dimension)
        first = len(rows)
        self._blocks.append(quantized(keys, vectors))
        self._added |= {key.tobytes(): first + number for number, key in enumerate(keys)}
        if len(self._blocks) > _MANY_BLOCKS:
            self._blocks = [joined(self._blocks)]

    def save(self, *, at_once: bool = False) -> bool:
        """Write all vectors as the next generation, map that, and return whether it was done. Row numbers stay.

        If the directory cannot be used, they stay in memory. It is not tried before its time, unless `at_once`.
        """
        with self._writing:
            if not (self.writes and self._added and (at_once or self._may_write())):
                return False
            return self._write(joined(list(self.rows.blocks)))

    def keep_only(self, rows: Rows) -> None:
        """Write these vectors as the next generation, and forget the others. Row numbers change.

        If the directory cannot be used, nothing is forgotten.
        """
        with self._writing:
            if self._may_write():
                whole = joined(list(self.rows.blocks))
                chosen = np.unique(rows)
                self._write(VectorBlock(whole.keys[chosen], whole.scales[chosen], whole.codes[chosen]))

    def _may_write(self) -> bool:
        return self._failed_at is None or self._clock() - self._failed_at >= self._retry_s

    def _write(self, block: VectorBlock) -> bool:
        mapped = None
        if self._directory is not None:
            try:
                if self._lock is None:
                    make_private(self._directory)
                    self._lock = locked(self._directory / "lock")
                if self._lock is None:  # another process writes by now; these vectors stay in memory
                    self._failed_at = self._clock()
                    self._faults.end(VECTORS_FAILED)
                    return False
                self._generation = write_generation(self._directory, self._identity, block)
                mapped = mapped_generation(self._directory, self._identity)
            except OSError as error:
                self._give_up(error)
                return False
            self._failed_at = None
            self._faults.end(VECTORS_FAILED)
        self._settle(block if mapped is None else mapped[1])
        return True

    def close(self) -> None:
        """Give up the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
