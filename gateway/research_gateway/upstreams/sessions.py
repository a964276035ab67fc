"""Sessions with an upstream: reused as far as the protocol era allows without mixing clients.

- A client of 2026-07-28 or later has no session. Its requests go over a session that is lent to one request at a time,
  and only to clients that declare the same capabilities and the same name, so that the upstream is told what it would
  be told without the gateway.
- A client of an earlier era has one session, and so it has one upstream, for as long as it stays connected.
- A client of 2026-07-28 before an upstream of an earlier era gets a session for the one request, as there is nothing
  that tells its requests from those of others; a process on this machine is reused, because it is costly to start.
"""

import asyncio
import copy
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, cast
from weakref import WeakKeyDictionary

import anyio
import mcp_types
from fastmcp import Client
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import TransportOptions
from mcp import ClientSession
from mcp.client.session import ClientRequestContext, ElicitationFnT, ListRootsFnT, SamplingFnT

from research_gateway.upstreams.failures import is_changed, is_closed, is_session_gone
from research_gateway.upstreams.front import Front, current_front
from research_gateway.upstreams.transport import PooledHttpTransport
from research_shared.logs import get_logger

log = get_logger("research.upstreams")

MAX_IDLE_SESSIONS = 128
INIT_TIMEOUT_S = 10.0
ENDING_S = 0.5
"""How long a session that is breaking may take to say why."""

Key = tuple[str, str]
LIST_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.PromptListChangedNotification,
)


