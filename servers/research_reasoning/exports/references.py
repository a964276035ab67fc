"""The sources of an answer as bibliographies know them: what the documents say about themselves, and where they are."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from research_shared.formats import Metadata

Linker = Callable[[str, int | None], str | None]
"""Returns the address of a document, or of a 1-based page of it; None if there is none."""

_NOT_IN_KEYS: Final = re.compile(r"[^a-z0-9]+")
_LETTERS_WITHOUT_MARKS: Final = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "þ": "th", "ð": "d", "\u0131": "i"}
)
_OF_ORGANISATIONS: Final = frozenset({
    "academy", "agency", "agence", "agencia", "association", "authority", "bank", "board", "bureau", "bundesbank",
    "centre", "center", "college", "comisión", "comité", "commission", "committee", "company", "congress", "conseil",
    "consejo", "consortium", "corp", "corporation", "council", "court", "department", "federation", "fondation", "forum",
    "foundation", "fundación", "fund", "gmbh", "government", "group", "inc", "institute", "institut", "instituto",
    "laboratory", "labs", "limited", "llc", "ltd", "ministry", "ministère", "ministerio", "office", "organisation",
    "organization", "parlement", "parliament", "partners", "plc", "press", "programme", "project", "school", "senate",
    "services", "sociedad", "société", "society", "team", "trust", "union", "universidad", "university", "université",
    "università",
})  # fmt: skip
"""Words in names that are no persons'."""
_ENDS_OF_ORGANISATIONS: Final = (
    "agentur", "akademie", "anstalt", "behörde", "bundesamt", "gemeinschaft", "genossenschaft", "gericht", "gerichtshof",
    "gesellschaft", "hochschule", "institut", "kommission", "landesamt", "ministerium", "parlament", "stiftung", "universität",
    "verband", "verein",
)  # fmt: skip
"""Ends of German words for organisations, which are written together with what they are for."""
_AFTER_NAMES: Final = frozenset({"jr", "sr", "ii", "iii", "iv", "phd", "md"})
_CJK: Final = re.compile("[\u3005-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
"""Letters of Chinese, Japanese and Korean names, whose family name comes first."""
MAX_KEY_PART: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReference:
    """One source: its number in the answer, what it says about itself, and its link if documents have links."""

    number: int
    path: str
    media_type: str
    metadata: Metadata
    url: str | None = None
    key: str = ""
    """Names it in a bibliography: ASCII letters, digits and hyphens, unique also without regard to case."""

    @property
    def title(self) -> str:
        """What it says its title is, or the name of its file."""
        return self.metadata.title or self.path.rpartition("/")[2]


def person_names(author: str) -> tuple[str, str] | None:
    """Return the family name and the given names of an author who writes both, or None for any other name.

    >>> person_names("Lee, Ann"), person_names("Ann B. Lee"), person_names("WHO")
    (('Lee', 'Ann'), ('Lee', 'Ann B.'), None)
    """
    family, comma, given = (part.strip() for part in author.partition(","))
    words = [_plain_word(word) for word in author.split()]
    if not words or words[-1] in _AFTER_NAMES:
        return None
    if comma:
        # "Press, Ann" is a person, "Clarendon Press, Oxford" is none.
        parted = family and given and "," not in given and not (" " in family and _is_organisation(words))
        return (family, given) if parted else None
    if _is_organisation(words) or _CJK.search(author):
        return None
    words = author.split()
    at = len(words) - 1
    while at > 1 and words[at - 1][:1].islower():  # "van der Berg"
        at -= 1
    return (" ".join(words[at:]), " ".join(words[:at])) if len(words) > 1 else None


def _is_organisation(words: Iterable[str]) -> bool:
    return any(word in _OF_ORGANISATIONS or word.endswith(_ENDS_OF_ORGANISATIONS) for word in words)


def _plain_word(word: str) -> str:
    return word.replace(".", "").strip("(),").lower()


def unique_keys(sources: Iterable[tuple[int, Metadata, str]]) -> list[str]:
    """Return a key for each source (number, metadata, path): family name, year and first word of the title; then a number.

    >>> unique_keys([(1, Metadata(authors=("Ann Lee",), date="2021-05", title="The Tides"), "a.md"), (2, Metadata(), "Ю.md")])
    ['lee2021tides', 'source2']
    """
    taken: set[str] = set()
    keys = []
    for number, metadata, path in sources:
        plain = _key_of(metadata, path) or f"source{number}"
        key, again = plain, 1
        while key in taken:
            again += 1
            key = f"{plain}-{again}"
        taken.add(key)
        keys.append(key)
    return keys


def _key_of(metadata: Metadata, path: str) -> str:
    name = path.rpartition("/")[2]
    title = metadata.title or (name.rpartition(".")[0] or name)
    author = ""
    if metadata.authors:
        names = person_names(metadata.authors[0])
        author = _ascii_letters(names[0] if names else metadata.authors[0])
    words = [word for word in map(_ascii_letters, title.split()) if word and not word.isdigit()]
    telling = next(
        (word for word in words if word not in {"a", "an", "the", "der", "die", "das", "le", "la"}), ""
    )
    if not author:
        telling = "".join(words)
    return f"{author[:MAX_KEY_PART]}{metadata.date[:4] if author or telling else ''}{telling[:MAX_KEY_PART]}"


def _ascii_letters(text: str) -> str:
    """Return the letters and digits of a text without their marks, in ASCII and lower case."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS_WITHOUT_MARKS))
    return _NOT_IN_KEYS.sub("", plain)
