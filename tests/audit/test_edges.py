"""Corners of the log's files: what is read while it is written, and what cannot be written at all."""

import errno
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from research_gateway.audit import AuditOptions, AuditTrail
from research_gateway.audit.log.chain import Chain, Event, seconds_of, timestamp
from research_gateway.audit.log.file import FileLog, open_log
from research_gateway.audit.log.files import LogName, split_name
from research_gateway.audit.log.format import ChainPosition, parse_record, to_json
from research_gateway.audit.log.head import SLOT_BYTES, Head, HeadFile, decode_head
from research_shared.errors import ConfigurationError
from research_shared.settings import Settings
from support.audit import KEY, check, found, records, write_log


def opened(options: AuditOptions, clock: Any = time.time) -> FileLog:
    return open_log(options, Chain(options.key, options.checkpoint_every, clock), {"pid": 1})


def fill(writer: FileLog) -> None:
    for number in range(9):
        writer.append([note(number)])


def take_away(path: Path) -> None:
    path.unlink()


def note(number: int = 0) -> Event:
    return Event.of("note", 0, number=number)


def test_a_log_can_be_verified_while_it_is_written_and_rotated(options: AuditOptions, log: Path) -> None:
    stop = threading.Event()
    # The whole log is read each time: if the writer could run ahead as far as it likes, reading would never keep up.
    ahead = threading.Semaphore(40)
    writer = opened(replace(options, max_bytes=20_000, key=KEY, checkpoint_every=16))

    def write() -> None:
        while ahead.acquire() and not stop.is_set():
            writer.append([note(), note()])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen: list[tuple[str, int | None] | None] = []
        while len(seen) < 40 or check(log, key=KEY).files == 1:
            ahead.release(20)
            seen.append(found(log, key=KEY))
    finally:
        stop.set()
        ahead.release()
        thread.join()
        writer.close()
    assert set(seen) == {None}


def test_a_crash_right_after_a_rotation_is_no_tampering(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(replace(options, key=KEY, max_bytes=900))
    real = HeadFile.write

    def crash(self: HeadFile, at: ChainPosition, segment: int, *, in_use: bool = True) -> None:
        if records(log)[0]["event"] == "continued":
            raise KeyboardInterrupt
        real(self, at, segment, in_use=in_use)

    monkeypatch.setattr(HeadFile, "write", crash)
    with pytest.raises(KeyboardInterrupt):
        fill(writer)
    writer.abandon()
    assert found(log, key=KEY) is None
    monkeypatch.undo()
    write_log(replace(options, key=KEY), 1)
    assert found(log, key=KEY) is None


@pytest.mark.parametrize("rotations", [1, 3])
def test_a_log_that_is_rotated_while_its_files_are_listed_is_verified_as_it_was_when_that_began(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch, rotations: int
) -> None:
    writer = opened(replace(options, max_bytes=4_096, key=KEY))
    writer.append([note()])
    real = LogName.segments
    rotated: list[bool] = []

    def rotating(self: LogName) -> dict[int, Path]:
        while len(real(self)) < rotations and not rotated:
            writer.append([note()])
        rotated.append(True)
        return real(self)

    monkeypatch.setattr(LogName, "segments", rotating)
    report = check(log, key=KEY)
    assert (report.problem, report.files) == (None, 1)
    monkeypatch.undo()
    writer.close()
    assert check(log, key=KEY).files == rotations + 1


def test_a_log_that_is_rotated_and_removed_while_it_is_read_cannot_be_told(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(options, 1)

    def removing(_self: LogName) -> dict[int, Path]:
        log.unlink(missing_ok=True)
        return {}

    monkeypatch.setattr(LogName, "segments", removing)
    with pytest.raises(OSError, match="rotated and removed"):
        check(log)


def test_a_log_that_is_no_audit_log_is_kept_and_reported(options: AuditOptions, log: Path) -> None:
    precious = b"x" * (1024 * 1024 + 5)
    log.write_bytes(precious)
    write_log(options, 1)
    assert log.with_name("audit.000001.jsonl").read_bytes() == precious
    assert found(log) == ("changed", 0)
    chain = records(log)[0]["chain"]
    assert found(log, acknowledged=frozenset({chain})) is None


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"schema":1}' + b" " * 100,
        b'{"a":1,"hash":"' + b"0" * 64 + b'"}',
        b'{"chain":"c","seq":"x","prev":"p","event":"e","hash":"' + b"0" * 64 + b'"}',
        b'{"chain":"c","seq":1,"prev":"p","event":"e","hash":"' + b"0" * 64 + b'"}',
        b"[" * 5000 + b',"hash":"' + b"0" * 64 + b'"}',
    ],
)
def test_a_line_that_is_no_record_is_told_apart(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"record|changed"):
        parse_record(line)


