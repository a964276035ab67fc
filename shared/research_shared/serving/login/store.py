"""Where a login that this server passes on keeps its state: the clients that registered, and the tokens of people."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
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

CULL_EVERY_S = 3_600.0


class CulledFileStore(FileTreeStore):
    """A store of files that removes what has expired, at most once in `every_s` seconds, when something is stored.

    `clock` gives seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        every_s: float = CULL_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            data_directory=directory,
            key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(directory),
            collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(directory),
        )
        self._every_s = every_s
        self._clock = clock
        self._next_s = clock()

    async def put(
        self,
        key: str,
        value: Mapping[str, Any],
        *,
        collection: str | None = None,
        ttl: SupportsFloat | None = None,
    ) -> None:
        """Store a value for `ttl` seconds."""
        if self._clock() >= self._next_s:
            self._next_s = self._clock() + self._every_s
            await self.cull()
        await super().put(key, value, collection=collection, ttl=ttl)


def login_store(directory: Path, signing_key: bytes) -> AsyncKeyValue:
    """Return the store in a directory that only this user can read. What it holds is encrypted.

    Servers with the same `signing_key` that share the directory serve each other's people.

    Raises:
        ConfigurationError: the directory cannot be used.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = CulledFileStore(directory)
    except OSError as error:
        raise ConfigurationError(f"RESEARCH_LOGIN_DIR={directory}: {error.strerror}") from error
    key = derive_jwt_key(high_entropy_material=signing_key.decode("ascii"), salt="research-login-store")
    # What another key has encrypted is unknown here: after a change of the key everybody logs in again.
    return FernetEncryptionWrapper(key_value=files, fernet=Fernet(key), raise_on_decryption_error=False)
