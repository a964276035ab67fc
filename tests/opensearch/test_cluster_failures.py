"""What becomes of a search when the cluster does not answer, and of all that does not need it."""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastmcp import Client

from research_documents.opensearch.client import ClusterClient
from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.freshness import PushedFreshness
from research_documents.opensearch.layout import (
    CLUSTER_SCHEMA,
    DocumentRecord,
    IndexNames,
    PushState,
    document_key,
    passage_records,
)
from research_documents.search import engine_from_settings
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.executors import PoolName
from research_documents.search.freshness import FreshnessChecker
from research_documents.search.request import Mode
from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.documents import DocumentText
from research_shared.errors import BackendUnavailable
from research_shared.reading.filters import EVERY_DOCUMENT
from research_shared.reading.library import Library
from research_shared.serving.health import index_check
from research_shared.settings import Settings
from support.backends import library_of
from support.results import answer_of, error_of

MODES: tuple[Mode, ...] = ("keyword", "regex")
Handler = Callable[[httpx.Request], httpx.Response]
NAMES = IndexNames(prefix="test")


def refusing(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def unauthorized(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(401)


def strange(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"_source": {"push": {"something": "else"}}})


def engine_of(library: Library, handler: Handler, **given: Any) -> OpenSearchEngine:
    def connect() -> ClusterClient:
        return ClusterClient("http://cluster:9200", transport=httpx.MockTransport(handler))

    return OpenSearchEngine(library, NAMES, connect=connect, fresh_s=0.0, refresh_s=3600.0, **given)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    (tmp_path / "a.md").write_text("honest words\n", encoding="utf-8")
    return library_of(tmp_path)


@pytest.mark.parametrize(
    ("handler", "said", "retryable"),
    [
        (refusing, "cannot be reached", True),
        (unauthorized, "credentials", False),
        (strange, "not pushed by this program", False),
    ],
)
async def test_a_search_without_the_cluster_fails_in_one_sentence(
    library: Library, handler: Handler, said: str, *, retryable: bool
) -> None:
    engine = engine_of(library, handler)
    with pytest.raises(BackendUnavailable, match=said) as failure:
        await engine.search("honest")
    assert failure.value.retryable is retryable
    assert "Listing and reading documents still work" in (failure.value.hint or "")
    assert "cluster:9200" not in f"{failure.value} {failure.value.hint}"
    ready = await index_check(lambda: engine.indexing, problem=lambda: engine.problem)()
    assert (ready.ok, ready.required, ready.detail["state"]) == (False, False, "unavailable")
    assert said in ready.detail["problem"]


async def test_listing_and_reading_work_without_the_cluster(library: Library, tmp_path: Path) -> None:
    settings = Settings(
        roots=(Root("research", tmp_path),), search_url="http://cluster:9200", extract_workers=1
    )
    server = build_documents_server(settings, library=library, engine=engine_of(library, refusing))
    async with Client(server) as client:
        listed = answer_of(await client.call_tool("list_research_documents", {}))
        read = answer_of(await client.call_tool("read_document", {"document_path": "a.md"}))
        failed = await client.call_tool("search_documents", {"query": "honest"}, raise_on_error=False)
        chosen = answer_of(await client.call_tool("list_research_documents", {"author": "Ruiz"}))
    assert [document["path"] for document in listed["documents"]] == ["a.md"]
    assert "honest words" in json.dumps(read)
    assert (error_of(failed)["code"], error_of(failed)["retryable"]) == ("backend_unavailable", True)
    assert chosen["warnings"][0].startswith("INCOMPLETE: the search cluster cannot be reached")


def test_the_settings_choose_the_engine(library: Library, tmp_path: Path) -> None:
    settings = Settings(roots=(Root("research", tmp_path),), search_url="http://cluster:9200")
    assert isinstance(engine_from_settings(library, settings), OpenSearchEngine)


Answers = dict[str, Any]


async def answers_of(library: Library, version: str = "v1", change: int = 1) -> Answers:
    """What a cluster answers that has one document, by the path of the request."""
    text, info = await library.read("a.md"), await library.stat("a.md")
    ((key, passage),) = passage_records(text, info, version)
    assert key == f"{document_key('a.md')}:{version}:0"
    record = DocumentRecord.of(info, text, version=version, passages=1, readers="r").source()
    hit = {"_index": "test-documents-1", "_source": record | {"change": change}, "sort": [change, "a.md"]}
    return {
        "/test-state/_doc/push": {
            "_source": PushState(agreed_at="2999-01-01T00:00:00+00:00", listed=1).source()
        },
        "/test-documents/_mapping": {"test-documents-1": {"mappings": {"_meta": {"schema": CLUSTER_SCHEMA}}}},
        "/test-documents/_search": {"hits": {"hits": [hit]}},
        "/test-passages/_search": {
            "timed_out": False,
            "_shards": {"total": 2, "successful": 2, "failed": 0},
            "hits": {"hits": [{"_score": 1.5, "_source": passage, "sort": [1.5, "a.md", 0]}]},
            "aggregations": {
                "documents": {"sum_other_doc_count": 0, "buckets": [{"key": document_key("a.md")}]}
            },
        },
    }


@pytest.mark.parametrize(("query", "said"), [("(honest", "missing )"), ("...", "no word")])
async def test_a_query_that_cannot_be_used_is_named_although_there_is_nothing_to_search(
    library: Library, query: str, said: str
) -> None:
    answers = await answers_of(library)
    answers["/test-documents/_search"]["hits"]["hits"] = []
    del answers["/test-passages/_search"]  # it is not asked
    engine = engine_of(library, lambda request: httpx.Response(200, json=answers[request.url.path]))
    mode: Mode = "regex" if said == "missing )" else "keyword"
    outcome = await engine.search(query, mode=mode)
    assert outcome.hits == ()
    assert said in outcome.warnings[0]
    for each in MODES:
        assert (await engine.search("honest", mode=each)).warnings == ()


async def test_a_part_that_does_not_answer_is_said_first(library: Library) -> None:
    answers = await answers_of(library)
    answers["/test-passages/_search"]["_shards"] = {"total": 2, "successful": 1, "failed": 1}
    outcome = await engine_of(
        library, lambda request: httpx.Response(200, json=answers[request.url.path])
    ).search("honest")
    assert [(hit.document, hit.score) for hit in outcome.hits] == [("a.md", 1.5)]
    assert outcome.warnings == ("INCOMPLETE: a part of the index does not answer; repeat in a few seconds",)
    assert outcome.truncated


@pytest.mark.parametrize("mode", ["keyword", "regex"])
async def test_a_document_that_is_pushed_again_during_a_search_is_found(library: Library, mode: Mode) -> None:
    answers, later = await answers_of(library), await answers_of(library, "v2", change=2)
    loop, asked = asyncio.get_running_loop(), 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.path == "/test-passages/_search":
            asked += 1
            if asked == 1:  # another search learns of the new version before this one is answered
                answers.update(later)
                asyncio.run_coroutine_threadsafe(engine.read_wanted("*", EVERY_DOCUMENT), loop).result(60)
        return httpx.Response(200, json=answers[request.url.path])

    engine = engine_of(library, handler)
    async with engine:
        outcome = await engine.search("honest", mode=mode)
    assert [hit.document for hit in outcome.hits] == ["a.md"]
    assert asked == 2
    assert not outcome.truncated


async def test_a_search_that_the_index_never_stands_still_for_is_truncated(library: Library) -> None:
    answers, change = await answers_of(library), 1
    again = [await answers_of(library, f"v{number}", change=number) for number in range(2, 12)]
    loop = asyncio.get_running_loop()

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal change
        if request.url.path == "/test-passages/_search":
            answers.update(again[change - 1])
            change += 1
            asyncio.run_coroutine_threadsafe(engine.read_wanted("*", EVERY_DOCUMENT), loop).result(60)
        return httpx.Response(200, json=answers[request.url.path])

    engine = engine_of(library, handler)
    async with engine:
        outcome = await engine.search("honest")
    assert (outcome.hits, outcome.truncated) == ((), True)


@pytest.mark.parametrize("away", [False, True])
async def test_searches_that_wait_for_a_look_at_what_was_pushed_share_it(
    library: Library, *, away: bool
) -> None:
    answers = await answers_of(library)
    held, looks, arrived = threading.Event(), 0, asyncio.Event()
    loop = asyncio.get_running_loop()

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal looks
        if request.url.path == "/test-state/_doc/push":
            looks += 1
            loop.call_soon_threadsafe(arrived.set)
            assert held.wait(60)
            if away:
                refusing(request)
        return httpx.Response(200, json=answers[request.url.path])

    engine = engine_of(library, handler)
    async with engine, anyio.create_task_group() as tasks:
        await arrived.wait()  # the look that begins with the engine
        found: list[bool] = []

        async def search() -> None:
            try:
                found.append(bool((await engine.search("honest")).hits))
            except BackendUnavailable:
                found.append(False)

        for _ in range(20):
            tasks.start_soon(search)
        await anyio.wait_all_tasks_blocked()
        held.set()
    assert found == [not away] * 20
    assert looks == 2


async def test_what_a_search_finds_outdated_while_others_are_looked_at_again_is_kept(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    freshness = PushedFreshness(library)
    entries = [
        CatalogEntry(id=number, info=replace(await library.stat("a.md"), path=f"{number}.md"))
        for number in (1, 2)
    ]
    freshness.outdated = was = {"1.md": 1, "2.md": 2}

    def changed(_: FreshnessChecker, asked: Iterable[CatalogEntry]) -> frozenset[str]:
        freshness.outdated |= {"2.md": 3, "new.md": 4}  # as searches do in the event loop
        return frozenset({"1.md"} & {entry.path for entry in asked})

    monkeypatch.setattr(FreshnessChecker, "changed", changed)
    was = dict(was)
    freshness.forget(freshness.as_pushed(entries, was), was)
    assert freshness.outdated == {"1.md": 1, "2.md": 3, "new.md": 4}


@pytest.mark.parametrize(
    ("watching", "rescan_s", "minutes", "old"),
    [
        (True, 30.0, 14, False),
        (True, 30.0, 16, True),
        (True, 600.0, 99, False),
        (True, 600.0, 101, True),
        (False, 30.0, 16, False),
        (False, 30.0, 27 * 60, True),
    ],
)
async def test_an_indexer_that_follows_the_folder_and_is_silent_is_noticed(
    library: Library, minutes: int, rescan_s: float, *, watching: bool, old: bool
) -> None:
    answers, now = await answers_of(library), datetime(2026, 1, 2, tzinfo=UTC)
    state = PushState(agreed_at=(now - timedelta(minutes=minutes)).isoformat(), listed=1, watching=watching)
    answers["/test-state/_doc/push"] = {"_source": state.source()}

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers[request.url.path])

    outcome = await engine_of(library, handler, rescan_s=rescan_s, now=lambda: now).search("honest")
    said = [warning.partition(" on ")[0] for warning in outcome.warnings]
    assert said == (["INCOMPLETE: the index last agreed with the folder"] if old else [])


async def test_all_pages_of_a_search_are_asked_of_the_same_copy_of_the_index(library: Library) -> None:
    answers = await answers_of(library)
    asked: dict[str, list[str]] = {}

    def handler(request: httpx.Request) -> httpx.Response:
        asked.setdefault(request.url.path, []).append(request.url.params.get("preference", ""))
        return httpx.Response(200, json=answers[request.url.path])

    for query in ("honest", "honest", "words"):
        await engine_of(library, handler).search(query)
    first, again, other = asked["/test-passages/_search"]
    assert first == again != other
    assert first.isalnum()
    assert "" not in asked["/test-documents/_search"]


async def test_passages_without_a_record_are_left_out_until_they_have_one(library: Library) -> None:
    answers, lost = await answers_of(library), await answers_of(library, "lost")
    hits = answers["/test-passages/_search"]["hits"]["hits"]
    stray = lost["/test-passages/_search"]["hits"]["hits"]
    left_out: list[list[str]] = []
    now = [0.0]

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/test-passages/_search":
            return httpx.Response(200, json=answers[request.url.path])
        body = json.loads(request.content)["query"]["bool"]
        left_out.append([value for each in body.get("must_not", []) for value in each["terms"]["version"]])
        found = [hit for hit in [*hits, *stray] if hit["_source"]["version"] not in left_out[-1]]
        return httpx.Response(200, json={**answers["/test-passages/_search"], "hits": {"hits": found}})

    engine = engine_of(library, handler, clock=lambda: now[0])
    async with engine:
        assert len((await engine.search("honest")).hits) == 1
        assert left_out == [[], ["lost"]]
        stray[0]["_source"]["version"] = "next"
        now[0] = 60.0
        assert len((await engine.search("honest")).hits) == 1
        assert left_out[2:] == [["lost"], ["next"]]  # what is not found any more is not named for ever
        record = answers["/test-documents/_search"]["hits"]["hits"][0]
        record["_source"] |= {"hidden": ["hidden"], "change": 2}
        stray[0]["_source"]["version"] = "hidden"
        found = await engine.search("honest")
        assert (len(found.hits), found.truncated) == (1, False)
        record["_source"] |= {"hidden": [], "version": "hidden", "change": 3}
        hits.clear()
        assert len((await engine.search("honest")).hits) == 1


@pytest.mark.parametrize("context_lines", [0, 1])
async def test_documents_that_cannot_be_read_in_time_are_left_out_and_named(
    tmp_path: Path, context_lines: int
) -> None:
    """Either to see whether files that were touched still say the same, or for lines around hits."""
    now = [0.0]
    read: list[str] = []

    class SlowLibrary(Library):
        async def read(self, path: str) -> DocumentText:
            read.append(path)
            now[0] += 3.0
            return await super().read(path)

    (tmp_path / "a.md").write_text("honest words\n", encoding="utf-8")
    library = SlowLibrary(library_of(tmp_path).roots)
    answers = await answers_of(library)
    one, hits = (
        answers["/test-documents/_search"]["hits"]["hits"][0],
        answers["/test-passages/_search"]["hits"]["hits"],
    )
    names = ["a.md", "b.md", "c.md"]
    records, passages = [], []
    for number, name in enumerate(names, 1):
        (tmp_path / name).write_text("honest words\n", encoding="utf-8")
        moment = one["_source"]["mtime_ns"] if context_lines else 1
        os.utime(tmp_path / name, ns=(moment, moment))
        version = {"version": f"v{number}"}
        records.append({**one, "_source": {**one["_source"], "path": name, "change": number, **version}})
        key = {"document": document_key(name), "path": name}
        passages.append({**hits[0], "_source": {**hits[0]["_source"], **key, **version}})
    answers["/test-documents/_search"]["hits"]["hits"] = records
    answers["/test-passages/_search"]["hits"]["hits"] = passages
    read.clear()

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers[request.url.path])

    outcome = await engine_of(library, handler, clock=lambda: now[0]).search(
        "honest", context_lines=context_lines
    )
    assert read == ["a.md", "b.md"]
    assert sorted(hit.document for hit in outcome.hits) == ["a.md", "b.md"]
    assert outcome.truncated
    assert outcome.warnings == ("INCOMPLETE: no time was left to read 1 document; left out: c.md",)


