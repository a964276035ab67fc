"""What a document format declares: the names of its files, what reads them, and what its numbered parts are called."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from research_shared.formats._parts.metadata import NO_METADATA, Metadata

PartName = Literal["page", "slide", "sheet", "chapter"]
"""What people call the numbered parts of a document. Fields of tools and code call all of them pages."""

ENCRYPTED = "encrypted"
DAMAGED = "damaged"
NO_TEXT = "no text (scanned?)"
TOO_LARGE = "too large"
EMPTY = "empty"


class Undecodable(Enum):
    """A page with text whose fonts do not tell which letters they show."""

    UNDECODABLE = "undecodable"


UNDECODABLE = Undecodable.UNDECODABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A page that has something to see and no text that can be read, such as a scanned one.

    `draw` returns it as a grey image (PGM, 300 dots an inch), or None when there is nothing but paper, and raises `Refused`.
    `undecodable` says that it has text whose letters cannot be told.
    """

    draw: Callable[[], bytes | None]
    undecodable: bool = False


PageContent = str | Picture | Undecodable | None
"""The text of a page; a `Picture` or `UNDECODABLE` for one without readable text, None for one that cannot be read."""


class Refused(Exception):
    """A reader cannot open a document. `reason` is one of `ENCRYPTED`, `DAMAGED`, `EMPTY`, `NO_TEXT` and `TOO_LARGE`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """An opened document, as its reader gives it.

    `total` is the number of its pages; 1 for a document without pages. `texts` yields the text of each page from the
    first wanted one on, or why there is none (see `PageContent`). `notes` are sentences for people about what is in this
    document and not in its text; they are taken after the last page, so that a reader can add to them until then.
    `metadata` is what the file declares about itself.
    """

    total: int
    texts: Iterator[PageContent]
    notes: list[str] = field(default_factory=list)
    metadata: Metadata = NO_METADATA


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One way to read the files of a format. It runs in a worker process that is killed when it takes too long.

    `open` takes the bytes of a file and the first and the last wanted page (from 1), and raises `Refused`. It imports
    what it needs inside the function: the server imports the module too, and never opens a document itself.

    `packages` are the names under which `open` imports what is not in the standard library. Without one of them the
    reader is left out; `install` then tells the operator how to get it. `distribution` is the package whose version
    decides what the text is. Raise `revision` when the same file gives another text, so that stored texts are made
    again.
    """

    name: str
    open: Callable[[bytes, int, int], Pages]
    packages: tuple[str, ...] = ()
    distribution: str = ""
    install: str = ""
    revision: int = 1

    @property
    def installed(self) -> bool:
        """Return whether all packages that this reader imports can be imported."""
        return _can_import(self.packages)

    @property
    def identity(self) -> str:
        """Return what decides the text of a document: the reader and its versions. Stored texts are kept under it."""
        return _identity(self.name, self.distribution, self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of document.

    - `title` names one file with its article: "a PDF".
    - `media_types` maps each suffix (lower case, with the dot) to its media type.
    - `readers` are tried in their order, until one finds text. Without readers the files are plain text and are read in
      the server's own process, line by line.
    - `part` is the name of the numbered parts; None for a document without parts.
    - `markdown`: a line that begins with `#` is a heading.
    - `recognises` tells from the bytes of a damaged file whether it was meant to be of this format.
    - `notes` accompany every text of this format: what of its files is never read.
    - `preload` are modules that a worker imports before its first document, outside of that document's time.
    """

    title: str
    media_types: Mapping[str, str]
    readers: tuple[Reader, ...] = ()
    part: PartName | None = None
    markdown: bool = False
    recognises: Callable[[bytes], bool] = lambda _data: True
    notes: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Return whether the files are read as they are, without a reader."""
        return not self.readers

    @property
    def mismatch(self) -> str:
        """Return the reason for a file that has the suffix, and is something else."""
        return f"not {self.title}"

    def reader(self, name: str) -> Reader:
        """Return the reader of this name.

        Raises:
            KeyError: there is none.
        """
        for reader in self.readers:
            if reader.name == name:
                return reader
        raise KeyError(name)


@cache
def _can_import(packages: tuple[str, ...]) -> bool:
    return all(find_spec(name) is not None for name in packages)


@cache
def _identity(name: str, distribution: str, revision: int) -> str:
    if not distribution:
        return f"{name} {revision}"
    try:
        installed = version(distribution)
    except PackageNotFoundError:
        installed = "none"
    return f"{name} {installed} {revision}"
