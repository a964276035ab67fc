"""Searches on a real node: what they may see, what they rest on, and what they say about that."""

import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from research_documents.opensearch.engine import OpenSearchEngine
from research_documents.opensearch.layout import DocumentRecord, PushState, passage_records
from research_documents.search import SearchEngine, SearchOutcome
from research_documents.search.request import Mode
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.access.scope import View
from research_shared.documents import DocumentText
from research_shared.errors import BackendUnavailable
from research_shared.reading.filters import DocumentFilter
from research_shared.reading.library import Library
from support.backends import Pushed, library_of
from support.pdf_files import plain_pdf

MODES: tuple[Mode, ...] = ("keyword", "regex")
FILES = {
    "bees.md": "---\nauthor: Ana Ruiz\ntags: [insects, honey]\ndate: 2021-05-04\n---\n# Bees\n\nThe honey bee dances.\n",
    "papers/wasps.md": "---\nauthor: Ben Ott\ndate: 2023\n---\n# Wasps\n\nA wasp makes no honey.\n",
    "papers/2024/ants.txt": "Ants look for honey.\nThey walk in a line.\n",
    "Papers 2/draft-ants.md": "# Ants\n\nA draft about honey and ants.\n",
    "secret/plan.md": "The honey is in the cellar.\n",
    "secret/deep/plan.txt": "More honey is below.\n",
}


class CountingLibrary(Library):
    """A library that says what was read of it."""

    def __init__(self, roots: RootsPolicy) -> None:
        super().__init__(roots)
        self.read_paths: list[str] = []

    async def read(self, path: str) -> DocumentText:
        self.read_paths.append(path)
        return await super().read(path)


class Asking(OpenSearchEngine):
    """An engine that says what it asked the cluster for."""

    asked: list[tuple[str, Mapping[str, Any] | None]]

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        self.asked = [*getattr(self, "asked", []), (path, body)]
        return super().request(method, path, body)


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("pushed"), FILES)
    (folder / "pages.pdf").write_bytes(plain_pdf("first honey page", "second page of wax"))
    (folder / "broken.pdf").write_bytes(b"no pdf")
    return folder


@pytest.fixture(scope="module")
async def pushed(cluster: str, folder: Path) -> AsyncIterator[Pushed]:
    """A folder that is pushed once for the tests that leave it as it is."""
    assert cluster
    made = Pushed()
    await made.push(library_of(folder))
    yield made
    made.delete()


@pytest.fixture
async def own(cluster: str) -> AsyncIterator[Pushed]:
    """An index of the test's own."""
    assert cluster
    made = Pushed()
    yield made
    made.delete()


def rounded(outcome: SearchOutcome) -> list[Any]:
    return [hit._replace(score=hit.score and round(hit.score, 4)) for hit in outcome.hits]


def documents(outcome: SearchOutcome) -> list[str]:
    return [hit.document for hit in outcome.hits]


SCOPES = {
    "everything": Scope(),
    "a folder": Scope(("papers",)),
    "a document and a folder": Scope(("bees.md", "secret/deep")),
    "nothing": Scope(()),
    "a view": Scope(views=(View(allow=("**",), deny=("secret",)),)),
    "patterns": Scope(("papers", "Papers 2"), views=(View(allow=("**/*.md",), deny=("**/draft*",)),)),
}
CHOICES: dict[str, dict[str, Any]] = {
    "all": {},
    "folder": {"file_pattern": "papers/**"},
    "suffix": {"file_pattern": "*.txt"},
    "letters": {"file_pattern": "PAPERS*/**"},
    "type": {"wanted": DocumentFilter.of(type="pdf")},
    "author": {"wanted": DocumentFilter.of(author="ruiz")},
    "tags": {"wanted": DocumentFilter.of(tags="honey")},
    "dated": {"wanted": DocumentFilter.of(dated_after="2023")},
    "context": {"snippet": "context"},
    "passage": {"snippet": "passage"},
    "lines": {"context_lines": 1},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES.keys())
async def test_who_sees_a_part_gets_the_answer_of_that_part(
    folder: Path, pushed: Pushed, scope: Scope, mode: Mode
) -> None:
    library = library_of(folder)
    here = SearchEngine(library, watch=False, index_wait_s=600, deadline_s=60)
    async with here, pushed.engine(library) as there:
        for choice in CHOICES.values():
            with narrowed_scope(scope):
                expected = await here.search("honey", mode=mode, **choice)
                found = await there.search("honey", mode=mode, **choice)
            ordered = sorted(rounded(found)) == sorted(
                rounded(expected)
            )  # scores count what nobody may see, there as here
            assert ordered, choice
            assert (found.total_documents, found.unreadable) == (
                expected.total_documents,
                expected.unreadable,
            )


