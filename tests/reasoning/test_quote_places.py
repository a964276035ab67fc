"""Where a quote is found exactly: its borders, its sentence, heads of pages, and what lies just beyond a limit."""

import pytest

from research_shared.documents import DocumentText, Identity
from research_shared.text.quotes import MAX_SENTENCE, QuoteFinder, QuoteMatch, weight


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


FOX = "the quick brown fox jumps"
DOG = "over the lazy dog at noon"


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
        pytest.param("they offer good trips", "$ they offer good trips", False, id="a mark before the beginning"),
        pytest.param("abcdefghijklm", "'abcdefghijklm", True, id="one word behind a mark"),
        pytest.param("abcdefghijklm", "abcdefghijklm'", True, id="one word before a mark"),
        pytest.param(f"un{FOX} x {FOX[:-2]}", FOX, False, id="the end of the document within a word"),
        pytest.param(f"{FOX} not now", f'"{FOX}."', False, id="a full stop that cuts a negation off"),
        pytest.param(f"{FOX} not now", f'"{FOX}"', True, id="no full stop before a negation"),
        pytest.param("not that iPhones are sold here", "IPhones are sold here", False, id="a capital that cuts a negation off"),
        pytest.param("not that iPhones are sold here", "iPhones are sold here", True, id="no capital behind a negation"),
        pytest.param("they offer b1a-effective trips", "effective trips", False, id="behind a hyphen after one letter"),
        pytest.param("they offer the good-a1 trips", "they offer the good", False, id="before a hyphen and one letter"),
        pytest.param(f"{FOX}. not so", f"{FOX}.", True, id="with a full stop before a small letter"),
        pytest.param("1. we use good meth-\n2. odds of it", "we use good meth2 odds", False, id="a word and the number of an item"),
        pytest.param("1. we use good meth-\n2. odds of it", "we use good meth2. odds", True, id="with the mark of the item"),
        pytest.param("they offer 3-effective trips", "effective trips", True, id="behind a number's hyphen"),
        pytest.param("cost-effective trips", "effective trips", False, id="behind the first hyphen of the document"),
        pytest.param("they offer the good-a", "they offer the good", False, id="before the last hyphen of the document"),
        pytest.param("meth-\nods rely on it all", "methods rely on it", True, id="with a first word on two lines"),
        pytest.param("they offer the 14-day trips", "they offer the 14", True, id="before a number's hyphen"),
        pytest.param("unencryption of it all en", "encryption of it all", False, id="with the first letters at the very end"),
        pytest.param("they use en/cryption of it", "use encryption of it", False, id="two words and a mark as one word"),
        pytest.param("Not that Foxes are sold here", "Foxes are sold here", True, id="with the document's capital behind a negation"),
        pytest.param(f"so that {FOX}", f"T{FOX[1:]}", True, id="with a capital behind no negation"),
        pytest.param(FOX, f"THE{FOX[3:]}", False, id="a first word in capitals"),
        pytest.param(f"Not {FOX} [12 now. So\n\n{FOX} [12] now", f"{FOX} [12", True, id="behind a negation once and up to a reference once"),
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


