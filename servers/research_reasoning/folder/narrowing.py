"""Lets the user of a client narrow a question about a large folder, before passages of all its documents compete."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from fastmcp import Context

from research_reasoning.models.state import Ledger
from research_reasoning.requested import WholeFolder
from research_shared.access.globs import PathChoice
from research_shared.reading.library import Library
from research_shared.text.sizes import one_or_many
from research_shared.tools.choices import UserChoice

MAX_UNASKED: Final = 900
"""Documents of a folder about which a question without paths or filters is answered without asking."""
MAX_FOLDERS: Final = 12
"""Folders that the user can choose from: those with the most documents."""
_NARROWED_TO: Final = "folder"
_OFFERED: Final = "folder options"


async def narrowed_folder(context: Context, library: Library, ledger: Ledger) -> WholeFolder:
    """Return the whole folder, or the part of it that the user chose, if it has more than `MAX_UNASKED` documents.

    A client that cannot ask, and a user who declines, get an answer from the whole folder. The choice is kept for all rounds
    of a call.

    Raises:
        AskUser: the client speaks 2026-07-28 and is to be asked in this round.
    """
    kept: str | None = ledger.get_result(_NARROWED_TO)
    if kept is None:
        kept = await _chosen_pattern(UserChoice(context), library, ledger)
        ledger.set_result(_NARROWED_TO, kept, replaces=[])
    return WholeFolder(PathChoice((kept,))) if kept else WholeFolder()


async def _chosen_pattern(user: UserChoice, library: Library, ledger: Ledger) -> str:
    """Return the pattern of the folder that the user chose; empty for all of them."""
    if not user.possible:
        return ""
    # The answer of a later round is one of what was offered, whatever the folder holds by then.
    options: dict[str, str] | None = ledger.get_result(_OFFERED)
    if options is None:
        paths = [info.path for info in await library.documents()]
        if len(paths) <= MAX_UNASKED:
            return ""
        options = folder_options(paths)
        ledger.set_result(_OFFERED, options, replaces=[])
    everything = next(iter(options)).removeprefix("all ")
    question = f"The question names none of the {everything}. Search all of them, or one of their folders?"
    return await user.among(_NARROWED_TO, question, options) or ""


def folder_options(paths: Sequence[str]) -> dict[str, str]:
    """Return what the user can choose, with the pattern that each choice stands for. The whole folder is the first.

    >>> folder_options(["a/1.md", "a/2.md", "3.md"])
    {'all 3 documents': '', 'a/ (2 documents)': 'a/**'}

    A folder that holds all of them is no choice.
    """
    folders = Counter(path.partition("/")[0] for path in paths if "/" in path)
    largest = sorted(folders.items(), key=lambda item: (-item[1], item[0]))[:MAX_FOLDERS]
    options = {f"all {len(paths):,} {one_or_many(len(paths), 'document', 'documents')}": ""}
    for name, count in largest:
        if _means_itself(name) and count < len(paths):
            options[f"{name}/ ({count:,} {one_or_many(count, 'document', 'documents')})"] = f"{name}/**"
    return options


def _means_itself(name: str) -> bool:
    """Return whether a name means only itself in a pattern."""
    return not set(name) & set("*?[]{}\\!")
