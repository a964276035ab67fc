"""The public form of file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_shared.access.names import MAX_PATH_BYTES, actual, shown

NAMES = st.binary(min_size=1, max_size=60).filter(lambda raw: b"\0" not in raw)


@given(NAMES)
def test_every_name_has_a_printable_form_that_leads_back_to_it(raw: bytes) -> None:
    public = shown(raw)
    assert actual(public) == raw
    assert "\n" not in public
    public.encode("utf-8")


@given(st.text(max_size=60))
def test_no_two_texts_stand_for_the_same_name(text: str) -> None:
    raw = actual(text)
    assert raw is None or shown(raw) == text


@pytest.mark.parametrize(
    ("raw", "public"),
    [
        (b"plan.md", "plan.md"),
        ("Größe 数.md".encode(), "Größe 数.md"),
        (b"caf\xe9.md", r"caf\xe9.md"),
        (b"a\\b.md", r"a\\b.md"),
        (b"two\nlines.md", r"two\x0alines.md"),
        ("exe\u202efdp.md".encode(), r"exe\xe2\x80\xaefdp.md"),
        (b"\xed\xb2\x80.md", r"\xed\xb2\x80.md"),
        (b"100%41.md", "100%41.md"),
        ("no-break\u00a0space.md".encode(), "no-break\u00a0space.md"),
    ],
)
def test_only_what_cannot_be_printed_is_escaped(raw: bytes, public: str) -> None:
    assert shown(raw) == public
    assert actual(public) == raw


@pytest.mark.parametrize(
    "text",
    [
        r"\x61.md",
        r"\x2e\x2e/secret.md",
        r"a\x2fb.md",
        r"\x00.md",
        "\0.md",
        r"\xE9.md",
        r"caf\xc3\xa9.md",
        "a\\b.md",
        "\ud800.md",
        "a\nb.md",
        "\u202e.md",
        "a" * (MAX_PATH_BYTES + 1),
        "x" * 1_000_000,
    ],
)
def test_anything_but_the_one_form_of_a_name_stands_for_nothing(text: str) -> None:
    assert actual(text) is None