@pytest.mark.parametrize(
    ("text", "quote", "lines"),
    [
        pytest.param(f"{FOX} and runs", f"> {FOX}", (1, 1), id="a mark of a block quote"),
        pytest.param(f"{FOX}\nand runs", f"# {FOX}\n> - and runs", (1, 2), id="marks of a list"),
        pytest.param(f"{FOX} and runs", f"... {FOX} ...", (1, 1), id="ellipses at both ends"),
        pytest.param(f"{FOX}\nsays\n{DOG}", f"{FOX} ... {DOG}", (1, 3), id="an ellipsis within"),
        pytest.param(f"{FOX}\nsays\n{DOG}", f"{FOX} \u2026 {DOG} ...", (1, 3), id="the ellipsis as one mark"),
        pytest.param(f"{FOX}\nsays\n{DOG}", f"{FOX} ... ... {DOG}", (1, 3), id="two ellipses in a row"),
        pytest.param(f"{FOX}\n{DOG}\nit so happened", f"{FOX}... {DOG} ... it so happened", (1, 3), id="three parts"),
        pytest.param(f"{FOX}\nit so happened\n{DOG}", f"{FOX} ... {DOG} ... it so happened", None, id="the last in the middle"),
        pytest.param(f"{FOX}\n{DOG}", f"{DOG} ... {FOX}", None, id="in the wrong order"),
        pytest.param(f"{FOX}\n{DOG}", f"{FOX} ... {FOX}", None, id="the same place twice"),
        pytest.param(f"{FOX}\n{FOX}", f"{FOX} ... {FOX}", (1, 2), id="two places"),
        pytest.param(f"{FOX} {FOX}", f"{FOX} ... {FOX}", (1, 1), id="two places in a line"),
        pytest.param(f"{FOX}\n{DOG}", f"{FOX} ... lazy dog at", None, id="a part that is too short"),
        pytest.param(f"{FOX}\n{DOG}", f"{FOX} ... !", None, id="a part without a letter"),
        pytest.param(f"{FOX} at all. So {DOG} not.", f"{FOX} ... {DOG}", None, id="a negation behind the last"),
        pytest.param(f"Not {FOX} at all. {DOG}", f"{FOX} ... {DOG}", None, id="a negation before the first"),
        pytest.param(f"{FOX}\n" + "fill it up\n" * 400 + f"{FOX}\n{DOG}", f"{FOX} ... {DOG}", (402, 403), id="the nearer one"),
    ],
)  # fmt: skip
def test_parts_of_a_quote_follow_each_other(text: str, quote: str, lines: tuple[int, int] | None) -> None:
    found = match(text, quote)
    assert (None if found is None else (found.start_line, found.end_line)) == lines


@pytest.mark.parametrize(
    ("gap", "found"),
    [
        ("well. It is so that", True),
        ("well. It is not so that", False),
        ("well. It is not so. Then", True),
        ("not at all. Then", False),
        ("not at all", False),
        ("at all. Then", True),
        ("at all", True),
        ("well. It. Not so. It is. Then", True),
    ],
)
def test_what_an_ellipsis_stands_for_does_not_turn_either_part_round(gap: str, *, found: bool) -> None:
    assert (match(f"{FOX} {gap} {DOG}.", f"{FOX} ... {DOG}.") is not None) is found


def crosses_page(
    foot: str, head: str, *, other_foot: str | None = None, other_head: str | None = None
) -> bool:
    """Whether a sentence that goes on behind the foot of a page and the head of the next one is found whole."""
    body = "\n".join(f"line {number} of it" for number in range(20))
    first = f"Before it all.\n{body}\n{FOX}\n{foot}"
    second = f"{head}\n{DOG}\nis how it ends\n{body}\n{foot if other_foot is None else other_foot}"
    third = f"{head if other_head is None else other_head}\nThe third one.\nIt says\nvery little."
    lines = [part.count("\n") + 1 for part in (first, second)]
    starts = (1, 1 + lines[0], 1 + sum(lines))
    text = f"{first}\n{second}\n{third}"
    assert match(text, f"{FOX} is how it ends", starts) is None
    return match(text, f"{FOX} {DOG}", starts) is not None


