"""The gateway as a whole: composed from settings, met through a client."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types
import pytest
from fastmcp import Client, FastMCP
from fastmcp.client.transports import StdioTransport
from fastmcp.server.auth.providers.jwt import JWTVerifier, RSAKeyPair
from fastmcp.tools import ToolResult
from mcp import MCPError

from research_documents.server import build_documents_server
from research_gateway.app import build_gateway, policy
from research_gateway.scope.middleware import ScopeFromClientRoots
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root
from research_shared.errors import ConfigurationError
from research_shared.middleware.boundary import STRUCTURED_META_KEY
from research_shared.serving.auth import auth_provider, check_exposure, is_loopback
from research_shared.serving.drain import Drain
from research_shared.serving.health import CheckResult, add_readiness, readiness
from research_shared.serving.transports.http import http_server
from research_shared.settings import Settings
from support.results import error_of
from support.serving import reserved_port, serving, until
from support.upstreams import PATIENT

TOOLS = {
    "list_research_documents",
    "search_documents",
    "read_document",
    "verify_quotes",
    "summarize_document",
    "synthesize_research",
}
TEMPLATE = mcp_types.ResourceTemplateReference(uri="research://documents/{path*}")
TOKEN = "a-token-of-some-length"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "owls/night.md": "# Owls\n\nOwls hunt at night.\n",
        "larks/day.md": "Larks sing.\n",
    }.items():
        path = tmp_path / "research" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "research"


def settings_for(folder: Path, **changes: Any) -> Settings:
    root = (Root("research", folder),)
    log = folder.parent / "audit.jsonl"
    return Settings(
        **{"roots": root, "model_route": "extractive", "watch": False, "audit_log": log, **changes}
    )


async def paths(client: Client[Any]) -> list[str]:
    listed = await client.call_tool("list_research_documents")
    assert listed.structured_content is not None
    return [document["path"] for document in listed.structured_content["documents"]]


async def works(client: Client[Any]) -> None:
    """Every tool, the resource and its completion give what the folder holds."""
    assert {tool.name for tool in await client.list_tools()} == TOOLS
    assert await paths(client) == ["larks/day.md", "owls/night.md"]
    found = await client.call_tool("search_documents", {"query": "owls"})
    assert found.structured_content is not None
    assert found.structured_content["matches"][0]["document"] == "owls/night.md"
    summary = await client.call_tool("summarize_document", {"document_path": "owls/night.md"})
    assert summary.structured_content is not None
    assert summary.structured_content["route"] == "extractive"
    assert "Larks" in str((await client.read_resource("research://documents/larks/day.md"))[0])
    assert (await client.complete(TEMPLATE, {"name": "path", "value": "ow"})).values == ["owls/night.md"]
    missing = await client.call_tool("read_document", {"document_path": "none.md"}, raise_on_error=False)
    assert error_of(missing)["code"] == "document_not_found"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_servers_work_in_the_process_of_the_gateway(folder: Path, mode: Any) -> None:
    async with Client(build_gateway(settings_for(folder)), mode=mode) as client:
        await works(client)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_both_servers_work_behind_the_gateway_over_http(folder: Path, mode: Any) -> None:
    settings = settings_for(folder)
    async with (
        serving(build_documents_server(settings)) as documents,
        serving(build_reasoning_server(settings)) as reasoning,
    ):
        remote = settings_for(folder, documents_url=documents.url, reasoning_url=reasoning.url)
        async with Client(build_gateway(remote), mode=mode) as client:
            await works(client)


async def test_tools_are_described_alike_alone_mounted_and_remote(folder: Path) -> None:
    settings = settings_for(folder)
    async with serving(build_documents_server(settings)) as documents:
        remote = settings_for(folder, documents_url=documents.url)
        described: list[dict[str, Any]] = []
        for server in (build_documents_server(settings), build_gateway(settings), build_gateway(remote)):
            async with Client(server) as client:
                tools = {tool.name: tool.model_dump(exclude={"meta"}) for tool in await client.list_tools()}
                described.append({name: tools[name] for name in sorted(tools) if "document" in name})
    alone, mounted, behind = described
    assert mounted == behind
    assert alone == {name: mounted[name] for name in alone}


async def test_the_scope_reaches_remote_servers_and_only_narrows(folder: Path) -> None:
    settings = settings_for(folder)
    async with serving(build_documents_server(settings)) as documents:
        narrow = settings_for(folder, documents_url=documents.url, client_roots="narrow")
        roots = [(folder / "owls").as_uri()]
        for mode in ("auto", "legacy"):
            async with Client(build_gateway(narrow), mode=mode, roots=roots) as client:
                assert await paths(client) == ["owls/night.md"]
                shown = json.loads((await client.read_resource("research://scope"))[0].text)
                assert shown["paths"] == ["owls"]
                refused = await client.call_tool(
                    "read_document", {"document_path": "larks/day.md"}, raise_on_error=False
                )
                assert error_of(refused)["code"] == "document_not_found"


async def test_tools_of_servers_that_are_down_stay_listed_from_the_start(folder: Path) -> None:
    gone = "http://127.0.0.1:9/mcp"
    gateway = build_gateway(settings_for(folder, documents_url=gone, reasoning_url=gone))
    async with Client(gateway) as client:
        assert {tool.name for tool in await client.list_tools()} == TOOLS
        result = await client.call_tool("list_research_documents", raise_on_error=False)
        assert error_of(result)["code"] == "backend_unavailable"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_audit_trail_has_the_code_of_an_error_that_was_relayed(
    folder: Path, tmp_path: Path, mode: Any
) -> None:
    other: FastMCP[Any] = FastMCP("other")

    @other.tool
    async def refuse() -> ToolResult:
        return ToolResult(content="no", structured_content={"why": "so"}, is_error=True)

    settings = settings_for(folder)
    async with serving(build_documents_server(settings)) as documents, serving(other) as wiki:
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {"wiki": {"url": wiki.url}}}), encoding="utf-8")
        remote = settings_for(folder, documents_url=documents.url, mcp_config=config)
        async with Client(build_gateway(remote), mode=mode) as client:
            missing = await client.call_tool(
                "read_document", {"document_path": "none.md"}, raise_on_error=False
            )
            assert error_of(missing)["code"] == "document_not_found"
            refused = await client.call_tool("wiki_refuse", raise_on_error=False)
            assert refused.is_error
            assert refused.structured_content is None
            assert refused.meta is not None
            assert refused.meta[STRUCTURED_META_KEY] == {"why": "so"}
    log = (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    ends = [record for record in map(json.loads, log.splitlines()) if record["event"] == "end"]
    assert [(end["tool"], end["outcome"], end["reason"]) for end in ends if "tool" in end] == [
        ("read_document", "error", "document_not_found"),
        ("wiki_refuse", "error", "reported_error"),
    ]


async def test_further_servers_are_mounted_under_their_names(folder: Path, tmp_path: Path) -> None:
    other: FastMCP[Any] = FastMCP("other")

    @other.tool
    async def greet() -> str:
        return "hello"

    @other.prompt
    async def brief(topic: str) -> str:
        return topic

    @other.resource("note://{name}")
    async def note(name: str) -> str:
        return name

    @other.completion
    async def complete(ref: Any, argument: Any, _context: Any) -> list[str]:
        return [f"{getattr(ref, 'name', None) or ref.uri}:{argument.value}"]

    async with serving(other) as served:
        script = tmp_path / "stdio_server.py"
        script.write_text(
            "from fastmcp import FastMCP\ns = FastMCP('s')\n"
            "@s.tool\ndef double(n: int) -> int:\n    return 2 * n\n"
            "s.run(show_banner=False)\n",
            encoding="utf-8",
        )
        servers = {
            "wiki": {"url": served.url},
            "gone": {"url": "http://127.0.0.1:9/mcp"},
            "calc": {"command": sys.executable, "args": [str(script)]},
        }
        config = tmp_path / "mcp.json"
        config.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        gateway = build_gateway(settings_for(folder, mcp_config=config), upstream_timings=PATIENT)
        async with Client(gateway) as client:
            assert {tool.name for tool in await client.list_tools()} == TOOLS | {"wiki_greet", "calc_double"}
            assert (await client.call_tool("wiki_greet")).data == "hello"
            assert [(await client.call_tool("calc_double", {"n": n})).data for n in (2, 3)] == [4, 6]
            down = await client.call_tool("gone_x", raise_on_error=False)
            assert error_of(down)["code"] == "backend_unavailable"
            prompt = mcp_types.PromptReference(name="wiki_brief")
            argument = {"name": "topic", "value": "x"}
            assert (await client.complete(prompt, argument)).values == ["brief:x"]
            template = mcp_types.ResourceTemplateReference(uri="note://wiki/{name}")
            assert (await client.complete(template, argument)).values == ["note://{name}:x"]
            for unknown in ("note://else/{name}", "no-scheme"):
                reference = mcp_types.ResourceTemplateReference(uri=unknown)
                assert (await client.complete(reference, argument)).values == []
            assert await paths(client) == ["larks/day.md", "owls/night.md"]


def test_the_policy_narrows_and_limits_rates_only_when_told_to(folder: Path) -> None:
    plain = [type(middleware).__name__ for middleware in policy(settings_for(folder))]
    assert plain == ["ConcurrencyLimit", "SizeLimit", "TimeLimit", "RetryUpstream"]
    full = policy(settings_for(folder, client_roots="narrow", client_rate=5))
    assert [type(m).__name__ for m in full] == [
        "ConcurrencyLimit",
        "RateLimit",
        "SizeLimit",
        "TimeLimit",
        "ScopeFromClientRoots",
        "RetryUpstream",
    ]
    assert any(isinstance(m, ScopeFromClientRoots) for m in full)


async def status_of(url: str, path: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient() as client:
        response = await client.get(url.removesuffix("/mcp") + path)
        body: dict[str, Any] = response.json()
        return response.status_code, body


async def test_readiness_names_what_is_missing_and_comes_back(folder: Path) -> None:
    async with serving(build_gateway(settings_for(folder))) as served:
        status, body = await status_of(served.url, "/readyz")
        assert (status, body["status"]) == (200, "ready")
        assert body["checks"]["roots"] == {"ok": True, "research": True}
        assert body["checks"]["audit"]["ok"] is True
        folder.rename(folder.parent / "away")
        status, body = await status_of(served.url, "/readyz")
        assert (status, body["checks"]["roots"]) == (503, {"ok": False, "research": False})
        assert str(folder) not in json.dumps(body)
        (folder.parent / "away").rename(folder)
        assert (await status_of(served.url, "/readyz"))[0] == 200


async def test_a_required_upstream_that_is_down_makes_the_gateway_unready(folder: Path) -> None:
    gone = "http://127.0.0.1:9/mcp"
    async with serving(build_gateway(settings_for(folder, documents_url=gone))) as served:
        status, body = await status_of(served.url, "/readyz")
    assert status == 503
    assert body["checks"]["upstream:documents"]["ok"] is False


async def test_checks_that_hang_or_fail_are_reported_and_do_not_block() -> None:
    async def hangs() -> CheckResult:
        await anyio.sleep_forever()
        raise AssertionError

    async def fails() -> CheckResult:
        raise OSError("disk")

    async def optional() -> CheckResult:
        return CheckResult(ok=False, detail={"state": "building"}, required=False)

    ready, found = await readiness({"a": hangs, "b": fails}, timeout_s=0.02)
    assert not ready
    assert found == {"a": {"ok": False, "error": "timeout"}, "b": {"ok": False, "error": "OSError"}}
    assert await readiness({"c": optional}) == (True, {"c": {"ok": False, "state": "building"}})


async def test_a_server_that_is_about_to_stop_is_not_ready() -> None:
    server: FastMCP[Any] = FastMCP("s")
    add_readiness(server, {})
    server.add_middleware(drain := Drain())
    async with serving(server) as served:
        assert await status_of(served.url, "/readyz") == (200, {"status": "ready", "checks": {}})
        drain.begin()
        assert await status_of(served.url, "/readyz") == (503, {"status": "stopping", "checks": {}})


async def initialize(url: str, **headers: str) -> int:
    async with httpx.AsyncClient() as client:
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        }
        accept = {"accept": "application/json, text/event-stream"}
        return (await client.post(url, json=body, headers=accept | headers)).status_code


async def test_only_bearers_of_a_token_get_in(folder: Path) -> None:
    settings = settings_for(folder, auth_tokens=(TOKEN, "another-token-of-length"))
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    async with serving(server) as served:
        assert await initialize(served.url) == 401
        assert await initialize(served.url, authorization="Bearer wrong-token-of-length") == 401
        assert await initialize(served.url, authorization=f"Bearer {TOKEN}") == 200
        async with Client(served.url, auth=TOKEN) as client:
            assert await paths(client) == ["larks/day.md", "owls/night.md"]


async def test_jwts_of_the_right_issuer_and_audience_get_in(folder: Path, tmp_path: Path) -> None:
    pair = RSAKeyPair.generate()
    key = tmp_path / "key.pem"
    key.write_text(pair.public_key, encoding="ascii")
    settings = settings_for(folder, auth_public_key=key, auth_issuer="https://i", auth_audience="research")
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    assert isinstance(server.auth, JWTVerifier)
    good = pair.create_token(issuer="https://i", audience="research")
    wrong = [
        pair.create_token(issuer="https://other", audience="research"),
        pair.create_token(issuer="https://i", audience="other"),
        pair.create_token(issuer="https://i", audience="research", expires_in_seconds=-60),
        RSAKeyPair.generate().create_token(issuer="https://i", audience="research"),
    ]
    async with serving(server) as served:
        assert await initialize(served.url, authorization=f"Bearer {good}") == 200
        for token in wrong:
            assert await initialize(served.url, authorization=f"Bearer {token}") == 401


def test_a_key_that_cannot_be_read_is_named(folder: Path, tmp_path: Path) -> None:
    settings = settings_for(
        folder, auth_public_key=tmp_path / "none.pem", auth_issuer="https://i", auth_audience="a"
    )
    with pytest.raises(ConfigurationError, match="RESEARCH_AUTH"):
        auth_provider(settings)
    jwks = settings_for(folder, auth_jwks_url="https://i/jwks", auth_issuer="https://i", auth_audience="a")
    assert isinstance(auth_provider(jwks), JWTVerifier)
    assert auth_provider(settings_for(folder)) is None


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        pytest.param(b"", "RS256", id="an empty key"),
        pytest.param(b"\xff\xfe", "RS256", id="a key that is no text"),
        pytest.param(None, "XY256", id="an algorithm that nobody knows"),
        pytest.param(None, "HS256", id="an algorithm for a shared secret"),
    ],
)
def test_a_key_or_algorithm_that_cannot_be_used_is_named(
    folder: Path, tmp_path: Path, key: bytes | None, algorithm: str
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(RSAKeyPair.generate().public_key.encode() if key is None else key)
    settings = settings_for(folder, auth_public_key=path, auth_issuer="https://i", auth_audience="a")
    settings = settings.model_copy(update={"auth_algorithm": algorithm})
    with pytest.raises(ConfigurationError, match=r"RESEARCH_AUTH_ALGORITHM=.* or RESEARCH_AUTH_PUBLIC_KEY"):
        auth_provider(settings)


@pytest.mark.parametrize(
    "environ",
    [
        {"RESEARCH_AUTH_TOKENS": "short"},
        {"RESEARCH_AUTH_TOKENS": TOKEN, "RESEARCH_AUTH_JWKS_URL": "https://i/jwks"},
        {"RESEARCH_AUTH_JWKS_URL": "https://i/jwks"},
        {"RESEARCH_DOCUMENTS_URL": "ftp://x"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Settings.load(environ)
    assert "RESEARCH_" in refusal.value.message
    assert TOKEN not in refusal.value.message


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("example.org", False),
    ],
)
def test_other_machines_are_let_in_only_with_authentication_or_on_request(
    folder: Path, host: str, loopback: bool
) -> None:
    assert is_loopback(host) is loopback
    check_exposure(settings_for(folder), host, authenticated=True)
    check_exposure(settings_for(folder, allow_unauthenticated=True), host, authenticated=False)
    if loopback:
        check_exposure(settings_for(folder), host, authenticated=False)
    else:
        with pytest.raises(ConfigurationError, match="RESEARCH_AUTH_TOKENS"):
            check_exposure(settings_for(folder), host, authenticated=False)


@pytest.fixture
def port() -> Iterator[int]:
    with reserved_port() as reserved:
        yield reserved


SLOW_SERVER = """
import os, sys, anyio
from fastmcp import FastMCP
from research_shared.serving.health import add_readiness
from research_shared.serving.run import serve
from research_shared.settings import Settings

