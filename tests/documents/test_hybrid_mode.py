"""`search_documents(mode="hybrid")` as clients meet it, and the settings that add it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client
from mcp_types import TextContent

from research_documents.search import SearchEngine
from research_documents.search.indexed import IndexedPassages
from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_documents.server import build_documents_server
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.base_errors import ConfigurationError
from research_shared.reading.filters import EVERY_DOCUMENT
from research_shared.reading.library import Library
from research_shared.settings import Settings
from support.embedding import ConceptEmbedder, embedded, engine_with


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "cars.md").write_text("The automobile needs new tyres.\n", encoding="utf-8")
    (folder / "cats.md").write_text("The cat sleeps on the mat.\n", encoding="utf-8")
    return folder


def settings_of(folder: Path, **changes: Any) -> Settings:
    return Settings.load({}, roots=str(folder), watch=False, **changes)


async def test_the_tool_ranks_by_meaning_and_says_how_much_is_embedded(folder: Path) -> None:
    settings = settings_of(folder)
    engine = engine_with(folder, ConceptEmbedder())
    async with (
        embedded(engine),
        Client(build_documents_server(settings, engine=engine)) as client,
    ):
        found = await client.call_tool("search_documents", {"query": "Which vehicle?", "mode": " Hybrid "})
        words = await client.call_tool("search_documents", {"query": "vehicle"})
        signs = await client.call_tool("search_documents", {"query": "+cat", "mode": "hybrid"})
    content = found.structured_content or {}
    assert content["matches"][0]["document"] == "cars.md"
    assert content["embedded"] == {"done": 2, "total": 2}
    assert "best first (hybrid: 2 of 2 passages embedded)" in "".join(
        part.text for part in found.content if isinstance(part, TextContent)
    )
    assert "embedded" not in (words.structured_content or {})
    assert (signs.structured_content or {})["warnings"] == [
        "hybrid: the query has operators; ranked by words alone"
    ]


async def test_the_search_of_connectors_is_by_meaning_where_that_is_set_up(folder: Path) -> None:
    settings = settings_of(
        folder, connector_tools=True, embedding_url="http://127.0.0.1:9", embedding_model="minilm"
    )
    found = []
    for offered in (settings, settings.model_copy(update={"embedding_url": None})):
        engine = engine_with(folder, ConceptEmbedder())
        async with embedded(engine), Client(build_documents_server(offered, engine=engine)) as client:
            found.append((await client.call_tool("search", {"query": "vehicle"})).structured_content)
    by_meaning, by_words = found
    assert (by_meaning or {})["results"][0]["id"] == "cars.md"
    assert by_words == {"results": []}


async def test_without_settings_the_tool_answers_by_words_and_says_what_is_missing(folder: Path) -> None:
    async with Client(build_documents_server(settings_of(folder))) as client:
        found = await client.call_tool("search_documents", {"query": "automobile", "mode": "hybrid"})
    content = found.structured_content or {}
    assert [match["document"] for match in content["matches"]] == ["cars.md"]
    assert "RESEARCH_EMBEDDING_DIR" in content["warnings"][0]


async def test_without_the_extra_the_answer_says_how_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research_documents.search.semantic.build.PACKAGES", ("numpy", "no_such_package"))
    settings = settings_of(folder, embedding_dir=str(folder))
    engine = SearchEngine.from_settings(Library.from_settings(settings), settings)
    outcome = await engine.search("automobile", mode="hybrid")
    assert [hit.document for hit in outcome.hits] == ["cars.md"]
    assert outcome.warnings == (
        "hybrid: no_such_package is not installed here (pip install 'research-assistant-mcp[semantic]'); ranked by words alone",
    )


async def test_an_endpoint_that_cannot_be_reached_leaves_the_ranking_to_words(folder: Path) -> None:
    settings = settings_of(
        folder, embedding_url="http://127.0.0.1:9", embedding_model="minilm", retry_attempts=1
    )
    engine = SearchEngine.from_settings(Library.from_settings(settings), settings)
    async with engine:
        outcome = await engine.search("automobile", mode="hybrid")
    assert [hit.document for hit in outcome.hits] == ["cars.md"]
    assert "none of 2 passages is embedded yet" in outcome.warnings[0]
    assert str(folder) not in outcome.warnings[0]


async def test_a_question_over_the_folder_is_answered_by_meaning_where_there_are_vectors(
    folder: Path,
) -> None:
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        found = await IndexedPassages(engine).find(
            ["Which vehicle is old?"], paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=1
        )
    async with engine_with(folder, ConceptEmbedder()) as engine:
        by_words = await IndexedPassages(engine).find(
            ["Which automobile is old?"], paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=5
        )
    assert [each.path for each in found.by_query[0]] == ["cars.md"]
    assert embedder.queries == ["Which vehicle is old?"]
    assert [each.path for each in by_words.by_query[0]] == ["cars.md"]
    assert by_words.warnings == ()


async def test_several_patterns_and_named_documents_are_one_search_of_one_scale(folder: Path) -> None:
    (folder / "sub").mkdir()
    for number in range(3):
        (folder / "sub" / f"{number}.md").write_text("The old automobile is old.\n", encoding="utf-8")
    (folder / "sub" / "cars.md").write_text("A vehicle, an old automobile.\n", encoding="utf-8")
    embedder = ConceptEmbedder()
    async with embedded(engine_with(folder, embedder)) as engine:
        named = await IndexedPassages(engine).find(
            ["Which automobile is old?"],
            paths=PathChoice(among=frozenset({"cars.md", "sub/1.md"})),
            wanted=EVERY_DOCUMENT,
            limit=1,
        )
        patterns = await IndexedPassages(engine).find(
            ["Which automobile is old?"],
            paths=PathChoice(("sub/cars.md", "sub/0.md")),
            wanted=EVERY_DOCUMENT,
            limit=5,
        )
    assert ([each.path for each in named.by_query[0]], named.considered) == (["sub/1.md"], 2)
    assert {each.path: each.score for each in patterns.by_query[0]} == {
        "sub/0.md": pytest.approx(1.0),
        "sub/cars.md": pytest.approx(0.0),
    }
    assert patterns.considered == 2


async def test_queries_of_which_one_has_no_vector_are_all_ranked_by_words(folder: Path) -> None:
    class HalfEmbedder(ConceptEmbedder):
        async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
            if query and "tyres" in texts[0]:
                raise EmbeddingFailed("the embedding model does not answer in time", about_texts=True)
            return await super().embed(texts, query=query)

    queries = ["Which automobile is old?", "Which tyres are needed?"]
    async with embedded(engine_with(folder, HalfEmbedder())) as engine:
        found = await IndexedPassages(engine).find(queries, paths=EVERY_PATH, wanted=EVERY_DOCUMENT, limit=5)
        by_words = [await engine.search(query) for query in ("automobile old", "tyres needed")]
    assert [[each.score for each in some] for some in found.by_query] == [
        [hit.score for hit in outcome.hits] for outcome in by_words
    ]
    assert found.warnings == ("hybrid: the embedding model does not answer in time; ranked by words alone",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embedding_dir": "/m", "embedding_url": "http://h", "embedding_model": "m"}, "only one of"),
        ({"embedding_url": "http://h"}, "needs RESEARCH_EMBEDDING_MODEL"),
        ({"embedding_key": "k"}, "needs RESEARCH_EMBEDDING_URL"),
        ({"embedding_url": "ftp://h", "embedding_model": "m"}, "RESEARCH_EMBEDDING_URL"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    folder: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings_of(folder, **changes)
