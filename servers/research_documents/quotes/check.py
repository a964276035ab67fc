"""Checks quotes of anybody's text against the documents, with the code that checks the quotes of a synthesis."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from cachetools import LRUCache

from research_documents.quotes.results import (
    MAX_CHECKED_QUOTES,
    CheckedQuote,
    NearestText,
    QuoteToCheck,
    VerifiedQuotes,
    WordDifference,
)
from research_documents.search import DocumentSearch
from research_shared.documents import DocumentText
from research_shared.errors import ResearchError
from research_shared.reading.library import Library
from research_shared.text.analysis import exact_terms
from research_shared.text.differences import NearestPlace, nearest_place
from research_shared.text.questions import MAX_ASKED_WORDS, asked_words
from research_shared.text.quotes import MAX_QUOTE, MIN_WEIGHT, QuoteFinder, QuoteMatch, weight
from research_shared.text.sizes import counted, one_or_many
from research_shared.text.visible import visible
from research_shared.tools.arguments import resolve_path
from research_shared.tools.names import INCOMPLETE

CANDIDATES: Final = 8
"""Documents in which a quote without a path is looked for."""
_HITS: Final = 24
_PHRASE_WORDS: Final = 10
_ELLIPSIS: Final = re.compile(r"\[?(?:\.{3,}|\u2026)\]?")
FINDER_BYTES: Final = 64 * 1024 * 1024
"""Text of the documents that are kept ready during a call."""
MAX_SHOWN_QUOTE: Final = 300
"""Characters of a quote that the answer repeats."""
_OUT_OF_TIME: Final = "not checked: the time limit was reached; check it in another call"

OnChecked = Callable[[int, int, str], Awaitable[None]]


class QuoteChecker:
    """Checks the quotes of one call, for at most `time_limit_s` seconds by `clock`."""

    def __init__(
        self,
        library: Library,
        engine: DocumentSearch,
        *,
        time_limit_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._engine = engine
        self._clock = clock
        self._deadline = clock() + time_limit_s
        self._finders: LRUCache[str, QuoteFinder] = LRUCache(FINDER_BYTES)
        self._warnings: dict[str, None] = {}
        self._cut = False
        """Whether more documents have words of the last quote than were looked into."""
        self.looked_into: set[str] = set()
        """The documents that were looked into."""

    async def check(self, quotes: Sequence[QuoteToCheck], *, on_checked: OnChecked) -> VerifiedQuotes:
        """Return what became of each quote. `on_checked` receives how many are done, of how many, and a sentence."""
        asked = quotes[:MAX_CHECKED_QUOTES]
        if len(asked) < len(quotes):
            self._warnings[
                f"{INCOMPLETE}: {len(asked)} of {counted(len(quotes), 'quote')} {one_or_many(len(asked), 'is', 'are')} checked; give the others in another call"
            ] = None
        checked: list[CheckedQuote] = []
        for number, quote in enumerate(asked, 1):
            checked.append(await self._checked(quote))
            await on_checked(number, len(asked), f"checked {number} of {counted(len(asked), 'quote')}")
        late = sum(quote.reason == _OUT_OF_TIME for quote in checked)
        if late:
            self._warnings[
                f"{INCOMPLETE}: {late} of {counted(len(checked), 'quote')} {one_or_many(late, 'is', 'are')} not checked: the time limit was reached"
            ] = None
        verified = sum(quote.verified for quote in checked)
        first = sorted(self._warnings, key=lambda warning: not warning.startswith(INCOMPLETE))
        return VerifiedQuotes(
            quotes=tuple(checked),
            verified=verified,
            not_verified=len(checked) - verified,
            warnings=tuple(first),
        )

    def _is_late(self) -> bool:
        return self._clock() >= self._deadline

    async def _checked(self, asked: QuoteToCheck) -> CheckedQuote:
        text = " ".join(visible(asked.quote).split())
        shown = text if len(text) <= MAX_SHOWN_QUOTE else text[: MAX_SHOWN_QUOTE - 1] + "…"
        reason = _refusal(text) or (_OUT_OF_TIME if self._is_late() else None)
        if reason is not None:
            return CheckedQuote(quote=shown, verified=False, reason=reason)
        named: DocumentText | None = None
        missing: str | None = None
        if asked.document_path:
            try:
                named = await self._read(await resolve_path(self._library, asked.document_path))
            except ResearchError as error:
                missing = f"{error.message}. {error.hint}" if error.hint else error.message
            else:
                match = await self._find(named, asked.quote)
                if match is not None:
                    return self._found_quote(shown, named, match)
        return await self._looked_for(asked, shown, named, missing)

    async def _looked_for(
        self, asked: QuoteToCheck, shown: str, named: DocumentText | None, missing: str | None
    ) -> CheckedQuote:
        """Return what became of a quote that is not in the document named, or of one without a document."""
        near = [] if named is None else await self._near(named, asked.quote)
        for text in await self._candidates(asked.quote, besides=named):
            match = await self._find(text, asked.quote)
            if match is not None:
                found = self._found_quote(shown, text, match)
                return found if not asked.document_path else _elsewhere(found, missing)
            if named is None and not self._is_late():
                near += await self._near(text, asked.quote)
        if self._is_late() and not near:
            return CheckedQuote(quote=shown, verified=False, reason=_OUT_OF_TIME)
        return _with_nearest(shown, near, missing, named=named, cut=self._cut)

    def _found_quote(self, quote: str, text: DocumentText, match: QuoteMatch) -> CheckedQuote:
        note = self._engine.version_notes().get(text.path)
        return CheckedQuote(
            quote=quote,
            verified=True,
            document=text.path,
            page=match.page,
            lines=(match.start_line, match.end_line),
            text=match.text,
            version=str(note) if note is not None and note.version_of else None,
        )

    async def _read(self, path: str) -> DocumentText:
        self.looked_into.add(path)
        return await self._library.read(path)

    async def _candidates(self, quote: str, *, besides: DocumentText | None) -> list[DocumentText]:
        """Return the documents of the folder that have a phrase of a quote, then those that have the most of its words."""
        words = asked_words(quote)[:MAX_ASKED_WORDS]
        longest = max(_ELLIPSIS.split(quote), key=len)
        # The small words, among them `not`, count in a phrase alone.
        phrase = " ".join(exact_terms(longest)[:_PHRASE_WORDS])
        paths: list[str] = []
        for query in (f'"{phrase}"', " ".join(words)):
            outcome = await self._engine.search(query, limit=_HITS)
            self._warnings.update(dict.fromkeys(w for w in outcome.warnings if w.startswith(INCOMPLETE)))
            paths = list(dict.fromkeys([*paths, *(hit.document for hit in outcome.hits)]))
        self._cut = len(paths) > CANDIDATES
        # A quote is that of the newest version that has it.
        notes = self._engine.version_notes()
        paths = sorted(
            paths[:CANDIDATES], key=lambda path: bool((note := notes.get(path)) and note.version_of)
        )
        texts: list[DocumentText] = []
        for path in paths:
            if self._is_late() or (besides is not None and path == besides.path):
                continue
            # A document that is gone, or no longer readable, since it was indexed holds no quote.
            with suppress(ResearchError):
                texts.append(await self._read(path))
        return texts

    async def _find(self, text: DocumentText, quote: str) -> QuoteMatch | None:
        finder = self._finders.get(text.digest)
        if finder is None:
            finder = QuoteFinder(text)
            if len(text.data) < FINDER_BYTES:
                self._finders[text.digest] = finder
        return await asyncio.to_thread(finder.find, quote)

    async def _near(self, text: DocumentText, quote: str) -> list[tuple[DocumentText, NearestPlace]]:
        place = await asyncio.to_thread(nearest_place, text, quote)
        return [] if place is None else [(text, place)]


def _refusal(text: str) -> str | None:
    """Return why a text is not checked, if it is not."""
    if weight(text) < MIN_WEIGHT:
        return f"too short: a quote has at least {MIN_WEIGHT} letters and digits"
    if len(text) > MAX_QUOTE:
        return f"too long: a quote has at most {MAX_QUOTE:,} characters; check its parts"
    return None


def _elsewhere(found: CheckedQuote, missing: str | None) -> CheckedQuote:
    """Return a quote that stands in another document than the one that was named."""
    assert found.document is not None  # noqa: S101  (it was found)
    assert found.lines is not None  # noqa: S101
    assert found.text is not None  # noqa: S101
    nearest = NearestText(
        document=found.document, page=found.page, lines=found.lines, text=found.text, differences=()
    )
    reason = f"it stands in {found.document}" + (f"; {missing}" if missing else ", not in the document named")
    return CheckedQuote(quote=found.quote, verified=False, reason=reason, nearest=nearest)


def _with_nearest(
    quote: str,
    near: Sequence[tuple[DocumentText, NearestPlace]],
    missing: str | None,
    *,
    named: DocumentText | None,
    cut: bool,
) -> CheckedQuote:
    where = f"in the {CANDIDATES} documents that fit it best" if cut else "in the folder"
    where = f"in {named.path}" if named is not None else where
    reason = missing or f"not found {where}, and nothing like it"
    if not near:
        return CheckedQuote(quote=quote, verified=False, reason=reason)
    text, place = max(near, key=lambda found: found[1].likeness)
    if missing is None:
        reason = (
            f"not found {where} word for word"
            if place.differences
            else "its words are there, but the sentence around them says otherwise, or breaks elsewhere"
        )
    nearest = NearestText(
        document=text.path,
        page=place.page,
        lines=(place.start_line, place.end_line),
        text=place.text,
        differences=tuple(
            WordDifference(quoted=each.quoted, document=each.written) for each in place.differences
        ),
    )
    return CheckedQuote(quote=quote, verified=False, reason=reason, nearest=nearest)
