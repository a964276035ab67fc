"""What the check says of chains: where it begins, which record it names, and what it leaves to people."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions
from research_gateway.audit.check.chain_verifier import Problem, VerificationError
from research_gateway.audit.check.verify import MAX_LINE_BYTES
from research_gateway.audit.log.chain import Chain, timestamp
from research_gateway.audit.log.files import LogName
from research_gateway.audit.log.format import ChainPosition, Record, parse_record
from research_gateway.audit.log.head import Head
from support.audit import KEY, check, found, write_log

LENGTH = 22  # genesis, twenty events, closed


def lines_in(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def record_of(line: bytes) -> Record:
    return parse_record(line[:-1])


def part(log: Path, number: int) -> Path:
    return log.with_name(f"audit.{number:06d}.jsonl")


def rotated(options: AuditOptions) -> str:
    """Write a log of several files and return the name of its chain."""
    write_log(replace(options, max_bytes=1500), 30)
    assert options.path is not None
    return str(json.loads(lines_in(options.path)[0])["chain"])


def test_a_file_without_its_first_record_lacks_the_records_behind_the_last_file(
    options: AuditOptions, log: Path
) -> None:
    rotated(options)
    kept = lines_in(part(log, 2))
    part(log, 2).write_bytes(b"".join(kept[2:]))
    last, next_kept = (record_of(line).position.sequence for line in (lines_in(part(log, 1))[-1], kept[2]))
    problem = check(log).problem
    assert problem is not None
    assert (problem.code, problem.sequence) == ("head_truncated", last + 1)
    assert f"records {last + 1} to {next_kept - 1} are missing" in problem.message


def test_the_check_begins_with_the_last_chain_that_was_accepted(options: AuditOptions, log: Path) -> None:
    chain = rotated(options)
    whole = check(log)
    accepted = check(log, acknowledged=frozenset({chain}))
    assert (accepted.problem, accepted.records) == (None, whole.records)
    assert accepted.notes == (f"begins with chain {chain}, which replaces one that was lost (acknowledged)",)
    log.unlink()
    write_log(options, 2)
    assert found(log, acknowledged=frozenset({chain})) == ("restarted", 0)
    part(log, 1).write_bytes(part(log, 1).read_bytes().replace(b'"number":1,', b'"number":9,'))
    assert found(log, acknowledged=frozenset({chain})) == ("changed", 2)


def test_a_record_of_another_chain_that_fits_in_number_and_hash_is_found(
    options: AuditOptions, log: Path
) -> None:
    write_log(options)
    lines = lines_in(log)
    foreign = replace(record_of(lines[6]).position, chain="fedcba9876543210")
    log.write_bytes(b"".join([*lines[:7], foreign.append('{"event":"note","time":"x"}')[0]]))
    problem = check(log).problem
    assert problem is not None
    assert (problem.code, problem.sequence) == ("replaced", 7)
    assert "belongs to another chain" in problem.message


def test_a_head_that_knows_the_first_record_of_another_chain_is_found(log: Path) -> None:
    def begun(name: str) -> tuple[bytes, ChainPosition]:
        at = ChainPosition(chain=name)
        return at.append(Chain(None, 50, lambda: 0.0).genesis(at).body)

    line, _ = begun("0123456789abcdef")
    log.write_bytes(line)
    other = ChainPosition(chain="fedcba9876543210")
    for position, problem in ((begun(other.chain)[1], ("replaced", 0)), (other, ("added", 0))):
        head = Head(position=position, segment=1, count=1)
        log.with_name("audit.jsonl.head").write_bytes(head.encode() * 2)
        assert found(log) == problem


def test_a_finished_file_of_a_signed_log_is_checked_with_the_key_although_it_does_not_hold_the_interval(
    options: AuditOptions, log: Path
) -> None:
    rotated(replace(options, key=KEY, checkpoint_every=8))
    assert check(part(log, 2), key=KEY).intact
    assert found(part(log, 2), key=b"another key of more than thirty-two bytes") is not None


def test_a_checkpoint_that_was_left_out_is_told_from_a_wrong_one(options: AuditOptions, log: Path) -> None:
    write_log(replace(options, key=KEY, checkpoint_every=8))
    first, *rest = lines_in(log)
    at, kept = record_of(first).position, [first]
    for _ in rest:
        line, at = at.append('{"event":"note","time":"x"}')
        kept.append(line)
    log.write_bytes(b"".join(kept))
    problem = check(log, key=KEY).problem
    assert problem is not None
    assert (problem.code, problem.sequence) == ("not_signed", 9)
    assert problem.message == "a signed checkpoint should have come before it"


def test_an_endless_line_at_the_end_is_not_what_a_crash_leaves(options: AuditOptions, log: Path) -> None:
    write_log(options)
    with log.open("ab") as file:
        file.write(b"x" * MAX_LINE_BYTES + b"\n")
    assert found(log) == ("changed", LENGTH)


def test_a_head_file_that_vanishes_during_the_check_vouches_for_no_record(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(options)
    real = LogName.segments

    def removing(self: LogName) -> dict[int, Path]:
        self.head.unlink(missing_ok=True)
        return real(self)

    monkeypatch.setattr(LogName, "segments", removing)
    assert found(log) == ("added", 0)


def test_a_log_that_is_rotated_just_before_the_check_is_read_with_the_files_that_came_meanwhile(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated(options)
    whole = check(log)
    real = LogName.segments
    away = {path: path.with_name(f"{path.name}.away") for path in (log, part(log, 2))}
    for path, hidden in away.items():
        path.rename(hidden)

    def returning(self: LogName) -> dict[int, Path]:
        listed = real(self)
        for path, hidden in away.items():
            if hidden.exists():
                hidden.rename(path)
        return listed

    monkeypatch.setattr(LogName, "segments", returning)
    report = check(log)
    assert (report.problem, report.files, report.records) == (None, whole.files, whole.records)


def test_a_log_of_several_files_that_is_rotated_during_the_check_is_verified_as_it_was(
    options: AuditOptions, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotated(options)
    whole = check(log)
    real = LogName.segments

    def rotating(self: LogName) -> dict[int, Path]:
        if not part(log, whole.files).exists():
            log.rename(part(log, whole.files))
            log.write_bytes(b"what comes later")
        return real(self)

    monkeypatch.setattr(LogName, "segments", rotating)
    report = check(log)
    assert (report.problem, report.files, report.records) == (None, whole.files, whole.records)


def test_what_is_wrong_is_said_with_its_place() -> None:
    error = VerificationError("changed", "its hash does not fit", sequence=7)
    assert str(error) == "its hash does not fit"
    told = Problem(code=error.code, message=error.message, file="a.jsonl", line=8, sequence=error.sequence)
    assert str(told) == "a.jsonl:8: record 7: its hash does not fit"
    assert str(replace(told, line=None, sequence=None)) == "a.jsonl: its hash does not fit"


@pytest.mark.parametrize(
    ("times", "note"),
    [
        ((2_000, 1_940, 1_940), ""),
        ((2_000, 1_939, None, "0", 1_939), "the clock was set back once at record 2, by 61 s"),
        ((2_000, 1_939, 1_879, 1_878), "the clock was set back 2 times, first at record 2, by 61 s"),
    ],
)
def test_a_time_that_is_more_than_a_minute_before_an_earlier_one_is_told(
    log: Path, times: tuple[int | str | None, ...], note: str
) -> None:
    position = ChainPosition(chain="0123456789abcdef")
    line, position = position.append(Chain(None, 50, lambda: 1_000.0).genesis(position).body)
    lines = [line]
    for time in times:
        stamp = timestamp(time) if isinstance(time, int) else time
        line, position = position.append(json.dumps({"event": "note", "time": stamp}))
        lines.append(line)
    log.write_bytes(b"".join(lines))
    log.with_name("audit.jsonl.head").write_bytes(Head(position=position, segment=1, count=1).encode() * 2)
    report = check(log)
    assert report.problem is None
    assert [told.partition(":")[0] for told in report.notes if "clock" in told] == [note] * bool(note)
