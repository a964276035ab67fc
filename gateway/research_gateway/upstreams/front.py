"""The client's side of a relayed call: whatever the upstream asks or tells is passed on to the client, unchanged."""

import weakref
from contextvars import ContextVar
from typing import Any, TypeVar

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.server.dependencies import FastMCPRequestContext, bind_request_context
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from research_shared.tools.progress import send_log

ResultT = TypeVar("ResultT", bound=BaseModel)

current_front: ContextVar["Front | None"] = ContextVar("research_front", default=None)
"""The call on whose behalf something is sent upstream. Over HTTP what comes back arrives in the same context."""


class Front:
    """One request of a client, as far as its relay needs it. `relayed` says whether the client has been told anything."""

    def __init__(self, request: FastMCPRequestContext, server: FastMCP[Any]) -> None:
        self._request = request
        self._server = weakref.ref(server)
        self.relayed = False

    @classmethod
    def of(cls, context: Context) -> "Front | None":
        """The front of the request that is being served, if there is one."""
        request = context.request_context
        return cls(request, context.fastmcp) if request is not None else None

    @property
    def modern(self) -> bool:
        """Whether the client speaks 2026-07-28 or later, where nothing can be pushed to it."""
        return self._request.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def protocol_version(self) -> str:
        """The protocol version of the client's connection."""
        return self._request.protocol_version

    @property
    def connection(self) -> Any:
        """The client's connection: for the whole session before 2026-07-28, for this request since then."""
        return self._request.session._connection  # noqa: SLF001  (as FastMCP's own stateful proxy does)

    @property
    def capabilities(self) -> mcp_types.ClientCapabilities:
        """What the client declared, without extensions: the gateway relays none of their messages."""
        declared = self._request.session.client_capabilities or mcp_types.ClientCapabilities()
        return declared.model_copy(update={"extensions": None, "experimental": None})

    @property
    def client_info(self) -> mcp_types.Implementation | None:
        """Who the client says it is."""
        params = self._request.session.client_params
        return params.client_info if params is not None else None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Pass a progress report on."""
        # The gateway watches progress that its client has not asked for.
        self.relayed = self.relayed or "progressToken" in (self._request.meta or {})
        with bind_request_context(self._request._srctx):  # noqa: SLF001
            await Context(self._serving()).report_progress(progress, total, message)

    async def log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        """Pass a log line on, at the level that the client wants."""
        self.relayed = True
        with bind_request_context(self._request._srctx):  # noqa: SLF001
            await send_log(self._serving(), params.level, params.data, params.logger)

    async def ask(self, request: Any, result_type: type[ResultT]) -> ResultT | mcp_types.ErrorData:
        """Put a question of the upstream to the client; what the client answers, errors included."""
        self.relayed = True
        related = ServerMessageMetadata(related_request_id=self._request.request_id)
        try:
            return await self._request.session.send_request(request, result_type, metadata=related)
        except NoBackChannelError as error:
            return mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=str(error))
        except MCPError as error:
            return error.error

    async def notify(self, notification: Any) -> None:
        """Pass on that a list has changed."""
        await self._request.session.send_notification(notification)

    def _serving(self) -> FastMCP[Any]:
        server = self._server()
        if server is None:
            raise RuntimeError("the server of this request is gone")
        return server
