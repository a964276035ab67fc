"""Where a quote is found exactly: its borders, its sentence, heads of pages, and what lies just beyond a limit."""

import pytest

from research_shared.documents import DocumentText, Identity
from research_shared.text.quotes import QuoteFinder, QuoteMatch, weight


def document(text: str, page_starts: tuple[int, ...] = ()) -> DocumentText:
    return DocumentText(
        path="d",
        media_type="text/plain",
        identity=Identity(0, 0, 0, 0, 0),
        digest="0",
        engine="text",
        data=text.encode(),
        page_starts=page_starts,
    )


def match(text: str, quote: str, page_starts: tuple[int, ...] = ()) -> QuoteMatch | None:
    return QuoteFinder(document(text, page_starts)).find(quote)


def shown(text: str, quote: str, page_starts: tuple[int, ...] = ()) -> str | None:
    found = match(text, quote, page_starts)
    return None if found is None else found.text


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        pytest.param("the quick brown fox jumps", "the quick brown fox jumps!", False, id="a mark behind the end"),
        pytest.param("they offer the two- and three-day trips", "they offer the two", True, id="before a loose hyphen"),
        pytest.param("they offer the two-day trips", "they offer the two", False, id="before a hyphen"),
        pytest.param("they offer the two -day trips", "they offer the two", True, id="before a hyphen after a space"),
        pytest.param("they offer cost-effective trips", "effective trips", False, id="behind a hyphen"),
        pytest.param("they offer cost -effective trips", "effective trips", True, id="behind a hyphen after a space"),
        pytest.param("they offer cost- effective trips", "effective trips", True, id="behind a hyphen before a space"),
        pytest.param("they offer 3-effective trips", "effective trips", True, id="behind a number's hyphen"),
    ],
)  # fmt: skip
def test_a_quote_ends_at_the_border_of_a_word(text: str, quote: str, *, found: bool) -> None:
    assert (match(text, quote) is not None) is found


HEADED = """Annual report, page 11.
the river rose by two metres at night.
Annual report, page 12.
The pumps were switched on by hand
and the staff stayed in the cellar.
Annual report, page 13.
The end of it all."""


def test_a_quote_that_begins_right_behind_the_head_of_a_page_is_shown_whole() -> None:
    found = match(HEADED, "The pumps were switched on by hand", (1, 3, 6))
    assert found is not None
    assert found.text == "The pumps were switched on by hand"
    assert (found.start_line, found.end_line, found.text_lines, found.page) == (4, 4, (4, 4), 2)


def test_a_quote_that_ends_right_before_the_head_of_a_page_is_shown_whole() -> None:
    assert shown(HEADED, "and the staff stayed in the cellar.", (1, 3, 6)) == (
        "The pumps were switched on by hand and the staff stayed in the cellar."
    )
    assert shown(HEADED, "the staff stayed in the cellar. The end of it", (1, 3, 6)) == (
        "The pumps were switched on by hand and the staff stayed in the cellar. The end of it all."
    )


def test_weight_counts_letters_and_digits_and_wide_characters_three_times() -> None:
    assert weight("ab 1_é-!") == 4
    assert weight("日本a") == 7
