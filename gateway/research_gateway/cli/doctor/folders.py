"""What is in the research folders, and what of it cannot be read."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from research_gateway.cli.doctor.finding import Finding
from research_shared.text.sizes import counted, one_or_many

MAX_WALKED = 200_000
"""Directories and files that are looked at in the folders; beyond that the counts say that they stop."""


@dataclass(slots=True)
class Tree:
    """What is in a folder: how many directories and files, and what cannot be read."""

    directories: int = 0
    documents: Counter[str] = field(default_factory=Counter)
    unread: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    complete: bool = True


def walk(directory: Path, *, include_hidden: bool) -> Tree:
    """Count what is in a folder. Links are not followed."""
    from research_shared.formats import media_type_of

    tree = Tree()
    seen = 0

    def failed(error: OSError) -> None:
        tree.closed.append(str(error.filename))

    for where, folders, files in os.walk(directory, onerror=failed):
        tree.directories += 1
        folders[:] = [name for name in folders if include_hidden or not name.startswith(".")]
        for name in (name for name in files if include_hidden or not name.startswith(".")):
            path = Path(where) / name
            if media_type_of(name) is None:
                tree.unread.append(name)
                continue
            tree.documents[path.suffix.lower()] += 1
            if not os.access(path, os.R_OK):
                tree.closed.append(str(path))
        seen += len(files) + 1
        if seen > MAX_WALKED:
            tree.complete = False
            break
    return tree


def folder_findings(name: str, directory: Path, tree: Tree) -> Iterator[Finding]:
    """Yield what is in a folder, or why it cannot be read, and what of it is not read."""
    from research_shared.access.unread import count_of_unread

    about = f"folder {name}"
    if not directory.is_dir():
        yield Finding(
            about=about,
            status="problem",
            text=f"{directory} is not a directory",
            remedy="Create it, or name another with RESEARCH_ROOTS or --root DIR.",
        )
        return
    if not os.access(directory, os.R_OK | os.X_OK):
        yield Finding(
            about=about,
            status="problem",
            text=f"{directory} cannot be read by this user",
            remedy=f"Let the server's user read it: chmod u+rx {directory}",
        )
        return
    documents = tree.documents
    count = sum(documents.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in documents.most_common(6))
    if not count:
        yield Finding(
            about=about,
            status="warning",
            text=f"{directory} holds no document",
            remedy="Is something mounted there? Put documents into it, or name another folder with --root DIR.",
        )
    else:
        more = "" if tree.complete else f" in the first {MAX_WALKED} entries"
        yield Finding(
            about=about, status="ok", text=f"{directory}: {counted(count, 'document')}{more} ({kinds})"
        )
    if unread := count_of_unread(tree.unread):
        yield Finding(
            about=about,
            status="warning",
            text=unread,
            remedy="Save them in a format that is read; the answer of a tool names the remedy for each.",
        )
    if closed := tree.closed:
        yield Finding(
            about=about,
            status="problem",
            text=f"{counted(len(closed), 'file or folder', 'files or folders')} cannot be read by this user, such as {closed[0]}",
            remedy=f"Give the server's user permission to read {one_or_many(len(closed), 'it', 'them')}.",
        )
