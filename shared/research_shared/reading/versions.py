"""Which documents have the same content, and which are versions of one another by their names.

Files of one folder and suffix are versions of one document when their names differ only in marks such as `v2`, `final`,
`draft`, `(1)`, `Copy of`, or those that Dropbox, OneDrive, Nextcloud, Syncthing and others give to conflicted copies. What
a mark says about the order decides which is newer; between equal marks, the time of change does. Dates in names are no
marks: minutes of two days are two documents.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
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


Family = tuple[str, str, str]
"""Folder, name without marks, and suffix: what the names of the versions of a document have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentName:
    """A file's name without its marks, and what they say: higher is newer."""

    family: Family
    stage: int = 0
    finals: int = 0
    number: tuple[int, ...] = (1,)
    copy: bool = False
    conflict: bool = False
    numbered: bool = False

    @property
    def order(self) -> tuple[int, int, tuple[int, ...]]:
        """Return what is compared: the stage, how often it is called final, and the number of the version."""
        return self.stage, self.finals, self.number

    @property
    def is_copy(self) -> bool:
        """Return whether the name is that of a copy of any kind."""
        return self.copy or self.conflict or self.numbered

    @property
    def tells(self) -> bool:
        """Return whether it tells more than a name without marks."""
        return self.is_copy or self.order != _NO_MARKS


_NO_MARKS: Final = DocumentName(family=("", "", "")).order


def version_notes(documents: Iterable[VersionedDocument]) -> dict[str, VersionNote]:
    """Return what the documents are to one another, by path; those that are the first or newest have no note.

    >>> notes = version_notes(VersionedDocument(path=path, modified_ns=1) for path in ("a v1.md", "a v2.md", "b.md"))
    >>> {path: str(note) for path, note in notes.items()}
    {'a v1.md': 'older version of a v2.md'}
    """
    every = sorted(documents, key=lambda each: each.path)
    notes = _same_content(every)
    by_path = {each.path: each for each in every}
    for paths in members_of(telling_families(by_path), by_path).values():
        notes |= family_notes([by_path[path] for path in paths], copies=notes)
    return dict(sorted(notes.items()))


def _same_content(every: Sequence[VersionedDocument]) -> dict[str, VersionNote]:
    """Return a note for each document whose content another one has, of which the one with the plainest name counts."""
    with_digest: defaultdict[str, list[str]] = defaultdict(list)
    for each in every:
        if each.digest:
            with_digest[each.digest].append(each.path)
    notes: dict[str, VersionNote] = {}
    for paths in with_digest.values():
        first = plainest(paths)
        notes |= {path: VersionNote(same_content_as=first) for path in paths if path != first}
    return notes


def plainest(paths: Sequence[str]) -> str:
    """Return which of documents with the same content is the first: the one with the plainest name."""
    if len(paths) == 1:
        return paths[0]

    def plainness(path: str) -> tuple[bool, bool, int, int, str]:
        name = name_of(path)
        return name.copy or name.conflict, name.numbered, path.count("/"), len(path), path

    return min(paths, key=plainness)


def telling_families(paths: Iterable[str]) -> set[Family]:
    """Return the families of the names that have marks."""
    found = set()
    for path in paths:
        plain = _compared_name(path)
        if _MAYBE.search(plain[1]) and (name := _parsed_name(plain)).tells:
            found.add(name.family)
    return found


def members_of(families: Collection[Family], paths: Iterable[str]) -> dict[Family, list[str]]:
    """Return which of the paths are of which of these families, in their order. Of the other ones nothing is kept."""
    members: dict[Family, list[str]] = {family: [] for family in families}
    folders = {folder for folder, _, _ in families}
    for path in paths if folders else ():
        if path.rpartition("/")[0] in folders and (known := members.get(name_of(path).family)) is not None:
            known.append(path)
    return members


def family_notes(family: Sequence[VersionedDocument], *, copies: Container[str]) -> dict[str, VersionNote]:
    """Return what the documents of one family are to its newest, by path; `copies` are paths that have a note already."""
    named = [(each, name_of(each.path)) for each in family]
    plain = [(each, name) for each, name in named if not name.is_copy]
    if not plain and all(name.numbered for _, name in named):
        return {}  # "chapter (1)" and "chapter (2)" without a "chapter": parts, not copies

    def age(
        each: tuple[VersionedDocument, DocumentName],
    ) -> tuple[tuple[int, int, tuple[int, ...]], int, str]:
        document, name = each
        return name.order, document.modified_ns, document.path

    newest, newest_name = max(plain or named, key=age)
    notes: dict[str, VersionNote] = {}
    for each, name in named:
        # The newest one may have its content from a file elsewhere: it is still the newest here.
        if each is newest or each.path in copies:
            continue
        kind: VersionKind = (
            "conflicted copy" if name.conflict else "copy" if name.is_copy else "older version"
        )
        if kind == "older version" and name.order == newest_name.order:
            continue  # the same marks, written in two ways
        notes[each.path] = VersionNote(version_of=newest.path, kind=kind)
    return notes


def name_of(path: str) -> DocumentName:
    """Return what the name of a document says."""
    plain = _compared_name(path)
    return _parsed_name(plain) if _MAYBE.search(plain[1]) else DocumentName(family=_unmarked(plain))


def _compared_name(path: str) -> Family:
    """Return a name with its marks, in the form in which names are compared."""
    folder, _, filename = path.rpartition("/")
    stem, dot, suffix = filename.rpartition(".")
    if not stem:
        stem, dot, suffix = filename, "", ""
    return folder, unicodedata.normalize("NFC", stem).casefold().strip(), (dot + suffix).casefold()


def _unmarked(plain: Family) -> Family:
    folder, text, suffix = plain
    return folder, text.rstrip(" ._-"), suffix


@lru_cache(maxsize=100_000)
def _parsed_name(plain: Family) -> DocumentName:
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
    return DocumentName(
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
