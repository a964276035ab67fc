"""A quote is found word for word or not at all."""

import json
import random
import time
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_shared.documents import DocumentText, Identity
from research_shared.text.quotes import MAX_COMPARED, MAX_PLACES, MAX_QUOTE, QuoteFinder
from support.sizes import FULL, examples

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
        "the Quick brown fox",
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
        pytest.param("the season for giving", "'the season for giving\"", True, id="two kinds of marks"),
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
@settings(max_examples=examples(150), deadline=None)
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


def test_hundreds_of_near_misses_are_never_verified() -> None:
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
    while misses < examples(1_000):
        sentence = rng.choice(sentences)
        assert finder.find(sentence) is not None
        quote = near_miss(sentence, rng)
        if f" {quote} " in plain:
            continue
        misses += 1
        assert finder.find(quote) is None, (quote, sentence)


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
    optional = QuoteFinder._optional

    def counted(finder: QuoteFinder, outer: int, raw: str) -> list[tuple[int, int]]:
        work["places"] += 1
        work["compared"] += len(raw)
        return optional(finder, outer, raw)

    monkeypatch.setattr(QuoteFinder, "_optional", counted)
    started = time.process_time()
    assert place(text, quote) is None
    assert work["places"] <= 4 * MAX_PLACES
    assert work["compared"] <= 4 * (MAX_COMPARED + 20_000)
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


CASES = json.loads((Path(__file__).parents[1] / "data" / "models" / "quotes.json").read_text("utf-8"))


@pytest.mark.parametrize("quote", CASES["honest_but_refused"])
def test_an_honest_quote_of_a_markdown_document_is_found(quote: str) -> None:
    assert QuoteFinder(document(CASES["document"])).find(quote) is not None


@pytest.mark.parametrize("quote", CASES["verified_but_misleading"])
def test_a_quote_that_leaves_out_the_beginning_of_its_sentence_comes_with_all_of_it(quote: str) -> None:
    found = QuoteFinder(document(CASES["document"])).find(quote)
    assert found is not None
    assert (
        found.text
        == 'It is not true that latency fell by 4\u201310 per cent in every site [12], "as planned".'
    )
    assert (found.start_line, found.end_line, found.text_lines) == (6, 6, (5, 6))


SENTENCES = """
No client left during the pilot. Dr. Weber had not expected that it would work in every single one of the clinics.
Die Kosten stiegen im ersten Jahr nicht. The filter helped in none of the clinics that tried it.
The relay removes one layer, although it never learns who sent it, and hands the message on to the next one.
"""


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("no client left during the pilot", "No client left during the pilot"),
        ("client left during the pilot", None),
        ("Client left during the pilot.", None),
        (
            "it would work in every single one",
            "Dr. Weber had not expected that it would work in every single one of the clinics.",
        ),
        ("It would work in every single one of the clinics.", None),
        ("Die Kosten stiegen im ersten Jahr", None),
        ("Die Kosten stiegen im ersten Jahr nicht", "Die Kosten stiegen im ersten Jahr nicht"),
        ("The filter helped in", "The filter helped in none of the clinics that tried it."),
        ("The filter helped in.", None),
        (
            "The relay removes one layer ... and hands the message on",
            None,
        ),
        (
            "although it never learns who sent it ... on to the next one",
            "The relay removes one layer, although it never learns who sent it, and hands the message on to the next one.",
        ),
        ("and hands the message ... The relay removes one layer", None),
        ("The relay ... who sent it, and hands the message on", None),
    ],
)
def test_what_a_quote_leaves_out_does_not_turn_its_sentence_round(quote: str, text: str | None) -> None:
    found = QuoteFinder(document(SENTENCES)).find(quote)
    assert (found.text if found else None) == text


def test_an_ellipsis_stands_for_a_few_sentences_and_not_for_a_chapter() -> None:
    near = "The first sentence is here. " + "Filling of it. " * 10 + "The last sentence is there."
    far = "The first sentence is here. " + "Filling of it. " * 300 + "The last sentence is there."
    quote = "The first sentence is here ... The last sentence is there."
    assert place(near, quote) == (1, 1, None)
    assert place(far, quote) is None


PAGES = """Annual report 2021                       page 1
The river rose by two metres in the night and
reached the cellar before the
- 1 -
Annual report 2021                       page 2
pumps could be switched on again by the staff.
Nobody was hurt.
- 2 -
Annual report 2021                       page 3
It cost 300 euros.
- 3 -
"""


