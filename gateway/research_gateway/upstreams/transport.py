"""How upstream servers are reached: over HTTP with one pool of connections for each of them, or over pipes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from fastmcp.client.transports import ClientTransport, StdioTransport, StreamableHttpTransport
from fastmcp.client.transports.base import TransportOptions
from fastmcp.mcp_config import MCPServerTypes
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from research_shared.logs import get_logger

log = get_logger("research.upstreams")

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 300.0
KEEPALIVE_S = 4.0
"""Less than the 5 s after which usual servers close an idle connection: a request must not meet its closing."""
REST_TIMEOUT_S = 0.05
"""How long the end of an answered event stream is waited for."""
OVERLOADED = frozenset({429, 502, 503, 504, 529})
"""Statuses that come from in front of a server, or from one that does not want the request now."""


class PooledHttpTransport(ClientTransport):
    """Streamable HTTP over connections that all sessions of one upstream share.

    Nothing of a client's own request goes upstream with it: neither its credentials nor its headers.
    """

    def __init__(self, transport: StreamableHttpTransport) -> None:
        self.url = transport.url
        self._auth = transport.auth
        self._headers = transport.headers
        self._client: httpx2.AsyncClient | None = None
        self._users = 0
        self._keep = True

    @asynccontextmanager
    async def connections(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The shared connections, which stay open for as long as the block lasts."""
        self._users += 1
        try:
            yield self._shared()
        finally:
            self._users -= 1
            await self._close_unused()

    def _shared(self) -> httpx2.AsyncClient:
        if self._client is None or self._client.is_closed:
            self._client = httpx2.AsyncClient(
                headers=self._headers,
                auth=self._auth,
                follow_redirects=True,
                timeout=httpx2.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                transport=_ReusingTransport(
                    # Each session of before 2026-07-28 keeps a stream open: a cap would be one on clients.
                    limits=httpx2.Limits(
                        max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEEPALIVE_S
                    )
                ),
                event_hooks={"response": [_raise_if_unavailable]},
            )
        return self._client

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

    async def keep(self, keep: bool) -> None:
        """Keep connections for later use, or none from now on; those in use stay open until they are done with."""
        self._keep = keep
        await self._close_unused()

    async def _close_unused(self) -> None:
        if not self._keep and not self._users and self._client is not None:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True):
                await client.aclose()


class _RestRead(httpx2.AsyncByteStream):
    """A response body whose rest is read before it is closed.

    The SDK closes an event stream as soon as it has the answer. Only what has been read to its end leaves a connection
    that can be used again, and a server ends the stream right after the answer.
    """

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream
        self._chunks = aiter(stream)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        try:
            with anyio.move_on_after(REST_TIMEOUT_S):
                async for _ in self._chunks:
                    pass
        except httpx2.HTTPError as error:
            log.debug("a response broke off at its end", error=repr(error))
        finally:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()


class _ReusingTransport(httpx2.AsyncHTTPTransport):
    """Keeps connections usable whose response is an event stream."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send the request; its response is read to the end when it is closed."""
        response = await super().handle_async_request(request)
        if request.method == "POST" and isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _RestRead(response.stream)
        return response


async def _raise_if_unavailable(response: httpx2.Response) -> None:
    """Let a refusal keep its status: the SDK's transport would make a nameless protocol error of it."""
    if response.status_code in OVERLOADED:
        response.raise_for_status()


def transport_of(server: MCPServerTypes) -> ClientTransport | Callable[[], ClientTransport]:
    """How a configured server is reached: over shared connections where it speaks Streamable HTTP, else anew each time."""
    transport = server.to_transport()
    if type(transport) is StreamableHttpTransport:
        return PooledHttpTransport(transport)

    def fresh() -> ClientTransport:
        made = server.to_transport()
        if isinstance(made, StdioTransport):
            made.keep_alive = False
        return made

    return fresh
