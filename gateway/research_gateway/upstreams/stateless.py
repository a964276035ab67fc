"""Requests of MCP 2026-07-28 over HTTP, which has no sessions: each is an HTTP request in the task of its caller.

The SDK's client would take several tasks and streams to it. Here a failure is raised where the request was made, and
what comes before an answer is told in the context of its request.
"""

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2
import mcp_types
from mcp import MCPError
from mcp.shared._httpx_utils import stream_within_origin
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCResponse, jsonrpc_message_adapter
from opentelemetry.propagate import inject
from pydantic import ValidationError
from pydantic_core import to_json

from research_gateway.upstreams.transport import PooledHttpTransport
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

MAX_EVENT_BYTES = 1 << 20
"""One event at most, as for a client that is connected directly."""
MAX_ANSWER_BYTES = 32 << 20
"""An answer that is no event stream; what clients get is held to less by the gateway's own limit."""

_HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
_numbers = itertools.count(1)

Told = Callable[[JSONRPCNotification], Awaitable[None]]


class StatelessHttp:
    """What a client session puts its requests through; `told` is awaited for each notification before an answer."""

    def __init__(self, transport: PooledHttpTransport, told: Told) -> None:
        self._transport = transport
        self._told = told

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """The result of one request.

        Raises:
            MCPError: the upstream answered with an error, or with what is no answer.
            httpx2.HTTPError: it could not be reached, turned the request away unread, or broke off.
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
        """Send nothing: over HTTP, this revision has no notifications from a client."""

    async def _answer(
        self, response: httpx2.Response, progress: ProgressFnT | None
    ) -> JSONRPCResponse | JSONRPCError:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        told = _parsed(await _read(response)) if kind == "application/json" else None
        if not response.is_success or response.status_code == httpx2.codes.ACCEPTED:
            if isinstance(told, JSONRPCError):
                return told
            missing = response.status_code == httpx2.codes.NOT_FOUND
            code = mcp_types.METHOD_NOT_FOUND if missing else mcp_types.INTERNAL_ERROR
            raise MCPError(code, f"the server answered with status {response.status_code}")
        if kind == "text/event-stream":
            return await self._streamed(response, progress)
        if not isinstance(told, JSONRPCResponse | JSONRPCError):
            raise MCPError(mcp_types.PARSE_ERROR, f"the server answered with what is no answer ({kind})")
        return told

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
                raise MCPError(mcp_types.PARSE_ERROR, "an event of the server is no message")
            if isinstance(message, JSONRPCNotification):
                await self._tell(message, progress)
            else:
                log.debug("a question outside of an answer is passed over", method=message.method)
        raise MCPError(mcp_types.CONNECTION_CLOSED, "the event stream ended without an answer")

    async def _tell(self, message: JSONRPCNotification, progress: ProgressFnT | None) -> None:
        try:
            if message.method != "notifications/progress":
                await self._told(message)
            elif progress is not None:
                told = mcp_types.ProgressNotificationParams.model_validate(message.params)
                await progress(told.progress, told.total, told.message)
        except Exception as error:  # noqa: BLE001  (what cannot be told is lost; the answer is not)
            log.debug("a notification is not passed on", method=message.method, error=repr(error))


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise MCPError(mcp_types.INTERNAL_ERROR, "the answer is too large")
    return bytes(body)


def _parsed(text: str | bytes) -> mcp_types.JSONRPCMessage | None:
    try:
        return jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValidationError:
        return None
