"""The indexer: brings the cluster what of the folder is not there yet.

The records first say which documents wait. These are pushed in batches. Of each batch, the records first name the new versions as hidden; then the passages are
written; then the records make them count, and the old versions hidden; then the old passages go. Whatever ends an indexer in
between, searches see each document as it was or as it is, and the next indexer removes what is hidden and begins where this
one ended.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from research_documents.opensearch.layout import (
    MAX_UNREAD,
    DocumentRecord,
    PushState,
    passage_records,
    unread_key,
)
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.origin import (
    places_of,
    refuse_other_documents,
    refuse_other_names,
)
from research_documents.opensearch.pushing.reading import (
    PassageCount,
    Reading,
    batches,
    gone_paths,
    is_pushed,
    read_batch,
    readers_key,
)
from research_shared.base_errors import ConfigurationError
from research_shared.documents import DocumentInfo
from research_shared.errors import DocumentNotFound, DocumentUnreadable
from research_shared.faults import DIRECTORY_FAILING
from research_shared.logs import get_logger
from research_shared.reading.library import Library

if TYPE_CHECKING:
    from research_documents.opensearch.pushing.vectors import VectorMaker

log = get_logger("research.opensearch")

NOT_TAKEN: Final = "could not be indexed"
"""The reason of a document whose passages the cluster refuses."""
_KEEP_GONE: Final = timedelta(days=1)
"""How long a record says that a document is gone: who asked for changes within that time learns of it."""
_SAVE_EVERY_S: Final = 5.0
"""Seconds between records of how far a push is."""
_EMBEDDED_FILES: Final = 16
_EMBEDDED_FILE_BYTES: Final = 256 * 1024
"""Documents and bytes of files that are pushed together where vectors are made, which takes much longer than all else."""
NOT_POSSIBLE: Final = "the search cluster has no k-NN plugin"
MADE_WITHOUT: Final = "the index was made without them; push with --full to have them"
NO_MODEL: Final = "the last push had no embedding model"
BEING_MADE: Final = "they are still being made"
FAILED_FOR_A_WHILE: Final = "the embedding model did not answer for a while"
FAILS_WITH_SOME: Final = "the model fails with the others"
"""Why passages have no vector, as clauses."""

OnPush = Callable[[int, int], object]
"""Is called with (documents done, documents to do)."""


@dataclass(slots=True, kw_only=True)
class PushReport:
    """What a push did. `unreadable` and `failed` hold (path, reason): documents without text, and those that the cluster refuses.

    `without_vectors` documents of the index have passages that should have a vector and have none; `no_vectors` says why, as a
    clause. `embedding_failed` says that the model is why.
    """

    listed: int = 0
    pushed: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    without_vectors: int = 0
    no_vectors: str = ""
    embedding_failed: bool = False


class FolderAway(ConfigurationError):
    """A part of the folder seems to be away, for example not mounted. What the index has of it stays; `report` tells of the rest."""

    def __init__(self, message: str, report: PushReport | None = None) -> None:
        super().__init__(message)
        self.report = report or PushReport()


class Indexer:
    """Pushes the documents of a library. Whoever uses it has the lease of the index.

    `vectors` makes those of the passages, where the cluster can compare them. `folder_id` is the operator's name for the folders:
    an index that was fed under one is fed under no other. `clock` gives seconds. `on_progress` is called after each batch.
    """

    def __init__(
        self,
        library: Library,
        cluster: ClusterIndex,
        *,
        vectors: "VectorMaker | None" = None,
        on_progress: OnPush = lambda *_: None,
        folder_id: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.hold: Callable[[], object] = lambda: None
        """Is called right before the indices are swapped or the state is written. Raises if the lease was lost."""
        self._library = library
        self._cluster = cluster
        self._vectors = vectors
        self._impossible = ""
        """Why there can be no vectors, as a clause."""
        self._on_progress = on_progress
        self._clock = clock
        self._readers = readers_key(library.limits)
        self._roots = tuple(sorted(root.name for root in library.roots.roots))
        self._places = places_of(library.roots.roots)
        self._folder_id = folder_id
        self.vectors_s: float | None = None
        """Seconds for which a push makes the vectors of words that are there, if these are bounded."""
        self.has_vectors_to_make = False
        """Whether the last push left vectors to the next one."""
        self._words_alone = False
        """Whether no vectors are made at the moment."""
        self._pushed: set[str] = set()
        """What the push at work has counted as pushed."""
        self._is_recognized = False
        """Whether the index is known to have been fed from these folders."""
        self._known: dict[str, DocumentRecord] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._state = PushState()
        self._saved_at = float("-inf")
        self._anew = False
        """Whether the indices are new ones that nobody searches yet."""
        self._away: dict[str, str] = {}
        """What is wrong with the roots of which the last listing did not show everything, by name."""

    async def open(self, *, anew: bool = False) -> None:
        """Read what the cluster has, and finish what an indexer left that was ended. With `anew`, begin with empty indices.

        Raises:
            SchemaDiffers: the indices were made for another version of this program.
            ConfigurationError: they were fed from other research folders, whose documents a push would remove, or have the vectors of
                another model; or the model does not answer, and new indices have to be made for it.
            ClusterFailed: the cluster fails.
        """
        self._known, self._seen, self._anew = {}, {}, anew
        await self._open_indices(anew=anew)
        self._state = await _in_thread(self._cluster.state) or PushState()
        if anew:
            if self._state.places and self._is_from_elsewhere:
                log.warning(
                    "this replaces what was pushed from elsewhere",
                    places=self._state.places,
                    folder_id=self._state.folder_id,
                )
            self._is_recognized = True
            return
        refuse_other_names(self._state, self._roots, self._folder_id)
        self._is_recognized = self._is_recognized or bool(self._state.folder_id)
        await _in_thread(self._load)
        await self._finish(list(self._known.values()))
        long_ago = (datetime.now(UTC) - _KEEP_GONE).isoformat()
        gone = [path for path, record in self._known.items() if record.gone and record.pushed_at < long_ago]
        if gone:
            await _in_thread(partial(self._cluster.forget, gone))
            for path in gone:
                del self._known[path], self._seen[path]

    @property
    def _is_from_elsewhere(self) -> bool:
        return (self._state.places, self._state.folder_id) != (self._places, self._folder_id)

    async def _open_indices(self, *, anew: bool) -> None:
        """Open the indices, or make new ones: for vectors, where there is a model and the cluster can compare them."""
        if self._vectors is None:
            await _in_thread(self._cluster.begin_anew if anew else self._cluster.open)
            return
        can = await _in_thread(self._cluster.compares_vectors)
        new = anew or not await _in_thread(self._cluster.is_there)
        self._cluster.model_of_new = await self._vectors.model_for_new_index() if new and can else None
        await _in_thread(self._cluster.begin_anew if anew else self._cluster.open)
        self._impossible = MADE_WITHOUT if can and not new else NOT_POSSIBLE
        await self._vectors.use(self._cluster.model)

    async def close(self) -> None:
        """Release the processes and connections of the model."""
        if self._vectors is not None:
            await self._vectors.close()

    def _load(self) -> None:
        for stored in self._cluster.records():
            self._known[stored.record.path] = stored.record
            self._seen[stored.record.path] = stored.seen

    async def push_all(self, *, watching: bool = False) -> PushReport:
        """Push what of the whole folder is not on the cluster in its present state, and remove what is gone.

        Where much is to be pushed, the words come first, and then count; the vectors are made after that, for `vectors_s`:
        `has_vectors_to_make` says whether some are left for the next push.

        Indices that were begun anew then replace the old ones. Of a root that cannot be listed completely, or that has no
        documents while the index has some, nothing is removed, and the index does not count as agreeing with the folder.

        Raises:
            FolderAway: there is such a root. The others were pushed, unless there is none, or the indices are new ones.
            ConfigurationError: another folder of the same name seems to have been pushed.
            RootUnavailable: a folder is gone.
            RecordTaken: another indexer writes.
            ClusterFailed: the cluster fails.
        """
        self.has_vectors_to_make = False
        infos, unread = await self._library.survey()
        self._away = self._roots_away(infos)
        if self._away and (self._anew or not infos):
            raise FolderAway("; ".join(self._away.values()))
        self._recognize(infos)
        self._pushed.clear()
        report = PushReport(listed=len(infos))
        if self._vectors is not None and any(record.lacks_vectors for record in self._known.values()):
            await self._vectors.try_model()
        changed = [info for info in infos if not self._is_pushed(info)]
        report.unchanged = len(infos) - len(changed)
        gone = self._believed(gone_paths(self._known, (info.path for info in infos)))
        self._state = replace(
            self._state,
            begun_at=_timestamp(),
            listed=len(infos),
            waiting=len(self._without_words(changed)) + len(gone),
            watching=watching,
            roots=self._roots,
            places=self._places,
            folder_id=self._folder_id,
        )
        await self._note_waiting(changed)
        if not self._away:
            self._state = replace(self._state, told_at=self._state.begun_at)
        await self._note_unread(unread[:MAX_UNREAD])
        await self._save_state(now=True)
        await self._push([info for info in changed if not self._has_words(info)], gone, report)
        if self._anew:
            await _in_thread(self.hold)
            await _in_thread(self._cluster.swap)
            self._anew = False
        agreed_at = self._state.agreed_at if self._away else self._state.begun_at
        self._state = replace(
            self._state,
            agreed_at=agreed_at,
            waiting=0,
            failed=len(report.failed),
            embedding_problem=self._embedding_problem(),
        )
        await self._save_state(now=True)
        self.has_vectors_to_make = False
        # What was written a moment ago counts as to be read again: it has its words all the same.
        there = (info for info in infos if info.path in self._pushed or self._has_words(info))
        if without := [info for info in there if self._lacks_possible(info)]:
            await self._push(without, [], report, is_for_vectors=True)
            self._state = replace(self._state, embedding_problem=self._embedding_problem())
            await self._save_state(now=True)
        if self._away:
            raise FolderAway("; ".join(self._away.values()), report)
        return report

    def _recognize(self, infos: Sequence[DocumentInfo]) -> None:
        """Look, once, whether these are the folders that the index was fed from. What they were before is told by the documents."""
        if self._is_recognized:
            return
        state, known = self._state, self._known.values()
        refuse_other_documents(state, known, infos, places=self._places, away=self._away)
        self._is_recognized = not self._away
        if state.places not in {(), self._places}:
            log.warning(
                "the index was fed from another place; most of its documents are here, so it is taken for the same folder",
                places=state.places,
            )

    def _roots_away(self, infos: Sequence[DocumentInfo]) -> dict[str, str]:
        """Return what is wrong with the roots of which a listing did not show everything, or not even one document, by name."""
        away = {
            fault.about: f"the file system fails to list a directory of the research folder {fault.about!r}"
            for fault in self._library.faults.current
            if fault.kind == DIRECTORY_FAILING
        }
        known = Counter(record.info.root for record in self._known.values() if not record.gone)
        listed = {info.root for info in infos}
        for name in (root.name for root in self._library.roots.roots):
            if name not in listed and known[name]:
                away[name] = (
                    f"the research folder {name!r} has no documents, and the index has {known[name]}: "
                    "if it is mounted and really empty, push with --full"
                )
        return away

    def _believed(self, gone: Sequence[str]) -> list[str]:
        """Return those of the paths that are really gone, as far as one can know."""
        return [path for path in gone if self._known[path].info.root not in self._away]

    async def push_paths(self, paths: set[str], *, watching: bool = False) -> PushReport:
        """Push what became of these paths; of the whole folder while it is not known to be the one that the index was fed from.

        Raises what `push_all` raises.
        """
        if not self._is_recognized:
            return await self.push_all(watching=watching)
        infos: list[DocumentInfo] = []
        gone: list[str] = []
        for path in sorted(paths):
            try:
                infos.append(await self._library.stat(path))
            except (DocumentNotFound, DocumentUnreadable):
                record = self._known.get(path)
                if record is not None and not record.gone:
                    gone.append(path)
        changed = [info for info in infos if not self._is_pushed(info)]
        report = PushReport(listed=len(infos), unchanged=len(infos) - len(changed))
        self._pushed.clear()
        await self._note_waiting(changed)
        await self._push(changed, self._believed(gone), report)
        return report

    async def keep_agreed(self, *, watching: bool) -> None:
        """Keep that the index holds all that is known of a folder whose changes are signalled, or that they are not, or not any more."""
        if watching and not self._away:
            now = _timestamp()
            self._state = replace(self._state, agreed_at=now, told_at=now)
        self._state = replace(self._state, watching=watching, embedding_problem=self._embedding_problem())
        await self._save_state(now=True)

    def totals(self) -> tuple[int, int]:
        """Return how many documents the index has, and how many of them give no text."""
        present = [record for record in self._known.values() if record.complete]
        return len(present), sum(bool(record.reason) for record in present)

    def _is_pushed(self, info: DocumentInfo) -> bool:
        return self._has_words(info) and not self._lacks_possible(info)

    def _lacks_possible(self, info: DocumentInfo) -> bool:
        return self._wants_vectors(self._known.get(info.path))

    def _has_words(self, info: DocumentInfo) -> bool:
        return is_pushed(self._known.get(info.path), info, self._readers)

    def _without_words(self, infos: Sequence[DocumentInfo]) -> set[str]:
        """Return the paths of the documents that wait: searches miss no word of those that lack nothing but vectors."""
        return {info.path for info in infos if not self._has_words(info)}

    def _wants_vectors(self, record: DocumentRecord | None) -> bool:
        """Return whether passages of a document have no vector that could be made now."""
        return (
            record is not None
            and record.lacks_vectors
            and self._makes_vectors
            and self._vectors is not None
            and not self._vectors.problem
        )

    @property
    def _makes_vectors(self) -> bool:
        return self._vectors is not None and self._vectors.model is not None and not self._words_alone

    def _note_vectors(self, report: PushReport) -> None:
        """Have a report say how many documents lack vectors, and why."""
        report.without_vectors, report.no_vectors, report.embedding_failed = 0, "", False
        lacking = sum(record.lacks_vectors for record in self._known.values())
        if not lacking or (self._vectors is None and self._cluster.model is None):
            return
        report.without_vectors = lacking
        if self._vectors is None:
            report.no_vectors = NO_MODEL
        elif self._cluster.model is None:
            report.no_vectors = self._impossible
        elif self.has_vectors_to_make and not self._vectors.problem:
            report.no_vectors = BEING_MADE
        else:
            report.no_vectors, report.embedding_failed = self._vectors.problem or FAILED_FOR_A_WHILE, True

    def _embedding_problem(self) -> str:
        """Return why passages of an index with vectors have none, as a clause; empty if all have one."""
        if self._cluster.model is None:
            return ""
        self._note_vectors(report := PushReport())
        fails = any(record.unembeddable for record in self._known.values() if record.complete)
        return report.no_vectors or (FAILS_WITH_SOME if fails else "")

    async def _note_waiting(self, changed: Sequence[DocumentInfo]) -> None:
        """Let the records say which documents wait, unless they are new ones that nobody reads yet.

        Those that lack nothing but vectors do not: searches miss none of their words.
        """
        lacking = (info for info in changed if not self._has_words(info))
        known = [(self._known.get(info.path) or DocumentRecord(info=info), info) for info in lacking]
        waiting = [replace(record, gone=False, waits=info) for record, info in known if record.waits != info]
        if waiting and not self._anew:
            # First, so that nobody is told that they wait for an indexer that is not at work.
            await self._save_state()
            await self._write(waiting)

    async def _note_unread(self, unread: Sequence[str]) -> None:
        if (key := unread_key(unread)) != self._state.unread:
            if key:
                await _in_thread(lambda: self._cluster.save_unread(unread))
            self._state = replace(self._state, unread=key)

    async def _push(
        self,
        changed: Sequence[DocumentInfo],
        gone: Sequence[str],
        report: PushReport,
        *,
        is_for_vectors: bool = False,
    ) -> None:
        is_much = (
            len(changed) > _EMBEDDED_FILES or sum(info.size_bytes for info in changed) > _EMBEDDED_FILE_BYTES
        )
        makes_vectors = self._makes_vectors
        self._words_alone = is_much and not is_for_vectors and not self._anew
        self.has_vectors_to_make = self._words_alone and makes_vectors
        try:
            await self._push_some(changed, gone, report, is_for_vectors=is_for_vectors)
        finally:
            self._words_alone = False
            self._note_vectors(report)

    async def _push_some(
        self,
        changed: Sequence[DocumentInfo],
        gone: Sequence[str],
        report: PushReport,
        *,
        is_for_vectors: bool,
    ) -> None:
        done, to_do = 0, len(changed) + len(gone)
        without_words = set() if is_for_vectors else self._without_words(changed)
        begun_at = self._clock()
        self._on_progress(done, to_do)
        if gone:
            report.removed += sum(self._known[path].complete for path in gone)
            await self._finish([self._gone(path) for path in gone], write_first=True)
            done += len(gone)
            self._on_progress(done, to_do)
        if not changed:
            return
        following: asyncio.Task[list[Reading]] | None = None
        bounds = {"files": _EMBEDDED_FILES, "file_bytes": _EMBEDDED_FILE_BYTES} if self._makes_vectors else {}
        waiting = batches(changed, **bounds)
        try:
            while True:
                read = None if following is None else await following
                batch = next(waiting, None)
                following = None if batch is None else asyncio.create_task(read_batch(self._library, batch))
                if read is not None:  # while the next batch is read
                    await self._push_batch(read, report)
                    done += len(read)
                    self._on_progress(done, to_do)
                    without_words.difference_update(reading.info.path for reading in read)
                    self._state = replace(self._state, waiting=len(without_words))
                    await self._save_state()
                    if is_for_vectors and self._vectors is not None and self._vectors.problem:
                        return
                    if is_for_vectors and following is not None and self._is_over(begun_at):
                        self.has_vectors_to_make = True
                        return
                if following is None:
                    return
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait([following])

    def _is_over(self, begun_at: float) -> bool:
        """Return whether vectors were made for so long that one has to look for changes."""
        return self.vectors_s is not None and self._clock() - begun_at >= self.vectors_s

    async def _push_batch(self, batch: Sequence[Reading], report: PushReport) -> None:
        new: dict[str, str] = {}
        final: list[DocumentRecord] = []
        for reading in batch:
            path, record = reading.info.path, self._known.get(reading.info.path)
            if reading.text is None:
                if reading.reason:
                    report.unreadable.append((path, reading.reason))
                    final.append(self._without_text(reading))
                elif record is not None and not record.gone:
                    report.removed += record.complete
                    final.append(self._gone(path))
            elif (
                record is not None
                and _same_passages(record, reading, self._readers_of(reading))
                and not self._wants_vectors(record)
            ):
                report.unchanged += 1
                readers = self._readers_of(reading)
                final.append(replace(record, info=reading.info, readers=readers, hidden=(), waits=None))
            else:
                new[path] = secrets.token_hex(8)
        if new:
            final += await self._write_versions(
                [reading for reading in batch if reading.info.path in new], new, report
            )
        await self._finish(final, write_first=True)

    async def _write_versions(
        self, batch: Sequence[Reading], new: dict[str, str], report: PushReport
    ) -> list[DocumentRecord]:
        """Write the passages of new versions, and return the records that make them count."""
        await self._write(
            [
                replace(
                    self._known.get(reading.info.path) or DocumentRecord(info=reading.info),
                    hidden=(*self._hidden(reading.info.path), new[reading.info.path]),
                )
                for reading in batch
            ]
        )
        counts = {path: PassageCount() for path in new}
        refused = await self._write_passages(batch, new, counts)
        final: list[DocumentRecord] = []
        for reading in batch:
            path = reading.info.path
            if path in refused:
                log.warning("the cluster refuses a document", document=path, error=refused[path])
                report.failed.append((path, refused[path]))
                final.append(
                    DocumentRecord(
                        info=reading.info,
                        reason=NOT_TAKEN,
                        hidden=self._old(path),
                    )
                )
                continue
            assert reading.text is not None  # noqa: S101  (as above)
            record = DocumentRecord.of(
                reading.info,
                reading.text,
                version=new[path],
                passages=counts[path].passages,
                readers=self._readers_of(reading),
            )
            if path not in self._pushed:
                self._pushed.add(path)
                report.pushed += 1
                report.passages += counts[path].passages
            final.append(
                replace(
                    record,
                    hidden=tuple(v for v in self._old(path) if v != new[path]),
                    embedded=counts[path].embedded,
                    unembeddable=counts[path].unembeddable,
                )
            )
        return final

    async def _write_passages(
        self, batch: Sequence[Reading], new: Mapping[str, str], counts: Mapping[str, PassageCount]
    ) -> dict[str, str]:
        """Write the passages of new versions, with vectors if the index has any. Return why the cluster refuses some, by path."""
        documents = [
            (reading.text, reading.info, new[reading.info.path])
            for reading in batch
            if reading.text is not None
        ]
        if self._vectors is not None and self._makes_vectors:
            refused: dict[str, str] = {}
            async for some in self._vectors.slices(documents, counts):
                refused |= await _in_thread(partial(self._cluster.write_passages, some))
                await self._save_state()  # making vectors takes long
            return refused

        def records() -> Iterator[tuple[str, str, dict[str, Any]]]:
            for text, info, version in documents:
                for key, record in passage_records(text, info, version):
                    counts[info.path].passages += 1
                    yield info.path, key, record

        return await _in_thread(lambda: self._cluster.write_passages(records()))  # type: ignore[no-any-return]

    def _gone(self, path: str) -> DocumentRecord:
        return replace(
            self._known[path], gone=True, version="", reason="", hidden=self._old(path), waits=None
        )

    def _without_text(self, reading: Reading) -> DocumentRecord:
        return DocumentRecord(
            info=reading.info,
            reason=reading.reason,
            readers=self._readers_of(reading),
            hidden=self._old(reading.info.path),
        )

    def _readers_of(self, reading: Reading) -> str:
        """Return what the record says of the readers: nothing if the document is to be read again the next time."""
        return self._readers if reading.lasting else ""

    def _hidden(self, path: str) -> tuple[str, ...]:
        record = self._known.get(path)
        return record.hidden if record is not None else ()

    def _old(self, path: str) -> tuple[str, ...]:
        """Return all versions of a document whose passages may be on the cluster."""
        record = self._known.get(path)
        if record is None:
            return ()
        return (*record.hidden, record.version) if record.version else record.hidden

    async def _finish(self, records: Sequence[DocumentRecord], *, write_first: bool = False) -> None:
        """Remove the hidden passages of records, after writing the records themselves if they are new."""
        if write_first and records:
            await self._write(records)
        hidden = [record for record in records if record.hidden]
        if hidden:
            versions = [version for record in hidden for version in record.hidden]
            await _in_thread(lambda: self._cluster.remove_passages(versions))
            await self._write([replace(record, hidden=()) for record in hidden])

    async def _write(self, records: Sequence[DocumentRecord]) -> None:
        now = _timestamp()
        numbered = [replace(record, change=self._cluster.next_change(), pushed_at=now) for record in records]
        written = await _in_thread(lambda: self._cluster.write_records(numbered, self._seen))
        self._seen |= written
        self._known |= {record.path: record for record in numbered}

    async def _save_state(self, *, now: bool = False) -> None:
        if self._anew:  # what is searched meanwhile is as complete as it was
            return
        if now or self._clock() - self._saved_at >= _SAVE_EVERY_S:
            self._saved_at = self._clock()
            self._state = replace(self._state, worked_at=_timestamp())
            await _in_thread(self.hold)
            await _in_thread(lambda: self._cluster.save_state(self._state))


def _same_passages(record: DocumentRecord, reading: Reading, readers: str) -> bool:
    """Return whether a file that was touched has the passages that are there: the same text, on the same day."""
    text = reading.text
    return (
        text is not None
        and bool(record.version)
        and record.digest == text.digest
        and record.metadata == text.metadata
        and record.readers in {readers, ""}
        and record.info.media_type == reading.info.media_type
        and record.info.target == reading.info.target
        and record.info.modified.date() == reading.info.modified.date()
    )


async def _in_thread(call: Callable[[], Any]) -> Any:
    """Run what talks to the cluster in a thread. It is not abandoned: what it began to write, it ends."""
    return await anyio.to_thread.run_sync(call)


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
