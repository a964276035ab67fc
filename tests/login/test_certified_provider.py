"""A certified OpenID provider of another language logs people in: by registration there, and through the server."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream

from support.browser import Person
from support.login import FIXED, LoginGateway
from support.serving import reserved_port

SCRIPT = Path(__file__).with_name("provider.mjs")
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (SCRIPT.parent / "node_modules" / "oidc-provider").is_dir(),
        reason="oidc-provider is not installed: run `npm install` in tests/login",
    ),
    pytest.mark.filterwarnings("ignore:Using in-memory token storage"),
]
CREDENTIALS = {"login": "ada", "password": "any"}


@dataclass
class World(LoginGateway):
    """The gateway, and the issuer of its people."""

    issuer: str = field(kw_only=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    with reserved_port() as port:
        base = f"http://127.0.0.1:{port}"
        command = [str(NODE), str(SCRIPT), f"{base}/mcp", f"{base}/auth/callback"]
        process = await anyio.open_process(command, stderr=subprocess.DEVNULL, env={**os.environ})
        try:
            with anyio.fail_after(60):
                assert process.stdout is not None
                issuer = (await TextReceiveStream(process.stdout).receive()).split()[0]
            yield World(tmp_path, port, issuer=issuer)
        finally:
            process.kill()
            await process.aclose()


@pytest.mark.parametrize(
    "changes",
    [
        {"auth_audience": "{resource}"},
        {"login_client_id": FIXED["client_id"], "login_client_secret": FIXED["client_secret"]},
        {
            "login_client_id": FIXED["client_id"],
            "login_client_secret": FIXED["client_secret"],
            "auth_audience": "{resource}",
            "login_scopes": ("openid", "research"),
        },
    ],
    ids=["registered there", "passed on", "passed on, access token"],
)
async def test_a_person_logs_in_and_is_known_by_name_and_group(changes: dict[str, Any], world: World) -> None:
    resource = f"http://127.0.0.1:{world.port}/mcp"
    given: dict[str, Any] = {
        name: resource if value == "{resource}" else value for name, value in changes.items()
    }
    async with world.served(**given, login="oidc", auth_issuer=world.issuer):
        async with httpx.AsyncClient() as client:
            assert (await world.refused(client))["resource"] == resource
        assert await world.documents(Person(CREDENTIALS)) == ["tax/plan.md"]
    assert world.principals
    assert all(each["subject"] == "ada" for each in world.principals)
