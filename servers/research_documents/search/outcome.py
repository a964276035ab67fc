"""Public results of a search."""

from dataclasses import dataclass
from typing import Final, NamedTuple

IN_PART: Final = "in part: "
"""How a reason begins for a document that was searched, but not all of it."""


class Hit(NamedTuple):
    """One hit of a search.

    `line_number` is 1-based and `matched_text` is that line, cut around the match when it is long. `page` is 1-based and
    None for documents without pages. `score` is the BM25 score, the fused one (0 to 1) in hybrid mode, None in regex mode. `before` and `after` are the lines
    around it, in the document's order. `start_line` and `end_line` are the passage that was ranked; in regex mode both
    are the line itself. `near` is the first and the last line of what is nearest by meaning, if that found it. `ocr` says that its page was read by OCR. A NamedTuple, because a search can make many thousands.
    """

    document: str
    line_number: int
    matched_text: str
    page: int | None = None
    score: float | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    start_line: int = 0
    end_line: int = 0
    ocr: bool = False
    near: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome:
    """Answer to one search.

    `total_documents` counts the documents within the scope that match the file pattern and that this search covered:
    in keyword and hybrid mode all that are indexed, in regex mode those it looked into before the limit or the deadline ended it.
    `truncated` says that there is or may be more than `hits`; `next_cursor` then continues where they end, unless
    the deadline passed before anything was found, or all that is missing is in documents that are not indexed yet.
    `unreadable` holds (path, reason) of documents without text, and of those of which pages are missing. `warnings` begin with one that begins with `INCOMPLETE:`
    when the answer does not cover all documents. `indexing` is then (documents that are indexed, all of them that are
    known), otherwise None; both count what is within the scope, matches the file pattern and gives text. `embedded` is
    (passages that have a vector, all passages) of the documents that this search covered, if it ranked by meaning too.
    `embedding_stopped`: for now no more of them get a vector; `warnings` say why.
    """

    hits: tuple[Hit, ...]
    total_documents: int
    truncated: bool
    unreadable: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    next_cursor: str | None = None
    indexing: tuple[int, int] | None = None
    embedded: tuple[int, int] | None = None
    embedding_stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """State of the index, for health checks and metrics.

    `missing` counts known documents that are not indexed in their present version. `embedded` is (passages that have a
    vector, all passages), None without hybrid search.
    """

    documents: int
    passages: int
    text_bytes: int
    unreadable: int
    missing: int
    building: bool
    watching: bool
    embedded: tuple[int, int] | None = None
