"""The HTTP client of the cluster: JSON there and back, attempts, and failures in one sentence with what to do about them."""

import json
import random
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from research_shared.base_errors import ConfigurationError
from research_shared.logs import get_logger
from research_shared.proxies import usable_proxies
from research_shared.retry import retry_after, should_retry

if TYPE_CHECKING:
    from research_shared.settings import Settings

log = get_logger("research.opensearch")

CLUSTER_CONNECT_TIMEOUT_S: Final = 10.0
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
_WATERMARK: Final = ("disk usage exceeded", "read_only_allow_delete", "flood-stage watermark")


class ClusterFailed(Exception):
    """The cluster did not do what it was asked for.

    `message` is a sentence without address, secret or text of a document, `hint` what to do about it. `status` is that of the
    response, None without one. `kind` is the cluster's name for the error, such as `index_not_found_exception`, and `reason` what
    it says about it: for the log, because it may quote anything. `retryable` says whether the same request can succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str,
        status: int | None = None,
        kind: str = "",
        reason: str = "",
        retryable: bool = False,
        wait_s: float = 0.0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retryable = retryable
        self.wait_s = wait_s


class ClusterClient:
    """Asks a cluster. Any number of threads may share one.

    `timeout_s` is the time for one attempt. `headers` say who asks. `sleep` and `random` are for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: httpx.Auth | tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._random = random
        try:
            with usable_proxies():
                self._client = httpx.Client(
                    auth=auth,
                    headers=dict(headers or {}),
                    # A redirect would carry texts of documents, and perhaps the password, to a host that is not configured.
                    follow_redirects=False,
                    timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CLUSTER_CONNECT_TIMEOUT_S)),
                    transport=transport,
                )
        except UnicodeError:
            raise ConfigurationError(
                "RESEARCH_SEARCH_KEY has letters that no HTTP header can carry"
            ) from None
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be used: {error.strerror}"
            ) from error

    @classmethod
    def from_settings(cls, settings: "Settings", *, timeout_s: float = 60.0) -> Self:
        """Return the client of the cluster that the settings name.

        Raises:
            ConfigurationError: the settings name none, or certificates or a proxy that cannot be used.
        """
        if settings.search_url is None:
            raise ConfigurationError("RESEARCH_SEARCH_URL is not set: there is no cluster to ask")
        auth = None
        if settings.search_user is not None and settings.search_password is not None:
            auth = httpx.BasicAuth(settings.search_user, settings.search_password.get_secret_value())
        key = settings.search_key
        headers = {} if key is None else {"authorization": f"Bearer {key.get_secret_value()}"}
        return cls(settings.search_url, auth=auth, headers=headers, timeout_s=timeout_s)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        attempts: int = 1,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Return the cluster's answer to a request. `path` begins with a slash, and may have a query.

        Of several `attempts`, each waits twice as long after the one before, or as long as the cluster asks for. `timeout_s` is
        the time for each, if it is less than that of the client.

        Raises:
            ClusterFailed: it cannot be reached, refuses, or answers something else than a JSON object.
        """
        content = b"" if body is None else json_line(body)
        return self._answer(method, path, content, "application/json", attempts, timeout_s)

    def bulk(
        self, lines: Iterable[bytes], *, attempts: int = 1, refresh: bool = False
    ) -> list[dict[str, Any]]:
        """Send the lines of a bulk request, without their line breaks; return the outcome of each action, in order.

        Raises:
            ClusterFailed: as `request`. What became of a single action is in its outcome.
        """
        content = b"\n".join((*lines, b""))
        path = "/_bulk?refresh=true" if refresh else "/_bulk"
        answer = self._answer("POST", path, content, "application/x-ndjson", attempts)
        items = answer.get("items")
        if not isinstance(items, list):
            raise _not_an_answer()
        return [next(iter(item.values())) for item in items]

    def _answer(
        self,
        method: str,
        path: str,
        content: bytes,
        kind: str,
        attempts: int,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        for attempt in range(1, attempts):
            try:
                return self._attempt(method, path, content, kind, timeout_s)
            except ClusterFailed as failure:
                if not failure.retryable:
                    raise
                log.warning("the cluster is asked again", attempt=attempt, error=failure.message)
                self.pause(attempt, min(failure.wait_s, LONGEST_WAIT_S))
        return self._attempt(method, path, content, kind, timeout_s)

    def pause(self, attempt: int, at_least_s: float = 0.0) -> None:
        """Wait after an attempt (1-based): longer after each, up to `LONGEST_WAIT_S`."""
        backoff = self._random() * min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempt - 1))
        self._sleep(max(at_least_s, backoff))

    def _attempt(
        self, method: str, path: str, content: bytes, kind: str, timeout_s: float | None
    ) -> dict[str, Any]:
        try:
            response = self._client.request(
                method,
                self._url + path,
                content=content or None,
                headers={"content-type": kind} if content else {},
                timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else min(timeout_s, self._timeout_s),
            )
        except httpx.TimeoutException as error:
            raise ClusterFailed(
                "the search cluster does not answer in time",
                hint="Look at its load, and whether RESEARCH_SEARCH_URL is its address.",
                retryable=True,
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _not_reached(error) from error
        if response.status_code >= HTTPStatus.BAD_REQUEST or response.is_redirect:
            raise _cluster_refusal(response)
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise _not_an_answer() from error
        if not isinstance(answer, dict):
            raise _not_an_answer()
        return answer


def json_line(value: Any) -> bytes:
    """Return a value as JSON on one line, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _not_an_answer() -> ClusterFailed:
    return ClusterFailed(
        "what answers at RESEARCH_SEARCH_URL is no OpenSearch cluster",
        hint="Set it to the address of the cluster's REST interface, such as https://search.example:9200.",
    )