def test_heads_and_feet_that_pages_repeat_are_no_part_of_a_sentence() -> None:
    finder = QuoteFinder(document(PAGES, (1, 5, 9)))
    found = finder.find("reached the cellar before the pumps could be switched on again by the staff.")
    assert found is not None
    assert (found.start_line, found.end_line, found.page) == (3, 6, 1)
    assert found.text == (
        "The river rose by two metres in the night and reached the cellar before the pumps could be switched on again "
        "by the staff."
    )
    assert (
        finder.find("reached the cellar before the - 1 - Annual report 2021 page 2 pumps could be")
        is not None
    )
    assert finder.find("reached the cellar before the - 1 - Annual report 2021 page 3 pumps could be") is None
    assert QuoteFinder(document(PAGES)).find("reached the cellar before the pumps could be switched") is None


@pytest.mark.parametrize(
    ("text", "quote", "found"),
    [
        pytest.param("1. Wash the hands first\n2. Dry them well", "Wash the hands first Dry them well", True, id="list"),
        pytest.param("in all the number rose to\n20. The other fell", "the number rose to The other fell", False, id="number"),
        pytest.param("in all the number rose to\n20. The other fell", "the number rose to 20. The other", True, id="kept"),
        pytest.param("| Site | Patients |\n|---|---|\n| Bristol | 21 |", "Site Patients Bristol 21", True, id="table"),
        pytest.param("see [the long guide](https://a.example/x_(y)) for more", "see the long guide for more", True, id="link"),
        pytest.param("see [the long guide](https://a.example/x) for more", "see [the long guide](https://b.example/x) for more", False, id="other target"),
        pytest.param("it fell in all sites [12] at once", "it fell in all sites [13] at once", False, id="other reference"),
        pytest.param("water is H<sub>2</sub>O in every cup", "water is H2O in every cup", False, id="tag within a word"),
        pytest.param("the word\u2014as they say\u2014is long", "the word - as they say - is long", True, id="dashes"),
        pytest.param("it fell by 4\u201310 per cent then", "it fell by 4-10 per cent then", True, id="range"),
        pytest.param("it fell by 4\u201310 per cent then", "it fell by 4 10 per cent then", False, id="no range"),
        pytest.param("it was -5 degrees in the hall", "it was 5 degrees in the hall", False, id="sign"),
        pytest.param("it was 5 degrees in the hall", "it was -5 degrees in the hall", False, id="added sign"),
        pytest.param("rate of 3.5 per cent a year", "rate of 35 per cent a year", False, id="decimal point"),
        pytest.param("> It was quoted\n> by somebody else", "It was quoted by somebody else", True, id="block quote"),
        pytest.param("does it work in clinics? It does.", "does it work in clinics.", True, id="edge"),
        pytest.param("it works in all clinics. It does.", "it works in all clinics?", False, id="question"),
        pytest.param("x " * 30_000 + "the words in the middle" + " y" * 30_000, "the words in the middle", True, id="long line"),
    ],
)  # fmt: skip
def test_how_a_text_is_set_does_not_matter_and_what_it_says_does(text: str, quote: str, found: bool) -> None:
    assert (place(text, quote) is not None) is found


def test_sixty_quotes_of_ten_megabytes_take_a_second_or_two() -> None:
    count = 140_000 if FULL else 28_000
    lines = [
        f"Line {n} of this document says that the value {n * 7} was measured \u2013 not once."
        for n in range(count)
    ]
    text = document("\n".join(lines), tuple(range(1, count, 50)))
    assert len(text.data) > 72 * count
    started = time.process_time()
    finder = QuoteFinder(text)
    for n in range(0, count, count // 30):
        assert finder.find(lines[n]) is not None
        assert finder.find(lines[n].replace("was", "is")) is None
    assert time.process_time() - started < 6 * count / 140_000


def test_a_reference_that_goes_on_in_the_next_line_moves_no_line_and_no_head() -> None:
    text = "Networks of switches [16, 15,\n24] are used in many halls of the town.\nA head of a page\n\fThey cost little to run.\nA head of a page"
    pages = (1, 4)
    assert place(text, "They cost little to run.", pages) == (4, 4, 2)
    assert place(text, "Networks of switches are used in many halls", pages) == (1, 2, 1)
    assert place(text, "many halls of the town. They cost little to run.", pages) == (2, 4, 1)
