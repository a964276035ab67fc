"""Writes new versions of documents: first named as hidden, then their passages, then made to count."""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from anyio import to_thread

from research_documents.opensearch.layout import DocumentRecord, passage_records
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.reading import PassageCount, Reading
from research_documents.opensearch.pushing.records import DocumentRecords
from research_documents.opensearch.pushing.report import PushReport
from research_documents.opensearch.pushing.vector_plan import VectorPlan
from research_shared.logs import get_logger

log = get_logger("research.opensearch")

NOT_TAKEN: Final = "could not be indexed"
"""The reason of a document whose passages the cluster refuses."""


class VersionWriter:
    """Brings documents that were read to the cluster. `save_state` is awaited now and then while vectors are made."""

    def __init__(
        self,
        cluster: ClusterIndex,
        records: DocumentRecords,
        vectors: VectorPlan,
        *,
        save_state: Callable[[], Awaitable[None]],
    ) -> None:
        self.counted: set[str] = set()
        """Paths of what the push at work has counted as pushed."""
        self._cluster = cluster
        self._records = records
        self._vectors = vectors
        self._save_state = save_state

    async def push(self, batch: Sequence[Reading], report: PushReport) -> None:
        """Push what was read, and note in a report what became of it.

        Raises:
            RecordTaken: another indexer writes.
            ModelDiffers: the model failed, and is another one now than that of the index.
            ClusterFailed: the cluster fails.
        """
        new: dict[str, str] = {}
        final: list[DocumentRecord] = []
        for reading in batch:
            path, record = reading.info.path, self._records.by_path.get(reading.info.path)
            if reading.text is None:
                if reading.reason:
                    report.unreadable.append((path, reading.reason))
                    final.append(self._without_text(reading))
                elif record is not None and not record.gone:
                    report.removed += record.complete
                    final.append(self._records.as_gone(path))
            elif (
                record is not None
                and _same_passages(record, reading, self._readers_of(reading))
                and not self._vectors.lacks_possible(record)
            ):
                report.unchanged += 1
                readers = self._readers_of(reading)
                final.append(replace(record, info=reading.info, readers=readers, hidden=(), waits=None))
            else:
                new[path] = secrets.token_hex(8)
        if new:
            final += await self._write_versions(
                [reading for reading in batch if reading.info.path in new], new, report
            )
        await self._records.finish(final, write_first=True)

    async def _write_versions(
        self, batch: Sequence[Reading], new: dict[str, str], report: PushReport
    ) -> list[DocumentRecord]:
        """Write the passages of new versions, and return the records that make them count."""
        await self._records.write([self._with_hidden(reading, new[reading.info.path]) for reading in batch])
        counts = {path: PassageCount() for path in new}
        refused = await self._write_passages(batch, new, counts)
        final: list[DocumentRecord] = []
        for reading in batch:
            path = reading.info.path
            if path in refused:
                log.warning("the cluster refuses a document", document=path, error=refused[path])
                report.failed.append((path, refused[path]))
                final.append(
                    DocumentRecord(info=reading.info, reason=NOT_TAKEN, hidden=self._records.versions(path))
                )
                continue
            assert reading.text is not None  # noqa: S101  (has a new version)
            record = DocumentRecord.of(
                reading.info,
                reading.text,
                version=new[path],
                passages=counts[path].passages,
                readers=self._readers_of(reading),
            )
            if path not in self.counted:
                self.counted.add(path)
                report.pushed += 1
                report.passages += counts[path].passages
            final.append(
                replace(
                    record,
                    hidden=tuple(v for v in self._records.versions(path) if v != new[path]),
                    embedded=counts[path].embedded,
                    unembeddable=counts[path].unembeddable,
                )
            )
        return final

    async def _write_passages(
        self, batch: Sequence[Reading], new: Mapping[str, str], counts: Mapping[str, PassageCount]
    ) -> dict[str, str]:
        """Write the passages of new versions, with vectors if the index has any. Return why the cluster refuses some, by path."""
        documents = [
            (reading.text, reading.info, new[reading.info.path])
            for reading in batch
            if reading.text is not None
        ]
        if (slices := self._vectors.slices(documents, counts)) is not None:
            refused: dict[str, str] = {}
            async for some in slices:
                refused |= await to_thread.run_sync(self._cluster.write_passages, some)
                await self._save_state()  # making vectors takes long
            return refused

        def records() -> Iterator[tuple[str, str, dict[str, Any]]]:
            for text, info, version in documents:
                for key, record in passage_records(text, info, version):
                    counts[info.path].passages += 1
                    yield info.path, key, record

        return await to_thread.run_sync(self._cluster.write_passages, records())

    def _with_hidden(self, reading: Reading, version: str) -> DocumentRecord:
        """Return the record of a document with a version that does not count yet."""
        record = self._records.by_path.get(reading.info.path) or DocumentRecord(info=reading.info)
        return replace(record, hidden=(*record.hidden, version))

    def _without_text(self, reading: Reading) -> DocumentRecord:
        return DocumentRecord(
            info=reading.info,
            reason=reading.reason,
            readers=self._readers_of(reading),
            hidden=self._records.versions(reading.info.path),
        )

    def _readers_of(self, reading: Reading) -> str:
        """Return what the record says of the readers: nothing if the document is to be read again the next time."""
        return self._records.readers if reading.lasting else ""


def _same_passages(record: DocumentRecord, reading: Reading, readers: str) -> bool:
    """Return whether a file that was touched has the passages that are there: the same text, on the same day."""
    text = reading.text
    return (
        text is not None
        and bool(record.version)
        and record.digest == text.digest
        and record.metadata == text.metadata
        and record.readers in {readers, ""}
        and record.info.media_type == reading.info.media_type
        and record.info.target == reading.info.target
        and record.info.modified.date() == reading.info.modified.date()
    )
