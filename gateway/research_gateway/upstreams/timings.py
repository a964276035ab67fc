"""How long a gateway waits for an upstream, and how often it asks."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamTimings:
    """Times of the relay to one upstream, all in seconds.

    `init_timeout_s`: longest time for the first exchange of a session, a process's start included.
    `list_ttl_s`: time for which a list is served from the cache. `list_timeout_s`: longest time for a list.
    `stale_list_wait_s`: time to wait for a refresh before the stale list is served; all gateway listings wait with it.
    `poll_interval_s`: interval at which an available upstream is polled, so that its loss is noticed.
    `first_backoff_s`, `longest_backoff_s`: delays before an unavailable upstream is asked for its lists again.
    `close_reason_timeout_s`: time to wait for the error that closed a session.
    """

    init_timeout_s: float = 10.0
    list_ttl_s: float = 5.0
    list_timeout_s: float = 5.0
    stale_list_wait_s: float = 0.5
    poll_interval_s: float = 10.0
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 30.0
    close_reason_timeout_s: float = 0.5


DEFAULT_TIMINGS = UpstreamTimings()
