"""A cluster in memory: what an indexer and its lease ask of one, with conditions on versions and refreshes as OpenSearch has them.

It knows no analysis and no ranking. The same tests run on a real node, see `support.opensearch`.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from research_documents.opensearch.client import ClusterClient
from research_documents.opensearch.layout import IndexNames

Answer = tuple[int, dict[str, Any]]


def error(status: int, kind: str, reason: str = "") -> Answer:
    return status, {"error": {"type": kind, "reason": reason}, "status": status}


@dataclass
class Stored:
    source: dict[str, Any]
    seq_no: int


@dataclass
class FakeIndex:
    body: dict[str, Any]
    stored: dict[str, Stored] = field(default_factory=dict)
    visible: dict[str, Stored] = field(default_factory=dict)
    """What searches find: the state of the last refresh."""
    written: int = 0
    read_only: bool = False


@dataclass(frozen=True)
class Cluster:
    """A cluster, and how the names of one test's indices begin. `fake` is None where it is a real node."""

    names: IndexNames
    fake: "FakeCluster | None"
    url: str = "http://fake"
    clients: list[ClusterClient] = field(default_factory=list)
    """All that are to be closed after the test."""

    def client(self) -> ClusterClient:
        """A client of the cluster, which does not wait before it asks again."""
        transport = self.fake.transport() if self.fake else None
        self.clients.append(ClusterClient(self.url, transport=transport, sleep=lambda _: None))
        return self.clients[-1]


