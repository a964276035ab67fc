"""Pages of other origins and odd URLs, before the HTTP application that `serve` runs."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastmcp import FastMCP
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from research_shared.access.roots import Root
from research_shared.serving.auth import auth_provider
from research_shared.serving.drain import Drain
from research_shared.serving.transports.draining import FOLLOW_UP_S
from research_shared.serving.transports.http import STOP_TIMEOUT_S, add_health, http_server
from research_shared.settings import Settings
from research_shared.settings.names import variable_of
from research_shared.settings.sections.authentication import AuthenticationSettings
from research_shared.settings.sections.section import Section

PAGE = "https://app.example"
STRANGER = "https://evil.example"
NEIGHBOUR = "http://localhost:5173"
TOKEN = "a-token-of-some-length"
ALLOW = "access-control-allow-origin"
ME = {"name": "page", "version": "1"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": ME},
}
DISCOVER = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "server/discover",
    "params": {
        "_meta": {
            PROTOCOL_VERSION_META_KEY: "2026-07-28",
            CLIENT_INFO_META_KEY: ME,
            CLIENT_CAPABILITIES_META_KEY: {},
        }
    },
}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
MODERN = {**HEADERS, "mcp-protocol-version": "2026-07-28", "mcp-method": "server/discover"}
SENT = {
    "handshake": "authorization, content-type, last-event-id, mcp-protocol-version, mcp-session-id",
    "2026-07-28": "authorization, content-type, mcp-method, mcp-name, mcp-param-region, mcp-protocol-version, traceparent",
}
"""The headers that a client in a browser asks leave for."""


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """Keep an application between its startup and its shutdown, as uvicorn does."""
    begun, ending, ended = anyio.Event(), anyio.Event(), anyio.Event()

    async def receive() -> dict[str, str]:
        if not begun.is_set():
            return {"type": "lifespan.startup"}
        await ending.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message: Any) -> None:
        assert not message["type"].endswith("failed"), message
        (begun if message["type"] == "lifespan.startup.complete" else ended).set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
        await begun.wait()
        yield
        ending.set()
        await ended.wait()


@asynccontextmanager
async def browser(*origins: str, host: str = "127.0.0.1", **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """What sends requests to the application of a server with these allowed origins."""
    settings = Settings(roots=(Root("r", Path("/")),), allowed_origins=origins, **changes)
    server: FastMCP[Any] = FastMCP("s", auth=auth_provider(settings))
    add_health(server)
    app: Any = http_server(server, settings, Drain(), host=host, port=0).config.app
    transport = httpx.ASGITransport(app)
    async with (
        running(app),
        httpx.AsyncClient(transport=transport, base_url=f"http://{host}:8000") as client,
    ):
        yield client


async def preflight(client: httpx.AsyncClient, origin: str, method: str, headers: str) -> httpx.Response:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers,
    }
    return await client.options("/mcp", headers=asked)


@pytest.mark.parametrize("era", SENT)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("tokens", ["", TOKEN])
async def test_a_page_of_an_allowed_origin_may_send_what_clients_send(
    era: str, method: str, tokens: str
) -> None:
    async with browser(PAGE, auth_tokens=tokens) as client:
        answer = await preflight(client, PAGE, method, SENT[era])
    assert answer.status_code == 200
    assert answer.headers[ALLOW] == PAGE
    assert method in answer.headers["access-control-allow-methods"].split(", ")
    assert answer.headers["access-control-allow-headers"] == SENT[era]
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
@pytest.mark.parametrize(("headers", "request_"), [(HEADERS, INITIALIZE), (MODERN, DISCOVER)])
async def test_a_page_of_an_allowed_origin_gets_answers_in_both_eras(
    path: str, headers: dict[str, str], request_: dict[str, Any]
) -> None:
    async with browser(PAGE) as client:
        answer = await client.post(path, headers={**headers, "origin": PAGE}, json=request_)
    assert answer.status_code == 200
    assert answer.headers[ALLOW] == PAGE
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    if request_ is INITIALIZE:
        assert answer.headers["mcp-session-id"]
        assert "mcp-session-id" in exposed
    assert '"capabilities"' in answer.text


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", f"{PAGE}.evil.example", "http://app.example", f"{PAGE}:8443"]
)
async def test_a_page_of_another_origin_gets_neither_an_answer_nor_a_header(origin: str) -> None:
    async with browser(PAGE) as client:
        answers = [
            await preflight(client, origin, "POST", SENT["handshake"]),
            await client.post("/mcp", headers={**HEADERS, "origin": origin}, json=INITIALIZE),
            await client.get("/healthz", headers={"origin": origin}),
        ]
    for answer in answers:
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "mcp-session-id" not in answer.headers


async def test_other_pages_of_this_machine_are_served_but_may_not_read_the_answer() -> None:
    for origins in ((), (PAGE,)):
        async with browser(*origins) as client:
            answer = await client.post("/mcp", headers={**HEADERS, "origin": NEIGHBOUR}, json=INITIALIZE)
            assert answer.status_code == 200
            assert ALLOW not in answer.headers
            asked = await preflight(client, NEIGHBOUR, "POST", SENT["handshake"])
            assert asked.status_code >= 400
            assert ALLOW not in asked.headers


async def test_the_health_check_can_be_read_by_allowed_pages() -> None:
    async with browser(PAGE, auth_tokens=TOKEN) as client:
        answer = await client.get("/healthz", headers={"origin": PAGE})
    assert answer.json()["status"] == "ok"
    assert answer.headers[ALLOW] == PAGE


async def test_a_page_can_read_that_it_has_to_authenticate() -> None:
    async with browser(PAGE, auth_tokens=TOKEN) as client:
        refused = await client.post("/mcp", headers={**HEADERS, "origin": PAGE}, json=INITIALIZE)
        assert refused.status_code == 401
        assert refused.headers[ALLOW] == PAGE
        assert "www-authenticate" in refused.headers["access-control-expose-headers"].lower()
        allowed = {**HEADERS, "origin": PAGE, "authorization": f"Bearer {TOKEN}"}
        assert (await client.post("/mcp", headers=allowed, json=INITIALIZE)).status_code == 200


async def test_a_page_may_reach_a_server_on_the_machine_it_is_shown_on() -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-private-network": "true",
    }
    async with browser(PAGE) as client:
        answer = await client.options("/mcp", headers=asked)
    assert answer.headers["access-control-allow-private-network"] == "true"


async def test_a_slash_at_the_end_is_served_without_a_redirect() -> None:
    async with browser() as client:
        for path in ("/mcp", "/mcp/"):
            answer = await client.post(path, headers=HEADERS, json=INITIALIZE)
            assert answer.status_code == 200
            (data,) = [line for line in answer.text.splitlines() if line.startswith("data: {")]
            assert json.loads(data.removeprefix("data: "))["result"]["serverInfo"]["name"] == "s"
            session = {**HEADERS, "mcp-session-id": answer.headers["mcp-session-id"]}
            assert (await client.delete(path, headers=session)).status_code == 200
        assert (await client.post("/mcp/x", headers=HEADERS, json=INITIALIZE)).status_code == 404


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("https://app.example", "https://app.example", True),
        ("https://App.Example/", "https://app.example", True),
        ("https://app.example:443", "https://app.example", True),
        ("http://app.example:80", "http://app.example", True),
        ("http://app.example:443", "http://app.example", False),
        ("http://app.example:443", "http://app.example:443", True),
        ("https://*.example", "https://a.b.example", True),
        ("https://*.example", "https://example", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("*", "https://anything.example", True),
        ("https://app.example", "https://app-example", False),
    ],
)
async def test_an_origin_may_be_written_in_several_ways(setting: str, origin: str, allowed: bool) -> None:
    async with browser("https://first.example", setting, host="192.0.2.1") as client:
        answer = await client.post("/mcp", headers={**HEADERS, "origin": origin}, json=INITIALIZE)
    assert answer.headers.get(ALLOW) == (origin if allowed else None)
    assert answer.status_code == (200 if allowed else 403)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
async def test_without_authentication_a_page_that_rebinds_its_name_reaches_no_server(host: str) -> None:
    own = {"host": "localhost:8000"} if host == "0.0.0.0" else {}
    async with browser(host=host) as client:
        for name in ("rebound.example:8000", "rebound.example", "", "localhost.rebound.example:8000"):
            for headers in ({"host": name}, {"host": name, "origin": f"http://{name}"}):
                refused = await client.post("/mcp", headers={**HEADERS, **headers}, json=INITIALIZE)
                assert refused.status_code == 421
        for path in ("/healthz", "/mcp"):
            assert (await client.get(path, headers={"host": "rebound.example"})).status_code == 421
        stranger = await client.post("/mcp", headers={**HEADERS, **own, "origin": STRANGER}, json=INITIALIZE)
        assert stranger.status_code == 403
        assert (await client.post("/mcp", headers={**HEADERS, **own}, json=INITIALIZE)).status_code == 200
    async with browser(host=host, allowed_hosts="research.example") as client:
        named = {**HEADERS, "host": "research.example:8000"}
        assert (await client.post("/mcp", headers=named, json=INITIALIZE)).status_code == 200


async def test_with_authentication_any_name_of_the_server_is_served() -> None:
    async with browser(host="192.0.2.1", auth_tokens=TOKEN) as client:
        named = {**HEADERS, "host": "research.example", "authorization": f"Bearer {TOKEN}"}
        assert (await client.post("/mcp", headers=named, json=INITIALIZE)).status_code == 200


def test_the_compose_file_names_its_hosts_and_waits_for_the_drain() -> None:
    lines = (Path(__file__).parents[2] / "compose.yaml").read_text(encoding="utf-8").splitlines()
    assert sum("RESEARCH_ALLOWED_HOSTS: $" in line for line in lines) == 2
    graces = [line.split(":")[1].strip() for line in lines if "stop_grace_period:" in line]
    drain_s = float(Settings.model_fields["drain_s"].default)
    assert min(float(grace.removesuffix("s")) for grace in graces) > drain_s + FOLLOW_UP_S + STOP_TIMEOUT_S


def test_the_compose_file_passes_on_how_people_log_in() -> None:
    project = Path(__file__).parents[2]
    lines = (project / "compose.yaml").read_text(encoding="utf-8").splitlines()
    stated = lines[lines.index("  gateway:") : lines.index("  documents:")]
    assert any("env_file:" in line and "deploy/compose/settings.env" in line for line in lines)
    # a name alone is passed on from the shell
    names = (project / "deploy" / "compose" / "settings.env").read_text(encoding="utf-8").splitlines()
    passed = {name for name in names if re.fullmatch(r"RESEARCH_\w+", name)}
    of_files = {"RESEARCH_AUTH_PUBLIC_KEY", "RESEARCH_LOGIN_CLIENT_SECRET_FILE"}  # they need a mount as well
    fields = set(AuthenticationSettings.model_fields) - set(Section.model_fields)
    assert {variable_of(name) for name in fields} - of_files <= passed
    given = {
        "RESEARCH_LOGIN": "entra",
        "RESEARCH_PUBLIC_URL": "https://research.example",
        "RESEARCH_LOGIN_CLIENT_ID": "client",
        "RESEARCH_LOGIN_CLIENT_SECRET": "secret",
        "RESEARCH_LOGIN_TENANT": "11111111-2222-3333-4444-aaaaaaaaaaaa",
        "RESEARCH_LOGIN_SCOPES": "access",
        "RESEARCH_LOGIN_DIR": "/login/state",
    }
    settings = Settings.load(dict.fromkeys(passed, "") | given)
    assert (settings.login, settings.auth_algorithm) == ("entra", "RS256")
    assert settings.login_dir is not None
    volume = f"      - login:{settings.login_dir.parent}"
    assert volume in stated
