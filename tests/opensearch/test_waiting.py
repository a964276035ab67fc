"""Who is told that documents wait to be pushed: whoever may see one of them, and nobody else."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from research_documents.opensearch.client import ClusterClient
from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.layout import CLUSTER_SCHEMA, DocumentRecord, IndexNames, PushState
from research_documents.search.contract import ORDER_MAY_CHANGE
from research_shared.access.scope import Scope, View, narrowed_scope
from research_shared.documents import DocumentInfo
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.library import Library
from support.backends import library_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
FILES = ("open/a.md", "open/b.md", "secret/c.md", "secret/d.pdf")


class MadeUp:
    """A cluster that holds some records and no passage."""

    def __init__(self, library: Library, state: PushState, records: dict[str, DocumentRecord]) -> None:
        self.records, self.state = records, state
        self.engine = OpenSearchEngine(
            library,
            IndexNames(prefix="test"),
            connect=lambda: ClusterClient("http://fake", transport=httpx.MockTransport(self.answer)),
            fresh_s=0.0,
            refresh_s=3600.0,
            now=lambda: NOW,
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        answers: dict[str, Any] = {
            "/test-state/_doc/push": {"_source": self.state.source()},
            "/test-documents/_mapping": {"test-1": {"mappings": {"_meta": {"schema": CLUSTER_SCHEMA}}}},
            "/test-documents/_search": {
                "hits": {
                    "hits": [
                        {"_index": "test-1", "_source": record.source(), "sort": [record.change, path]}
                        for path, record in self.records.items()
                    ]
                }
            },
            "/test-passages/_search": {
                "timed_out": False,
                "_shards": {"total": 1, "successful": 1, "failed": 0},
                "hits": {"hits": []},
            },
        }
        return httpx.Response(200, json=answers[request.url.path])


@pytest.fixture
async def infos(tmp_path: Path) -> dict[str, DocumentInfo]:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("words\n", encoding="utf-8")
    library = library_of(tmp_path)
    return {name: await library.stat(name) for name in FILES}


def made_up(tmp_path: Path, infos: dict[str, DocumentInfo], *, state: PushState, waiting: set[str]) -> MadeUp:
    records = {
        path: DocumentRecord(info=info, version=f"v{number}", digest="d", passages=1, change=number)
        for number, (path, info) in enumerate(infos.items(), 1)
    }
    for path in waiting:
        records[path] = replace(records[path], version="", waits=infos[path])
    return MadeUp(library_of(tmp_path), state, records)


FIRST = PushState(told_at=NOW.isoformat(), listed=4, waiting=2)
LATER = replace(FIRST, agreed_at="2025-01-01T00:00:00+00:00")
SEEN: dict[str, tuple[Scope, str, DocumentFilter, tuple[int, int] | None]] = {
    "everything": (Scope(), "*", EVERY_DOCUMENT, (2, 4)),
    "what is there of what may be seen": (Scope(("open", "secret/d.pdf")), "open/*", EVERY_DOCUMENT, None),
    "the folder in which all is there": (Scope(("open",)), "*", EVERY_DOCUMENT, None),
    "a pattern of that folder": (Scope(), "open/*", EVERY_DOCUMENT, None),
    "the folder that waits": (Scope(("secret",)), "*", EVERY_DOCUMENT, (0, 2)),
    "one document that waits": (Scope(("open", "secret/c.md")), "*", EVERY_DOCUMENT, (2, 3)),
    "a policy": (Scope(views=(View(allow=("**",), deny=("secret",)),)), "*", EVERY_DOCUMENT, None),
    "types": (Scope(), "*", DocumentFilter.of(type="pdf"), (0, 1)),
    "types that are there": (Scope(("open", "secret/d.pdf")), "*", DocumentFilter.of(type="markdown"), None),
    "what only the text tells": (Scope(("secret",)), "*", DocumentFilter.of(author="x"), (0, 2)),
    "nothing": (Scope(()), "*", EVERY_DOCUMENT, None),
}


@pytest.mark.parametrize("state", [FIRST, LATER], ids=["first push", "later push"])
async def test_only_who_may_see_what_waits_is_told_and_only_of_that(
    tmp_path: Path, infos: dict[str, DocumentInfo], state: PushState
) -> None:
    engine = made_up(tmp_path, infos, state=state, waiting={"secret/c.md", "secret/d.pdf"}).engine
    async with engine:
        for name, (scope, pattern, wanted, indexing) in SEEN.items():
            with narrowed_scope(scope):
                outcome = await engine.search("words", file_pattern=pattern, wanted=wanted)
                read = await engine.read_wanted(pattern, wanted)
            assert (outcome.indexing, outcome.truncated) == (indexing, indexing is not None), name
            if indexing is None:
                also = (
                    (ORDER_MAY_CHANGE,)
                    if name
                    in {
                        "what is there of what may be seen",
                        "a pattern of that folder",
                        "types that are there",
                    }
                    else ()
                )
                assert (outcome.warnings, read) == (also, None), name
            elif state is FIRST:
                numbers = f"{indexing[0]} of {indexing[1]} document"
                assert outcome.warnings[0] == read, name
                assert (
                    f"INCOMPLETE: the folder is being pushed to the index for the first time: {numbers}"
                    in read
                )
            else:
                assert outcome.warnings[0].startswith(f"INCOMPLETE: {indexing[1] - indexing[0]} document"), (
                    name
                )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (PushState(listed=4, waiting=2), "the folder is being pushed to the index for the first time"),
        (PushState(agreed_at=NOW.isoformat(), listed=4, waiting=2), "changes are still being pushed"),
    ],
)
async def test_who_may_see_a_part_is_told_while_it_is_not_known_what_waits(
    tmp_path: Path, infos: dict[str, DocumentInfo], state: PushState, said: str
) -> None:
    """As at the beginning of a first push, and from an indexer of an earlier version."""
    engine = made_up(tmp_path, infos, state=state, waiting=set()).engine
    with narrowed_scope(Scope(("open",))):
        outcome = await engine.search("words")
    assert outcome.warnings[0].startswith(f"INCOMPLETE: {said}")
    assert (outcome.truncated, outcome.indexing) == (True, (2, 2))


BROKEN_OFF = "not pushed to the index yet, and nothing was pushed since 2026-01-01 at 23:00 UTC; the operator has to run"


@pytest.mark.parametrize(
    ("state", "waiting", "said"),
    [
        (replace(LATER, worked_at="2026-01-01T23:00:00Z"), 2, f"2 documents are {BROKEN_OFF}"),
        (replace(FIRST, worked_at="2026-01-01T23:00:00Z"), 1, f"1 document is {BROKEN_OFF}"),
        (
            PushState(listed=4, worked_at="2026-01-01T23:00:00Z"),
            0,
            f"some documents are perhaps {BROKEN_OFF}",
        ),
        (
            replace(LATER, told_at="2025-12-31T00:00:00Z"),
            2,
            "2 documents are not pushed to the index yet, and nothing was pushed since 2025-12-31 at 00:00 UTC",
        ),
        (
            replace(LATER, told_at="2025-12-31T00:00:00Z", watching=True, worked_at="2026-01-01T23:59:00Z"),
            2,
            "2 documents are still being pushed to the index; repeat in a minute",
        ),
    ],
    ids=["later push", "first push", "before the listing", "an earlier version", "at work for long"],
)
async def test_a_push_that_was_broken_off_is_not_waited_for(
    tmp_path: Path, infos: dict[str, DocumentInfo], state: PushState, waiting: int, said: str
) -> None:
    engine = made_up(tmp_path, infos, state=state, waiting=set(FILES[:waiting])).engine
    outcome = await engine.search("words")
    assert outcome.warnings[0].startswith(f"INCOMPLETE: {said}")
    assert outcome.truncated


async def test_a_link_that_waits_is_told_to_who_may_see_where_it_leads_now(
    tmp_path: Path, infos: dict[str, DocumentInfo]
) -> None:
    cluster = made_up(tmp_path, infos, state=LATER, waiting=set())
    linked = replace(infos["open/a.md"], target="secret/c.md")
    cluster.records["open/a.md"] = replace(cluster.records["open/a.md"], waits=linked)
    with narrowed_scope(Scope(("open",))):
        assert (await cluster.engine.search("words")).indexing is None
    with narrowed_scope(Scope(("open", "secret"))):
        assert (await cluster.engine.search("words")).indexing == (3, 4)


async def test_a_document_that_begins_to_wait_is_searched_on_as_it_is(
    tmp_path: Path, infos: dict[str, DocumentInfo]
) -> None:
    cluster = made_up(tmp_path, infos, state=LATER, waiting=set())
    async with cluster.engine as engine:
        assert (await engine.search("words")).indexing is None
        before = engine.entry("open/a.md")
        record = cluster.records["open/a.md"]
        cluster.records["open/a.md"] = replace(record, waits=infos["open/a.md"], change=9)
        assert (await engine.search("words")).indexing == (3, 4)
        assert before is not None
        assert engine.entry("open/a.md") is before
        cluster.records["open/a.md"] = replace(record, change=10, hidden=("next",))
        assert (await engine.search("words")).indexing is None
        assert engine.entry("open/a.md") is before
        cluster.records["open/a.md"] = replace(record, change=11, gone=True, version="")
        await engine.search("words")
        assert engine.entry("open/a.md") is None
