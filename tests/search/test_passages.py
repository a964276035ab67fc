"""Passages: exact line ranges, nothing lost, nothing cut within a line."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_reasoning.evidence.ranking import rank
from research_shared.documents import DocumentText, Identity
from research_shared.text.passages import Passage, passages, spans
from support.sizes import examples

IDENTITY = Identity(1, 1, 1, 1, 1)


def text_of(
    content: str, media_type: str = "text/markdown", page_starts: tuple[int, ...] = ()
) -> DocumentText:
    return DocumentText(
        path="a",
        media_type=media_type,
        identity=IDENTITY,
        digest="",
        engine="x",
        data=content.encode(),
        page_starts=page_starts,
    )


LINES = st.lists(
    st.sampled_from(["", "  ", "# Head", "## Sub ##", "```", "word " * 30, "short", "é" * 50, "#no heading"]),
    max_size=60,
)


@settings(max_examples=examples(200), deadline=None)
@given(LINES, st.sampled_from(["text/markdown", "text/plain"]), st.sampled_from([40, 200, 1200]))
def test_every_line_is_in_exactly_one_passage(lines: list[str], media_type: str, target: int) -> None:
    text = text_of("\n".join(lines), media_type)
    found = passages(text, target=target, limit=2 * target)
    covered = [number for passage in found for number in range(passage.start_line, passage.end_line + 1)]
    assert covered == sorted(set(covered))
    assert set(covered) >= {number for number, line in enumerate(lines, 1) if line.strip()}
    for passage in found:
        assert passage.text.strip() == "\n".join(text.lines(passage.start_line, passage.end_line)).strip()


def test_a_heading_begins_a_passage_and_names_it_but_not_inside_a_code_fence() -> None:
    content = "# One\n\ntext\n\n```\n# a comment\n```\n\n## Two\ntext\n"
    found = passages(text_of(content))
    assert [(p.start_line, p.end_line, p.heading) for p in found] == [(1, 7, "One"), (9, 10, "Two")]


def test_headings_that_follow_each_other_stay_together() -> None:
    assert [(p.start_line, p.heading) for p in passages(text_of("# One\n\n## Two\n\ntext\n"))] == [(1, "Two")]
    found = passages(text_of("x\n\n# One\n\n## Two\n\ntext\n"))
    assert [(p.start_line, p.heading) for p in found] == [(1, ""), (3, "Two")]


def test_a_page_begins_a_passage_and_a_passage_knows_its_page() -> None:
    found = passages(text_of("a\nb\nc\nd\n", "application/pdf", (1, 3)))
    assert [(p.start_line, p.end_line, p.page) for p in found] == [(1, 2, 1), (3, 4, 2)]


def test_only_what_is_too_long_is_cut_and_only_between_lines() -> None:
    content = "\n".join("x" * 90 for _ in range(100))
    assert all(span.end - span.begin <= 2_000 for span in spans(text_of(content)))
    assert len(passages(text_of("y" * 4_000))) == 1


def test_a_part_of_a_long_line_is_a_passage_with_the_lines_that_follow_it() -> None:
    found = passages(text_of("y" * 5_000 + "\nnext"))
    assert [(p.start_line, p.end_line, len(p.text)) for p in found] == [
        (1, 1, 2_000),
        (2, 2, 2_000),
        (3, 4, 1_005),
    ]


class Copied(bytes):
    """Bytes that count how many of them are copied into slices."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        type(self).copied += len(part) if isinstance(part, bytes) else 0
        return part


def test_a_long_text_without_blank_lines_is_cut_in_linear_time() -> None:
    Copied.copied = 0
    data = Copied(b"a,b,c,1,2,3\n" * 20_000)
    found = spans(
        DocumentText(path="a", media_type="text/plain", identity=IDENTITY, digest="", engine="x", data=data)
    )
    assert len(found) > 100
    assert Copied.copied < 4 * len(data)


def test_passages_are_ranked_by_a_question_and_equal_ones_keep_their_order() -> None:
    content = "# Bees\n\nBees dance.\n\n# Rust\n\nIron rusts in water.\n\n# More\n\nIron rusts in water.\n"
    ranked = rank(text_of(content), "why does iron rust", 5)
    assert [passage.start_line for passage in ranked] == [5, 9]
    assert isinstance(ranked[0], Passage)
    assert (
        rank(text_of(content), "", 5)
        == rank(text_of(""), "iron", 5)
        == rank(text_of(content), "iron", 0)
        == []
    )


