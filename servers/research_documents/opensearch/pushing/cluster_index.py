"""The indices of one set of folders on the cluster, as the indexer writes them: made, read, filled, swapped."""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from research_documents.opensearch.client import ClusterClient, ClusterFailed, failure_of, json_line
from research_documents.opensearch.layout import (
    CLUSTER_SCHEMA,
    DocumentRecord,
    IndexNames,
    PushState,
    document_key,
    documents_index,
    passages_index,
    state_index,
    unread_source,
)
from research_documents.opensearch.meaning.field import IndexedModel
from research_shared.logs import get_logger

log = get_logger("research.opensearch")

MAX_BULK_BYTES: Final = 5_000_000
"""Bytes of one bulk request, unless a single passage is larger."""
MAX_BULK_ACTIONS: Final = 5_000
PUSH_ATTEMPTS: Final = 8
"""Attempts of one request of a push: with the waits between them, a cluster may be away for about a minute."""
_PAGE: Final = 1_000
_EXISTS_ALREADY: Final = "resource_already_exists_exception"
_KNN_PLUGIN: Final = "org.opensearch.knn.plugin.KNNPlugin"


class SchemaDiffers(Exception):
    """The indices were made for another version of this program."""

    def __init__(self, schema: str) -> None:
        self.message = (
            f"the index has the schema {schema or '(none)'}, and this version needs {CLUSTER_SCHEMA}: "
            "push all documents again with --full"
        )
        super().__init__(self.message)


