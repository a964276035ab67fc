"""What is acknowledged is in the log: through kill -9, full disks, files that vanish, and several processes."""

import asyncio
import errno
import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import anyio
import pytest
from fastmcp import Client
from mcp import MCPError

from research_gateway.app import build_gateway
from research_gateway.audit import AuditOptions, AuditTrail
from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.file import FileLog, open_log
from research_gateway.audit.log.files import refuse_inside_roots
from research_shared.access.roots import Root
from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from support.audit import KEY, Hall, check, found, records, write_log
from support.disks import small_disk
from support.results import error_of
from support.sizes import FULL

ADD = {"a": 1, "b": 2}

KILLED = """
import asyncio, sys
from pathlib import Path
from research_gateway.audit import AuditOptions, AuditTrail
from research_gateway.audit.log.chain import Event
from research_gateway.audit.log.format import to_json

async def call(trail, worker):
    for number in range(1_000_000):
        call_id = f"{worker}-{number}"
        fields = {"time": "t", "call_id": call_id}
        body = to_json({"event": "start", **fields})
        start = trail.submit(Event(body=body, call_id=call_id, phase="start"))
        await trail.written(start)
        body = to_json({"event": "end", **fields})
        end = trail.submit(Event(body=body, call_id=call_id, phase="end"), follows=start)
        await trail.written(end)
        sys.stdout.write(call_id + "\\n")
        sys.stdout.flush()

async def main():
    options = AuditOptions(
        path=Path(sys.argv[1]), fsync=sys.argv[2], max_bytes=int(sys.argv[3]), key=b"k" * 32, checkpoint_every=50
    )
    async with AuditTrail(options) as trail:
        await asyncio.gather(*(call(trail, worker) for worker in range(20)))

asyncio.run(main())
"""


class Child:
    """A process that writes a log and says which calls it has acknowledged."""

    def __init__(self, log: Path, fsync: str, max_bytes: int) -> None:
        arguments = [str(log), fsync, str(max_bytes)]
        # A small pipe, where there are pipes of a chosen size, keeps it from writing far more than is asked for.
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True, pipesize=4096
        )
        assert self._process.stdout is not None
        self._out = self._process.stdout

    def acknowledged(self, count: int) -> list[str]:
        """The next so many calls."""
        return [line.strip() for line in itertools.islice(self._out, count)]

    def kill(self) -> list[str]:
        """Kill the process; gives the calls that it had acknowledged by then and that nobody had read."""
        self._process.send_signal(signal.SIGKILL)
        rest = self._out.read().split("\n")[:-1]  # a line cut short was not acknowledged
        self._out.close()
        assert self._process.wait(60) == -signal.SIGKILL
        return rest


@pytest.mark.parametrize(
    ("fsync", "max_bytes"),
    [("interval", 20_000), *([("never", 1 << 30), ("always", 60_000)] if FULL else [])],
)
def test_kill_9_under_load_loses_nothing_acknowledged(fsync: str, max_bytes: int, log: Path) -> None:
    key = b"k" * 32
    done: list[str] = []
    for round_ in range(12 if FULL else 1):
        children = [Child(log, fsync, max_bytes) for _ in range(2)]
        for child in children:
            done += child.acknowledged(100 + 37 * round_)
        for child in children:
            done += child.kill()
        ended = [
            json.loads(line)["call_id"]
            for file in log.parent.glob("audit*.jsonl")
            for line in file.read_bytes().splitlines()
            if b'"event":"end"' in line and line.endswith(b'"}')
        ]
        assert not Counter(done) - Counter(ended)
        assert found(log, key=key) is None
        assert found(log.with_name("audit-2.jsonl"), key=key) is None
    write_log(AuditOptions(path=log, key=key, checkpoint_every=50), 1)
    assert check(log, key=key).intact
    assert check(log, key=key).unfinished == 0
    recovered = [
        item for file in log.parent.glob("audit*.jsonl") for item in records(file, "end") if "reason" in item
    ]
    assert all(item["reason"] == "process_ended" for item in recovered)


