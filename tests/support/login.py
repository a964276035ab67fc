"""A gateway with a login, served as `serve` does, perhaps behind a proxy, and what one sees of it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import uvicorn
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StreamableHttpTransport
from starlette.types import ASGIApp, Receive, Scope, Send

from research_gateway.app import build_gateway
from research_shared.root import Root
from research_shared.serving.auth import auth_provider
from research_shared.serving.drain import Drain
from research_shared.serving.transports.draining import DrainingServer
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.browser import Person
from support.serving import until

ADA = {"sub": "ada", "email": "ada@firm.example", "groups": ["tax"]}
FIXED = {"client_id": "gateway", "client_secret": "a-secret-of-the-client"}
POLICY = """
[[rules]]
name = "tax"
groups = ["tax"]
allow = ["tax/**"]
tools = ["*"]
"""


@asynccontextmanager
async def listening(app: ASGIApp, port: int) -> AsyncIterator[None]:
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)

    async def serve() -> None:
        with anyio.CancelScope(shield=True):  # it would not close its socket
            await server.serve()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        await until(lambda: server.started)
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True


def behind(app: ASGIApp, prefix: str) -> ASGIApp:
    """A proxy that takes `prefix` off, and passes on what is in `/.well-known/` as it is."""

    async def proxy(scope: Scope, receive: Receive, send: Send) -> None:
        if prefix:
            assert scope["path"].startswith((f"{prefix}/", "/.well-known/")), scope["path"]
            path = scope["path"].removeprefix(prefix)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await app(scope, receive, send)

    return proxy


@dataclass
class LoginGateway:
    """A gateway over a folder whose people log in. It listens on `port`, and shows `tax` to the group of that name."""

    folder: Path
    port: int
    url: str = ""
    issued: str = ""

    def settings(self, **changes: Any) -> Settings:
        (self.folder / "policy.toml").write_text(POLICY, encoding="utf-8")
        for name in ("tax", "law"):
            (self.folder / "research" / name).mkdir(parents=True, exist_ok=True)
            (self.folder / "research" / name / "plan.md").write_text("# Plan\n", encoding="utf-8")
        return Settings(
            roots=(Root("research", self.folder / "research"),),
            model_route="extractive",
            watch=False,
            audit_log=self.folder / "audit.jsonl",
            policy=self.folder / "policy.toml",
            login_dir=self.folder / "login" if changes.get("login_client_id") else None,
            extract_workers=1,
            **changes,
        )

    async def built(self, server: FastMCP[Any], settings: Settings) -> DrainingServer:
        """Return the HTTP server of `server` with the authentication that the settings ask for."""
        # in a thread, because the identity provider may be served by this loop
        server.auth = await anyio.to_thread.run_sync(auth_provider, settings)
        return http_server(server, settings, Drain(), host="127.0.0.1", port=self.port)

    @asynccontextmanager
    async def served(
        self, *, prefix: str = "", port: int | None = None, **changes: Any
    ) -> AsyncIterator[None]:
        """Serve the gateway with these settings, behind a proxy that takes `prefix` off."""
        port = port or self.port
        settings = self.settings(**{"public_url": f"http://127.0.0.1:{port}{prefix}", **changes})
        listener = await self.built(build_gateway(settings), settings)
        app: Any = listener.config.app
        self.url = f"http://127.0.0.1:{port}{prefix}/mcp"
        async with listener.lifespan(), listening(behind(app, prefix), port):
            yield

    @asynccontextmanager
    async def asked(
        self, *, prefix: str = "", server: FastMCP[Any] | None = None, **changes: Any
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client of a server with these settings that answers nothing but what needs no token. No socket is used."""
        settings = self.settings(**{"public_url": f"http://127.0.0.1:{self.port}{prefix}", **changes})
        listener = await self.built(server or FastMCP("s"), settings)
        app: Any = listener.config.app
        self.url = f"http://127.0.0.1:{self.port}{prefix}/mcp"
        transport = httpx.ASGITransport(behind(app, prefix))
        async with httpx.AsyncClient(transport=transport, base_url=str(settings.public_url)) as client:
            yield client

    @property
    def principals(self) -> list[Any]:
        lines = (self.folder / "audit.jsonl").read_text(encoding="ascii").splitlines()
        return [record["principal"] for line in lines if "principal" in (record := json.loads(line))]

    async def documents(self, person: Person) -> list[str]:
        """Log in, list the tools, and return the paths that a call lists."""
        async with Client(StreamableHttpTransport(self.url, auth=person)) as client:
            assert "list_research_documents" in [tool.name for tool in await client.list_tools()]
            listed = await client.call_tool("list_research_documents", {})
        assert person.context.current_tokens is not None
        self.issued = person.context.current_tokens.access_token
        return [document["path"] for document in listed.structured_content["documents"]]

    async def refused(self, client: httpx.AsyncClient, *tokens: str) -> dict[str, Any]:
        """Send a request with these tokens, and return the metadata that the answer points to."""
        headers = [("authorization", f"Bearer {token}") for token in tokens]
        answer = await client.post(self.url, json={}, headers=headers)
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        address = challenge.partition('resource_metadata="')[2].partition('"')[0]
        return dict((await client.get(address)).raise_for_status().json())
