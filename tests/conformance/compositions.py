"""The reference server as a client can meet it: directly, mounted in the gateway, and behind it over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.event_store import EventStore
from fastmcp.server.middleware import Middleware

from conformance.reference import build_reference
from research_gateway.app import policy
from research_gateway.upstreams import UpstreamProvider, remote
from research_shared.middleware.boundary import ErrorBoundary
from research_shared.serving.drain import Drain
from research_shared.settings import Settings
from support.serving import Served, serving

WAYS = ("direct", "mounted", "behind")


def gateway_middleware() -> list[Middleware]:
    return [ErrorBoundary(), *policy(Settings()), Drain()]


def mounted() -> FastMCP[Any]:
    """The reference server mounted in a server with the gateway's policy."""
    gateway: FastMCP[Any] = FastMCP("gateway", middleware=gateway_middleware(), dereference_schemas=False)
    child = build_reference()
    gateway.mount(child)
    assert child._completion_handler is not None
    gateway.add_completion_handler(child._completion_handler)
    return gateway


def before(url: str) -> FastMCP[Any]:
    """A server with the gateway's policy in front of one that is reached over HTTP."""
    gateway: FastMCP[Any] = FastMCP("gateway", middleware=gateway_middleware(), dereference_schemas=False)
    provider = UpstreamProvider(remote("reference", url))
    gateway.add_provider(provider)
    gateway.add_completion_handler(provider.complete)
    return gateway


@asynccontextmanager
async def served(way: str) -> AsyncIterator[Served]:
    """The reference server over HTTP, met in one of the ways."""
    options: dict[str, Any] = {
        "event_store": EventStore(),
        "retry_interval": 100,
        "host_origin_protection": True,
    }
    if way == "direct":
        async with serving(build_reference(), **options) as reference:
            yield reference
    elif way == "mounted":
        async with serving(mounted(), **options) as gateway:
            yield gateway
    else:
        async with (
            serving(build_reference()) as reference,
            serving(before(reference.url), **options) as gateway,
        ):
            yield gateway
