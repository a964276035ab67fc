"""Transport to an upstream server over HTTP, with one connection pool for each upstream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import mcp_types
from fastmcp.client.transports import ClientTransport, StreamableHttpTransport
from fastmcp.client.transports.base import TransportOptions
from mcp import ClientSession, MCPError
from mcp.client.streamable_http import streamable_http_client

from research_shared.lifespan import SharedLifespan
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0
KEEPALIVE_S = 4.0
"""Below the 5 s idle timeout of common servers, so that no request meets a closing connection."""
REST_TIMEOUT_S = 0.05
"""Time to wait for the end of an event stream after its response."""
MAX_ANSWER_BYTES = 8 << 20
"""Size limit of a JSON response, also of a list. The gateway's response limit is lower."""
UNAVAILABLE_STATUSES = frozenset({429, 502, 503, 504, 529})
"""Statuses of proxies and of overloaded servers."""


class _Connections(SharedLifespan):
    """The HTTP connections to one upstream. They stay open while a session or a gateway uses them."""

    def __init__(self, transport: StreamableHttpTransport, max_answer_bytes: int) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._auth = transport.auth
        self._headers = transport.headers
        self._client: httpx2.AsyncClient | None = None

    @property
    def client(self) -> httpx2.AsyncClient:
        """Return the client of all users, a new one if it was closed behind their back."""
        if self._client is None or self._client.is_closed:
            self._client = self._new_client()
        return self._client

    async def _open(self) -> None:
        """Do nothing: the client is made on first use."""

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=self._headers,
            auth=self._auth,
            follow_redirects=True,
            timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=_ReusingTransport(
                # Each session before 2026-07-28 keeps a stream open: a connection limit would limit clients.
                limits=httpx2.Limits(
                    max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEPALIVE_S
                ),
                max_answer_bytes=self._max_answer_bytes,
            ),
            event_hooks={"response": [_raise_if_unavailable]},
        )


class PooledHttpTransport(ClientTransport):
    """Streamable HTTP over one connection pool for all sessions of an upstream.

    Credentials and headers of downstream clients are never forwarded. Enter `pool` to keep idle connections open.
    `max_answer_bytes`: size limit of a JSON response.
    """

    def __init__(
        self, transport: StreamableHttpTransport, *, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self.url = transport.url
        self.max_answer_bytes = max_answer_bytes
        self.pool = _Connections(transport, max_answer_bytes)

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Yield the shared HTTP client; it stays open while the block runs."""
        async with self.pool:
            yield self.pool.client

    @asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Any
    ) -> AsyncIterator[ClientSession]:
        """Open a session over the shared connections."""
        options = transport_options or TransportOptions()
        async with (
            self.connections() as http,
            streamable_http_client(self.url, http_client=http) as (read, write),
            options.session_class(read, write, **session_kwargs) as session,
        ):
            yield session


class _RestRead(httpx2.AsyncByteStream):
    """Response body that is drained before it is closed.

    The SDK closes an event stream right after the response. A connection is only reusable after a complete read.
    With `max_bytes`, reading a longer body fails.
    """

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int | None) -> None:
        self._stream = stream
        self._chunks = aiter(stream)
        self._left = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            if self._left is not None:
                self._left -= len(chunk)
                if self._left < 0:
                    raise MCPError(mcp_types.INTERNAL_ERROR, "the response is too large")
            yield chunk

    async def aclose(self) -> None:
        try:
            with anyio.move_on_after(REST_TIMEOUT_S):
                async for _ in self._chunks:
                    pass
        except httpx2.HTTPError as error:
            log.debug("draining a response failed", error=repr(error))
        finally:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


class _ReusingTransport(httpx2.AsyncHTTPTransport):
    """Makes connections reusable after an event stream, and limits the size of other responses."""

    def __init__(self, *, max_answer_bytes: int, **options: Any) -> None:
        super().__init__(**options)
        self._max_answer_bytes = max_answer_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request. Its response is drained when it is closed."""
        response = await super().handle_async_request(request)
        if request.method == "POST" and isinstance(response.stream, httpx2.AsyncByteStream):
            streams = response.headers.get("content-type", "").startswith("text/event-stream")
            response.stream = _RestRead(response.stream, None if streams else self._max_answer_bytes)
        return response


async def _raise_if_unavailable(response: httpx2.Response) -> None:
    """Raise `HTTPStatusError` for an overloaded server: the SDK's transport would drop the status."""
    if response.status_code in UNAVAILABLE_STATUSES:
        response.raise_for_status()