class FakeCluster:
    """Answers requests as a transport of httpx. `before` is called with each request, and may answer it or raise.

    With `knn`, it says that it has the k-NN plugin, and takes the field of the vectors. It compares none.
    """

    def __init__(self, *, knn: bool = False) -> None:
        self.knn = knn
        self.indices: dict[str, FakeIndex] = {}
        self.aliases: dict[str, str] = {}
        self.before: Callable[[httpx.Request], httpx.Response | None] = lambda _: None

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if (given := self.before(request)) is not None:
            return given
        status, body = self._answer(request)
        return httpx.Response(status, json=body)

    def _answer(self, request: httpx.Request) -> Answer:
        method, path, query = request.method, request.url.path.strip("/"), dict(request.url.params)
        if path == "_bulk":
            return self._bulk(request.content.decode(), refresh="refresh" in query)
        body = json.loads(request.content) if request.content else {}
        if path == "_nodes/plugins":
            plugins = [{"classname": "org.opensearch.knn.plugin.KNNPlugin"}] if self.knn else []
            return 200, {"nodes": {"a": {"plugins": plugins}}}
        if path == "_aliases":
            return self._swap(body["actions"])
        name, _, rest = path.partition("/")
        if method == "PUT" and not rest:
            return self._create(name, body)
        target = self.aliases.get(name, name)
        if rest.startswith("_doc/") and target in self.indices:
            return self._document(self.indices[target], rest.removeprefix("_doc/"), body, method, query)
        return self._of_index(target, method, rest, body)

    def _of_index(self, name: str, method: str, rest: str, body: dict[str, Any]) -> Answer:
        if rest == "_alias":
            pattern = re.compile(name.replace("*", ".*"))
            return 200, {each: {} for each in self.indices if pattern.fullmatch(each)}
        if (method, rest) in {("GET", "_mapping"), ("GET", "_settings")} and self.indices.keys() >= set(
            name.split(",")
        ):
            return 200, {each: self._described(self.indices[each], rest) for each in name.split(",")}
        index = self.indices.get(name)
        if index is None:
            return error(404, "index_not_found_exception")
        match (method, rest):
            case ("DELETE", ""):
                del self.indices[name]
                self.aliases = {alias: index for alias, index in self.aliases.items() if index != name}
            case ("PUT", "_settings"):
                index.read_only = bool(body.get("index.blocks.read_only_allow_delete"))
            case (_, "_refresh"):
                index.visible = dict(index.stored)
            case (_, "_count"):
                return 200, {"count": len(list(self._found(index, body["query"])))}
            case (_, "_search"):
                shards = {"total": 1, "successful": 1, "failed": 0}
                hits = {"hits": self._search(index, body)}
                return 200, {"timed_out": False, "_shards": shards, "hits": hits}
            case unknown:
                raise AssertionError(unknown)
        return 200, {"acknowledged": True}

    def _described(self, index: FakeIndex, rest: str) -> dict[str, Any]:
        if rest == "_mapping":
            return {"mappings": index.body["mappings"]}
        blocks = {"read_only_allow_delete": "true"} if index.read_only else {}
        return {"settings": {"index": {"blocks": blocks}}}

    def _document(
        self, index: FakeIndex, key: str, body: dict[str, Any], method: str, query: dict[str, str]
    ) -> Answer:
        if method == "PUT":
            create = query.get("op_type") == "create"
            return self._write(index, key, body, create=create, condition=query.get("if_seq_no"))
        if key not in index.stored:
            return 404, {"found": False}
        return 200, self._shown(key, index.stored[key])

    def _create(self, name: str, body: dict[str, Any]) -> Answer:
        if name in self.indices:
            return error(400, "resource_already_exists_exception")
        if "knn" in body["settings"]["index"] and not self.knn:
            return error(400, "illegal_argument_exception", "unknown setting [index.knn]")
        self.indices[name] = FakeIndex(body)
        return 200, {"acknowledged": True}

    def _swap(self, actions: list[dict[str, Any]]) -> Answer:
        for action in actions:
            ((what, about),) = action.items()
            if what == "remove_index":
                del self.indices[about["index"]]
            else:
                self.aliases[about["alias"]] = about["index"]
        return 200, {"acknowledged": True}

    def _write(
        self, index: FakeIndex, key: str, source: dict[str, Any], *, create: bool, condition: Any
    ) -> Answer:
        if index.read_only:
            return error(
                429, "cluster_block_exception", "disk usage exceeded flood-stage watermark, index has a block"
            )
        unknown = source.keys() - index.body["mappings"].get("properties", source).keys()
        if unknown:
            return error(400, "strict_dynamic_mapping_exception")
        present = index.stored.get(key)
        if (create and present) or (
            condition is not None and (present is None or present.seq_no != int(condition))
        ):
            return error(409, "version_conflict_engine_exception")
        index.written += 1
        index.stored[key] = Stored(source, index.written)
        return 201, {"_seq_no": index.written, "_primary_term": 1, "status": 201}

    def _bulk(self, text: str, *, refresh: bool) -> Answer:
        lines = iter(text.splitlines())
        items: list[dict[str, Any]] = []
        touched: list[FakeIndex] = []
        for line in lines:
            ((what, about),) = json.loads(line).items()
            index = self.indices.setdefault(about["_index"], FakeIndex({"mappings": {}}))
            touched.append(index)
            if what == "delete":
                gone = index.stored.pop(about["_id"], None)
                items.append({what: {"status": 200 if gone else 404}})
                continue
            status, answer = self._write(
                index,
                about["_id"],
                json.loads(next(lines)),
                create=what == "create",
                condition=about.get("if_seq_no"),
            )
            items.append({what: {**answer, "status": status}})
        for index in touched if refresh else []:
            index.visible = dict(index.stored)
        return 200, {"items": items}

    def _shown(self, key: str, stored: Stored) -> dict[str, Any]:
        return {"_id": key, "_source": stored.source, "_seq_no": stored.seq_no, "_primary_term": 1}

    def _found(self, index: FakeIndex, query: dict[str, Any]) -> Iterator[tuple[str, Stored]]:
        for key, stored in index.visible.items():
            if self._matches(stored.source, query):
                yield key, stored

    def _matches(self, source: dict[str, Any], query: dict[str, Any]) -> bool:
        match query:
            case {"match_all": _}:
                return True
            case {"terms": terms}:
                ((name, values),) = terms.items()
                return source.get(name) in values
            case {"term": term}:
                ((name, value),) = term.items()
                return bool(source.get(name) == value)
            case {"bool": parts}:
                return all(self._matches(source, each) for each in parts.get("filter", [])) and not any(
                    self._matches(source, each) for each in parts.get("must_not", [])
                )
            case unknown:
                raise AssertionError(unknown)

    def _search(self, index: FakeIndex, body: dict[str, Any]) -> list[dict[str, Any]]:
        found = list(self._found(index, body["query"]))
        hits = [self._shown(key, stored) for key, stored in found]
        if "sort" in body:
            hits = [{**hit, "sort": [hit["_source"]["change"]]} for hit in hits]
            hits.sort(key=lambda hit: hit["sort"])
            after = body.get("search_after", [-1])
            hits = [hit for hit in hits if hit["sort"] > after]
        return hits[: body["size"]]
