"""The downstream side of a relayed call: forwards the upstream's requests and notifications to the client."""

import weakref
from contextvars import ContextVar
from typing import Any, TypeVar

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import FastMCPRequestContext
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from research_gateway._framework import bound_request, connection_of
from research_shared.tools.progress import send_log

ResultT = TypeVar("ResultT", bound=BaseModel)

current_downstream: ContextVar["DownstreamRequest | None"] = ContextVar("research_downstream", default=None)
"""The downstream request being relayed. Over HTTP, upstream messages arrive in the same context."""


class DownstreamRequest:
    """One request of a downstream client. `relayed` is True once anything has been forwarded to the client."""

    def __init__(self, request: FastMCPRequestContext, server: FastMCP[Any]) -> None:
        self._request = request
        self._server = weakref.ref(server)
        self.relayed = False

    @classmethod
    def of(cls, context: Context) -> "DownstreamRequest | None":
        """Return the request being served in `context`, or None outside a request."""
        request = context.request_context
        return cls(request, context.fastmcp) if request is not None else None

    @property
    def modern(self) -> bool:
        """Whether the client speaks 2026-07-28 or later, which has no server-to-client requests."""
        return self._request.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def protocol_version(self) -> str:
        """The protocol version of the client's connection."""
        return self._request.protocol_version

    @property
    def connection(self) -> Any:
        """The client's connection. It lasts for the session before 2026-07-28, for this request since then."""
        return connection_of(self._request)

    @property
    def capabilities(self) -> mcp_types.ClientCapabilities:
        """The client's declared capabilities, without extensions: their messages are not relayed."""
        declared = self._request.session.client_capabilities or mcp_types.ClientCapabilities()
        return declared.model_copy(update={"extensions": None, "experimental": None})

    @property
    def client_info(self) -> mcp_types.Implementation | None:
        """The client's declared name and version."""
        params = self._request.session.client_params
        return params.client_info if params is not None else None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Forward a progress report."""
        # The gateway also observes progress that the client did not request.
        self.relayed = self.relayed or "progressToken" in (self._request.meta or {})
        with bound_request(self._request):
            await Context(self._serving()).report_progress(progress, total, message)

    async def log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        """Forward a log line if the client's level admits it."""
        self.relayed = True
        with bound_request(self._request):
            await send_log(self._serving(), params.level, params.data, params.logger)

    async def ask(self, request: Any, result_type: type[ResultT]) -> ResultT | mcp_types.ErrorData:
        """Forward a request of the upstream to the client. Return its result, or its error as data."""
        self.relayed = True
        related = ServerMessageMetadata(related_request_id=self._request.request_id)
        try:
            return await self._request.session.send_request(request, result_type, metadata=related)
        except NoBackChannelError as error:
            return mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=str(error))
        except MCPError as error:
            return error.error

    async def notify(self, notification: Any) -> None:
        """Forward a list-changed notification."""
        await self._request.session.send_notification(notification)

    def _serving(self) -> FastMCP[Any]:
        server = self._server()
        if server is None:
            raise RuntimeError("the server of this request has been garbage-collected")
        return server