def _not_reached(error: Exception) -> ClusterFailed:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return ClusterFailed(
                "there is no secure connection to the search cluster: its certificate or protocol is not accepted",
                hint="Name the file of the authority that signed its certificate with SSL_CERT_FILE, and check the host "
                "name in RESEARCH_SEARCH_URL.",
            )
        cause = cause.__cause__ or cause.__context__
    return ClusterFailed(
        "the search cluster cannot be reached",
        hint="Check RESEARCH_SEARCH_URL, and that the cluster is running.",
        retryable=True,
    )


def _cluster_refusal(response: httpx.Response) -> ClusterFailed:
    """Return the failure of a response that is no answer."""
    if response.is_redirect:
        return ClusterFailed(
            "the search cluster redirects to another address, which is not followed",
            hint="Set RESEARCH_SEARCH_URL to the address that it leads to.",
            status=response.status_code,
        )
    kind, reason = _cause_of(response)
    return failure_of(response.status_code, kind=kind, reason=reason, headers=response.headers)


def failure_of(
    status: int, *, kind: str = "", reason: str = "", headers: Mapping[str, str] | None = None
) -> ClusterFailed:
    """Return the failure of a response or of one action of a bulk request, by its status and what the cluster says."""
    headers = headers or {}
    # A conflict is what the caller has to decide about.
    retryable = status != HTTPStatus.CONFLICT and should_retry(headers, status)
    wait_s = retry_after(headers) or 0.0
    if status == HTTPStatus.UNAUTHORIZED:
        message = "the search cluster does not accept the credentials"
        hint = "Check RESEARCH_SEARCH_USER and RESEARCH_SEARCH_PASSWORD, or RESEARCH_SEARCH_KEY."
    elif any(mark in reason for mark in _WATERMARK):
        message = "the disk of the search cluster is too full: its indices can only be read"
        hint = "Free space on the cluster's disks. It lifts the block by itself; push again then."
        retryable = False
    elif status == HTTPStatus.FORBIDDEN:
        message = "the search cluster does not let this user do that"
        hint = (
            "On the indices of RESEARCH_SEARCH_INDEX searching needs read and indices:admin/mappings/get, pushing "
            "indices_all; pushing needs cluster_composite_ops of the cluster as well, and for vectors cluster:monitor/nodes/info."
        )
    else:
        message = f"the search cluster answers with status {status}{f' ({kind})' if kind else ''}"
        hint = (
            "Wait a moment: the cluster is busy or starting." if retryable else "Look at the cluster's log."
        )
    return ClusterFailed(
        message, hint=hint, status=status, kind=kind, reason=reason, retryable=retryable, wait_s=wait_s
    )


def _cause_of(response: httpx.Response) -> tuple[str, str]:
    """Return the kind of an error and what the cluster says about it; two empty texts if it says nothing that is known."""
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return "", ""
    match answer:
        case {"error": {"type": str(kind), "reason": str(reason)}}:
            return kind, reason
        case {"error": {"type": str(kind)}}:
            return kind, ""
    return "", ""
