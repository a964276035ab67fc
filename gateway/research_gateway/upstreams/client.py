"""MCP client used to call an upstream server on behalf of a downstream client."""

import asyncio
import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Self, cast

import mcp_types
from fastmcp import Client
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import SessionKwargs
from mcp import ClientSession, MCPError
from mcp.client.session import ClientRequestContext, ElicitationFnT, ListRootsFnT, SamplingFnT
from mcp_types.methods import parse_server_notification
from mcp_types.version import LATEST_MODERN_VERSION

from research_gateway._framework import (
    answer_input_required,
    client_info_of,
    configure_session,
    session_task_of,
    set_progress_handler,
    use_session,
)
from research_gateway.upstreams.downstream import DownstreamRequest, current_downstream
from research_gateway.upstreams.offers.attribution import attributed_question
from research_gateway.upstreams.offers.listings import ListDispatcher, ListLimits
from research_gateway.upstreams.stateless import StatelessHttp
from research_gateway.upstreams.transports import BoundedStdioTransport, PooledHttpTransport
from research_shared.middleware.capabilities import SAMPLING_META_KEY

_NO_SAMPLING = frozenset({mcp_types.METHOD_NOT_FOUND, mcp_types.INVALID_REQUEST})
"""Error codes of a client that declared sampling but does not implement it."""
LIST_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.PromptListChangedNotification,
)


