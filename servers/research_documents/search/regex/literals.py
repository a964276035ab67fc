"""Literals that every match of a regular expression contains, for narrowing a scan by the word index.

After Russ Cox, Regular Expression Matching with a Trigram Index (2012), with words in place of trigrams.
"""

from collections.abc import Sequence
from typing import Final

from research_documents.search.regex.dialect import literal_of, may_be_missing, pieces_of

MIN_LITERAL: Final = 3
"""Shorter literals are in nearly all documents."""
_MAX_LITERALS: Final = 16
_MAX_LENGTH: Final = 40

Literals = frozenset[str]
"""Parts of words in lower case. Every line that matches contains at least one of them."""


def required_literals(pattern: str) -> Literals | None:
    """Return literals of which every match contains at least one, in any case; None if none is certain."""
    return _Reader(pieces_of(pattern)).alternatives()


class _Reader:
    """Reads the pieces of an expression once, left to right."""

    def __init__(self, pieces: Sequence[tuple[str, bool]]) -> None:
        self._pieces = pieces
        self._at = 0

    def alternatives(self) -> Literals | None:
        """Return what an expression requires, up to its end or its closing parenthesis."""
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        found: Literals = frozenset()
        for literals in branches:
            if literals is None:
                return None
            found |= literals
        return found if len(found) <= _MAX_LITERALS else None

    def _sequence(self) -> Literals | None:
        """Return the most selective requirement of one branch."""
        best: Literals | None = None
        run = ""
        while (piece := self._peek()) not in {"", "|", ")"}:
            char = self._word_char()
            if char:
                if run[-1:].isdigit() and char.isalpha():
                    # The index has a number and its unit as two words.
                    best, run = _better(best, _literal(run)), ""
                optional, repeated = self._quantifier()
                if not optional:
                    run += char
                if optional or repeated:
                    best, run = _better(best, _literal(run)), ""
                continue
            best, run = _better(best, _literal(run)), ""
            literals = None
            if piece.startswith("("):
                literals = self._group()
            else:
                self._pass_over()
            optional, _ = self._quantifier()
            if not optional:
                best = _better(best, literals)
        return _better(best, _literal(run))

    def _peek(self) -> str:
        return self._pieces[self._at][0] if self._at < len(self._pieces) else ""

    def _word_char(self) -> str:
        """Consume an ASCII letter or digit that stands for itself; return it in lower case, or an empty string."""
        piece, inside = self._pieces[self._at]
        char = "" if inside else literal_of(piece)
        if len(char) != 1 or not (char.isascii() and char.isalnum()):
            return ""
        self._at += 1
        return char.lower()

    def _group(self) -> Literals | None:
        opening = self._peek()
        self._at += 1
        if opening.endswith(")"):  # flags alone
            return None
        literals = self.alternatives()
        self._at += 1
        return literals

    def _pass_over(self) -> None:
        """Skip a class, an assertion or another piece that requires no literal."""
        self._at += 1
        while self._at < len(self._pieces) and self._pieces[self._at][1]:
            self._at += 1

    def _quantifier(self) -> tuple[bool, bool]:
        """Consume a quantifier; return (may be missing, may repeat) for the piece before it."""
        piece = self._peek()
        if piece not in {"*", "+", "?"} and not (piece.startswith("{") and piece.endswith("}")):
            return False, False
        self._at += 1
        if self._peek() == "?":
            self._at += 1
        return may_be_missing(piece), piece != "?"


def _literal(run: str) -> Literals | None:
    return frozenset({run[:_MAX_LENGTH]}) if len(run) >= MIN_LITERAL else None


def _better(one: Literals | None, other: Literals | None) -> Literals | None:
    """Return the more selective of two requirements: the one with the longer literals."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda literals: (min(map(len, literals)), -len(literals)))
