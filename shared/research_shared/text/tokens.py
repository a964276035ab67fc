"""An estimate of how many tokens a text has, without a tokenizer's vocabulary.

The text is split as byte-pair tokenizers split it (words, numbers, runs of punctuation, white space) and each piece is
charged what such pieces cost on average. The charges were fitted to counts over 1 MB of English, German, French, Russian,
Japanese and Chinese prose, code, tables and JSON; `docs/reasoning.md` has the sources and the errors that were measured.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Estimator = Callable[[str], int]
"""Gives the number of tokens of a text; pass another one where an exact tokenizer is at hand."""

_KANA: Final = "\u3040-\u30ff"
_IDEOGRAPHS: Final = "\u1100-\u11ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
# A single blank belongs to the word after it.
_PIECES: Final = re.compile(
    rf"[A-Za-z]+|[0-9]+|[{_KANA}{_IDEOGRAPHS}]|[^\W\d_]+|[ \t]*\n\s*|[ \t]{{2,}}|[!-/:-@\[-`{{-~]+|[^ \t]"
)
_SHORT_WORD: Final = 7
"""Most words of up to this many letters are one token."""
_SHORT_BLANKS: Final = 16
"""White space of up to this many characters is one token; no vocabulary has tokens for runs of any length."""
_SHORT_RUN: Final = 16
"""Letters beyond ASCII that are charged as one word."""
_LONGEST_KEPT: Final = 24
_MOST_KEPT: Final = 4_096
"""Bounds on the pieces whose charge is kept: their length in characters and their number. Ten papers have 6,000 different
ones, a few of which make up most of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """Tokens of each kind of piece, for one family of tokenizers."""

    letter: float
    """Each letter of a word beyond the seventh. The word itself is one token."""
    capital: float
    """Each letter of a word in capitals, in place of `letter`."""
    number: float
    digit: float
    kana: float
    ideograph: float
    letters: float
    """A run of letters that begins with one beyond ASCII."""
    line_break: float
    blanks: float
    marks: float
    mark: float
    other: float

    def of(self, piece: str) -> float:
        """Return the charge of one piece."""
        first, size = piece[0], len(piece)
        if first.isspace():
            charge = (self.line_break if "\n" in piece else self.blanks) + _beyond(
                size, _SHORT_BLANKS
            ) / _SHORT_BLANKS
        elif not first.isascii():
            charge = self._of_script(piece)
        elif first.isalpha():
            charge = 1 + (
                size * self.capital
                if size > 1 and piece.isupper()
                else _beyond(size, _SHORT_WORD) * self.letter
            )
        elif first.isdigit():
            charge = self.number + size * self.digit
        else:
            charge = self.marks + size * self.mark
        return charge

    def _of_script(self, piece: str) -> float:
        """Return the charge of a run of letters, or of one character, beyond ASCII."""
        if _KANA_OR_IDEOGRAPH.match(piece):
            alone = self.kana if "\u3040" <= piece[0] <= "\u30ff" else self.ideograph
        else:
            alone = self.letters if piece[0].isalpha() else self.other
        return alone + _beyond(len(piece), _SHORT_RUN) / 3


def _beyond(size: int, limit: int) -> int:
    return max(0, size - limit)


_KANA_OR_IDEOGRAPH: Final = re.compile(f"[{_KANA}{_IDEOGRAPHS}]")


class _PieceCharges(dict[str, float]):
    """The charges of short pieces. When there are too many, all are forgotten: most are of random marks and tokens."""

    def __init__(self, charges: Charges) -> None:
        super().__init__()
        self._charges = charges

    def __missing__(self, piece: str) -> float:
        charge = self._charges.of(piece)
        if len(piece) <= _LONGEST_KEPT:
            if len(self) >= _MOST_KEPT:
                self.clear()
            self[piece] = charge
        return charge


