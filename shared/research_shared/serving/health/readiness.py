"""Readiness: `GET /readyz`. Liveness is `/healthz`."""

from collections.abc import Mapping
from typing import Any

import anyio
from fastmcp import FastMCP
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from research_shared.errors import ResearchError
from research_shared.logs import get_logger
from research_shared.serving.drain import Drain
from research_shared.serving.health.checks import Check, CheckResult

log = get_logger("research.health")

READY_PATH = "/readyz"
TIMEOUT_S = 5.0


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
