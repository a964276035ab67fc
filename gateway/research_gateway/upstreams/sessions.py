"""Upstream sessions: which downstream clients share one, and which get their own.

- A client of 2026-07-28 or later has no session, and over HTTP it gets none upstream: each request is one upstream
  request that declares this client's capabilities. Only the connections are shared.
- A client of an earlier era has one upstream session for as long as it stays connected.
- A client of 2026-07-28 and an upstream of an earlier era: one session for each request, as nothing identifies the
  client.
- A stdio process is costly to start and serves one session: clients of 2026-07-28 share it, one request at a time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from weakref import WeakKeyDictionary

import anyio
import mcp_types
from fastmcp.client.transports import ClientTransport
from mcp import MCPError
from mcp_types import UNSUPPORTED_PROTOCOL_VERSION

from research_gateway._framework import disconnect
from research_gateway.upstreams.client import UpstreamClient
from research_gateway.upstreams.downstream import DownstreamRequest, current_downstream
from research_gateway.upstreams.failures import is_changed, is_closed, is_session_gone
from research_gateway.upstreams.offers.listings import DEFAULT_LIMITS, ListLimits
from research_gateway.upstreams.timings import DEFAULT_TIMINGS, UpstreamTimings
from research_gateway.upstreams.transports.http import PooledHttpTransport
from research_shared.lifespan import SharedLifespan
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

MAX_IDLE_PROCESSES = 8
HANDSHAKE_S = 60.0
"""Time for which an upstream that rejected 2026-07-28 is assumed to support only the handshake."""


class Lease:
    """A client leased to one request. On exit the client is returned, or closed if the request failed.

    FastMCP's proxy components enter it in place of a client, once for each request.
    """

    def __init__(self, upstream: "Upstream", downstream: DownstreamRequest | None) -> None:
        self._upstream = upstream
        self._downstream = downstream
        self._client: UpstreamClient | None = None
        self._view: UpstreamClient | None = None

    async def __aenter__(self) -> Self:
        """Connect, or take a connected client."""
        self._client = await self._upstream.take(self._downstream)
        self._view = self._client.begin(self._downstream)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Return the client."""
        if self._client is not None:
            client, self._client = self._client, None
            client.end(self._downstream)
            # Only HTTP says why it ended a session. A process that has ended says nothing more.
            asks = self._upstream.over_http and is_closed(error)
            wait_s = self._upstream.timings.close_reason_timeout_s
            reason = await client.close_reason(wait_s) if asks else None
            await self._upstream.give_back(client=client, downstream=self._downstream, error=reason or error)
            if reason is not None:
                raise reason from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


@dataclass(frozen=True, slots=True)
class _Era:
    """Result of `server/discover`; `discovered` is None if the upstream only supports the handshake."""

    discovered: mcp_types.DiscoverResult | None
    asked_at: float


