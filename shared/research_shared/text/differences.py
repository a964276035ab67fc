"""The place of a document that is nearest to a quote which does not stand in it, and the words that differ there."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

from research_shared.documents import DocumentText
from research_shared.text.passages import passages
from research_shared.text.visible import visible
from research_shared.text.wording import ELLIPSIS, optional_spans, tokens

MIN_LIKENESS: Final = 0.4
"""Share of a quote's words and marks that its nearest place holds in their order, at least."""
MAX_DIFFERENCES: Final = 12
MAX_NEAREST_CHARS: Final = 600
"""Characters of the nearest place that are given."""
_REGIONS: Final = 3
"""Passages of a document that are compared word by word."""
_MAX_REGION: Final = 12_000
"""Characters of one region that are compared."""
_MAX_SAID: Final = 120
_WORD_RUN: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Words of the quote, and what the document has in their place. One of them may be empty."""

    quoted: str
    written: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestPlace:
    """Where a document comes nearest to a quote. Lines are 1-based and inclusive; `likeness` is between 0 and 1."""

    start_line: int
    end_line: int
    page: int | None
    text: str
    differences: tuple[Difference, ...]
    likeness: float


@dataclass(frozen=True, slots=True)
class _Part:
    """A word or mark with its offsets."""

    text: str
    begin: int
    end: int


def nearest_place(document: DocumentText, quote: str) -> NearestPlace | None:
    """Return the place of a document that shares the most words with a quote, in their order; None if nothing is near."""
    asked = _words_and_marks(visible(quote).strip())
    words = {word for part in asked for word in _WORD_RUN.findall(part.text.lower())}
    if not words:
        return None
    found: NearestPlace | None = None
    for line, text in _regions(document, words):
        place = _nearest_in(document, line, text, asked)
        if place is not None and (found is None or place.likeness > found.likeness):
            found = place
    return found


def _regions(document: DocumentText, words: set[str]) -> list[tuple[int, str]]:
    """Return the first line and the text of the passages with the rarest words of the quote, each with its neighbours."""
    every = passages(document)
    held = [{word for word in words if word in text} for text in (each.text.lower() for each in every)]
    spread = Counter(word for some in held for word in some)
    rarity = {word: math.log1p(len(every) / count) for word, count in spread.items()}
    scores = [sum(rarity[word] for word in sorted(some)) for some in held]
    order = sorted((at for at, score in enumerate(scores) if score), key=lambda at: (-scores[at], at))
    regions: dict[int, str] = {}
    for at in order[:_REGIONS]:
        first = max(0, at - 1)
        begin, end = every[first].start_line, every[min(at + 1, len(every) - 1)].end_line
        text = "\n".join(document.lines(begin, end))
        if len(text) > _MAX_REGION:
            begin, text = every[at].start_line, every[at].text
            rarest = max(sorted(held[at]), key=lambda word: rarity[word])
            around = max(0, text.lower().find(rarest) - _MAX_REGION // 2)
            begin, text = begin + text.count("\n", 0, around), text[around : around + _MAX_REGION]
        regions.setdefault(begin, text)
    return list(regions.items())


def _words_and_marks(text: str) -> list[_Part]:
    """Return words and marks, without what a quotation may leave out. Words that a line's end divides are whole."""
    parts: list[_Part] = []
    joins = False
    for token in tokens(text, optional_spans(text)):
        if token.group:
            continue
        if token.kind == "soft":
            joins = bool(parts)
        elif joins:
            parts[-1] = _Part(parts[-1].text + token.text, parts[-1].begin, token.end)
            joins = False
        else:
            parts.append(_Part(token.text, token.begin, token.end))
    return parts


def _nearest_in(
    document: DocumentText, first_line: int, text: str, asked: Sequence[_Part]
) -> NearestPlace | None:
    found = _words_and_marks(text)
    quoted = [part.text.lower() for part in asked]
    window = _window([part.text.lower() for part in found], quoted)
    here = found[window[0] : window[1]]
    matcher = SequenceMatcher(None, quoted, [part.text.lower() for part in here], autojunk=False)
    codes = _trimmed(matcher.get_opcodes())
    same = sum(end - begin for tag, begin, end, _, _ in codes if tag == "equal")
    likeness = same / len(quoted)
    held = [index for tag, _, _, begin, end in codes if tag != "delete" for index in range(begin, end)]
    if likeness < MIN_LIKENESS or not held:
        return None
    begin, end = here[held[0]].begin, here[held[-1]].end
    start = first_line + text.count("\n", 0, begin)
    return NearestPlace(
        start_line=start,
        end_line=start + text.count("\n", begin, end),
        page=document.page_of(start),
        text=_on_one_line(text[begin:end], MAX_NEAREST_CHARS),
        differences=tuple(_differences(codes, asked, here))[:MAX_DIFFERENCES],
        likeness=likeness,
    )


def _window(found: Sequence[str], quoted: Sequence[str]) -> tuple[int, int]:
    """Return the stretch of words as long as the quote that shares the most with it, with half as much on both sides."""
    size = min(len(quoted), len(found))
    wanted = Counter(quoted)
    held: Counter[str] = Counter()
    shared = most = at = 0
    for index, word in enumerate(found):
        held[word] += 1
        shared += held[word] <= wanted[word]
        if index >= size:
            gone = found[index - size]
            shared -= held[gone] <= wanted[gone]
            held[gone] -= 1
        if shared > most:
            most, at = shared, max(0, index - size + 1)
    margin = size // 2 + 1
    return max(0, at - margin), min(len(found), at + size + margin)


_Code = tuple[str, int, int, int, int]


def _trimmed(codes: Sequence[_Code]) -> list[_Code]:
    """Leave out what the document has before and after the quote."""
    kept = [*codes]
    if kept and kept[0][0] == "insert":
        kept.pop(0)
    if kept and kept[-1][0] == "insert":
        kept.pop()
    if kept and kept[0][0] == "replace":
        tag, begin, end, from_, to = kept[0]
        kept[0] = (tag, begin, end, max(from_, to - (end - begin)), to)
    if len(kept) > 1 and kept[-1][0] == "replace":
        tag, begin, end, from_, to = kept[-1]
        kept[-1] = (tag, begin, end, from_, min(to, from_ + end - begin))
    return kept


def _differences(codes: Sequence[_Code], asked: Sequence[_Part], here: Sequence[_Part]) -> list[Difference]:
    found: list[Difference] = []
    for tag, begin, end, from_, to in codes:
        if tag == "equal":
            # Only the case differs, which counts within a quote.
            found += [
                Difference(quoted=left.text, written=right.text)
                for left, right in zip(asked[begin:end], here[from_:to], strict=True)
                if left.text != right.text and (begin or left is not asked[0])
            ]
        elif all(part.text != ELLIPSIS for part in asked[begin:end]):
            found.append(
                Difference(quoted=_written_out(asked[begin:end]), written=_written_out(here[from_:to]))
            )
    return found


def _written_out(parts: Sequence[_Part]) -> str:
    """Return words and marks as a text, with white space where they do not touch."""
    text = ""
    for index, part in enumerate(parts):
        apart = index > 0 and part.begin > parts[index - 1].end
        text += (" " if apart else "") + part.text
    return _on_one_line(text, _MAX_SAID)


def _on_one_line(text: str, most: int) -> str:
    text = " ".join(visible(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
