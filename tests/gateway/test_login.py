"""How clients find the login, log in, and are known afterwards: through the server's own endpoints, over HTTP."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.shared.exceptions import MCPError

from research_shared.serving.login import providers
from research_shared.serving.login import store as login_files
from research_shared.serving.login.rates import PageLimit, PageRate, limited_pages
from research_shared.serving.login.store import CulledFileStore
from support.browser import Person, visit
from support.identity import IdentityProvider
from support.login import ADA, FIXED, LoginGateway, listening
from support.serving import reserved_port
from support.sizes import FULL

pytestmark = pytest.mark.filterwarnings("ignore:Using in-memory token storage")


@dataclass
class World(LoginGateway):
    """The gateway, and the identity provider of its people."""

    identity: IdentityProvider = field(kw_only=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with reserved_port() as port, reserved_port() as own:
        identity = IdentityProvider(port=port, person=ADA)
        async with listening(identity.app, port):
            yield World(tmp_path, own, identity=identity)


def jwks(world: World) -> dict[str, Any]:
    return {"auth_jwks_url": f"{world.identity.issuer}/protocol/openid-connect/certs"}


POINTING: dict[str, Any] = {
    "keycloak": lambda _world: {"login": "keycloak"},
    "any provider": lambda _world: {"login": "oidc"},
    "okta": lambda _world: {"login": "okta"},
    "plain JWTs": jwks,
}
PREFIX = "/research"


def fixed(world: World, prefix: str = "", **changes: Any) -> dict[str, Any]:
    """The settings of a login that the server passes on, as a client that the provider knows."""
    callback = f"http://127.0.0.1:{world.port}{prefix}/auth/callback"
    world.identity.clients[FIXED["client_id"]] = {**FIXED, "redirect_uris": [callback]}
    return {
        "login": "oidc",
        "auth_issuer": world.identity.issuer,
        "login_client_id": FIXED["client_id"],
        "login_client_secret": FIXED["client_secret"],
        **changes,
    }


@pytest.mark.parametrize("kind", POINTING)
async def test_a_request_without_a_token_is_led_to_the_provider(kind: str, world: World) -> None:
    given = {"auth_issuer": world.identity.issuer, "auth_audience": "research", **POINTING[kind](world)}
    async with world.asked(**given) as client:
        metadata = await world.refused(client)
    assert metadata["resource"] == world.url
    assert metadata["authorization_servers"] == [world.identity.issuer]
    assert metadata["scopes_supported"] == (["openid", "profile", "email"] if "login" in given else [])


@pytest.mark.parametrize(
    ("kind", "prefix"), [("any provider", PREFIX), *((kind, "") for kind in POINTING if FULL)]
)
async def test_a_client_finds_the_provider_registers_there_and_calls_as_the_person(
    kind: str, prefix: str, world: World
) -> None:
    given = {"auth_issuer": world.identity.issuer, "auth_audience": "research", **POINTING[kind](world)}
    world.identity.audience = "research"
    async with world.served(prefix=prefix, **given):
        assert await world.documents(Person()) == ["tax/plan.md"]
    (client_id,) = world.identity.clients
    assert world.principals
    assert all(each == {"client_id": client_id, "subject": "ada"} for each in world.principals)


ID_TOKEN = {"login": "okta", "login_scopes": ("openid", "email")}
ACCESS_TOKEN = {"login": "keycloak", "auth_audience": "research", "login_scopes": ("openid", "research")}


@pytest.mark.parametrize(
    ("prefix", "changes"),
    [(PREFIX, ID_TOKEN), *([("", {}), (PREFIX, ACCESS_TOKEN)] if FULL else [])],
)
async def test_a_client_logs_in_through_the_server_where_the_provider_knows_one_client(
    prefix: str, changes: dict[str, Any], world: World
) -> None:
    world.identity.opaque = "auth_audience" not in changes
    world.identity.audience = "research"
    person = Person()
    async with world.served(prefix=prefix, **fixed(world, prefix, **changes)):
        assert await world.documents(person) == ["tax/plan.md"]
        first = world.issued
        person.context.token_expiry_time = 1.0
        assert await world.documents(person) == ["tax/plan.md"]
    assert world.issued != first
    (asked,) = world.identity.asked  # the second time without a browser
    assert asked["redirect_uri"] == world.url.replace("/mcp", "/auth/callback")
    usual = ("openid", "profile", "email", "offline_access")
    assert asked["scope"].split() == [*changes.get("login_scopes", usual)]
    assert world.identity.registered == 0
    assert world.principals
    assert all(each["subject"] == "ada" for each in world.principals)
    told = (world.folder / "audit.jsonl").read_text(encoding="ascii")
    assert not any(secret in told for secret in (FIXED["client_secret"], first, world.issued))


async def test_replicas_that_share_the_directory_serve_each_other_s_people(world: World) -> None:
    given = fixed(world, public_url=f"http://127.0.0.1:{world.port}", auth_audience="research")
    world.identity.audience = "research"
    with reserved_port() as port:
        async with world.served(port=port, **given):
            other = world.url
            async with world.served(**given):
                await world.documents(Person())
                world.identity.audience = "elsewhere"
                stranger = Person()
                with pytest.raises(MCPError):
                    await world.documents(stranger)
            assert stranger.context.current_tokens is not None
            for token, status in ((world.issued, 400), (stranger.context.current_tokens.access_token, 401)):
                async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as client:
                    assert (await client.post(other, json={})).status_code == status
    async with world.asked(**{**given, "login_key": "another-key-of-at-least-32-bytes"}) as client:
        await world.refused(client, world.issued)
    stored = [path for path in (world.folder / "login").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"ada@firm.example" in path.read_bytes() for path in stored)
    assert (world.folder / "login").stat().st_mode & 0o077 == 0


async def test_the_metadata_is_in_every_place_where_clients_look_for_it(world: World) -> None:
    async with world.asked(prefix=PREFIX, **fixed(world, PREFIX)) as client:
        base = f"http://127.0.0.1:{world.port}"
        resource = [
            (await client.get(f"{base}/.well-known/oauth-protected-resource{path}")).json()
            for path in ("", f"{PREFIX}/mcp")
        ]
        server = [
            (await client.get(f"{base}{path}")).json()
            for path in (
                f"/.well-known/oauth-authorization-server{PREFIX}",
                f"/.well-known/openid-configuration{PREFIX}",
                f"{PREFIX}/.well-known/openid-configuration",
                f"{PREFIX}/.well-known/oauth-authorization-server",
            )
        ]
    assert resource[0] == resource[1]
    assert (resource[0]["resource"], resource[0]["authorization_servers"]) == (world.url, [base + PREFIX])
    assert all(each == server[0] for each in server)
    assert server[0]["issuer"] == base + PREFIX
    assert server[0]["token_endpoint"] == f"{base}{PREFIX}/token"
    assert server[0]["code_challenge_methods_supported"] == ["S256"]


REFUSED: dict[str, Any] = {
    "expired": lambda identity: identity.signed(aud="research", exp=1_000_000_000),
    "for another audience": lambda identity: identity.signed(aud="other"),
    "for the client, not for this server": lambda identity: identity.signed(aud=FIXED["client_id"]),
    "of another issuer": lambda identity: identity.signed(aud="research", iss="https://other.example"),
    "without an end": lambda identity: identity.signed(aud="research", exp=None),
    "with another key": lambda identity: replace(identity, key="other").signed(aud="research"),
}


async def test_a_token_that_is_not_right_is_refused_with_the_pointer(world: World) -> None:
    given: dict[str, Any] = {"auth_issuer": world.identity.issuer, "auth_audience": "research"}
    async with world.asked(login="oidc", **given) as client:
        for token in REFUSED.values():
            metadata = await world.refused(client, token(world.identity))
            assert metadata["authorization_servers"] == [world.identity.issuer]
        right = world.identity.signed(aud="research")
        await world.refused(client, right, right)


async def test_a_token_of_the_provider_itself_is_no_token_of_a_login_that_is_passed_on(world: World) -> None:
    async with world.asked(**fixed(world, auth_audience="research")) as client:
        for audience in ("research", FIXED["client_id"]):
            await world.refused(client, world.identity.signed(aud=audience))


async def test_what_clients_register_is_limited_in_number_size_and_addresses(world: World) -> None:
    metadata = {"redirect_uris": ["https://app.example/back"], "token_endpoint_auth_method": "none"}
    given = fixed(world, login_redirects=("https://app.example/*",))
    async with world.asked(**given) as client:
        told = []
        for changes in (
            {},
            {"client_name": "x" * 20_000},
            {"redirect_uris": ["https://evil.example/back"]},
            {},
        ):
            answer = await client.post("/register", json={**metadata, **changes})
            told.append((answer.status_code, answer.json().get("error")))
        for path in ("/register", "/token", "/consent", "/revoke"):
            assert (await client.post(path, content=b"x" * 100_000)).status_code == 413
    assert told == [
        (201, None),
        (400, "invalid_client_metadata"),
        (400, "invalid_redirect_uri"),
        (201, None),
    ]


@pytest.mark.parametrize(
    ("path", "last", "at_once"), [("/consent", "/authorize", 60), ("/register", "/register", 30)]
)
async def test_one_address_may_ask_for_the_pages_of_a_login_a_number_of_times(
    path: str, last: str, at_once: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No time passes meanwhile, however slow the machine is.
    monkeypatch.setattr(providers, "limited_pages", partial(limited_pages, clock=lambda: 0.0))
    async with world.asked(**fixed(world)) as client:
        method = "POST" if path == "/register" else "GET"
        told = {(await client.request(method, path)).status_code for _ in range(at_once)}
        refused = await client.post(last)
        other = await client.get("/.well-known/oauth-authorization-server")
    assert told == {400}
    assert refused.status_code == 429
    assert refused.json()["error"] == "temporarily_unavailable"
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert other.status_code == 200


async def test_one_address_does_not_take_what_others_may_ask_for() -> None:
    now = [0.0]
    rate = PageRate(address_burst=2, address_per_second=0.5, burst=3, per_second=1.0)
    limit = PageLimit(rate, clock=lambda: now[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0, 0, 2.0, 2.0]
    assert [limit.wait_s("b") for _ in range(2)] == [0, 1.0]
    now[0] = 4.0
    assert [limit.wait_s(address) for address in "aab"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "s" * 3_000),
        ("code_challenge", "c" * 300),
        ("redirect_uri", f"http://localhost:1/{'r' * 3_000}"),
        ("resource", f"RESOURCE?{'r' * 3_000}"),
    ],
)
async def test_a_login_with_a_parameter_that_is_too_long_to_be_kept_is_refused(
    name: str, value: str, world: World
) -> None:
    async with world.asked(**fixed(world)) as client:
        asked = {
            "client_id": FIXED["client_id"],
            "redirect_uri": "http://localhost:1/callback",
            "response_type": "code",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
        }
        assert "/consent" in (await client.get("/authorize", params=asked)).headers["location"]
        kept = len([*(world.folder / "login").rglob("*.json")])
        asked[name] = value.replace("RESOURCE", world.url)
        answer = await client.get("/authorize", params=asked)
    told = httpx.URL(answer.headers["location"]).params
    assert (told["error"], told["error_description"].split()[0]) == ("invalid_request", name)
    assert len([*(world.folder / "login").rglob("*.json")]) == kept


async def test_what_has_expired_is_removed_from_the_directory(tmp_path: Path) -> None:
    now = [0.0]
    store = CulledFileStore(tmp_path, every_s=60.0, clock=lambda: now[0])
    await store.put("code", {"a": 1}, collection="codes", ttl=1e-6)
    await store.put("client", {"a": 1}, collection="clients")
    assert await store.get("code", collection="codes") is None
    now[0] = 61.0
    await store.put("other", {"a": 1}, collection="clients")
    assert store.culling is not None
    await store.culling
    assert sorted(path.stem for path in tmp_path.glob("*/*.json")) == ["client", "other"]


async def test_a_registration_that_nobody_uses_expires(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"redirect_uris": ["http://localhost:1/callback"]}
    answers = []
    for lifetime_s in (login_files.CLIENT_LIFETIME_S, 1e-6):
        monkeypatch.setattr(login_files, "CLIENT_LIFETIME_S", lifetime_s)
        async with world.asked(**fixed(world)) as client:
            registered = (await client.post("/register", json=metadata)).json()
            asked = {
                "response_type": "code",
                "client_id": registered["client_id"],
                "redirect_uri": metadata["redirect_uris"][0],
                "code_challenge": "x" * 43,
                "code_challenge_method": "S256",
            }
            answers.append((await client.get("/authorize", params=asked)).status_code)
    assert answers == [302, 400]


async def test_a_registration_lasts_longer_each_time_that_it_is_used(tmp_path: Path) -> None:
    lifetime_s = 10 * login_files.RENEW_AFTER_S
    kept = CulledFileStore(tmp_path, lifetimes={"clients": lifetime_s})

    async def left_s(key: str, collection: str = "clients") -> float | None:
        left: float | None = (await kept.ttl(key, collection=collection))[1]
        return left

    await kept.put("new", {"a": 1}, collection="clients")
    assert lifetime_s - 60 < (await left_s("new") or 0) <= lifetime_s
    await kept.put("old", {"a": 1}, collection="clients", ttl=60)
    assert await kept.get("old", collection="clients") == {"a": 1}
    assert lifetime_s - 60 < (await left_s("old") or 0) <= lifetime_s
    (file,) = tmp_path.glob("clients/new.json")
    before = file.read_bytes()
    assert await kept.get("new", collection="clients") == {"a": 1}
    assert file.read_bytes() == before  # used a moment ago
    await kept.put("token", {"a": 1}, collection="others", ttl=60)
    assert await kept.get("token", collection="others") == {"a": 1}
    assert (await left_s("token", "others") or 0) <= 60


@pytest.mark.parametrize(
    ("changes", "address", "scope"),
    [
        (
            {
                "login": "entra",
                "login_tenant": "11111111-2222-3333-4444-AAAAAAAAAAAA",
                "login_scopes": ("access",),
            },
            "https://login.microsoftonline.com/11111111-2222-3333-4444-aaaaaaaaaaaa/oauth2/v2.0/authorize",
            {"api://gateway/access", "offline_access"},
        ),
        (
            {"login": "google"},
            "https://accounts.google.com/o/oauth2/v2/auth",
            {"openid", "https://www.googleapis.com/auth/userinfo.email"},
        ),
    ],
    ids=["entra", "google"],
)
async def test_a_login_at_a_known_host_goes_there_as_the_client_of_the_operator(
    changes: dict[str, Any], address: str, scope: set[str], world: World
) -> None:
    client = {"login_client_id": FIXED["client_id"], "login_client_secret": FIXED["client_secret"]}
    async with world.asked(**{**changes, **client}) as browser:
        base = f"http://127.0.0.1:{world.port}"
        assert (await world.refused(browser))["authorization_servers"] == [base]
        back = {"redirect_uris": ["http://localhost:1/callback"], "token_endpoint_auth_method": "none"}
        registered = (await browser.post("/register", json=back)).json()
        asked = {
            "client_id": registered["client_id"],
            "redirect_uri": "http://localhost:1/callback",
            "response_type": "code",
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "state": "s",
        }
        start = str(httpx.URL(f"{base}/authorize", params=asked))
        sent = await visit(browser, start, until=address, fields={})
    assert sent["client_id"] == FIXED["client_id"]
    assert sent["redirect_uri"] == f"{base}/auth/callback"
    assert sent["code_challenge_method"] == "S256"
    assert set(sent["scope"].split()) == scope
