"""A provider's model over HTTP, with the operator's key."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import anyio
import httpx
from pydantic import SecretStr

from research_reasoning.models.concurrent import Unavailable
from research_reasoning.models.limiter import CallLimiter, Flight
from research_reasoning.models.protocol import BUSY_STATUSES, AttemptFailed, Body, ContextExceeded, RawAnswer
from research_reasoning.models.provider import wire
from research_reasoning.models.provider.breaker import CircuitBreaker
from research_reasoning.models.provider.dialects import Dialect, dialect_of, endpoint
from research_reasoning.models.provider.refusals import (
    QUOTA_CODES,
    Refusal,
    error_status,
    output_cap,
    refusal_of,
    refused_parameters,
    refuses_key,
    shown_reason,
    too_long,
)
from research_reasoning.remedies import ProviderCause, provider_hint
from research_shared.lifespan import SharedLifespan
from research_shared.logs import get_logger
from research_shared.proxies import usable_proxies
from research_shared.retry import retry_after, should_retry

log = get_logger("research.provider")

MAX_PROVIDER_RESPONSE_BYTES = 4 * 1024 * 1024
"""Larger responses are rejected."""

PROVIDER_CONNECT_TIMEOUT_S = 10.0

_BAD_REQUEST = frozenset({400, 404, 413, 422})
_NO_CREDIT = 402
_HTTP_SERVER_ERROR = 500
_REQUEST_IDS = ("request-id", "x-request-id", "apim-request-id", "x-ms-request-id", "cf-ray")


@dataclass(slots=True)
class Learned:
    """What a server's refusals said about it. Kept as long as its client lives."""

    refused: frozenset[str] = frozenset()
    """Parameters that it does not take."""
    output_tokens: int | None = None
    """The most output tokens that it gives."""
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _ProviderResponse:
    """`status` is that of an error sent with status 200, too."""

    status: int
    headers: httpx.Headers
    text: bytes
    payload: object


