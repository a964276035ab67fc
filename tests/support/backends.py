"""Both places where the index can be, for tests of what a search promises: in the process, or on a real cluster.

A test that takes `backend` runs once for each of them, see `support.opensearch`. On the cluster, a folder is pushed when an
engine over it is asked for: all of it, in one request. Folders of the same content share an index.

So does a test of servers that is marked `IN_EACH_PLACE`: there, an indexer pushes what changed before each search.
"""

import asyncio
import contextvars
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_documents.opensearch.client import ClusterClient, json_line
from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.layout import (
    DocumentRecord,
    IndexNames,
    PushState,
    document_key,
    documents_index,
    passage_records,
    passages_index,
    state_index,
)
from research_documents.opensearch.pushing import ClusterIndex, Indexer
from research_documents.search import DocumentSearch, SearchEngine, engine_from_settings
from research_shared.access.roots import Root, RootsPolicy
from research_shared.documents import DocumentInfo
from research_shared.errors import ResearchError
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.opensearch import cluster_url, new_prefix

IN_EACH_PLACE = pytest.mark.usefixtures("index_place")
"""A test of servers, which runs once for each place where their index can be."""
PATIENCE_S = 120.0
"""How long a loaded machine may take for one request."""


@dataclass(kw_only=True)
class Pushed:
    """An index on the cluster that a test writes record by record. `change` is the number of the last change."""

    names: IndexNames = field(default_factory=lambda: IndexNames(prefix=new_prefix()))
    change: int = 0
    generation: int = 1

    def create(self) -> None:
        """Create the indices."""
        for alias, body in self._bodies.items():
            self._request("PUT", f"/{alias}-{self.generation}", {**body, "aliases": {alias: {}}})
        self._request("PUT", f"/{self.names.state}", state_index())

    def create_next(self, *, after: int) -> None:
        """Create the indices of this generation, and have the aliases lead to them instead of those of the one before."""
        for alias, body in self._bodies.items():
            self._request("PUT", f"/{alias}-{self.generation}", body)
            actions = [
                {"remove_index": {"index": f"{alias}-{after}"}},
                {"add": {"index": f"{alias}-{self.generation}", "alias": alias}},
            ]
            self._request("POST", "/_aliases", {"actions": actions})

    def set_schema(self, schema: str) -> None:
        """Let another version have pushed the documents."""
        self._request("PUT", f"/{self.names.documents}/_mapping", {"_meta": {"schema": schema}})

    def passage_lines(self, key: str, passage: dict[str, Any]) -> list[bytes]:
        """The lines that write a passage."""
        return [self._action(self.names.passages, key), json_line(passage)]

    @property
    def _bodies(self) -> dict[str, dict[str, Any]]:
        return {self.names.passages: passages_index(), self.names.documents: documents_index()}

    async def records_of(self, library: Library, infos: Sequence[DocumentInfo]) -> list[bytes]:
        """The lines that push these documents."""
        lines: list[bytes] = []
        for info in infos:
            self.change += 1
            version = f"v{self.change}"
            try:
                text = await library.read(info.path)
            except ResearchError as error:
                record = DocumentRecord(info=info, reason=getattr(error, "reason", error.code))
            else:
                passages = list(passage_records(text, info, version))
                for key, passage in passages:
                    lines += self.passage_lines(key, passage)
                record = DocumentRecord.of(
                    info, text, version=version, passages=len(passages), readers="test"
                )
            lines += self.lines_of(replace(record, change=self.change))
        return lines

    def lines_of(self, record: DocumentRecord) -> list[bytes]:
        """The lines that write a record."""
        return [self._action(self.names.documents, document_key(record.path)), json_line(record.source())]

    def lines_of_state(self, state: PushState) -> list[bytes]:
        """The lines that write how far pushing is."""
        return [self._action(self.names.state, "push"), json_line(state.source())]

    def write(self, lines: Sequence[bytes]) -> None:
        """Write lines so that they can be searched."""
        client = ClusterClient(cluster_url(), timeout_s=PATIENCE_S)
        outcomes = client.bulk(lines, refresh=True)
        client.close()
        assert [outcome["error"] for outcome in outcomes if "error" in outcome] == []

    async def push(self, library: Library, *, state: PushState | None = None) -> None:
        """Create the indices and push all documents of a library; a push that ended just now, unless `state` says otherwise."""
        self.create()
        infos = await library.documents()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        ended = PushState(begun_at=now, agreed_at=now, listed=len(infos))
        self.write([*await self.records_of(library, infos), *self.lines_of_state(state or ended)])

    def engine(self, library: Library, **options: Any) -> OpenSearchEngine:
        """An engine that searches this index, and looks at what was pushed before each search."""
        return OpenSearchEngine(
            library,
            self.names,
            connect=lambda: ClusterClient(cluster_url(), timeout_s=PATIENCE_S),
            **{"fresh_s": 0.0, "refresh_s": 3600.0, "deadline_s": PATIENCE_S, **options},
        )

    def delete(self) -> None:
        """Delete the indices."""
        found = httpx.get(f"{cluster_url()}/_cat/indices/{self.names.prefix}-*?h=index", timeout=PATIENCE_S)
        for index in found.text.split():
            httpx.delete(f"{cluster_url()}/{index}", timeout=PATIENCE_S)

    def _request(self, method: str, path: str, body: dict[str, Any]) -> None:
        client = ClusterClient(cluster_url(), timeout_s=PATIENCE_S)
        client.request(method, path, body)
        client.close()

    def _action(self, index: str, key: str) -> bytes:
        return json_line({"index": {"_index": index, "_id": key}})