def test_a_torn_head_file_falls_back_to_the_slot_before() -> None:
    older, newer = (
        Head(position=ChainPosition(chain="c", sequence=number, digest="0" * 64), segment=1, count=number)
        for number in (4, 5)
    )
    assert decode_head(older.encode() + newer.encode()) == newer
    assert decode_head(newer.encode() + older.encode()) == newer
    assert decode_head(older.encode() + newer.encode()[:100]) == older
    assert decode_head(b"") is None
    assert decode_head(b"\0" * 2 * SLOT_BYTES) is None
    body = b'{"schema":1}'
    import zlib

    assert decode_head(b"%08x %b" % (zlib.crc32(body), body)) is None
    assert (
        len(
            Head(
                position=ChainPosition(chain="c" * 16, sequence=10**15, digest="0" * 64),
                segment=10**6,
                count=10**15,
                in_use=True,
                mac="0" * 64,
            ).encode()
        )
        == SLOT_BYTES
    )


def test_times_are_rfc_3339_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert seconds_of(timestamp(1_700_000_000.25)) == 1_700_000_000.25


def test_nothing_but_printable_ascii_is_written() -> None:
    text = to_json({"\u202e\x7f\n\x00é\ud800": "\u2028\U0001f600"})
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {"\u202e\x7f\n\x00é\ud800": "\u2028\U0001f600"}


def test_names_of_files_and_logs_fit_each_other(tmp_path: Path) -> None:
    name = LogName.of(tmp_path / "a.b.jsonl")
    assert split_name(name.path) == (name, None)
    assert split_name(name.segment(7)) == (name, 7)
    second = LogName.of(tmp_path / "a.b.jsonl", process=2)
    assert split_name(second.path) == (second, None)
    elsewhere = LogName.of(tmp_path / "a", tmp_path / "x.head", process=3)
    assert (elsewhere.path.name, elsewhere.head.name) == ("a-3", "x-3.head")


