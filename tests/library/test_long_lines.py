"""A line too long to show is continued under the next numbers, and nothing of it is out of reach."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from research_shared.documents import (
    LONGEST_LINE_BYTES,
    MAX_PART_BYTES,
    DocumentText,
    Identity,
    continued_at,
    renumbered,
)
from research_shared.text.passages import passages, spans
from research_shared.text.quotes import QuoteFinder
from support.sizes import examples

SENTENCES = " ".join(f"Sentence number {n} says that the market grew by {n} percent." for n in range(2_000))


def document(text: str, page_starts: tuple[int, ...] = (), media_type: str = "text/plain") -> DocumentText:
    data = text.encode()
    return DocumentText(
        path="long.txt",
        media_type=media_type,
        identity=Identity(1, 1, 1, 1, 1),
        digest="0",
        engine="text",
        data=data,
        page_starts=renumbered(data, page_starts),
    )


LINE = st.one_of(
    st.text(st.sampled_from("ab \u00e9"), max_size=30),
    st.tuples(
        st.sampled_from(["word ", "Ende. ", "x", "é", "漢", "漢字。", "a\u0301,", "\U0001f94a", "\t"]),
        st.integers(300, 3_000),
    ).map(lambda it: it[0] * it[1]),
)


@settings(max_examples=examples(200))
@given(st.lists(LINE, max_size=6), st.booleans())
@example([SENTENCES], False)
@example(["x" * 10_000, "", "y" * 4_000, "z" * 4_001], True)
def test_parts_put_together_are_the_text(lines: list[str], ends: bool) -> None:
    whole = "\n".join(lines) + "\n" * ends
    text = document(whole)
    shown = text.lines(1, text.total_lines)
    assert [text.line(number) for number in range(1, text.total_lines + 1)] == shown
    assert all(len(line.encode()) <= LONGEST_LINE_BYTES for line in shown)
    put_together: list[str] = []
    for number, line in enumerate(shown, 1):
        begin, end = text.offsets(number, number)
        assert text.data[begin:end].decode() == line
        assert text.line_at(begin) == number
        if begin in text.continued:
            put_together[-1] += line
        else:
            put_together.append(line)
    assert put_together == whole.removesuffix("\n").split("\n") * bool(whole)


@settings(max_examples=examples(100))
@given(st.lists(LINE, min_size=1, max_size=6))
def test_passages_never_hold_the_end_of_one_part_and_the_beginning_of_the_next(lines: list[str]) -> None:
    text = document("\n".join(lines))
    for span, passage in zip(spans(text), passages(text), strict=True):
        assert not any(span.begin < at < span.end for at in text.continued)
        assert passage.text.split("\n") == [
            line.rstrip() if number == passage.end_line else line
            for number, line in enumerate(
                text.lines(passage.start_line, passage.end_line), passage.start_line
            )
        ]


def test_lines_that_can_be_shown_keep_their_number() -> None:
    text = document("\n".join(["x" * LONGEST_LINE_BYTES, "short", "", "y" * LONGEST_LINE_BYTES]))
    assert not continued_at(text.data)
    assert text.total_lines == 4


def test_a_part_ends_behind_a_sentence_if_one_ends_in_its_second_half() -> None:
    text = document(SENTENCES)
    assert all(line.endswith("percent. ") for line in text.lines(1, text.total_lines - 1))
    assert all(len(line) > MAX_PART_BYTES // 2 for line in text.lines(1, text.total_lines - 1))


@pytest.mark.parametrize("letter", ["x", "é", "漢", "\U0001f94a"])
def test_a_word_longer_than_a_part_is_cut_between_characters(letter: str) -> None:
    text = document(letter * 3_000)
    assert {letter} == set("".join(text.lines(1, text.total_lines)))


def test_pages_begin_at_the_numbers_that_their_first_lines_have() -> None:
    text = document(
        "\n".join(["one", "x " * 4_000, "two", "y " * 4_000, "three"]), (1, 3, 5), "application/pdf"
    )
    assert [text.line(text.page_lines(page)[0]) for page in (1, 2, 3)] == ["one", "two", "three"]
    assert text.page_of(text.total_lines) == 3


def test_a_page_without_text_behind_a_long_line_begins_after_the_last_number() -> None:
    text = document("x " * 4_000 + "\n", (1, 2), "application/pdf")
    assert text.page_lines(2) == (text.total_lines + 1, text.total_lines)


def test_a_quote_over_the_border_of_two_parts_is_verified_with_the_numbers_of_both() -> None:
    text = document(f"first line\n{SENTENCES}\nlast line")
    border = text.line(3).rstrip()[-40:] + " " + text.line(4)[:40]
    place = QuoteFinder(text).find(border.rsplit(" ", 1)[0])
    assert place is not None
    assert (place.start_line, place.end_line) == (3, 4)


def test_a_quote_deep_in_a_line_is_verified_with_the_number_of_its_part() -> None:
    text = document(f"first line\n{SENTENCES}")
    place = QuoteFinder(text).find("Sentence number 1500 says that the market grew by 1500 percent.")
    assert place is not None
    assert "number 1500 says" in text.line(place.start_line)