def library_of(folder: Path) -> Library:
    """A library over one folder."""
    return Library(RootsPolicy([Root("research", folder)]))


class Backend:
    """Makes engines over folders, with the index in the process (`embedded`) or on a cluster (`opensearch`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pushed: dict[str, Pushed] = {}

    async def engine(self, folder: Path, *, library: Library | None = None, **options: Any) -> DocumentSearch:
        """An engine over a folder as it is now."""
        library = library or library_of(folder)
        if self.name == "embedded":
            return SearchEngine(library, watch=False, **options)
        key = _content(folder)
        if key not in self._pushed:
            pushed = Pushed()
            await pushed.push(library)
            self._pushed[key] = pushed
        return self._pushed[key].engine(library, **options)

    def close(self) -> None:
        """Delete all that was pushed."""
        while self._pushed:
            self._pushed.popitem()[1].delete()


class FollowedEngine(OpenSearchEngine):
    """An engine over an index of its own, with an indexer that is never behind: before each look, it pushes what changed."""

    def __init__(self, library: Library, settings: Settings) -> None:
        names = IndexNames(prefix=new_prefix())
        super().__init__(
            library,
            names,
            connect=self._connected,
            deadline_s=max(settings.search_deadline_s, PATIENCE_S),
            refresh_s=3600.0,
            fresh_s=0.0,
        )

    def _connected(self) -> ClusterClient:
        return ClusterClient(cluster_url(), timeout_s=PATIENCE_S)

    async def _open(self) -> None:
        self._pushing = asyncio.Lock()
        self._writer: ClusterClient | None = None
        self._listed: Any = None
        await super()._open()
        await self._refresh()

    async def _close(self) -> None:
        await super()._close()
        if self._writer is not None:
            self._writer.close()
            await asyncio.to_thread(Pushed(names=self._names).delete)

    async def _refresh(self, *, anew: bool = False) -> None:
        # The indexer lists everything, whatever the caller's scope is.
        pushing = asyncio.get_running_loop().create_task(self._push(), context=contextvars.Context())
        await pushing
        await super()._refresh(anew=anew)

    async def _push(self) -> None:
        async with self._pushing:
            listed = await self._library.survey()
            if self._writer is None:
                self._writer = self._connected()
                index = ClusterIndex(self._writer, self._names)
                await asyncio.to_thread(index.prepare_state)
                self._indexer = Indexer(self._library, index)
                await self._indexer.open()
            if listed != self._listed:
                await self._indexer.push_all()
                self._listed = listed


@contextmanager
def in_place(name: str) -> Iterator[None]:
    """Have the servers that are built meanwhile search with the index in the process (`embedded`) or on a cluster (`opensearch`)."""
    with pytest.MonkeyPatch.context() as patch:
        if name != "embedded":
            for module in ("research_documents.server", "research_gateway.app"):
                patch.setattr(f"{module}.{engine_from_settings.__name__}", FollowedEngine)
        yield


def _content(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(
                f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape")
            )
            found.update(path.read_bytes())
    return found.hexdigest()
