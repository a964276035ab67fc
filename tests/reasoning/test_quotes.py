"""A quote is found word for word or not at all."""

import random
import time
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_shared.documents import DocumentText, Identity
from research_shared.text.quotes import MAX_COMPARED, MAX_PLACES, MAX_QUOTE, QuoteFinder, folded_quote

IDENTITY = Identity(0, 0, 0, 0, 0)


def document(text: str, page_starts: tuple[int, ...] = ()) -> DocumentText:
    return DocumentText(
        path="d",
        media_type="text/plain",
        identity=IDENTITY,
        digest="0",
        engine="text",
        data=text.encode(),
        page_starts=page_starts,
    )


def place(text: str, quote: str, page_starts: tuple[int, ...] = ()) -> tuple[int, int, int | None] | None:
    found = QuoteFinder(document(text, page_starts)).find(quote)
    return None if found is None else (found.start_line, found.end_line, found.page)


TEXT = """
The quick brown fox
jumps over the lazy dog.

State-of-the-art meth-
ods rely on multi-
layer en-
cryption and on well-known ideas.
The efﬁcient “ﬂow” isn\u2019t unable to cope
with 0.5 percent or 1,000 cases at -5 degrees.
"""


@pytest.mark.parametrize(
    ("quote", "lines"),
    [
        ("The quick brown fox jumps", (2, 3)),
        ("The  quick\n brown\tfox", (2, 2)),
        ('"jumps over the lazy dog."', (3, 3)),
        ("State-of-the-art methods rely", (5, 6)),
        ("State-of-the-art meth-\nods rely", (5, 6)),
        ("State-of-the-art meth- ods rely", (5, 6)),
        ("rely on multi-layer encryption", (6, 8)),
        ("rely on multilayer encryption", (6, 8)),
        ("en\u00adcryption and on well-known", (7, 8)),
        ('The efficient "flow" isn\'t unable', (9, 9)),
        ("The ef\u200bficient “flow” isn\u2019t unable", (9, 9)),
    ],
)
def test_what_differs_in_layout_only_is_found_with_its_lines(quote: str, lines: tuple[int, int]) -> None:
    assert place(TEXT, quote) == (*lines, None)


@pytest.mark.parametrize(
    "quote",
    [
        "The quick brown foxes",
        "the quick brown fox",
        "The quick brown, fox",
        "he quick brown fox",
        "The quick brown fo",
        "The quick ... lazy dog.",
        "Stateof-the-art methods rely",
        "and on wellknown ideas",
        "isn't able to cope with",
        "able to cope with 0.5",
        "5 percent or 1,000 cases",
        "0.5 percent or 1,000 cases at 5 degrees",
        "5 degrees and nothing",
        "percent or 1",
        "the lazy dog",
        "",
        "fox",
        "x" * 3_000,
        "-",
        "---------------",
    ],
)
def test_what_differs_in_words_marks_or_case_is_not(quote: str) -> None:
    if quote == "the lazy dog":
        assert place(TEXT.replace("the lazy dog", "the lazy dogs"), quote) is None
    else:
        assert place(TEXT, quote) is None


@pytest.mark.parametrize(
    "quote",
    [
        "the relay can",
        "toxic to humans and animals",
        "and animals. It is four",
        "day old and cannot be",
        "The firm",
    ],
)
def test_a_quote_that_ends_within_a_word_with_a_mark_is_not(quote: str) -> None:
    text = (
        "In all tests the relay can\u2019t correlate.\nThe coating is non-toxic to humans and animals. "
        "It is four-day old and cannot be old.\nThe firm's own."
    )
    assert place(text, quote) is None


def test_a_quote_that_ends_before_or_after_such_a_word_is_found() -> None:
    text = "In all tests the relay can't correlate.\nThe coating is non-toxic to humans and animals."
    assert place(text, "tests the relay can't") == (1, 1, None)
    assert place(text, "non-toxic to humans and animals") == (2, 2, None)


def test_a_quote_is_located_by_page_and_may_cross_one() -> None:
    text = "First page says little.\nIts last sentence runs\non to the second page.\nAnd ends there."
    assert place(text, "sentence runs on to the second", (1, 3)) == (2, 3, 1)
    assert place(text, "on to the second page.", (1, 3)) == (3, 3, 2)


def test_a_quote_does_not_begin_behind_a_hyphen_that_only_the_line_may_have() -> None:
    text = "The council was un-\nable to do what the city wanted of it.\n"
    assert place(text, "able to do what the city wanted of it.") is None
    assert place(text, "The council was un") is None
    assert place(text, "unable to do what the city wanted of it.") == (1, 2, None)


def test_a_word_that_is_hyphenated_before_a_blank_line_is_one_word() -> None:
    assert place("They use new meth-\n\nods for all of it", "use new methods for all") == (1, 3, None)
    assert place("They use new\n\nmethods for all of it", "use new methods for all") == (1, 3, None)


