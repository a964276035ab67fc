"""How the gateway's clients are told apart before an upstream, and what is reused for them.

- A client of 2026-07-28 or later has no session, and over HTTP it gets none: each of its requests is one request
  upstream that declares what this client declares. Only the connections are shared.
- A client of an earlier era has one session, and so it has one upstream, for as long as it stays connected.
- A client of 2026-07-28 before an upstream of an earlier era gets a session for the one request, as there is nothing
  that tells its requests from those of others.
- A process on this machine is costly to start and talks over one pair of pipes: between clients of 2026-07-28 it is
  reused, by one request at a time.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import anyio
import mcp_types
from fastmcp.client.transports import ClientTransport
from mcp import MCPError
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION

from research_gateway.upstreams.client import UpstreamClient
from research_gateway.upstreams.failures import is_changed, is_closed, is_session_gone
from research_gateway.upstreams.front import Front, current_front
from research_gateway.upstreams.transport import PooledHttpTransport
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

MAX_IDLE_PROCESSES = 8
ENDING_S = 0.5
"""How long a session that is breaking may take to say why."""
HANDSHAKE_S = 60.0
"""How long an upstream that did not know 2026-07-28 is taken for one that does not."""


class Lease:
    """A client that is lent to one request; leaving it gives the client back, or drops it when it has failed.

    It stands in for the client towards FastMCP's proxy components, which enter it for each request.
    """

    def __init__(self, upstream: "Upstream", front: Front | None) -> None:
        self._upstream = upstream
        self._front = front
        self._client: UpstreamClient | None = None
        self._view: UpstreamClient | None = None

    async def __aenter__(self) -> Self:
        """Connect, or take over a connected client."""
        self._client = await self._upstream.take(self._front)
        self._view = self._client.begin(self._front)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the client back."""
        if self._client is not None:
            client, self._client = self._client, None
            client.end(self._front)
            ended = await client.ended_by(ENDING_S) if is_closed(error) else None
            await self._upstream.give_back(client, self._front, ended or error)
            if ended is not None:
                raise ended from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


@dataclass(frozen=True, slots=True)
class _Era:
    """What an upstream said when it was asked for its protocol versions; None if it knows the handshake only."""

    discovered: mcp_types.DiscoverResult | None
    asked_at: float


class Upstream:
    """A server behind the gateway: how it is reached and the sessions that are open with it.

    `transport` is shared by all sessions, or makes one for each: a process that talks over pipes has one session.
    `ours` says that it serves research documents and so is told the scope of each request.
    """

    def __init__(
        self,
        name: str,
        transport: ClientTransport | Callable[[], ClientTransport],
        *,
        ours: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.ours = ours
        self._pool = transport if isinstance(transport, PooledHttpTransport) else None
        self._new_transport: Callable[[], ClientTransport] = (
            (lambda: transport) if isinstance(transport, ClientTransport) else transport
        )
        self._clock = clock
        self._era: _Era | None = None
        self._modern_only = False
        self._sessionless = self._new_client(None, "auto") if self._pool is not None else None
        self._idle: list[UpstreamClient] = []
        self._bound: dict[Any, UpstreamClient] = {}
        self._binding: WeakKeyDictionary[Any, anyio.Lock] = WeakKeyDictionary()
        self._keep = True
        self.sessions_opened = 0
        self.on_change: Callable[[], None] = lambda: None

    def lease(self) -> Lease:
        """A client for the call that is being relayed."""
        return Lease(self, current_front.get())

    async def take(self, front: Front | None) -> UpstreamClient:
        """A client that acts for this request's client."""
        if front is not None and not front.modern and not self._modern_only:
            try:
                return await self._bound_client(front)
            except MCPError as error:
                if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                    raise
                self._modern_only = True
        discovered = await self._discover()
        if self._sessionless is not None and discovered is not None:
            return self._sessionless.stateless(front, discovered)
        while self._idle:
            client = self._idle.pop()
            if client.alive:
                break
            await self._close(client)
        else:
            client = await self._open(None, "legacy" if discovered is None else "auto")
        if discovered is not None:
            client.act_for(front, discovered)
        return client

    async def _discover(self) -> mcp_types.DiscoverResult | None:
        """What the upstream says of itself in 2026-07-28; None if it does not know that revision.

        Whoever needs to know asks for itself: to wait for somebody else's question would be to wait for an upstream
        that hangs as often as there are calls.
        """
        era = self._era
        if era is None or not self._holds(era):
            client = await self._open(None, "auto")
            self._era = era = _Era(client.session.discover_result, self._clock())
            await self._put_by(client)
        return era.discovered

    def _holds(self, era: _Era) -> bool:
        return era.discovered is not None or self._pool is None or self._clock() - era.asked_at < HANDSHAKE_S

    async def _open(self, front: Front | None, mode: str) -> UpstreamClient:
        client = self._new_client(front, mode)
        # The session outlives the request that opens it: what it receives later is for others.
        token = current_front.set(None)
        try:
            await client.__aenter__()  # type: ignore[no-untyped-call]
        finally:
            current_front.reset(token)
        self.sessions_opened += 1
        return client

    def _new_client(self, front: Front | None, mode: str) -> UpstreamClient:
        return UpstreamClient(self._new_transport(), front=front, mode=mode, on_change=self._changed)

    def _changed(self) -> None:
        self.on_change()

    async def _bound_client(self, front: Front) -> UpstreamClient:
        connection = front.connection
        async with self._binding.setdefault(connection, anyio.Lock()):
            client = self._bound.get(connection)
            if client is not None and client.alive:
                return client
            if client is not None:
                await self._unbind(connection, client)
            client = await self._open(front, "legacy")
            self._bound[connection] = client
            connection.exit_stack.push_async_callback(self._unbind, connection, client)
            return client

    async def _unbind(self, connection: Any, client: UpstreamClient) -> None:
        if self._bound.get(connection) is client:
            del self._bound[connection]
        await self._close(client)

    async def give_back(
        self, client: UpstreamClient, front: Front | None, error: BaseException | None
    ) -> None:
        """Keep the client for later requests, unless something went wrong with it."""
        if error is not None and is_changed(error):
            self._era, self._modern_only = None, False
        if client.sessionless:
            return
        if front is not None and self._bound.get(front.connection) is client:
            if error is not None and (is_session_gone(error) or not client.alive):
                await self._unbind(front.connection, client)
        elif error is None:
            await self._put_by(client)
        else:
            await self._close(client)

    async def _put_by(self, client: UpstreamClient) -> None:
        """Keep a session between two requests, if it is one that any client may use."""
        if self._keep and self._pool is None and client.alive and len(self._idle) < MAX_IDLE_PROCESSES:
            self._idle.append(client)
        else:
            await self._close(client)

    async def _close(self, client: UpstreamClient) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await client._disconnect(force=True)  # noqa: SLF001  (`close` closes the shared transport as well)
            except Exception as error:  # noqa: BLE001  (what ended the session has been reported by its request)
                log.debug("a session was broken when it was closed", upstream=self.name, error=repr(error))

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Keep sessions and connections for later requests while the block lasts.

        Then those close that nobody uses, and the others as soon as they are done with: a server's lifespan can end
        while it still answers clients in its own process, since it is entered by the first of them only.
        """
        await self._set_keep(True)
        try:
            yield
        finally:
            await self._set_keep(False)

    async def _set_keep(self, keep: bool) -> None:
        self._keep = keep
        if not keep:
            idle, self._idle = self._idle, []
            for client in idle:
                await self._close(client)
        if self._pool is not None:
            await self._pool.keep(keep)
