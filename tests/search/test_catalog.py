"""What the catalog of the index tells of what is missing."""

import random
from dataclasses import replace

import pytest

from research_documents.search.index.backlog import PendingKind, PendingPath
from research_documents.search.index.catalog import Catalog, CatalogEntry
from research_shared.access.globs import EVERY_PATH
from research_shared.access.scope import EVERYTHING
from research_shared.documents import DocumentInfo, Identity

PATHS = [f"{number}.md" for number in range(6)]
KINDS: tuple[PendingKind, ...] = ("new", "changed", "uncounted")


def info_of(path: str) -> DocumentInfo:
    identity = Identity(device=1, inode=1, size=10, mtime_ns=0, ctime_ns=0)
    return DocumentInfo(path=path, root="r", media_type="text/markdown", identity=identity)


@pytest.mark.parametrize("seed", range(20))
def test_the_coverage_of_all_is_that_of_every_path_for_everybody(seed: int) -> None:
    seeded = random.Random(seed)
    catalog = Catalog(0)
    seen = set()
    for number in range(1, 200):
        path = seeded.choice(PATHS)
        match seeded.randrange(8):
            case 0 | 1:
                reason = seeded.choice(["", "", "empty"])
                catalog.put(CatalogEntry(id=catalog.new_id(), info=info_of(path), reason=reason))
                catalog.backlog.read(path, number, has_text=not reason)
            case 2:
                catalog.remove(path)
            case 3:
                kinds = {each: seeded.choice(KINDS) for each in seeded.sample(PATHS, 3)}
                listing = {each: PendingPath(number, number, 0.0, kind) for each, kind in kinds.items()}
                catalog.backlog.found(number, listing)
            case 4 | 5:
                catalog.backlog.touched([path], number, 0.0, catalog.entries)
            case 6:
                catalog.backlog.committed()
            case _ if number % 50 == 0:
                catalog.clear()
            case _:
                entries = [replace(entry, id=catalog.new_id()) for entry in catalog.entries.values()]
                catalog.clear()
                catalog.restore(entries)
        coverage = catalog.coverage_of_all()
        assert coverage == catalog.coverage(EVERY_PATH, EVERYTHING, visible=True)
        seen.add((coverage.listed, coverage.complete, coverage.total))
    assert len(seen) > 8
