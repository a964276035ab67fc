"""What the gateway checks besides the research folders: its audit log, its upstreams and the store of its tasks."""

from typing import TYPE_CHECKING, Any

from research_gateway.audit import AuditTrail
from research_shared.serving.health import Check, CheckResult
from research_shared.tasks.records import TaskStore, TaskStoreUnavailable

if TYPE_CHECKING:
    from research_gateway.upstreams import UpstreamProvider


def tasks_check(store: TaskStore) -> Check:
    """Check that the store of the tasks answers. Not required: without it, calls are answered at once."""

    async def check() -> CheckResult:
        try:
            await store.ping()
        except TaskStoreUnavailable as error:
            return CheckResult(ok=False, detail={"error": error.code}, required=False)
        return CheckResult(ok=True, detail={}, required=False)

    return check


def audit_check(trail: AuditTrail) -> Check:
    """Check that the audit log can be written. Required if `on_failure` is `closed`."""

    async def check() -> CheckResult:
        status = trail.status()
        detail = {"writable": status.writable, "pending": status.pending, "lost": status.lost}
        return CheckResult(ok=status.writable, detail=detail, required=trail.options.on_failure == "closed")

    return check


def upstream_check(provider: "UpstreamProvider", *, required: bool) -> Check:
    """Check that an upstream answered the last refresh. Report the number of its tools that are held back."""

    async def check() -> CheckResult:
        detail: dict[str, Any] = {"available": provider.available}
        if provider.held_back:
            detail["held_back"] = provider.held_back
        return CheckResult(ok=provider.available is True, detail=detail, required=required)

    return check
