"""Finds passages by reading the documents: for a reasoning server that has no index beside it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from research_reasoning.evidence.ranking import bm25
from research_shared.access.globs import PathChoice
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.errors import ResearchError
from research_shared.formats import Metadata
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.library import Library
from research_shared.reading.passage_search import FoundPassage, FoundPassages, counted_once
from research_shared.reading.versions import VersionedDocument, version_notes
from research_shared.text.analysis import stems
from research_shared.text.passages import passages
from research_shared.text.questions import asked_words
from research_shared.text.sizes import counted, one_or_many
from research_shared.tools.names import INCOMPLETE

MAX_SCANNED_DOCUMENTS: Final = 500
MAX_SCANNED_BYTES: Final = 64 * 1024 * 1024
"""Text that one scan ranks."""
SCAN_TIME_S: Final = 60.0
_READ_TOGETHER: Final = 8


@dataclass(frozen=True, slots=True)
class _Counted:
    """A passage, its terms that any query asks for, and how many terms it has."""

    path: str
    start_line: int
    end_line: int
    counts: Counter[str]
    size: int


class ScannedPassages:
    """Reads the documents in the order of their paths and ranks their passages (BM25), within bounds that it states."""

    def __init__(
        self,
        library: Library,
        *,
        max_documents: int = MAX_SCANNED_DOCUMENTS,
        max_bytes: int = MAX_SCANNED_BYTES,
        time_limit_s: float = SCAN_TIME_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._max_documents = max_documents
        self._max_bytes = max_bytes
        self._time_limit_s = time_limit_s
        self._clock = clock

    async def find(
        self, queries: Sequence[str], *, paths: PathChoice, wanted: DocumentFilter, limit: int
    ) -> FoundPassages:
        """Return the passages that rank highest for each query."""
        asked = [frozenset(term for word in asked_words(query) for term in stems(word)) for query in queries]
        terms = frozenset[str]().union(*asked)
        matches = paths.compiled()
        infos = {
            info.path: info
            for info in await self._library.documents()
            if wanted.admits_info(info) and matches(info.path)
        }
        listed = list(infos)
        started, held, silent, looked_into = self._clock(), 0, 0, 0
        told: list[tuple[DocumentInfo, Metadata]] = []
        considered = 0
        found: list[_Counted] = []
        versions: list[VersionedDocument] = []
        for at in range(0, min(len(listed), self._max_documents), _READ_TOGETHER):
            if held >= self._max_bytes or self._clock() - started >= self._time_limit_s:
                break
            some = listed[at : min(at + _READ_TOGETHER, self._max_documents)]
            texts = await self._read(some)
            looked_into += len(some)
            silent += len(some) - len(texts)
            held += sum(len(text.data) for text in texts)
            told += [(infos[text.path], text.metadata) for text in texts]
            fitting = [text for text in texts if wanted.admits(infos[text.path], text.metadata)]
            considered += len(fitting)
            versions += [
                VersionedDocument(
                    path=text.path, modified_ns=infos[text.path].identity.mtime_ns, digest=text.digest
                )
                for text in fitting
            ]
            found += await asyncio.to_thread(_count_terms, fitting, terms)
        copies = {
            path: note.same_content_as
            for path, note in version_notes(versions).items()
            if note.same_content_as
        }
        found = [each for each in found if each.path not in copies]
        return FoundPassages(
            by_query=tuple([await asyncio.to_thread(_best, found, each, limit) for each in asked]),
            considered=considered,
            warnings=(
                *_warnings_of(looked_into, len(listed), silent),
                *([counted_once(copies)] if copies else []),
                *([] if considered or wanted.admits_everything else [wanted.why_nothing(told)]),
            ),
        )

    async def _read(self, paths: Sequence[str]) -> list[DocumentText]:
        """Return the texts of documents, in order, without those that give none."""
        texts: dict[str, DocumentText] = {}

        async def one(path: str) -> None:
            try:
                texts[path] = await self._library.read(path)
            except ResearchError:
                return  # counted by its absence

        async with anyio.create_task_group() as group:
            for path in paths:
                group.start_soon(one, path)
        return [texts[path] for path in paths if path in texts]


def _count_terms(texts: Sequence[DocumentText], wanted: frozenset[str]) -> list[_Counted]:
    found: list[_Counted] = []
    for text in texts:
        for passage in passages(text):
            terms = stems(f"{passage.heading}\n{passage.text}")
            counts = Counter(term for term in terms if term in wanted)
            found.append(_Counted(text.path, passage.start_line, passage.end_line, counts, len(terms)))
    return found


def _best(found: Sequence[_Counted], terms: frozenset[str], limit: int) -> tuple[FoundPassage, ...]:
    counts = [Counter({term: n for term, n in each.counts.items() if term in terms}) for each in found]
    scores = bm25(counts, [each.size for each in found])
    order = sorted((at for at, score in enumerate(scores) if score > 0), key=lambda at: (-scores[at], at))
    return tuple(
        FoundPassage(
            path=found[at].path,
            start_line=found[at].start_line,
            end_line=found[at].end_line,
            score=scores[at],
        )
        for at in order[:limit]
    )


def _warnings_of(looked_into: int, documents: int, silent: int) -> tuple[str, ...]:
    warnings = []
    if looked_into < documents:
        warnings.append(
            f"{INCOMPLETE}: {looked_into} of {counted(documents, 'document')} {one_or_many(looked_into, 'was', 'were')} looked into, in the order of their paths; narrow "
            "document_paths to a folder, or use the gateway, which has an index"
        )
    if silent:
        warnings.append(f"{counted(silent, 'document gives', 'documents give')} no text")
    return tuple(warnings)
