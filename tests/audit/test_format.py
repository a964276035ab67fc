"""The bytes of a log: what a record, a signature and a head file look like, and what a report says of them."""

import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions
from research_gateway.audit.check.verify import collect, verify
from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.file import open_log
from research_gateway.audit.log.format import ChainPosition, key_id, parse_record, sign
from research_gateway.audit.log.head import SLOT_BYTES, HeadFile, decode_head, decode_slot
from support.audit import KEY, check, records, write_log

START = ChainPosition(chain="0123456789abcdef")


def note(number: int = 0) -> Event:
    return Event.of("note", 0, number=number)


def lines_of(chain: Chain, events: int, *, final: bool | None = None) -> list[bytes]:
    flag = {} if final is None else {"final": final}
    return chain.encode(START, [note()] * events, **flag)[0].splitlines()


def hashed(head: bytes) -> bytes:
    """A line whose hash fits, whatever it says."""
    return b'%b,"hash":"%b"}' % (head, hashlib.sha256(head).hexdigest().encode())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b',"hash":"', b', "hash":"'),
        (b'"}', b'" }'),
        (b',"hash":"', b',"hush":"'),
    ],
    ids=["a blank before the hash", "a blank behind it", "no hash"],
)
def test_a_line_that_is_written_in_another_way_is_no_record(old: bytes, new: bytes) -> None:
    (line,) = lines_of(Chain(None, 50, lambda: 0.0), 1)
    assert parse_record(line).event == "note"
    extra = len(new) - len(old)
    changed = line.replace(old, new)
    # the same length, so that the hash is looked for in its place
    changed = changed.replace(line[-66 : -66 + extra], b"", 1) if extra else changed
    with pytest.raises(ValueError, match="is not an audit record"):
        parse_record(changed)


@pytest.mark.parametrize(
    "head",
    [
        b'{"schema":1,"seq":0,"prev":"","event":"note"',
        b'{"schema":1,"chain":"a","prev":"","event":"note"',
        b'{"schema":1,"chain":"a","seq":"x","prev":"","event":"note"',
        b'{"schema":1,"chain":"a","seq":0,"event":"note"',
        b'{"schema":1,"chain":"a","seq":0,"prev":""',
        b"no JSON",
    ],
)
def test_a_line_without_all_its_fields_is_no_record_although_its_hash_fits(head: bytes) -> None:
    with pytest.raises(ValueError, match="is not an audit record"):
        parse_record(hashed(head))


def test_a_signature_is_an_hmac_that_others_can_compute() -> None:
    text = b"research-audit/1\0checkpoint\0chain\0007"
    assert sign(KEY, "checkpoint", "chain", 7) == hmac.new(KEY, text, hashlib.sha256).hexdigest()
    name = hmac.new(KEY, b"research-audit/1\0key-id", hashlib.sha256).hexdigest()
    assert (key_id(KEY), len(key_id(KEY))) == (name[:16], 16)


def test_a_chain_has_a_name_of_sixteen_characters_that_is_its_own() -> None:
    names = {ChainPosition.fresh().chain for _ in range(9)}
    assert len(names) == 9
    assert {len(name) for name in names} == {16}


def test_a_signed_chain_has_a_checkpoint_at_each_interval_and_at_its_end() -> None:
    signed = Chain(KEY, 4, lambda: 0.0)
    kinds = [parse_record(line).event for line in lines_of(signed, 7)]
    assert kinds == [*["note"] * 4, "checkpoint", *["note"] * 3, "checkpoint"]
    assert [parse_record(line).event for line in lines_of(signed, 1)] == ["note"]
    assert [parse_record(line).event for line in lines_of(signed, 1, final=True)] == ["note", "checkpoint"]


def test_a_chain_without_a_key_has_no_checkpoint() -> None:
    chain = Chain(None, 2, lambda: 0.0)
    assert {parse_record(line).event for line in lines_of(chain, 5, final=True)} == {"note"}


