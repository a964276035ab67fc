"""A cache of what was found in documents, which keeps one version of each file."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from cachetools import LRUCache

from research_shared.documents import Identity

Value = TypeVar("Value")

VersionKey = tuple[Identity, str]
"""What a file was, and the media type that it is read as."""

_FileKey = tuple[int, int, str]
"""Device, inode and media type: what stays when a file is changed in place or renamed."""


class VersionCache(Generic[Value]):
    """Values by the version of a file, of `maxsize` together; the least recently used go first.

    A new version of a file, or another file at the same path, replaces the outdated one at once: nothing leads to that
    any more, and a folder that changes all day would fill the cache with it. Without `getsizeof`, each value counts as 1.
    """

    def __init__(self, maxsize: float, *, getsizeof: Callable[[Value], float] | None = None) -> None:
        self._values: _Evicting[Value] = _Evicting(maxsize, getsizeof, self._forget_places)
        self._places: Final[dict[VersionKey, tuple[str, _FileKey]]] = {}
        self._by_path: Final[dict[str, VersionKey]] = {}
        self._by_file: Final[dict[_FileKey, VersionKey]] = {}

    def __len__(self) -> int:
        """Return the number of values."""
        return len(self._values)

    @property
    def size(self) -> int:
        """What the values take together."""
        return int(self._values.currsize)

    def get(self, key: VersionKey) -> Value | None:
        """Return what was found in a version, or None."""
        return self._values.get(key)

    def keep(self, path: str, key: VersionKey, value: Value) -> None:
        """Add what was found in the version `key` of the document at `path`, unless it is larger than the whole cache."""
        identity, media_type = key
        file = (identity.device, identity.inode, media_type)
        for outdated in (key, self._by_path.get(path), self._by_file.get(file)):
            self._drop(outdated)
        try:
            self._values[key] = value
        except ValueError:
            return
        self._places[key] = path, file
        self._by_path[path] = self._by_file[file] = key

    def forget(self, path: str) -> None:
        """Drop what was found in the document at `path`."""
        self._drop(self._by_path.get(path))

    def clear(self) -> None:
        """Drop everything."""
        for key in tuple(self._places):
            self._drop(key)

    def _drop(self, key: VersionKey | None) -> None:
        if key is not None and self._values.pop(key, None) is not None:
            self._forget_places(key)

    def _forget_places(self, key: VersionKey) -> None:
        path, file = self._places.pop(key)
        del self._by_path[path], self._by_file[file]


class _Evicting(LRUCache[VersionKey, Value]):
    """An LRU cache that says what it evicts."""

    def __init__(
        self,
        maxsize: float,
        getsizeof: Callable[[Value], float] | None,
        on_evicted: Callable[[VersionKey], None],
    ) -> None:
        super().__init__(maxsize, getsizeof=getsizeof)
        self._on_evicted = on_evicted

    def popitem(self) -> tuple[VersionKey, Value]:
        """Evict the least recently used value."""
        key, value = super().popitem()
        self._on_evicted(key)
        return key, value
