"""Whole passages as hits: for a model that answers from them, within a budget of tokens, ranked for a question in words."""

import re
from collections.abc import Sequence
from typing import Final

from research_documents.search.outcome import Hit
from research_shared.text.questions import asked_words
from research_shared.text.tokens import ceiling_tokens

DEFAULT_PASSAGE_TOKENS: Final = 4_000
MAX_PASSAGE_TOKENS: Final = 12_000
"""Estimated tokens of all passages of one answer; structure and text of it carry them both."""
LINE_NUMBER_TOKENS: Final = 3
MAX_WHOLE_LINE: Final = 4_000
"""Characters of a line that a whole passage shows."""
_OPERATOR: Final = re.compile(r"""["“”+*()\[\]^~]|(?:^|\s)-\w|\w:\w|\b(?:AND|OR|NOT)\b""")


def plain_question(query: str) -> str:
    """Return the telling words of a question, or the query itself if it has operators.

    >>> plain_question("How does latency affect the users?"), plain_question('+latency "mix network"')
    ('latency affect users', '+latency "mix network"')
    """
    return query if _OPERATOR.search(query) else " ".join(asked_words(query)) or query


def with_whole_passage(hit: Hit, *, passage: Sequence[str]) -> Hit:
    """Return the hit with all lines of its passage, whose first line is `hit.start_line`, but for blank ones at the ends."""
    best = hit.line_number - hit.start_line
    if best >= len(passage):
        return hit
    first, last = 0, len(passage) - 1
    while first < best and not passage[first].strip():
        first += 1
    while last > best and not passage[last].strip():
        last -= 1
    whole = passage[best] if len(passage[best]) <= MAX_WHOLE_LINE else hit.matched_text
    return hit._replace(
        matched_text=whole,
        before=tuple(line[:MAX_WHOLE_LINE] for line in passage[first:best]),
        after=tuple(line[:MAX_WHOLE_LINE] for line in passage[best + 1 : last + 1]),
    )


def within_tokens(hits: Sequence[Hit], most: int) -> list[Hit]:
    """Return the first hits that take at most `most` tokens together, but at least one."""
    for number, hit in enumerate(hits):
        lines = (*hit.before, hit.matched_text, *hit.after)
        most -= ceiling_tokens("\n".join(lines)) + LINE_NUMBER_TOKENS * len(lines)
        if number and most < 0:
            return list(hits[:number])
    return list(hits)
