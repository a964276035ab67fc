"""Which lines are shown with a hit of a keyword search."""

from research_documents.search.keyword.best_line import HighlightTerms, held_by_line
from research_documents.search.keyword.snippets import (
    FULL_HITS,
    SNIPPET_BYTES,
    snippet_bytes,
    with_neighbours,
)
from research_documents.search.outcome import Hit

TERMS = HighlightTerms(
    stems=frozenset({"onion", "rout"}), prefixes=("immun",), phrases=(("gene", "expression"),)
)


def hit_at(lines: list[str], best: int) -> Hit:
    return Hit("a.md", 10 + best, lines[best], start_line=10, end_line=9 + len(lines))


def test_a_line_holds_stems_prefixes_and_the_phrases_that_begin_on_it() -> None:
    lines = ["Onions were routed", "no immunity, ONION", "of gene", "expression", "gene-expression", ""]
    assert held_by_line(lines, TERMS) == [
        {"onion", "rout"},
        {("immun", ""), "onion"},
        {("gene", "expression")},
        set(),
        {("gene", "expression")},
        set(),
    ]


def test_the_first_hits_show_their_passage_and_the_last_their_line_alone() -> None:
    assert [snippet_bytes(position) for position in range(3)] == [1_200] * 3
    assert snippet_bytes(FULL_HITS - 1) == SNIPPET_BYTES[-1]
    assert snippet_bytes(FULL_HITS) == 0
    lines = ["before", "onion", "after"]
    assert with_neighbours(hit_at(lines, 1), passage=lines, terms=TERMS, most=0) == hit_at(lines, 1)


def test_a_short_passage_is_shown_whole_but_for_blank_lines_at_its_ends() -> None:
    lines = ["", "before", "", "onion", "after", " ", ""]
    shown = with_neighbours(hit_at(lines, 3), passage=lines, terms=TERMS, most=200)
    assert (shown.before, shown.matched_text, shown.after) == (("before", ""), "onion", ("after",))


def test_of_a_long_passage_the_stretch_with_most_of_the_words_is_shown() -> None:
    lines = [f"filler {number:03} " + "x" * 40 for number in range(20)]
    lines[10], lines[12] = "the onion", "is routed here"
    shown = with_neighbours(hit_at(lines, 10), passage=lines, terms=TERMS, most=160)
    assert shown.after[:2] == (lines[11], lines[12])
    assert sum(len(line) + 1 for line in (*shown.before, shown.matched_text, *shown.after)) <= 160


def test_very_many_short_lines_are_not_all_shown() -> None:
    lines = ["x"] * 600
    shown = with_neighbours(hit_at(lines, 300), passage=lines, terms=TERMS, most=1_200)
    assert (len(shown.before), len(shown.after)) == (20, 20)


def test_a_long_line_of_a_leading_hit_shows_more_of_itself_around_the_match() -> None:
    line = "x " * 2_000 + "the onion is routed " + "y " * 2_000
    cut = Hit("a.md", 10, "…onion…", start_line=10, end_line=10)
    for most, least in ((1_200, 1_100), (400, 0)):
        shown = with_neighbours(cut, passage=[line], terms=TERMS, most=most)
        assert "onion" in shown.matched_text
        assert least <= len(shown.matched_text) <= 1_202
    wide = "\u4e2d\u6587" * 3_000
    shown = with_neighbours(
        Hit("a.md", 10, "\u4e2d\u2026", start_line=10, end_line=10), passage=[wide], terms=TERMS, most=1_800
    )
    assert len(shown.matched_text.encode()) < 1_900


def test_a_hit_that_begins_beyond_its_passage_stays_as_it_is() -> None:
    hit = Hit("a.md", 12, "beyond", start_line=10, end_line=11)
    assert with_neighbours(hit, passage=["a", "b"], terms=TERMS, most=1_200) == hit
