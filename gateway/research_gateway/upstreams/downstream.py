"""The downstream side of a relayed call: forwards the upstream's requests and notifications to the client."""

import weakref
from contextvars import ContextVar
from typing import Any, TypeVar

import mcp_types
from fastmcp import Context, FastMCP
from fastmcp.apps import UI_EXTENSION_ID
from fastmcp.server.dependencies import FastMCPRequestContext
from mcp import MCPError
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel
from pydantic_core import to_json

from research_gateway._framework import bound_request, connection_of
from research_shared.base_errors import sendable
from research_shared.logs import get_logger
from research_shared.tools.progress import send_log

log = get_logger("research.upstreams")

MAX_LOGGER = 256
"""Characters of the name of an upstream's logger."""
MAX_NOTIFICATIONS = 10_000
"""Progress reports and log lines of one call that are passed on. A client is not flooded."""
MAX_NOTIFICATION_BYTES = 16_384
"""Size of what a log line or progress report says, as JSON. A longer one is cut."""
ResultT = TypeVar("ResultT", bound=BaseModel)

current_downstream: ContextVar["DownstreamRequest | None"] = ContextVar("research_downstream", default=None)
"""The downstream request being relayed. Over HTTP, upstream messages arrive in the same context."""


def shortened(data: Any) -> Any:
    """Return what a notification says; if it is too long, the beginning of it as text."""
    if (
        data is None
        or len(text := to_json(data, fallback=str, inf_nan_mode="constants")) <= MAX_NOTIFICATION_BYTES
    ):
        return data
    whole = data if isinstance(data, str) else text.decode()
    return sendable(whole, MAX_NOTIFICATION_BYTES)


class DownstreamRequest:
    """One request of a downstream client. `relayed` is True once anything has been forwarded to the client."""

    def __init__(self, request: FastMCPRequestContext, server: FastMCP[Any]) -> None:
        self._request = request
        self._server = weakref.ref(server)
        self.relayed = False
        self._notifications = 0

    def _is_flooded(self) -> bool:
        """Count one more notification. Return whether the limit of this request is exceeded; that is logged once."""
        self._notifications += 1
        if self._notifications == MAX_NOTIFICATIONS + 1:
            log.warning("an upstream sends too many notifications; the rest is dropped")
        return self._notifications > MAX_NOTIFICATIONS

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
        """The client's declared capabilities. Of its extensions only MCP Apps: messages of others are not relayed."""
        declared = self._request.session.client_capabilities or mcp_types.ClientCapabilities()
        apps = {key: value for key, value in (declared.extensions or {}).items() if key == UI_EXTENSION_ID}
        return declared.model_copy(update={"extensions": apps or None, "experimental": None})

    @property
    def client_info(self) -> mcp_types.Implementation | None:
        """The client's declared name and version."""
        params = self._request.session.client_params
        return params.client_info if params is not None else None

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        """Forward a progress report."""
        if self._is_flooded():
            return
        # The gateway also observes progress that the client did not request.
        self.relayed = self.relayed or "progressToken" in (self._request.meta or {})
        with bound_request(self._request):
            await Context(self._serving()).report_progress(progress, total, shortened(message))

    async def log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        """Forward a log line if the client's level admits it."""
        if self._is_flooded():
            return
        self.relayed = True
        with bound_request(self._request):
            logger = params.logger and params.logger[:MAX_LOGGER]
            await send_log(self._serving(), params.level, shortened(params.data), logger)

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
