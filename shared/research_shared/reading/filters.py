"""Which documents are wanted: by type, day of change, and what they say about themselves."""

import re
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import Final, Self

from research_shared.documents import DocumentInfo
from research_shared.errors import InvalidArguments
from research_shared.formats import Format, Metadata, formats, media_type_of
from research_shared.text.analysis import exact_terms

MAX_NAMED: Final = 8
"""How many types, authors or tags a sentence names."""
_PARTIAL_DATE: Final = re.compile(r"(\d{4})(?:[-/.](\d{1,2})(?:[-/.](\d{1,2}))?)?(?:[T ].*)?")
_LAST_MONTH: Final = 12
_SYNONYMS: Final = {
    "deck": "presentation",
    "doc": "word",
    "e-mail": "mail",
    "ebook": "book",
    "email": "mail",
    "ppt": "powerpoint",
    "spreadsheet": "sheet",
    "xls": "excel",
}
_MEANINGLESS: Final = frozenset({"a", "an", "file", "page"})
"""Words of the names of formats that do not tell one from another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRange:
    """Days from `first` to `last`, both included; None is open."""

    first: date | None = None
    last: date | None = None

    @property
    def open(self) -> bool:
        """Return whether every day is within the range."""
        return self.first is None and self.last is None

    def admits(self, first: date, last: date) -> bool:
        """Return whether any day from `first` to `last` is within the range."""
        return (self.first is None or last >= self.first) and (self.last is None or first <= self.last)

    def __str__(self) -> str:
        """Return the range in words: `from 2023-01-01 to 2023-12-31`."""
        words = (f"{word} {day}" for word, day in (("from", self.first), ("to", self.last)) if day)
        return " ".join(words)


EVERY_DAY: Final = DateRange()


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Which documents are wanted. A criterion that is empty admits everything; a document has to meet all criteria.

    `types` are words (`pdf`, `slides`, `mail`) or media types, of which any may fit. `modified` is the day on which the
    file was changed (UTC), `dated` the date that the document itself bears: one of which only the year is known is within
    a range that has any day of that year. Any of the `authors` may fit, by words and folded as in a search; all of the
    `tags` must. `types` and `modified` can be told from the listing, the rest only from the text: see `needs_text`.

    >>> wanted = DocumentFilter.of(type="pdf", dated_after="2023")
    >>> wanted.dated.first, wanted.needs_text
    (datetime.date(2023, 1, 1), True)
    """

    types: tuple[str, ...] = ()
    modified: DateRange = EVERY_DAY
    dated: DateRange = EVERY_DAY
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        type: str | Sequence[str] = (),  # noqa: A002  (the argument of the tools)
        modified_after: str = "",
        modified_before: str = "",
        dated_after: str = "",
        dated_before: str = "",
        author: str | Sequence[str] = (),
        tags: str | Sequence[str] = (),
    ) -> Self:
        """Return the filter that the arguments of a tool describe. Days are included; a year means all of it.

        Raises:
            InvalidArguments: a date is none.
        """
        return cls(
            types=tuple(word.lower() for word in _items(type, ",;|")),
            modified=_date_range("modified", modified_after, modified_before),
            dated=_date_range("dated", dated_after, dated_before),
            authors=_items(author, ";"),
            tags=tuple(tag.lstrip("#") for tag in _items(tags, ",;")),
        )

    @property
    def admits_everything(self) -> bool:
        """Return whether there is no criterion."""
        return self == EVERY_DOCUMENT

    @property
    def needs_text(self) -> bool:
        """Return whether documents have to be read to know which of them are wanted."""
        return bool(not self.dated.open or self.authors or self.tags)

    @property
    def of_types(self) -> "DocumentFilter":
        """Return the filter without what a path does not tell."""
        return DocumentFilter(types=self.types)

    @property
    def key(self) -> str:
        """Return a text that is the same for equal filters only; empty without criteria."""
        return "" if self.admits_everything else repr(self)

    def admits_path(self, path: str) -> bool:
        """Return whether a document of this path can be wanted: what its suffix tells."""
        return not self.types or media_type_of(path) in _media_types(self.types)

    def admits_info(self, info: DocumentInfo) -> bool:
        """Return whether a document can be wanted: what the listing tells."""
        return (not self.types or info.media_type in _media_types(self.types)) and (
            self.modified.open or self.modified.admits(info.modified.date(), info.modified.date())
        )

    def admits(self, info: DocumentInfo, metadata: Metadata) -> bool:
        """Return whether a document is wanted."""
        return self.admits_info(info) and all(
            test(metadata) for _, test in self._tests_of_text() if self.needs_text
        )

    def lacking(self, metadata: Metadata) -> list[str]:
        """Return what a document would have to say, and does not, to be told by this filter: `date`, `author`, `tags`."""
        asked = (
            ("date", not self.dated.open, metadata.date),
            ("author", bool(self.authors), metadata.authors),
            ("tags", bool(self.tags), metadata.tags),
        )
        return [name for name, wanted, said in asked if wanted and not said]

    def why_nothing(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        """Return a sentence on why none of the candidates is wanted, with the nearest that there is."""
        if not candidates:
            return "no document is there to choose from"
        said = [
            sentence(candidates)
            for sentence, test in self._explained()
            if not any(test(info, metadata) for info, metadata in candidates)
        ]
        return "; ".join(said) or "each filter fits some documents, and none fits all filters: leave one out"

    def _tests_of_text(self) -> list[tuple[str, Callable[[Metadata], bool]]]:
        return [
            ("dated", lambda metadata: self.dated.open or _is_dated(self.dated, metadata.date)),
            ("authors", lambda metadata: not self.authors or _has_author(self.authors, metadata.authors)),
            ("tags", lambda metadata: not self.tags or _has_tags(self.tags, metadata.tags)),
        ]

    def _explained(
        self,
    ) -> list[
        tuple[
            Callable[[Sequence[tuple[DocumentInfo, Metadata]]], str], Callable[[DocumentInfo, Metadata], bool]
        ]
    ]:
        """Return a sentence and a test for each criterion."""
        only_type, only_modified = DocumentFilter(types=self.types), DocumentFilter(modified=self.modified)
        tests = dict(self._tests_of_text())
        return [
            (self._no_type, lambda info, _: only_type.admits_info(info)),
            (self._no_change, lambda info, _: only_modified.admits_info(info)),
            (self._no_date, lambda _, metadata: tests["dated"](metadata)),
            (self._no_author, lambda _, metadata: tests["authors"](metadata)),
            (self._no_tag, lambda _, metadata: tests["tags"](metadata)),
        ]

    def _no_type(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        counts = Counter("." + info.path.rpartition(".")[2].lower() for info, _ in candidates)
        there = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
        named = ", ".join(f"{count} {suffix}" for suffix, count in there[:MAX_NAMED])
        return f"no document is of the type {_quoted(self.types)}; there are {named}"

    def _no_change(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        days = sorted(info.modified.date() for info, _ in candidates)
        return f"no document was changed {self.modified}; the changes are {_span(days[0], days[-1])}"

    def _no_date(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        dates = sorted(metadata.date for _, metadata in candidates if metadata.date)
        there = f"their dates are {_span(dates[0], dates[-1])}" if dates else "none of them bears a date"
        return f"no document is dated {self.dated}; {there}"

    def _no_author(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        names = Counter(name for _, metadata in candidates for name in metadata.authors)
        return (
            f"no document has the author {_quoted(self.authors)}; {_nearest(self.authors, names, 'authors')}"
        )

    def _no_tag(self, candidates: Sequence[tuple[DocumentInfo, Metadata]]) -> str:
        names = Counter(name for _, metadata in candidates for name in metadata.tags)
        return f"no document has the tags {_quoted(self.tags, ' and ')}; {_nearest(self.tags, names, 'tags')}"


EVERY_DOCUMENT: Final = DocumentFilter()


def day_range(text: str) -> tuple[date, date]:
    """Return the first and the last day of a date of which less may be known than the day.

    >>> [str(day) for day in day_range("2024-02")]
    ['2024-02-01', '2024-02-29']

    Raises:
        ValueError: it is no date.
    """
    match = _PARTIAL_DATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None  # noqa: S101  (it is not optional in the expression)
    if day is not None:
        return (only := date(year, month or 1, day)), only
    last_month = month or _LAST_MONTH
    return date(year, month or 1, 1), date(year, last_month, monthrange(year, last_month)[1])


def types_named(word: str) -> frozenset[str]:
    """Return the media types that a word stands for: a suffix, a media type (`text/*`), a word such as `slides` or `word`.

    >>> sorted(types_named("Markdown")), sorted(types_named("pptx"))
    (['text/markdown'], ['application/vnd.openxmlformats-officedocument.presentationml.presentation'])
    """
    word = word.strip().strip("*").lower().removeprefix(".") if "/" not in word else word.strip().lower()
    if "/" in word:
        return frozenset(
            kind for each in formats() for kind in each.media_types.values() if fnmatchcase(kind, word)
        )
    if kind := media_type_of(f"x.{word}"):
        return frozenset({kind})
    word = _SYNONYMS.get(word, word)
    wanted = {word, word.removesuffix("s"), _SYNONYMS.get(word.removesuffix("s"), "")} - _MEANINGLESS - {""}
    return frozenset(
        kind for each in formats() if wanted & _words_of(each) for kind in each.media_types.values()
    )


def _words_of(document_format: Format) -> set[str]:
    words = set(document_format.title.lower().split())
    # A table in a file of its own is looked for as a sheet, too.
    return (words | {document_format.part or "", "sheet" if "table" in words else ""}) - _MEANINGLESS - {""}


@cache
def _media_types(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset[str]().union(*map(types_named, words))


def _items(given: str | Sequence[str], separators: str) -> tuple[str, ...]:
    """Return the items of a list, or of a text with separators."""
    texts = [given] if isinstance(given, str) else given
    items = (item.strip() for text in texts for item in re.split(f"[{re.escape(separators)}]", text))
    return tuple(dict.fromkeys(item for item in items if item))


def _date_range(name: str, after: str, before: str) -> DateRange:
    days: list[tuple[date, date] | None] = []
    for argument, given in ((f"{name}_after", after), (f"{name}_before", before)):
        try:
            days.append(day_range(given) if given.strip() else None)
        except ValueError:
            raise InvalidArguments(
                f"{argument}: {given[:40]!r} is no date",
                hint="Give a date such as 2024, 2024-05 or 2024-05-31.",
            ) from None
    first, last = days
    return DateRange(first=first and first[0], last=last and last[1])


def _is_dated(wanted: DateRange, said: str) -> bool:
    return bool(said) and wanted.admits(*day_range(said))


@lru_cache(maxsize=65_536)
def _name_terms(name: str) -> tuple[str, ...]:
    return tuple(exact_terms(name))


def _has_author(wanted: Sequence[str], names: Sequence[str]) -> bool:
    return any(_same_name(_name_terms(one), _name_terms(name)) for one in wanted for name in names)


def _same_name(wanted: Sequence[str], name: Sequence[str]) -> bool:
    """Return whether each word of a wanted name is in a name; one letter stands for a name that it begins."""

    def fits(word: str, other: str) -> bool:
        return word == other or (min(len(word), len(other)) == 1 and word[0] == other[0])

    return bool(wanted) and all(any(fits(word, other) for other in name) for word in wanted)


def _has_tags(wanted: Sequence[str], tags: Sequence[str]) -> bool:
    return {_name_terms(tag) for tag in wanted} <= {_name_terms(tag) for tag in tags}


def _nearest(wanted: Sequence[str], known: Counter[str], what: str) -> str:
    """Return which of the known names are near to a wanted one, or which there are."""
    if not known:
        return f"none of them names its {what}"
    folded = {" ".join(_name_terms(name)): name for name in sorted(known, reverse=True)}
    words = {word: name for text, name in folded.items() for word in (text, *text.split())}
    asked = [text for one in wanted for text in (" ".join(_name_terms(one)), *_name_terms(one)) if text]
    near = dict.fromkeys(
        words[word] for text in asked for word in get_close_matches(text, words, n=3, cutoff=0.7)
    )
    if near:
        return f"nearest: {', '.join(list(near)[:3])}"
    most = sorted(known.items(), key=lambda found: (-found[1], found[0]))
    more = f" and {len(most) - MAX_NAMED} more" if len(most) > MAX_NAMED else ""
    return f"the {what} are {', '.join(name for name, _ in most[:MAX_NAMED])}{more}"


def _quoted(words: Iterable[str], joint: str = " or ") -> str:
    return joint.join(f"'{word[:60]}'" for word in words)


def _span(first: object, last: object) -> str:
    return str(first) if first == last else f"from {first} to {last}"
