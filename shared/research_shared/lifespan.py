"""Lifespan of a resource that several servers of one process share."""

from abc import ABC, abstractmethod
from functools import cached_property
from types import TracebackType
from typing import Self

import anyio


class SharedLifespan(ABC):
    """Async context manager that counts its users: the first to enter opens the resource, the last to leave closes it.

    With an in-process client, a server's lifespan ends with the first client, while calls of others may still run. Such a
    call enters the resource itself. Who enters while it is being opened or closed waits for that, so that no user sees it
    half open.

    >>> class Connections(SharedLifespan):
    ...     async def _open(self) -> None:
    ...         print("connected")
    ...     async def _close(self) -> None:
    ...         print("closed")
    >>> connections = Connections()
    >>> async with connections:
    ...     async with connections:  # a second user
    ...         print("used")
    connected
    used
    closed
    """

    _users = 0

    @abstractmethod
    async def _open(self) -> None:
        """Acquire the resource. When this fails or is cancelled, nothing may be left open: the next user tries again."""

    @abstractmethod
    async def _close(self) -> None:
        """Release the resource. It may be opened again later."""

    @property
    def in_use(self) -> bool:
        """Whether somebody has entered and not left."""
        return self._users > 0

    @cached_property
    def _changing(self) -> anyio.Lock:
        return anyio.Lock(fast_acquire=True)

    async def __aenter__(self) -> Self:
        """Open the resource for the first user."""
        if self.in_use:
            self._users += 1
            return self
        async with self._changing:
            if not self.in_use:  # another user may have opened it meanwhile
                await self._open()
            self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the resource after the last user."""
        self._users -= 1
        if self.in_use:
            return
        async with self._changing:
            if not self.in_use:  # it may have been entered again meanwhile
                await self._close()
