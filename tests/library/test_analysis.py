"""The fast ways of folding text give what the slow one gives, and terms are the same however a word is written."""
# ruff: noqa: RUF001  (other scripts are the point)

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research_shared.text.analysis import exact_terms, folded, is_quantity, unspaced
from support.sizes import examples


def folded_by_the_character(text: str) -> str:
    text = re.sub(r"(?<=[^\W\d_])[-\u00ad\u2010]\n[ \t]*([^\W\d_]+)", r"\1\n", text)
    text = re.sub(r"(?<=[^\W\d_]{3})([²¹]+)|(?<=\d)([²¹]+|(?=½))", r" \g<0>", text)
    out = []
    for char in unicodedata.normalize("NFKC", text):
        if unicodedata.category(char) == "Mn" and unspaced(char):
            out.append(f" {chr(ord(char) + 0x20000)} ")
        elif unicodedata.combining(char) or unicodedata.category(char) == "Cf":
            out.append(" " if char == "\u200b" else "")
        elif "\u0370" <= char <= "\u03ff" or "\u1f00" <= char <= "\u1fff":
            out.append(unicodedata.normalize("NFD", char)[0].replace("ς", "σ"))
        elif char in "ёİ\u0640٤":
            out.append({"ё": "е", "İ": "I", "\u0640": "", "٤": "4"}[char])
        else:
            out.append(f" {char} " if unspaced(char) else char)
    return re.sub(
        r"(?<![^\W_])(\d+)(?=[ke]?b(?![^\W_])|k(?![^\W_]))", r"\1 ", "".join(out), flags=re.IGNORECASE
    )


@settings(max_examples=examples(1_000), deadline=None)
@given(
    st.text(
        st.one_of(
            st.sampled_from("ab- \n\t1_\u00ad\u2010\u2011"),
            st.sampled_from("eéÉ\u0301½ﬁµ\u0345ßΩ\u212aÅ\u0306йИ\u0327c\u200d\ufeff“—…²¹"),
            st.sampled_from("ςσ\u03acёİı\u0640٤\u200b\u2009"),
            st.sampled_from(
                "日ア가\u1100\u1161\u11a8ｱﾞก\u0e33\u0e48שׁ\u05c1\u0628\u064e\uff21\U0001d400\u09c7\u09be"
            ),
        ),
        max_size=30,
    )
)
def test_text_is_folded_as_by_the_character(text: str) -> None:
    assert folded(text) == folded_by_the_character(text)
    assert folded(text).count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "forms",
    [
        ("café", "cafe\u0301", "CAFÉ", "cafe"),
        ("straße", "STRASSE", "STRAẞE", "strasse"),
        ("İstanbul", "ISTANBUL", "istanbul", "i\u0307stanbul", "ıstanbul"),
        ("οδός", "ΟΔΟΣ", "οδος", "οδο\u0301ς", "Ὁδός"),
        ("ёлка", "ЕЛКА", "елка", "е\u0308лка", "ёлка\u0301"),
        ("край", "КРАЙ", "краи\u0306"),
        ("العربية", "العـربـية", "العَرَبِيَّة"),
        ("2024", "٢٠٢٤", "۲۰۲۴", "２０２４", "๒๐๒๔"),
        ("5TB", "5 TB", "5\u00a0tb", "5\u2009TB", "５ＴＢ"),
        ("20µm", "20 μm"),
        ("12кг", "12 кг"),
        ("C#", "c#", "Ｃ＃", "C♯"),
        ("C++", "c++,"),
        (".NET", ".net", "(.Net)", '".NET"', "*.NET*"),
        ("grew 12", "grew¹²", "grew\u200b12"),
        ("10 6", "10⁶"),
        ("m2", "m²"),
        ("h2o", "H₂O"),
        ("5 1 2", "5½", "5 ½"),
        ("news paper", "news\u200bpaper", "news\u202fpaper", "news\u3000paper"),
        ("newspaper", "news\u00adpaper", "news\u200dpaper", "news\u2060paper"),
    ],
)  # fmt: skip
def test_all_forms_of_a_word_are_the_same_terms(forms: tuple[str, ...]) -> None:
    assert exact_terms(forms[0])
    assert {form: exact_terms(form) for form in forms} == dict.fromkeys(forms, exact_terms(forms[0]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ข้าว", "ข่าว"),
        ("ข้าว", "ขาว"),
        ("край", "краи"),
        ("C#", "C"),
        ("C++", "C"),
        ("C#", "C++"),
        (".NET", "net"),
        ("km²", "km"),
        ("106", "10⁶"),
        ("がく", "かく"),
        ("3D", "3 D"),
        ("90s", "90 s"),
    ],
)
def test_what_distinguishes_words_is_kept(one: str, other: str) -> None:
    assert exact_terms(one) != exact_terms(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5TB", True), ("1.5kg", True), ("5 TB", False), ("3D", False), ("B12", False), ("2024", False)],
)
def test_a_number_with_its_unit_in_one_word_is_a_quantity(text: str, expected: bool) -> None:
    assert is_quantity(text) is expected
