"""The records of the documents, as the one indexer that may write them knows them."""

from collections.abc import Sequence
from dataclasses import replace

from anyio import to_thread

from research_documents.opensearch.layout import DocumentRecord, iso_now
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.reading import is_pushed
from research_shared.documents import DocumentInfo


class DocumentRecords:
    """The records of all documents on the cluster. Each that is written replaces what was read or written before.

    `readers` is the key of those that read texts now. Requests are sent in threads that are not abandoned: what they began to
    write, they end.
    """

    def __init__(self, cluster: ClusterIndex, *, readers: str) -> None:
        self.readers = readers
        self.by_path: dict[str, DocumentRecord] = {}
        self._cluster = cluster
        self._seen: dict[str, tuple[int, int]] = {}

    def clear(self) -> None:
        """Know of no document."""
        self.by_path, self._seen = {}, {}

    async def load(self) -> None:
        """Read what the cluster has.

        Raises:
            ClusterFailed: the cluster fails.
        """
        await to_thread.run_sync(self._load)

    def _load(self) -> None:
        for stored in self._cluster.records():
            self.by_path[stored.record.path] = stored.record
            self._seen[stored.record.path] = stored.seen

    def present(self) -> list[DocumentRecord]:
        """Return the records of the documents of which all that can be searched is there."""
        return [record for record in self.by_path.values() if record.complete]

    def has_words(self, info: DocumentInfo) -> bool:
        """Return whether the cluster has the words of this state of a file."""
        return is_pushed(self.by_path.get(info.path), info, self.readers)

    def versions(self, path: str) -> tuple[str, ...]:
        """Return all versions of a document whose passages may be on the cluster."""
        record = self.by_path.get(path)
        if record is None:
            return ()
        return (*record.hidden, record.version) if record.version else record.hidden

    def as_gone(self, path: str) -> DocumentRecord:
        """Return the record that says that a document is gone."""
        return replace(
            self.by_path[path], gone=True, version="", reason="", hidden=self.versions(path), waits=None
        )

    async def write(self, records: Sequence[DocumentRecord]) -> None:
        """Write records, each under the number of a new change.

        Raises:
            RecordTaken: another indexer writes.
            ClusterFailed: the cluster fails.
        """
        now = iso_now()
        numbered = [replace(record, change=self._cluster.next_change(), pushed_at=now) for record in records]
        written = await to_thread.run_sync(self._cluster.write_records, numbered, self._seen)
        self._seen |= written
        self.by_path |= {record.path: record for record in numbered}

    async def finish(self, records: Sequence[DocumentRecord], *, write_first: bool = False) -> None:
        """Remove the hidden passages of records, after writing the records themselves if they are new. Raises as `write`."""
        if write_first and records:
            await self.write(records)
        hidden = [record for record in records if record.hidden]
        if hidden:
            versions = [version for record in hidden for version in record.hidden]
            await to_thread.run_sync(self._cluster.remove_passages, versions)
            await self.write([replace(record, hidden=()) for record in hidden])

    async def forget_gone(self, before: str) -> None:
        """Delete the records of documents that were found gone before a time, in ISO 8601.

        Raises:
            ClusterFailed: the cluster fails.
        """
        gone = [path for path, record in self.by_path.items() if record.gone and record.pushed_at < before]
        if gone:
            await to_thread.run_sync(self._cluster.forget, gone)
            for path in gone:
                del self.by_path[path], self._seen[path]
