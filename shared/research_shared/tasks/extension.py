"""The tasks extension of MCP: a call of a reasoning tool is answered with a task, which the client polls."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from fastmcp import Context
from fastmcp.server.dependencies import get_http_request
from fastmcp.server.extensions import MethodBinding, ServerExtension, ToolCallContinuation, ToolCallOutcome
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import INVALID_PARAMS, CallToolRequestParams
from mcp_types.jsonrpc import HEADER_MISMATCH, MISSING_REQUIRED_CLIENT_CAPABILITY
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from research_shared.access.scope import Scope, current_scope
from research_shared.logs import get_logger
from research_shared.tasks.records import NewTask, TaskLimits, TaskRecord, TaskStore, TaskStoreUnavailable
from research_shared.tasks.sealing import SealBroken, TaskSealer
from research_shared.tasks.wire import (
    TASKS_EXTENSION,
    TASKS_LIFESPAN_KEY,
    Acknowledged,
    TaskMessage,
    TaskParams,
    TaskUpdateParams,
    iso,
)
from research_shared.tasks.work import Work, current_work, described_caller, owner_of_request, work_to_json
from research_shared.telemetry import record

log = get_logger("research.tasks")

TASK_TOOLS = frozenset({"summarize_document", "synthesize_research"})
"""The tools whose calls may become tasks: those that wait for a model."""
POLL_INTERVAL_MS = 1_000
"""How often a client is asked to poll, in milliseconds."""
_TRACE = frozenset({"traceparent", "tracestate"})
_TASK_VERSIONS = frozenset(MODERN_PROTOCOL_VERSIONS)

CallIds = Callable[[], tuple[str | None, str | None]]
"""Gives the audit ids of the current call: its own, and that of the logical call."""


def _no_ids() -> tuple[str | None, str | None]:
    return None, None


class TasksExtension(ServerExtension):
    """Answers calls of `TASK_TOOLS` with a task if the client declares the extension and is not needed for the answer.

    `detachable` says of a request whether it can be answered without its client; one that cannot is served at once, as
    without the extension. Requests about a task of another caller, or of documents that the caller may no longer see, are
    answered as if there were none.
    """

    identifier = TASKS_EXTENSION

    def __init__(
        self,
        *,
        store: TaskStore,
        sealer: TaskSealer,
        limits: TaskLimits,
        detachable: Callable[[Context], bool],
        call_ids: CallIds = _no_ids,
        poll_interval_ms: int = POLL_INTERVAL_MS,
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._limits = limits
        self._detachable = detachable
        self._call_ids = call_ids
        self._poll_interval_ms = poll_interval_ms

    def methods(self) -> Sequence[MethodBinding]:
        """Return the methods of the extension, with which a client asks for a task."""
        return [
            MethodBinding("tasks/get", TaskParams, self._get, _TASK_VERSIONS),
            MethodBinding("tasks/update", TaskUpdateParams, self._update, _TASK_VERSIONS),
            MethodBinding("tasks/cancel", TaskParams, self._cancel, _TASK_VERSIONS),
        ]

    # Submitting

    async def intercept_tool_call(
        self, params: CallToolRequestParams, context: Context, call_next: ToolCallContinuation
    ) -> ToolCallOutcome:
        """Make a task of the call, or answer it at once."""
        if not self._becomes_task(params, context):
            return await call_next()
        try:
            return await self._submit(params, context)
        except TaskStoreUnavailable as error:
            log.warning("a call is answered at once, as it cannot become a task", reason=error.message)
            return await call_next()

    def _becomes_task(self, params: CallToolRequestParams, context: Context) -> bool:
        request = context.request_context
        return (
            params.name in TASK_TOOLS
            and request is not None
            and self._faces_client(request.lifespan_context)
            and request.protocol_version in MODERN_PROTOCOL_VERSIONS
            and context.client_extension_settings(TASKS_EXTENSION) is not None
            # The work of a task is a call of its own. A later round of a call belongs to its first one.
            and current_work() is None
            and context.request_state is None
            and self._detachable(context)
        )

    def _faces_client(self, lifespan_result: object) -> bool:
        """Return whether it is our server that the client asks. One that it is mounted in would not answer for tasks."""
        return (
            isinstance(lifespan_result, Mapping)
            and lifespan_result.get(TASKS_LIFESPAN_KEY) == self.server.name
        )

    async def _submit(self, params: CallToolRequestParams, context: Context) -> TaskMessage:
        request = context.request_context
        client = request.session.client_params if request is not None else None
        call_id, logical_call_id = self._call_ids()
        work = Work(
            tool=params.name,
            arguments=dict(params.arguments or {}),
            meta={
                name: value
                for name, value in ((request.meta if request is not None else None) or {}).items()
                if name in _TRACE
            },
            caller=described_caller(),
            scope=current_scope().to_json(),
            client_name=client.client_info.name if client is not None else "",
            client_version=client.client_info.version if client is not None else "",
            call_id=call_id,
            logical_call_id=logical_call_id,
        )
        task_id = secrets.token_urlsafe(24)
        record(task=task_id)
        owner = owner_of_request()
        task = NewTask(
            task_id=task_id,
            owner=owner,
            work=self._sealer.seal(owner, task_id, "work", work_to_json(work)),
            ticket=self._sealer.seal(owner, task_id, "ticket", work.scope),
        )
        try:
            added = await self._store.add(task, self._limits)
        except TaskStoreUnavailable:
            with suppress(TaskStoreUnavailable):  # it may have been added all the same
                await self._store.cancel(owner, task_id)
            raise
        return self._message("task", added)

    # Asking

    async def _get(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> TaskMessage:
        found = await self._visible(context, params)
        shown: dict[str, Any] = {}
        if found.result is not None:
            shown["result" if found.status == "completed" else "error"] = self._opened(found)
        return self._message("complete", found, **shown)

    async def _cancel(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> Acknowledged:
        await self._visible(context, params)
        if not await self._store.cancel(owner_of_request(), params.task_id):
            raise _no_such_task(params.task_id)
        return Acknowledged()

    async def _update(
        self, context: ServerRequestContext[Any, Any], params: TaskUpdateParams
    ) -> Acknowledged:
        """Acknowledge input. No task of ours asks for any, and unknown keys are to be ignored."""
        await self._visible(context, params)
        return Acknowledged()

    async def _visible(self, context: ServerRequestContext[Any, Any], params: TaskParams) -> TaskRecord:
        """Return a task that the caller may know of.

        Raises:
            MCPError: there is none, or the client did not declare the extension.
        """
        self._check(context, params.task_id)
        record(task=params.task_id)
        found = await self._store.get(owner_of_request(), params.task_id)
        if found is None or not self._still_seen(found):
            raise _no_such_task(params.task_id)
        return found

    def _still_seen(self, task: TaskRecord) -> bool:
        """Return whether all that the task could see may be seen by the caller now."""
        try:
            scope = Scope.from_json(
                self._sealer.open(owner_of_request(), task.task_id, "ticket", task.ticket)
            )
        except SealBroken as error:
            log.warning("a task cannot be opened", task=task.task_id, reason=str(error))
            return False
        return current_scope().narrowed(scope) == scope.narrowed(scope)

    def _check(self, context: ServerRequestContext[Any, Any], task_id: str) -> None:
        if self.client_settings(context) is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message=f"the client did not declare {TASKS_EXTENSION} for this request",
                data={"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}},
            )
        try:
            header = get_http_request().headers.get(MCP_NAME_HEADER)
        except RuntimeError:  # not over HTTP
            return
        if header is not None and decode_header_value(header) != task_id:
            raise MCPError(
                code=HEADER_MISMATCH, message=f"the {MCP_NAME_HEADER} header is not the taskId of the body"
            )

    def _opened(self, task: TaskRecord) -> Mapping[str, Any]:
        try:
            opened: Mapping[str, Any] = self._sealer.open(
                owner_of_request(), task.task_id, "result", task.result or ""
            )
        except SealBroken as error:
            log.warning("the result of a task cannot be opened", task=task.task_id, reason=str(error))
            raise _no_such_task(task.task_id) from error
        return opened

    def _message(self, result_type: str, task: TaskRecord, **payload: Any) -> TaskMessage:
        message = None
        if task.message is not None:
            try:
                message = str(self._sealer.open(owner_of_request(), task.task_id, "message", task.message))
            except SealBroken as error:
                log.warning("the progress of a task cannot be opened", task=task.task_id, reason=str(error))
        return TaskMessage.model_validate(
            {
                "result_type": result_type,
                "task_id": task.task_id,
                "status": task.status,
                "status_message": message,
                "created_at": iso(task.created_at),
                "last_updated_at": iso(task.updated_at),
                "ttl_ms": round((task.expires_at - task.created_at) * 1000),
                "poll_interval_ms": self._poll_interval_ms,
                **payload,
            }
        )


def _no_such_task(task_id: str) -> MCPError:
    return MCPError(code=INVALID_PARAMS, message=f"Task {task_id} not found")