def test_a_number_at_the_very_beginning_is_where_a_quote_can_begin() -> None:
    assert place("2019 was the first year of it", "2019 was the first year") == (1, 1, None)
    assert place("-2019 was the first year of it", "2019 was the first year") is None


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        pytest.param("0.5 percent or 1,000 of them", "0.5 percent or 1", False, id="before a thousand"),
        pytest.param(
            "they released version 3.1 of it", "they released version 3", False, id="before a decimal"
        ),
        pytest.param("they released version 3.", "they released version 3", True, id="before a full stop"),
        pytest.param("they had version 3. 1 was new", "they had version 3", True, id="before a sentence"),
        pytest.param("they had 3,1 or 4 versions", "1 or 4 versions", False, id="behind a decimal comma"),
        pytest.param("in May, 25 people were ill", "25 people were ill", True, id="behind a comma"),
        pytest.param("it was \u22125 degrees outside", "5 degrees outside", False, id="behind a minus sign"),
        pytest.param(
            "-5 degrees were measured", "5 degrees were measured", False, id="behind the first minus"
        ),
        pytest.param(
            "of covid-19 patients were ill", "19 patients were ill", True, id="behind a word's hyphen"
        ),
        pytest.param("here we read the faq\u0301 of it", "here we read the faq", False, id="before a mark"),
        pytest.param("a word_and_another one here", "and_another one here", False, id="behind an underscore"),
        pytest.param("'tis the season for giving", "'tis the season for giving", True, id="one apostrophe"),
        pytest.param("the season for giving", "'the season for giving\"", False, id="two kinds of marks"),
    ],
)
def test_a_quote_begins_and_ends_where_words_and_numbers_do(text: str, quote: str, found: bool) -> None:
    assert place(text, quote) == ((1, 1, None) if found else None)


def test_a_quote_needs_twelve_letters_or_four_characters_of_a_script_without_spaces() -> None:
    assert place("abcdef ghijkl", "abcdef ghijkl") == (1, 1, None)
    assert place("abcdef ghijk", "abcdef ghijk") is None
    assert place("隐藏通信", "隐藏通信") == (1, 1, None)
    assert place("隐藏通", "隐藏通") is None
    assert place("隐藏通ab", "隐藏通ab") is None
    assert place("隐藏通abc", "隐藏通abc") == (1, 1, None)


def test_a_quote_of_the_greatest_length_is_found_and_no_longer_one() -> None:
    text = "x" * MAX_QUOTE
    assert place(text, text) == (1, 1, None)
    assert place(text + "x", text + "x") is None


def test_the_first_of_equal_places_counts() -> None:
    assert place("a b c\nthe same words here\nthe same words here\n", "the same words here") == (2, 2, None)


def test_a_place_that_fails_at_its_border_does_not_hide_a_later_one() -> None:
    assert place("unable to follow them\nable to follow them\n", "able to follow them") == (2, 2, None)


def test_scripts_without_spaces_ignore_line_breaks() -> None:
    text = "洋葱路由隐藏了谁与\n谁通信的事实。\n"
    assert place(text, "隐藏了谁与谁通信") == (1, 2, None)
    assert place(text, "隐藏了我与谁通信") is None


def test_a_hyphen_before_something_that_is_no_word_stays_one() -> None:
    assert place("the cost - say pre-\n(and post-) war years", "the cost - say pre- (and post-) war") == (
        1,
        2,
        None,
    )
    assert place("something ends here with a hyphen-", "ends here with a hyphen-") == (1, 1, None)


WORDS = st.text("abcdefgh", min_size=2, max_size=7)


@given(st.lists(st.lists(WORDS, min_size=3, max_size=9), min_size=2, max_size=8), st.data())
@settings(max_examples=150, deadline=None)
def test_every_run_of_whole_words_of_a_document_is_found_however_it_is_wrapped(
    rows: list[list[str]], data: st.DataObject
) -> None:
    words = [word for row in rows for word in row]
    first = data.draw(st.integers(0, len(words) - 3))
    last = data.draw(st.integers(first + 3, len(words)))
    quote = data.draw(st.sampled_from([" ", "\n", "  \n\t"])).join(words[first:last])
    text = "\n".join(" ".join(row) for row in rows)
    found = QuoteFinder(document(text)).find(quote)
    if sum(map(len, words[first:last])) < 12:
        assert found is None
        return
    assert found is not None
    shown = " ".join(document(text).lines(found.start_line, found.end_line))
    assert " ".join(words[first:last]) in shown


