"""What a text says apart from how it is set: its tokens, what a quotation may leave out, and its letters alone."""

import pytest

from research_shared.text.wording import Token, is_part_of_word, optional_spans, skeleton, tokens


def said(text: str) -> list[str]:
    return [token.text for token in tokens(text)]


def kinds(text: str) -> list[tuple[str, str]]:
    return [(token.text, token.kind) for token in tokens(text)]


def left_out(text: str) -> list[str]:
    return [text[begin:end] for begin, end in optional_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two", ["one", "two"]),
        ("1,000,000.5 x", ["1,000,000.5", "x"]),
        ("1, 2. 3", ["1", ",", "2", ".", "3"]),
        ("rock'n'roll isn\u2019t 'it'", ["rock'n'roll", "isn't", "'", "it", "'"]),
        ("the firms' own", ["the", "firms", "'", "own"]),
        ("a.b", ["a", ".", "b"]),
        ("1.b 2,c", ["1", ".", "b", "2", ",", "c"]),
        ("''quoted'' \u201chere\u201d", ["'", "quoted", "'", "'", "here", "'"]),
        ("it ... ends.... so", ["it", "\u2026", "ends", "\u2026", "so"]),
        ("x_'y )' a)..", ["x", "'", "y", ")", "'", "a", ")", ".", "."]),
        ("x,5 y.5", ["x", ",", "5", "y", ".", "5"]),
        ("5 \u2126 a\0b", ["5", "\u03a9", "ab"]),
        ("it is 3.\uff11 now", ["it", "is", "3.\uff11", "now"]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", ["\ud55c", "\uae00"]),
        ("\u0301a", ["\u0301a"]),
        ("a....b", ["a", "\u2026", "b"]),
        ("it .. ends. .", ["it", ".", ".", "ends", ".", "."]),
        ("(fig.).", ["(", "fig", ".", ")", "."]),
        ("end..", ["end", ".", "."]),
        ("end...", ["end", "\u2026"]),
        ("_emphasis_ snake_case __", ["emphasis", "snake_case"]),
        ("*so* **it** `is` ~~not~~ 2*3 a * b", ["so", "it", "is", "not", "2", "*", "3", "a", "*", "b"]),
        ("a~b 5 ~ 6", ["a", "~", "b", "5", "~", "6"]),
        ("2* 3 *4", ["2", "3", "4"]),
        (r"a \*b \[x\] \1 \a \é", ["a", "b", "[", "x", "]", "\\", "1", "\\", "a", "\\", "é"]),
        ("trailing \\", ["trailing", "\\"]),
        ("a \\\u201cb", ["a", "\\", "'", "b"]),
        ("日本語 です", ["日", "本", "語", "で", "す"]),
        ("abc日本def", ["abc", "日", "本", "def"]),
        ("ef\ufb01cient \ufb03 \ufb05", ["efficient", "ffi", "st"]),
        ("caf\u0065\u0301 na\u0131\u0308ve", ["caf\u00e9", "na\u0131\u0308ve"]),
        ("\u0915\u093f\u0924\u093e\u092c", ["\u0915\u093f\u0924\u093e\u092c"]),
        ("zero\u200bwidth soft\u00adhyphen", ["zerowidth", "softhyphen"]),
        ("a\u00a0b\tc\nd", ["a", "b", "c", "d"]),
        ("", []),
        ("  ", []),
    ],
)
def test_a_text_is_its_words_numbers_and_marks(text: str, expected: list[str]) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("well-known", [("well", "word"), ("-", "hyphen"), ("known", "word")]),
        ("meth-\nods", [("meth", "word"), ("-", "soft"), ("ods", "word")]),
        ("meth-\n  \n ods", [("meth", "word"), ("-", "soft"), ("ods", "word")]),
        ("meth\u00ad\nods", [("meth", "word"), ("-", "soft"), ("ods", "word")]),
        ("meth- ods", [("meth", "word"), ("-", "hyphen"), ("ods", "word")]),
        ("meth-\n(ods", [("meth", "word"), ("-", "hyphen"), ("(", "mark"), ("ods", "word")]),
        (")-\nods", [(")", "mark"), ("-", "hyphen"), ("ods", "word")]),
        ("ends-\n", [("ends", "word"), ("-", "hyphen")]),
        ("ends-", [("ends", "word"), ("-", "hyphen")]),
        ("so -- it", [("so", "word"), ("-", "dash"), ("it", "word")]),
        ("so--it", [("so", "word"), ("-", "dash"), ("it", "word")]),
        ("so---15", [("so", "word"), ("-", "dash"), ("15", "word")]),
        ("--15", [("-", "dash"), ("15", "word")]),
        ("so \u2013 it", [("so", "word"), ("-", "dash"), ("it", "word")]),
        ("so\u2014it", [("so", "word"), ("-", "dash"), ("it", "word")]),
        ("at -15.5 or", [("at", "word"), ("-15.5", "word"), ("or", "word")]),
        ("-15", [("-15", "word")]),
        ("-5", [("-5", "word")]),
        ("-5 x", [("-5", "word"), ("x", "word")]),
        ("-\uff15 x", [("-\uff15", "word"), ("x", "word")]),
        ("(-15)", [("(", "mark"), ("-15", "word"), (")", "mark")]),
        ("\u221215", [("-15", "word")]),
        ("3-15", [("3", "word"), ("-", "hyphen"), ("15", "word")]),
        ("x -y", [("x", "word"), ("-", "hyphen"), ("y", "word")]),
        ("x -", [("x", "word"), ("-", "hyphen")]),
        ("-", [("-", "hyphen")]),
        ("\u2014", [("-", "dash")]),
    ],
)
def test_a_hyphen_a_dash_a_minus_and_the_end_of_a_line_are_told_apart(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert kinds(text) == expected


def test_a_token_knows_its_place_and_whether_a_space_is_before_it() -> None:
    assert tokens("so  it's\u2026") == [
        Token("so", 0, 2, "word", spaced=True),
        Token("it's", 4, 8, "word", spaced=True),
        Token("\u2026", 8, 9, "mark", spaced=False),
    ]
    assert tokens("so\u200b x")[0] == Token("so", 0, 2, "word", spaced=True)
    assert tokens("so\u00ad\nx")[1] == Token("-", 2, 3, "soft", spaced=False)
    assert tokens("*a*, e\u0301-\ufb01x") == [
        Token("a", 1, 2, "word", spaced=True),
        Token(",", 3, 4, "mark", spaced=False),
        Token("\u00e9", 5, 7, "word", spaced=True),
        Token("-", 7, 8, "hyphen", spaced=False),
        Token("fix", 8, 10, "word", spaced=False),
    ]


def test_what_may_be_left_out_gets_a_number_for_each_of_its_spans() -> None:
    text = "a [1] b[2, 3] c"
    spans = optional_spans(text)
    assert [(token.text, token.group) for token in tokens(text, spans)] == [
        *[("a", 0), ("[", 1), ("1", 1), ("]", 1), ("b", 0)],
        *[("[", 2), ("2", 2), (",", 2), ("3", 2), ("]", 2), ("c", 0)],
    ]
    assert [token.group for token in tokens("x y z", [(2, 3)])] == [0, 1, 0]
    assert [token.group for token in tokens("x y z", [(0, 1), (4, 5)])] == [1, 0, 2]
    assert [token.group for token in tokens("x y z", [(0, 3), (3, 5)])] == [1, 1, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as shown [12], and [3-5; 7] or [^1]", ["[12]", "[3-5; 7]", "[^1]"]),
        ("[a link](https://a.example/x_(y)) so", ["[", "](https://a.example/x_(y))"]),
        ('![an image](x.png "title") so', ["![", '](x.png "title")']),
        ("[a link][ref] so", ["[", "][ref]"]),
        ("a <b>bold</b> word<br/>", ["<b>", "</b>", "<br/>"]),
        ("a <word> b", []),
        ("# Head\n\n## Sub", ["#", "##"]),
        ("- one\n* two\n\u2022 three", ["-", "*", "\u2022"]),
        ("> said\n> - it", [">", "> -"]),
        ("a | b |", ["|", "|"]),
        ("a\n-----\nb", ["-----"]),
        ("1. one\n2. two", ["1.", "2."]),
        ("list:\n1. one\n2) two", ["1.", "2)"]),
        ("text\n\n1. one", ["1."]),
        ("in the year\n1984. It was", []),
        ("a sum of\n19. It was", []),
        ("x" * 500 + "\n19. It was", []),
        ("1. " + "x" * 300 + "\n2. It was", ["1.", "2."]),
        ("a sum of\n1. " + "x" * 395 + "\n2. It was", ["2."]),
        ("a sum of\n1. " + "x" * 396 + "\n2. It was", []),
    ],
)
def test_references_links_and_marks_of_lists_may_be_left_out(text: str, expected: list[str]) -> None:
    assert left_out(text) == expected


