"""The search engine over a folder, without a server around it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from research_documents.search import SearchEngine
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.documents import DocumentText
from research_shared.errors import InvalidCursor, RootUnavailable
from research_shared.reading.library import Library
from support.backends import Backend


async def test_a_keyword_hit_names_the_document_and_its_best_line(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(
        "# Bees\n\nfirst line\nthe honey bee dances\nlast line\n", encoding="utf-8"
    )
    outcome = await (await backend.engine(tmp_path)).search(
        "honey dancing", mode="keyword", limit=5, context_lines=1
    )
    (hit,) = outcome.hits
    assert (hit.document, hit.line_number, hit.matched_text) == ("a.md", 4, "the honey bee dances")
    assert (hit.before, hit.after) == (("first line",), ("last line",))
    assert (outcome.total_documents, outcome.truncated) == (1, False)


async def test_regex_hits_come_in_the_order_of_path_and_line_and_page_on_with_the_cursor(
    backend: Backend, tmp_path: Path
) -> None:
    for name in ("b.md", "a.txt"):
        (tmp_path / name).write_text("one 1\nnone\ntwo 2\n", encoding="utf-8")
    engine = await backend.engine(tmp_path)
    first = await engine.search(r"\d", mode="regex", limit=3)
    rest = await engine.search(r"\d", mode="regex", limit=3, cursor=first.next_cursor)
    found = [(hit.document, hit.line_number) for hit in first.hits + rest.hits]
    assert found == [("a.txt", 1), ("a.txt", 3), ("b.md", 1), ("b.md", 3)]
    assert (first.truncated, rest.truncated, rest.next_cursor) == (True, False, None)


async def test_an_invalid_expression_gives_no_hits_and_a_warning_that_names_the_construct(
    backend: Backend, tmp_path: Path
) -> None:
    outcome = await (await backend.engine(tmp_path)).search("a(?=b)", mode="regex", limit=3)
    assert outcome.hits == ()
    assert "look-around" in outcome.warnings[0]


async def test_a_scope_hides_what_lies_outside(backend: Backend, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text("secret word\n", encoding="utf-8")
    engine = await backend.engine(tmp_path)
    for mode in ("keyword", "regex"):
        with narrowed_scope(Scope(("in",))):
            outcome = await engine.search("secret", mode=mode, limit=5)
        assert [hit.document for hit in outcome.hits] == ["in/a.md"]
        assert outcome.total_documents == 1


async def test_the_index_serves_all_scopes_even_when_it_was_asked_in_a_narrow_one_first(
    backend: Backend, tmp_path: Path
) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text("honest\n", encoding="utf-8")
    engine = await backend.engine(tmp_path)
    with narrowed_scope(Scope(("in",))):
        assert [hit.document for hit in (await engine.search("honest")).hits] == ["in/a.md"]
    assert [hit.document for hit in (await engine.search("honest")).hits] == ["in/a.md", "out/a.md"]


async def test_documents_without_text_are_named_with_a_reason_and_stop_nothing(
    backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("honest\n", encoding="utf-8")
    (tmp_path / "broken.txt").write_bytes(bytes(range(256)) * 40)
    engine = await backend.engine(tmp_path)
    for mode in ("keyword", "regex"):
        outcome = await engine.search("honest", mode=mode)
        assert [hit.document for hit in outcome.hits] == ["a.md"]
        assert outcome.unreadable == (("broken.txt", "binary content"),)
        assert outcome.total_documents == 1


async def test_a_missing_folder_is_an_error_that_may_pass(backend: Backend, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.md").write_text("honest\n", encoding="utf-8")
    engine = await backend.engine(folder)
    folder.rename(tmp_path / "away")
    with pytest.raises(RootUnavailable) as failure:
        await engine.search("honest")
    assert failure.value.retryable


async def test_one_engine_answers_many_searches_at_once_and_each_rightly(
    backend: Backend, tmp_path: Path
) -> None:
    for number in range(100):
        (tmp_path / f"{number:02}.md").write_text(f"common word{number:02}\n", encoding="utf-8")
    engine = await backend.engine(tmp_path)
    async with engine:
        outcomes = await asyncio.gather(
            *(
                engine.search(f"word{number:02}", mode=("keyword", "regex")[number % 2])
                for number in range(100)
            )
        )
    assert [[hit.document for hit in each.hits] for each in outcomes] == [
        [f"{number:02}.md"] for number in range(100)
    ]


async def test_a_foreign_cursor_is_refused(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(InvalidCursor):
        await (await backend.engine(tmp_path)).search("a", mode="regex", limit=1, cursor="bm9uc2Vuc2U")


class Gated(Library):
    """A library whose texts come once the gate is open."""

    def __init__(self, roots: RootsPolicy) -> None:
        super().__init__(roots)
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def read_plain(self, paths: Sequence[str]) -> dict[str, DocumentText]:
        self.asked.set()
        await self.gate.wait()
        return await super().read_plain(paths)


async def test_a_search_under_way_is_answered_although_whoever_started_the_engine_leaves(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.md").write_text("the honey bee dances\n", encoding="utf-8")
    library = Gated(RootsPolicy([Root("research", tmp_path)]))
    engine = SearchEngine(library, watch=False)
    async with engine:
        search = asyncio.create_task(engine.search("honey", limit=5))
        await library.asked.wait()
    library.gate.set()
    assert [hit.document for hit in (await search).hits] == ["a.md"]
    assert engine.stats.documents == 0  # the engine ended with the search
    assert [hit.document for hit in (await engine.search("bee", limit=5)).hits] == ["a.md"]
