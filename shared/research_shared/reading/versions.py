"""Which documents have the same content, and which are versions of one another by their names.

Files of one folder and suffix are versions of one document when their names differ only in marks such as `v2`, `final`,
`draft`, `(1)`, `Copy of`, or those that Dropbox, OneDrive, Nextcloud, Syncthing and others give to conflicted copies. What
a mark says about the order decides which is newer; between equal marks, the time of change does. Dates in names are no
marks: minutes of two days are two documents.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

VersionKind = Literal["older version", "copy", "conflicted copy"]

_CONFLICTS: Final = (
    # Dropbox, Nextcloud, ownCloud: "plan (Ann's conflicted copy 2024-05-01).md", in several languages
    re.compile(
        r"\s*\([^()]*(?:conflicted copy|in konflikt stehende kopie|copie en conflit|copia en conflicto|case conflict)[^()]*\)"
    ),
    re.compile(r"[ ._-]+(?:conflicted copy|conflict)(?:[ ._-]+[\d-]+)*$"),
    re.compile(r"\.sync-conflict-\d{8}-\d{6}(?:-[a-z0-9]{7})?"),  # Syncthing
    re.compile(r"-(?:desktop|laptop)-[a-z0-9]{5,10}(?:-\d{1,2})?$"),  # OneDrive: the name of the machine
    re.compile(r"\s*\[conflict(?:ed)?(?: \d{1,2})?\]$"),  # Google Drive
)
_COPIES: Final = (
    re.compile(r"^(?:copy|kopie|copie|copia) (?:\(\d{1,3}\) )?(?:of|von|de|di) "),
    re.compile(r"(?:\s+-)?[ _-](?:copy|kopie|copie|copia)(?: ?\(?\d{1,3}\)?)?$"),
)
_NUMBERED: Final = re.compile(r"\s?\(\d{1,3}\)$")
_VERSION: Final = re.compile(
    r"[ ._-]+\(?(?:v|ver\.?|version|rev\.?|revision)[ ._-]?(\d{1,4}(?:[._]\d{1,4}){0,3})\)?$"
)
_STAGE: Final = re.compile(
    r"[ ._-]+\(?(final|fin|endfassung|finale|approved|signed|latest|draft|entwurf|wip|old|alt|backup|bak|obsolete|superseded)\)?$"
)
_STAGES: Final = {
    "old": -2, "alt": -2, "backup": -2, "bak": -2, "obsolete": -2, "superseded": -2,
    "draft": -1, "entwurf": -1, "wip": -1,
}  # fmt: skip
_FINAL: Final = 1
_MAX_MARKS: Final = 6
_MAYBE: Final = re.compile(
    r"[)\]]$|^(?:copy|kopie|copie|copia) |[ ._-](?:\(?v|rev|ver|copy|kopie|copie|copia|sync|conflict|desktop|laptop"
    r"|fin|end|approved|signed|latest|draft|entwurf|wip|old|alt|backup|bak|obsolete|superseded)"
)
"""What a name has at least when it has marks; most have none, and are done with sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionedDocument:
    """What tells versions apart: the path, the time of change, and the digest of the content if it is known."""

    path: str
    modified_ns: int
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionNote:
    """What a document is to another one: of the same content, an older version, or a copy that was changed."""

    same_content_as: str = ""
    version_of: str = ""
    kind: VersionKind | None = None

    def __str__(self) -> str:
        """Return it in words."""
        if self.same_content_as:
            return f"same content as {self.same_content_as}"
        return f"{self.kind} of {self.version_of}"


_Family = tuple[str, str, str]
"""Folder, name and suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Name:
    """A file's name without its marks, and what they say: higher is newer."""

    family: _Family
    stage: int = 0
    finals: int = 0
    number: tuple[int, ...] = (1,)
    copy: bool = False
    conflict: bool = False
    numbered: bool = False

    @property
    def order(self) -> tuple[int, int, tuple[int, ...]]:
        return self.stage, self.finals, self.number

    @property
    def is_copy(self) -> bool:
        return self.copy or self.conflict or self.numbered

    @property
    def tells(self) -> bool:
        """Return whether it tells more than a name without marks."""
        return self.is_copy or self.order != _NO_MARKS


_NO_MARKS: Final = _Name(family=("", "", "")).order
_Named = tuple[VersionedDocument, _Name]


def version_notes(documents: Iterable[VersionedDocument]) -> dict[str, VersionNote]:
    """Return what the documents are to one another, by path; those that are the first or newest have no note.

    >>> notes = version_notes(VersionedDocument(path=path, modified_ns=1) for path in ("a v1.md", "a v2.md", "b.md"))
    >>> {path: str(note) for path, note in notes.items()}
    {'a v1.md': 'older version of a v2.md'}
    """
    every = sorted(documents, key=lambda each: each.path)
    notes = _same_content(every)
    for family in _families(every):
        notes |= _versions(family, notes)
    return dict(sorted(notes.items()))


