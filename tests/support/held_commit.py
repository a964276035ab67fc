"""Run a server that stops in the middle of a commit: `held_commit.py HOLD REACHED COMMAND [ARGUMENT ...]`.

The first commit after the file HOLD exists never returns. The index is committed by then, the texts are not. The file
REACHED says that it has come so far; the rest of the process goes on.
"""

import sys
import threading
from pathlib import Path

from research_documents.search.index.passage_index import PassageIndex
from research_gateway.cli import main


def hold_commits(hold: Path, reached: Path) -> None:
    """Hold the thread that commits an index, from the moment that `hold` exists."""
    commit = PassageIndex.commit

    def held(self: PassageIndex) -> None:
        commit(self)
        if hold.exists():
            reached.touch()
            threading.Event().wait()

    PassageIndex.commit = held  # type: ignore[method-assign]


if __name__ == "__main__":
    hold_commits(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.argv = sys.argv[3:]
    main()
