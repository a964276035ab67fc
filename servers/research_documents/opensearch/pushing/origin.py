"""Which folder an index was fed from, and whether the one that is to be pushed is the same.

Nothing that a file system says of a folder is the same wherever it is mounted. Its documents are: so an index is taken for
that of a folder if the folder still has at least half of the documents that were pushed. Whoever wants more than that names
the folder: an index that was fed under a name is fed under no other.
"""

import socket
from collections.abc import Iterable, Sequence

from research_documents.opensearch.layout import DocumentRecord, PushState
from research_shared.base_errors import ConfigurationError
from research_shared.documents import DocumentInfo
from research_shared.root import Root
from research_shared.text.sizes import counted, one_or_many

_HOW_TO_KEEP_BOTH = "set RESEARCH_SEARCH_INDEX to another name for this one, or replace that one with --full"


def places_of(roots: Iterable[Root]) -> tuple[str, ...]:
    """Return where folders are: `machine:directory` of each, in the order of their names."""
    machine = socket.gethostname()
    return tuple(f"{machine}:{root.directory}" for root in sorted(roots, key=lambda root: root.name))


def names_of(roots: Iterable[Root]) -> tuple[str, ...]:
    """Return the names of folders, sorted, as the state of an index has them."""
    return tuple(sorted(root.name for root in roots))


def other_roots(state: PushState, roots: Sequence[str]) -> str:
    """Return, as a clause, that an index holds other folders than those of these names; empty if it does not."""
    if state.roots in {(), tuple(roots)}:
        return ""
    return f"the index holds the research folders {', '.join(state.roots)}, and these are {', '.join(roots)}"


def refuse_other_names(state: PushState, roots: Sequence[str], folder_id: str) -> None:
    """Refuse folders that are called otherwise than those that the index was fed from.

    Raises:
        ConfigurationError: they are, by the names of the roots or by the name that the operator gave.
    """
    if difference := other_roots(state, roots):
        raise ConfigurationError(f"{difference}: {_HOW_TO_KEEP_BOTH}")
    if state.folder_id and state.folder_id != folder_id:
        this = f"this one has {folder_id!r}" if folder_id else "none is set here"
        raise ConfigurationError(
            f"the index was fed from the folder with RESEARCH_SEARCH_FOLDER_ID={state.folder_id}, and {this}: {_HOW_TO_KEEP_BOTH}"
        )


def refuse_other_documents(
    state: PushState,
    known: Iterable[DocumentRecord],
    listed: Iterable[DocumentInfo],
    *,
    places: Sequence[str],
    away: Iterable[str] = (),
) -> None:
    """Refuse a folder that has less than half of the documents that the index has of the root of this name.

    Documents count as the same if they have the same path and, where the folder is at another place, the same size. Roots that are
    `away` are not looked at.

    Raises:
        ConfigurationError: there is such a root.
    """
    same_place = state.places == tuple(places)
    sizes = {info.path: info.size_bytes for info in listed}
    found: dict[str, list[bool]] = {}
    for record in known:
        if record.complete:
            size = sizes.get(record.path)
            same = size is not None and (same_place or size == record.info.size_bytes)
            found.setdefault(record.info.root, []).append(same)
    for root, same_ones in sorted(found.items()):
        if root not in away and 2 * sum(same_ones) < len(same_ones):
            fed = f" from {', '.join(state.places)}" if state.places else ""
            raise ConfigurationError(
                f"of {counted(len(same_ones), 'document')} that the index has of the research folder {root!r}, {sum(same_ones)} {one_or_many(sum(same_ones), 'is', 'are')} in this one: "
                f"it seems to be another folder of the same name than the one that was pushed{fed}: {_HOW_TO_KEEP_BOTH}"
            )
