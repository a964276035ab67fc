"""The text around one passage, as the index keeps it, so that a hit is shown without reading its document."""

from array import array
from dataclasses import dataclass
from functools import cached_property

from research_documents.opensearch.layout import DocumentRecord
from research_documents.search.index.passage_index import ScoredPassage
from research_shared.documents import DocumentText


@dataclass(frozen=True, kw_only=True)
class WindowText(DocumentText):
    """Some lines of a document, from the line `first_line` on, under the numbers that they have in the document.

    `data` begins with those lines. Only what is asked by line answers as the whole text would: `line` and `page_of`.
    """

    first_line: int

    @cached_property
    def continued(self) -> "array[int]":
        """Nothing: where a long line is continued, `data` has a line break."""
        return array("Q")

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def line(self, number: int) -> str:
        """Return the line that has this number in the document."""
        return self._lines[number - self.first_line]


def window_of(
    passage: ScoredPassage, *, text: str, tail: str, record: DocumentRecord
) -> tuple[ScoredPassage, WindowText]:
    """Return the text of a passage and what follows it, and where in that the passage is: at its beginning."""
    body = text.encode()
    window = WindowText(
        path=record.path,
        media_type=record.info.media_type,
        identity=record.info.identity,
        digest=record.digest,
        engine=record.readers,
        data=body + tail.encode(),
        page_starts=record.page_starts,
        ocr_pages=record.ocr_pages,
        first_line=passage.line,
    )
    near = passage.near_end > passage.near_begin
    inside = passage._replace(
        begin=0,
        end=len(body),
        near_begin=passage.near_begin - passage.begin if near else 0,
        near_end=passage.near_end - passage.begin if near else 0,
    )
    return inside, window
