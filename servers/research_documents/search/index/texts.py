"""Texts in a database on disk: one row a document, written by one process, and read by any when they are needed."""

import json
import sqlite3
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from research_documents.search.catalog.entry import CatalogEntry
from research_shared.documents import DocumentInfo, DocumentText, Identity
from research_shared.formats import NO_METADATA, Metadata

NOT_INDEXED: Final = -1
"""Id of a text that is kept, but which is not in the index of the directory."""
_MOST_ASKED: Final = 500
"""Paths in one query."""
# -1 is NOT_INDEXED.
_SELECT: Final = "SELECT path, coalesce(id, -1), head, data, sum FROM document LEFT JOIN indexed USING (path)"

Row = tuple[str, int, str, bytes, int]


class KeptTexts:
    """Reads texts from the database at `place`, from any thread, through a connection of its own that writes nothing.

    A row counts if its checksum is right. What cannot be read is not there: a text can always be read from its file.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None

    def of(self, entries: Sequence[CatalogEntry]) -> dict[int, DocumentText]:
        """Return the texts of those of these documents that are here as the entries were made of them, by the id of the entry."""
        wanted = {entry.path: entry for entry in entries}
        found: dict[int, DocumentText] = {}
        for path, _, head, data, kept in self._rows(list(wanted)):
            entry = wanted[path]
            data_sum = zlib.crc32(data)
            if kept != _sum(head, data_sum):
                continue
            # What the entry knows is not unpacked: an expression may ask for every document.
            text = _document_text(entry.info, json.loads(head)["text"], data, entry.metadata)
            if entry.is_of(text, data_sum):
                found[entry.id] = text
        return found

    def at(self, paths: Iterable[str]) -> dict[str, tuple[DocumentInfo, DocumentText]]:
        """Return what was read at these paths, in whatever version it is here."""
        return {info.path: (info, text) for _, info, text, _ in restored(self._rows(list(paths)))}

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._disconnect()

    def _rows(self, paths: Sequence[str]) -> list[Row]:
        rows: list[Row] = []
        for at in range(0, len(paths), _MOST_ASKED):
            some = paths[at : at + _MOST_ASKED]
            marks = ",".join("?" * len(some))
            query = f"{_SELECT} WHERE path IN ({marks})"
            with self._lock:  # for each query: others need not wait for all
                try:
                    if self._database is None:
                        self._database = connected(self._place)
                    rows += self._database.execute(query, some)
                except sqlite3.Error:
                    self._disconnect()
        return rows

    def _disconnect(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def connected(place: Path) -> sqlite3.Connection:
    """Return a connection to an existing database that writes nothing.

    Raises:
        sqlite3.Error: there is none.
    """
    return sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True, check_same_thread=False)


def every_text(database: sqlite3.Connection) -> Iterator[tuple[int, DocumentInfo, DocumentText, int]]:
    """Yield (id, listing entry, text, number of passages) of each row whose checksum is right, one after the other."""
    return restored(database.execute(_SELECT))


def restored(rows: Iterable[Row]) -> Iterator[tuple[int, DocumentInfo, DocumentText, int]]:
    """Yield (id, listing entry, text, number of passages) of the rows whose checksum is right.

    Raises:
        ValueError: a row with a right checksum is of another version.
    """
    return (
        (number, *_unpacked(head, data))
        for _, number, head, data, kept in rows
        if kept == _sum(head, zlib.crc32(data))
    )


def put(database: sqlite3.Connection, entry: CatalogEntry, text: DocumentText) -> None:
    """Note that a document is in the index, and store its text, unless it is there already."""
    head = _head(entry, text)
    kept = _sum(head, zlib.crc32(text.data))
    database.execute("INSERT OR REPLACE INTO indexed VALUES (?, ?)", (entry.path, entry.id))
    found = database.execute("SELECT head, sum, data FROM document WHERE path = ?", (entry.path,)).fetchone()
    if found != (head, kept, text.data):
        row = (entry.path, head, text.data, kept)
        database.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?)", row)


def _sum(head: str, data_sum: int) -> int:
    return zlib.crc32(head.encode(), data_sum)


def _head(entry: CatalogEntry, text: DocumentText) -> str:
    identity = entry.info.identity._asdict()
    return json.dumps(
        {
            "info": [entry.path, entry.info.root, entry.info.media_type, identity, entry.info.target],
            "text": [
                text.digest,
                text.engine,
                text.page_starts,
                text.missing_pages,
                text.ocr_pages,
                text.notes,
            ],
            "metadata": text.metadata.packed(),
            "passages": entry.passages,
        }
    )


def _unpacked(head: str, data: bytes) -> tuple[DocumentInfo, DocumentText, int]:
    kept = json.loads(head)
    path, root, media_type, identity, target = kept["info"]
    # A hundred thousand of them stay in memory: what is often equal is one object.
    version = Identity(**identity)
    if version.ctime_ns == version.mtime_ns:
        version = version._replace(ctime_ns=version.mtime_ns)
    info = DocumentInfo(
        path=path,
        root=sys.intern(root),
        media_type=sys.intern(media_type),
        identity=version,
        target=target,
    )
    metadata = Metadata.unpacked(kept["metadata"]) if kept["metadata"] else NO_METADATA
    return info, _document_text(info, kept["text"], data, metadata), kept["passages"]


def _document_text(info: DocumentInfo, facts: Sequence[Any], data: bytes, metadata: Metadata) -> DocumentText:
    digest, engine, starts, missing, ocr, notes = facts
    return DocumentText(
        path=info.path,
        media_type=info.media_type,
        identity=info.identity,
        digest=digest,
        engine=engine,
        data=data,
        page_starts=tuple(starts),
        missing_pages=tuple(missing),
        ocr_pages=tuple(ocr),
        notes=tuple(notes),
        metadata=metadata,
    )
