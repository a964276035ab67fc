"""Readiness: `GET /readyz`. Liveness is `/healthz`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from research_gateway.audit import AuditTrail
from research_shared.access.roots import RootsPolicy
from research_shared.errors import ResearchError
from research_shared.logs import get_logger
from research_shared.serving.drain import Drain
from research_shared.tasks.records import TaskStore, TaskStoreUnavailable

if TYPE_CHECKING:
    from research_gateway.upstreams import UpstreamProvider

log = get_logger("research.health")

READY_PATH = "/readyz"
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of a check. Only a failed `required` check makes the gateway unready."""

    ok: bool
    detail: Mapping[str, Any]
    required: bool = True


Check = Callable[[], Awaitable[CheckResult]]


def roots_check(policy: RootsPolicy) -> Check:
    """Check that each research folder can be read."""

    async def check() -> CheckResult:
        found = await asyncio.to_thread(_readable, policy)
        return CheckResult(ok=all(found.values()), detail=found)

    return check


def tasks_check(store: TaskStore) -> Check:
    """Check that the store of the tasks answers. Not required: without it, calls are answered at once."""

    async def check() -> CheckResult:
        try:
            await store.ping()
        except TaskStoreUnavailable as error:
            return CheckResult(ok=False, detail={"error": error.code}, required=False)
        return CheckResult(ok=True, detail={}, required=False)

    return check


def index_check(indexing: Callable[[], tuple[int, int] | None]) -> Check:
    """Report the progress of the index. Not required: searches work while it is built, and report what they miss."""

    async def check() -> CheckResult:
        progress = indexing()
        if progress is None:
            return CheckResult(ok=True, detail={"state": "complete"}, required=False)
        done, total = progress
        detail = {"state": "building", "done": done, "total": total} if total else {"state": "listing"}
        return CheckResult(ok=True, detail=detail, required=False)

    return check


def _readable(policy: RootsPolicy) -> dict[str, bool]:
    return {root.name: policy.available(root) for root in policy.roots}


def faults_check(policy: RootsPolicy) -> Check:
    """Name the current faults. The gateway is unready while one of them makes its answers wrong or none."""

    async def check() -> CheckResult:
        await asyncio.to_thread(_readable, policy)  # what has just ended is not named
        current = policy.faults.current
        named = [{"fault": kind.name, **({"root": about} if about else {})} for kind, about in current]
        return CheckResult(
            ok=not current, detail={"current": named}, required=any(fault.kind.unready for fault in current)
        )

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


async def readiness(
    checks: Mapping[str, Check], *, timeout_s: float = TIMEOUT_S
) -> tuple[bool, dict[str, Any]]:
    """Run all checks. Return whether all required ones passed, and the details by name.

    A check that raises or takes longer than `timeout_s` seconds has failed.
    """
    results: dict[str, CheckResult] = {}

    async def run(name: str, check: Check) -> None:
        results[name] = CheckResult(ok=False, detail={"error": "timeout"})
        try:
            with anyio.move_on_after(timeout_s):
                results[name] = await check()
        except (ResearchError, OSError, RuntimeError) as error:
            log.warning("a health check failed", check=name, error=repr(error))
            results[name] = CheckResult(ok=False, detail={"error": type(error).__name__})

    async with anyio.create_task_group() as tasks:
        for name, check in checks.items():
            tasks.start_soon(run, name, check)
    shown = {name: {"ok": results[name].ok, **results[name].detail} for name in checks}
    return all(result.ok or not result.required for result in results.values()), shown


def add_readiness(server: FastMCP[Any], checks: Mapping[str, Check]) -> None:
    """Serve `GET /readyz`: 200, or 503 while a required check fails or the server is draining.

    The route requires no credentials, so it only shows names of research folders and upstreams.
    """

    @server.custom_route(READY_PATH, methods=["GET"], include_in_schema=False)
    async def readyz(_request: Request) -> Response:
        ready, found = await readiness(checks)
        # the drain may be added to the middleware after this route
        stopping = any(layer.announced for layer in server.middleware if isinstance(layer, Drain))
        status = "stopping" if stopping else "ready" if ready else "unready"
        return JSONResponse(
            {"status": status, "checks": found}, status_code=200 if status == "ready" else 503
        )