def _same_content(every: Sequence[VersionedDocument]) -> dict[str, VersionNote]:
    """Return a note for each document whose content another one has, of which the one with the plainest name counts."""
    first_with: dict[str, str] = {}
    again: defaultdict[str, list[str]] = defaultdict(list)
    for each in every:
        if each.digest and first_with.setdefault(each.digest, each.path) != each.path:
            again[each.digest].append(each.path)

    def plainness(path: str) -> tuple[bool, bool, int, int, str]:
        name = _parsed_name(_compared_name(path))
        return name.copy or name.conflict, name.numbered, path.count("/"), len(path), path

    notes: dict[str, VersionNote] = {}
    for digest, others in again.items():
        paths = [first_with[digest], *others]
        first = min(paths, key=plainness)
        notes |= {path: VersionNote(same_content_as=first) for path in paths if path != first}
    return notes


def _families(every: Sequence[VersionedDocument]) -> list[list[_Named]]:
    """Return the documents whose names differ in marks alone, in groups of two and more.

    Few names have marks. The others are compared only where one that has some lies in the same folder, and nothing is kept
    of them: there may be a hundred thousand.
    """
    marked: dict[str, _Name] = {}
    for each in every:
        plain = _compared_name(each.path)
        if _MAYBE.search(plain[1]):
            marked[each.path] = _parsed_name(plain)
    families: dict[_Family, list[_Named]] = {name.family: [] for name in marked.values() if name.tells}
    folders = {folder for folder, _, _ in families}
    for each in every:
        if each.path.rpartition("/")[0] in folders:
            name = marked.get(each.path)
            family = _unmarked(_compared_name(each.path)) if name is None else name.family
            if (members := families.get(family)) is not None:
                members.append((each, name or _Name(family=family)))
    return [members for members in families.values() if len(members) > 1]


def _versions(family: Sequence[_Named], same: Mapping[str, VersionNote]) -> dict[str, VersionNote]:
    plain = [named for named in family if not named[1].is_copy]
    if not plain and all(name.numbered for _, name in family):
        return {}  # "chapter (1)" and "chapter (2)" without a "chapter": parts, not copies

    def age(named: _Named) -> tuple[tuple[int, int, tuple[int, ...]], int, str]:
        document, name = named
        return name.order, document.modified_ns, document.path

    newest, newest_name = max(plain or family, key=age)
    notes: dict[str, VersionNote] = {}
    for each, name in family:
        # The newest one may have its content from a file elsewhere: it is still the newest here.
        if each is newest or each.path in same:
            continue
        kind: VersionKind = (
            "conflicted copy" if name.conflict else "copy" if name.is_copy else "older version"
        )
        if kind == "older version" and name.order == newest_name.order:
            continue  # the same marks, written in two ways
        notes[each.path] = VersionNote(version_of=newest.path, kind=kind)
    return notes


def _compared_name(path: str) -> _Family:
    """Return a name with its marks, in the form in which names are compared."""
    folder, _, filename = path.rpartition("/")
    stem, dot, suffix = filename.rpartition(".")
    if not stem:
        stem, dot, suffix = filename, "", ""
    return folder, unicodedata.normalize("NFC", stem).casefold().strip(), (dot + suffix).casefold()


def _unmarked(plain: _Family) -> _Family:
    folder, text, suffix = plain
    return folder, text.rstrip(" ._-"), suffix


@lru_cache(maxsize=100_000)
def _parsed_name(plain: _Family) -> _Name:
    """Return what the marks of a name say. To see that it has none takes a hundredth of the time."""
    folder, text, suffix = plain
    stage = finals = 0
    number: tuple[int, ...] = (1,)
    copy = conflict = numbered = False
    for _ in range(_MAX_MARKS if _MAYBE.search(text) else 0):
        if shorter := _stripped_of(text, _CONFLICTS):
            conflict = True
        elif shorter := _stripped_of(text, _COPIES):
            copy = True
        elif shorter := _stripped_of(text, (_NUMBERED,)):
            numbered = True
        elif (match := _VERSION.search(text)) and match.start():
            shorter, number = text[: match.start()], _version_number(match[1])
        elif (match := _STAGE.search(text)) and match.start():
            shorter = text[: match.start()]
            finals += match[1] not in _STAGES
            stage = min(stage, _STAGES.get(match[1], 0))
        else:
            break
        text = shorter.strip()
    return _Name(
        family=_unmarked((folder, text, suffix)),
        stage=stage or min(finals, _FINAL),
        finals=finals,
        number=number,
        copy=copy,
        conflict=conflict,
        numbered=numbered,
    )


def _version_number(text: str) -> tuple[int, ...]:
    parts = [int(part) for part in re.split("[._]", text)]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _stripped_of(text: str, marks: Iterable[re.Pattern[str]]) -> str:
    """Return a name without the first of these marks that it has, or an empty string if it has none or nothing else."""
    for mark in marks:
        shorter, count = mark.subn("", text, count=1)
        if count and shorter.strip():
            return shorter
    return ""
