"""The private names of FastMCP and of the MCP SDK that the gateway uses, each with its reason and its public way out.

No other module of the gateway reads or sets a private attribute of another package or imports a private module.
`research_gateway.upstreams` also overrides some, where a subclass is the only way to do so:

- `_RelaySession` overrides `ClientSession._build_capabilities` and sets `_client_info` and `_log_level`, because the
  downstream client's are to be declared. Way out: constructor arguments of the SDK's session for all three.
- `_RelaySession` wraps `ClientSession._dispatcher`, because a session validates a list as a whole. Way out: a hook for raw
  results.
- `UpstreamClient` overrides `Client._auto_internal_extensions`, because of extensions only the client's MCP Apps are relayed. Way out: a
  constructor argument of FastMCP's client.
- `UpstreamProvider` overrides `_list_tools`, `_list_resources`, `_list_resource_templates`, `_list_prompts`, `_get_tool`,
  `_get_resource`, `_get_resource_template` and `_get_prompt`: FastMCP's hooks for providers, documented and named with an
  underscore because only the base class calls them.

Imports are inside the functions, because the SDK's client is loaded only by a gateway that has upstreams.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mcp_types
from fastmcp.server.dependencies import FastMCPRequestContext, bind_request_context

if TYPE_CHECKING:
    import httpx2
    from fastmcp import Client
    from fastmcp.client.progress import ProgressHandler
    from fastmcp.client.transports.base import SessionKwargs
    from mcp import ClientSession


def params_of_request(request: FastMCPRequestContext) -> dict[str, Any]:
    """Return a copy of a request's raw parameters, `_meta` included.

    Private: `FastMCPRequestContext._srctx`, FastMCP's escape hatch to the SDK's request context. Way out: a public
    property for the parameters.
    """
    return dict(request._srctx.params or {})  # noqa: SLF001


def bound_request(
    request: FastMCPRequestContext, params: Mapping[str, Any] | None = None
) -> AbstractContextManager[FastMCPRequestContext]:
    """Make `request` the current request while a block runs, with other `params` if they are given.

    Private: `FastMCPRequestContext._srctx`, which `bind_request_context` takes. Way out: a `bind_request_context` that
    takes FastMCP's own context.
    """
    context = request._srctx  # noqa: SLF001
    return bind_request_context(context if params is None else replace(context, params=params))


def connection_of(request: FastMCPRequestContext) -> Any:
    """Return the connection of a request's client. It has an `exit_stack` for callbacks, and is a key for the session.

    Private: `ServerSession._connection` of the SDK, which FastMCP's own stateful proxy reads. Way out: a public
    session-end callback.
    """
    return request.session._connection  # noqa: SLF001


def session_task_of(client: "Client[Any]") -> "asyncio.Task[Any] | None":
    """Return the task that runs a client's session, or None before the first connection.

    Private: `Client._session_state`. Way out: a public property that says whether and why the session ended.
    """
    return client._session_state.session_task  # noqa: SLF001


def use_session(client: "Client[Any]", session: "ClientSession") -> None:
    """Give a client a session that is open already, in place of the one that it would open.

    Private: `Client._session_state`. Way out: a constructor argument for the session.
    """
    from fastmcp.client.client import ClientSessionState

    client._session_state = ClientSessionState(session=session)  # noqa: SLF001


def configure_session(
    client: "Client[Any]", *, options: "SessionKwargs", make_session: Callable[..., "ClientSession"]
) -> None:
    """Add arguments for the sessions that a client opens, and set what makes them.

    Private: `Client._session_kwargs` and `Client._transport_options`. Way out: handlers of FastMCP's client that get
    the SDK's request unchanged, and a constructor argument for the session class.
    """
    from fastmcp.client.transports.base import TransportOptions

    client._session_kwargs.update(options)  # noqa: SLF001
    session_class: Any = make_session
    client._transport_options = TransportOptions(session_class=session_class)  # noqa: SLF001


def client_info_of(client: "Client[Any]") -> mcp_types.Implementation | None:
    """Return the name and version that a client declares.

    Private: `Client._session_kwargs`. Way out: a public property.
    """
    return client._session_kwargs["client_info"]  # noqa: SLF001


def set_progress_handler(client: "Client[Any]", handler: "ProgressHandler") -> None:
    """Replace the progress handler of a client.

    Private: `Client._progress_handler`, which FastMCP's proxy components read. Way out: proxy components that take a
    progress handler for each call.
    """
    client._progress_handler = handler  # noqa: SLF001


async def disconnect(client: "Client[Any]") -> None:
    """Close a client's session and leave its transport open for others.

    Private: `Client._disconnect`, because `Client.close` closes the transport too. Way out: a `close` that does not.
    """
    await client._disconnect(force=True)  # noqa: SLF001


async def answer_input_required(
    first: mcp_types.InputRequiredResult,
    *,
    dispatch: Callable[
        [str, mcp_types.InputRequest], Awaitable[mcp_types.InputResponse | mcp_types.ErrorData]
    ],
    retry: Callable[[mcp_types.InputResponses | None, str | None], Awaitable[Any]],
) -> Any:
    """Answer the questions of an `InputRequiredResult` with `dispatch` and `retry` until there is another result.

    Private: `mcp.client._input_required.run_input_required_driver`. Way out: the SDK's `Client`, which drives it for
    its own requests only; a public function for those of a session.

    Raises:
        MCPError: a question was answered with an error.
    """
    from mcp.client._input_required import run_input_required_driver

    return await run_input_required_driver(first, dispatch=dispatch, retry=retry)


def stream_within_origin(
    client: "httpx2.AsyncClient", method: str, url: str, **options: Any
) -> "AbstractAsyncContextManager[httpx2.Response]":
    """Stream a response, and follow only redirects to the same origin. `options` are those of `build_request`.

    Private: `mcp.shared._httpx_utils.stream_within_origin`, so that both kinds of upstream requests treat redirects
    alike. Way out: a copy, or a public function of the SDK.
    """
    from mcp.shared import _httpx_utils

    return _httpx_utils.stream_within_origin(client, method, url, **options)
