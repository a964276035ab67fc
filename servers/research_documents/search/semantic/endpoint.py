"""An OpenAI-compatible `/v1/embeddings` as the source of vectors: Ollama, LM Studio, vLLM, OpenAI, Voyage and others."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import numpy as np
from pydantic import SecretStr

from research_documents.search.semantic.embedder import EmbeddingFailed, Vectors
from research_shared.base_errors import ConfigurationError
from research_shared.errors import DeadlineExceeded
from research_shared.proxies import usable_proxies
from research_shared.retry import RetryPolicy, Verdict, retry_after, should_retry

MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
ENDPOINT_CONNECT_TIMEOUT_S: Final = 10.0
_KEY_REFUSED: Final = frozenset({401, 403})
_NO_SUCH_ADDRESS: Final = frozenset({404, 405})


class _BadStatus(Exception):
    """A response that is no answer."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry = should_retry(headers, status)
        self.wait_s = retry_after(headers)


def embeddings_address(url: str) -> str:
    """Return the address that texts are posted to: the base URL may be given as a server's own SDK takes it.

    >>> embeddings_address("http://localhost:11434"), embeddings_address("https://api.voyageai.com/v1/embeddings")
    ('http://localhost:11434/v1/embeddings', 'https://api.voyageai.com/v1/embeddings')
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/embeddings")
    return parts._replace(path=(path or "/v1") + "/embeddings", fragment="").geturl()


class EmbeddingEndpoint:
    """Asks a server for vectors. `retry` says how often and how long; a query is asked for once.

    `timeout_s` is the time that one answer may take, `batch` the number of passages that are sent together. The
    prefixes are put before each query and each passage, as some models were trained.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: SecretStr | None = None,
        batch: int = 32,
        timeout_s: float = 60.0,
        retry: RetryPolicy | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        new_client: Callable[[], httpx.AsyncClient] | None = None,
    ) -> None:
        self.batch = batch
        self._address = embeddings_address(url)
        self._model = model
        self._key = key
        self._timeout_s = timeout_s
        self._retry = retry or RetryPolicy()
        self._prefixes = {True: query_prefix, False: passage_prefix}
        self._new_client = new_client or self._default_client
        self._client: httpx.AsyncClient | None = None

    def _default_client(self) -> httpx.AsyncClient:
        # A redirect would carry the documents' text, and perhaps the key, to a host that is not configured.
        return httpx.AsyncClient(
            follow_redirects=False, timeout=httpx.Timeout(self._timeout_s, connect=ENDPOINT_CONNECT_TIMEOUT_S)
        )

    async def identity(self) -> str:
        """Return a digest of the address, the model's name and the prefixes."""
        whole = [self._address, self._model, self._prefixes[True], self._prefixes[False]]
        return f"endpoint:{hashlib.sha256(json.dumps(whole).encode()).hexdigest()}"

    async def embed(self, texts: Sequence[str], *, query: bool) -> Vectors:
        """Return one vector for each text.

        Raises:
            EmbeddingFailed: the server cannot be reached, refuses, or answers something else.
        """
        prefix = self._prefixes[query]
        body: dict[str, object] = {"model": self._model, "input": [prefix + text for text in texts]}

        async def attempt(_number: int) -> Vectors:
            return _vectors_of(await self._post(body), len(texts))

        try:
            if query:  # somebody waits for it
                return await attempt(1)
            return await self._retry.run(attempt, verdict=_verdict)
        except _BadStatus as refusal:
            raise _failure_of(refusal) from None
        except ConfigurationError as error:
            raise EmbeddingFailed(error.message) from error
        except DeadlineExceeded as error:
            raise EmbeddingFailed("the embeddings endpoint does not answer in time") from error
        except httpx.TimeoutException as error:
            raise EmbeddingFailed("the embeddings endpoint does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbeddingFailed("the embeddings endpoint cannot be reached") from error

    async def _post(self, body: dict[str, object]) -> object:
        headers = {"authorization": f"Bearer {self._key.get_secret_value()}"} if self._key else {}
        if self._client is None:
            with usable_proxies():
                self._client = self._new_client()
        async with self._client.stream("POST", self._address, json=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise _BadStatus(response.status_code, response.headers)
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MAX_RESPONSE_BYTES:
                    raise EmbeddingFailed("the embeddings endpoint gave more than fits")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise EmbeddingFailed("the answer of the embeddings endpoint is not JSON") from error

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _verdict(error: Exception) -> Verdict:
    if isinstance(error, _BadStatus):
        return error.retry and (error.wait_s or True)
    return isinstance(error, httpx.TransportError)


def _failure_of(refusal: _BadStatus) -> EmbeddingFailed:
    if refusal.status in _KEY_REFUSED:
        return EmbeddingFailed("the embeddings endpoint refuses the key")
    if refusal.status in _NO_SUCH_ADDRESS:
        return EmbeddingFailed("the embeddings endpoint or its model does not exist")
    return EmbeddingFailed(
        f"the embeddings endpoint answers with status {refusal.status}",
        retry_after_s=refusal.wait_s,
        about_texts=not refusal.retry,
    )


def _vectors_of(payload: object, count: int) -> Vectors:
    """Return the vectors of an answer in the order of the texts.

    Raises:
        EmbeddingFailed: there are not so many, they differ in size, or hold something that is no number.
    """
    unexpected = EmbeddingFailed("the answer of the embeddings endpoint is not one vector for each text")
    match payload:
        case {"data": list(items)} if len(items) == count:
            pass
        case _:
            raise unexpected
    vectors: dict[int, Any] = {}
    for position, item in enumerate(items):
        match item:
            case {"embedding": list(numbers)}:
                index = item.get("index", position)
                vectors[index if isinstance(index, int) else position] = numbers
            case _:
                raise unexpected
    if sorted(vectors) != list(range(count)):
        raise unexpected
    try:
        found = np.array([vectors[index] for index in range(count)], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise unexpected from error
    if found.ndim != 2 or not found.shape[1] or not np.isfinite(found).all():  # noqa: PLR2004  (a row for each text)
        raise unexpected
    return found
