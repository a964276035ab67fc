"""Places in a document: lines, pages, and bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_shared.documents import DocumentInfo, DocumentText, Identity

IDENTITY = Identity(device=1, inode=2, size=3, mtime_ns=1_700_000_000_999_999_999, ctime_ns=5)


def document(text: str, page_starts: tuple[int, ...] = ()) -> DocumentText:
    return DocumentText(
        path="a.md",
        media_type="text/markdown",
        identity=IDENTITY,
        digest="0",
        engine="text",
        data=text.encode(),
        page_starts=page_starts,
    )


@given(st.text(alphabet="aé\n", max_size=40))
def test_lines_are_those_between_line_breaks(text: str) -> None:
    expected = text.split("\n")
    if expected[-1] == "":
        expected.pop()
    doc = document(text)
    assert doc.total_lines == len(expected)
    assert doc.lines(1, 1000) == expected
    assert [doc.line(number) for number in range(1, len(expected) + 1)] == expected
    assert doc.text == text


@given(st.text(alphabet="aé\n", min_size=1, max_size=40), st.data())
def test_a_line_knows_its_bytes_and_a_byte_its_line(text: str, data: st.DataObject) -> None:
    doc = document(text)
    number = data.draw(st.integers(1, doc.total_lines))
    begin, end = doc.offsets(number, number)
    assert doc.data[begin:end].decode() == doc.line(number)
    assert doc.line_at(begin) == number


@pytest.mark.parametrize(
    ("start", "stop", "lines"), [(2, 3, ["b", "c"]), (0, 1, ["a"]), (3, 99, ["c"]), (4, 9, []), (3, 2, [])]
)
def test_whatever_lies_beyond_the_text_is_left_out(start: int, stop: int, lines: list[str]) -> None:
    assert document("a\nb\nc\n").lines(start, stop) == lines


def test_pages_are_ranges_of_lines_and_may_be_empty() -> None:
    doc = document("a\nb\nc", (1, 3, 3, 4))
    assert doc.pages == 4
    assert [doc.page_of(line) for line in (1, 2, 3)] == [1, 1, 3]
    assert [doc.page_lines(page) for page in (1, 2, 3, 4)] == [(1, 2), (3, 2), (3, 3), (4, 3)]
    assert [doc.lines(*doc.page_lines(page)) for page in (1, 2, 3, 4)] == [["a", "b"], [], ["c"], []]


def test_a_document_without_pages_has_none() -> None:
    doc = document("a")
    assert doc.pages is None
    assert doc.page_of(1) is None


def test_the_time_of_change_is_in_utc_to_the_second() -> None:
    info = DocumentInfo(path="notes/a.md", root="research", media_type="text/markdown", identity=IDENTITY)
    assert info.modified.isoformat() == "2023-11-14T22:13:20+00:00"
    assert info.filename == "a.md"
