"""The formats of documents. One module in this folder is one format or a family of them: it defines `FORMATS`.

Nothing else lists them. Importing such a module is cheap and loads no parser.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

from research_shared.formats._format import (
    DAMAGED,
    EMPTY,
    ENCRYPTED,
    NO_TEXT,
    TOO_LARGE,
    UNDECODABLE,
    Format,
    PageContent,
    Pages,
    PartName,
    Picture,
    Reader,
    Refused,
)
from research_shared.formats._parts.metadata import NO_METADATA, Metadata

__all__ = [
    "DAMAGED",
    "EMPTY",
    "ENCRYPTED",
    "NO_METADATA",
    "NO_TEXT",
    "TOO_LARGE",
    "UNDECODABLE",
    "Format",
    "Metadata",
    "PageContent",
    "Pages",
    "PartName",
    "Picture",
    "Reader",
    "Refused",
    "format_of",
    "formats",
    "media_type_of",
    "package_directories",
    "part_name",
    "place",
]


@cache
def formats() -> tuple[Format, ...]:
    """Return all formats, in the order of their modules' names.

    Raises:
        AttributeError: a module in this folder defines no `FORMATS`.
        ValueError: two formats claim the same suffix or media type.
    """
    modules = sorted(module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    found: tuple[Format, ...] = ()
    for name in modules:
        found += import_module(f"{__name__}.{name}").FORMATS
    for claims in (lambda each: each.media_types.keys(), lambda each: set(each.media_types.values())):
        claimed = [claim for each in found for claim in claims(each)]
        if twice := {claim for claim in claimed if claimed.count(claim) > 1}:
            raise ValueError(f"two formats claim {', '.join(sorted(twice))}")
    return found


def format_of(media_type: str) -> Format:
    """Return the format that has this media type.

    Raises:
        KeyError: there is none.
    """
    return _by_media_type()[media_type]


def media_type_of(path: str) -> str | None:
    """Return the media type that a path's suffix stands for, or None when the file is no document."""
    stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return _by_suffix().get(dot + suffix.lower()) if stem.strip(".") else None


def part_name(media_type: str | None) -> str:
    """Return what the pages of a document of this type are called."""
    return (media_type and format_of(media_type).part) or "page"


def place(path: str, page: int | None) -> str:
    """Return where in a document something is: `page 3`, `slide 3`, or nothing for a document without pages."""
    return "" if page is None else f"{part_name(media_type_of(path))} {page}"


def package_directories() -> tuple[str, ...]:
    """Return the directories from which a worker process imports: that of this project, and those of the readers' packages."""
    names = (
        "research_shared",
        *(name for each in formats() for reader in each.readers for name in reader.packages),
    )
    found = (find_spec(name) for name in names)
    return tuple(dict.fromkeys(_directory(spec.origin) for spec in found if spec and spec.origin))


def _directory(origin: str) -> str:
    """Return the directory to import a package or a module from."""
    file = Path(origin)
    return str(file.parent.parent if file.stem == "__init__" else file.parent)


@cache
def _by_suffix() -> Mapping[str, str]:
    return {suffix: media_type for each in formats() for suffix, media_type in each.media_types.items()}


@cache
def _by_media_type() -> Mapping[str, Format]:
    return {media_type: each for each in formats() for media_type in each.media_types.values()}
