"""Seals what a store holds. Who can write to the store can forge neither a caller nor an answer, and read neither."""

import json
import secrets
import zlib
from typing import Any, Literal

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState

from research_shared.settings import Settings

SealedPart = Literal["work", "ticket", "message", "result"]
_PURPOSE = "tasks"


class SealBroken(ValueError):
    """What a store gave is not what was sealed for this task, or was sealed with another key."""


class TaskSealer:
    """Seals JSON for one part of one task of one caller (AES-256-GCM, under a key derived from the operator's).

    What was sealed for one caller, task or part opens as no other one. `owner` is the digest of the caller. The first of the operator's keys seals, every one opens;
    without any, a random key of this process does both.
    """

    def __init__(self, settings: Settings) -> None:
        keys = [key.get_secret_value() for key in settings.state_keys] or [secrets.token_hex(32)]
        self._codec = AESGCMRequestStateCodec([f"{_PURPOSE}:{key}" for key in keys])

    def seal(self, owner: str, task_id: str, part: SealedPart, value: Any) -> str:
        """Return the value as printable ASCII."""
        told = json.dumps([owner, task_id, part, value], separators=(",", ":"))
        return self._codec.seal(zlib.compress(told.encode(), 6))

    def open(self, owner: str, task_id: str, part: SealedPart, sealed: str) -> Any:
        """Return the value.

        Raises:
            SealBroken: it was not sealed for this part of this task of this caller with one of our keys.
        """
        try:
            for_owner, for_task, for_part, value = json.loads(zlib.decompress(self._codec.unseal(sealed)))
        except InvalidRequestState as error:
            raise SealBroken("not sealed with a key of this server") from error
        if (for_owner, for_task, for_part) != (owner, task_id, part):
            raise SealBroken("sealed for another task")
        return value
