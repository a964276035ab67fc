"""What a document says about itself: title, authors, date, language and tags, as all readers give them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Self

MAX_TITLE_CHARS = 300
MAX_AUTHORS = 50
MAX_TAGS = 50
MAX_NAME_CHARS = 120
_MONTH_NAMES = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = rf"({'|'.join(_MONTH_NAMES)})[a-z]*\.?"
_ISO = re.compile(r"(?:D:)?(\d{4})(?:[-/.]?(\d\d)(?:[-/.]?(\d\d))?)?(?![\d])|(?:D:)?(\d{4})(\d\d)(\d\d)\d{6}")
_DAY_FIRST = re.compile(rf"(\d{{1,2}})\.? {_MONTH},? (\d{{4}})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"{_MONTH}(?: (\d{{1,2}}),?)? (\d{{4}})\b", re.IGNORECASE)
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_PARTED = re.compile(r"\s*;\s*|\s+and\s+|\s+&\s+")
_COMMA = re.compile(r"\s*,\s*")
_NOT_NAMES = frozenset({
    "admin", "administrator", "anonymous", "author", "microsoft office user", "openpyxl", "python-docx", "root",
    "unknown", "unspecified", "user", "windows user",
})  # fmt: skip
"""What programs write as the author when nobody told them."""
_NO_TITLES = frozenset(
    {"untitled", "untitled document", "document", "title", "powerpoint presentation", "slide 1"}
)
_FILE_TITLE = re.compile(
    r"microsoft (?:word|powerpoint|excel) - .*|\S+\.[a-z]{2,4}"
    r"|.*\.(?:docx?|dvi|html?|indd|odt|pdf|pptx?|qxd|rtf|tex|txt|xlsx?)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a document says about itself. What it does not say is empty.

    `date` is ISO 8601 as far as it is known: `2023`, `2023-05` or `2023-05-01`. `language` is a language tag such as
    `en` or `pt-BR`. All of it is text of the document: as trustworthy as the document.
    """

    title: str = ""
    authors: tuple[str, ...] = ()
    date: str = ""
    language: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        title: str = "",
        authors: Iterable[str] = (),
        date: str = "",
        language: str = "",
        tags: Iterable[str] = (),
    ) -> Self:
        """Return metadata from what stands in a file: on one line each, within bounds, without what programs fill in."""
        return cls(
            title=_title(title),
            authors=_bounded_names(
                (name for each in authors for name in split_names(each)), MAX_AUTHORS, without=_NOT_NAMES
            ),
            date=iso_date(date),
            language=_language_tag(language),
            tags=_bounded_names((tag.strip().lstrip("#") for tag in tags), MAX_TAGS),
        )

    def or_else(self, other: "Metadata") -> "Metadata":
        """Return these metadata, with those of another source where these say nothing."""
        return Metadata(
            title=self.title or other.title,
            authors=self.authors or other.authors,
            date=self.date or other.date,
            language=self.language or other.language,
            tags=self.tags or other.tags,
        )

    def packed(self) -> dict[str, Any]:
        """Return the metadata as JSON, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def unpacked(cls, kept: object) -> Self:
        """Return the metadata of a `packed` value, which may come from a worker that was taken over.

        Raises:
            TypeError: it is something else.
        """
        if not isinstance(kept, Mapping) or not kept.keys() <= {
            "title",
            "authors",
            "date",
            "language",
            "tags",
        }:
            raise TypeError("metadata")
        lists = {name: kept.get(name, ()) for name in ("authors", "tags")}
        texts = {name: kept.get(name, "") for name in ("title", "date", "language")}
        items = [item for value in lists.values() if isinstance(value, list | tuple) for item in value]
        if not all(isinstance(value, list | tuple) for value in lists.values()) or not all(
            isinstance(text, str) for text in (*texts.values(), *items)
        ):
            raise TypeError("metadata")
        return cls(
            title=_on_one_clean_line(texts["title"], MAX_TITLE_CHARS),
            authors=_bounded_names(lists["authors"], MAX_AUTHORS),
            date=iso_date(texts["date"]),
            language=_language_tag(texts["language"]),
            tags=_bounded_names(lists["tags"], MAX_TAGS),
        )


NO_METADATA = Metadata()


def split_names(text: str) -> list[str]:
    """Return the names of persons in a text: parted by `;`, `and`, or by commas when each part has two words or more.

    >>> split_names("Ann Lee, Bo Ek and Cy Day"), split_names("Lee, Ann; Ek, Bo")
    (['Ann Lee', 'Bo Ek', 'Cy Day'], ['Lee, Ann', 'Ek, Bo'])
    """
    found: list[str] = []
    for part in _PARTED.split(text.strip()):
        names = [name for name in _COMMA.split(part) if name]
        several = len(names) > 1 and all(" " in name for name in names)
        # "van der Berg, Bo Anders" is one person.
        several = several and not (names[0][:1].islower() and names[1][:1].isupper())
        found += names if several else [part.strip(" ,")]
    return [name for name in found if name]


def iso_date(text: str) -> str:
    """Return the date at the beginning of a text in ISO 8601, as far as it tells; empty for anything else.

    >>> [iso_date(text) for text in ("D:20230501120000Z", "2023-05-01T10:00:00", "1 May 2023", "May 2023", "2023")]
    ['2023-05-01', '2023-05-01', '2023-05-01', '2023-05', '2023']
    """
    text = text.strip()
    if match := _ISO.match(text):
        year, month, day = (
            first or second for first, second in zip(match.groups()[:3], match.groups()[3:], strict=True)
        )
    elif match := _DAY_FIRST.match(text):
        year, month, day = match[3], _month(match[2]), match[1]
    elif match := _MONTH_FIRST.match(text):
        year, month, day = match[3], _month(match[1]), match[2]
    else:
        return ""
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return ""
    return "-".join([year, *(f"{int(part):02}" for part in (month, day) if part)])


def _month(name: str) -> str:
    return f"{_MONTH_NAMES.index(name[:3].lower()) + 1:02}"


def _on_one_clean_line(text: str, most: int) -> str:
    """Return a text on one line, without characters that nobody sees."""
    if len(text) <= most and text.isascii() and text.isprintable():
        return " ".join(text.split())
    seen = "".join(
        " " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char for char in text[: 4 * most]
    )
    seen = "".join(char for char in seen if unicodedata.category(char) not in {"Cf", "Cs", "Co", "Cn"})
    seen = " ".join(seen.split())
    return seen if len(seen) <= most else seen[: most - 1].rstrip() + "…"


def _title(text: str) -> str:
    title = _on_one_clean_line(text, MAX_TITLE_CHARS)
    return "" if title.lower() in _NO_TITLES or _FILE_TITLE.fullmatch(title) else title


def _bounded_names(
    names: Iterable[str], most: int, *, without: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    found = dict.fromkeys(_on_one_clean_line(name, MAX_NAME_CHARS) for name in names)
    return tuple(name for name in found if name and name.lower() not in without)[:most]


def _language_tag(text: str) -> str:
    text = text.strip()
    return text.replace("_", "-") if _LANGUAGE_TAG.fullmatch(text) else ""