def near_miss(sentence: str, rng: random.Random) -> str:
    """A sentence changed in one place, in a way that a person could overlook."""
    words = sentence.split()
    at = rng.randrange(1, len(words) - 1)
    change = rng.randrange(9)
    if change == 0:
        words[at] = words[at][:-1] or "x"
    elif change == 1:
        words[at] += rng.choice("sdn")
    elif change == 2:
        words.insert(at, rng.choice(["not", "never", "un", "0"]))
    elif change == 3:
        del words[at]
    elif change == 4:
        words[at], words[at - 1] = words[at - 1], words[at]
    elif change == 5:
        words[at] = words[at].swapcase()
    elif change == 6:
        words[at] += ","
    elif change == 7:
        words[at - 1 : at + 1] = [words[at - 1] + words[at]]
    else:
        words[0] = words[0][1:] or "y"
    return " ".join(words)


def test_a_thousand_near_misses_are_never_verified() -> None:
    rng = random.Random(20260728)
    vocabulary = [
        "".join(rng.choice("bcdfglmnprst") + rng.choice("aeiou") for _ in range(rng.randrange(1, 5)))
        for _ in range(400)
    ]
    sentences = [" ".join(rng.choices(vocabulary, k=rng.randrange(8, 20))) for _ in range(300)]
    lines, column = [], ""
    for word in " ".join(sentences).split():
        if len(column) + len(word) > 60:
            cut = rng.randrange(2, len(word)) if len(word) > 4 and rng.random() < 0.4 else 0
            lines.append(f"{column} {word[:cut]}-" if cut else column)
            column = word[cut:]
        else:
            column = f"{column} {word}".strip()
    finder = QuoteFinder(document("\n".join([*lines, column])))
    plain = f" {' '.join(sentences)} "
    misses = 0
    while misses < 1_000:
        sentence = rng.choice(sentences)
        assert finder.find(sentence) is not None
        quote = near_miss(sentence, rng)
        if f" {quote} " in plain:
            continue
        misses += 1
        assert finder.find(quote) is None, (quote, sentence)


def test_folding_a_quote_changes_nothing_but_its_layout() -> None:
    assert folded_quote(" “Pre-\n  war ﬁgures, 10² ” ") == "Pre\x00war figures, 10²"
    assert folded_quote("a\x00b") == "ab"


def test_a_large_document_is_searched_quickly(tmp_path: Path) -> None:
    text = "\n".join(f"Line {n} of a long docu-\nment that says nothing new." for n in range(20_000))
    finder = QuoteFinder(document(text))
    assert finder.find("Line 19999 of a long document that says") is not None
    assert all(finder.find(f"Line {n} of a short document") is None for n in range(20))


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("a" * 300_000, "a" * 1_000),
        ("x " + "a" * 300_000, "a" * 1_000),
        ("a " * 150_000 + "a-a", "a " * 500 + "aa"),
        ("ab-" * 100_000, "ab" * 400),
        ("-a" * 150_000, "-" + "a" * 600),
        ("-a " * 100_000, "a " * 300 + "b"),
    ],
)
def test_a_document_that_almost_holds_a_quote_everywhere_is_given_up_early(
    text: str, quote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = {"places": 0, "compared": 0}
    aligned = QuoteFinder._aligned

    def counted(text: str, begin: int, wanted: str) -> int | None:
        work["places"] += 1
        work["compared"] += len(wanted)
        return aligned(text, begin, wanted)

    monkeypatch.setattr(QuoteFinder, "_aligned", staticmethod(counted))
    started = time.process_time()
    assert place(text, quote) is None
    assert work["places"] <= 2 * MAX_PLACES
    assert work["compared"] <= 2 * (MAX_COMPARED + MAX_QUOTE)
    assert time.process_time() - started < 20


Form = Literal["NFC", "NFD"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_an_accent_is_the_same_in_one_character_or_in_two_but_is_never_lost(form: Form, asked: Form) -> None:
    text = normalize(form, "Die Überprüfung der Größe endet im Café\nund in q́ beginnt es neu.")
    assert place(text, normalize(asked, "Überprüfung der Größe endet")) == (1, 1, None)
    assert place(text, normalize(asked, "der Größe endet im Café")) == (1, 1, None)
    assert place(text, "Uberprufung der Große endet") is None
    assert place(text, normalize(asked, "der Größe endet im Cafe")) is None
    assert place(text, normalize(asked, "endet im Café und in q")) is None


def test_a_quote_may_not_end_within_a_word_of_a_script_with_vowel_signs() -> None:
    text = "\u0938\u0902\u0926\u0947\u0936 \u092d\u0947\u091c\u0928\u0947 \u0935\u093e\u0932\u0947 \u0915\u094b \u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u0939\u0924\u0947 \u0939\u0948\u0902"
    words = text.split(" ")
    assert place(text, " ".join(words[:6])) == (1, 1, None)
    assert place(text, " ".join([*words[:4], words[4][:4]])) is None


def test_every_latin_ligature_is_the_letters_that_it_joins() -> None:
    for ligature in "ﬀﬁﬂﬃﬄﬅﬆ":
        text = f"In the old print wa{ligature}er was measured."
        assert place(text, f"In the old print wa{normalize('NFKC', ligature)}er") == (1, 1, None)
