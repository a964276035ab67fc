"""The lease of an index: a record on the cluster that says which indexer writes, so that only one does."""

import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from research_documents.opensearch.client import ClusterClient, ClusterFailed
from research_documents.opensearch.layout import IndexNames, iso_now

LEASE_S: Final = 30.0
"""An indexer that has not renewed its lease for so long has lost it."""
RENEWALS: Final = 4
"""How often a lease is renewed, and looked at by others, within its time."""
LEFT_AFTER: Final = timedelta(minutes=5)
"""How far the clocks of two machines may be apart before an indexer at work counts as gone."""
_LEASE_ATTEMPTS: Final = 3


class IndexHeld(Exception):
    """Another indexer has the lease. `message` says which one."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class IndexLease:
    """The lease of one set of indices. `acquire` it, `renew` it at least every `lease_s` / `RENEWALS`, `release` it at the end.

    Clocks of machines are not compared. A lease that does not change while another indexer looks on for its whole time is
    that of a process that is gone; on the same machine the process itself is looked for, which takes no time.
    `sleep` and `clock` (seconds) are for tests.
    """

    def __init__(
        self,
        client: ClusterClient,
        names: IndexNames,
        *,
        lease_s: float = LEASE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lease_s = lease_s
        self._client = client
        self._address = f"/{names.state}/_doc/lease"
        self._sleep = sleep
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._since = ""
        self._seen: tuple[int, int] = (-1, 0)
        """(sequence number, primary term) of the record as this indexer wrote it."""
        self._lock = threading.Lock()

    def acquire(self, on_wait: Callable[[str], None] = lambda _: None) -> None:
        """Take the lease, if nobody has it or whoever had it is gone. `on_wait` is called with the holder before it waits.

        Raises:
            IndexHeld: another indexer has it.
            ClusterFailed: the cluster fails.
        """
        self._since = iso_now()
        found = self._look()
        if found is None:
            self._write("op_type=create")
            return
        held, seen = found
        if held and not _is_gone(held):
            on_wait(_described(held))
            held, seen = self._await_abandonment(held, seen)
        self._write(f"if_seq_no={seen[0]}&if_primary_term={seen[1]}")

    def _await_abandonment(
        self, held: dict[str, Any], seen: tuple[int, int]
    ) -> tuple[dict[str, Any], tuple[int, int]]:
        """Look on for the time of a lease. Return it as soon as it is released, or at the end if it did not change."""
        lease_s = float(held.get("lease_s", self.lease_s))
        ends = self._clock() + lease_s
        while self._clock() < ends:
            self._sleep(lease_s / RENEWALS)
            found = self._look()
            if found is None or not found[0]:
                return {}, found[1] if found else seen
            if found[1] != seen:
                raise IndexHeld(f"another indexer writes this index: {_described(found[0])}")
        return held, seen

    def renew(self, *, attempts: int = 1) -> None:
        """Say that this indexer is still there. An attempt takes at most the time until the next is due.

        Raises:
            IndexHeld: another indexer took the lease meanwhile.
            ClusterFailed: the cluster fails.
        """
        with self._lock:
            self._write(f"if_seq_no={self._seen[0]}&if_primary_term={self._seen[1]}", attempts=attempts)

    def hold(self) -> None:
        """Make sure that this indexer has the lease, before it writes what nothing else protects. Raises what `renew` raises."""
        self.renew(attempts=_LEASE_ATTEMPTS)

    def release(self) -> None:
        """Give the lease back, if this indexer has it. A cluster that fails keeps it until its time is over."""
        with self._lock, suppress(ClusterFailed, IndexHeld):
            self._write(f"if_seq_no={self._seen[0]}&if_primary_term={self._seen[1]}", held=False)

    def _look(self) -> tuple[dict[str, Any], tuple[int, int]] | None:
        """Return (the lease, empty if it is released; its version), or None without a record."""
        try:
            found = self._client.request(
                "GET", self._address, attempts=_LEASE_ATTEMPTS, timeout_s=self.lease_s / RENEWALS
            )
        except ClusterFailed as failure:
            if failure.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return found["_source"]["lease"], (found["_seq_no"], found["_primary_term"])

    def _write(self, condition: str, *, held: bool = True, attempts: int = _LEASE_ATTEMPTS) -> None:
        lease = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "place": _this_machine(),
            "token": self._token,
            "since": self._since,
            "renewed_at": iso_now(),
            "lease_s": self.lease_s,
        }
        try:
            written = self._client.request(
                "PUT",
                f"{self._address}?{condition}&refresh=true",
                {"lease": lease if held else {}},
                attempts=attempts,
                timeout_s=self.lease_s / RENEWALS,
            )
        except ClusterFailed as failure:
            if failure.status != HTTPStatus.CONFLICT:
                raise
            found = self._look()
            # An attempt that timed out may have succeeded.
            if found is None or found[0].get("token") != self._token:
                holder = _described(found[0]) if found and found[0] else "it has just ended"
                raise IndexHeld(f"another indexer writes this index: {holder}") from failure
            self._seen = found[1]
        else:
            self._seen = written["_seq_no"], written["_primary_term"]


def lease_holder(client: ClusterClient, names: IndexNames) -> str:
    """Return which indexer has the lease, in words; empty if none has.

    Raises:
        ClusterFailed: the cluster fails, or has no such index.
    """
    held = _lease_record(client, names)
    return _described(held) if held else ""


def is_at_work(client: ClusterClient, names: IndexNames, *, now: datetime) -> bool:
    """Return whether an indexer seems to have the lease now. One that was killed leaves its lease behind.

    The clocks of two machines are compared, so that what is said of another one is for people alone: a lease counts for
    `LEFT_AFTER` longer than it lasts.

    Raises:
        ClusterFailed: the cluster fails, or has no such index.
    """
    held = _lease_record(client, names)
    if not held or _is_gone(held):
        return False
    lasts = timedelta(seconds=float(held.get("lease_s", LEASE_S))) + LEFT_AFTER
    return now - datetime.fromisoformat(held["renewed_at"]) < lasts


def _lease_record(client: ClusterClient, names: IndexNames) -> dict[str, Any]:
    try:
        found = client.request("GET", f"/{names.state}/_doc/lease", attempts=_LEASE_ATTEMPTS)
    except ClusterFailed as failure:
        if failure.status == HTTPStatus.NOT_FOUND:
            return {}
        raise
    held: dict[str, Any] = found["_source"]["lease"]
    return held


def _described(held: dict[str, Any]) -> str:
    return (
        f"process {held.get('pid')} on {held.get('host')}, since {held.get('since')}, "
        f"last heard of at {held.get('renewed_at')}"
    )


def _this_machine() -> str:
    """Return what is the same for all processes that see each other: the start of the machine and the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        container = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (a name, not a path)
    except OSError:  # not Linux: the time of the lease decides
        return ""
    return hashlib.sha256(f"{boot} {container}".encode()).hexdigest()[:16]


def _is_gone(held: dict[str, Any]) -> bool:
    """Return whether the holder was a process of this machine and container that is not there any more."""
    if not (place := held.get("place")) or place != _this_machine():
        return False
    if held.get("pid") == os.getpid():  # numbers are given again
        return True
    try:
        os.kill(int(held["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
