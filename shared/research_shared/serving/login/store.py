"""Where a login that this server passes on keeps its state: the clients that registered, and the tokens of people."""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, SupportsFloat

from cryptography.fernet import Fernet
from fastmcp.server.auth.jwt_issuer import derive_jwt_key
from key_value.aio.protocols import AsyncKeyValue
from key_value.aio.stores.filetree import (
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
)
from key_value.aio.wrappers.encryption import FernetEncryptionWrapper

from research_shared.base_errors import ConfigurationError
from research_shared.logs import get_logger

log = get_logger("research.auth")

CULL_EVERY_S = 300.0
REGISTRATION_COLLECTION = "mcp-oauth-proxy-clients"
"""Where FastMCP's proxy keeps the clients that registered, without an end."""
CLIENT_LIFETIME_S = 90 * 86_400.0
"""Seconds that a registration is kept after the client last logged somebody in or renewed a token."""
RENEW_AFTER_S = 86_400.0
"""Seconds after which another use makes it last longer. Fewer would write a file with each request."""


class CulledFileStore(FileTreeStore):
    """A store of files that removes what has expired, at most once in `every_s` seconds, after something is stored.

    Nobody waits for that: it is done in the task `culling`. What is stored without an end expires when it was not read for
    the seconds that `lifetimes` gives its collection, if any. `clock` gives seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        every_s: float = CULL_EVERY_S,
        lifetimes: Mapping[str, float] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            data_directory=directory,
            key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(directory),
            collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(directory),
        )
        self._every_s = every_s
        self._lifetimes = lifetimes
        self._clock = clock
        self._next_s = clock()
        self.culling: asyncio.Task[None] | None = None

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store a value for `ttl` seconds, or for the lifetime of its collection."""
        ttl = self._lifetimes.get(collection or "") if ttl is None else ttl
        await super().put(key, value, collection=collection, ttl=ttl)
        if self._clock() >= self._next_s and (self.culling is None or self.culling.done()):
            self._next_s = self._clock() + self._every_s
            # kept here, because the loop itself forgets a task that nobody holds
            self.culling = asyncio.create_task(self.cull())
            self.culling.add_done_callback(_log_failure)

    async def get(self, key: str, *, collection: str | None = None) -> dict[str, Any] | None:
        """Return a value, or None if there is none. It lasts longer after that, if its collection has a lifetime."""
        lifetime = self._lifetimes.get(collection or "")
        if lifetime is None:
            kept: dict[str, Any] | None = await super().get(key, collection=collection)
            return kept
        value: dict[str, Any] | None
        value, left_s = await self.ttl(key, collection=collection)
        if value is not None and (left_s is None or left_s < lifetime - RENEW_AFTER_S):
            await self.put(key, value, collection=collection)
        return value


def _log_failure(culling: "asyncio.Task[None]") -> None:
    if not culling.cancelled() and (error := culling.exception()) is not None:
        log.warning("what has expired of the login could not be removed", error=str(error))


def open_to_others(directory: Path) -> str | None:
    """Return why a directory is not this user's alone, None if it is or does not exist yet.

    Raises:
        OSError: it cannot be looked at.
    """
    if not directory.exists():
        return None
    status = directory.stat()
    if status.st_uid != os.geteuid():
        return (
            "it belongs to another user: name a directory inside it, which is then made for this user alone"
        )
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return (
            "other users can read or write it: take that from them (chmod 700), or name a directory inside it"
        )
    return None


def login_store(directory: Path, signing_key: bytes) -> AsyncKeyValue:
    """Return the store in a directory that only this user can read. What it holds is encrypted.

    Servers with the same `signing_key` that share the directory serve each other's people.

    Raises:
        ConfigurationError: the directory cannot be used, or others can.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = open_to_others(directory)
        files = CulledFileStore(directory, lifetimes={REGISTRATION_COLLECTION: CLIENT_LIFETIME_S})
    except OSError as error:
        raise ConfigurationError(f"RESEARCH_LOGIN_DIR={directory}: {error.strerror}") from error
    if problem is not None:
        raise ConfigurationError(f"RESEARCH_LOGIN_DIR={directory}: {problem}")
    key = derive_jwt_key(high_entropy_material=signing_key.decode("ascii"), salt="research-login-store")
    # What another key has encrypted is unknown here: after a change of the key everybody logs in again.
    return FernetEncryptionWrapper(key_value=files, fernet=Fernet(key), raise_on_decryption_error=False)
