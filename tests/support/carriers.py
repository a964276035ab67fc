"""The ways to a model, each behind the same door: a client whose calls a scripted model answers."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2
import uvicorn
from fastmcp import Client, FastMCP
from fastmcp.client.logging import LogMessage
from fastmcp.client.transports import StreamableHttpTransport

from research_reasoning import build_reasoning_server
from research_shared.retry import RetryPolicy
from research_shared.settings import Settings
from support.providers import FakeProvider, listening
from support.results import error_of
from support.scripted import ScriptedModel

STATE_KEY = "k" * 40

MODERN = ("modern-memory", "modern-replicas")
HANDSHAKE = ("handshake-memory", "handshake-http")
PROVIDERS = ("provider-anthropic", "provider-openai")
CARRIERS = (*MODERN, *HANDSHAKE, *PROVIDERS)
ROUTES = {**dict.fromkeys((*MODERN, *HANDSHAKE), "client"), **dict.fromkeys(PROVIDERS, "provider")}


@dataclass
class Session:
    """A connected client, and everything it was told."""

    client: Client[Any]
    model: ScriptedModel
    carrier: str
    provider: FakeProvider | None
    logs: list[tuple[str, str]]
    progress: list[tuple[float, float | None]]
    replicas: list[int]
    """The ports that requests went to, in order, when they go to replicas."""

    @property
    def steps(self) -> list[tuple[float, float | None]]:
        """What progress said, without what lies between two steps: on a slow machine heartbeats come there."""
        return [(value, total) for value, total in self.progress if value == int(value)]

    async def call(self, tool: str, **arguments: Any) -> Any:
        """The structured result of a call that succeeds."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        assert not result.is_error, result.content
        assert result.structured_content is not None
        return result.structured_content

    async def fail(self, tool: str, **arguments: Any) -> Any:
        """The structured error of a call that fails."""
        result = await self.client.call_tool(tool, arguments, raise_on_error=False)
        return error_of(result)

    def levels(self, level: str) -> list[str]:
        return [message for at, message in self.logs if at == level]


class AnyReplica(httpx2.AsyncBaseTransport):
    """Sends each request to one of the replicas, chosen at random."""

    def __init__(self, ports: list[int], seed: int) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self._ports = ports
        self._random = random.Random(seed)
        self.chosen: list[int] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.chosen.append(self._random.choice(self._ports))
        request.url = request.url.copy_with(port=self.chosen[-1])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def served(server: FastMCP[Any]) -> AsyncIterator[str]:
    """Serve over a real socket until the block ends; gives the URL."""
    sock = socket.socket()
    try:
        sock.bind(("127.0.0.1", 0))
        app = server.http_app(path="/mcp")
        config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1, ws="none")
        runner = uvicorn.Server(config)
        task = asyncio.create_task(runner.serve(sockets=[sock]))
        with anyio.fail_after(60):
            while not runner.started:
                assert not task.done(), task.result()
                await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        finally:
            runner.should_exit = True
            with anyio.fail_after(60):
                await task
    finally:
        sock.close()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, as long as a busy machine may take for it."""
    with anyio.fail_after(60):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await anyio.sleep(0.01)


def no_wait(**changes: Any) -> RetryPolicy:
    """Three attempts without waiting in between."""
    return RetryPolicy(**({"base_s": 0.0} | changes))


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings.load({}, **({"roots": str(folder), "state_keys": STATE_KEY} | changes))


@asynccontextmanager
async def connected(
    carrier: str,
    folder: Path,
    model: ScriptedModel | None = None,
    *,
    retry: RetryPolicy | None = None,
    seed: int = 0,
    new_provider: Callable[[Any], FakeProvider] = FakeProvider,
    **changes: Any,
) -> AsyncIterator[Session]:
    """A session over one of the carriers. `new_provider` makes the server that answers for the model."""
    model = model or ScriptedModel()
    era, _, how = carrier.partition("-")
    async with AsyncExitStack() as stack:
        provider = None
        chosen: list[int] = []
        if era == "provider":
            provider = await stack.enter_async_context(listening(new_provider(model)))
            changes = {
                "model_route": "provider",
                "provider": how,
                "provider_model": "asked-for",
                "provider_key": "secret-key-of-the-test",
                "provider_url": provider.base_url(how),
                "model_timeout_s": 60.0,
            } | changes
        if era == "extractive":
            changes = {"model_route": "extractive"} | changes

        def build() -> Any:
            return build_reasoning_server(settings(folder, **changes), retry=retry or no_wait())

        target: Any = build()
        if how == "http":
            target = StreamableHttpTransport(await stack.enter_async_context(served(build())))
        if how == "replicas":
            urls = [await stack.enter_async_context(served(build())) for _ in range(2)]
            ports = [httpx2.URL(url).port or 0 for url in urls]
            replicas = AnyReplica(ports, seed)
            chosen = replicas.chosen

            def factory(
                headers: dict[str, str] | None = None,
                timeout: httpx2.Timeout | None = None,
                auth: httpx2.Auth | None = None,
                **options: Any,
            ) -> httpx2.AsyncClient:
                return httpx2.AsyncClient(
                    transport=replicas, headers=headers, timeout=timeout, auth=auth, **options
                )

            target = StreamableHttpTransport(urls[0], httpx_client_factory=factory)
        logs: list[tuple[str, str]] = []
        reached: list[tuple[float, float | None]] = []

        async def log(message: LogMessage) -> None:
            logs.append((message.level, message.data))

        async def progress(value: float, total: float | None, _message: str | None) -> None:
            reached.append((value, total))

        client: Client[Any] = Client(
            target,
            mode="legacy" if era == "handshake" or how == "legacy" else "auto",
            sampling_handler=model.sample if era in {"modern", "handshake"} else None,
            log_handler=log,
            progress_handler=progress,
        )
        await stack.enter_async_context(client)
        yield Session(client, model, carrier, provider, logs, reached, chosen)
