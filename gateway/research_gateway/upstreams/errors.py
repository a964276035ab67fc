"""Failures of upstream calls, and which of them are retryable."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import anyio

from research_shared.errors import BackendUnavailable
from research_shared.retry import Verdict


@cache
def transport_failures() -> tuple[type[Exception], ...]:
    """Return the exception types of a connection that failed or broke.

    Read timeouts are excluded: repeating a slow request adds load. The HTTP libraries are imported on first use.
    """
    import httpx
    import httpx2

    return (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.RemoteProtocolError,
        httpx2.ReadError,
        httpx2.WriteError,
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.RemoteProtocolError,
        httpx.ReadError,
        httpx.WriteError,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
        ConnectionError,
    )


class UpstreamFailure(BackendUnavailable):
    """A call that an upstream did not answer.

    `transient`: the same request may succeed later. `partial`: progress, a log line or a question of the failed
    attempt has already reached the client. `retry_after_s`: delay requested by the upstream, in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        upstream: str,
        transient: bool,
        partial: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        details: dict[str, Any] = {} if retry_after_s is None else {"retry_after_s": retry_after_s}
        super().__init__(message, upstream=upstream, **details)
        self.upstream = upstream
        self.transient = transient
        self.partial = partial
        self.retry_after_s = retry_after_s


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first. Exception groups are expanded."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        current = todo.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            todo.extend(current.exceptions)
        todo.append(current.__cause__)


def upstream_verdict(error: Exception) -> Verdict:
    """Return the `RetryPolicy` verdict: False (do not retry), True, or the delay requested by the upstream in seconds.

    Accepts `UpstreamFailure` and the bare transport errors that FastMCP's own proxies raise.
    """
    for cause in causes(error):
        if isinstance(cause, UpstreamFailure):
            if not cause.transient or cause.partial:
                return False
            return cause.retry_after_s if cause.retry_after_s is not None else True
    return any(isinstance(cause, transport_failures()) for cause in causes(error))
