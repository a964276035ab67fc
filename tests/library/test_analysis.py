"""The fast ways of folding text give what the slow one gives."""

import re
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from research_shared.text.analysis import folded, unspaced
from support.sizes import examples


def folded_by_the_character(text: str) -> str:
    text = re.sub(r"(?<=[^\W\d_])[-\u00ad\u2010]\n[ \t]*([^\W\d_]+)", r"\1\n", text)
    out = []
    for char in unicodedata.normalize("NFKC", text):
        if unicodedata.combining(char) or unicodedata.category(char) == "Cf":
            continue
        out.append(f" {char} " if unspaced(char) else char)
    return "".join(out)


@settings(max_examples=examples(1_000), deadline=None)
@given(
    st.text(
        st.one_of(
            st.sampled_from("ab- \n\t1_\u00ad\u2010\u2011"),
            st.sampled_from("eéÉ\u0301½ﬁµ\u0345ßΩ\u212aÅ\u0306йИ\u0327c\u200d\ufeff“—…²"),
            st.sampled_from(
                "日ア가\u1100\u1161\u11a8ｱﾞก\u0e33שׁ\u05c1\u0628\u064e\uff21\U0001d400\u09c7\u09be"
            ),
        ),
        max_size=30,
    )
)
def test_text_is_folded_as_by_the_character(text: str) -> None:
    assert folded(text) == folded_by_the_character(text)
    assert folded(text).count("\n") == text.count("\n")
