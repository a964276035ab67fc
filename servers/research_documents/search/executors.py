"""Thread pools of the search engine, separate so that short searches do not wait for long ones."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeVar

WorkResult = TypeVar("WorkResult")
PoolName = Literal["ranking", "quick", "long", "cluster"]
POOL_SIZES: Final[dict[PoolName, int]] = {"ranking": 2, "quick": 2, "long": 1, "cluster": 8}
"""Threads of each kind. Those that ask a search cluster only wait for it."""


class ThreadPools:
    """Thread pools by kind of work, each created lazily. `ranks_on` is the pool that ranks: "cluster" where a cluster does it."""

    def __init__(self, *, ranks_on: PoolName = "ranking") -> None:
        self._ranks_on = ranks_on
        self._pools: dict[PoolName, ThreadPoolExecutor] = {}

    async def run(self, pool: PoolName, work: Callable[[], WorkResult]) -> WorkResult:
        """Run `work` in a pool, in a copy of the caller's context so that its scope applies."""
        if pool == "ranking":
            pool = self._ranks_on
        if pool not in self._pools:
            self._pools[pool] = ThreadPoolExecutor(POOL_SIZES[pool], thread_name_prefix=f"search-{pool}")
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._pools[pool], context.run, work)

    async def close(self) -> None:
        """Wait for running work and shut all pools down."""
        while self._pools:
            await asyncio.to_thread(self._pools.popitem()[1].shutdown)