@pytest.mark.parametrize(
    ("foot", "head", "others", "left_out"),
    [
        pytest.param("- 7 -", "Report", {}, True, id="repeated"),
        pytest.param("- 7 -", "Report", {"other_foot": "- 8 -"}, True, id="repeated but for its number"),
        pytest.param("7", "REPORT", {"other_foot": "8", "other_head": "report"}, True, id="in other letters"),
        pytest.param("7 of  9", "Report", {"other_foot": "8 of 9"}, True, id="with two numbers and words"),
        pytest.param("7 9", "Report", {"other_foot": "8 9"}, False, id="a row of numbers"),
        pytest.param("Foot", "Report", {"other_foot": "Toe"}, False, id="a foot that is not repeated"),
        pytest.param("Foot", "Report", {"other_head": "Reply"}, False, id="a head that is not repeated"),
        pytest.param("Foot", "Report\nof the year", {}, True, id="two lines"),
        pytest.param("Foot", "Report\n\n\nof the year", {}, True, id="two lines with blank ones between"),
        pytest.param("Foot", "Report\nof the\nyear", {}, False, id="three lines"),
        pytest.param("Foot\nof\nit", "Report", {}, False, id="three lines at the foot"),
        pytest.param("Foot", "R" * 120, {}, True, id="as long as a head may be"),
        pytest.param("Foot", "R" * 121, {}, False, id="longer than a head may be"),
        pytest.param("Foot", "\n" * 7 + "Report", {}, True, id="in the eighth line"),
        pytest.param("Foot", "\n" * 8 + "Report", {}, False, id="in the ninth line"),
        pytest.param("Foot" + "\n" * 7, "Report", {}, True, id="in the eighth line from the end"),
        pytest.param("Foot" + "\n" * 8, "Report", {}, False, id="in the ninth line from the end"),
    ],
)
def test_a_line_that_pages_repeat_at_their_edges_is_left_out(
    foot: str, head: str, others: dict[str, str], *, left_out: bool
) -> None:
    assert crosses_page(foot, head, **others) is left_out


def test_a_head_is_left_out_or_quoted_as_a_whole() -> None:
    text = f"{FOX}\n- 7 -\nReport\n{DOG}\n- 8 -\nReport\nThe end of it."
    for between, found in (
        ("", True),
        ("7 -", False),
        ("- 7", False),
        ("7 - Report", False),
        ("- 7 - Report", True),
    ):
        assert (match(text, f"{FOX} {between} {DOG}", (1, 3, 6)) is not None) is found, between


def test_a_foot_of_two_lines_is_left_out_of_a_short_page() -> None:
    body = "a\nb\nc\nd"
    text = f"Before.\n{body}\n{FOX}\nFoot\nof it\n{DOG}\n{body}\nd\nFoot\nof it\nThe end."
    assert match(text, f"{FOX} {DOG}", (1, 9, 17)) is not None


def test_a_quote_that_ends_in_a_head_is_shown_without_it() -> None:
    text = f"{FOX}\n- 7 -\nReport\n{DOG}\n- 8 -\nReport\nThe end of it."
    assert shown(text, f"{FOX} - 7 - Report", (1, 3, 6)) == FOX
    assert shown(text, f"- 7 - Report {DOG}", (1, 3, 6)) == DOG


def test_a_foot_is_left_out_of_a_page_of_nine_lines() -> None:
    body = "a\nb\nc\nd\ne\nf"
    text = f"Before.\n{body}\n{FOX}\nFoot 1\n{DOG}\n{body}\nSo on.\nFoot 2\nThe end."
    assert match(text, f"{FOX} {DOG}", (1, 10, 19)) is not None


def test_references_alone_are_no_quote() -> None:
    assert match("as in [1234] [5678] [9012] here", "[1234] [5678] [9012]") is None


def test_an_ellipsis_stands_for_no_chapter_late_in_a_document_either() -> None:
    before = "It says so.\n" * 500
    near, far = ("Filling it.\n" * count for count in (20, 400))
    assert match(f"{before}{FOX}\n{near}{DOG}", f"{FOX} ... {DOG}") is not None
    assert match(f"{before}{FOX}\n{far}{DOG}", f"{FOX} ... {DOG}") is None


def number_words(count: int, accent: str = "") -> list[str]:
    return [f"w{number}{accent}rd" for number in range(count)]


