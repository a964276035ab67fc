"""Settings of a login that cannot work end the start with one line, and what is secret in them is never shown."""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from fastmcp.server.auth.oidc_proxy import OIDCConfiguration

from research_gateway.cli import app
from research_shared.errors import ConfigurationError
from research_shared.serving.auth import auth_provider
from research_shared.serving.login.discovery import discover
from research_shared.serving.web import trusted_names
from research_shared.settings import Settings

SECRET = "a-secret-of-the-client"
HERE = {"PUBLIC_URL": "https://research.example"}
CLIENT = {"LOGIN_CLIENT_ID": "research", "LOGIN_CLIENT_SECRET": SECRET}
OIDC = {"LOGIN": "oidc", "AUTH_ISSUER": "https://login.example", **HERE}
TENANT = "11111111-2222-3333-4444-aaaaaaaaaaaa"
ENTRA = {"LOGIN": "entra", "LOGIN_TENANT": TENANT, "LOGIN_SCOPES": "access", **HERE, **CLIENT}
GOOGLE = {"LOGIN": "google", **HERE, **CLIENT}
TOKENS = {"AUTH_TOKENS": "a-token-of-some-length"}


def environment(given: Mapping[str, str | None]) -> dict[str, str]:
    return {f"RESEARCH_{name}": value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    "given",
    [
        OIDC | {"AUTH_AUDIENCE": "research"},
        OIDC | CLIENT,
        OIDC | {"LOGIN_CLIENT_ID": "research", "LOGIN_KEY": "k" * 32},
        OIDC | {"LOGIN": "okta", "AUTH_AUDIENCE": "research"} | CLIENT,
        OIDC | {"LOGIN": "keycloak", "AUTH_AUDIENCE": "research"},
        ENTRA,
        GOOGLE,
        HERE | {"AUTH_JWKS_URL": "https://i/k", "AUTH_ISSUER": "https://i", "AUTH_AUDIENCE": "a"},
        OIDC | CLIENT | {"AUTH_ISSUER": "http://[::1]:8080/realms/a"},
    ],
)
def test_a_whole_login_is_taken(given: dict[str, str | None]) -> None:
    assert Settings.load(environment(given)).public_url == HERE["PUBLIC_URL"]


