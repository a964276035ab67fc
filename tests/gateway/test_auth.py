"""Credentials that must not let anybody in, sent to a gateway over HTTP."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastmcp.server.auth.providers.jwt import RSAKeyPair
from joserfc import jwt
from joserfc.jwk import RSAKey

from research_gateway.app import build_gateway
from research_shared.access.roots import Root
from research_shared.serving.auth import auth_provider
from research_shared.settings import Settings
from support.serving import serving

TOKEN = "a-token-of-some-length"
ISSUER, AUDIENCE = "https://issuer.example", "research"
CALL = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "list_research_documents",
        "arguments": {},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
HEADERS = [
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2026-07-28"),
    ("mcp-method", "tools/call"),
    ("mcp-name", "list_research_documents"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "research").mkdir()
    (tmp_path / "research" / "secret-plan.md").write_text("# Plan\n", encoding="utf-8")
    return tmp_path / "research"


@pytest.fixture(scope="module")
def pair() -> RSAKeyPair:
    return RSAKeyPair.generate()


def settings_for(folder: Path, **changes: Any) -> Settings:
    log = folder.parent / "audit.jsonl"
    return Settings(
        roots=(Root("research", folder),),
        model_route="extractive",
        watch=False,
        audit_log=log,
        audit_level="arguments",
        **changes,
    )


def jwt_settings(folder: Path, pair: RSAKeyPair) -> Settings:
    key = folder.parent / "key.pem"
    key.write_text(pair.public_key, encoding="ascii")
    return settings_for(folder, auth_public_key=key, auth_issuer=ISSUER, auth_audience=AUDIENCE)


async def call(url: str, *authorization: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        headers = [*HEADERS, *(("authorization", value) for value in authorization)]
        return await client.post(url, json=CALL, headers=headers)


def audited(folder: Path) -> list[dict[str, Any]]:
    lines = (folder.parent / "audit.jsonl").read_text(encoding="ascii").splitlines()
    return [record for line in lines if "method" in (record := json.loads(line))]


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, **changes}
    return {name: value for name, value in given.items() if value is not None}


def signed(pair: RSAKeyPair, algorithm: Any = "RS256", **changes: Any) -> str:
    key = RSAKey.import_key(pair.private_key.get_secret_value())
    return jwt.encode({"alg": algorithm}, claims(**changes), key, algorithms=[algorithm])


def part(data: object) -> bytes:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def by_hand(header: object, payload: object, sign: Callable[[bytes], bytes] = lambda _data: b"") -> str:
    data = part(header) + b"." + part(payload)
    return (data + b"." + part(sign(data))).decode()


def hs256(key: str) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(key.encode(), data, "sha256")


FORGED: dict[str, Callable[[RSAKeyPair], str]] = {
    "another algorithm of the same key": lambda pair: signed(pair, "RS512"),
    "no algorithm": lambda _pair: by_hand({"alg": "none"}, claims()),
    "no algorithm, in capitals": lambda _pair: by_hand({"alg": "NONE"}, claims()),
    "no algorithm, but a signature": lambda pair: by_hand(
        {"alg": "none"}, claims(), lambda _data: signed(pair).rpartition(".")[2].encode()
    ),
    "algorithm is a list": lambda _pair: by_hand({"alg": ["RS256", "none"]}, claims()),
    "the public key as a shared secret": lambda pair: by_hand(
        {"alg": "HS256"}, claims(), hs256(pair.public_key)
    ),
    "the public key as a shared secret, named as RSA": lambda pair: by_hand(
        {"alg": "RS256"}, claims(), hs256(pair.public_key)
    ),
    "a key of its own": lambda pair: by_hand(
        {"alg": "RS256", "jwk": {"kty": "oct", "k": "AA"}, "jku": "http://127.0.0.1:1/"},
        claims(),
        hs256(pair.public_key),
    ),
    "an extension nobody knows": lambda pair: jwt.encode(
        {"alg": "RS256", "crit": ["b64"], "b64": False},
        claims(),
        RSAKey.import_key(pair.private_key.get_secret_value()),
        algorithms=["RS256"],
    ),
    "somebody else's key": lambda _pair: signed(RSAKeyPair.generate()),
    "expired": lambda pair: signed(pair, exp=int(time.time()) - 60),
    "not valid yet": lambda pair: signed(pair, nbf=int(time.time()) + 3_600),
    "another issuer": lambda pair: signed(pair, iss=ISSUER + "/"),
    "another audience": lambda pair: signed(pair, aud=["other"]),
    "no end": lambda pair: signed(pair, exp=None),
    "an end that is no number": lambda pair: signed(pair, exp="tomorrow"),
    "no issuer": lambda pair: signed(pair, iss=None),
    "no audience": lambda pair: signed(pair, aud=None),
    "no claims": lambda pair: signed(pair, **dict.fromkeys(claims())),
    "claims that are a list": lambda _pair: by_hand({"alg": "RS256"}, [claims()]),
    "cut off": lambda pair: signed(pair)[:-10],
    "without its signature": lambda pair: signed(pair).rpartition(".")[0] + ".",
    "two parts": lambda pair: signed(pair).rpartition(".")[0],
    "six parts": lambda pair: signed(pair) + "..." + "AA",
    "another payload under the signature": lambda pair: ".".join(
        [signed(pair).split(".")[0], part(claims(sub="eve")).decode(), signed(pair).split(".")[2]]
    ),
    "a header that nests deeply": lambda _pair: by_hand(b"[" * 20_000, claims()),
    "a header of odd bytes": lambda _pair: by_hand(b"\xff\xfe{}", claims()),
    "no JWT": lambda _pair: TOKEN,
}


@pytest.mark.parametrize("forged", FORGED)
async def test_a_jwt_that_is_not_right_opens_nothing(forged: str, folder: Path, pair: RSAKeyPair) -> None:
    settings = jwt_settings(folder, pair)
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    token = FORGED[forged](pair)
    async with serving(server) as served:
        refused = await call(served.url, f"Bearer {token}")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    for told in (refused.text, str(refused.headers)):
        assert not any(word in told for word in (ISSUER, "secret-plan", "Traceback", "ada", token))
    assert audited(folder) == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_right_jwt_opens_the_door_and_is_in_the_audit_as_its_principal(
    scheme: str, folder: Path, pair: RSAKeyPair
) -> None:
    settings = jwt_settings(folder, pair)
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    token = signed(pair)
    async with serving(server) as served:
        answered = await call(served.url, f"{scheme} {token}")
    assert answered.status_code == 200
    assert "secret-plan" in answered.text
    start, end = audited(folder)
    assert start["principal"] == {"client_id": "ada", "subject": "ada"}
    assert end["outcome"] == "ok"
    assert token not in (folder.parent / "audit.jsonl").read_text(encoding="ascii")


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [""],
        ["Bearer"],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Bearer {TOKEN.upper()}"],
        [f"Bearer  {TOKEN}"],
        [f"Bearer {TOKEN},{TOKEN}"],
        [f"Basic {TOKEN}"],
        [TOKEN],
        ["Bearer wrong", f"Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", "Bearer wrong"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", "Basic wrong"],
    ],
)
async def test_a_bearer_token_is_taken_once_and_as_it_is(sent: list[str], folder: Path) -> None:
    settings = settings_for(folder, auth_tokens=(TOKEN,))
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    async with serving(server) as served:
        refused = await call(served.url, *sent)
        assert (await call(served.url, f"bearer {TOKEN}")).status_code == 200
    assert refused.status_code == 401
    assert TOKEN not in refused.text
    assert [record["event"] for record in audited(folder)] == ["start", "end"]


@pytest.mark.parametrize("query", ["access_token", "token", "authorization", "bearer_token"])
async def test_a_token_in_the_address_or_in_a_cookie_opens_nothing(query: str, folder: Path) -> None:
    settings = settings_for(folder, auth_tokens=(TOKEN,))
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    async with serving(server) as served, httpx.AsyncClient(cookies={query: TOKEN}) as client:
        refused = await client.post(f"{served.url}?{query}={TOKEN}", json=CALL, headers=HEADERS)
    assert refused.status_code == 401
    assert TOKEN not in refused.text
    assert audited(folder) == []


async def test_keys_that_cannot_be_fetched_open_nothing(folder: Path, pair: RSAKeyPair) -> None:
    settings = settings_for(
        folder, auth_jwks_url="http://127.0.0.1:1/jwks", auth_issuer=ISSUER, auth_audience=AUDIENCE
    )
    server = build_gateway(settings)
    server.auth = auth_provider(settings)
    async with serving(server) as served:
        assert (await call(served.url, f"Bearer {signed(pair)}")).status_code == 401
    assert audited(folder) == []