@pytest.mark.parametrize("accent", ["o", "\u00f6", "\u65e5", "o [12] o"])
def test_every_part_of_a_very_long_line_is_found(accent: str) -> None:
    words = number_words(2_000, accent)
    text = document(f"A line before.\n{' '.join(words)}\nA line behind.")
    finder = QuoteFinder(text)
    for at in (*range(0, 1_990, 131), 1_994):
        quote = " ".join(words[at : at + 6])
        found = finder.find(quote)
        assert found is not None, at
        assert quote in " ".join(map(str.strip, text.lines(found.start_line, found.end_line)))
    assert finder.find(" ".join(words[7:12]) + " w13rd") is None


def test_a_place_that_fails_in_a_long_line_does_not_hide_a_later_one_in_it() -> None:
    filler = " ".join(number_words(3_000))
    for before in ("un", filler[:20_000] + " un"):
        assert match(f"{before}{FOX} x {filler} {FOX}", FOX) is not None
        assert match(f"{before}{FOX} x {FOX}", FOX) is not None
        assert match(f"{before}{FOX} x\n{FOX}", FOX) is not None
        assert match(f"{before}{FOX} x {filler}", FOX) is None


def test_a_line_on_which_a_quote_fails_many_times_does_not_hide_a_later_line() -> None:
    text = f"un{FOX} " * 140 + f"\n{FOX}"
    found = match(text, FOX)
    assert found is not None
    assert found.start_line == 2


def test_a_sentence_is_shown_for_six_hundred_characters_before_and_after_a_quote() -> None:
    words = " ".join(number_words(500))
    at = words.index("w250rd")
    quote = words[at : at + 40].rpartition(" ")[0]
    end = at + len(quote)
    assert shown(words, quote) == words[at - MAX_SENTENCE : end + MAX_SENTENCE].strip()