class _RelaySession(ClientSession):
    """A session that declares what the client behind it has declared, and leaves results to that client to check."""

    def __init__(self, *args: Any, declares: mcp_types.ClientCapabilities, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._declares = declares

    def _build_capabilities(self, version: str) -> mcp_types.ClientCapabilities:
        del version
        return self._declares

    async def validate_tool_result(self, name: str, result: mcp_types.CallToolResult) -> None:
        """Leave the result as it is."""


class UpstreamClient(Client[ClientTransport]):
    """A client towards an upstream that acts for the clients of the gateway."""

    _auto_internal_extensions = False

    def __init__(
        self,
        transport: ClientTransport,
        *,
        declares: mcp_types.ClientCapabilities,
        client_info: mcp_types.Implementation | None,
        mode: Any,
        prior_discover: mcp_types.DiscoverResult | None,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(
            transport,
            client_info=client_info,
            mode=mode,
            prior_discover=prior_discover,
            init_timeout=INIT_TIMEOUT_S,
            message_handler=self._notified,
        )
        self._on_change = on_change
        self.latest: Front | None = None
        self._session_kwargs["sampling_callback"] = cast("SamplingFnT", self._sample)
        self._session_kwargs["elicitation_callback"] = cast("ElicitationFnT", self._elicit)
        self._session_kwargs["list_roots_callback"] = cast("ListRootsFnT", self._list_roots)
        self._session_kwargs["logging_callback"] = self._log
        # The client's own wish for log lines travels in its request's `_meta`.
        self._session_kwargs["log_level"] = None
        self._transport_options = TransportOptions(
            session_class=cast("type[ClientSession]", partial(_RelaySession, declares=declares))
        )

    def _front(self) -> Front | None:
        return current_front.get() or self.latest

    async def _ask(self, request: Any, result_type: Any) -> Any:
        front = self._front()
        if front is None:
            return mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message="no client can be asked now")
        return await front.ask(request, result_type)

    async def _sample(
        self, _context: ClientRequestContext, params: mcp_types.CreateMessageRequestParams
    ) -> Any:
        result = mcp_types.CreateMessageResultWithTools if params.tools else mcp_types.CreateMessageResult
        return await self._ask(mcp_types.CreateMessageRequest(params=params), result)

    async def _elicit(self, _context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> Any:
        return await self._ask(mcp_types.ElicitRequest(params=params), mcp_types.ElicitResult)

    async def _list_roots(self, _context: ClientRequestContext) -> Any:
        return await self._ask(mcp_types.ListRootsRequest(), mcp_types.ListRootsResult)

    async def _notified(self, message: Any) -> None:
        if isinstance(message, LIST_CHANGES):
            self._on_change()
            if self.latest is not None:
                await self.latest.notify(message)

    async def _log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        front = self._front()
        if front is not None:
            await front.log(params)


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
        self._client.latest = self._front
        # A copy shares the session but not the handler, so that progress goes to whom it belongs.
        self._view = copy.copy(self._client)
        if self._front is not None:
            self._view._progress_handler = self._front.progress  # noqa: SLF001  (read by FastMCP's components)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the client back."""
        if self._client is not None:
            client, self._client = self._client, None
            ended = await _ended_by(client) if is_closed(error) else None
            await self._upstream.give_back(client, self._front, ended or error)
            if ended is not None:
                raise ended from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


class Upstream:
    """A server behind the gateway: how it is reached and the sessions that are open with it.

    `transport` is shared by all sessions, or makes one for each: a process that talks over pipes has one session.
    `ours` says that it serves research documents and so is told the scope of each request.
    """

    def __init__(
        self, name: str, transport: ClientTransport | Callable[[], ClientTransport], *, ours: bool = False
    ) -> None:
        self.name = name
        self.ours = ours
        self._pool = transport if isinstance(transport, PooledHttpTransport) else None
        self._new_transport: Callable[[], ClientTransport] = (
            (lambda: transport) if isinstance(transport, ClientTransport) else transport
        )
        self._idle: defaultdict[Key, list[UpstreamClient]] = defaultdict(list)
        self._keys: dict[int, Key] = {}
        self._bound: dict[Any, UpstreamClient] = {}
        self._binding: WeakKeyDictionary[Any, anyio.Lock] = WeakKeyDictionary()
        self._discovered: mcp_types.DiscoverResult | None = None
        self._handshake_only = False
        self._keep = True
        self.sessions_opened = 0
        self.on_change: Callable[[], None] = lambda: None

    def lease(self) -> Lease:
        """A client for the call that is being relayed."""
        return Lease(self, current_front.get())

    async def take(self, front: Front | None) -> UpstreamClient:
        """A connected client that acts for this request's client."""
        if front is not None and not front.modern:
            return await self._bound_client(front)
        key = _key_of(front, silent=self._handshake_only)
        while self._idle[key]:
            client = self._idle[key].pop()
            if _alive(client):
                return client
            await self._close(client)
        return await self._open(front, key)

    async def _open(self, front: Front | None, key: Key) -> UpstreamClient:
        mode: Any = "auto"
        if self._handshake_only:
            mode = "legacy"
        elif self._discovered is not None:
            mode = self._discovered.supported_versions[-1] if front is None else front.protocol_version
        client = self._new_client(front, mode, silent=self._handshake_only)
        await client.__aenter__()  # type: ignore[no-untyped-call]
        self.sessions_opened += 1
        if mode == "auto":
            self._discovered = client.session.discover_result
            if self._discovered is None:
                # Seen only now that the upstream pushes its questions, which this client could not be asked.
                self._handshake_only = True
                await self._close(client)
                return await self._open(front, _key_of(front, silent=True))
        self._keys[id(client)] = key
        return client

    def _new_client(self, front: Front | None, mode: Any, *, silent: bool) -> UpstreamClient:
        return UpstreamClient(
            self._new_transport(),
            declares=mcp_types.ClientCapabilities() if front is None or silent else front.capabilities,
            client_info=front.client_info if front is not None else None,
            mode=mode,
            prior_discover=self._discovered,
            on_change=self.on_change,
        )

    async def _bound_client(self, front: Front) -> UpstreamClient:
        connection = front.connection
        async with self._binding.setdefault(connection, anyio.Lock()):
            client = self._bound.get(connection)
            if client is not None and _alive(client):
                return client
            if client is not None:
                await self._unbind(connection, client)
            client = self._new_client(front, "legacy", silent=False)
            await client.__aenter__()  # type: ignore[no-untyped-call]
            self.sessions_opened += 1
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
        if front is not None and not front.modern:
            if error is not None and (is_session_gone(error) or not _alive(client)):
                await self._unbind(front.connection, client)
            return
        key = self._keys.get(id(client))
        one_time = self._handshake_only and self._pool is not None
        room = sum(map(len, self._idle.values())) < MAX_IDLE_SESSIONS
        if self._keep and error is None and key is not None and room and not one_time and _alive(client):
            self._idle[key].append(client)
            return
        if error is not None and is_changed(error):
            self._discovered, self._handshake_only = None, False
        await self._close(client)

    async def _close(self, client: UpstreamClient) -> None:
        self._keys.pop(id(client), None)
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
            idle = [client for clients in self._idle.values() for client in clients]
            self._idle.clear()
            for client in idle:
                await self._close(client)
        if self._pool is not None:
            await self._pool.keep(keep)


async def _ended_by(client: UpstreamClient) -> Exception | None:
    """What ended the session of a client, where its requests only saw that it had ended."""
    task = client._session_state.session_task  # noqa: SLF001  (the client has no public way to ask)
    if task is None:
        return None
    await asyncio.wait([task], timeout=ENDING_S)
    if not task.done() or task.cancelled():
        return None
    error = task.exception()
    return error if isinstance(error, Exception) else None


def _alive(client: UpstreamClient) -> bool:
    task = client._session_state.session_task  # noqa: SLF001  (the client has no public way to ask)
    return client.is_connected() and task is not None and not task.done()


def _key_of(front: Front | None, *, silent: bool) -> Key:
    if front is None or silent:
        return "", ""
    info = front.client_info
    return (
        front.capabilities.model_dump_json(exclude_none=True),
        info.model_dump_json(exclude_none=True) if info is not None else "",
    )
