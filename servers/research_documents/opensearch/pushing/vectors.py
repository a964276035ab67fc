"""Makes the vectors of passages that are pushed, as long as the model answers."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from research_documents.opensearch.layout import passage_records
from research_documents.opensearch.meaning.field import PARTS, IndexedModel
from research_documents.opensearch.pushing.reading import PassageCount
from research_documents.search.semantic.embedder import (
    HARMLESS,
    Embedder,
    EmbeddingFailed,
    Vectors,
    embed_passages,
)
from research_documents.search.semantic.passage_table import EmbeddedPart, parts_of
from research_documents.search.semantic.vector_file import quantized
from research_documents.search.semantic.vectors import check_vectors, keys_of
from research_shared.base_errors import ConfigurationError
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.logs import get_logger
from research_shared.text.passages import spans

log = get_logger("research.opensearch")

PASSAGES_LEFT_ALONE_S: Final = 30.0
"""Time for which a model that failed is not asked again; documents are pushed without vectors meanwhile.

Longer than that of queries: nobody waits for a push, and each failure costs it all attempts at one batch."""
PASSAGES_TOGETHER: Final = 500
"""Passages whose vectors are in memory at the same time."""

Codes = NDArray[np.int8]


class ModelDiffers(ConfigurationError):
    """The vectors of the index are those of another model, which cannot be compared with those of this one."""

    def __init__(self) -> None:
        super().__init__(
            "the index has the vectors of another embedding model: push all documents again with --full, or set the model that "
            "made them (RESEARCH_EMBEDDING_*)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageToPush:
    """A passage of a document: its id and record, and its parts."""

    path: str
    key: str
    record: dict[str, Any]
    parts: Sequence[EmbeddedPart]


def passages_to_push(text: DocumentText, info: DocumentInfo, version: str) -> Iterator[PassageToPush]:
    """Yield the passages of a document, in order."""
    for span, (key, record) in zip(spans(text), passage_records(text, info, version), strict=True):
        yield PassageToPush(path=info.path, key=key, record=record, parts=parts_of(text, span))


class VectorMaker:
    """Makes vectors with one model, for one index. `clock` is in seconds.

    `problem` says why it does not for now, as a clause; `model` is what the index was made for, None if it has no vectors.
    """

    def __init__(self, embedder: Embedder, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.problem = ""
        self.model: IndexedModel | None = None
        self._embedder = embedder
        self._clock = clock
        self._ask_again_at = float("-inf")
        self._is_identified = False
        """Whether the model is known to be the one of the index, since it failed the last time."""

    async def close(self) -> None:
        """Release processes and connections."""
        await self._embedder.close()

    async def model_for_new_index(self) -> IndexedModel:
        """Have the model embed something, to know the size of its vectors.

        Raises:
            ConfigurationError: it does not answer.
        """
        try:
            identity = await self._embedder.identity()
            vectors = await self._embedder.embed([HARMLESS], query=False)
        except EmbeddingFailed as failure:
            raise ConfigurationError(
                f"{failure}, and a new index has to know the size of its vectors: start the model, or push without "
                "RESEARCH_EMBEDDING_DIR and RESEARCH_EMBEDDING_URL"
            ) from failure
        return IndexedModel(identity=identity, dimension=vectors.shape[1])

    async def use(self, model: IndexedModel | None) -> None:
        """Make vectors for an index that was made for this model.

        Raises:
            ModelDiffers: it is another one.
        """
        self.model, self._is_identified = model, False
        try:
            await self._identify()
        except EmbeddingFailed as failure:
            self._fail(failure)

    async def _identify(self) -> None:
        """Compare the model with that of the index, unless that was done since it failed the last time.

        Raises:
            ModelDiffers: it is another one.
            EmbeddingFailed: it cannot be read.
        """
        if self.model is None or self._is_identified:
            return
        if self.model.identity != await self._embedder.identity():
            raise ModelDiffers
        self._is_identified = True

    async def try_model(self) -> None:
        """Find out whether the model answers, unless it failed a moment ago: `problem` says so.

        Raises:
            ModelDiffers: it is another one than that of the index.
        """
        if self._may_ask:
            await self._codes_of([HARMLESS])

    async def slices(
        self,
        documents: Iterable[tuple[DocumentText, DocumentInfo, str]],
        counts: Mapping[str, PassageCount],
    ) -> AsyncIterator[Iterator[tuple[str, str, dict[str, Any]]]]:
        """Yield the passages of documents in the versions that are given, some at a time, each as (path, id, record).

        They have the vectors that can be made. They are counted when they are taken, by path.

        Raises:
            ModelDiffers: the model failed, and is another one now than that of the index.
        """
        passages = chain.from_iterable(passages_to_push(*document) for document in documents)
        while some := await anyio.to_thread.run_sync(lambda: list(islice(passages, PASSAGES_TOGETHER))):
            codes = await self._codes_of_parts(some)
            yield with_vectors(some, codes, counts)

    @property
    def _may_ask(self) -> bool:
        return self.model is not None and (not self.problem or self._clock() >= self._ask_again_at)

    async def _codes_of_parts(self, passages: Iterable[PassageToPush]) -> dict[str, Codes | None]:
        """Return the vectors of the parts of passages, by text; None for what the model fails with.

        What is not there has no vector for now, and `problem` says why.
        """
        texts = list(dict.fromkeys(part.text for passage in passages for part in passage.parts))
        found: dict[str, Codes | None] = {}
        for at in range(0, len(texts), self._embedder.batch):
            if self._may_ask:
                found |= await self._codes_of(texts[at : at + self._embedder.batch])
        return found

    async def _codes_of(self, texts: Sequence[str]) -> dict[str, Codes | None]:
        found: dict[str, Codes | None] = {}
        dimension = None if self.model is None else self.model.dimension

        def take(some: Sequence[str], vectors: Vectors) -> None:
            check_vectors(vectors, dimension)
            found.update(zip(some, quantized(keys_of(some), vectors).codes, strict=True))

        def give_up(text: str) -> None:
            found[text] = None

        try:
            await self._identify()
            await embed_passages(self._embedder, texts, take=take, give_up=give_up)
        except EmbeddingFailed as failure:
            self._fail(failure)
        else:
            self.problem = ""
        return found

    def _fail(self, failure: EmbeddingFailed) -> None:
        wait_s = failure.retry_after_s or PASSAGES_LEFT_ALONE_S
        self.problem, self._is_identified = str(failure), False
        self._ask_again_at = self._clock() + wait_s
        log.warning("passages are pushed without vectors for now", error=str(failure), wait_s=wait_s)


def with_vectors(
    passages: Iterable[PassageToPush], codes: Mapping[str, Codes | None], counts: Mapping[str, PassageCount]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (path, id, record) of passages, with the vectors of their parts; count them by path."""
    for passage in passages:
        parts = [(part, codes[part.text]) for part in passage.parts if part.text in codes]
        count = counts[passage.path]
        count.passages += 1
        if len(parts) == len(passage.parts):
            failing = any(code is None for _, code in parts)
            count.unembeddable += failing
            count.embedded += not failing
        record = passage.record
        if pushed := [
            {"begin": part.begin, "end": part.end, "vector": code.tolist()}
            for part, code in parts
            if code is not None and code.any()  # no direction can be compared with that of nothing
        ]:
            record = {**record, PARTS: pushed}
        yield passage.path, passage.key, record
