"""Which documents a filter admits, and what it says when it admits none."""

from datetime import UTC, date, datetime

import pytest

from research_shared.documents import DocumentInfo, Identity
from research_shared.errors import InvalidArguments
from research_shared.formats import NO_METADATA, Metadata, media_type_of
from research_shared.reading.filters import DocumentFilter, day_range, types_named


def document(path: str, modified: str = "2026-03-01") -> DocumentInfo:
    at = int(datetime.fromisoformat(modified).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    media_type = media_type_of(path)
    assert media_type is not None
    return DocumentInfo(path=path, root="research", media_type=media_type, identity=Identity(1, 1, 1, at, at))


def admitted(wanted: DocumentFilter, *paths: str) -> list[str]:
    return [path for path in paths if wanted.admits(document(path), NO_METADATA)]


@pytest.mark.parametrize(
    ("word", "paths"),
    [
        ("pdf", ["a.pdf"]),
        (".PDF", ["a.pdf"]),
        ("*.pdf", ["a.pdf"]),
        ("application/pdf", ["a.pdf"]),
        ("text/*", ["a.md", "a.txt", "a.csv", "a.html"]),
        ("Markdown", ["a.md"]),
        ("docx", ["a.docx"]),
        ("Word", ["a.docx"]),
        ("slides", ["a.pptx", "a.odp"]),
        ("presentations", ["a.pptx", "a.odp"]),
        ("deck", ["a.pptx", "a.odp"]),
        ("PowerPoint", ["a.pptx"]),
        ("spreadsheets", ["a.xlsx", "a.ods", "a.csv"]),
        ("excel", ["a.xlsx"]),
        ("emails", ["a.eml"]),
        ("book", ["a.epub"]),
        ("pdf, docx", ["a.pdf", "a.docx"]),
        ("pdf|word", ["a.pdf", "a.docx"]),
        ("file", []),
        ("dwg", []),
    ],
)
def test_a_type_is_a_suffix_a_media_type_or_a_word_for_it(word: str, paths: list[str]) -> None:
    suffixes = ("pdf", "md", "txt", "docx", "pptx", "odp", "xlsx", "ods", "csv", "eml", "epub", "html")
    assert sorted(admitted(DocumentFilter.of(type=word), *(f"a.{each}" for each in suffixes))) == sorted(
        paths
    )


def test_every_format_has_words_of_its_own() -> None:
    for word in ("pdf", "word", "slides", "sheets", "mail", "web", "book", "rtf", "notebook", "json", "text"):
        assert types_named(word), word


@pytest.mark.parametrize(
    ("given", "first", "last"),
    [
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-12", "2024-12-01", "2024-12-31"),
        ("2023-02", "2023-02-01", "2023-02-28"),
        ("2024/02/09", "2024-02-09", "2024-02-09"),
        (" 2024-02-09T10:00:00Z ", "2024-02-09", "2024-02-09"),
    ],
)
def test_a_date_may_leave_out_the_day_and_the_month(given: str, first: str, last: str) -> None:
    assert day_range(given) == (date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("given", ["last year", "2024-13", "2024-02-30", "24", "0000"])
def test_what_is_no_date_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(InvalidArguments, match="dated_after") as caught:
        DocumentFilter.of(dated_after=given)
    assert "2024-05" in caught.value.hint


def test_ranges_include_their_ends_and_a_year_means_all_of_it() -> None:
    wanted = DocumentFilter.of(modified_after="2025", modified_before="2025")
    days = ("2024-12-31", "2025-01-01", "2025-12-31", "2026-01-01")
    assert [day for day in days if wanted.admits_info(document("a.md", day))] == ["2025-01-01", "2025-12-31"]


@pytest.mark.parametrize(
    ("said", "fits"),
    [("2023", True), ("2023-06", True), ("2023-05-31", False), ("2024-01-01", True), ("", False)],
)
def test_a_document_that_knows_only_its_year_fits_any_part_of_it(said: str, fits: bool) -> None:
    wanted = DocumentFilter.of(dated_after="2023-06-01")
    assert wanted.admits(document("a.md"), Metadata(date=said)) is fits


@pytest.mark.parametrize(
    ("asked", "name", "fits"),
    [
        ("muller", "Jürgen Müller", True),
        ("Müller, Jürgen", "Jürgen Müller", True),
        ("J. Müller", "Jürgen Müller", True),
        ("Jürgen Müller", "J. Müller", True),
        ("Mull", "Jürgen Müller", False),
        ("Ada Müller", "Jürgen Müller", False),
        ("Ada Byron; Müller", "Jürgen Müller", True),
        ("...", "Jürgen Müller", False),
    ],
)
def test_an_author_is_found_by_words_without_marks_and_by_initials(asked: str, name: str, fits: bool) -> None:
    wanted = DocumentFilter.of(author=asked)
    assert wanted.admits(document("a.md"), Metadata(authors=("Ann Lee", name))) is fits


def test_all_tags_have_to_be_there() -> None:
    metadata = Metadata(tags=("Supply Chain", "q3"))
    for tags, fits in (
        ("#supply-chain", True),
        (["Q3", "supply chain"], True),
        ("q3, q4", False),
        ("supply", False),
    ):
        assert DocumentFilter.of(tags=tags).admits(document("a.md"), metadata) is fits


def test_a_filter_without_criteria_admits_everything_and_needs_no_text() -> None:
    wanted = DocumentFilter.of(type="", author=[], tags=" , ", dated_after=" ")
    assert wanted.admits_everything
    assert not wanted.needs_text
    assert not DocumentFilter.of(type="pdf", modified_after="2020").needs_text
    assert DocumentFilter.of(dated_before="2020").needs_text


FOLDER = [
    (document("a.pdf", "2024-02-01"), Metadata(authors=("John Smith", "Ann Lee"), date="2001")),
    (document("b.pdf", "2025-02-01"), Metadata(authors=("Ann Lee",), date="2019-05-02", tags=("draft",))),
    (document("c.md", "2025-03-01"), NO_METADATA),
]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (DocumentFilter.of(type="xls"), "no document is of the type 'xls'; there are 2 .pdf, 1 .md"),
        (
            DocumentFilter.of(modified_before="2020"),
            "no document was changed to 2020-12-31; the changes are from 2024-02-01 to 2025-03-01",
        ),
        (
            DocumentFilter.of(dated_after="2020"),
            "no document is dated from 2020-01-01; their dates are from 2001 to 2019-05-02",
        ),
        (DocumentFilter.of(author="Smyth"), "no document has the author 'Smyth'; nearest: John Smith"),
        (
            DocumentFilter.of(author="Quine"),
            "no document has the author 'Quine'; the authors are Ann Lee, John Smith",
        ),
        (DocumentFilter.of(tags="drafts"), "no document has the tags 'drafts'; nearest: draft"),
        (
            DocumentFilter.of(author="Smith", tags="draft"),
            "each filter fits some documents, and none fits all filters: leave one out",
        ),
    ],
)
def test_a_filter_that_fits_nothing_names_what_there_is(wanted: DocumentFilter, said: str) -> None:
    assert wanted.why_nothing(FOLDER) == said


def test_what_a_document_does_not_say_is_named() -> None:
    wanted = DocumentFilter.of(author="x", dated_after="2020", tags="y")
    assert wanted.lacking(FOLDER[0][1]) == ["tags"]
    assert wanted.lacking(NO_METADATA) == ["date", "author", "tags"]
    assert DocumentFilter.of(type="pdf").lacking(NO_METADATA) == []
