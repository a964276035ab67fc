"""The call inside a task: who made it, within which scope, and with what it is answered."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastmcp.server.auth import AccessToken
from fastmcp.server.dependencies import get_access_token
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser

from research_shared.access.scope import Scope, narrowed_scope
from research_shared.serving.auth import principal_of

_SEALED_TOKEN: Final = "(not kept)"  # noqa: S105  (says that there is none)
"""Stands for the bearer token of the caller, which a task does not carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A tool call to be made by a worker. All of it is JSON.

    `caller` are the claims of the caller's token without the token, None for a caller without one. `scope` is what the call
    could see when it was made, as `Scope.to_json` writes it. `call_id` and `logical_call_id` are those of the audit trail.
    """

    tool: str
    arguments: dict[str, Any]
    meta: dict[str, Any]
    caller: dict[str, Any] | None
    scope: Any
    client_name: str
    client_version: str
    call_id: str | None
    logical_call_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentWork:
    """The task that the current call is the work of."""

    task_id: str
    attempt: int
    work: Work


_current_work: ContextVar[CurrentWork | None] = ContextVar("research_task_work", default=None)


def current_work() -> CurrentWork | None:
    """Return the task that the current call is the work of, or None for a call that a client waits for."""
    return _current_work.get()


def described_caller() -> dict[str, Any] | None:
    """Return who makes the current request, without the token that proves it."""
    token = get_access_token()
    if token is None:
        return None
    return {**token.model_dump(mode="json", exclude_none=True), "token": _SEALED_TOKEN}


def owner_of_request() -> str:
    """Return a digest of who makes the current request. Callers without a token are one."""
    token = get_access_token()
    who = None if token is None else [token.client_id, principal_of(token), (token.claims or {}).get("iss")]
    return hashlib.sha256(json.dumps(["task owner", who]).encode()).hexdigest()[:32]


@contextmanager
def working_on(task_id: str, attempt: int, work: Work) -> Iterator[None]:
    """Make the block's calls as the caller of the work, within its scope."""
    caller = None if work.caller is None else AuthenticatedUser(AccessToken.model_validate(work.caller))
    user = auth_context_var.set(caller)
    token = _current_work.set(CurrentWork(task_id=task_id, attempt=attempt, work=work))
    try:
        with narrowed_scope(Scope.from_json(work.scope)):
            yield
    finally:
        _current_work.reset(token)
        auth_context_var.reset(user)


def work_to_json(work: Work) -> dict[str, Any]:
    """Return the work as JSON has it."""
    return asdict(work)


def work_of_json(value: Mapping[str, Any]) -> Work:
    """Return the work that `work_to_json` wrote.

    Raises:
        TypeError: it is none, or one of another version.
    """
    return Work(**value)
