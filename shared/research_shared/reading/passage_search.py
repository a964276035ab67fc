"""The protocol by which evidence is looked for in a whole folder: an index provides it, or a scan of the texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from research_shared.access.globs import PathChoice
from research_shared.reading.filters import DocumentFilter

MAX_NAMED_COPIES: Final = 5
"""Documents that a warning names because another one stands for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A passage of a document. Lines are 1-based and inclusive; `score` is BM25, or fused with the similarity of meaning, comparable within one `FoundPassages`.

    `near` are the first and the last line of what is nearest to the query by meaning, if that found it.
    """

    path: str
    start_line: int
    end_line: int
    score: float
    near: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassages:
    """What the queries found: for each query its passages, best first.

    `considered` is how many documents were searched. `warnings` are sentences about what was not searched; the first begins
    with `INCOMPLETE` if documents are missing that a repetition may find.
    """

    by_query: tuple[tuple[FoundPassage, ...], ...]
    considered: int
    warnings: tuple[str, ...] = ()


def counted_once(copies: Mapping[str, str]) -> str:
    """Return the warning that documents were left out because another one, their value, has the same content."""
    named = [f"{path} (same content as {first})" for path, first in sorted(copies.items())]
    return f"counted once: {first_named(named)}"


def first_named(named: Sequence[str]) -> str:
    """Return the first documents that a warning names, and how many more there are.

    >>> first_named(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(named) - MAX_NAMED_COPIES} more" if len(named) > MAX_NAMED_COPIES else ""
    return f"{', '.join(named[:MAX_NAMED_COPIES])}{more}"


class PassageSearch(Protocol):
    """Finds the passages of the documents in the current scope that queries in words fit best."""

    async def find(
        self, queries: Sequence[str], *, paths: PathChoice, wanted: DocumentFilter, limit: int
    ) -> FoundPassages:
        """Return at most `limit` passages for each query, of `wanted` documents among the chosen `paths`.

        Raises:
            InvalidPattern: a pattern is malformed.
            RootUnavailable: the research folder is gone.
        """
        ...