@pytest.mark.parametrize(
    ("text", "reduced", "whole"),
    [
        ("It is-so, 5 [12]!", b"itisso5", b"itisso512"),
        ("One\nTwo", b"one\ntwo", b"one\ntwo"),
        ("1. item", b"item", b"1item"),
        ("[link](https://a.example)", b"link", b"linkhttpsaexample"),
        ("<b>Bold</b>", b"bold", b"bboldb"),
        ("Caf\u0065\u0301 \u00c9T\u00c9", "café\u00e9t\u00e9".encode(), "caf\u00e9\u00e9t\u00e9".encode()),
        ("ef\ufb01cient \u201cx\u201d\u2013y\u200b", b"efficientxy", b"efficientxy"),
        ("日本、語", "日本語".encode(), "日本語".encode()),
        ("_a_", b"a", b"a"),
    ],
)
def test_a_skeleton_is_letters_and_digits_alone(text: str, reduced: bytes, whole: bytes) -> None:
    assert skeleton(text) == reduced
    assert skeleton(text, all_of_it=True) == whole


def test_a_text_with_many_special_characters_has_the_same_skeleton() -> None:
    special = "".join(map(chr, range(0x2190, 0x2190 + 201)))
    assert skeleton(f"a{special}\ufb01b{special[:100]}c") == b"afibc"
    assert skeleton(f"a{special[:100]}\ufb01b") == b"afib"


@pytest.mark.parametrize(
    ("char", "part"),
    [("a", True), ("5", True), ("_", True), ("\u0301", True), ("\u093f", True), ("-", False), ("'", False)],
)
def test_accents_and_vowel_signs_belong_to_their_word(char: str, *, part: bool) -> None:
    assert is_part_of_word(char) is part
