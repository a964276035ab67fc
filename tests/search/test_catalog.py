"""What the catalog of the index tells, after any history, is what a new one tells."""

import itertools
import random
import weakref
from dataclasses import replace

import pytest

from research_documents.search.catalog.backlog import PendingKind, PendingPath
from research_documents.search.catalog.catalog import Catalog
from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.catalog.selection import (
    MOST_CHANGES,
    MOST_OUTDATED_BYTES,
    MOST_SELECTIONS,
    Selections,
)
from research_shared.access.globs import EVERY_PATH, PathChoice
from research_shared.access.scope import EVERYTHING, Scope, View
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.formats import NO_METADATA
from research_shared.reading.filters import EVERY_DOCUMENT, DocumentFilter
from research_shared.reading.versions import VersionedDocument, version_notes
from support.sizes import examples

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


NAMES = (
    "plan.md",
    "Plan v1.md",
    "plan v2.md",
    "plan (1).md",
    "copy of plan.md",
    "plan .md",
    "notes.txt",
    "plan final.md",
)
SCOPES = (EVERYTHING, Scope(("a",)), Scope(views=(View(allow=("**",), deny=("**/*v2*",)),)))
CHOICES = (EVERY_PATH, PathChoice(("*.md",)), PathChoice(among=frozenset({"a/plan.md", "b/notes.txt"})))
FILTERS = (EVERY_DOCUMENT, DocumentFilter.of(type="md"), DocumentFilter.of(tags="x"))


def random_entry(seeded: random.Random, number: int, path: str) -> CatalogEntry:
    identity = Identity(device=1, inode=1, size=10, mtime_ns=seeded.randrange(3), ctime_ns=0)
    reason, gap = seeded.choice([("", ""), ("", ""), ("", "page 2"), ("empty", "")])
    return CatalogEntry(
        id=number,
        info=replace(info_of(path), identity=identity, target=seeded.choice(["", "", "b/plan v2.md"])),
        text=None,
        reason=reason,
        gap=gap,
        digest=f"{seeded.randrange(4)}",
        metadata=replace(NO_METADATA, tags=seeded.choice([(), ("x",)])),
        text_bytes=0 if reason else seeded.choice([0, 9, 9]),
    )


def changed_at_random(seeded: random.Random, catalog: Catalog) -> None:
    path = f"{seeded.choice('ab')}/{seeded.choice(NAMES)}"
    match seeded.randrange(12):
        case 0 | 1:
            catalog.remove(path)
        case 2 if seeded.randrange(5) == 0:
            entries = list(catalog.entries.values())
            catalog.clear()
            catalog.restore(entries)
        case 3:
            for entry in seeded.sample(list(catalog.entries.values()), len(catalog.entries) // 2):
                catalog.put(replace(entry, id=catalog.new_id()))
        case _:
            catalog.put(random_entry(seeded, catalog.new_id(), path))


@pytest.mark.parametrize("seed", range(examples(20)))
def test_what_is_selected_after_changes_is_what_is_selected_anew(seed: int) -> None:
    seeded = random.Random(seed)
    catalog = Catalog(0)
    sizes = set()
    for _ in range(150):
        changed_at_random(seeded, catalog)
        for key in seeded.sample(list(itertools.product(CHOICES, SCOPES, FILTERS)), 3):
            selection = catalog.select(*key)
            assert selection == Selections().of(catalog.entries, key)
            sizes.add((len(selection.readable), len(selection.unreadable), selection.everything))
    assert len(sizes) > 20


@pytest.mark.parametrize("seed", range(examples(20)))
def test_the_notes_on_versions_after_changes_are_those_of_all_documents_of_the_scope(seed: int) -> None:
    seeded = random.Random(seed)
    catalog = Catalog(0)
    seen: set[str] = set()
    for _ in range(150):
        for _ in range(seeded.randrange(3)):
            changed_at_random(seeded, catalog)
        scope = seeded.choice(SCOPES)
        expected = version_notes(
            VersionedDocument(
                path=path,
                modified_ns=entry.info.identity.mtime_ns,
                digest=entry.digest if entry.text_bytes else "",
            )
            for path, entry in catalog.entries.items()
            if scope.shows(entry.info)
        )
        notes = catalog.version_notes(scope)
        paths = [f"{folder}/{name}" for folder in "ab" for name in NAMES]
        assert {path: note for path in paths if (note := notes.get(path)) is not None} == expected
        assert [path for path in paths if path in notes] == [path for path in paths if path in expected]
        seen.update(map(str, expected.values()))
    assert len(seen) > 10


def test_thousands_of_changes_at_once_are_selected_anew() -> None:
    catalog = Catalog(0)
    for number in range(2 * MOST_CHANGES):
        catalog.put(CatalogEntry(id=catalog.new_id(), info=info_of(f"{number}.md")))
        if number in {0, MOST_CHANGES, MOST_CHANGES + 1}:
            assert len(catalog.select(EVERY_PATH, EVERYTHING).readable) == number + 1
    selection = catalog.select(EVERY_PATH, EVERYTHING)
    assert len(selection.readable) == 2 * MOST_CHANGES
    assert selection.everything
    assert len(catalog._selections._changed) <= MOST_CHANGES


def test_selections_that_nobody_asks_for_again_hold_little_text_that_is_not_the_present_one() -> None:
    catalog = Catalog(1 << 30)
    size = MOST_OUTDATED_BYTES // 4
    texts = []
    for number in range(2 * MOST_SELECTIONS):
        text = DocumentText(
            path="1.md",
            media_type="text/markdown",
            identity=info_of("1.md").identity,
            digest=f"{number}",
            engine="text",
            data=f"{number}".encode().ljust(size),
        )
        texts.append(weakref.ref(text))
        entry = CatalogEntry.of(catalog.new_id(), info_of("1.md"), text, 1)
        before = catalog.entries.get("1.md")
        catalog.put(entry)
        catalog.forget([before.id] if before else [])
        del text, entry, before
        assert catalog.select(PathChoice((f"*{number}*", "*")), EVERYTHING).readable
        assert sum(each() is not None for each in texts) <= 6


def test_only_the_latest_selections_are_kept() -> None:
    catalog = Catalog(0)
    catalog.put(CatalogEntry(id=catalog.new_id(), info=info_of("1.md")))
    latest = catalog.select(EVERY_PATH, EVERYTHING)
    for number in range(2 * MOST_SELECTIONS):
        catalog.select(PathChoice((f"{number}*",)), EVERYTHING)
        assert catalog.select(EVERY_PATH, EVERYTHING) is latest
    assert len(catalog._selections._kept) == MOST_SELECTIONS
