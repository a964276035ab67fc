"""Embedders for tests: vectors that anybody can work out, instead of those of a model."""

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from research_documents.search import SearchEngine
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_documents.search.semantic.semantic_index import SemanticIndex
from research_documents.search.semantic.updater import EmbeddingPace
from research_shared.access.roots import Root, RootsPolicy
from research_shared.reading.library import Library

DIMENSION = 64
CONCEPTS = {
    "automobile": "car",
    "vehicle": "car",
    "physician": "doctor",
    "medic": "doctor",
    "leftovers": "waste",
    "pupils": "child",
}
PATIENT = EmbeddingPace(save_every_s=3600.0, look_every_s=3600.0, first_wait_s=3600.0)
IMPATIENT = EmbeddingPace(look_every_s=0.005, first_wait_s=0.005)


def concepts(text: str) -> Iterator[str]:
    for word in re.findall(r"[^\W_]+", text.lower()):
        yield CONCEPTS.get(word, word)


def vector_of(text: str) -> list[float]:
    """A bag of concepts: each one has a direction of its own."""
    whole = np.zeros(DIMENSION)
    for concept in concepts(text):
        seed = int.from_bytes(hashlib.blake2b(concept.encode(), digest_size=8).digest(), "big")
        whole += np.random.default_rng(seed).standard_normal(DIMENSION)
    return [float(number) for number in whole / (math.sqrt(float((whole**2).sum())) or 1.0)]


class ConceptEmbedder:
    """Compares texts by their concepts. `failure` is raised instead of an answer; batches of passages wait for `turns`, if set."""

    def __init__(self, name: str = "concepts", *, batch: int = 4) -> None:
        self.batch = batch
        self.name = name
        self.passages: list[str] = []
        self.queries: list[str] = []
        self.failure: EmbeddingFailed | None = None
        self.query_failure: EmbeddingFailed | None = None
        self.poison: str | None = None
        self.turns: asyncio.Semaphore | None = None

    async def identity(self) -> str:
        return self.name

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        if query:
            if self.query_failure is not None:
                raise self.query_failure
            self.queries += texts
        else:
            if self.turns is not None:
                await self.turns.acquire()
            if self.failure is not None:
                raise self.failure
            if self.poison is not None and any(self.poison in text for text in texts):
                raise EmbeddingFailed("the model failed", about_texts=True)
            self.passages += texts
        return np.array([vector_of(text) for text in texts], dtype=np.float32)

    async def close(self) -> None:
        pass


def engine_with(
    folder: Path, embedder: ConceptEmbedder, *, kept_in: Path | None = None, pace: EmbeddingPace = PATIENT
) -> SearchEngine:
    semantic = SemanticIndex(embedder, directory=kept_in, pace=pace)
    return SearchEngine(Library(RootsPolicy([Root("research", folder)])), watch=False, semantic=semantic)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, which other tasks bring about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (progress is polled)
            await asyncio.sleep(0.002)


@asynccontextmanager
async def embedded(engine: SearchEngine) -> AsyncIterator[SearchEngine]:
    """Enter an engine, and wait until all passages have a vector."""
    async with engine:
        await engine.search("x")
        await until(lambda: (state := engine.stats.embedded) is not None and state[0] == state[1] > 0)
        yield engine