def build(settings):
    server = FastMCP("slow")
    @server.tool
    async def slow(release: str) -> str:
        print(f"begun by pid {os.getpid()} ", file=sys.stderr, flush=True)
        while not os.path.exists(release):
            await anyio.sleep(0.01)
        return "finished"
    add_readiness(server, {})
    return server

serve(build, Settings(drain_s=float(sys.argv[3])), transport=sys.argv[1], port=int(sys.argv[2]))
print("ended in order", file=sys.stderr, flush=True)
"""


async def test_sigterm_lets_calls_end_and_refuses_new_ones_over_http(tmp_path: Path, port: int) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_SERVER, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, "http", str(port), "600", stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    url = f"http://127.0.0.1:{port}/mcp"
    await listening(port)
    release = tmp_path / "release"
    answers: list[Any] = []
    refusals: list[str] = []
    async with (
        Client(url) as modern,
        Client(url, mode="legacy") as handshake,
        anyio.create_task_group() as tasks,
    ):

        async def call(client: Client[Any]) -> None:
            answers.append((await client.call_tool("slow", {"release": str(release)})).data)

        for client in (modern, handshake):
            await client.list_tools()  # otherwise it would, once it has its answer
            tasks.start_soon(call, client)
            async with asyncio.timeout(60):
                while b"begun" not in await process.stderr.readline():
                    pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            for client in (modern, handshake):
                refused = False
                while not refused:
                    try:  # what comes before the signal is still served
                        await client.call_tool("slow", {"release": "/"})
                    except MCPError as error:
                        refused = True
                        refusals.append(str(error))
        assert (await status_of(url, "/readyz"))[0] == 503
        assert (await status_of(url, "/healthz"))[0] == 200
        assert answers == []
        release.touch()
    assert answers == ["finished", "finished"]
    assert all("about to stop" in refusal for refusal in refusals)
    async with asyncio.timeout(60):
        rest = await process.stderr.read()
        assert await process.wait() == 0
    assert b"ended in order" in rest


async def test_the_client_of_the_last_answer_can_list_the_tools_before_the_server_stops(
    folder: Path, pass_time: Callable[[float], None]
) -> None:
    drain = Drain()
    listener = http_server(
        FastMCP("s"), settings_for(folder), drain, host="127.0.0.1", port=0, follow_up_s=3600.0
    )
    with drain._counted():
        listener.handle_exit(signal.SIGTERM, None)
    assert await drain.idle(0)
    await anyio.wait_all_tasks_blocked()
    assert not listener.should_exit
    pass_time(3600)
    await until(lambda: listener.should_exit)


async def test_sigterm_cuts_off_what_takes_longer_than_allowed(tmp_path: Path, port: int) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_SERVER, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, "http", str(port), "0.2", stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    await listening(port)
    async with Client(f"http://127.0.0.1:{port}/mcp") as client, anyio.create_task_group() as tasks:

        async def call() -> None:
            with pytest.raises(Exception):  # noqa: B017, PT011  (whatever a connection that breaks looks like)
                await client.call_tool("slow", {"release": str(tmp_path / "never")})

        tasks.start_soon(call)
        async with asyncio.timeout(60):
            while b"begun" not in await process.stderr.readline():
                pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            rest = await process.stderr.read()
            await process.wait()
    assert b"cut off" in rest


async def test_sigterm_lets_calls_end_over_stdio(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(SLOW_SERVER, encoding="utf-8")
    marker = tmp_path / "stderr.txt"
    transport = StdioTransport(
        command=sys.executable, args=[str(script), "stdio", "0", "600"], log_file=marker, keep_alive=False
    )
    answers: list[Any] = []
    async with Client(transport) as client:
        await client.list_tools()  # otherwise it would, once it has its answer
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                answers.append(
                    (await client.session.call_tool("slow", {"release": str(tmp_path / "release")}))
                    .content[0]
                    .text
                )

            tasks.start_soon(call)
            await until(lambda: marker.exists() and "begun" in marker.read_text())
            os.kill(int(marker.read_text().split("pid ")[1].split()[0]), signal.SIGTERM)
            (tmp_path / "release").touch()
        await until(lambda: "ended in order" in marker.read_text())
    assert answers == ["finished"]


async def listening(port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.05)
            else:
                writer.close()
                return
