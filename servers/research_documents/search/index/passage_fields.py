"""The fields of a passage that are searched: what every index of passages makes terms of."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from research_shared.documents import DocumentText
from research_shared.text.analysis import folded, line_end_hyphens
from research_shared.text.passages import Span

_TAIL_WORDS: Final = 12
TAIL_BYTES: Final = 200


class PassageFields(NamedTuple):
    """Folded text of one passage: `stem` and `title` are analyzed to stems, `exact` to words as they are written.

    `content` is the text of the passage as it stands in the document.
    """

    content: str
    stem: str
    exact: str
    title: str


def passage_fields(text: DocumentText, spans: Sequence[Span]) -> Iterator[PassageFields]:
    """Yield the fields of each passage of a document, in order."""
    for number, span in enumerate(spans):
        content = text.data[span.begin : span.end].decode("utf-8")
        body = folded(content)
        following = spans[number + 1].begin if number + 1 < len(spans) else None
        # What a section is about counts for all its passages, not only for the one that holds the heading.
        heading = folded(span.heading)
        tail = _tail(text, following)
        # What folding leaves as it is has no hyphens at line ends.
        if body is not content and (apart := line_end_hyphens(content)):
            tail += f" . {folded(apart)}"
        yield PassageFields(
            content=content,
            stem=body if heading in body[: len(heading) + 8] else f"{heading}\n{body}",
            exact=body + tail,
            title=heading,
        )


def _tail(text: DocumentText, following: int | None) -> str:
    """Return the first words of the next passage, so that phrases match across the border, and words that it cuts."""
    if following is None:
        return ""
    after = text.data[following : following + TAIL_BYTES].decode("utf-8", "ignore")
    tail = " ".join(folded(after).split()[:_TAIL_WORDS])
    cuts_word = (
        text.continues_after(following) == following and not text.data[following - 1 : following].isspace()
    )
    return tail if cuts_word else f" {tail}"