@pytest.mark.parametrize("mode", ["keyword", "regex"])
async def test_a_search_that_comes_too_late_to_its_turn_asks_for_nothing(
    library: Library, mode: Mode
) -> None:
    answers = await answers_of(library)
    now, asked = [0.0], 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += request.url.path == "/test-passages/_search"
        return httpx.Response(200, json=answers[request.url.path])

    engine = engine_of(library, handler, clock=lambda: now[0])
    run = engine._pools.run

    async def late(pool: PoolName, work: Callable[[], Any]) -> Any:
        if pool == "ranking":
            now[0] += 6.0
        return await run(pool, work)

    engine._pools.run = late  # type: ignore[method-assign]
    with pytest.raises(BackendUnavailable, match="wait too long for its turn") as failure:
        await engine.search("honest", mode=mode)
    assert failure.value.retryable
    assert asked == 0


async def test_eight_searches_ask_the_cluster_at_once(library: Library) -> None:
    answers, together = await answers_of(library), threading.Barrier(8)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/test-passages/_search":
            together.wait(60)
        return httpx.Response(200, json=answers[request.url.path])

    engine = engine_of(library, handler)
    async with engine:
        found = await asyncio.gather(*(engine.search("honest") for _ in range(8)))
    assert [len(each.hits) for each in found] == [1] * 8