async def test_the_scope_is_in_every_query(folder: Path, pushed: Pushed) -> None:
    library = library_of(folder)
    engine = pushed.engine(library)
    asking = Asking(library, pushed.names, connect=engine._connect, deadline_s=60, fresh_s=0)
    with narrowed_scope(Scope(("papers",))):
        await asking.search("honey")
        await asking.search("hon[e]y", mode="regex")
    searches = [body for path, body in asking.asked if path.startswith(f"/{pushed.names.passages}/")]
    assert searches
    for body in searches:
        assert body is not None
        assert {"terms": {"folders": ["papers"]}} in body["query"]["bool"]["filter"]
        assert {"terms": {"target_folders": ["papers"]}} in body["query"]["bool"]["filter"]


async def test_a_page_is_named_without_reading_the_document(folder: Path, pushed: Pushed) -> None:
    library = CountingLibrary(RootsPolicy([Root("research", folder)]))
    outcome = await pushed.engine(library).search("wax", snippet="context")
    (hit,) = outcome.hits
    assert (hit.document, hit.page, hit.matched_text) == ("pages.pdf", 2, "second page of wax")
    assert library.read_paths == []


async def test_a_regex_search_reads_only_documents_that_can_match(folder: Path, pushed: Pushed) -> None:
    library = CountingLibrary(RootsPolicy([Root("research", folder)]))
    outcome = await pushed.engine(library).search(r"cellar\b", mode="regex")
    assert documents(outcome) == ["secret/plan.md"]
    assert library.read_paths == ["secret/plan.md"]


async def test_pages_of_an_answer_follow_one_another(folder: Path, pushed: Pushed) -> None:
    async with pushed.engine(library_of(folder)) as engine:
        for mode in MODES:
            whole = await engine.search("honey", mode=mode, limit=50)
            paged: list[Any] = []
            cursor = None
            for _ in whole.hits:
                page = await engine.search("honey", mode=mode, limit=2, cursor=cursor)
                paged += page.hits
                if (cursor := page.next_cursor) is None:
                    break
            assert paged == list(whole.hits)
            assert len(paged) == 8


async def pushed_pair(own: Pushed, folder: Path) -> OpenSearchEngine:
    write(folder, {"a.md": "honest words\n", "b.md": "honest too\n"})
    library = library_of(folder)
    await own.push(library)
    return own.engine(library)


@pytest.mark.parametrize("mode", MODES)
async def test_a_document_that_changed_is_left_out_and_the_answer_says_so(
    own: Pushed, tmp_path: Path, mode: Mode
) -> None:
    engine = await pushed_pair(own, tmp_path)
    write(tmp_path, {"a.md": "clever words, and honest\n"})
    outcome = await engine.search("honest", mode=mode)
    assert documents(outcome) == ["b.md"]
    assert outcome.warnings[0] == (
        "INCOMPLETE: 1 document was changed or removed after it was pushed to the index; left out: a.md"
    )
    assert (outcome.truncated, outcome.total_documents) == (True, 1)
    with narrowed_scope(Scope(("b.md",))):
        assert (await engine.search("honest", mode=mode)).warnings == ()


