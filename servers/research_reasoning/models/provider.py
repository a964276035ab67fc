"""A provider's model over HTTP, with the operator's key."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import httpx
from pydantic import SecretStr

from research_reasoning.models import wire
from research_reasoning.models.breaker import CircuitBreaker
from research_reasoning.models.concurrent import Unavailable
from research_reasoning.models.protocol import AttemptFailed, Body, RawAnswer
from research_shared.lifespan import SharedLifespan
from research_shared.retry import retry_after

MAX_PROVIDER_RESPONSE_BYTES = 4 * 1024 * 1024
"""Larger responses are rejected."""

_OVERLOADED = {408, 429, 500, 502, 503, 504, 529}
_SERVER_ERROR = 500


@dataclass
class Provider(SharedLifespan):
    """Client of a model provider. One instance serves all requests of a server and holds no state of any call.

    Its connections stay open while a server or a call has entered it.
    """

    kind: wire.WireFormat
    model: str
    key: SecretStr | None = None
    base_url: str | None = None
    concurrency: int = 32
    attempt_timeout_s: float = 600.0
    breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    new_client: Callable[[], httpx.AsyncClient] | None = None
    _client: httpx.AsyncClient | None = field(default=None, init=False)
    _limiter: anyio.CapacityLimiter | None = field(default=None, init=False)

    async def _open(self) -> None:
        self._client = (self.new_client or self._default_client)()

    async def _close(self) -> None:
        client, self._client, self._limiter = self._client, None, None
        if client is not None:
            with anyio.CancelScope(shield=True):
                await client.aclose()

    def _default_client(self) -> httpx.AsyncClient:
        # A redirect would carry the documents' text, and perhaps the key, to a host that nobody configured.
        return httpx.AsyncClient(
            follow_redirects=False,
            timeout=httpx.Timeout(self.attempt_timeout_s, connect=10.0),
            limits=httpx.Limits(max_connections=self.concurrency),
        )

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("the provider has not been entered")
        return self._client

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        """Bounds the calls in flight over all requests."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self.concurrency)
        return self._limiter

    async def call(self, body: Body, max_tokens: int) -> RawAnswer:
        """Make one attempt.

        Raises:
            AttemptFailed: the attempt produced nothing usable.
            Unavailable: the provider's quota is used up, or it refuses the key.
        """
        if wait := self.breaker.admit():
            raise AttemptFailed(
                "circuit_open", f"the provider kept failing and is left alone for {wait:.0f} s", retry=False
            )
        told = False
        try:
            with anyio.fail_after(self.attempt_timeout_s):
                status, headers, data = await self._post(body, max_tokens)
            told = True
            self._note(status)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            told = True
            self.breaker.failed()
            slow = isinstance(error, TimeoutError | httpx.TimeoutException)
            reason, what = (
                ("timeout", "did not answer in time") if slow else ("connection", "broke the connection")
            )
            raise AttemptFailed(reason, f"the provider {what}", retry=True) from error
        finally:
            if not told:
                self.breaker.abandoned()
        return self._read(status, headers, data)

    def _note(self, status: int) -> None:
        if status in _OVERLOADED or status >= _SERVER_ERROR:
            self.breaker.failed()
        else:
            self.breaker.succeeded()

    async def _post(self, body: Body, max_tokens: int) -> tuple[int, httpx.Headers, bytes]:
        secret = self.key.get_secret_value() if self.key is not None else None
        async with (
            self,
            self._connected().stream(
                "POST",
                wire.endpoint(self.kind, self.base_url),
                json=wire.request(self.kind, self.model, body, max_tokens, self.base_url),
                headers=wire.headers(self.kind, secret),
            ) as response,
        ):
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_PROVIDER_RESPONSE_BYTES:
                    raise AttemptFailed("oversized", "the provider's response is too large", retry=False)
            return response.status_code, response.headers, bytes(data)

    def _read(self, status: int, headers: httpx.Headers, data: bytes) -> RawAnswer:
        payload = _json(data)
        if status == httpx.codes.OK:
            if payload is None:
                raise AttemptFailed("garbage", "the provider's answer is not JSON", retry=True)
            return wire.response(self.kind, payload)
        code = wire.error_code(payload)
        if code in wire.QUOTA_CODES:
            raise Unavailable("the provider's quota is used up")
        if status in {401, 403}:
            raise Unavailable("the provider does not accept RESEARCH_PROVIDER_KEY")
        message = f"the provider answered with status {status}"
        if status in _OVERLOADED or status >= _SERVER_ERROR:
            wait = retry_after(headers)
            raise AttemptFailed(f"http_{status}", message, retry=True if wait is None else wait)
        raise AttemptFailed(f"http_{status}", message, retry=False)


def _json(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
