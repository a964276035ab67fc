"""Lifespan of a resource that several servers of one process share."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class SharedLifespan(ABC):
    """Async context manager that counts its users: the first to enter opens the resource, the last to leave closes it.

    With an in-process client, a server's lifespan ends with the first client, while calls of others may still run. Such a
    call enters the resource itself.
    """

    _users = 0

    @abstractmethod
    def _open(self) -> None:
        """Acquire the resource. Not a coroutine, so no user sees it half open."""

    @abstractmethod
    async def _close(self) -> None:
        """Release the resource. It may be opened again, even before this returns."""

    @property
    def _in_use(self) -> bool:
        return self._users > 0

    async def __aenter__(self) -> Self:
        """Open the resource for the first user."""
        if not self._in_use:
            self._open()
        self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the resource after the last user."""
        self._users -= 1
        if not self._in_use:
            await self._close()