def test_the_two_newest_heads_stand_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "head"
    file = HeadFile.open(path, KEY)
    assert file is not None
    counts = []
    for sequence in range(5):
        file.write(replace(START, sequence=sequence), 1)
        data = path.read_bytes()
        newest = decode_head(data)
        assert newest is not None
        assert (newest.position.sequence, newest.in_use) == (sequence, True)
        slots = (decode_slot(data[:SLOT_BYTES]), decode_slot(data[SLOT_BYTES : 2 * SLOT_BYTES]))
        counts.append(sorted(slot.count for slot in slots if slot is not None))
    file.close()
    first = counts[0][0]
    assert counts == [[first], *([first + n, first + n + 1] for n in range(4))]


def test_a_head_file_that_another_process_holds_is_not_kept_open(tmp_path: Path) -> None:
    holder = HeadFile.open(tmp_path / "head", None)
    assert holder is not None
    before = len(list(Path("/dev/fd").iterdir()))
    assert HeadFile.open(tmp_path / "head", None) is None
    assert len(list(Path("/dev/fd").iterdir())) == before
    holder.close()
    assert holder.is_closed


def test_a_report_counts_calls_and_what_was_lost(options: AuditOptions, log: Path) -> None:
    writer = open_log(options, Chain(None, 50, lambda: 0.0), {"pid": 1})
    for name in ("one", "two", "three"):
        writer.append([Event.of("start", 0, call_id=name)])
    writer.append([Event.of("end", 0, call_id="two")])
    writer.append([Event.of("gap", 0, lost=4)])
    writer.append([Event.of("gap", 0)])
    writer.abandon()
    report = check(log)
    assert report.intact
    assert (report.calls, report.unfinished, report.lost) == (3, 2, 4)
    assert report.records == len(records(log))
    assert report.notes == ()


def test_a_log_is_verified_without_any_expectations(options: AuditOptions, log: Path) -> None:
    write_log(options, 3)
    (files,) = collect([log])
    assert verify(files).intact


def test_only_a_log_that_is_signed_is_said_to_be(options: AuditOptions, log: Path) -> None:
    write_log(replace(options, key=KEY), 3)
    assert any("no key is set" in note for note in check(log).notes)
    assert check(log, key=KEY).notes == ()


def test_an_incomplete_last_line_is_noted_and_one_before_the_end_is_a_change(
    options: AuditOptions, log: Path
) -> None:
    small = replace(options, max_bytes=700)
    write_log(small, 12, end=False)
    with log.open("ab") as file:
        file.write(b'{"schema":1')
    (told,) = check(log).notes
    assert "an incomplete last line" in told
    first = log.with_name("audit.000001.jsonl")
    first.write_bytes(first.read_bytes()[:-1])
    problem = check(log).problem
    assert problem is not None
    assert (problem.code, problem.message, problem.file) == ("changed", "the line is incomplete", first.name)


def test_a_chain_that_begins_anew_where_nothing_was_lost_must_be_accepted(
    options: AuditOptions, log: Path
) -> None:
    write_log(replace(options, max_bytes=700), 12)
    parts = sorted(log.parent.glob("audit.0*.jsonl"))
    other = ChainPosition(chain="fedcba9876543210")
    chain = Chain(None, 50, lambda: 0.0)
    line, _ = other.append(chain.genesis(other).body)
    parts[-1].write_bytes(line)
    problem = check(log).problem
    assert problem is not None
    assert (problem.code, problem.sequence) == ("restarted", 0)
    assert f"--acknowledge {other.chain}" in problem.message


def test_what_stands_before_a_chain_that_was_accepted_is_not_looked_at(
    options: AuditOptions, log: Path
) -> None:
    write_log(options, 3, end=False)
    damaged = log.read_bytes().replace(b'"number":1', b'"number":9')
    log.write_bytes(damaged)
    (name,) = {item["chain"] for item in records(log)}
    # a file of the chain that does not begin it is not where the check begins
    assert check(log, acknowledged=frozenset({"another"})).problem == check(log).problem
    problem = check(log, acknowledged=frozenset({name})).problem
    assert problem is not None
    assert problem.code == "changed"