class Upstream(SharedLifespan):
    """An upstream server: its transport and its open sessions.

    Idle sessions and connections stay open while a gateway has entered it; used ones end with their request then.
    `transport` is shared by all sessions, or a factory called for each session (stdio). `ours`: the server serves
    research documents and receives the scope of each request. `timings`: how long to wait for it. `limits`: how much
    of each of its lists is passed on.
    """

    def __init__(
        self,
        name: str,
        transport: ClientTransport | Callable[[], ClientTransport],
        *,
        ours: bool = False,
        timings: UpstreamTimings = DEFAULT_TIMINGS,
        limits: ListLimits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.ours = ours
        self.timings = timings
        self.limits = limits
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
        self.sessions_opened = 0
        self.on_change: Callable[[], None] = lambda: None

    def lease(self) -> Lease:
        """Return a lease of a client for the call being relayed."""
        return Lease(self, current_downstream.get())

    async def take(self, downstream: DownstreamRequest | None) -> UpstreamClient:
        """Return a connected client that acts on behalf of `downstream`."""
        if downstream is not None and not downstream.modern and not self._modern_only:
            try:
                return await self._bound_client(downstream)
            except MCPError as error:
                if error.code != UNSUPPORTED_PROTOCOL_VERSION:
                    raise
                self._modern_only = True
        discovered = await self._discover()
        if self._sessionless is not None and discovered is not None:
            return self._sessionless.stateless(downstream, discovered)
        while self._idle:
            client = self._idle.pop()
            if client.alive:
                break
            await self._disconnect(client)
        else:
            client = await self._connect(None, "legacy" if discovered is None else "auto")
        if discovered is not None:
            client.act_on_behalf_of(downstream, discovered)
        return client

    async def _discover(self) -> mcp_types.DiscoverResult | None:
        """Return the upstream's `server/discover` result, or None if it does not support 2026-07-28.

        Concurrent calls do not share one request: behind a hanging upstream they would time out one after the other.
        """
        era = self._era
        if era is None or not self._holds(era):
            client = await self._connect(None, "auto")
            self._era = era = _Era(client.session.discover_result, self._clock())
            await self._return_to_pool(client)
        return era.discovered

    def _holds(self, era: _Era) -> bool:
        return era.discovered is not None or self._pool is None or self._clock() - era.asked_at < HANDSHAKE_S

    async def _connect(self, downstream: DownstreamRequest | None, mode: str) -> UpstreamClient:
        client = self._new_client(downstream, mode)
        # The session outlives this request, so its receiving tasks must not inherit the request.
        token = current_downstream.set(None)
        try:
            await client.__aenter__()  # type: ignore[no-untyped-call]
        finally:
            current_downstream.reset(token)
        self.sessions_opened += 1
        return client

    def _new_client(self, downstream: DownstreamRequest | None, mode: str) -> UpstreamClient:
        return UpstreamClient(
            self._new_transport(),
            downstream=downstream,
            mode=mode,
            on_change=self._changed,
            init_timeout_s=self.timings.init_timeout_s,
            upstream=self.name,
            foreign=not self.ours,
            limits=self.limits,
        )

    def _changed(self) -> None:
        self.on_change()

    async def _bound_client(self, downstream: DownstreamRequest) -> UpstreamClient:
        connection = downstream.connection
        async with self._binding.setdefault(connection, anyio.Lock()):
            client = self._bound.get(connection)
            if client is not None and client.alive:
                return client
            if client is not None:
                await self._unbind(connection, client)
            client = await self._connect(downstream, "legacy")
            self._bound[connection] = client
            connection.exit_stack.push_async_callback(self._unbind, connection, client)
            return client

    async def _unbind(self, connection: Any, client: UpstreamClient) -> None:
        if self._bound.get(connection) is client:
            del self._bound[connection]
        await self._disconnect(client)

    async def give_back(
        self, client: UpstreamClient, downstream: DownstreamRequest | None, error: BaseException | None
    ) -> None:
        """Keep the client for later requests, or close it after an error."""
        if error is not None and is_changed(error):
            self._era, self._modern_only = None, False
        if client.sessionless:
            return
        if downstream is not None and self._bound.get(downstream.connection) is client:
            if error is not None and (is_session_gone(error) or not client.alive):
                await self._unbind(downstream.connection, client)
        elif error is None:
            await self._return_to_pool(client)
        else:
            await self._disconnect(client)

    async def _return_to_pool(self, client: UpstreamClient) -> None:
        """Put a stdio session back into the idle pool; close any other."""
        if self.in_use and self._pool is None and client.alive and len(self._idle) < MAX_IDLE_PROCESSES:
            self._idle.append(client)
        else:
            await self._disconnect(client)

    async def _disconnect(self, client: UpstreamClient) -> None:
        with anyio.CancelScope(shield=True):
            try:
                await disconnect(client)
            except Exception as error:  # noqa: BLE001  (the request has reported the cause)
                log.debug("closing a session failed", upstream=self.name, error=repr(error))

    @property
    def over_http(self) -> bool:
        """Whether the upstream is reached over HTTP, not over a process's pipes or in memory."""
        return self._pool is not None

    async def _open(self) -> None:
        if self._pool is not None:
            await self._pool.pool.__aenter__()

    async def _close(self) -> None:
        idle, self._idle = self._idle, []
        for client in idle:
            await self._disconnect(client)
        if self._pool is not None:
            await self._pool.pool.__aexit__(None, None, None)
