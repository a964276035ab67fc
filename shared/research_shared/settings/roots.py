"""Research folders as the operator writes them."""

import json
import os
import re
from pathlib import Path

from research_shared.root import Root

_ROOT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse_roots(value: object) -> object:
    """Turn an `os.pathsep` list of directories, each optionally `name=/dir`, into `Root`s.

    A directory whose name holds the separator is given in a JSON list: `["/data/a:b"]`.

    >>> [root.name for root in parse_roots('/data/notes:old=/data/1999')], [root.name for root in parse_roots('["/data/a:b"]')]
    (['notes', 'old'], ['a-b'])
    """
    if not isinstance(value, str):
        return value
    roots: list[Root] = []
    for entry in (
        _json_list(value) if value.lstrip().startswith("[") else filter(None, value.split(os.pathsep))
    ):
        name, directory = name_and_directory(entry)
        roots.append(root_of(name=name, directory=directory))
    return tuple(roots)


def _json_list(value: str) -> list[str]:
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise ValueError('a JSON list of directories, such as ["/data/a:b", "name=/data/c"]')
    return listed


def root_of(*, name: str, directory: str) -> Root:
    """Return the root of a directory, named after the directory when `name` is empty.

    Raises:
        ValueError: `~` has no home directory.
    """
    path = absolute_directory(directory)
    return Root(name or re.sub(r"[^A-Za-z0-9._-]+", "-", path.name).strip("-.") or "root", path)


def name_and_directory(entry: str) -> tuple[str, str]:
    """Return the name and the directory of an entry such as `name=/dir`; the name is empty without one."""
    name, separator, directory = entry.partition("=")
    return (name, directory) if separator and _ROOT_NAME.fullmatch(name) else ("", entry)


def absolute_directory(directory: str) -> Path:
    """Return a directory as an absolute path with the home directory for `~`. Links are not followed.

    Raises:
        ValueError: there is no such home directory.
    """
    try:
        return Path(os.path.abspath(Path(directory).expanduser()))  # noqa: PTH100  (resolve() would follow links)
    except RuntimeError as error:
        raise ValueError(f"{directory}: no such home directory") from error
