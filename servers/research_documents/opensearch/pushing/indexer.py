"""The indexer: brings the cluster what of the folder is not there yet.

The records first say which documents wait. These are pushed in batches. Of each batch, the records first name the new versions as hidden; then the passages are
written; then the records make them count, and the old versions hidden; then the old passages go. Whatever ends an indexer in
between, searches see each document as it was or as it is, and the next indexer removes what is hidden and begins where this
one ended.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from research_documents.opensearch.layout import (
    MAX_UNREAD,
    DocumentRecord,
    PushState,
    iso_now,
    unread_key,
)
from research_documents.opensearch.pushing.cluster_index import ClusterIndex
from research_documents.opensearch.pushing.origin import (
    names_of,
    places_of,
    refuse_other_documents,
    refuse_other_names,
)
from research_documents.opensearch.pushing.reading import Reading, gone_paths, read_batch, readers_key
from research_documents.opensearch.pushing.records import DocumentRecords
from research_documents.opensearch.pushing.report import FolderAway, PushReport
from research_documents.opensearch.pushing.vector_plan import VectorPlan
from research_documents.opensearch.pushing.versions import VersionWriter
from research_shared.documents import DocumentInfo
from research_shared.errors import DocumentNotFound, DocumentUnreadable
from research_shared.faults import DIRECTORY_FAILING
from research_shared.logs import get_logger
from research_shared.reading.library import Library

if TYPE_CHECKING:
    from research_documents.opensearch.pushing.vectors import VectorMaker

log = get_logger("research.opensearch")

_KEEP_GONE: Final = timedelta(days=1)
"""How long a record says that a document is gone: who asked for changes within that time learns of it."""
_SAVE_EVERY_S: Final = 5.0
"""Seconds between records of how far a push is."""

OnPush = Callable[[int, int], object]
"""Is called with (documents done, documents to do)."""


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
        self._records = DocumentRecords(cluster, readers=readers_key(library.limits))
        self.vectors = VectorPlan(cluster, self._records, vectors, clock=clock)
        """When passages get vectors: whoever follows a folder bounds its rounds, and learns whether more are to be made."""
        self._writer = VersionWriter(cluster, self._records, self.vectors, save_state=self._save_state)
        self._on_progress = on_progress
        self._clock = clock
        self._roots = names_of(library.roots.roots)
        self._places = places_of(library.roots.roots)
        self._folder_id = folder_id
        self._is_recognized = False
        """Whether the index is known to have been fed from these folders."""
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
        self._records.clear()
        self._anew = anew
        await self.vectors.open_indices(anew=anew)
        kept = await to_thread.run_sync(self._cluster.state)
        self._state = PushState() if kept is None else kept
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
        await self._records.load()
        await self._records.finish(list(self._records.by_path.values()))
        await self._records.forget_gone(before=(datetime.now(UTC) - _KEEP_GONE).isoformat())

    @property
    def _is_from_elsewhere(self) -> bool:
        return (self._state.places, self._state.folder_id) != (self._places, self._folder_id)

    async def close(self) -> None:
        """Release the processes and connections of the model."""
        await self.vectors.close()

    async def push_all(self, *, watching: bool = False) -> PushReport:
        """Push what of the whole folder is not on the cluster in its present state, and remove what is gone.

        Where much is to be pushed, the words come first, and then count; the vectors are made after that, for `vectors.round_s`:
        `vectors.has_more` says whether some are left for the next push.

        Indices that were begun anew then replace the old ones. Of a root that cannot be listed completely, or that has no
        documents while the index has some, nothing is removed, and the index does not count as agreeing with the folder.

        Raises:
            FolderAway: there is such a root. The others were pushed, unless there is none, or the indices are new ones.
            ConfigurationError: another folder of the same name seems to have been pushed.
            RootUnavailable: a folder is gone.
            RecordTaken: another indexer writes.
            ClusterFailed: the cluster fails.
        """
        self.vectors.has_more = False
        infos, unread = await self._library.survey()
        self._away = self._roots_away(infos)
        if self._away and (self._anew or not infos):
            raise FolderAway("; ".join(self._away.values()))
        self._recognize(infos)
        self._writer.counted.clear()
        report = PushReport(listed=len(infos))
        await self.vectors.try_model()
        changed = [info for info in infos if not self._is_pushed(info)]
        report.unchanged = len(infos) - len(changed)
        gone = self._believed(gone_paths(self._records.by_path, (info.path for info in infos)))
        self._state = replace(
            self._state,
            begun_at=iso_now(),
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
        await self._push([info for info in changed if not self._records.has_words(info)], gone, report)
        if self._anew:
            await to_thread.run_sync(self.hold)
            await to_thread.run_sync(self._cluster.swap)
            self._anew = False
        agreed_at = self._state.agreed_at if self._away else self._state.begun_at
        self._state = replace(
            self._state,
            agreed_at=agreed_at,
            waiting=0,
            failed=len(report.failed),
            embedding_problem=self.vectors.problem(),
        )
        await self._save_state(now=True)
        self.vectors.has_more = False
        # What was written a moment ago counts as to be read again: it has its words all the same.
        there = (info for info in infos if info.path in self._writer.counted or self._records.has_words(info))
        if without := [info for info in there if self._lacks_possible_vectors(info)]:
            await self._push(without, [], report, is_for_vectors=True)
            self._state = replace(self._state, embedding_problem=self.vectors.problem())
            await self._save_state(now=True)
        if self._away:
            raise FolderAway("; ".join(self._away.values()), report)
        return report

    def _recognize(self, infos: Sequence[DocumentInfo]) -> None:
        """Look, once, whether these are the folders that the index was fed from. What they were before is told by the documents."""
        if self._is_recognized:
            return
        state, known = self._state, self._records.by_path.values()
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
        known = Counter(record.info.root for record in self._records.by_path.values() if not record.gone)
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
        return [path for path in gone if self._records.by_path[path].info.root not in self._away]

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
                record = self._records.by_path.get(path)
                if record is not None and not record.gone:
                    gone.append(path)
        changed = [info for info in infos if not self._is_pushed(info)]
        report = PushReport(listed=len(infos), unchanged=len(infos) - len(changed))
        self._writer.counted.clear()
        await self._note_waiting(changed)
        await self._push(changed, self._believed(gone), report)
        return report

    async def keep_agreed(self, *, watching: bool) -> None:
        """Keep that the index holds all that is known of a folder whose changes are signalled, or that they are not, or not any more."""
        if watching and not self._away:
            now = iso_now()
            self._state = replace(self._state, agreed_at=now, told_at=now)
        self._state = replace(self._state, watching=watching, embedding_problem=self.vectors.problem())
        await self._save_state(now=True)

    def totals(self) -> tuple[int, int]:
        """Return how many documents the index has, and how many of them give no text."""
        present = self._records.present()
        return len(present), sum(bool(record.reason) for record in present)

    def _is_pushed(self, info: DocumentInfo) -> bool:
        return self._records.has_words(info) and not self._lacks_possible_vectors(info)

    def _lacks_possible_vectors(self, info: DocumentInfo) -> bool:
        return self.vectors.lacks_possible(self._records.by_path.get(info.path))

    def _without_words(self, infos: Sequence[DocumentInfo]) -> set[str]:
        """Return the paths of the documents that wait: searches miss no word of those that lack nothing but vectors."""
        return {info.path for info in infos if not self._records.has_words(info)}

    async def _note_waiting(self, changed: Sequence[DocumentInfo]) -> None:
        """Let the records say which documents wait, unless they are new ones that nobody reads yet.

        Those that lack nothing but vectors do not: searches miss none of their words.
        """
        lacking = (info for info in changed if not self._records.has_words(info))
        known = [
            (self._records.by_path.get(info.path) or DocumentRecord(info=info), info) for info in lacking
        ]
        waiting = [replace(record, gone=False, waits=info) for record, info in known if record.waits != info]
        if waiting and not self._anew:
            # First, so that nobody is told that they wait for an indexer that is not at work.
            await self._save_state()
            await self._records.write(waiting)

    async def _note_unread(self, unread: Sequence[str]) -> None:
        if (key := unread_key(unread)) != self._state.unread:
            if key:
                await to_thread.run_sync(self._cluster.save_unread, unread)
            self._state = replace(self._state, unread=key)

    async def _push(
        self,
        changed: Sequence[DocumentInfo],
        gone: Sequence[str],
        report: PushReport,
        *,
        is_for_vectors: bool = False,
    ) -> None:
        self.vectors.begin(changed, words_first=not is_for_vectors and not self._anew)
        try:
            await self._push_some(changed, gone, report, is_for_vectors=is_for_vectors)
        finally:
            self.vectors.end(report)

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
        self._on_progress(done, to_do)
        if gone:
            report.removed += sum(self._records.by_path[path].complete for path in gone)
            await self._records.finish([self._records.as_gone(path) for path in gone], write_first=True)
            done += len(gone)
            self._on_progress(done, to_do)
        if not changed:
            return
        following: asyncio.Task[list[Reading]] | None = None
        waiting = self.vectors.batches(changed)
        try:
            while True:
                read = None if following is None else await following
                batch = next(waiting, None)
                following = None if batch is None else asyncio.create_task(read_batch(self._library, batch))
                if read is not None:  # while the next batch is read
                    await self._writer.push(read, report)
                    done += len(read)
                    self._on_progress(done, to_do)
                    without_words.difference_update(reading.info.path for reading in read)
                    self._state = replace(self._state, waiting=len(without_words))
                    await self._save_state()
                    if is_for_vectors and self.vectors.ends_round(is_more=following is not None):
                        return
                if following is None:
                    return
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait([following])

    async def _save_state(self, *, now: bool = False) -> None:
        if self._anew:  # what is searched meanwhile is as complete as it was
            return
        if now or self._clock() - self._saved_at >= _SAVE_EVERY_S:
            self._saved_at = self._clock()
            self._state = replace(self._state, worked_at=iso_now())
            await to_thread.run_sync(self.hold)
            await to_thread.run_sync(self._cluster.save_state, self._state)