class _RelaySession(ClientSession):
    """Client session that declares the downstream client's capabilities and does not validate results."""

    def __init__(
        self,
        *args: Any,
        downstream: DownstreamRequest | None,
        upstream: str,
        limits: ListLimits,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._dispatcher: Any = ListDispatcher(
            self._dispatcher, upstream=upstream, limits=limits, version=lambda: self.protocol_version
        )
        self._own_info = self._client_info
        self.act_on_behalf_of(downstream)

    def act_on_behalf_of(self, downstream: DownstreamRequest | None) -> None:
        """Copy the downstream client's info and capabilities. Without a downstream client, declare none."""
        self._declares = downstream.capabilities if downstream is not None else mcp_types.ClientCapabilities()
        self._client_info = (downstream.client_info if downstream is not None else None) or self._own_info
        self._answers = downstream is not None and not downstream.modern
        # Before 2026-07-28 the level is per session, so all lines are requested; since then it is in each request.
        self._log_level = "debug" if self._answers else None

    async def send_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request. Relay `input_required` questions at once to clients of earlier eras, which know no such result."""
        answer = await super().send_request(request, *args, **kwargs)
        if not self._answers or not isinstance(answer, mcp_types.InputRequiredResult):
            return answer
        asked = answer
        samples = True

        async def ask(key: str, question: mcp_types.InputRequest) -> Any:
            nonlocal samples
            answered = await self.dispatch_input_request(
                ClientRequestContext(session=self, request_id=key), question
            )
            if isinstance(question, mcp_types.CreateMessageRequest):
                samples = samples and getattr(answered, "code", None) not in _NO_SAMPLING
            return answered

        async def again(answers: mcp_types.InputResponses | None, state: str | None, **meta: Any) -> Any:
            nonlocal asked
            update = {"input_responses": answers, "request_state": state}
            if meta:
                update["meta"] = {**(request.params.meta or {}), **meta}
            following = request.model_copy(update={"params": request.params.model_copy(update=update)})
            result = await super(_RelaySession, self).send_request(following, *args, **kwargs)
            asked = result if isinstance(result, mcp_types.InputRequiredResult) else asked
            return result

        try:
            return await answer_input_required(answer, dispatch=ask, retry=again)
        except MCPError:
            if samples:
                raise
            # A server of ours can fall back to its own model; a foreign one repeats the same question.
            result = await again(None, asked.request_state, **{SAMPLING_META_KEY: False})
            if isinstance(result, mcp_types.InputRequiredResult):
                raise
            return result

    def _build_capabilities(self, version: str) -> mcp_types.ClientCapabilities:
        del version
        return self._declares

    async def validate_tool_result(self, name: str, result: mcp_types.CallToolResult) -> None:
        """Skip validation; the downstream client validates."""


class UpstreamClient(Client[ClientTransport]):
    """Represents a downstream client to an upstream: same capabilities, and requests and notifications are relayed back."""

    _auto_internal_extensions = False

    def __init__(
        self,
        transport: ClientTransport,
        *,
        downstream: DownstreamRequest | None,
        mode: Any,
        on_change: Callable[[], None],
        init_timeout_s: float,
        upstream: str,
        foreign: bool,
        limits: ListLimits,
    ) -> None:
        super().__init__(transport, mode=mode, init_timeout=init_timeout_s, message_handler=self._on_message)
        self._upstream = upstream
        self._foreign = foreign
        self._limits = limits
        self._on_change = on_change
        self._latest = downstream
        self._served: list[DownstreamRequest] = []
        self.sessionless = False
        configure_session(
            self,
            options={**self._answering(), "logging_callback": self._log},
            make_session=partial(_RelaySession, downstream=downstream, upstream=upstream, limits=limits),
        )

    @property
    def alive(self) -> bool:
        """Whether the client has an open session."""
        if isinstance(self.transport, BoundedStdioTransport) and self.transport.ended:
            return False
        task = session_task_of(self)
        return self.is_connected() and task is not None and not task.done()

    async def close_reason(self, within_s: float) -> Exception | None:
        """Return the error that closed the session, or None if it is unknown or takes longer than `within_s` seconds."""
        task = session_task_of(self)
        if task is None:
            return None
        await asyncio.wait([task], timeout=within_s)
        if not task.done() or task.cancelled():
            return None
        error = task.exception()
        return error if isinstance(error, Exception) else None

    def act_on_behalf_of(
        self, downstream: DownstreamRequest | None, discovered: mcp_types.DiscoverResult
    ) -> None:
        """Switch to another client of 2026-07-28, whose info and capabilities are sent with each request."""
        session = cast("_RelaySession", self.session)
        session.act_on_behalf_of(downstream)
        session.adopt(discovered)

    def begin(self, downstream: DownstreamRequest | None) -> Self:
        """Return a copy of this client whose progress handler is the downstream request's."""
        view = copy.copy(self)
        if downstream is not None:
            self._latest = downstream
            self._served.append(downstream)
            set_progress_handler(view, downstream.progress)
        return view

    def end(self, downstream: DownstreamRequest | None) -> None:
        """Stop relaying server-to-client requests for this call."""
        if downstream is not None:
            self._served.remove(downstream)

    def stateless(self, downstream: DownstreamRequest | None, discovered: mcp_types.DiscoverResult) -> Self:
        """Return a sessionless client for one request of 2026-07-28 over HTTP. It needs no connecting and no closing."""
        client = copy.copy(self)
        client.sessionless = True
        client._served = []  # noqa: SLF001  (the same class)
        http = StatelessHttp(cast("PooledHttpTransport", self.transport), client._on_notification)  # noqa: SLF001
        session = _RelaySession(
            dispatcher=http,
            downstream=downstream,
            upstream=self._upstream,
            limits=self._limits,
            client_info=client_info_of(self),
            **client._answering(),  # noqa: SLF001
        )
        session.adopt(discovered)
        use_session(client, session)
        return client

    def _answering(self) -> SessionKwargs:
        return {
            "sampling_callback": cast("SamplingFnT", self._sample),
            "elicitation_callback": cast("ElicitationFnT", self._elicit),
            "list_roots_callback": cast("ListRootsFnT", self._list_roots),
        }

    def _downstream(self) -> DownstreamRequest | None:
        """Return the in-flight request a notification belongs to, or the most recent one if it names none."""
        return current_downstream.get() or (self._served[-1] if self._served else None)

    async def _ask(self, request: Any, result_type: Any) -> Any:
        downstream = self._downstream()
        if downstream is None:
            return mcp_types.ErrorData(
                code=mcp_types.INVALID_REQUEST, message="no client request is in flight"
            )
        return await downstream.ask(request, result_type)

    async def _sample(
        self, _context: ClientRequestContext, params: mcp_types.CreateMessageRequestParams
    ) -> Any:
        result = mcp_types.CreateMessageResultWithTools if params.tools else mcp_types.CreateMessageResult
        return await self._ask(mcp_types.CreateMessageRequest(params=self._attributed(params)), result)

    async def _elicit(self, _context: ClientRequestContext, params: mcp_types.ElicitRequestParams) -> Any:
        return await self._ask(
            mcp_types.ElicitRequest(params=self._attributed(params)), mcp_types.ElicitResult
        )

    def _attributed(self, params: Any) -> Any:
        return attributed_question(self._upstream, params) if self._foreign else params

    async def _list_roots(self, _context: ClientRequestContext) -> Any:
        return await self._ask(mcp_types.ListRootsRequest(), mcp_types.ListRootsResult)

    async def _on_message(self, message: Any) -> None:
        if isinstance(message, LIST_CHANGES):
            self._on_change()
            if self._latest is not None:
                await self._latest.notify(message)

    async def _log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        downstream = self._downstream()
        if downstream is not None:
            await downstream.log(params)

    async def _on_notification(self, message: mcp_types.JSONRPCNotification) -> None:
        notification = parse_server_notification(message.method, LATEST_MODERN_VERSION, message.params)
        if isinstance(notification, mcp_types.LoggingMessageNotification):
            await self._log(notification.params)
        else:
            await self._on_message(notification)
