"""When the passages of an index get vectors, and why some have none.

Vectors take much longer than all else. Where much is to be pushed, the words come first, and count; the vectors of what is there
are made after that, in rounds if a folder is followed.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from research_documents.opensearch.layout import DocumentRecord
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.reading import PassageCount, batches
from research_documents.opensearch.pushing.records import DocumentRecords
from research_documents.opensearch.pushing.report import PushReport
from research_shared.documents import DocumentInfo, DocumentText

if TYPE_CHECKING:
    from research_documents.opensearch.pushing.vectors import VectorMaker

_EMBEDDED_FILES: Final = 16
_EMBEDDED_FILE_BYTES: Final = 256 * 1024
"""Documents and bytes of files that are pushed together where vectors are made."""
NOT_POSSIBLE: Final = "the search cluster has no k-NN plugin"
MADE_WITHOUT: Final = "the index was made without them; push with --full to have them"
NO_MODEL: Final = "the last push had no embedding model"
BEING_MADE: Final = "they are still being made"
FAILED_FOR_A_WHILE: Final = "the embedding model did not answer for a while"
FAILS_WITH_SOME: Final = "the model fails with the others"
"""Why passages have no vector, as clauses."""


class VectorPlan:
    """Decides when the passages of an index get vectors, and says why some have none.

    `maker` makes them, where there is a model. `clock` gives seconds.
    """

    def __init__(
        self,
        cluster: ClusterIndex,
        records: DocumentRecords,
        maker: "VectorMaker | None",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.round_s: float | None = None
        """Seconds for which a push makes the vectors of words that are there, if these are bounded."""
        self.has_more = False
        """Whether the last push left vectors to the next one."""
        self._cluster = cluster
        self._records = records
        self._maker = maker
        self._clock = clock
        self._begun_at = float("-inf")
        self._words_alone = False
        """Whether no vectors are made at the moment."""
        self._impossible = ""
        """Why there can be no vectors, as a clause."""

    async def open_indices(self, *, anew: bool) -> None:
        """Open the indices, or make new ones: for vectors, where there is a model and the cluster can compare them.

        Raises:
            SchemaDiffers: the indices were made for another version of this program.
            ConfigurationError: they have the vectors of another model; or the model does not answer, and new ones have to be made
                for it.
            ClusterFailed: the cluster fails.
        """
        open_them = self._cluster.begin_anew if anew else self._cluster.open
        if self._maker is None:
            await to_thread.run_sync(open_them)
            return
        can = await to_thread.run_sync(self._cluster.compares_vectors)
        new = anew or not await to_thread.run_sync(self._cluster.is_there)
        self._cluster.model_of_new = await self._maker.model_for_new_index() if new and can else None
        await to_thread.run_sync(open_them)
        self._impossible = MADE_WITHOUT if can and not new else NOT_POSSIBLE
        await self._maker.use(self._cluster.model)

    async def close(self) -> None:
        """Release the processes and connections of the model."""
        if self._maker is not None:
            await self._maker.close()

    async def try_model(self) -> None:
        """Find out whether the model answers, if there are vectors to make.

        Raises:
            ModelDiffers: it is another one than that of the index.
        """
        if self._maker is not None and any(record.lacks_vectors for record in self._records.by_path.values()):
            await self._maker.try_model()

    @property
    def makes_vectors(self) -> bool:
        """Whether passages that are pushed now get vectors, as long as the model answers."""
        return self._maker is not None and self._maker.model is not None and not self._words_alone

    def lacks_possible(self, record: DocumentRecord | None) -> bool:
        """Return whether passages of a document have no vector that could be made now."""
        return (
            record is not None
            and record.lacks_vectors
            and self.makes_vectors
            and self._maker is not None
            and not self._maker.problem
        )

    def begin(self, changed: Sequence[DocumentInfo], *, words_first: bool) -> None:
        """A push of documents begins: without vectors if it is much, and `words_first`."""
        is_much = (
            len(changed) > _EMBEDDED_FILES or sum(info.size_bytes for info in changed) > _EMBEDDED_FILE_BYTES
        )
        self._begun_at = self._clock()
        self.has_more = is_much and words_first and self.makes_vectors
        self._words_alone = is_much and words_first

    def end(self, report: PushReport) -> None:
        """A push of documents has ended: have its report say how many lack vectors, and why."""
        self._words_alone = False
        self._note_lacking(report)

    def ends_round(self, *, is_more: bool) -> bool:
        """Return whether a push for vectors ends here: the model fails, or the time is over and there `is_more`."""
        if self._maker is not None and self._maker.problem:
            return True
        if not is_more or self.round_s is None or self._clock() - self._begun_at < self.round_s:
            return False
        self.has_more = True
        return True

    def batches(self, changed: Sequence[DocumentInfo]) -> Iterator[list[DocumentInfo]]:
        """Yield documents in batches: small ones where vectors are made."""
        if self.makes_vectors:
            return batches(changed, files=_EMBEDDED_FILES, file_bytes=_EMBEDDED_FILE_BYTES)
        return batches(changed)

    def slices(
        self, documents: Iterable[tuple[DocumentText, DocumentInfo, str]], counts: Mapping[str, PassageCount]
    ) -> AsyncIterator[Iterator[tuple[str, str, dict[str, Any]]]] | None:
        """Return passages with vectors, as `VectorMaker.slices` does; None if none are made now."""
        if self._maker is None or not self.makes_vectors:
            return None
        return self._maker.slices(documents, counts)

    def problem(self) -> str:
        """Return why passages of an index with vectors have none, as a clause; empty if all have one."""
        if self._cluster.model is None:
            return ""
        self._note_lacking(report := PushReport())
        fails = any(record.unembeddable for record in self._records.present())
        return report.no_vectors or (FAILS_WITH_SOME if fails else "")

    def _note_lacking(self, report: PushReport) -> None:
        report.without_vectors, report.no_vectors, report.embedding_failed = 0, "", False
        lacking = sum(record.lacks_vectors for record in self._records.by_path.values())
        if not lacking or (self._maker is None and self._cluster.model is None):
            return
        report.without_vectors = lacking
        if self._maker is None:
            report.no_vectors = NO_MODEL
        elif self._cluster.model is None:
            report.no_vectors = self._impossible
        elif self.has_more and not self._maker.problem:
            report.no_vectors = BEING_MADE
        else:
            report.no_vectors, report.embedding_failed = self._maker.problem or FAILED_FOR_A_WHILE, True
