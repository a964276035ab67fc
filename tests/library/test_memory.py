"""The collector is tuned in a dedicated process and left alone in the process of another program."""

import asyncio
import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import anyio
import pytest

from research_shared.serving import memory


@pytest.fixture(autouse=True)
def thawed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a test the collector of a new process, and leave it as the suite has it."""
    monkeypatch.setattr(memory, "_dedicated", False)
    threshold = gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700, *threshold[1:])
    yield
    gc.enable()
    gc.set_threshold(*threshold)
    gc.freeze()


def test_in_the_process_of_another_program_the_collector_is_left_alone() -> None:
    before = gc.get_freeze_count(), gc.get_threshold()
    memory.trim_memory()
    assert (gc.get_freeze_count(), gc.get_threshold()) == before


def test_the_collector_is_disabled_until_a_dedicated_process_has_started() -> None:
    memory.disable_gc_for_startup()
    assert not gc.isenabled()
    memory.tune_gc_for_dedicated_process()
    assert gc.isenabled()


def test_in_a_dedicated_process_the_heap_is_frozen_after_a_build() -> None:
    often = gc.get_threshold()[0]
    memory.tune_gc_for_dedicated_process()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > often
    built = [["a text"]]
    assert any(found is built for found in gc.get_objects())
    memory.trim_memory()
    assert not any(found is built for found in gc.get_objects())


class Node:
    """One of two that refer to each other."""

    other: "Node"


def ended_pair() -> "weakref.ref[Node]":
    """A cycle that nothing refers to, as an ended session leaves one."""
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


def test_what_ended_after_it_was_frozen_is_collected_with_the_next_freeze() -> None:
    memory.tune_gc_for_dedicated_process()
    gc.disable()
    ended = ended_pair()
    gc.freeze()
    assert ended() is not None
    gc.collect()
    assert ended() is not None
    memory.trim_memory()
    assert ended() is None


async def test_garbage_is_collected_and_memory_returned_while_a_server_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gc.disable()
    gc.freeze()  # nothing but the pair is to be looked through
    ended, returned = ended_pair(), anyio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(memory, "return_freed_memory", lambda: loop.call_soon_threadsafe(returned.set))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(memory.keep_memory_low, collect_every_s=0.001))
        with anyio.fail_after(60):
            await returned.wait()
        tasks.cancel_scope.cancel()
    assert ended() is None


class Returned(Exception):
    """Ends what goes on for ever."""


@dataclass
class Recorded:
    """What `keep_memory_low` does, with `new` objects at each look and collections that take `took_s`."""

    new: tuple[int, int, int] = (0, 0, 0)
    took_s: float = 0.0
    now: float = 0.0
    events: list[str] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.events.append(f"{seconds:g} s")

    def collect(self) -> None:
        self.events.append("collect")
        self.now += self.took_s

    def returned(self) -> None:
        self.events.append("return")
        raise Returned

    async def run(self, monkeypatch: pytest.MonkeyPatch, *, collections: int, looks: int) -> list[str]:
        """Run it until it returns freed memory, with a collection every 10 s, and give what it did."""
        with monkeypatch.context() as patched:
            patched.setattr(anyio, "sleep", self.sleep)
            patched.setattr(memory, "return_freed_memory", self.returned)
            patched.setattr(gc, "collect", self.collect)
            patched.setattr(gc, "get_count", lambda: self.new)
            patched.setattr(time, "thread_time", lambda: self.now)
            with pytest.raises(Returned):
                await memory.keep_memory_low(collect_every_s=10, collections_to_trim=collections, looks=looks)
        return self.events


async def test_garbage_is_collected_more_often_than_memory_is_returned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await Recorded().run(monkeypatch, collections=3, looks=2) == [
        *["5 s", "5 s", "collect"] * 3,
        "return",
    ]


@pytest.mark.parametrize("new", [(memory.MANY_OBJECTS, 0, 0), (0, 1, 0), (0, 0, 1)])
async def test_many_new_objects_are_looked_through_at_once(
    monkeypatch: pytest.MonkeyPatch, new: tuple[int, int, int]
) -> None:
    events = await Recorded(new=new).run(monkeypatch, collections=1, looks=3)
    assert events == [*["3.33333 s", "collect"] * 3, "return"]


async def test_collections_that_take_long_are_made_early_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(new=(memory.MANY_OBJECTS, 0, 0), took_s=0.07)  # 2 % of 3.5 seconds
    events = await recorded.run(monkeypatch, collections=2, looks=5)
    first = ["2 s", "collect", "2 s", "2 s", "collect", "2 s", "2 s", "collect"]
    assert events == [*first, *["2 s", "2 s", "collect"] * 2, "2 s", "collect", "return"]


ARENAS = """
import ctypes, os, sys, threading
from research_shared.serving.memory import limit_arenas
if sys.argv[1] == "limited":
    limit_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fdopen.restype = ctypes.c_void_p
together = threading.Barrier(6)
def allocate():
    together.wait()
    libc.malloc(100)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
end, entry = os.pipe()
stream = ctypes.c_void_p(libc.fdopen(entry, b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
print(open(end).read().count("<heap nr="))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone has arenas")
def test_threads_of_a_dedicated_process_share_few_arenas() -> None:
    found = [
        int(
            subprocess.run(
                [sys.executable, "-c", ARENAS, how], capture_output=True, text=True, check=True
            ).stdout
        )
        for how in ("limited", "as usual")
    ]
    assert found[0] == memory.ARENAS < found[1]
