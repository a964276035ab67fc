"""The failures of calls to upstream servers, and which of them are worth another attempt."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import anyio

from research_shared.errors import BackendUnavailable
from research_shared.retry import Verdict


@cache
def transport_failures() -> tuple[type[Exception], ...]:
    """What says that a connection could not be made or that it broke.

    A slow answer is none: asking again would only add load. The HTTP libraries are imported when a call has failed.
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

    `transient` says that the same request may succeed if it is sent again, `partial` that the client has already been
    told something of the failed attempt (progress, a log line, a question), `retry_after_s` what the upstream asks for.
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
    """An error and what it was raised from, groups included, outermost first."""
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
    """Whether sending the request again can help, as `RetryPolicy` wants to know it.

    Works for `UpstreamFailure` and for the bare transport errors that FastMCP's own proxies let through.
    """
    for cause in causes(error):
        if isinstance(cause, UpstreamFailure):
            if not cause.transient or cause.partial:
                return False
            return cause.retry_after_s if cause.retry_after_s is not None else True
    return any(isinstance(cause, transport_failures()) for cause in causes(error))
