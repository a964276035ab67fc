"""The passages of a document that answer a question best."""

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from research_reasoning.evidence.ranking import bm25, rank
from research_reasoning.folder.choice import choose
from research_shared.documents import DocumentText, Identity
from research_shared.reading.passage_search import FoundPassage
from research_shared.text.tokens import estimate_tokens


def document(*sections: str) -> DocumentText:
    text = "\n\n".join(f"# Section {number}\n\n{section}" for number, section in enumerate(sections))
    return DocumentText(
        path="d.md",
        media_type="text/markdown",
        identity=Identity(0, 0, 0, 0, 0),
        digest="0",
        engine="text",
        data=text.encode(),
    )


def headings(text: DocumentText, question: str, limit: int = 10) -> list[str]:
    return [passage.heading for passage in rank(text, question, limit)]


def test_the_rare_words_of_the_question_decide() -> None:
    text = document(
        "The network carries traffic.",
        "The network relays onions in layered encryption.",
        "The network is a network of networks.",
        "Nothing of the kind.",
    )
    assert headings(text, "How does the network use onions?")[0] == "Section 1"
    assert "Section 3" not in headings(text, "How does the network use onions?")


def test_word_forms_meet_and_headings_count() -> None:
    text = document("Relays encrypt cells.", "Birds sing here.")
    assert headings(text, "encrypting a relayed cell") == ["Section 0"]
    assert headings(text, "which section") == ["Section 0", "Section 1"]


def test_equal_passages_keep_the_document_s_order_and_the_limit_cuts_the_tail() -> None:
    text = document(*["Same words in every one of them."] * 5)
    assert headings(text, "words") == [f"Section {number}" for number in range(5)]
    assert headings(text, "words", 2) == ["Section 0", "Section 1"]


def test_a_long_passage_does_not_win_by_its_length() -> None:
    text = document("Onion. " + "Filler words about nothing in particular. " * 20, "An onion relay.")
    assert headings(text, "onion") == ["Section 1", "Section 0"]


def scores(sections: list[list[str]], asked: tuple[str, ...]) -> list[float]:
    """BM25 with k1 = 1.2 and b = 0.75, as Robertson and Zaragoza write it."""
    sizes = [len(section) + 4 for section in sections]  # the heading counts as itself and in the text
    average = sum(sizes) / len(sizes)
    found = [0.0] * len(sections)
    for word in asked:
        holding = sum(word in section for section in sections)
        weight = math.log(1 + (len(sections) - holding + 0.5) / (holding + 0.5))
        for at, section in enumerate(sections):
            n = section.count(word)
            found[at] += weight * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * sizes[at] / average))
    return found


def test_passages_rank_by_the_formula_of_bm25() -> None:
    rng = random.Random(1)
    asked = ("cell", "guard", "onion")
    for _ in range(30):
        words = [*asked, "other", "word"]
        sections = [rng.choices(words, [1, 2, 4, 8, 8], k=rng.randrange(1, 60)) for _ in range(12)]
        scored = scores(sections, asked)
        order = [at for by, at in sorted((-by, at) for at, by in enumerate(scored)) if by]
        text = document(*map(" ".join, sections))
        assert headings(text, " ".join(asked), 12) == [f"Section {number}" for number in order]
        assert headings(text, " ".join(asked), 1) == [f"Section {order[0]}"]


def test_without_a_shared_word_there_is_nothing(tmp_path: Path) -> None:
    text = document("Relays encrypt cells.")
    assert headings(text, "penguins") == []
    assert headings(text, "?!") == []
    assert headings(text, "relays", 0) == headings(text, "relays", -1) == []
    assert headings(document("Relays.", "Relays."), "relays", -1) == []
    assert headings(document(), "relays") == []
    assert headings(text, "the of and") == []


def test_common_words_find_nothing_where_the_question_has_others() -> None:
    text = document("The birds will sing for the others.", "Onion relays.")
    assert headings(text, "What will the onion be for?") == ["Section 1"]
    assert headings(text, "the penguin") == []


def test_common_words_count_where_the_question_has_no_others() -> None:
    text = document("To be or not to be.", "Onion relays.")
    assert headings(text, "to be or not to be") == ["Section 0"]


def test_nothing_and_passages_without_a_term_have_no_score() -> None:
    assert bm25([], []) == []
    assert bm25([Counter(), Counter()], [0, 0]) == [0, 0]


@pytest.mark.parametrize("near", [(35, 42), None])
def test_the_piece_that_is_nearest_by_meaning_is_shown_before_pieces_that_share_some_words(
    near: tuple[int, int] | None,
) -> None:
    lines = [
        f"In week {number} the hens of the farm laid their eggs in the nest as ever." for number in range(60)
    ]
    lines[0] = "The barn of the hens was where eggs were kept in winter, says the oldest note of all."
    lines[32:40] = [
        f"Line {number} tells of poultry, told in quite other words than asked for." for number in range(8)
    ]
    text = document("\n".join(lines))
    passage = FoundPassage(path="d.md", start_line=3, end_line=text.total_lines, score=0.4, near=near)
    (chosen,) = choose([passage], {"d.md": text}, ["hens eggs barn"], budget=500, estimate=estimate_tokens)
    shown = {number for first, last in chosen.ranges for number in range(first, last + 1)}
    assert 3 in shown
    assert (set(range(35, 43)) <= shown) == (near is not None)