class RecordTaken(Exception):
    """Another indexer has written the record of a document that this one was writing, or replaced the indices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """The record of a document, and the (sequence number, primary term) of its last change."""

    record: DocumentRecord
    seen: tuple[int, int]


class ClusterIndex:
    """What an indexer does to the indices. Nothing here looks at the folder. Every method raises `ClusterFailed`.

    Each request has so many `attempts`, but for the first one, which tells whether there is a cluster.
    """

    def __init__(
        self,
        client: ClusterClient,
        names: IndexNames,
        *,
        attempts: int = PUSH_ATTEMPTS,
        max_bulk_bytes: int = MAX_BULK_BYTES,
    ) -> None:
        self.names = names
        self._client = client
        self._attempts = attempts
        self._max_bulk_bytes = max_bulk_bytes
        self._passages = names.passages
        """The index that passages are written to: behind the alias, or a new one that will be."""
        self._documents = names.documents
        self._change = 0
        self.model_of_new: IndexedModel | None = None
        """Whose vectors new indices are made for, if the cluster can compare vectors."""
        self.model: IndexedModel | None = None
        """Whose vectors the indices were made for that are written to; None if they have none."""

    def prepare_state(self) -> None:
        """Make the index of the state, which holds the lease, if it is not there."""
        self._create(self.names.state, state_index(), attempts=1)

    def open(self) -> None:
        """Write to the indices behind the aliases, and make them if they are not there. Delete what a full push left behind.

        Raises:
            SchemaDiffers: they were made for another version of this program.
        """
        behind = {alias: self._behind(alias) for alias in (self.names.passages, self.names.documents)}
        if None in behind.values():
            self.begin_anew()
            self.save_state(
                PushState()
            )  # first: the new indices are empty, and no search may take them for complete
            self.swap()
            return
        for alias, found in behind.items():
            assert found is not None  # noqa: S101  (see above)
            name, meta = found
            if (schema := meta.get("schema", "")) != CLUSTER_SCHEMA:
                raise SchemaDiffers(schema)
            if alias == self.names.passages:
                self._passages, self.model = name, IndexedModel.from_meta(meta)
            else:
                self._documents = name
        self._delete_others()

    def begin_anew(self) -> None:
        """Write to new indices, which are found by their aliases after `swap`."""
        generation = f"{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
        self._passages = f"{self.names.passages}-{generation}"
        self._documents = f"{self.names.documents}-{generation}"
        self.model = self._create_passages(self.model_of_new)
        self._create(self._documents, documents_index(self.model))

    def is_there(self) -> bool:
        """Return whether `open` finds indices."""
        return all(self._behind(alias) for alias in (self.names.passages, self.names.documents))

    def compares_vectors(self) -> bool:
        """Return whether all nodes of the cluster have the k-NN plugin; True if it does not tell."""
        try:
            nodes = self._ask("GET", "/_nodes/plugins")["nodes"]
        except ClusterFailed as failure:
            if failure.status != HTTPStatus.FORBIDDEN:
                raise
            return True
        return all(
            any(plugin.get("classname") == _KNN_PLUGIN for plugin in node.get("plugins", ()))
            for node in nodes.values()
        )

    def _create_passages(self, model: IndexedModel | None) -> IndexedModel | None:
        """Make an index of passages, with vectors if the cluster takes them; return the model that it is made for."""
        if model is not None:
            try:
                self._create(self._passages, passages_index(model))
            except ClusterFailed as failure:
                if failure.status != HTTPStatus.BAD_REQUEST:
                    raise
                log.warning("the cluster takes no vectors", kind=failure.kind, reason=failure.reason)
            else:
                return model
        self._create(self._passages, passages_index())
        return None

    def swap(self) -> None:
        """Put the indices that are written to behind the aliases, both at once, and delete all others."""
        actions: list[dict[str, Any]] = []
        for alias, index in ((self.names.passages, self._passages), (self.names.documents, self._documents)):
            others = (each for each in self._generations(alias) if each != index)
            actions += [{"remove_index": {"index": other}} for other in others]
            actions.append({"add": {"index": index, "alias": alias}})
        self._ask("POST", "/_aliases", {"actions": actions})

    def records(self) -> Iterator[StoredRecord]:
        """Yield the records of all documents, those of documents that are gone included."""
        self._ask("POST", f"/{self._documents}/_refresh")
        after: list[Any] | None = None
        while True:
            body: dict[str, Any] = {
                "size": _PAGE,
                "sort": [{"change": "asc"}],
                "seq_no_primary_term": True,
                "query": {"match_all": {}},
                **({} if after is None else {"search_after": after}),
            }
            hits = self._ask("POST", f"/{self._documents}/_search", body)["hits"]["hits"]
            for hit in hits:
                record = DocumentRecord.from_source(hit["_source"])
                self._change = max(self._change, record.change)
                yield StoredRecord(record=record, seen=(hit["_seq_no"], hit["_primary_term"]))
            if len(hits) < _PAGE:
                return
            after = hits[-1]["sort"]

    def next_change(self) -> int:
        """Return a number for a change: higher than all before, also than those of indices that were replaced."""
        self._change = max(self._change + 1, int(datetime.now(UTC).timestamp() * 1_000_000))
        return self._change

    def write_records(
        self, records: Sequence[DocumentRecord], seen: Mapping[str, tuple[int, int]]
    ) -> dict[str, tuple[int, int]]:
        """Write records that searches see at once. Return the version of each, by path.

        `seen` are the versions that they replace; a record without one is new.

        Raises:
            RecordTaken: another indexer wrote one meanwhile.
        """
        self._check_indices()
        written: dict[str, tuple[int, int]] = {}
        for some in _slices(records, _PAGE):
            lines: list[bytes] = []
            for record in some:
                action: dict[str, Any] = {"_index": self._documents, "_id": document_key(record.path)}
                if (version := seen.get(record.path)) is not None:
                    action |= {"if_seq_no": version[0], "if_primary_term": version[1]}
                lines += (
                    json_line({"index" if version is not None else "create": action}),
                    json_line(record.source()),
                )
            outcomes = self._client.bulk(lines, attempts=self._attempts, refresh=True)
            for record, outcome in zip(some, outcomes, strict=True):
                written[record.path] = self._outcome_of(record, outcome)
        return written

    def _check_indices(self) -> None:
        """Make sure that the indices are those that were made. The cluster makes others under the names of deleted ones.

        Raises:
            RecordTaken: another indexer has replaced them.
        """
        names = (self._passages, self._documents)
        try:
            found = self._ask("GET", f"/{','.join(names)}/_mapping")
        except ClusterFailed as failure:
            if failure.status != HTTPStatus.NOT_FOUND:
                raise
            raise RecordTaken(self._documents) from failure
        if not all(found[name]["mappings"].get("_meta", {}).get("schema") for name in names):
            raise RecordTaken(self._documents)

    def _outcome_of(self, record: DocumentRecord, outcome: Mapping[str, Any]) -> tuple[int, int]:
        if outcome["status"] == HTTPStatus.CONFLICT:
            # An attempt that timed out may have succeeded.
            found = self._ask("GET", f"/{self._documents}/_doc/{document_key(record.path)}")
            if found["_source"]["change"] != record.change:
                raise RecordTaken(record.path)
            return found["_seq_no"], found["_primary_term"]
        if outcome["status"] >= HTTPStatus.BAD_REQUEST:
            raise _of_item(outcome)
        return outcome["_seq_no"], outcome["_primary_term"]

    def write_passages(self, records: Iterable[tuple[str, str, dict[str, Any]]]) -> dict[str, str]:
        """Write the passages of documents, each (path, id, record). Return why the cluster does not take some, by path.

        The next request is built while the cluster works on the one before.
        """
        refused: dict[str, str] = {}
        waiting: Future[None] | None = None
        with ThreadPoolExecutor(1, thread_name_prefix="push") as sender:
            for paths, lines in self._requests(records):
                if waiting is not None:
                    waiting.result()
                waiting = sender.submit(self._send_passages, paths, lines, refused)
            if waiting is not None:
                waiting.result()
        self._ask("POST", f"/{self._passages}/_refresh")
        return refused

    def _requests(
        self, records: Iterable[tuple[str, str, dict[str, Any]]]
    ) -> Iterator[tuple[list[str], list[bytes]]]:
        paths: list[str] = []
        lines: list[bytes] = []
        size = 0
        for path, key, record in records:
            head, body = json_line({"index": {"_index": self._passages, "_id": key}}), json_line(record)
            if paths and (
                size + len(head) + len(body) > self._max_bulk_bytes or len(paths) == MAX_BULK_ACTIONS
            ):
                yield paths, lines
                paths, lines, size = [], [], 0
            paths.append(path)
            lines += (head, body)
            size += len(head) + len(body)
        if paths:
            yield paths, lines

    def _send_passages(self, paths: list[str], lines: list[bytes], refused: dict[str, str]) -> None:
        """Send passages, and those again that the cluster was too busy for."""
        for attempt in range(1, self._attempts + 1):
            outcomes = self._client.bulk(lines, attempts=self._attempts)
            again: list[int] = []
            for number, outcome in enumerate(outcomes):
                if outcome["status"] < HTTPStatus.BAD_REQUEST:
                    continue
                failure = _of_item(outcome)
                if failure.retryable:
                    again.append(number)
                    if attempt == self._attempts:
                        raise failure
                elif failure.status in {
                    HTTPStatus.FORBIDDEN,
                    HTTPStatus.TOO_MANY_REQUESTS,
                    HTTPStatus.NOT_FOUND,
                }:
                    raise failure  # says nothing about the document
                else:
                    refused.setdefault(paths[number], failure.kind or str(failure.status))
            if not again:
                return
            paths = [paths[number] for number in again]
            lines = [line for number in again for line in lines[2 * number : 2 * number + 2]]
            self._client.pause(attempt)

    def remove_passages(self, versions: Iterable[str]) -> None:
        """Remove the passages of these versions. What is not removed is looked for again, after a pause, a few times."""
        for some in _slices(sorted(versions), _PAGE):
            attempt = 0
            while True:
                self._ask("POST", f"/{self._passages}/_refresh")
                answer = self._ask(
                    "POST",
                    f"/{self._passages}/_search",
                    {"size": MAX_BULK_ACTIONS, "_source": False, "query": {"terms": {"version": list(some)}}},
                )
                found = answer["hits"]["hits"]
                failure = _partial() if answer["timed_out"] or answer["_shards"]["failed"] else None
                if not found and failure is None:
                    break
                failure = self._delete_passages([hit["_id"] for hit in found]) or failure
                if failure is None:
                    attempt = 0
                    continue
                attempt += 1
                if not failure.retryable or attempt == self._attempts:
                    raise failure
                self._client.pause(attempt)

    def _delete_passages(self, keys: Sequence[str]) -> ClusterFailed | None:
        """Delete passages. Return a failure if some are left, one that cannot be helped rather than others."""
        lines = [json_line({"delete": {"_index": self._passages, "_id": key}}) for key in keys]
        failures = [
            _of_item(outcome)
            for outcome in (self._client.bulk(lines, attempts=self._attempts) if lines else ())
            if outcome["status"] >= HTTPStatus.BAD_REQUEST and outcome["status"] != HTTPStatus.NOT_FOUND
        ]
        return min(failures, key=lambda failure: failure.retryable, default=None)

    def forget(self, paths: Iterable[str]) -> None:
        """Delete the records of documents that have been gone for long."""
        for some in _slices(list(paths), _PAGE):
            lines = [
                json_line({"delete": {"_index": self._documents, "_id": document_key(path)}}) for path in some
            ]
            self._client.bulk(lines, attempts=self._attempts, refresh=True)

    def save_state(self, state: PushState) -> None:
        """Keep how far pushing is."""
        self._ask("PUT", f"/{self.names.state}/_doc/push?refresh=true", state.source())

    def save_unread(self, paths: Sequence[str]) -> None:
        """Keep which files are of types that are not read. Readers look for the list when its key in the state is another one."""
        self._ask("PUT", f"/{self.names.state}/_doc/unread", unread_source(paths))

    def state(self) -> PushState | None:
        """Return how far pushing is; None if nothing was ever pushed, or something else is kept there."""
        try:
            return PushState.from_source(self._ask("GET", f"/{self.names.state}/_doc/push")["_source"])
        except ClusterFailed as failure:
            if failure.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        except (KeyError, ValueError) as error:
            log.warning(
                "what is kept about pushing cannot be read; all is looked at again", error=repr(error)
            )
            return None

    def schema(self) -> str | None:
        """Return the schema of the indices; None if there are none."""
        found = self._behind(self.names.passages)
        return found and found[1].get("schema", "")

    def vector_model(self) -> IndexedModel | None:
        """Return whose vectors the index has; None if it has none, or is not there."""
        found = self._behind(self.names.passages)
        return None if found is None else IndexedModel.from_meta(found[1])

    def counts(self) -> tuple[int, int, int]:
        """Return how many documents can be searched, how many give no text, and how many passages there are."""
        readable = {"bool": {"filter": [{"term": {"complete": True}}, {"term": {"reason": ""}}]}}
        without = {"bool": {"filter": [{"term": {"complete": True}}], "must_not": [{"term": {"reason": ""}}]}}
        documents, unreadable, passages = (
            self._ask("POST", f"/{index}/_count", {"query": query})["count"]
            for index, query in (
                (self.names.documents, readable),
                (self.names.documents, without),
                (self.names.passages, {"match_all": {}}),
            )
        )
        return documents, unreadable, passages

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._client.request(method, path, body, attempts=self._attempts)

    def _create(self, index: str, body: Mapping[str, Any], *, attempts: int | None = None) -> None:
        try:
            self._client.request("PUT", f"/{index}", body, attempts=attempts or self._attempts)
        except ClusterFailed as failure:
            if failure.kind != _EXISTS_ALREADY:
                raise

    def _behind(self, alias: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the name of the index behind an alias and what is kept with it, or None without one."""
        try:
            found = self._ask("GET", f"/{alias}/_mapping")
        except ClusterFailed as failure:
            if failure.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        name, described = next(iter(found.items()))
        return name, described["mappings"].get("_meta", {})

    def _generations(self, alias: str) -> list[str]:
        """Return the names of all indices that were made for an alias."""
        ours = re.compile(rf"{re.escape(alias)}-\d{{14}}-[0-9a-f]{{6}}")
        found = self._ask("GET", f"/{alias}-*/_alias")
        return sorted(name for name in found if ours.fullmatch(name))

    def _delete_others(self) -> None:
        for alias, index in ((self.names.passages, self._passages), (self.names.documents, self._documents)):
            for other in self._generations(alias):
                if other != index:
                    with suppress(ClusterFailed):  # in the way of nobody
                        self._ask("DELETE", f"/{other}")


def _partial() -> ClusterFailed:
    return ClusterFailed(
        "a part of the index on the search cluster does not answer",
        hint="Look at the health of its indices; push again when they are green or yellow.",
        retryable=True,
    )


def _of_item(outcome: Mapping[str, Any]) -> ClusterFailed:
    """Return the failure of one action of a bulk request."""
    error = outcome.get("error")
    kind, reason = (
        ("", "") if not isinstance(error, dict) else (error.get("type", ""), error.get("reason", ""))
    )
    return failure_of(outcome["status"], kind=kind, reason=reason)


def _slices(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(values), size):
        yield values[at : at + size]