def estimator(charges: Charges) -> Estimator:
    """Return the estimator of a family of tokenizers."""
    kept = _PieceCharges(charges)

    def estimate(text: str) -> int:
        return round(sum(map(kept.__getitem__, _PIECES.findall(text))))

    return estimate


OPEN: Final = Charges(
    letter=0.24, capital=0.12, number=1.6, digit=0.34, kana=0.56, ideograph=0.69, letters=2.0,
    line_break=0.89, blanks=0.3, marks=0.51, mark=0.3, other=1.2,
)  # fmt: skip
"""OpenAI (`o200k_base`), Llama 3, Qwen 3, Gemma 3 and Gemini."""

EARLIER_CLAUDE: Final = Charges(
    letter=0.49, capital=0.3, number=0.9, digit=0.34, kana=0.81, ideograph=1.2, letters=2.8,
    line_break=1.0, blanks=0.3, marks=0.76, mark=0.3, other=1.0,
)  # fmt: skip
"""Claude 3 to Opus 4.6."""

CLAUDE: Final = Charges(
    letter=1.35, capital=0.72, number=0.9, digit=0.34, kana=0.66, ideograph=1.04, letters=3.0,
    line_break=1.0, blanks=0.3, marks=0.9, mark=0.4, other=3.2,
)  # fmt: skip
"""Claude from Opus 4.7 on, and all of Claude 5. By Anthropic's documentation about 30 % more than before."""

BETWEEN: Final = Charges(
    letter=0.7, capital=0.38, number=1.25, digit=0.34, kana=0.61, ideograph=0.85, letters=2.4,
    line_break=0.95, blanks=0.3, marks=0.7, mark=0.35, other=2.2,
)  # fmt: skip
"""Between `OPEN` and `CLAUDE`, for a model that is not known."""

_CLAUDE_VERSION: Final = re.compile(r"claude\D*?(\d+)(?:[-.](\d{1,2})(?!\d))?(?!\d)", re.IGNORECASE)
_OPEN_NAMES: Final = re.compile(
    r"gpt|(?<![a-z])o[1-9](?![a-z0-9])|llama|qwen|qwq|gemma|gemini|mistral|deepseek", re.IGNORECASE
)
_NEW_TOKENIZER: Final = (4, 7)

_BETWEEN_ESTIMATE: Final = estimator(BETWEEN)


def estimate_tokens(text: str) -> int:
    """The estimated number of tokens of a text, for a model that is not known."""
    return _BETWEEN_ESTIMATE(text)


def estimator_for(model: str | None) -> Estimator:
    """Return the estimator for a model by its name, as providers write it."""
    name = model or ""
    if "claude" in name.lower():
        version = _CLAUDE_VERSION.search(name)
        earlier = version is not None and (int(version[1]), int(version[2] or 0)) < _NEW_TOKENIZER
        return estimator(EARLIER_CLAUDE if earlier else CLAUDE)
    return estimator(OPEN) if _OPEN_NAMES.search(name) else estimate_tokens


_DENSE: Final = re.compile(r"[A-Za-z0-9+/_]{26,}|[A-Z]{4,}|[!-/:-@\[-`{-~]{12,}")
"""What is no prose: keys and encoded data, runs of capitals such as sequences of bases, and runs of marks."""
_PER_DENSE_CHARACTER: Final = 0.25
_NUMBER: Final = re.compile(r"[0-9]+")
_PER_NUMBER: Final = 0.2
"""Some tokenizers take each digit for a token."""


def ceiling_tokens(text: str) -> int:
    """An estimate for limits: at least seven tenths of the true number also for encoded data, sequences and tables.

    Measured with `o200k_base` and with the tokenizer of Claude 5. English prose and code are between 20 % too low for the
    latter and 40 % too high for the former.
    """
    dense = sum(match.end() - match.start() for match in _DENSE.finditer(text))
    numbers = sum(1 for _ in _NUMBER.finditer(text))
    return estimate_tokens(text) + round(dense * _PER_DENSE_CHARACTER + numbers * _PER_NUMBER)
