"""A client towards an upstream that acts for the clients of the gateway."""

import asyncio
import copy
from collections.abc import Callable
from functools import partial
from typing import Any, Self, cast

import mcp_types
from fastmcp import Client
from fastmcp.client.client import ClientSessionState
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession, MCPError
from mcp.client._input_required import run_input_required_driver
from mcp.client.session import ClientRequestContext, ElicitationFnT, ListRootsFnT, SamplingFnT
from mcp_types.methods import parse_server_notification
from mcp_types.version import LATEST_MODERN_VERSION

from research_gateway.upstreams.front import Front, current_front
from research_gateway.upstreams.stateless import StatelessHttp
from research_gateway.upstreams.transport import PooledHttpTransport
from research_shared.middleware.capabilities import SAMPLING_META_KEY

INIT_TIMEOUT_S = 10.0
_NO_SAMPLING = frozenset({mcp_types.METHOD_NOT_FOUND, mcp_types.INVALID_REQUEST})
"""What a client answers that has declared sampling and does not do it."""
LIST_CHANGES = (
    mcp_types.ToolListChangedNotification,
    mcp_types.ResourceListChangedNotification,
    mcp_types.PromptListChangedNotification,
)


class _RelaySession(ClientSession):
    """A session that declares what the client behind it has declared, and leaves results to that client to check."""

    def __init__(self, *args: Any, front: Front | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._own_info = self._client_info
        self.act_for(front)

    def act_for(self, front: Front | None) -> None:
        """Take over what the client of a request says of itself; nobody in particular declares nothing."""
        self._declares = front.capabilities if front is not None else mcp_types.ClientCapabilities()
        self._client_info = (front.client_info if front is not None else None) or self._own_info
        self._answers = front is not None and not front.modern
        # Before 2026-07-28 a client gets all lines above its level; since then its wish travels in its request.
        self._log_level = "debug" if self._answers else None

    async def send_request(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request; questions that end it are put at once to a client who cannot be sent them as its answer."""
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
            return await run_input_required_driver(answer, dispatch=ask, retry=again)
        except MCPError:
            if samples:
                raise
            # A server of ours may have a model of its own; another one asks the same again.
            result = await again(None, asked.request_state, **{SAMPLING_META_KEY: False})
            if isinstance(result, mcp_types.InputRequiredResult):
                raise
            return result

    def _build_capabilities(self, version: str) -> mcp_types.ClientCapabilities:
        del version
        return self._declares

    async def validate_tool_result(self, name: str, result: mcp_types.CallToolResult) -> None:
        """Leave the result as it is."""


class UpstreamClient(Client[ClientTransport]):
    """What a client of the gateway is towards the upstream: it declares the same, and is asked and told the same."""

    _auto_internal_extensions = False

    def __init__(
        self, transport: ClientTransport, *, front: Front | None, mode: Any, on_change: Callable[[], None]
    ) -> None:
        super().__init__(transport, mode=mode, init_timeout=INIT_TIMEOUT_S, message_handler=self._notified)
        self._on_change = on_change
        self._latest = front
        self._served: list[Front] = []
        self.sessionless = False
        self._session_kwargs.update(self._answering())
        self._session_kwargs["logging_callback"] = self._log
        self._transport_options = TransportOptions(
            session_class=cast("type[ClientSession]", partial(_RelaySession, front=front))
        )

    @property
    def alive(self) -> bool:
        """Whether the client has a session that has not ended."""
        task = self._session_state.session_task
        return self.is_connected() and task is not None and not task.done()

    async def ended_by(self, within_s: float) -> Exception | None:
        """What ended the session, where its requests only saw that it had ended."""
        task = self._session_state.session_task
        if task is None:
            return None
        await asyncio.wait([task], timeout=within_s)
        if not task.done() or task.cancelled():
            return None
        error = task.exception()
        return error if isinstance(error, Exception) else None

    def act_for(self, front: Front | None, discovered: mcp_types.DiscoverResult) -> None:
        """Speak for another client of 2026-07-28 from now on: what it says of itself goes with each request."""
        session = cast("_RelaySession", self.session)
        session.act_for(front)
        session.adopt(discovered)

    def begin(self, front: Front | None) -> Self:
        """The same client with a request's own handler, so that progress goes to whom it belongs."""
        view = copy.copy(self)
        if front is not None:
            self._latest = front
            self._served.append(front)
            view._progress_handler = front.progress  # noqa: SLF001  (read by FastMCP's components)
        return view

    def end(self, front: Front | None) -> None:
        """Ask nothing more on behalf of this request."""
        if front is not None:
            self._served.remove(front)

    def stateless(self, front: Front | None, discovered: mcp_types.DiscoverResult) -> Self:
        """A client for one request of 2026-07-28 over HTTP, which needs no connecting and no closing."""
        client = copy.copy(self)
        client.sessionless = True
        client._served = []  # noqa: SLF001  (its own kind)
        http = StatelessHttp(cast("PooledHttpTransport", self.transport), client._told)  # noqa: SLF001
        session = _RelaySession(
            dispatcher=http,
            front=front,
            client_info=self._session_kwargs["client_info"],
            **client._answering(),  # noqa: SLF001
        )
        session.adopt(discovered)
        client._session_state = ClientSessionState(session=session)  # noqa: SLF001
        return client

    def _answering(self) -> SessionKwargs:
        return {
            "sampling_callback": cast("SamplingFnT", self._sample),
            "elicitation_callback": cast("ElicitationFnT", self._elicit),
            "list_roots_callback": cast("ListRootsFnT", self._list_roots),
        }

    def _front(self) -> Front | None:
        """The request that something belongs to; what belongs to none goes with the one that came last."""
        return current_front.get() or (self._served[-1] if self._served else None)

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
            if self._latest is not None:
                await self._latest.notify(message)

    async def _log(self, params: mcp_types.LoggingMessageNotificationParams) -> None:
        front = self._front()
        if front is not None:
            await front.log(params)

    async def _told(self, message: mcp_types.JSONRPCNotification) -> None:
        notification = parse_server_notification(message.method, LATEST_MODERN_VERSION, message.params)
        if isinstance(notification, mcp_types.LoggingMessageNotification):
            await self._log(notification.params)
        else:
            await self._notified(notification)
