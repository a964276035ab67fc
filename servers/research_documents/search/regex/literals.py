"""What a line must hold for a regular expression to match in it, as far as an index of words can tell.

Russ Cox, Regular Expression Matching with a Trigram Index (2012), has the idea; here the words take the trigrams' place.
"""

from collections.abc import Sequence
from typing import Final

from research_documents.search.regex.dialect import literal_of, may_be_missing, pieces_of

MIN_PART: Final = 3
"""Shorter parts of words are in nearly all documents."""
_MAX_PARTS: Final = 16
_MAX_LENGTH: Final = 40

Parts = frozenset[str]
"""Parts of words in lower case, one of which at least is in every line that matches."""


def required_parts(pattern: str) -> Parts | None:
    """Parts of words of which every match holds at least one, in whatever case; None when nothing is certain."""
    return _Reader(pieces_of(pattern)).alternatives()


class _Reader:
    """Reads the pieces of an expression once, from left to right."""

    def __init__(self, pieces: Sequence[tuple[str, bool]]) -> None:
        self._pieces = pieces
        self._at = 0

    def alternatives(self) -> Parts | None:
        """What is required by an expression up to its end or to the parenthesis that closes it."""
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        found: Parts = frozenset()
        for parts in branches:
            if parts is None:
                return None
            found |= parts
        return found if len(found) <= _MAX_PARTS else None

    def _sequence(self) -> Parts | None:
        """The best of what is required by one branch."""
        best: Parts | None = None
        run = ""
        while (piece := self._peek()) not in {"", "|", ")"}:
            char = self._word_char()
            if char:
                optional, repeated = self._quantifier()
                if not optional:
                    run += char
                if optional or repeated:
                    best, run = _better(best, _part(run)), ""
                continue
            best, run = _better(best, _part(run)), ""
            parts = None
            if piece.startswith("("):
                parts = self._group()
            else:
                self._pass_over()
            optional, _ = self._quantifier()
            if not optional:
                best = _better(best, parts)
        return _better(best, _part(run))

    def _peek(self) -> str:
        return self._pieces[self._at][0] if self._at < len(self._pieces) else ""

    def _word_char(self) -> str:
        """A letter or digit of ASCII that stands for itself, in lower case."""
        piece, inside = self._pieces[self._at]
        char = "" if inside else literal_of(piece)
        if len(char) != 1 or not (char.isascii() and char.isalnum()):
            return ""
        self._at += 1
        return char.lower()

    def _group(self) -> Parts | None:
        opening = self._peek()
        self._at += 1
        if opening.endswith(")"):  # flags alone
            return None
        parts = self.alternatives()
        self._at += 1
        return parts

    def _pass_over(self) -> None:
        """A class, an assertion or any other piece requires nothing that is known."""
        self._at += 1
        while self._at < len(self._pieces) and self._pieces[self._at][1]:
            self._at += 1

    def _quantifier(self) -> tuple[bool, bool]:
        """Whether what was before may be missing, and whether it may come more than once."""
        piece = self._peek()
        if piece not in {"*", "+", "?"} and not (piece.startswith("{") and piece.endswith("}")):
            return False, False
        self._at += 1
        if self._peek() == "?":
            self._at += 1
        return may_be_missing(piece), piece != "?"


def _part(run: str) -> Parts | None:
    return frozenset({run[:_MAX_LENGTH]}) if len(run) >= MIN_PART else None


def _better(one: Parts | None, other: Parts | None) -> Parts | None:
    """Of two requirements the one that fewer lines will meet: that of the longer parts."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda parts: (min(map(len, parts)), -len(parts)))