def test_a_torn_last_line_is_cut_off_and_the_log_says_so(options: AuditOptions, log: Path) -> None:
    write_log(options, 5, end=False)
    with log.open("ab") as file:
        file.write(b'{"schema":1,"chain":"')
    assert found(log) is None
    write_log(options, 1)
    assert found(log) is None
    assert [item["torn_bytes"] for item in records(log, "repaired")] == [21]
    assert [item["event"] for item in records(log)][-4:] == ["repaired", "opened", "note", "closed"]


def test_calls_that_a_killed_process_left_open_are_ended_by_the_next_one(
    options: AuditOptions, log: Path
) -> None:
    small = replace(options, max_bytes=900)
    first = open_log_at(small)
    for call in ("one", "two", "three"):
        first.append([call_event("start", call)])
    first.append([call_event("end", "two")])
    first.append([Event.of("note", 0)])
    first.abandon()
    write_log(small, 1)
    everything = [
        item for file in (*sorted(log.parent.glob("audit.0*.jsonl")), log) for item in records(file, "end")
    ]
    assert [(item["call_id"], item.get("reason")) for item in everything] == [
        ("two", None),
        ("one", "process_ended"),
        ("three", "process_ended"),
    ]
    assert check(log).unfinished == 0


def call_event(phase: Any, call_id: str) -> Event:
    return Event(
        body=json.dumps({"event": phase, "time": "t", "call_id": call_id}), call_id=call_id, phase=phase
    )


def open_log_at(options: AuditOptions) -> Any:
    from research_gateway.audit.log.chain import Chain

    return open_log(options, Chain(options.key, options.checkpoint_every, time.time), {"pid": 1})


def test_a_crash_between_two_files_is_not_a_gap(options: AuditOptions, log: Path) -> None:
    write_log(options, 5, end=False)
    log.rename(log.with_name("audit.000001.jsonl"))
    assert found(log) is None
    write_log(options, 5)
    assert found(log) is None
    assert [item["event"] for item in records(log)][:2] == ["continued", "opened"]


def test_a_crash_before_the_first_record_is_an_ordinary_start(options: AuditOptions, log: Path) -> None:
    write_log(options, 0, end=False)
    head = log.with_name("audit.jsonl.head")
    log.write_bytes(b'{"schema":1,')
    head.write_bytes(b"")
    write_log(options, 3)
    assert found(log) is None
    assert [item["event"] for item in records(log)][:2] == ["genesis", "repaired"]


# Failure


