"""Sessionless requests of MCP 2026-07-28 over HTTP, sent in the caller's task.

The SDK's client uses several tasks and streams for each request. Here errors are raised at the call, and
notifications are handled in the context of their request.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2
import mcp_types
from mcp import MCPError
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCResponse, jsonrpc_message_adapter
from opentelemetry.propagate import inject
from pydantic import ValidationError
from pydantic_core import to_json

from research_gateway._framework import stream_within_origin
from research_gateway.upstreams.transports.http import PooledHttpTransport
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

MAX_EVENT_BYTES = 1 << 20
"""Size limit of one event, the same as for direct clients."""

_HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_numbers = itertools.count(1)

OnNotification = Callable[[JSONRPCNotification], Awaitable[None]]


class StatelessHttp:
    """Dispatcher of a client session. `on_notification` is awaited for each notification that precedes the response."""

    def __init__(self, transport: PooledHttpTransport, on_notification: OnNotification) -> None:
        self._transport = transport
        self._on_notification = on_notification

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send one request and return its result.

        Raises:
            MCPError: the upstream answered with an error or an invalid response.
            httpx2.HTTPError: the upstream was unreachable, overloaded, or disconnected.
        """
        options = opts or {}
        progress = options.get("on_progress")
        number = next(_numbers)
        meta = dict((params or {}).get("_meta") or {})
        inject(meta)
        if progress is not None:
            meta["progressToken"] = number
        request = {
            "jsonrpc": "2.0",
            "id": number,
            "method": method,
            "params": {**(params or {}), "_meta": meta},
        }
        headers = {**_HEADERS, **options.get("headers", {})}
        url = self._transport.url
        async with (
            self._transport.connections() as http,
            stream_within_origin(http, "POST", url, content=to_json(request), headers=headers) as response,
        ):
            answer = await self._answer(response, progress)
        if isinstance(answer, JSONRPCError):
            raise MCPError.from_error_data(answer.error)
        return answer.result

    async def notify(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> None:
        """Do nothing: in this revision, clients send no notifications over HTTP."""

    async def _answer(
        self, response: httpx2.Response, progress: ProgressFnT | None
    ) -> JSONRPCResponse | JSONRPCError:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        message = _parsed(await self._read_body(response)) if kind == "application/json" else None
        if not response.is_success or response.status_code == httpx2.codes.ACCEPTED:
            if isinstance(message, JSONRPCError):
                return message
            missing = response.status_code == httpx2.codes.NOT_FOUND
            code = mcp_types.METHOD_NOT_FOUND if missing else mcp_types.INTERNAL_ERROR
            raise MCPError(code, f"the server answered with status {response.status_code}")
        if kind == "text/event-stream":
            return await self._streamed(response, progress)
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            raise MCPError(mcp_types.PARSE_ERROR, f"the server sent an invalid response ({kind})")
        return message

    async def _read_body(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for part in response.aiter_bytes():
            body += part
            if len(body) > self._transport.max_answer_bytes:
                raise MCPError(mcp_types.INTERNAL_ERROR, "the response is too large")
        return bytes(body)

    async def _streamed(
        self, response: httpx2.Response, progress: ProgressFnT | None
    ) -> JSONRPCResponse | JSONRPCError:
        async for event in httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES):
            if event.event != "message" or not event.data:
                continue
            message = _parsed(event.data)
            if isinstance(message, JSONRPCResponse | JSONRPCError):
                return message
            if message is None:
                raise MCPError(mcp_types.PARSE_ERROR, "the server sent an event that is no JSON-RPC message")
            if isinstance(message, JSONRPCNotification):
                await self._report_progress(message, progress)
            else:
                log.debug("server request ignored", method=message.method)
        raise MCPError(mcp_types.CONNECTION_CLOSED, "the event stream ended without a response")

    async def _report_progress(self, message: JSONRPCNotification, progress: ProgressFnT | None) -> None:
        try:
            if message.method != "notifications/progress":
                await self._on_notification(message)
            elif progress is not None:
                update = mcp_types.ProgressNotificationParams.model_validate(message.params)
                await progress(update.progress, update.total, update.message)
        except Exception as error:  # noqa: BLE001  (a lost notification must not fail the call)
            log.debug("forwarding a notification failed", method=message.method, error=repr(error))


def _parsed(text: str | bytes) -> mcp_types.JSONRPCMessage | None:
    try:
        return jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        return None
