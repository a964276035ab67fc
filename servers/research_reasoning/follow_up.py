"""Questions that follow an answer: its evidence, as the client carries it from one to the other. No server keeps anything.

A token holds the questions so far and the places of the quotes that the answer rests on, not their words: when it comes back,
the places are read again, if their document is the same as it was.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from research_reasoning.inquiry import Inquiry
from research_reasoning.replies.results import Synthesis
from research_shared.errors import InvalidArguments
from research_shared.serving.sealing import TokenError, TokenSealer

FOLLOW_UP_PURPOSE: Final = "follow-up"
FOLLOW_UP_TTL_S: Final = 86_400.0
"""Seconds that a token is good for."""
MAX_FOLLOW_UP_CHARS: Final = 2_000
"""The longest token. A model writes it again, so that short is more than cheap."""
MAX_CARRIED_DOCUMENTS: Final = 10
MAX_CARRIED_PLACES: Final = 40
MAX_EARLIER_QUESTIONS: Final = 3
MAX_EARLIER_CHARS: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedDocument:
    """The places in one document that an answer rested on: lines (1-based, inclusive). `digest` tells its version."""

    path: str
    digest: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedEvidence:
    """What a question takes over from the answer that it follows. `questions` are those asked so far, the first first."""

    questions: tuple[str, ...]
    documents: tuple[CarriedDocument, ...]


def follow_up_token(
    sealer: TokenSealer, result: Synthesis, inquiry: Inquiry, digests: Mapping[str, str]
) -> str:
    """Return the token of an answer, or nothing if it rests on no verified quote.

    `digests` are those of the documents by path. Of too many places the first are carried; of questions that are too long for
    them, the last.
    """
    questions = [*inquiry.earlier, inquiry.question][-MAX_EARLIER_QUESTIONS:]
    places: dict[str, list[tuple[int, int]]] = {}
    for item in result.quotes():
        if not item.verified or item.lines is None:
            continue
        ranges = places.setdefault(item.document, [])
        if item.lines not in ranges and sum(map(len, places.values())) < MAX_CARRIED_PLACES:
            ranges.append(item.lines)
    documents = [
        [path, digests[path], ranges] for path, ranges in places.items() if path in digests and ranges
    ]
    for first in range(len(questions)):
        asked = [question[:MAX_EARLIER_CHARS] for question in questions[first:]]
        for most in range(min(len(documents), MAX_CARRIED_DOCUMENTS), 0, -1):
            packed = json.dumps([asked, documents[:most]], ensure_ascii=False, separators=(",", ":"))
            token = sealer.seal(zlib.compress(packed.encode("utf-8", "surrogatepass"), 9))
            if len(token) <= MAX_FOLLOW_UP_CHARS:
                return token
    return ""


def carried_evidence(sealer: TokenSealer, token: str) -> CarriedEvidence:
    """Return what a token carries.

    Raises:
        InvalidArguments: the token cannot be used; the hint says what to do.
    """
    try:
        packed = sealer.open(token.strip())
    except TokenError as error:
        raise InvalidArguments(
            f"follow_up cannot be used: {error}",
            hint="Pass the follow_up of the last answer exactly as it is, or call again without it: then the evidence is "
            "looked for anew, and the answer gives a new one.",
        ) from error
    questions, documents = json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    return CarriedEvidence(
        questions=tuple(questions),
        documents=tuple(
            CarriedDocument(path=path, digest=digest, ranges=tuple((first, last) for first, last in ranges))
            for path, digest, ranges in documents
        ),
    )