def test_the_id_of_a_tenant_is_read_as_tokens_write_it() -> None:
    given = ENTRA | {"LOGIN_TENANT": TENANT.upper()}
    assert Settings.load(environment(given)).login_tenant == TENANT


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (OIDC, "RESEARCH_LOGIN=oidc needs RESEARCH_AUTH_AUDIENCE or RESEARCH_LOGIN_CLIENT_ID"),
        (OIDC | CLIENT | {"PUBLIC_URL": None}, "RESEARCH_LOGIN=oidc needs RESEARCH_PUBLIC_URL"),
        (OIDC | CLIENT | {"AUTH_ISSUER": None}, "RESEARCH_LOGIN=oidc needs RESEARCH_AUTH_ISSUER"),
        (
            OIDC | CLIENT | {"AUTH_ISSUER": "http://login.example"},
            "RESEARCH_AUTH_ISSUER='http://login.example': allowed: an",
        ),
        (
            OIDC | CLIENT | {"LOGIN_CLIENT_SECRET": None},
            "RESEARCH_LOGIN_CLIENT_ID needs RESEARCH_LOGIN_CLIENT_SECRET, or",
        ),
        (
            OIDC | CLIENT | {"LOGIN_TENANT": TENANT},
            "RESEARCH_LOGIN_TENANT has no effect with RESEARCH_LOGIN=oidc",
        ),
        (OIDC | CLIENT | {"LOGIN_KEY": "short"}, "RESEARCH_LOGIN_KEY=(hidden): allowed: at least 32 bytes"),
        (OIDC | CLIENT | TOKENS, "only one of RESEARCH_LOGIN and RESEARCH_AUTH_TOKENS can be set"),
        (
            OIDC | CLIENT | {"LOGIN_CLIENT_ID": None, "AUTH_AUDIENCE": "a"},
            "RESEARCH_LOGIN_CLIENT_SECRET has no effect with RESEARCH_LOGIN=oidc without RESEARCH_LOGIN_CLIENT_ID",
        ),
        (
            OIDC | {"LOGIN": "github"},
            "RESEARCH_LOGIN='github': allowed: 'oidc', 'entra', 'okta', 'keycloak' or 'google'",
        ),
        *(
            (ENTRA | {"LOGIN_TENANT": many}, f"RESEARCH_LOGIN_TENANT={many!r}: allowed: one tenant")
            for many in ("Common", "consumers", "9188040D-6c67-4c5b-b112-36a304b66dad")
        ),
        (
            ENTRA | {"LOGIN_TENANT": "firm.example"},
            "RESEARCH_LOGIN_TENANT='firm.example': allowed: the id of a tenant, not its domain",
        ),
        (ENTRA | {"LOGIN_TENANT": None}, "RESEARCH_LOGIN=entra needs RESEARCH_LOGIN_TENANT"),
        (ENTRA | {"LOGIN_SCOPES": "openid"}, "RESEARCH_LOGIN=entra needs in RESEARCH_LOGIN_SCOPES a scope"),
        (
            GOOGLE | {"AUTH_ISSUER": "https://x"},
            "RESEARCH_AUTH_ISSUER has no effect with RESEARCH_LOGIN=google",
        ),
        (GOOGLE | {"LOGIN_CLIENT_ID": None}, "RESEARCH_LOGIN=google needs RESEARCH_LOGIN_CLIENT_ID"),
        (
            GOOGLE | {"PUBLIC_URL": "https://re search.example"},
            "RESEARCH_PUBLIC_URL='https://re search.example': allowed: an https",
        ),
        (
            GOOGLE | {"PUBLIC_URL": "http://research.example"},
            "RESEARCH_PUBLIC_URL='http://research.example': allowed: an https",
        ),
        (
            GOOGLE | {"PUBLIC_URL": "https://a.example/mcp"},
            "RESEARCH_PUBLIC_URL='https://a.example/mcp': allowed: the address",
        ),
        (
            GOOGLE | {"PUBLIC_URL": "https://a.example/#b"},
            "RESEARCH_PUBLIC_URL='https://a.example/#b': allowed: an address",
        ),
        (CLIENT, "RESEARCH_LOGIN_CLIENT_ID needs RESEARCH_LOGIN, which says whose it is"),
        (HERE, "RESEARCH_PUBLIC_URL needs RESEARCH_LOGIN, or JWTs"),
        (
            HERE | {"AUTH_JWKS_URL": "https://i/k", "AUTH_ISSUER": "firm", "AUTH_AUDIENCE": "a"},
            "RESEARCH_AUTH_ISSUER='firm': allowed: an https address",
        ),
        (
            OIDC | CLIENT | {"AUTH_ISSUER": f"http://ann:{SECRET}/x@login.example"},
            "RESEARCH_AUTH_ISSUER=(hidden): allowed: an https address",
        ),
        (
            OIDC | CLIENT | {"AUTH_ISSUER": f"http://login.example/?key={SECRET}' '{SECRET}"},
            "RESEARCH_AUTH_ISSUER='http://login.example/?***': allowed: an https address",
        ),
        (
            OIDC | CLIENT | {"PUBLIC_URL": f"https://a.example/?key={SECRET}"},
            "RESEARCH_PUBLIC_URL='https://a.example/?***': allowed: an address",
        ),
    ],
)
def test_a_login_that_cannot_work_is_refused_with_one_line(given: dict[str, str | None], line: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Settings.load(environment(given))
    assert refusal.value.message.startswith(line), refusal.value.message
    assert "\n" not in refusal.value.message
    assert SECRET not in refusal.value.message


@contextmanager
def publishing(status: int, **changes: Any) -> Iterator[str]:
    """Run a server that publishes the configuration of an OpenID provider with these changes; None leaves out."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
            published = {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/auth",
                "token_endpoint": f"{issuer}/token",
                "jwks_uri": f"{issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                **changes,
            }
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps({k: v for k, v in published.items() if v is not None}).encode())

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_an_issuer_is_known_by_what_it_publishes() -> None:
    with publishing(200) as issuer:
        assert discover(issuer).jwks_uri == f"{issuer}/keys"


@pytest.mark.parametrize(
    ("status", "changes", "reason"),
    [
        (404, {}, "answers 404"),
        (200, {"issuer": "https://other.example"}, "the provider there calls itself https://other.example"),
        (200, {"jwks_uri": None}, "is no complete configuration of an OpenID provider"),
    ],
)
def test_an_issuer_that_publishes_something_else_is_refused(
    status: int, changes: dict[str, Any], reason: str
) -> None:
    with publishing(status, **changes) as issuer, pytest.raises(ConfigurationError, match=reason) as refusal:
        discover(issuer)
    assert refusal.value.message.startswith(f"RESEARCH_AUTH_ISSUER={issuer}: ")


def test_an_issuer_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"http://127.0.0.1:1/.* cannot be reached \(ConnectError\)"):
        discover("http://127.0.0.1:1")


@pytest.mark.parametrize("proxy", ["socks5://ann:secretpart@127.0.0.1:1", "ftp://ann:secretpart@127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_named_and_not_the_issuer(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigurationError, match=r"^(an address of )?HTTPS_PROXY, HTTP_PROXY or") as refusal:
        discover("http://127.0.0.1:1")
    assert "secretpart" not in str(refusal.value)


def test_the_user_of_an_issuer_is_not_told_where_it_cannot_be_reached() -> None:
    with pytest.raises(ConfigurationError, match="cannot be reached") as refusal:
        discover(f"http://ann:{SECRET}@127.0.0.1:1")
    assert refusal.value.message.startswith("RESEARCH_AUTH_ISSUER=http://***@127.0.0.1:1: ")
    assert SECRET not in refusal.value.message


def test_a_start_without_its_provider_ends_with_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("research_shared.serving.run.configure_logging", lambda _level, **_: None)
    given = OIDC | CLIENT | {"AUTH_ISSUER": "http://127.0.0.1:1", "ROOTS": str(tmp_path)}
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as end:
        app(["serve", "--transport", "http", "--port", "0"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "RESEARCH_AUTH_ISSUER=http://127.0.0.1:1: " in line
    assert SECRET not in line


@pytest.mark.parametrize("given", [GOOGLE, OIDC | CLIENT | {"AUTH_ISSUER": "https://accounts.google.com"}])
def test_a_login_with_google_accounts_and_without_a_policy_is_warned_of(
    given: dict[str, str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def unreachable(issuer: str) -> OIDCConfiguration:
        raise ConfigurationError(issuer)

    monkeypatch.setattr("research_shared.serving.login.providers.discover", unreachable)
    with suppress(ConfigurationError):
        auth_provider(Settings.load(environment(given | {"LOGIN_DIR": str(tmp_path / "login")})))
    assert "everybody with a Google account" in caplog.text
    caplog.clear()
    (tmp_path / "policy.toml").touch()
    with suppress(ConfigurationError):
        changes = {"LOGIN_DIR": str(tmp_path / "login"), "POLICY": str(tmp_path / "policy.toml")}
        auth_provider(Settings.load(environment(given | changes)))
    assert "everybody with a Google account" not in caplog.text


def test_an_algorithm_that_nobody_knows_is_named() -> None:
    given = OIDC | {"LOGIN": "keycloak", "AUTH_AUDIENCE": "research", "AUTH_ALGORITHM": "XY256"}
    with (
        publishing(200) as issuer,
        pytest.raises(ConfigurationError, match=r"RESEARCH_LOGIN=keycloak: .*XY256"),
    ):
        auth_provider(Settings.load(environment(given | {"AUTH_ISSUER": issuer})))


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = GOOGLE | {"LOGIN_DIR": str(tmp_path / "file" / "login")}
    with pytest.raises(ConfigurationError, match=r"RESEARCH_LOGIN_DIR=.*: Not a directory"):
        auth_provider(Settings.load(environment(given)))


def test_a_directory_that_others_can_read_is_refused(tmp_path: Path) -> None:
    given = GOOGLE | {"LOGIN_DIR": str(tmp_path / "shared")}
    (tmp_path / "shared").mkdir()
    for mode in (0o740, 0o702):
        (tmp_path / "shared").chmod(mode)
        with pytest.raises(
            ConfigurationError, match=r"RESEARCH_LOGIN_DIR=.*: other users can read or write it"
        ):
            auth_provider(Settings.load(environment(given)))
    auth_provider(Settings.load(environment(given | {"LOGIN_DIR": str(tmp_path / "shared" / "login")})))
    assert (tmp_path / "shared" / "login").stat().st_mode & 0o077 == 0


def test_a_directory_inside_a_research_folder_is_refused(tmp_path: Path) -> None:
    given = GOOGLE | {"LOGIN_DIR": str(tmp_path / "login"), "ROOTS": f"r={tmp_path}"}
    with pytest.raises(ConfigurationError, match="lies inside the research folder r: name one outside"):
        auth_provider(Settings.load(environment(given)))
    assert not (tmp_path / "login").exists()


def test_a_secret_is_in_no_setting_that_is_shown_and_in_no_line_of_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = GOOGLE | {
        "LOGIN_KEY": "the-key-of-the-login-has-32-bytes",
        "LOGIN_DIR": str(tmp_path / "login"),
        "ROOTS": str(tmp_path / "r"),
    }
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        app(["config"])
    shown = capsys.readouterr().out
    assert "RESEARCH_LOGIN_CLIENT_SECRET" in shown
    fastmcp = logging.getLogger("fastmcp")
    monkeypatch.setattr(fastmcp, "propagate", True)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, logger="fastmcp"):
        provider = auth_provider(Settings.load())
    assert "OAuth" in caplog.text
    for told in (shown, caplog.text, repr(provider), repr(Settings.load())):
        assert not any(str(given[name]) in told for name in ("LOGIN_CLIENT_SECRET", "LOGIN_KEY"))


@pytest.mark.parametrize(
    ("hosts", "origins", "always", "expected"),
    [
        ([], [], False, ([], [])),
        ([], [], True, (["b.example"], ["https://b.example:8443"])),
        (["a"], [], False, (["a", "b.example"], ["https://b.example:8443"])),
        ([], ["https://p"], False, ([], ["https://p", "https://b.example:8443"])),
    ],
)
def test_the_public_address_is_one_that_requests_may_name(
    hosts: list[str], origins: list[str], always: bool, expected: tuple[list[str], list[str]]
) -> None:
    url = "https://b.example:8443/path"
    assert trusted_names(hosts, origins, public_url=url, always=always) == expected
    assert trusted_names(hosts, origins, public_url=None, always=always) == (hosts, origins)
