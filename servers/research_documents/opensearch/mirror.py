"""What a server knows of the documents on the cluster: the records of all of them, and how far pushing is.

Choosing documents by scope, pattern and filter, telling copies and versions apart, and facts of a listing work on these records
as they do on the catalog of the embedded index. Only passages and their texts stay on the cluster.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Protocol

from research_documents.opensearch.client import ClusterFailed
from research_documents.opensearch.layout import (
    CLUSTER_SCHEMA,
    DocumentRecord,
    IndexNames,
    PushState,
    document_key,
    unread_key,
)
from research_documents.opensearch.meaning.field import IndexedModel
from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import MOST_SELECTIONS
from research_shared.access.globs import PathChoice
from research_shared.access.scope import Scope
from research_shared.documents import DocumentInfo, Identity
from research_shared.reading.filters import DocumentFilter

MIRROR_PAGE: Final = 2_000
"""Records that are fetched at a time."""


class Cluster(Protocol):
    """Asks the cluster, from any thread; see `ClusterClient`."""

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the cluster's answer, or raise `ClusterFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorUpdate:
    """What a mirror was told: how far pushing is, and the records that changed, or with `anew` all that there are.

    `state` is None while nothing was ever pushed. `unread` are the files of types that are not read, None if they are as they were.
    `index` is the one that the records are in, `change` the last of theirs, `model` what its vectors were made with, if it has any.
    """

    state: PushState | None
    unread: tuple[str, ...] | None = None
    records: tuple[DocumentRecord, ...] = ()
    anew: bool = False
    index: str = ""
    change: int = 0
    model: IndexedModel | None = None


class DocumentMirror:
    """Follows the records of the documents, in a catalog without texts.

    `fetch` asks for what has changed, in a thread; `apply` takes it over, in the event loop, as all that reads the catalog.
    """

    def __init__(self, cluster: Cluster, names: IndexNames) -> None:
        self.catalog = Catalog(0)
        self.state: PushState | None = None
        """How far pushing is; None before the first refresh, and while nothing was ever pushed."""
        self.model: IndexedModel | None = None
        """What the vectors of the index were made with; None if it has none."""
        self.hidden: frozenset[str] = frozenset()
        """Versions of passages that do not count yet, or no more."""
        self.versions: frozenset[str] = frozenset()
        """Versions of passages that count."""
        self.waiting = lru_cache(maxsize=32)(self._chosen_waiting)
        """Return the paths of the documents that are chosen, and wanted as far as one can tell, and wait to be pushed."""
        self.passages = (0, 0)
        """The passages of all documents: those with a vector for each of their parts, and all."""
        self._passages_of: dict[int, tuple[Collection[CatalogEntry], tuple[int, int]]] = {}
        """Those of selections, with these, by their address."""
        self._waiting: dict[str, DocumentInfo] = {}
        self._unread = ""
        self._cluster = cluster
        self._preference = secrets.token_hex(8)
        """Has the same copy of the index answer for all pages."""
        self._names = names
        self._records: dict[str, DocumentRecord] = {}
        self._numbers: dict[str, int] = {}
        self._keys: dict[int, str] = {}
        self._index = ""
        self._change = 0

    def fetch(self, *, anew: bool = False) -> MirrorUpdate:
        """Return what has changed since the last update; everything the first time, after a full push, and with `anew`.

        Raises:
            ClusterFailed: the cluster does not answer, or its index is one of another version of this program.
        """
        try:
            return self._fetched(anew=anew)
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterFailed(
                "the index on the search cluster holds something that was not pushed by this program",
                hint="Push the folder again: research-assistant index push --full.",
            ) from error

    def _fetched(self, *, anew: bool) -> MirrorUpdate:
        state = self._pushed()
        if state is None:
            return MirrorUpdate(state=None, anew=True)
        since = 0 if anew else self._change
        records, index = self._changed_since(since)
        model = self.model
        # The last record that is known comes again. If not, the index is another one.
        if index != self._index:
            model = self._model_of_schema()
            if since:
                records, index = self._changed_since(0)
            anew = True
        change = max((record.change for record in records), default=0)
        return MirrorUpdate(
            state=state,
            unread=self._unread_files(state),
            records=tuple(records),
            anew=anew,
            index=index,
            change=change,
            model=model,
        )

    def apply(self, update: MirrorUpdate) -> None:
        """Take an update over."""
        self.state = update.state
        if update.unread is not None:
            self._unread = unread_key(update.unread)
            self.catalog.found_unread(update.unread)
        if update.anew:
            self.catalog.clear()
            self._records, self._numbers, self._keys, self._waiting = {}, {}, {}, {}
            self.passages = (0, 0)
            self._index, self._change, self.model = update.index, update.change, update.model
        for record in update.records:
            self._put(record)
        self._change = max(self._change, update.change)
        if update.records or update.anew:
            self.waiting.cache_clear()
            self._passages_of.clear()
            known = self._records.values()
            self.hidden = frozenset(version for record in known for version in record.hidden)
            self.versions = frozenset(record.version for record in known if record.version)

    def _chosen_waiting(self, paths: PathChoice, scope: Scope, wanted: DocumentFilter) -> tuple[str, ...]:
        matches = paths.compiled()
        return tuple(
            path
            for path, info in self._waiting.items()
            if scope.shows(info) and matches(path) and wanted.admits_info(info)
        )

    def record(self, number: int) -> DocumentRecord | None:
        """Return the record that the entry with this id was made of; None if it was replaced."""
        return self._records.get(self._keys.get(number, ""))

    def passages_of(self, entries: Collection[CatalogEntry]) -> tuple[int, int]:
        """Return how many passages of documents have a vector for each of their parts, and how many they have.

        A tuple, which cannot change, is counted once for each change of the records.
        """
        _, counted = self._passages_of.get(id(entries), ((), None))
        if counted is None:
            records = (self.record(entry.id) for entry in entries)
            embedded = sum(record.embedded for record in records if record is not None)
            counted = embedded, sum(entry.passages for entry in entries)
            if isinstance(entries, tuple):
                if len(self._passages_of) == MOST_SELECTIONS:
                    self._passages_of.clear()
                self._passages_of[id(entries)] = entries, counted  # held, so that no other gets its address
        return counted

    def key(self, number: int) -> str:
        """Return the key under which the cluster knows the document of an entry."""
        return self._keys[number]

    def number(self, key: str) -> int | None:
        """Return the id of the entry of the document that the cluster knows under a key."""
        return self._numbers.get(key)

    def number_of(self, key: str, version: str) -> int | None:
        """Return the id of the entry whose passages these are; None if they do not count, or not any more."""
        record = self._records.get(key)
        return self._numbers.get(key) if record is not None and record.version == version else None

    def _put(self, record: DocumentRecord) -> None:
        key, path = document_key(record.path), record.path
        known = self._records.get(key)
        if known is not None and known.change >= record.change:
            return
        self._waiting.pop(path, None)
        if record.waits is not None:
            self._waiting[path] = record.waits
        if known is not None and _shown(known) == _shown(record):
            self._records[key] = record
            return
        if (number := self._numbers.pop(key, None)) is not None:
            self.catalog.remove(path)
            self.catalog.forget([number])
            del self._keys[number]
            assert known is not None  # noqa: S101  (its entry has a number)
            self._count(-known.embedded, -known.passages)
        self._records[key] = record
        if record.complete:
            entry = _entry_of(self.catalog.new_id(), record)
            self._numbers[key], self._keys[entry.id] = entry.id, key
            self.catalog.put(entry)
            self._count(record.embedded, record.passages)

    def _count(self, embedded: int, passages: int) -> None:
        self.passages = self.passages[0] + embedded, self.passages[1] + passages

    def _pushed(self) -> PushState | None:
        try:
            found = self._cluster.request("GET", f"/{self._names.state}/_doc/push")
        except ClusterFailed as failure:
            if failure.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return PushState.from_source(found["_source"])

    def _unread_files(self, state: PushState) -> tuple[str, ...] | None:
        """Return the files of types that are not read; None if they are known."""
        if state.unread == self._unread:
            return None
        if not state.unread:
            return ()
        return tuple(
            self._cluster.request("GET", f"/{self._names.state}/_doc/unread")["_source"]["push"]["unread"]
        )

    def _model_of_schema(self) -> IndexedModel | None:
        """Return what the vectors of the index were made with, if it has any and is one of this version."""
        model = None
        for mappings in self._cluster.request("GET", f"/{self._names.documents}/_mapping").values():
            meta = mappings["mappings"].get("_meta", {})
            model = IndexedModel.from_meta(meta)
            if meta.get("schema") != CLUSTER_SCHEMA:
                raise ClusterFailed(
                    "the index on the search cluster was pushed by another version of this program",
                    hint="Push the folder again with this version: research-assistant index push --full.",
                )
        return model

    def _changed_since(self, since: int) -> tuple[list[DocumentRecord], str]:
        """Return the records of the change `since` and later, and the index that they are in."""
        records: list[DocumentRecord] = []
        index, after = "", None
        while True:
            body: dict[str, Any] = {
                "size": MIRROR_PAGE,
                "query": {"range": {"change": {"gte": since}}},
                "sort": [{"change": "asc"}, {"path": "asc"}],
            }
            if after is not None:
                body["search_after"] = after
            address = f"/{self._names.documents}/_search?preference={self._preference}"
            found = self._cluster.request("POST", address, body)["hits"]["hits"]
            records += [DocumentRecord.from_source(hit["_source"]) for hit in found]
            if found:
                index, after = found[-1]["_index"], found[-1]["sort"]
            if len(found) < MIRROR_PAGE:
                return records, index


def _shown(record: DocumentRecord) -> DocumentRecord:
    """Return what of a record an entry is made of."""
    return replace(record, hidden=(), change=0, pushed_at="", readers="", waits=None)


def _entry_of(number: int, record: DocumentRecord) -> CatalogEntry:
    identity = record.info.identity
    return CatalogEntry(
        id=number,
        info=replace(
            record.info, identity=Identity.elsewhere(size=identity.size, mtime_ns=identity.mtime_ns)
        ),
        reason=record.reason,
        gap=record.gap,
        digest=record.digest,
        metadata=record.metadata,
        pages=record.pages,
        text_bytes=record.text_bytes,
        is_ascii=False,  # nobody has looked
        passages=record.passages,
    )
