"""A client of the tasks extension, and a provider that answers when it is told to."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
from fastmcp import Client
from fastmcp.server.auth import AccessToken
from mcp import ClientSession
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp_types import CallToolResult, Request, RequestParams, Result
from pydantic import ConfigDict, Field

from research_shared.root import Root
from research_shared.settings import Settings
from support.providers import FakeProvider

TASKS = "io.modelcontextprotocol/tasks"
SUMMARIZE = ("summarize_document", {"document_path": "tides.md", "summary_length": "brief"})
POLICY = """
[[rules]]
name = "ann"
principals = ["ann"]
allow = ["**"]
tools = ["*"]

[[rules]]
name = "bob"
principals = ["bob"]
allow = ["public/**"]
tools = ["*"]
"""


class Task(Result):
    """A task as it is on the wire: of a call that became one, or asked for."""

    model_config = ConfigDict(populate_by_name=True, extra="allow")

    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str = Field(alias="taskId")
    status: str
    ttl_ms: int = Field(alias="ttlMs")
    poll_interval_ms: int = Field(alias="pollIntervalMs")


class Answer(Task):
    result_type: Literal["complete"] = Field(alias="resultType")  # type: ignore[assignment]
    status_message: str | None = Field(default=None, alias="statusMessage")
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class TaskRequest(Request[RequestParams, str]):
    method: str
    params: Any


class AsksForTasks(ClientExtension):
    """Declares the extension, and leaves it to the test what becomes of a task."""

    identifier = TASKS

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self._unresolved)]

    async def _unresolved(self, result: Task, context: ClaimContext) -> CallToolResult:
        raise AssertionError(
            f"{context.tool_name} became task {result.task_id}, and the test did not ask for one"
        )


@dataclass
class DrivesTasks(ClientExtension):
    """Declares the extension, and asks for a task until it has ended, as a client does that knows tasks."""

    identifier = TASKS
    made: list[str] = field(default_factory=list)

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=Task, resolve=self._resolve)]

    async def _resolve(self, made: Task, context: ClaimContext) -> CallToolResult:
        self.made.append(made.task_id)
        answer = await ended_in(context.session, made.task_id)
        return CallToolResult.model_validate(answer.result)


async def submit(client: Client[Any], tool: str, arguments: dict[str, Any]) -> Task | CallToolResult:
    """Call a tool, and return what the server answers at once."""
    answer = await client.session.call_tool(tool, arguments, allow_claimed=True)
    assert isinstance(answer, Task | CallToolResult)
    return answer


async def submitted(client: Client[Any], tool: str, arguments: dict[str, Any]) -> Task:
    """Call a tool that is to become a task."""
    answer = await submit(client, tool, arguments)
    assert isinstance(answer, Task), answer
    return answer


async def asked(client: Client[Any], task_id: str, method: str = "tasks/get") -> Answer:
    return await client.session.send_request(TaskRequest(method=method, params={"taskId": task_id}), Answer)


async def acknowledged(client: Client[Any], task_id: str, method: str, **params: Any) -> None:
    request = TaskRequest(method=method, params={"taskId": task_id, **params})
    await client.session.send_request(request, Result)


async def ended(client: Client[Any], task_id: str) -> Answer:
    """Ask until a task has ended."""
    return await ended_in(client.session, task_id)


async def ended_in(session: ClientSession, task_id: str) -> Answer:
    request = TaskRequest(method="tasks/get", params={"taskId": task_id})
    with anyio.fail_after(60):
        while (answer := await session.send_request(request, Answer)).status == "working":  # noqa: ASYNC110  (a client of another process polls)
            await anyio.sleep(0.01)
    return answer


@dataclass
class HeldProvider(FakeProvider):
    """Answers a request when `release` is set, and not before. One whose caller hangs up counts as `aborted`."""

    release: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 1.0

    async def _wait(self, reader: asyncio.StreamReader) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        let_go = asyncio.ensure_future(self.release.wait())
        try:
            await asyncio.wait([gone, let_go], return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                raise ConnectionResetError
        finally:
            for each in (gone, let_go):
                each.cancel()
                with suppress(asyncio.CancelledError):
                    await each


def research_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    (folder / "public").mkdir(parents=True)
    (folder / "tides.md").write_text("# Tides\n\nThe moon pulls the sea towards it twice a day.\n")
    (folder / "public" / "winds.md").write_text("# Winds\n\nWarm air rises, and cool air follows it.\n")
    return folder


def settings_for(folder: Path, **changes: Any) -> Settings:
    given = {
        "roots": (Root("research", folder),),
        "model_route": "extractive",
        "audit_log": folder.parent / "a.jsonl",
    }
    return Settings(**{**given, **changes})


def trail(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder.parent / "a.jsonl").read_text().splitlines()]


@contextmanager
def principal(name: str) -> Iterator[None]:
    user = AuthenticatedUser(AccessToken(token="t", client_id=name, scopes=[]))
    token = auth_context_var.set(user)
    try:
        yield
    finally:
        auth_context_var.reset(token)


def provided(folder: Path, provider: HeldProvider, **changes: Any) -> Settings:
    return settings_for(
        folder,
        model_route="auto",
        provider="openai",
        provider_model="m",
        provider_key="k",
        provider_url=provider.base_url("openai"),
        **changes,
    )
