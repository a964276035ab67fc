"""Storage of texts and index: in memory, or in a directory that outlasts the process.

What is on disk can always be rebuilt. It is verified when it is opened, and discarded if it does not match: texts by
checksum, the index by the checksums of its files and the number of its last commit.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from research_documents.search.catalog.entry import CatalogEntry
from research_documents.search.index.checksums import checksums
from research_documents.search.index.directories import IndexCopy, locked, make_private
from research_documents.search.index.passage_index import META, SCHEMA_VERSION, PassageIndex
from research_documents.search.index.texts import NOT_INDEXED, KeptTexts, connected, every_text, put
from research_documents.search.tuning import DEFAULT_TUNING, SearchTuning
from research_shared.access.roots import Root
from research_shared.documents import DocumentInfo, DocumentText
from research_shared.faults import INDEX_FAILED, Faults
from research_shared.logs import get_logger
from research_shared.reading.extraction import engines
from research_shared.reading.first_page import IDENTITY
from research_shared.reading.library import ReadBefore
from research_shared.reading.limits import Limits

log = get_logger("research.search")

_FORM: Final = "2"
"""Changes whenever the tables or their rows change."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS document (path TEXT PRIMARY KEY, head TEXT, data BLOB, sum INTEGER);
CREATE TABLE IF NOT EXISTS indexed (path TEXT PRIMARY KEY, id INTEGER);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT);
"""
"""What is in the index has a table of its own: when a new index is begun, no text is written again for that."""
_MOST_JOURNAL: Final = 16 * 1024 * 1024
"""Bytes that the journal of the database keeps after a large change."""
_DISK_ERRORS: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
STORE_ERRORS: Final = (OSError, ValueError, sqlite3.Error)
"""What a directory raises that cannot be used: the system, tantivy, SQLite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Contents of a store: the index and the documents in it.

    `read_before` gives texts of documents that must be indexed again, if there are any. `roots` are the names of the roots of
    which the store knows documents.
    """

    index: PassageIndex
    indexed: list[CatalogEntry] = field(default_factory=list)
    read_before: ReadBefore | None = None
    roots: frozenset[str] = frozenset()


class Store(Protocol):
    """Storage of an index and its texts. Used from one thread, but for `texts`."""

    @property
    def holds_index(self) -> bool:
        """Return whether the index is in the storage, and with it depends on a disk."""

    def open(self) -> Opened:
        """Open the storage."""

    def texts(self, entries: Sequence[CatalogEntry]) -> Mapping[int, DocumentText]:
        """Return the texts of those of these documents that are in the storage, by id. Called from any thread."""

    def read_before(self, paths: Iterable[str]) -> dict[str, tuple[DocumentInfo, DocumentText]]:
        """Return what was read at these paths, as far as it is in the storage. Called from any thread."""

    def save(self, entries: Iterable[CatalogEntry], outdated: Iterable[str]) -> frozenset[int]:
        """Replace the documents of the paths `outdated` by these; durable after `commit`.

        Return the ids of those whose text is in the storage from now on, so that nobody else need hold it.
        """

    def kept_by_another(self, entries: Sequence[CatalogEntry]) -> frozenset[int]:
        """Return the ids of those of these documents whose text another process has put into the storage."""

    def commit(self, index: PassageIndex) -> None:
        """Make the changes of the index visible, and durable in a store on disk."""

    def on_idle(self, index: PassageIndex) -> None:
        """Run when no more changes are pending."""

    def take_over(self) -> bool:
        """Return whether this process has just become the one that writes; it then saves all that it knows."""

    def close(self, index: PassageIndex) -> None:
        """Release all resources."""

    def leave(self, index: PassageIndex, error: Exception) -> None:
        """Give up the storage for the time being, because of an error, and with it the index that it holds."""


class MemoryStore:
    """Keeps the index in memory and stores nothing."""

    def __init__(self, tuning: SearchTuning = DEFAULT_TUNING) -> None:
        self._tuning = tuning

    @property
    def holds_index(self) -> bool:
        """Return False."""
        return False

    def open(self) -> Opened:
        """Return an empty index."""
        return Opened(index=PassageIndex(tuning=self._tuning))

    def texts(self, entries: Sequence[CatalogEntry]) -> Mapping[int, DocumentText]:  # noqa: ARG002
        """Return none."""
        return {}

    def read_before(self, paths: Iterable[str]) -> dict[str, tuple[DocumentInfo, DocumentText]]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def save(self, entries: Iterable[CatalogEntry], outdated: Iterable[str]) -> frozenset[int]:  # noqa: ARG002
        """Do nothing."""
        return frozenset()

    def kept_by_another(self, entries: Sequence[CatalogEntry]) -> frozenset[int]:  # noqa: ARG002
        """Return none."""
        return frozenset()

    def commit(self, index: PassageIndex) -> None:
        """Make the changes of the index visible."""
        index.commit()

    def on_idle(self, index: PassageIndex) -> None:
        """Do nothing."""

    def take_over(self) -> bool:
        """Return False: nothing is shared."""
        return False

    def close(self, index: PassageIndex) -> None:
        """Wait for the threads of the index."""
        index.close()

    def leave(self, index: PassageIndex, error: Exception) -> None:
        """Do nothing."""


class DiskStore:
    """Keeps texts and index in a subdirectory of `directory`, one per combination of roots, limits and readers.

    Texts in it are read when they are needed, and not held in memory.

    The process that holds the lock of the directory writes. Every other process on this machine reads the texts from it
    and has a directory in it for an index of its own, until the writer ends: then one of them takes over. That index begins
    as the writer's if that is complete: its files never change, so they are linked, and the processes share their memory. If the directory
    cannot be used, everything stays in memory, this is reported to `faults`, and the directory is tried again every
    `index_retry_s` of the tuning, by `clock` in seconds.
    """

    def __init__(
        self,
        directory: Path,
        roots: Sequence[Root],
        limits: Limits,
        *,
        tuning: SearchTuning = DEFAULT_TUNING,
        faults: Faults | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tuning = tuning
        self._faults = faults or Faults()
        self._clock = clock
        places = [[root.name, str(root.directory)] for root in roots]
        made_for = json.dumps(
            [SCHEMA_VERSION, _FORM, version("tantivy"), places, *engines(), IDENTITY, *limits.of_text]
        )
        self.directory = directory / f"search-{hashlib.sha256(made_for.encode()).hexdigest()[:16]}"
        self._lock: int | None = None
        self._database: sqlite3.Connection | None = None
        self._kept = KeptTexts(self.directory / "texts.sqlite")
        self._uncommitted: dict[int, DocumentText] = {}
        """Texts that were saved since the last commit, and which no other connection sees yet."""
        self._described: dict[str, str] = {}
        """The checksums of the files of the index that were recorded last."""
        self._swept = False
        """Whether only texts of documents that are in the index are kept."""
        self._follows = False
        """Whether another process wrote when this one opened the store."""
        self._failed_at: float | None = None
        """When the directory could not be used the last time, if that was the case since it was used."""
        self._holds_index = False
        """Whether the index of this process is the one in the directory."""
        self._copy: IndexCopy | None = None
        """Where a process that is not the writer has its index."""

    @property
    def holds_index(self) -> bool:
        """Return whether the index of this process is in the directory."""
        return self._holds_index or self._copy is not None

    def open(self) -> Opened:
        """Open what is stored and passes verification."""
        self._described, self._swept = {}, False
        try:
            make_private(self.directory)
            self._lock = locked(self.directory / "lock")
            self._follows = self._lock is None
            if self._follows:
                log.info(
                    "another process writes the kept index; this one has an index of its own",
                    directory=str(self.directory),
                )
                return self._open_copy()
            IndexCopy.delete_ended(self.directory)
            IndexCopy.delete_without_lock(self.directory)
            opened = self._open_own()
        except STORE_ERRORS as error:
            self._give_up(error)
            self._delete_copy()
            return Opened(index=PassageIndex(tuning=self._tuning))
        self._holds_index = True
        return opened

    def _open_copy(self) -> Opened:
        """Open an index like that of the writer, or an empty one if that is not complete, or has only just begun."""
        self._copy = IndexCopy(self.directory)
        entries: list[CatalogEntry] = []
        roots: set[str] = set()
        kept: dict[str, str] = {}
        try:
            with closing(connected(self.directory / "texts.sqlite")) as database:
                database.execute("BEGIN")  # one state of both tables
                kept = dict(database.execute("SELECT name, value FROM state").fetchall())
                entries = _entries_of(database, roots)
        except (sqlite3.Error, ValueError) as error:
            log.info("the writer of the kept index has kept nothing to read yet", error=str(error))
        if kept and self._copy.link(self.directory / "index"):
            index = _checked_index(self._copy.directory, kept, entries, self._tuning)
            if index is not None:
                return Opened(index=index, indexed=entries, roots=frozenset(roots))
        self._copy.empty()
        return Opened(
            index=PassageIndex(self._copy.directory, tuning=self._tuning),
            read_before=self.read_before,
            roots=frozenset(roots),
        )

    def texts(self, entries: Sequence[CatalogEntry]) -> Mapping[int, DocumentText]:
        """Return the texts of those of these documents that are in the directory, by id. Called from any thread."""
        saved = self._uncommitted
        found = {entry.id: text for entry in entries if (text := saved.get(entry.id)) is not None}
        if len(found) < len(entries):
            found |= self._kept.of([entry for entry in entries if entry.id not in found])
        return found

    def read_before(self, paths: Iterable[str]) -> dict[str, tuple[DocumentInfo, DocumentText]]:
        """Return what was read at these paths, as far as it is in the directory. Called from any thread."""
        return self._kept.at(paths)

    def take_over(self) -> bool:
        """Become the writer if the process that was has ended, or the directory can be used again.

        The kept index goes; texts are kept as before.
        """
        if self._failed_at is not None:
            if self._clock() - self._failed_at < self._tuning.index_retry_s:
                return False
        elif not self._follows:
            return False
        try:
            make_private(self.directory)
            self._lock = locked(self.directory / "lock")
            if self._lock is None:
                self._follows, self._failed_at = True, None
                self._faults.end(INDEX_FAILED)
                return False
            self._connect_anew()
        except STORE_ERRORS as error:
            self._give_up(error)
            return False
        if self._follows:
            log.info(
                "the process that wrote the kept index has ended; this one writes now",
                directory=str(self.directory),
            )
        self._follows, self._failed_at = False, None
        return True

    def _connect_anew(self) -> None:
        """Connect to the texts, or to new ones in place of damaged ones, and throw away the index."""
        try:
            self._database = self._connect()
            self._index_anew(self._database)
        except sqlite3.Error as error:
            if _is_of_disk(error):
                raise
            self._throw_away_damaged(error)
            self._database = self._connect()
        self._described, self._swept = {}, False
        self._throw_away("index")

    def _throw_away_damaged(self, error: Exception) -> None:
        log.warning("the kept texts are damaged and are deleted", error=str(error))
        self._kept.close()
        self._throw_away("texts.sqlite*")

    def _give_up(self, error: Exception) -> None:
        """Use the directory no more, for the time being."""
        self._failed_at, self._follows, self._holds_index = self._clock(), False, False
        self._faults.begin(INDEX_FAILED, error=error)
        self._release()

    def leave(self, index: PassageIndex, error: Exception) -> None:
        """Give up the directory for the time being, because of an error, and with it the index that it holds."""
        with suppress(*STORE_ERRORS):
            index.close()  # first: another process must not take over a directory that a thread still writes to
        self._give_up(error)
        self._delete_copy()

    def _delete_copy(self) -> None:
        if self._copy is not None:
            self._copy.delete()
            self._copy = None

    def _open_own(self) -> Opened:
        roots: set[str] = set()
        entries: list[CatalogEntry] = []
        kept: dict[str, str] = {}
        try:
            self._database = self._connect()
            entries = _entries_of(self._database, roots)
            kept = dict(self._database.execute("SELECT name, value FROM state").fetchall())
        except (sqlite3.Error, ValueError) as error:
            if _is_of_disk(error):
                raise
            self._throw_away_damaged(error)
            self._database = self._connect()
            roots, entries, kept = set(), [], {}
        index = _checked_index(self.directory / "index", kept, entries, self._tuning)
        if index is not None:
            self._described = json.loads(kept["files"])
            return Opened(index=index, indexed=entries, roots=frozenset(roots))
        self._throw_away("index")
        self._index_anew(self._database)
        (self.directory / "index").mkdir(mode=0o700)
        return Opened(
            index=PassageIndex(self.directory / "index", tuning=self._tuning),
            read_before=self.read_before if roots else None,
            roots=frozenset(roots),
        )

    @staticmethod
    def _index_anew(database: sqlite3.Connection) -> None:
        """Note that no text is in an index. The texts stay where they are."""
        database.execute("DELETE FROM state")
        database.execute("DELETE FROM indexed")
        database.commit()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.directory / "texts.sqlite", check_same_thread=False)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute(f"PRAGMA journal_size_limit={_MOST_JOURNAL}")
        database.executescript(_TABLES)
        return database

    def _throw_away(self, names: str) -> None:
        for path in self.directory.glob(names):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def kept_by_another(self, entries: Sequence[CatalogEntry]) -> frozenset[int]:
        """Return the ids of those of these documents whose text another process has put into the directory."""
        return frozenset(self._kept.of(entries)) if self._follows else frozenset()

    def save(self, entries: Iterable[CatalogEntry], outdated: Iterable[str]) -> frozenset[int]:
        """Store these documents, except those whose mtime is not reliable; return the ids of the stored ones."""
        if self._database is None:
            return frozenset()
        try:
            return self._save(self._database, entries, outdated)
        except sqlite3.Error as error:
            if self._holds_index:
                raise
            self._give_up(error)
            return frozenset()

    def _save(
        self, database: sqlite3.Connection, entries: Iterable[CatalogEntry], outdated: Iterable[str]
    ) -> frozenset[int]:
        left = dict.fromkeys(outdated)
        stored: dict[int, DocumentText] = {}
        for entry in entries:
            text = entry.text or self.texts([entry]).get(entry.id)
            if entry.mtime_reliable and text is not None:
                put(database, entry, text)
                left.pop(entry.path, None)
                if entry.text is not None:
                    stored[entry.id] = text
        for table in ("document", "indexed"):
            statement = f"DELETE FROM {table} WHERE path = ?"  # noqa: S608  (a constant)
            database.executemany(statement, [(path,) for path in left])
        # Replaced, not changed: other threads read it.
        self._uncommitted = self._uncommitted | stored
        return frozenset(stored)

    def commit(self, index: PassageIndex) -> None:
        """Commit the index, then the texts: after a crash in between, the missing texts are read again."""
        index.commit()
        if self._database is None:
            return
        try:
            self._database.commit()
        except sqlite3.Error as error:
            if self._holds_index:
                raise
            self._give_up(error)
        else:
            self._uncommitted = {}
            self._faults.end(INDEX_FAILED)

    def on_idle(self, index: PassageIndex) -> None:
        """Record the checksums of the index files for the next start, and drop the texts of what is not in it."""
        if self._database is not None and self._holds_index:
            if not self._swept:
                self._database.execute("DELETE FROM document WHERE path NOT IN (SELECT path FROM indexed)")
                self._database.commit()
                self._swept = True
            self._describe(self._database, index.stamp)

    def _describe(self, database: sqlite3.Connection, stamp: int) -> None:
        # Merges go on after a commit: until they have ended, each time that nothing is left to do records them anew.
        found = checksums(self.directory / "index", self._described)
        if found is not None and found != self._described:
            state = [("files", json.dumps(found)), ("stamp", str(stamp))]
            database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state)
            database.commit()
            self._described = found

    def close(self, index: PassageIndex) -> None:
        """Record the checksums and release the lock."""
        stamp = index.stamp
        index.close()
        if self._database is not None and self._holds_index:
            self._describe(self._database, stamp)
        self._release()
        self._delete_copy()
        self._kept.close()

    def _release(self) -> None:
        self._uncommitted = {}
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _entries_of(database: sqlite3.Connection, roots: set[str]) -> list[CatalogEntry]:
    """Return the documents that are in the index, without their texts; add the roots of all to `roots`."""
    entries: list[CatalogEntry] = []
    for number, info, text, passages in every_text(database):
        roots.add(info.root)
        if number != NOT_INDEXED:
            entries.append(CatalogEntry.of(number, info, text, passages, holds_text=False))
    return entries


def _checked_index(
    place: Path, kept: Mapping[str, str], entries: Sequence[CatalogEntry], tuning: SearchTuning
) -> PassageIndex | None:
    """Return the index at a place if its files are as they were `kept` and it holds exactly these documents, else None."""
    if not kept or not (place / META).is_file():
        return None
    try:
        if checksums(place, {}) != json.loads(kept.get("files", "null")):
            return None
        index = PassageIndex(place, tuning=tuning)
    except (
        ValueError
    ) as error:  # tantivy: too many open files, for example, which says nothing about the texts
        log.warning("the kept index cannot be opened and is built again", error=str(error))
        return None
    if kept.get("stamp") == str(index.stamp) and index.passages == sum(entry.passages for entry in entries):
        return index
    index.close()
    return None


def _is_of_disk(error: Exception) -> bool:
    """Return whether an error says nothing about what a database holds: the disk is full or read-only, for example."""
    return isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DISK_ERRORS
