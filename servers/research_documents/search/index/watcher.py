"""Reports changes of the folders as the operating system signals them."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from research_shared.access.roots import Root
from research_shared.faults import WATCHING_FAILED, Faults
from research_shared.formats import media_type_of

STEP_MS: Final = 10
DEBOUNCE_MS: Final = 100
IDLE_MS: Final = 250


class Watcher:
    """Watches the folders of the roots in its own thread and calls back in the event loop it was created in.

    `on_paths` gets the public paths of changed documents. `on_unclear` is called for a change that may affect more than
    single documents, and once when watching has begun. `live` says whether changes are being reported. Watching that cannot
    begin, or ends, is reported to `faults`; this watcher then has `failed`, and another one can try again.
    """

    def __init__(
        self,
        roots: Sequence[Root],
        on_paths: Callable[[set[str]], object],
        on_unclear: Callable[[], object],
        *,
        faults: Faults,
    ) -> None:
        self.live = False
        self.failed = False
        self._faults = faults
        self._roots = roots
        self._watched = self._identities()
        self._on_paths = on_paths
        self._on_unclear = on_unclear
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    @property
    def in_place(self) -> bool:
        """Return whether the watched folders are still the ones the roots resolve to."""
        return self._watched == self._identities()

    def _identities(self) -> list[tuple[int, int] | None]:
        places: list[tuple[int, int] | None] = []
        for root in self._roots:
            try:
                status = os.stat(root.directory)  # noqa: PTH116  (half the time of a Path's)
            except OSError:
                places.append(None)
            else:
                places.append((status.st_dev, status.st_ino))
        return places

    async def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        from watchfiles import watch

        directories = [root.directory for root in self._roots]
        checks = 1  # how often it is still to be seen whether all directories could be watched
        try:
            for changes in watch(
                *directories,
                watch_filter=None,
                step=STEP_MS,
                debounce=DEBOUNCE_MS,
                rust_timeout=IDLE_MS,
                yield_on_timeout=True,
                stop_event=self._stop,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                if checks:
                    checks -= 1
                    self._check_that_watches_are_left()
                if not self.live:
                    # Watching began some time within the first wait: one scan finds what changed before.
                    self.live = True
                    self._faults.end(WATCHING_FAILED)
                    self._notify(self._on_unclear)
                if changes and self._sort(path for _, path in changes):
                    # New directories are watched about when they are reported, so this is seen at the next two events.
                    checks = 2
        except Exception as error:  # noqa: BLE001  (out of watches, no such directory: searches scan instead)
            self._faults.begin(WATCHING_FAILED, error=error)
            self.failed = True
        finally:
            self.live = False

    def _check_that_watches_are_left(self) -> None:
        """Raise OSError if one more directory could not be watched.

        watchfiles does not tell when directories are left out because the system has no watch left for them.
        """
        from watchfiles import watch

        one_more = watch(
            self._roots[0].directory,
            watch_filter=None,
            step=1,
            debounce=1,
            rust_timeout=1,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=False,
        )
        with closing(one_more):
            next(one_more, None)

    def _sort(self, changed: Iterable[str]) -> bool:
        """Report changes. Return whether there may be new directories."""
        paths: set[str] = set()
        unclear = False
        for path in changed:
            public = self._public(path)
            document = public is not None and media_type_of(public) is not None
            # A directory appeared or vanished; a removed path without a document suffix may have been a directory.
            if public is None or Path(path).is_dir() or not (document or os.path.lexists(path)):
                unclear = True
            elif document:
                paths.add(public)
        if paths:
            self._notify(lambda: self._on_paths(paths))
        if unclear:
            self._notify(self._on_unclear)
        return unclear

    def _public(self, path: str) -> str | None:
        for root in self._roots:
            inside = os.path.relpath(path, root.directory)
            if not inside.startswith(".."):
                return inside if len(self._roots) == 1 else f"{root.name}/{inside}"
        return None

    def _notify(self, call: Callable[[], object]) -> None:
        if not self._stop.is_set():
            self._loop.call_soon_threadsafe(call)