@dataclass
class Provider(SharedLifespan):
    """Client of a model provider. One instance serves all requests of a server and holds no state of any call.

    `kind` is one of `dialects.DIALECTS`. Its connections stay open while a server or a call has entered it. It remembers
    what the server's refusals said about parameters and sizes.
    """

    kind: str
    model: str
    key: SecretStr | None = None
    base_url: str | None = None
    concurrency: int = 32
    attempt_timeout_s: float = 600.0
    options: wire.Options = field(default_factory=wire.Options)
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    new_client: Callable[[], httpx.AsyncClient] | None = None
    learned: Learned = field(default_factory=Learned, init=False)
    dialect: Dialect = field(init=False)
    _url: str = field(init=False)
    _client: httpx.AsyncClient | None = field(default=None, init=False)
    _limiter: CallLimiter | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.dialect = dialect_of(self.kind, self.base_url)
        self._url = endpoint(self.dialect, self.base_url)

    async def _open(self) -> None:
        with usable_proxies():
            self._client = (self.new_client or self._default_client)()

    async def _close(self) -> None:
        client, self._client, self._limiter = self._client, None, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def _default_client(self) -> httpx.AsyncClient:
        # A redirect would carry the documents' text, and perhaps the key, to a host that is not configured. The limiter
        # knows how long an answer may take, so that the connections have no limit of their own.
        return httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=PROVIDER_CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=self.concurrency),
        )

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("the provider has not been entered")
        return self._client

    @property
    def limiter(self) -> CallLimiter:
        """Bounds the calls in flight over all requests."""
        if self._limiter is None:
            self._limiter = CallLimiter(self.concurrency, self.dialect.first_calls)
        return self._limiter

    async def call(self, body: Body, max_tokens: int) -> RawAnswer:
        """Make one attempt. A parameter that the server does not take is left out, and the attempt is repeated at once.

        Raises:
            ContextExceeded: the prompt is longer than the model takes.
            AttemptFailed: the attempt produced nothing usable.
            Unavailable: the provider's quota is used up, or it refuses the key.
        """
        if wait := self.breaker.admit():
            raise AttemptFailed(
                "circuit_open", f"the provider kept failing and is left alone for {wait:.0f} s", retry=False
            )
        while True:
            room = min(max_tokens, self.learned.output_tokens or max_tokens)
            sent = wire.request(
                self.dialect, self.model, body, room, options=self.options, refused=self.learned.refused
            )
            response, busy = await self._send(sent)
            if response.status == httpx.codes.OK:
                return self._read(response)
            refusal = refusal_of(response.status, response.payload, response.text.decode("utf-8", "replace"))
            self._log(response, refusal)
            if not (response.status in _BAD_REQUEST and self._learns(refusal, sent, room)):
                raise self._failure(response, refusal, busy=busy)

    async def _send(self, sent: wire.Request) -> tuple[_ProviderResponse, bool]:
        """Return the response to a request, and whether the server refused it because it serves other calls."""
        with self.limiter.flight() as flight:
            try:
                with self.limiter.time_limit(self.attempt_timeout_s, flight) as scope:
                    response = await self._post(sent.body)
                if scope.cancelled_caught:
                    raise TimeoutError  # noqa: TRY301  (as a time-out of the connection)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                slow = isinstance(error, TimeoutError | httpx.TimeoutException)
                if slow:
                    self.limiter.overloaded(flight)
                self.breaker.failed()
                raise _no_answer(error, slow=slow) from error
            except BaseException:
                self.breaker.abandoned()
                raise
            return response, self._note(flight, response.status)

    def _note(self, flight: Flight, status: int) -> bool:
        """Tell the limiter and the breaker how the server does. Return whether it only has too much to do."""
        busy = status in BUSY_STATUSES
        others = busy and self.limiter.serves_others(flight)
        if busy:
            self.limiter.overloaded(flight)
        elif status < _HTTP_SERVER_ERROR:
            self.limiter.answered(flight)
        if others or status == httpx.codes.TOO_MANY_REQUESTS:
            self.breaker.abandoned()
        elif status >= _HTTP_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
            self.breaker.failed()
        else:
            self.breaker.succeeded()
        return others

    async def _post(self, body: dict[str, object]) -> _ProviderResponse:
        secret = self.key.get_secret_value() if self.key is not None else None
        extra = {name: value.get_secret_value() for name, value in self.headers.items()}
        async with (
            self,
            self._connected().stream(
                "POST", self._url, json=body, headers=wire.headers(self.dialect, secret, extra)
            ) as response,
        ):
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_PROVIDER_RESPONSE_BYTES:
                    raise AttemptFailed("oversized", "the provider's response is too large", retry=False)
        payload = _json(data)
        status = response.status_code
        if status == httpx.codes.OK:
            status = error_status(payload) or status
        return _ProviderResponse(status, response.headers, bytes(data), payload)

    def _read(self, response: _ProviderResponse) -> RawAnswer:
        if response.payload is None:
            raise AttemptFailed(
                "garbage",
                "the provider's answer is not JSON",
                retry=True,
                hint=provider_hint("address"),
            )
        return wire.response(self.dialect, response.payload)

    def _learns(self, refusal: Refusal, sent: wire.Request, room: int) -> bool:
        """Remember what a refusal says about the server. Return whether the next request differs from the one that was sent.

        Calls are concurrent: another one may have learned the same meanwhile.

        Raises:
            ContextExceeded: the refusal is about the length of the prompt.
        """
        learned = self.learned
        cap = output_cap(refusal)
        if cap is not None and cap < room:
            learned.output_tokens = min(cap, learned.output_tokens or cap)
            return True
        if (sizes := too_long(refusal)) is not None:
            limit, size = sizes
            learned.context_tokens = limit or learned.context_tokens
            raise ContextExceeded(self._message(refusal), limit=limit, sent=size)
        named = refused_parameters(refusal, sent.optional)
        if named - learned.refused:
            log.warning("the provider does not take parameters; they are left out", parameters=sorted(named))
        learned.refused |= named
        return bool(named)

    def _log(self, response: _ProviderResponse, refusal: Refusal) -> None:
        request_id = next((response.headers[name] for name in _REQUEST_IDS if name in response.headers), None)
        log.warning(
            "the provider refused a request",
            status=refusal.status,
            reason=self._reason(refusal) or None,
            request_id=request_id and shown_reason(Refusal(status=0, message=request_id)),
        )

    def _secrets(self) -> Iterator[str]:
        if self.key is not None:
            yield self.key.get_secret_value()
        yield from (value.get_secret_value() for value in self.headers.values())

    def _reason(self, refusal: Refusal) -> str:
        return shown_reason(refusal, self._secrets())

    def _message(self, refusal: Refusal) -> str:
        reason = self._reason(refusal)
        return f"the provider answered with status {refusal.status}" + (f": {reason}" if reason else "")

    def _failure(self, response: _ProviderResponse, refusal: Refusal, *, busy: bool = False) -> Exception:
        """Return the error of a response that is no answer."""
        status = refusal.status
        reason = self._reason(refusal)
        more = f": {reason}" if reason else ""
        if refusal.code in QUOTA_CODES or status == _NO_CREDIT:
            return Unavailable(f"the provider's quota is used up{more}")
        again = should_retry(response.headers, status)
        if refuses_key(refusal) and not again:
            return Unavailable(
                f"the provider does not accept RESEARCH_PROVIDER_KEY{more}", hint=provider_hint("key")
            )
        if again:
            wait = retry_after(response.headers)
            return AttemptFailed(
                f"http_{status}", self._message(refusal), retry=True if wait is None else wait, busy=busy
            )
        return AttemptFailed(
            f"http_{status}",
            self._message(refusal),
            retry=False,
            lasting=status < _HTTP_SERVER_ERROR,
            hint=provider_hint(self._cause(refusal)),
        )

    def _cause(self, refusal: Refusal) -> ProviderCause:
        """Return which setting a lasting refusal speaks of."""
        model = "model" in refusal.searched or self.model.lower() in refusal.searched
        if refusal.status in {404, 405}:
            return "model" if model else "address"
        if httpx.codes.is_redirect(refusal.status):
            return "address"
        return "model" if refusal.parameter == "model" or "model_not_found" in refusal.code else "request"


def _no_answer(error: Exception, *, slow: bool) -> AttemptFailed:
    """Return the failure of an attempt that the server did not answer."""
    if slow:
        return AttemptFailed(
            "timeout", "the provider did not answer in time", retry=True, hint=provider_hint("time")
        )
    causes = list(_causes(error))
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return AttemptFailed(
            "tls",
            "no secure connection to the provider: its certificate or protocol is not accepted",
            retry=False,
            lasting=True,
            hint=provider_hint("tls"),
        )
    unknown = [cause for cause in causes if isinstance(cause, socket.gaierror)]
    if unknown and unknown[0].errno != socket.EAI_AGAIN:
        return AttemptFailed(
            "dns",
            "the host of the provider is not known",
            retry=False,
            lasting=True,
            hint=provider_hint("address"),
        )
    if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        return AttemptFailed(
            "address",
            "the address of the provider cannot be used",
            retry=False,
            lasting=True,
            hint=provider_hint("address"),
        )
    if isinstance(error, httpx.ConnectError):
        return AttemptFailed(
            "connection",
            "the provider could not be connected to",
            retry=True,
            hint=provider_hint("connection"),
        )
    return AttemptFailed(
        "connection", "the provider broke the connection", retry=True, hint=provider_hint("connection")
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _json(data: bytes | bytearray) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