def test_a_rotation_that_fails_is_tried_again(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(options, max_bytes=900)
    writer = opened(small)
    for number in range(3):
        writer.append([note(number)])
    full = True
    real = os.write

    def write(fd: int, data: Any) -> int:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(fd, data)

    monkeypatch.setattr("research_gateway.audit.log.files.os.write", write)
    for number in range(3):
        with pytest.raises(OSError, match="space"):
            writer.append([note(number)])
    assert not log.exists()
    assert found(log) is None
    full = False
    writer.append([note(9)])
    writer.close()
    assert found(log) is None
    assert records(log)[0]["event"] == "continued"


def test_a_batch_that_could_not_be_taken_back_is_taken_back_later(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(options)

    def fail(*_args: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("research_gateway.audit.log.file.os.pwrite", fail)
        broken.setattr("research_gateway.audit.log.file.os.ftruncate", fail)
        with pytest.raises(OSError, match=r"I/O|Input"):
            writer.append([note(1)])
    writer.append([note(2)])
    writer.close()
    assert found(log) is None
    assert [item["number"] for item in records(log, "note")] == [2]


def test_a_head_that_is_not_wholly_written_is_a_failure(
    options: AuditOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = opened(options)
    with monkeypatch.context() as broken:
        broken.setattr("research_gateway.audit.log.file.os.pwrite", lambda *_args: 7)
        with pytest.raises(OSError, match="head file"):
            writer.append([note()])
    writer.close()
    writer.abandon()
    writer.sync()
    with pytest.raises(OSError, match="closed"):
        writer.append([note()])


def test_a_log_that_cannot_be_begun_is_a_wrong_setting(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("research_gateway.audit.log.files.os.write", fail)
    with pytest.raises(ConfigurationError, match=r"audit\.jsonl.*[Rr]ead-only"):
        opened(options)
    with pytest.raises(ConfigurationError, match="needs a path"):
        opened(AuditOptions())


def test_there_is_a_limit_to_the_processes_at_one_log(options: AuditOptions) -> None:
    two = replace(options, max_processes=2)
    logs = [opened(two), opened(two)]
    with pytest.raises(ConfigurationError, match="more than 2"):
        opened(two)
    for writer in logs:
        writer.close()
    assert options.max_processes == 64


def test_a_log_without_its_head_that_another_process_holds_is_left_alone(
    options: AuditOptions, log: Path
) -> None:
    first = opened(options)
    log.with_name("audit.jsonl.head").unlink()
    second = opened(options)
    assert (first.name, second.name) == ("audit.jsonl", "audit-2.jsonl")
    second.close()
    first.abandon()


@pytest.mark.parametrize("content", [b"a list, without a line break", b"{}", bytes(100), b"x" * 1_100_000])
def test_a_file_of_somebody_else_in_the_place_of_the_log_is_kept(
    content: bytes, options: AuditOptions, log: Path
) -> None:
    log.write_bytes(content)
    write_log(options, 3)
    assert log.with_name("audit.000001.jsonl").read_bytes() == content
    assert records(log)[0]["supersedes"]["reason"] == "damaged"


@pytest.mark.parametrize("size", [0, 1, 12, 40])
def test_the_beginning_of_the_first_record_is_not_kept(size: int, options: AuditOptions, log: Path) -> None:
    write_log(options, 1)
    beginning = log.read_bytes()[:size]
    log.with_name("audit.jsonl.head").unlink()
    log.write_bytes(beginning)
    write_log(options, 3)
    assert found(log) is None
    assert not list(log.parent.glob("audit.0*"))


def test_segments_without_a_head_are_not_continued(options: AuditOptions, log: Path) -> None:
    write_log(options, 3)
    log.rename(log.with_name("audit.000001.jsonl"))
    log.with_name("audit.jsonl.head").unlink()
    write_log(options, 3)
    assert records(log)[0]["supersedes"]["reason"] == "head_missing"


def test_a_segment_that_is_shorter_than_the_head_is_not_continued(options: AuditOptions, log: Path) -> None:
    write_log(options, 3)
    first = log.with_name("audit.000001.jsonl")
    log.rename(first)
    first.write_bytes(b"".join(first.read_bytes().splitlines(keepends=True)[:-1]))
    write_log(options, 3)
    assert records(log)[0]["supersedes"]["reason"] == "missing"


def test_the_settings_decide(tmp_path: Path) -> None:
    settings = Settings.load(
        {
            "RESEARCH_AUDIT_LOG": str(tmp_path / "a.jsonl"),
            "RESEARCH_AUDIT_HEAD": str(tmp_path / "a.head"),
            "RESEARCH_AUDIT_KEY": KEY.decode(),
            "RESEARCH_AUDIT_LEVEL": "arguments",
            "RESEARCH_AUDIT_FSYNC": "always",
            "RESEARCH_AUDIT_ON_FAILURE": "open",
            "RESEARCH_AUDIT_MAX_BYTES": "5000",
            "RESEARCH_AUDIT_MAX_AGE_S": "60",
            "RESEARCH_ROOTS": f"papers={tmp_path}",
        }
    )
    options = AuditTrail.open(settings).options
    assert options == AuditOptions(
        path=tmp_path / "a.jsonl",
        head=tmp_path / "a.head",
        key=KEY,
        level="arguments",
        fsync="always",
        on_failure="open",
        max_bytes=5000,
        max_age_s=60.0,
        roots=settings.roots,
    )
    with pytest.raises(ConfigurationError) as refused:
        Settings.load({"RESEARCH_AUDIT_KEY": "short"})
    assert "short" not in refused.value.message


async def test_an_unexpected_failure_of_the_writer_reaches_its_callers(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise ZeroDivisionError

    async with AuditTrail(replace(options, on_failure="open", file_check_interval_s=0.0)) as trail:
        with monkeypatch.context() as broken:
            broken.setattr(FileLog, "append", fail)
            assert not await trail.written(trail.submit(note()))
        assert trail.status().failure == "unexpected ZeroDivisionError"
        assert await trail.written(trail.submit(note()))
        take_away(log)
    assert not trail.status().writable
    assert "the audit log failed unexpectedly" in [item.message for item in caplog.records]