@pytest.mark.parametrize(
    ("text", "quote", "expected"),
    [
        pytest.param(f"So it is. Then {FOX}. So.", FOX, f"Then {FOX}.", id="between full stops"),
        pytest.param(f"So it is! Then {FOX}? So.", FOX, f"Then {FOX}?", id="between other marks"),
        pytest.param(f"So (it is.) Then {FOX}.) So.", FOX, f"Then {FOX}.)", id="with brackets"),
        pytest.param(f"It is by Dr. Fig. 5, Then {FOX}, e.g. Then. So.", FOX, f"It is by Dr. Fig. 5, Then {FOX}, e.g. Then.", id="abbreviations"),
        pytest.param(f"It is 5. then {FOX} now. then so", FOX, f"It is 5. then {FOX} now. then so", id="small letters"),
        pytest.param(f"So it is\n\nThen {FOX} now\n\nSo", FOX, f"Then {FOX} now", id="between blank lines"),
        pytest.param(f"So it is\n  \nThen {FOX}\n \nSo", FOX, f"Then {FOX}", id="up to a blank line"),
        pytest.param(f"So it is\n- Then {FOX} now\n- So", FOX, f"- Then {FOX} now", id="an item of a list"),
        pytest.param(f"So it is\n2. Then {FOX} now\n3) So", FOX, f"2. Then {FOX} now", id="an item with a number"),
        pytest.param(f"# So it is\nThen {FOX} now\n## So", FOX, f"Then {FOX} now", id="below a heading"),
        pytest.param(f"# So it is\n{FOX} now", FOX, FOX, id="right below a heading"),
        pytest.param("\u9690\u85cf\u901a\u4fe1\u3002 it is not so", "\u9690\u85cf\u901a\u4fe1\u3002", "\u9690\u85cf\u901a\u4fe1\u3002", id="with its full stop"),
        pytest.param(f"Dr. Then {FOX} now", FOX, f"Dr. Then {FOX} now", id="an abbreviation at the beginning"),
        pytest.param(f"Then {FOX} now", FOX, f"Then {FOX} now", id="all of it"),
        pytest.param(f"{FOX} now", FOX, FOX, id="from the beginning"),
        pytest.param(f"{FOX} is not it", FOX, f"{FOX} is not it", id="before a negation"),
        pytest.param(f"{FOX}, now", f"{FOX},", f"{FOX},", id="with its comma"),
        pytest.param(f"{FOX}, now", f"{FOX}.", FOX, id="without its full stop"),
        pytest.param(f"{FOX}.) Not so.", f"{FOX}.)", f"{FOX}.)", id="with its bracket before a negation"),
        pytest.param(f"{FOX}.) Now", f"{FOX}.)", f"{FOX}.)", id="with its bracket"),
        pytest.param("so the quick multi-\nlayer brown fo-\nxes jump", "so the quick multi-layer brown foxes", "so the quick multi-layer brown foxes", id="ends of lines"),
        pytest.param("so the quick multi-\nlayer brown fo-\nxes jump", "so the quick multilayer brown foxes", "so the quick multilayer brown foxes", id="ends of lines within words"),
        pytest.param("so the en-\ncryp-\ntion of it all", "so the encryption of it", "so the encryption of it", id="a word on three lines"),
        pytest.param("so the en-\ncryp-\ntion of it all", "so the encryptor of it", None, id="another word on three lines"),
        pytest.param("\u6d0b\u8471\u8def\u7531\u9690\n\u85cf\u4e86\u8c01", "\u6d0b\u8471\u8def\u7531\u9690\u85cf\u4e86\u8c01", "\u6d0b\u8471\u8def\u7531\u9690\u85cf\u4e86\u8c01", id="a script without spaces"),
        pytest.param("\u6d0b\u8471\u3002\u8def\u7531\u9690\u85cf\u4e86\u8c01\u3002\u6d0b", "\u7531\u9690\u85cf\u4e86\u8c01", "\u8def\u7531\u9690\u85cf\u4e86\u8c01", id="between its full stops"),
        pytest.param(f"{FOX[:9]} [12] {FOX[10:]} now", FOX, f"{FOX[:9]} [12] {FOX[10:]}", id="around a reference"),
        pytest.param(f"{FOX[:9]} [12] {FOX[10:]} now", f"{FOX[:9]} [12] {FOX[10:]}", f"{FOX[:9]} [12] {FOX[10:]}", id="with a reference"),
        pytest.param(f"{FOX[:9]} [12] {FOX[10:]} now", f"{FOX[:9]} [1] {FOX[10:]}", None, id="with another reference"),
        pytest.param(f"{FOX} [12] now", f"{FOX} [12", f"{FOX} [12", id="up to the middle of a reference"),
        pytest.param(f"[12] {FOX} now", f"[12] {FOX}", f"12] {FOX}", id="beginning with a reference"),
        pytest.param(f"[12] {FOX} now", FOX, f"[12] {FOX} now", id="behind a reference"),
        pytest.param(f"{FOX[:9]} [12] [13] {FOX[10:]} now", FOX, f"{FOX[:9]} [12] [13] {FOX[10:]}", id="around two references"),
        pytest.param(f"[12] 12 {FOX} now", f"12 {FOX}", f"[12] 12 {FOX} now", id="beginning with the number of the reference before it"),
        pytest.param("We like the cafe\u0301 here", "We like the caf\u00e9", "We like the cafe\u0301", id="with its last accent"),
        pytest.param("We like \u1112\u1161\u11ab\u1100\u1173\u11af here", "We like \ud55c\uae00", "We like \u1112\u1161\u11ab\u1100\u1173\u11af", id="in letters of Hangul"),
        pytest.param(f"2. 3 {FOX} and 2 {FOX}", f"2 {FOX}", f"2. 3 {FOX} and 2 {FOX}", id="beginning with the number of its item"),
        pytest.param(f"So it is\n# {FOX} now", f"# {FOX}", f"# {FOX}", id="beginning with the mark of a heading"),
        pytest.param(f"So it is\n12. {FOX} now", f"12. {FOX}", f"12. {FOX}", id="beginning with the number of an item"),
        pytest.param(f"So it is. It is. {FOX.capitalize()} now", f"It is. {FOX.capitalize()}", f"It is. {FOX.capitalize()}", id="two sentences"),
        pytest.param(f"So it is\u3002{FOX} now", f"\u3002{FOX}", f"So it is\u3002{FOX} now", id="beginning with a full stop"),
        pytest.param(f"{FOX}. It is not so. Now", f"{FOX}. It is", f"{FOX}. It is not so.", id="up to the middle of a sentence with a negation"),
        pytest.param("# \u9690\u85cf\u901a\u4fe1 not so\nBut then", "\u9690\u85cf\u901a\u4fe1", "# \u9690\u85cf\u901a\u4fe1 not so But then", id="in a heading with a negation"),
        pytest.param("\u9690\u85cf\u901a\u4fe1\u3002\u300d\u300f it is not so", "\u9690\u85cf\u901a\u4fe1\u3002\u300d", "\u9690\u85cf\u901a\u4fe1\u3002\u300d", id="up to the first of its brackets"),
    ],
)  # fmt: skip
def test_a_quote_is_shown_with_its_sentence(text: str, quote: str, expected: str | None) -> None:
    assert shown(text, quote) == expected


