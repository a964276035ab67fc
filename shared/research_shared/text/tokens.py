"""An estimate of how many tokens a text has, without a tokenizer's vocabulary.

The text is split as byte-pair tokenizers split it (words, runs of digits, runs of punctuation, white space) and each
piece is charged what such pieces cost on average. The charges were fitted to OpenAI's `o200k_base` and `cl100k_base`
and to Anthropic's published tokenizer; `docs/reasoning.md` has the errors that were measured.
"""

import re
from collections.abc import Callable
from typing import Final

Estimator = Callable[[str], int]
"""Gives the number of tokens of a text; pass another one where an exact tokenizer is at hand."""

_PIECES: Final = re.compile(
    r"(?P<word>[A-Za-z]+)|(?P<number>[0-9]+)|(?P<wide>[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff])"
    r"|(?P<letters>[^\W\d_]+)|(?P<breaks>[ \t]*\n\s*)|(?P<blanks>[ \t]+)|(?P<marks>[!-/:-@\[-`{-~]+)|(?P<other>.)",
    re.DOTALL,
)
_FREE_LETTERS: Final = 7
"""Most words of up to this many letters are one token."""
_FREE_BLANKS: Final = 16
"""White space of up to this many characters is one token; no vocabulary has tokens for runs of any length."""


def estimate_tokens(text: str) -> int:
    """The estimated number of tokens of a text."""
    total = 0.0
    for match in _PIECES.finditer(text):
        kind = match.lastgroup
        size = match.end() - match.start()
        if kind == "word":
            total += 1.0 if size <= _FREE_LETTERS else 1.0 + (size - _FREE_LETTERS) * 0.16
        elif kind == "blanks":
            total += 0.0 if size == 1 else 0.6 + max(0, size - _FREE_BLANKS) / _FREE_BLANKS
        elif kind == "breaks":
            total += 0.8 + max(0, size - _FREE_BLANKS) / _FREE_BLANKS
        elif kind == "marks":
            total += 0.4 + 0.52 * size
        elif kind == "number":
            total += size / 2.4
        elif kind == "letters":
            total += max(1.0, size / 2.6)
        elif kind == "wide":
            total += 1.0
        else:
            total += 1.5
    return round(total)


_DENSE: Final = re.compile(r"[A-Za-z0-9+/_]{26,}|[A-Z]{4,}")
"""What is no prose: keys and encoded data, and runs of capitals such as sequences of bases."""
_PER_DENSE_CHARACTER: Final = 0.45
_NUMBER: Final = re.compile(r"[0-9]+")
_PER_NUMBER: Final = 0.5
"""Digits are cut into threes, so that numbers take more the shorter they are."""


def ceiling_tokens(text: str) -> int:
    """An estimate for limits: at least four fifths of the true number also for encoded data, sequences and tables.

    Prose and code are estimated 10 % to 40 % too high. Measured with `o200k_base`; ideographs that are rare are the
    exception, with up to two tokens each where one is charged.
    """
    dense = sum(match.end() - match.start() for match in _DENSE.finditer(text))
    numbers = sum(1 for _ in _NUMBER.finditer(text))
    return estimate_tokens(text) + round(dense * _PER_DENSE_CHARACTER + numbers * _PER_NUMBER)
