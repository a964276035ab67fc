"""The faults that a server can go on with. What the operator does about each: `docs/faults.md`."""

from dataclasses import dataclass
from typing import Final

from research_shared.tools.names import INCOMPLETE


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A fault that has a name.

    `began` and `ended` are its log lines. `unready`: while it lasts, another instance of the server should be asked.
    `warning`: what answers say that suffer from it; `{about}` stands for the name of the research folder. It ends
    `settle_s` seconds after it was last seen at the earliest, so that one that comes and goes is logged once.
    """

    name: str
    began: str
    ended: str
    unready: bool = False
    warning: str = ""
    settle_s: float = 0.0


WATCHING_FAILED: Final = FaultKind(
    name="watching_failed",
    began="the research folder cannot be watched; searches look at it themselves",
    ended="the research folder is watched again",
)
WORKERS_FAILED: Final = FaultKind(
    name="workers_failed",
    began="the processes that read PDF, Office and other binary documents cannot be started; such documents are not read",
    ended="the processes that read documents start again",
    warning="PDF, Office and other binary documents cannot be read now; tell the operator that no process starts for them",
    settle_s=5.0,
)
INDEX_FAILED: Final = FaultKind(
    name="index_failed",
    began="the index directory cannot be used; the index is kept in memory",
    ended="the index directory is used again",
)
VECTORS_FAILED: Final = FaultKind(
    name="vectors_failed",
    began="the vectors of hybrid search cannot be kept on disk; they are in memory",
    ended="the vectors of hybrid search are kept on disk again",
)
ROOT_EMPTY: Final = FaultKind(
    name="root_empty",
    began="the research folder is an empty directory: is something to be mounted there?",
    ended="there are documents in the research folder",
)
ROOT_EMPTIED: Final = FaultKind(
    name="root_emptied",
    began="the research folder held documents and has none now: is it still mounted?",
    ended="there are documents in the research folder again",
    unready=True,
    warning=f"{INCOMPLETE}: the research folder {{about!r}} held documents and has none now; it may not be mounted, "
    "tell the operator",
)
ROOT_UNAVAILABLE: Final = FaultKind(
    name="root_unavailable",
    began="the research folder cannot be opened; calls that need it are refused",
    ended="the research folder can be opened again",
    unready=True,
)
ROOT_FAILING: Final = FaultKind(
    name="root_failing",
    began="the file system of the research folder fails; calls that need it are refused",
    ended="the file system of the research folder works again",
    unready=True,
    settle_s=5.0,
)
DIRECTORY_FAILING: Final = FaultKind(
    name="directory_failing",
    began="the file system fails to list a directory of the research folder; what it did not give is left out",
    ended="all directories of the research folder can be listed again",
    warning=f"{INCOMPLETE}: the file system fails to list a directory of the research folder {{about!r}}; documents "
    "may be missing, tell the operator",
)
OUT_OF_FILES: Final = FaultKind(
    name="out_of_files",
    began="the process may open no more files; calls are refused until some are closed",
    ended="files can be opened again",
    settle_s=5.0,
)

FAULT_KINDS: Final = (
    DIRECTORY_FAILING,
    INDEX_FAILED,
    OUT_OF_FILES,
    ROOT_EMPTIED,
    ROOT_EMPTY,
    ROOT_FAILING,
    ROOT_UNAVAILABLE,
    VECTORS_FAILED,
    WATCHING_FAILED,
    WORKERS_FAILED,
)