def test_a_page_s_head_with_marks_in_it_is_quoted_with_them_or_not_at_all() -> None:
    text = f"Report | of it\n{FOX}\nReport | of it\n{DOG}\nReport | of it"
    assert match(text, f"Report | of it {FOX}", (1, 3)) is not None
    assert match(text, f"Report of it {FOX}", (1, 3)) is None
    assert match(text, f"{DOG} Report | of it", (1, 3)) is not None
    assert match(text, f"{DOG} Report of it", (1, 3)) is None


def test_a_reference_that_begins_in_a_head_is_none_behind_it() -> None:
    text = f"{FOX}\nReport [12,\n13] {DOG}\nReport [12,\n14] It ends."
    assert match(text, f"{FOX} Report [12, 13] {DOG}", (1, 2, 4)) is not None
    assert match(text, f"{FOX} {DOG}", (1, 2, 4)) is None


def test_only_heads_are_left_out_of_a_document_that_has_some() -> None:
    text = f"Report\n{FOX}\n!?!\n{DOG}\nReport\nIt ends."
    assert match(text, f"{FOX} !?! {DOG}", (1, 5)) is not None
    assert match(text, f"{FOX} {DOG}", (1, 5)) is None


def test_lines_are_those_of_the_last_character() -> None:
    for text, quote, lines, shown_lines in (
        (f"{FOX}\na", f"{FOX} a", (1, 2), (1, 2)),
        (f"So {FOX} now\n", FOX, (1, 1), (1, 1)),
        (f"{FOX}\n{250 * ' '}a b", f"{FOX} a", (1, 2), (1, 2)),
    ):
        found = match(text, quote)
        assert found is not None, text
        assert ((found.start_line, found.end_line), found.text_lines) == (lines, shown_lines)


def test_an_ellipsis_stands_for_six_hundred_letters_of_any_script() -> None:
    first, letter = 12 * "\U00010428", "\U00010429"
    for count, found in ((600, True), (601, False)):
        text = f"{first} {count * letter} {DOG}"
        assert (match(text, f"{first} ... {DOG}") is not None) is found, count


def test_what_is_read_for_a_quote_is_bounded_and_what_is_not_read_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, behind = "x " * 150, "\n" + "y " * 150
    text = f"{before}\nun{FOX}\n{FOX}{behind}"
    read = 200 + len(f"un{FOX}\n") + 200
    monkeypatch.setattr("research_shared.text.quotes.MAX_COMPARED", read)
    assert match(text, FOX) is not None
    monkeypatch.setattr("research_shared.text.quotes.MAX_COMPARED", read - 1)
    assert match(text, FOX) is None


def test_tokens_that_are_compared_for_a_quote_are_bounded_for_each_quote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finder = QuoteFinder(document(f"the {FOX}"))
    monkeypatch.setattr("research_shared.text.quotes.MAX_COMPARED", 10)
    assert finder.find(FOX) is not None
    assert finder.find(FOX) is not None
    monkeypatch.setattr("research_shared.text.quotes.MAX_COMPARED", 9)
    assert finder.find(FOX) is None
