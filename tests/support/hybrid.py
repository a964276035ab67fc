"""What a search by words and meaning promises wherever the index is: the same bodies for tests of each engine."""

import pytest

from research_documents.search import DocumentSearch, Hit, SearchOutcome

TEXTS = {
    "cars.md": "The automobile needs new tyres.\n",
    "cats.md": "The cat sleeps on the mat.\n",
    "hens.md": "Hens lay eggs in spring.\n",
}
_HENS = "".join(f"Hen number {number} lays an egg.\n" for number in range(40))
NEAR_THE_MIDDLE = f"{_HENS}The physician came on foot.\nThe medic left.\n{_HENS}"
"""Of several parts: the one that is near to a doctor has no word of a question for one."""


async def assert_a_paraphrase_is_found(engine: DocumentSearch) -> None:
    """The folder has the documents of `TEXTS`."""
    assert (await engine.search("car vehicle", mode="keyword")).hits == ()
    outcome = await engine.search("car vehicle", mode="hybrid")
    assert engine.ranks_by_meaning
    assert engine.stats.embedded == (3, 3)
    first = outcome.hits[0]
    assert (first.document, first.line_number, first.near) == ("cars.md", 1, (1, 1))
    assert first.score == pytest.approx(0.4)
    assert (outcome.embedded, outcome.warnings, outcome.total_documents) == ((3, 3), (), 3)


async def assert_the_nearest_part_is_shown(engine: DocumentSearch, *, line: int) -> None:
    """The document that is nearest has the text `NEAR_THE_MIDDLE`, whose physician is in this line."""
    by_meaning = (await engine.search("doctor", mode="hybrid", limit=1)).hits[0]
    by_words = (await engine.search("left doctor", mode="hybrid", limit=1)).hits[0]
    assert by_meaning.near == by_words.near
    assert by_meaning.near is not None
    first, last = by_meaning.near
    assert by_meaning.line_number == first
    assert first <= line <= last
    assert by_words.matched_text == "The medic left."


async def assert_pages_cover_the_answer(engine: DocumentSearch, query: str, *, limit: int) -> SearchOutcome:
    """The same search gives the same answer, and pages of this size give its hits without repeats. Return it."""
    whole = await engine.search(query, mode="hybrid", limit=100)
    assert await engine.search(query, mode="hybrid", limit=100) == whole
    paged: list[Hit] = []
    cursor = None
    while True:
        page = await engine.search(query, mode="hybrid", limit=limit, cursor=cursor)
        paged += page.hits
        if (cursor := page.next_cursor) is None:
            break
    assert tuple(paged) == whole.hits
    assert len({(hit.document, hit.line_number) for hit in paged}) == len(paged)
    return whole