def lines_of(content: str, media_type: str = "text/plain", **limits: int) -> list[tuple[int, int]]:
    return [(p.start_line, p.end_line) for p in passages(text_of(content, media_type), **limits)]


def test_a_passage_ends_at_the_first_blank_line_behind_its_target() -> None:
    for length, expected in ((38, [(1, 3)]), (39, [(1, 1), (3, 3)])):
        assert lines_of("x" * length + "\n\ny\n", target=40, limit=80) == expected


def test_the_target_counts_from_the_beginning_of_each_passage() -> None:
    assert lines_of("x" * 50 + "\n\na\n\nb\n", target=40, limit=80) == [(1, 1), (3, 5)]


def test_blank_lines_before_the_first_passage_count_to_its_target() -> None:
    assert lines_of("\n" * 50 + "x\n\ny\n", target=40, limit=80) == [(51, 51), (53, 53)]


def test_a_block_is_cut_only_when_it_is_longer_than_the_limit() -> None:
    assert lines_of("123456789\n" * 8, target=40, limit=80) == [(1, 8)]
    assert lines_of("123456789\n" * 9, target=40, limit=80) == [(1, 4), (5, 9)]
    assert lines_of("123456789\n" * 12, target=40, limit=80) == [(1, 4), (5, 12)]
    assert lines_of("123456789\n" * 13, target=40, limit=80) == [(1, 4), (5, 8), (9, 13)]
    assert lines_of("1\n" + "x" * 98 + "\n1\n", target=40, limit=80) == [(1, 1), (2, 2), (3, 3)]
    assert lines_of("x" * 98 + "\n1\n", target=40, limit=80) == [(1, 1), (2, 2)]
    parts = [(1, 4), (5, 8), (9, 9), (10, 10)]
    assert lines_of("123456789\n" * 8 + "x" * 98 + "\n123456789\n", target=40, limit=80) == parts
    assert lines_of("x" * 100 + "\n" * 5, target=40, limit=80) == [(1, 1)]
    assert lines_of("x" * 98 + "\n" + "123456789\n" * 8, target=40, limit=80) == [(1, 1), (2, 9)]


def test_a_heading_ends_with_its_line_and_loses_its_marks() -> None:
    content = "#\tOne two ##  \ntext\n\n####### seven\n\n#none\n~~~\n# fenced\n~~~\n### Three\nend\n"
    found = passages(text_of(content))
    assert [(p.start_line, p.end_line, p.heading) for p in found] == [(1, 9, "One two"), (10, 11, "Three")]
    assert [p.heading for p in passages(text_of(content, "text/plain"))] == [""]


def test_blank_lines_around_a_passage_belong_to_none() -> None:
    assert lines_of("\n \n  a\nb  \n\n\t\n") == [(3, 4)]
    assert lines_of(" \n\n") == []
    assert passages(text_of("\n  a\n\n", "text/plain"))[0].text == "  a"


def test_a_block_of_exactly_the_limit_is_whole_and_one_byte_more_is_cut() -> None:
    lines = ["a" * 9] * 8
    whole = text_of("\n".join(lines) + "\n", "text/plain")
    assert len(whole.data) == 80
    assert [(p.start_line, p.end_line) for p in passages(whole, target=30, limit=80)] == [(1, 8)]
    assert [(p.start_line, p.end_line) for p in passages(whole, target=30, limit=79)] == [(1, 3), (4, 8)]


def test_a_page_that_is_the_last_line_begins_a_passage() -> None:
    found = passages(text_of("a\nb\nc\n", "application/pdf", (1, 3)))
    assert [(p.start_line, p.end_line, p.page) for p in found] == [(1, 2, 1), (3, 3, 2)]


def test_a_single_letter_before_a_heading_is_a_passage() -> None:
    found = passages(text_of("x\n\n# Head\ntext\n"))
    assert [(p.start_line, p.end_line, p.heading) for p in found] == [(1, 1, ""), (3, 4, "Head")]


@pytest.mark.parametrize("target", [1_200, 4_000])
def test_each_part_of_a_long_line_is_a_passage(target: int) -> None:
    text = text_of("word " * 1_200, "text/plain")
    found = spans(text, target=target)
    assert [span.begin for span in found] == [0, *text.continued]
    assert [span.start_line for span in found] == list(range(1, len(found) + 1))


def test_a_page_without_a_line_has_no_passage() -> None:
    found = passages(text_of("a\nb\n", "application/pdf", (1, 3)))
    assert [(p.start_line, p.end_line, p.page) for p in found] == [(1, 2, 1)]
