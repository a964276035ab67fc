"""What a server checks before it says that it is ready."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from research_shared.access.roots import RootsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """Result of a check. Only a failed `required` check makes the server unready."""

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


def index_check(
    indexing: Callable[[], tuple[int, int] | None], *, problem: Callable[[], str] = lambda: ""
) -> Check:
    """Report the progress of the index, or its problem. Not required: searches work while it is built, and report what they miss.

    While a cluster does not answer, documents can be listed and read, and other servers would not do better.
    """

    async def check() -> CheckResult:
        if said := problem():
            return CheckResult(ok=False, detail={"state": "unavailable", "problem": said}, required=False)
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
    """Name the current faults. The server is unready while one of them makes its answers wrong or none."""

    async def check() -> CheckResult:
        await asyncio.to_thread(_readable, policy)  # what has just ended is not named
        current = policy.faults.current
        named = [{"fault": kind.name, **({"root": about} if about else {})} for kind, about in current]
        return CheckResult(
            ok=not current, detail={"current": named}, required=any(fault.kind.unready for fault in current)
        )

    return check
