"""Each way in which a cluster can fail has one sentence, with what to do about it, and without secrets."""

import ssl
import sys
from collections.abc import Callable

import httpx
import pytest
import yaml

from research_documents.opensearch.client import ClusterClient, ClusterFailed, failure_of
from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from support import pages

SECRET = "a-password-of-the-cluster"
Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, waits: list[float] | None = None) -> ClusterClient:
    slept: list[float] = [] if waits is None else waits
    return ClusterClient(
        "https://search.example",
        auth=("u", SECRET),
        transport=httpx.MockTransport(handler),
        sleep=slept.append,
        random=lambda: 1.0,
    )


def error(status: int, kind: str = "some_exception", reason: str = "of a text") -> httpx.Response:
    return httpx.Response(status, json={"error": {"type": kind, "reason": reason}, "status": status})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


def untrusted(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("certificate", request=request) from ssl.SSLCertVerificationError("self-signed")


@pytest.mark.parametrize(
    ("handler", "message", "hint", "retryable"),
    [
        (unreachable, "cannot be reached", "RESEARCH_SEARCH_URL", True),
        (silent, "does not answer in time", "RESEARCH_SEARCH_URL", True),
        (untrusted, "no secure connection", "SSL_CERT_FILE", False),
        (lambda _: error(401), "does not accept the credentials", "RESEARCH_SEARCH_PASSWORD", False),
        (lambda _: error(403), "does not let this user", "RESEARCH_SEARCH_INDEX", False),
        (
            lambda _: error(
                429,
                "cluster_block_exception",
                "index [r] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has "
                "read-only-allow-delete block];",
            ),
            "the disk of the search cluster is too full",
            "Free space",
            False,
        ),
        (lambda _: error(429), "status 429 (some_exception)", "busy", True),
        (lambda _: error(503), "status 503", "busy", True),
        (lambda _: error(404, "index_not_found_exception"), "index_not_found_exception", "log", False),
        (lambda _: error(409, "version_conflict_engine_exception"), "status 409", "log", False),
        (lambda _: httpx.Response(502, text="<html>"), "status 502", "busy", True),
        (
            lambda _: httpx.Response(302, headers={"location": "http://x"}),
            "redirects",
            "RESEARCH_SEARCH_URL",
            False,
        ),
        (lambda _: httpx.Response(200, text="<html>"), "no OpenSearch cluster", "REST interface", False),
        (lambda _: httpx.Response(200, json=[1]), "no OpenSearch cluster", "REST interface", False),
    ],
)
def test_a_failure_says_what_to_do(handler: Handler, message: str, hint: str, retryable: bool) -> None:
    with pytest.raises(ClusterFailed) as failed:
        client_of(handler).request("GET", "/r/_search", {"query": "private"})
    assert message in failed.value.message
    assert hint in failed.value.hint
    assert failed.value.retryable is retryable
    for text in (failed.value.message, failed.value.hint):
        assert SECRET not in text
        assert "search.example" not in text.replace("https://search.example:9200", "")
        assert "of a text" not in text


def test_a_busy_cluster_is_asked_again_after_as_long_as_it_wishes() -> None:
    answers = [
        httpx.Response(429, headers={"retry-after": "7"}, json={}),
        error(503),
        httpx.Response(200, json={"items": [{"index": {"status": 201}}, {"delete": {"status": 404}}]}),
    ]
    bodies: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        assert request.url.path == "/_bulk"
        return answers.pop(0)

    waits: list[float] = []
    outcome = client_of(answer, waits).bulk([b'{"index":{}}', b"{}", b'{"delete":{}}'], attempts=3)
    assert outcome == [{"status": 201}, {"status": 404}]
    assert waits == [7.0, 1.0]
    assert bodies == [b'{"index":{}}\n{}\n{"delete":{}}\n'] * 3


def test_it_is_asked_as_often_as_allowed() -> None:
    waits: list[float] = []
    with pytest.raises(ClusterFailed, match="cannot be reached"):
        client_of(unreachable, waits).request("GET", "/", attempts=4)
    assert waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({}, None),
        ({"RESEARCH_SEARCH_USER": "u", "RESEARCH_SEARCH_PASSWORD": "p"}, "Basic dTpw"),
        ({"RESEARCH_SEARCH_KEY": SECRET}, f"Bearer {SECRET}"),
    ],
)
def test_the_settings_say_who_asks(
    given: dict[str, str], header: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[httpx.Request] = []

    def send(_self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", send)
    settings = Settings.load({"RESEARCH_SEARCH_URL": "https://search.example/os/", **given})
    client = ClusterClient.from_settings(settings)
    assert client.request("GET", "/_cat") == {}
    client.close()
    assert asked[0].headers.get("authorization") == header
    assert str(asked[0].url) == "https://search.example/os/_cat"


def test_without_an_address_there_is_no_client() -> None:
    with pytest.raises(ConfigurationError, match="RESEARCH_SEARCH_URL is not set"):
        ClusterClient.from_settings(Settings.load({}))


@pytest.mark.parametrize(
    "proxy",
    ["http://u:secretpart/rest@proxy:3128", "ftp://u:secretpart@proxy", "socks5://u:secretpart@proxy"],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY") as refused:
        ClusterClient("https://search.example:9200")
    assert "secretpart" not in str(refused.value)


def test_a_key_that_no_header_can_carry_is_named_and_no_proxy() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^RESEARCH_SEARCH_KEY has letters that no HTTP header"
    ) as refused:
        ClusterClient("https://search.example:9200", headers={"authorization": "Bearer ключ"})
    assert "ключ" not in str(refused.value)


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        ClusterClient("https://search.example")


def test_the_hint_about_missing_rights_names_those_of_the_roles_that_the_page_prints() -> None:
    (roles,) = [
        yaml.safe_load(block.text)
        for block in pages.page("docs/opensearch.md").blocks
        if block.language == "yaml"
    ]
    index = Settings.model_fields["search_index"].default
    rights = set()
    for role in roles.values():
        (granted,) = role["index_permissions"]
        assert granted["index_patterns"] == [f"{index}-*"]
        rights |= {*granted["allowed_actions"], *role.get("cluster_permissions", ())}
    hint = failure_of(403).hint or ""
    assert rights == {right for right in rights if right in hint}
    assert len(rights) == 5