async def test_a_document_comes_back_when_it_is_pushed_again_or_as_it_was(
    own: Pushed, tmp_path: Path
) -> None:
    engine = await pushed_pair(own, tmp_path)
    before = (tmp_path / "a.md").stat()
    write(tmp_path, {"a.md": "clever words\n"})
    assert documents(await engine.search("honest")) == ["b.md"]
    write(tmp_path, {"a.md": "honest words\n"})
    os.utime(tmp_path / "a.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert documents(await engine.search("honest")) == ["a.md", "b.md"]
    write(tmp_path, {"a.md": "clever words\n"})
    assert documents(await engine.search("honest")) == ["b.md"]
    library = library_of(tmp_path)
    own.write(await own.records_of(library, [await library.stat("a.md")]))
    outcome = await engine.search("clever")
    assert (documents(outcome), outcome.warnings) == (["a.md"], ())
    assert documents(await engine.search("words")) == ["a.md"]


async def test_a_file_that_was_only_touched_is_shown(own: Pushed, tmp_path: Path) -> None:
    engine = await pushed_pair(own, tmp_path)
    os.utime(tmp_path / "a.md", ns=(1, 1))
    for _ in range(2):
        outcome = await engine.search("honest")
        assert (documents(outcome), outcome.warnings) == (["a.md", "b.md"], ())


async def test_a_deleted_file_is_not_shown(own: Pushed, tmp_path: Path) -> None:
    engine = await pushed_pair(own, tmp_path)
    (tmp_path / "a.md").unlink()
    assert documents(await engine.search("honest")) == ["b.md"]


async def test_passages_count_once_their_record_says_so(own: Pushed, tmp_path: Path) -> None:
    engine = await pushed_pair(own, tmp_path)
    library = library_of(tmp_path)
    info = await library.stat("a.md")
    text = await library.read("a.md")
    new = [
        line
        for key, passage in passage_records(text, info, "half")
        for line in own.passage_lines(key, passage)
    ]
    async with engine:
        own.write(new)  # and no record tells of it
        assert len((await engine.search("honest")).hits) == 2
        record = DocumentRecord.of(info, text, version="half", passages=1, readers="test")
        own.change += 1
        own.write(own.lines_of(replace(record, hidden=("v1",), change=own.change)))
        assert len((await engine.search("honest")).hits) == 2
        own.change += 1
        own.write(own.lines_of(DocumentRecord(info=info, gone=True, change=own.change)))
        assert documents(await engine.search("honest")) == ["b.md"]


NOW = datetime.now(UTC).isoformat()
LONG_AGO = (datetime.now(UTC) - timedelta(days=3)).isoformat()
STATES = {
    "first": (PushState(told_at=NOW, listed=9, waiting=7), "the folder is being pushed to the index for the first time: 1 of 3"),
    "changes": (PushState(told_at=NOW, agreed_at=LONG_AGO, listed=9, waiting=7), "2 documents are still being pushed"),
    "not told": (PushState(agreed_at=NOW, listed=9, waiting=7), "2 documents are still being pushed"),
    "old": (PushState(agreed_at=LONG_AGO, listed=2), "the index last agreed with the folder on "),
}  # fmt: skip


@pytest.mark.parametrize("state", STATES)
async def test_an_index_that_lacks_something_says_so_first_to_who_may_see_that(
    own: Pushed, tmp_path: Path, state: str
) -> None:
    engine = await pushed_pair(own, tmp_path)
    kept, said = STATES[state]
    own.write(own.lines_of_state(kept))
    if kept.waiting:  # another version of b.md, and a document that is in none
        write(tmp_path, {"hidden/c.md": "honest words\n"})
        library = library_of(tmp_path)
        text, b, c = await library.read("b.md"), await library.stat("b.md"), await library.stat("hidden/c.md")
        known = DocumentRecord.of(b, text, version="v2", passages=1, readers="test")
        for record in (replace(known, waits=b), DocumentRecord(info=c, waits=c)):
            own.change += 1
            own.write(own.lines_of(replace(record, change=own.change)))
    outcome = await engine.search("honest")
    assert outcome.warnings[0].startswith(f"INCOMPLETE: {said}")
    assert outcome.truncated
    assert outcome.indexing == ((1, 3) if kept.waiting else None)
    assert documents(outcome) == ["a.md", "b.md"]
    assert said in (await engine.read_wanted("*", DocumentFilter.of(author="x")) or "")
    with narrowed_scope(Scope(("hidden",))):
        part = await engine.search("honest")
    assert (part.hits, part.truncated) == ((), True)
    assert part.indexing == ((0, 1) if kept.waiting else None)
    with narrowed_scope(Scope(("a.md",))):
        narrow = await engine.search("honest")
        read = await engine.read_wanted("*", DocumentFilter.of(author="x"))
    if state in {"first", "changes"}:
        assert (narrow.warnings, narrow.truncated, narrow.indexing, read) == ((), False, None, None)
    else:  # true of every document; and an indexer that does not tell which documents wait
        assert narrow.warnings[0] == read
        assert not set("79").intersection(read.split(" on ")[0])
        assert narrow.indexing == ((1, 1) if kept.waiting else None)


async def test_before_anything_is_pushed_an_answer_says_what_to_do(own: Pushed, tmp_path: Path) -> None:
    outcome = await own.engine(library_of(tmp_path)).search("honest")
    assert (outcome.hits, outcome.truncated, outcome.indexing) == ((), True, (0, 0))
    assert outcome.warnings[0].startswith("INCOMPLETE: nothing was pushed to the index yet")


async def test_an_index_that_was_pushed_anew_replaces_what_is_known(own: Pushed, tmp_path: Path) -> None:
    engine = await pushed_pair(own, tmp_path)
    async with engine:
        assert len((await engine.search("honest")).hits) == 2
        library = library_of(tmp_path)
        (tmp_path / "b.md").unlink()
        again = Pushed(names=own.names, generation=2)
        again.create_next(after=1)
        again.write(await again.records_of(library, await library.documents()))
        outcome = await engine.search("honest")
        assert (documents(outcome), outcome.total_documents) == (["a.md"], 1)


async def test_an_index_of_another_version_is_refused(own: Pushed, tmp_path: Path) -> None:
    engine = await pushed_pair(own, tmp_path)
    own.set_schema("0.0")
    with pytest.raises(BackendUnavailable, match="another version") as refused:
        await engine.search("honest")
    assert "--full" in (refused.value.hint or "")
