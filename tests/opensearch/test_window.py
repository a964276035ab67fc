"""A hit is shown from what the index keeps of its passage as it would be from the whole document."""

import pytest

from research_documents.opensearch.layout import DocumentRecord, passage_records
from research_documents.opensearch.window import window_of
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import Selection
from research_documents.search.index.passage_index import PassageIndex, ScoredPassage
from research_documents.search.keyword.builder import build
from research_documents.search.keyword.query import parse_query
from research_documents.search.keyword.ranking import Ranker
from research_documents.search.outcome import Hit
from research_documents.search.request import Snippet
from research_shared.documents import DocumentInfo, DocumentText, Identity

IDENTITY = Identity(1, 2, 3, 4, 5)
LONG = " ".join(f"word{number}" for number in range(1500))
TEXTS = {
    "pages": DocumentText(
        path="a.pdf",
        media_type="application/pdf",
        identity=IDENTITY,
        digest="d",
        engine="e",
        data=b"first page of bees\nand wasps\nsecond page\nof honey and\nwax\n" + b"other line\n" * 200,
        page_starts=(1, 3),
        ocr_pages=(2,),
    ),
    "long lines": DocumentText(
        path="a.txt",
        media_type="text/plain",
        identity=IDENTITY,
        digest="d",
        engine="e",
        data=f"one\n{LONG}\n\nand the end of honey\n".encode(),
    ),
}
QUERIES = (
    "bees",
    '"wasps second page"',
    "hon*",
    '"honey and wax"',
    '"page of honey"',
    "word9*",
    '"word700 word701"',
)


def hits(
    text: DocumentText, query: str, snippet: Snippet, *, kept: bool, by_meaning: bool = False
) -> list[Hit]:
    """The hits from the whole text, or from what the index keeps of each passage; perhaps all passages as found by meaning."""
    index = PassageIndex()
    info = DocumentInfo(path=text.path, root="r", media_type=text.media_type, identity=IDENTITY)
    passages = index.add(1, text)
    index.commit()
    entry = CatalogEntry.of(1, info, text, passages)
    if kept:
        entry = CatalogEntry(id=1, info=info, passages=passages)
    record = DocumentRecord.of(info, text, version="v", passages=passages, readers="e")
    sources = {source["begin"]: source for _, source in passage_records(text, info, "v")}

    def around(passage: ScoredPassage) -> tuple[ScoredPassage, DocumentText]:
        source = sources[passage.begin]
        return window_of(passage, text=source["text"], tail=source["tail"], record=record)

    nearest = [
        ScoredPassage(
            document=1,
            begin=source["begin"],
            end=source["end"],
            line=source["start_line"],
            score=1.0 - position / 1000,
            near_begin=source["begin"] + (source["end"] - source["begin"]) // 2,
            near_end=source["end"],
        )
        for position, source in enumerate(sources.values())
    ]
    built, terms = build(parse_query(query).group, index)
    ranking = Ranker(
        query=built,
        terms=terms,
        index=index,
        by_id={1: entry},
        selection=Selection(readable=(entry,), unreadable=(), everything=True),
        snippet=snippet,
        around=around if kept else None,
        nearest=nearest if by_meaning else (),
    ).rank(0, 50, {})
    assert not ranking.missing
    return ranking.hits


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("snippet", ["line", "context", "passage"])
def test_a_hit_from_a_kept_passage_is_that_of_the_whole_text(text: DocumentText, snippet: Snippet) -> None:
    found = 0
    for query in QUERIES:
        whole = hits(text, query, snippet, kept=False)
        assert hits(text, query, snippet, kept=True) == whole
        found += len(whole)
    assert found >= len(QUERIES) // 2


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_hit_by_meaning_is_at_the_same_lines_in_a_kept_passage(text: DocumentText) -> None:
    for query in ("bees", "nowhere"):
        whole = hits(text, query, "line", kept=False, by_meaning=True)
        assert hits(text, query, "line", kept=True, by_meaning=True) == whole
        assert whole
        assert all(hit.near is not None and hit.near[0] >= hit.start_line for hit in whole)


def test_a_file_that_another_machine_has_read_is_known_by_size_and_time() -> None:
    read_there = Identity.elsewhere(size=3, mtime_ns=4)
    assert read_there.same_file(Identity(1, 2, 3, 4, 5))
    assert Identity(1, 2, 3, 4, 5).same_file(read_there)
    assert not read_there.same_file(Identity(1, 2, 3, 5, 5))
    assert not Identity(1, 2, 3, 4, 5).same_file(Identity(1, 2, 3, 4, 6))