class Disk:
    """Makes writes to the log fail, as a full or broken disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: int | None = None
        self.accepts = 0
        real = os.write

        def write(fd: int, data: Any) -> int:
            if self.error is not None and len(data) > 1:
                if self.accepts > 0:
                    taken, self.accepts = self.accepts, 0
                    return real(fd, bytes(data)[:taken])
                raise OSError(self.error, os.strerror(self.error))
            return real(fd, data)

        monkeypatch.setattr("research_gateway.audit.log.files.os.write", write)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


async def code_of(client: Client[Any], tool: str = "add") -> str | None:
    result = await client.call_tool_mcp(tool, ADD if tool == "add" else {})
    return str(error_of(result)["code"]) if result.is_error else None


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_fail_closed_refuses_calls_until_the_log_can_be_written_again(
    error: int, options: AuditOptions, log: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            assert await code_of(client) is None
            disk.error = error
            disk.accepts = 25
            assert [await code_of(client) for _ in range(3)] == ["audit_unavailable"] * 3
            assert hall.calls == 1
            with pytest.raises(MCPError) as refused:
                await client.read_resource("research://documents/here/a.md")
            assert refused.value.error.data["error"]["code"] == "audit_unavailable"
            status = trail.status()
            assert not status.writable
            assert status.failure == os.strerror(error)
            assert trail.refused == 4
            disk.error = None
            assert await code_of(client) is None
            assert trail.status().writable
    assert found(log) is None
    assert [item["lost"] for item in records(log, "gap")] == [8] == [trail.status().lost]
    assert check(log).unfinished == 0
    assert [item.message for item in caplog.records if item.name == "research.audit"] == [
        "the audit log cannot be written",
        "the audit log can be written again",
    ]


async def test_fail_open_serves_calls_and_counts_what_is_lost(
    options: AuditOptions, log: Path, disk: Disk
) -> None:
    async with AuditTrail(replace(options, on_failure="open")) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            disk.error = errno.ENOSPC
            assert [await code_of(client) for _ in range(3)] == [None] * 3
            assert hall.calls == 3
            assert trail.status().lost == 6
            assert not trail.status().writable
            disk.error = None
            assert await code_of(client) is None
    assert found(log) is None
    assert check(log).lost == 6
    assert [item["event"] for item in records(log)][3:] == ["gap", "start", "end", "closed"]


async def test_a_result_is_withheld_when_its_end_cannot_be_recorded(
    options: AuditOptions, log: Path, disk: Disk
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)

        @hall.server.tool
        def fill_the_disk() -> str:
            disk.error = errno.ENOSPC
            return "done"

        async with Client(hall.server) as client:
            await client.list_tools()
            assert await code_of(client, "fill_the_disk") == "audit_unavailable"
            disk.error = None
            assert await code_of(client) is None
    assert found(log) is None
    assert check(log).unfinished == 1


@pytest.mark.parametrize("gone", ["log", "head", "directory", "replaced", "grown"])
async def test_a_log_that_is_taken_away_is_noticed(gone: str, options: AuditOptions, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log = directory / "audit.jsonl"
    head = directory / "audit.jsonl.head"
    async with AuditTrail(replace(options, path=log, file_check_interval_s=0.0)) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            moved = tmp_path / "moved"
            match gone:
                case "log":
                    log.rename(moved)
                case "head":
                    head.rename(moved)
                case "directory":
                    directory.rename(moved)
                case "replaced":
                    log.rename(moved)
                    log.write_bytes(moved.read_bytes())
                case "grown":
                    with log.open("ab") as file:
                        file.write(b"x\n")
            assert await code_of(client) == "audit_unavailable"
            assert not trail.status().writable
            match gone:
                case "log" | "replaced":
                    moved.rename(log)
                case "head":
                    moved.rename(head)
                case "directory":
                    moved.rename(directory)
                case "grown":
                    os.truncate(log, log.stat().st_size - 2)
            assert await code_of(client) is None
    assert found(log) is None


@pytest.mark.parametrize(
    "swapped", ["symlink", "fifo", "socket", "directory", "other file", "hard link", "segment"]
)
def test_a_file_swapped_just_before_the_next_one_is_begun_is_neither_written_nor_moved(
    swapped: str, options: AuditOptions, tmp_path: Path
) -> None:
    options = replace(options, path=tmp_path / "audit.jsonl", max_bytes=1_500)
    log, segment, aside = options.path, tmp_path / "audit.000001.jsonl", tmp_path / "aside"
    assert log is not None
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"somebody else's")
    chain = Chain(options.key, options.checkpoint_every, time.time)
    opened = open_log(options, chain, {"pid": 1})
    while log.stat().st_size < options.max_bytes:
        opened.append([Event.of("note", time.time())])
    before = log.read_bytes()
    if swapped != "segment":
        log.rename(aside)
    match swapped:
        case "symlink":
            log.symlink_to(foreign)
        case "fifo":
            os.mkfifo(log)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(log))
        case "directory":
            log.mkdir()
        case "other file":
            log.write_bytes(before)
        case "hard link":
            log.hardlink_to(foreign)
        case "segment":
            segment.write_bytes(b"another")
    status = log.lstat()
    with pytest.raises(OSError, match=r"no longer where it was|in the place of a part"):
        opened.append([Event.of("note", time.time())])
    assert foreign.read_bytes() == b"somebody else's"
    assert (log.lstat().st_ino, log.lstat().st_mode) == (status.st_ino, status.st_mode)
    if swapped == "segment":
        assert segment.read_bytes() == b"another"
        segment.unlink()
    else:
        assert not os.path.lexists(segment)
        log.rmdir() if swapped == "directory" else log.unlink()
        aside.rename(log)
    opened.append([Event.of("note", time.time())])
    opened.close()
    assert found(log) is None
    assert segment.exists()


def test_no_file_is_begun_in_a_directory_that_was_put_in_place_of_the_log_s_own(
    options: AuditOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, aside = tmp_path / "logs", tmp_path / "aside"
    directory.mkdir()
    options = replace(options, path=directory / "audit.jsonl", max_bytes=1_500)
    opened = open_log(options, Chain(options.key, options.checkpoint_every, time.time), {"pid": 1})
    with monkeypatch.context() as full:
        full.setattr(FileLog, "_create", Mock(side_effect=OSError(errno.ENOSPC, "the disk is full")))
        many = [Event.of("note", time.time())] * 30
        opened.append(many)
        with pytest.raises(OSError, match="the disk is full"):
            opened.append(many)
    directory.rename(aside)
    directory.mkdir()
    with pytest.raises(OSError, match="no longer where it was"):
        opened.append([Event.of("note", time.time())])
    assert not list(directory.iterdir())
    directory.rmdir()
    aside.rename(directory)
    opened.append([Event.of("note", time.time())])
    opened.close()
    assert found(directory / "audit.jsonl") is None


async def test_a_disk_that_is_really_full_loses_no_acknowledged_call(
    options: AuditOptions, tmp_path: Path
) -> None:
    log = tmp_path / "disk" / "audit.jsonl"
    done = 0
    with small_disk(log.parent, kib=64):
        async with AuditTrail(replace(options, path=log)) as trail:
            hall = Hall(trail)
            async with Client(hall.server) as client:
                await client.list_tools()
                for _ in range(500):
                    if await code_of(client) is not None:
                        break
                    done += 1
                assert 20 < done < 200
                assert [await code_of(client) for _ in range(3)] == ["audit_unavailable"] * 3
        assert found(log) is None
        ended = [item for item in records(log, "end") if item["method"] == "tools/call"]
    assert len(ended) == done


async def test_a_disk_that_is_really_full_stops_no_call_where_that_is_accepted_and_what_is_lost_is_counted(
    options: AuditOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "disk" / "audit.jsonl"
    with small_disk(log.parent, kib=64) as make_room:
        async with AuditTrail(replace(options, path=log, on_failure="open")) as trail:
            hall = Hall(trail)
            async with Client(hall.server) as client:
                while trail.status().writable and hall.calls < 500:
                    assert await code_of(client) is None
                assert [await code_of(client) for _ in range(3)] == [None] * 3
                lost = trail.status().lost
                assert 20 < hall.calls < 200
                assert lost >= 6
                make_room()
                assert await code_of(client) is None
                assert trail.status().writable
        assert found(log) is None
        assert check(log).lost == lost
        assert [item["event"] for item in records(log)][-4:] == ["gap", "start", "end", "closed"]
    assert [item.message for item in caplog.records if item.name == "research.audit"] == [
        "the audit log cannot be written",
        "the audit log can be written again",
    ]


@pytest.mark.parametrize("way", ["create", "copytruncate"])
@pytest.mark.parametrize("on_failure", ["closed", "open"])
async def test_a_log_that_logrotate_has_taken_is_noticed_and_goes_on_when_it_is_back_or_in_a_new_chain(
    way: str,
    on_failure: Any,
    options: AuditOptions,
    log: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rotated = log.with_name("audit.jsonl.1")

    def rotate() -> None:
        if way == "create":
            log.rename(rotated)
            log.touch(mode=0o600)
        else:
            rotated.write_bytes(log.read_bytes())
            os.truncate(log, 0)

    def put_back() -> None:
        if way == "create":
            rotated.rename(log)
        else:
            log.write_bytes(rotated.read_bytes())

    refused = None if on_failure == "open" else "audit_unavailable"
    options = replace(options, file_check_interval_s=0.0, on_failure=on_failure)
    async with AuditTrail(options) as trail, Client(Hall(trail).server) as client:
        assert await code_of(client) is None
        rotate()
        assert await code_of(client) == refused
        assert not trail.status().writable
        assert found(log) == ("tail_truncated", 0)
        assert check(rotated, head=log.with_name("audit.jsonl.head")).intact
        put_back()
        assert await code_of(client) is None
        assert trail.status().writable
        assert found(log) is None
        assert check(log).lost == 2
        rotate()
        assert await code_of(client) == refused
    assert [item.message for item in caplog.records if item.name == "research.audit"] == [
        "the audit log cannot be written",
        "the audit log can be written again",
        "the audit log cannot be written",
    ]
    write_log(options, 3)
    assert found(log) == ("restarted", 0)
    (begun,) = records(log, "genesis")
    assert begun["supersedes"]["reason"] == "missing"
    assert found(log, acknowledged=frozenset({begun["chain"]})) is None


async def test_a_clock_that_is_set_back_changes_no_order_and_is_said_by_log_and_verification(
    options: AuditOptions, log: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 1_800_000_000.0
    async with (
        AuditTrail(replace(options, max_age_s=86_400.0), clock=lambda: now) as trail,
        Client(Hall(trail).server) as client,
    ):
        for step in (0, 10, -20, -7_200, 5, -3_600, 90_000):
            now += step
            assert await code_of(client) is None
    report = check(log)
    assert report.intact
    assert report.notes == (
        "the clock was set back 2 times, first at record 9, by 7220 s: records stand in the order in which they were written",
    )
    # A day after the clock was set back the last time, a new file is begun.
    assert report.files == 2
    first, second = (records(file) for file in (log.with_name("audit.000001.jsonl"), log))
    assert [item["seq"] for item in (*first, *second)] == list(range(report.records))
    assert second[0]["event"] == "continued"
    said = [vars(item) for item in caplog.records if item.name == "research.audit"]
    assert [(item["message"], item["seconds"]) for item in said] == [
        ("the clock was set back; records stay in the order in which they are written", 7_220),
        ("the clock was set back; records stay in the order in which they are written", 3_600),
    ]


async def test_the_start_is_in_the_log_before_the_tool_runs_and_the_end_before_its_answer_arrives(
    options: AuditOptions, log: Path
) -> None:
    async with AuditTrail(options) as trail:
        hall = Hall(trail)

        @hall.server.tool
        def look() -> list[str]:
            return [item["event"] for item in records(log) if item.get("tool") == "look"]

        async with Client(hall.server) as client:
            await client.list_tools()
            assert (await client.call_tool("look", {})).data == ["start"]
            assert (await client.call_tool("look", {})).data == ["start", "end", "start"]


async def test_a_log_that_does_not_answer_counts_as_not_written(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    async with AuditTrail(options) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            real = os.write

            def hang(fd: int, data: Any) -> int:
                if len(data) > 1:
                    release.wait(60)
                return real(fd, data)

            monkeypatch.setattr("research_gateway.audit.log.files.os.write", hang)
            trail.options = replace(options, timeout_s=0.05)
            assert await code_of(client) == "audit_unavailable"
            assert trail.status().pending > 0  # so this answer has not waited for the disk
            assert trail.status().lag_s > 0
            release.set()
        assert hall.calls == 0
    assert options.path is not None
    assert check(options.path).unfinished == 0


async def test_a_slow_disk_does_not_stall_the_event_loop(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    release = threading.Event()

    def slow(fd: int, data: Any) -> int:
        if len(data) > 1:
            release.wait(60)
        return real(fd, data)

    async with AuditTrail(options) as trail:
        monkeypatch.setattr("research_gateway.audit.log.files.os.write", slow)
        call = asyncio.create_task(trail.written(trail.submit(Event.of("note", 0))))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not call.done()
        release.set()
        assert await call


async def test_many_calls_share_one_write(options: AuditOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    submitted = threading.Event()

    def count(_fd: int) -> None:
        nonlocal syncs
        syncs += 1
        submitted.wait(60)  # a disk is slow, and however slow this machine is, all are there when it is done

    submitted.set()
    monkeypatch.setattr("research_gateway.audit.log.file._sync_data", count)
    async with AuditTrail(replace(options, fsync="always")) as trail:
        before = syncs
        submitted.clear()
        entries = [trail.submit(Event.of("note", 0, number=number)) for number in range(400)]
        submitted.set()
        assert all([await trail.written(entry) for entry in entries])
        assert 1 <= syncs - before <= 40


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
async def test_the_policy_decides_when_the_disk_is_made_sure(
    fsync: Any, options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = threading.Event()
    monkeypatch.setattr("research_gateway.audit.log.file._sync_data", lambda _fd: synced.set())
    async with AuditTrail(replace(options, fsync=fsync, fsync_interval_s=0.01)) as trail:
        synced.clear()
        await trail.written(trail.submit(Event.of("note", 0)))
        if fsync == "always":
            assert synced.is_set()
        assert await asyncio.to_thread(synced.wait, 0.5 if fsync == "never" else 60) == (fsync != "never")


async def test_a_disk_that_cannot_be_made_sure_is_a_failure(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()

    def sync(_fd: int) -> None:
        if failing.is_set():
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("research_gateway.audit.log.file._sync_data", sync)
    async with AuditTrail(replace(options, fsync="interval", fsync_interval_s=0.01)) as trail:
        hall = Hall(trail)
        async with Client(hall.server) as client:
            await client.list_tools()
            failing.set()
            trail.submit(Event.of("note", 0))
            with anyio.fail_after(60):
                while trail.status().writable and hall.calls < 500:  # noqa: ASYNC110  (the thread has no event to wait for)
                    await asyncio.sleep(0)
            assert await code_of(client) == "audit_unavailable"
            failing.clear()
            assert await code_of(client) is None


# Files


async def test_two_processes_write_two_chains(options: AuditOptions, log: Path) -> None:
    async with AuditTrail(options) as first, AuditTrail(options) as second:
        for trail in (first, second, first, second):
            await trail.written(trail.submit(Event.of("note", 0)))
        assert (first.status().name, second.status().name) == ("audit.jsonl", "audit-2.jsonl")
    other = log.with_name("audit-2.jsonl")
    assert found(log) is None
    assert found(other) is None
    assert records(log)[0]["chain"] != records(other)[0]["chain"]


def test_only_the_owner_can_read_the_files(options: AuditOptions, log: Path) -> None:
    write_log(replace(options, max_bytes=1500), 30)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in log.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    log.chmod(0o644)
    write_log(options, 1)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "directory", "head symlink"])
def test_anything_but_a_plain_file_is_refused(
    kind: str, options: AuditOptions, log: Path, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_text("precious", encoding="ascii")
    match kind:
        case "symlink":
            log.symlink_to(target)
        case "hardlink":
            log.hardlink_to(target)
        case "fifo":
            os.mkfifo(log)
        case "directory":
            log.mkdir()
        case "head symlink":
            log.with_name("audit.jsonl.head").symlink_to(target)
    with pytest.raises(ConfigurationError):
        open_log_at(options)
    assert target.read_text(encoding="ascii") == "precious"


@pytest.mark.parametrize("way", ["inside", "below", "through a link", "head"])
def test_a_log_inside_a_root_is_refused(way: str, options: AuditOptions, tmp_path: Path) -> None:
    root = tmp_path / "research"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root)
    roots = (Root("research", root), Root("gone", tmp_path / "gone"))
    paths: dict[str, dict[str, Any]] = {
        "inside": {"path": root / "audit.jsonl"},
        "below": {"path": root / "sub" / "audit.jsonl"},
        "through a link": {"path": tmp_path / "link" / "sub" / "audit.jsonl"},
        "head": {"head": root / "audit.head"},
    }
    with pytest.raises(ConfigurationError, match="inside a research folder"):
        open_log_at(replace(options, roots=roots, **paths[way]))
    assert [path.name for path in root.rglob("*")] == ["sub"]


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        refuse_inside_roots(tmp_path / "nowhere" / "audit.jsonl", ())


async def test_without_a_path_the_trail_goes_to_a_stream_as_a_chain_of_its_own() -> None:
    reader, writer = os.pipe()
    async with AuditTrail(AuditOptions(key=KEY), stream=writer) as trail:
        await trail.written(trail.submit(Event.of("note", 0)))
    os.close(writer)
    with os.fdopen(reader, encoding="ascii") as stream:
        lines = [json.loads(line) for line in stream]
    assert [line["event"] for line in lines] == ["genesis", "note", "closed", "checkpoint"]
    assert [line["prev"] for line in lines[1:]] == [line["hash"] for line in lines[:-1]]


async def test_a_stream_that_is_gone_is_a_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    async with AuditTrail(AuditOptions(on_failure="open"), stream=writer) as trail:
        assert not await trail.written(trail.submit(Event.of("note", 0)))
        assert not trail.status().writable
    os.close(writer)


async def test_a_trail_can_be_entered_by_several_and_again(options: AuditOptions, log: Path) -> None:
    trail = AuditTrail.open(path=log, fsync="never")
    assert not trail.status().writable
    async with trail:
        async with trail:
            await trail.written(trail.submit(Event.of("note", 0)))
        assert await trail.written(trail.submit(Event.of("note", 0)))
    assert trail.status().written == 2
    async with trail:
        await trail.written(trail.submit(Event.of("note", 0)))
    assert [item["event"] for item in records(log)] == [
        "genesis",
        "note",
        "note",
        "closed",
        "opened",
        "note",
        "closed",
    ]
    assert found(log) is None


async def test_a_trail_that_cannot_be_opened_refuses_calls(options: AuditOptions, log: Path) -> None:
    log.mkdir()
    hall = Hall(AuditTrail(options))
    async with Client(hall.server) as client:
        with pytest.raises(MCPError, match="audit"):
            await client.list_tools()
        result = await client.session.call_tool("add", ADD)
        assert hall.calls == 0
        assert "audit" in result.content[0].text


async def test_calls_are_recorded_although_whoever_opened_the_trail_has_left(
    options: AuditOptions, log: Path
) -> None:
    trail = AuditTrail(options)
    hall = Hall(trail)
    async with Client(hall.server) as client:
        async with trail:
            await client.session.call_tool("add", ADD)
        await asyncio.gather(*(client.session.call_tool("add", ADD) for _ in range(5)))
        async with trail:
            await client.session.call_tool("add", ADD)
    assert hall.calls == 7
    calls = [item["call_id"] for item in records(log, "start", "end") if item.get("tool") == "add"]
    assert sorted(Counter(calls).values()) == [2] * 7
    assert found(log) is None


async def test_a_client_in_the_same_process_that_leaves_does_not_end_the_audit_of_others(
    tmp_path: Path,
) -> None:
    (tmp_path / "research").mkdir()
    gateway = build_gateway(
        Settings.load(roots=str(tmp_path / "research"), audit_log=tmp_path / "audit.jsonl")
    )
    async with AsyncExitStack() as others:
        async with Client(gateway) as first:
            client = await others.enter_async_context(Client(gateway))
            await first.call_tool("list_research_documents")
        result = await client.call_tool("list_research_documents")
    assert result.structured_content is not None
    assert result.structured_content["count"] == 0
    calls = [item for item in records(tmp_path / "audit.jsonl", "end") if "tool" in item]
    assert [item["outcome"] for item in calls] == ["ok", "ok"]


async def test_a_call_cancelled_while_the_trail_opens_leaves_nothing_open(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(options)
    begun, go_on = threading.Event(), threading.Event()
    start = trail._start

    def slowly() -> Any:
        begun.set()
        go_on.wait(10)
        return start()

    monkeypatch.setattr(trail, "_start", slowly)
    opening = asyncio.create_task(trail.__aenter__())
    await asyncio.to_thread(begun.wait, 10)
    opening.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert [item["event"] for item in records(log)] == ["genesis", "closed"]
    assert not trail.status().writable
