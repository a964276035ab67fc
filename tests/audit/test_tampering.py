"""Whatever is done to a log, verifying it names the first record that is not what was written."""

import errno
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions
from research_gateway.audit.check.copy import copy_log
from research_gateway.audit.check.verify import collect
from research_gateway.audit.log import file as file_module
from research_gateway.audit.log.format import NO_HASH, ChainPosition, key_id, parse_record
from research_gateway.audit.log.head import Head, decode_head
from research_shared.errors import ConfigurationError
from support.audit import KEY, check, found, write_log

Lines = list[bytes]
Found = tuple[str, int | None]
LENGTH = 22  # genesis, twenty events, closed


def edit(lines: Lines) -> Lines:
    lines[7] = lines[7].replace(b'"number":6', b'"number":9')
    return lines


def edit_one_bit(lines: Lines) -> Lines:
    lines[7] = bytes([*lines[7][:30], lines[7][30] ^ 1, *lines[7][31:]])
    return lines


def edit_and_rehash(lines: Lines) -> Lines:
    """Change record 7 and give it a hash that fits, as somebody would who knows the form."""
    lines[7] = rehashed(lines[7].replace(b'"number":6', b'"number":9'))
    return lines


def rehashed(line: bytes, before: ChainPosition | None = None) -> bytes:
    fields = json.loads(line)
    at = before or ChainPosition(chain=fields["chain"], sequence=fields["seq"] - 1, digest=fields["prev"])
    event = {k: v for k, v in fields.items() if k not in {"schema", "chain", "seq", "prev", "hash"}}
    return at.append(json.dumps(event, separators=(",", ":")))[0]


def insert(lines: Lines) -> Lines:
    return [*lines[:7], lines[3], *lines[7:]]


def insert_forged(lines: Lines) -> Lines:
    before = parse_record(lines[6][:-1]).position
    return [*lines[:7], before.append('{"event":"note","time":"x"}')[0], *lines[7:]]


def append_forged(lines: Lines) -> Lines:
    at = parse_record(lines[-1][:-1]).position
    return [*lines, at.append('{"event":"note","time":"x"}')[0]]


def swap(lines: Lines) -> Lines:
    lines[7], lines[8] = lines[8], lines[7]
    return lines


def swap_far(lines: Lines) -> Lines:
    lines[7], lines[15] = lines[15], lines[7]
    return lines


def rewrite_from(first: int) -> Callable[[Lines], Lines]:
    """Change a record and recompute every hash behind it, to the end."""

    def rewrite(lines: Lines) -> Lines:
        lines[first] = lines[first].replace(b'"number":6', b'"number":9')
        at = parse_record(lines[first - 1][:-1]).position
        for index in range(first, len(lines)):
            lines[index] = rehashed(lines[index], at)
            at = parse_record(lines[index][:-1]).position
        return lines

    return rewrite


def garbage(lines: Lines) -> Lines:
    return [*lines[:7], b"not a record\n", *lines[7:]]


TAMPERINGS: dict[str, tuple[Callable[[Lines], Lines], Found]] = {
    "edit": (edit, ("changed", 7)),
    "edit of one bit": (edit_one_bit, ("changed", 7)),
    "edit with a new hash": (edit_and_rehash, ("changed", 8)),
    "insertion of a copy": (insert, ("repeated", 3)),
    "insertion of a forged record": (insert_forged, ("repeated", 7)),
    "insertion of garbage": (garbage, ("changed", 7)),
    "forged record at the end": (append_forged, ("added", LENGTH)),
    "deletion": (lambda lines: lines[:7] + lines[8:], ("missing", 7)),
    "deletion of several": (lambda lines: lines[:7] + lines[12:], ("missing", 7)),
    "swap": (swap, ("missing", 7)),
    "swap of distant records": (swap_far, ("missing", 7)),
    "duplication": (lambda lines: lines[:8] + lines[7:], ("repeated", 7)),
    "head truncation": (lambda lines: lines[1:], ("head_truncated", 0)),
    "head truncation of several": (lambda lines: lines[5:], ("head_truncated", 0)),
    "tail truncation": (lambda lines: lines[:-1], ("tail_truncated", LENGTH - 1)),
    "tail truncation of several": (lambda lines: lines[:9], ("tail_truncated", 9)),
    "truncation within a line": (lambda lines: [*lines[:9], lines[9][:40]], ("tail_truncated", 9)),
    "emptied file": (lambda _lines: [], ("tail_truncated", 0)),
    "everything rewritten": (rewrite_from(7), ("rewritten", 0)),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_at_the_first_bad_record(name: str, options: AuditOptions, log: Path) -> None:
    tamper, expected = TAMPERINGS[name]
    write_log(options)
    assert found(log) is None
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    assert found(log) == expected


@pytest.mark.parametrize("record", range(LENGTH))
def test_every_single_record_counts(record: int, options: AuditOptions, log: Path) -> None:
    write_log(options)
    lines = log.read_bytes().splitlines(keepends=True)
    for changed in (
        [*lines[:record], *lines[record + 1 :]],
        [*lines[:record], lines[record], *lines[record:]],
        [*lines[:record], lines[record].replace(b'"event":"', b'"event":"x'), *lines[record + 1 :]],
    ):
        log.write_bytes(b"".join(changed))
        problem = check(log).problem
        assert problem is not None
        assert problem.sequence == record


def test_every_byte_of_a_record_counts(options: AuditOptions, log: Path) -> None:
    write_log(options, 2)
    lines = log.read_bytes().splitlines(keepends=True)
    for index in range(len(lines[2])):
        for value in {10, lines[2][index] ^ 1} - {lines[2][index]}:
            changed = bytes([*lines[2][:index], value, *lines[2][index + 1 :]])
            log.write_bytes(b"".join([*lines[:2], changed, *lines[3:]]))
            assert found(log) is not None, (index, value)


@pytest.mark.parametrize("event", ["genesis", "continued"])
def test_what_begins_a_file_is_found_within_one(event: str, options: AuditOptions, log: Path) -> None:
    write_log(options)
    lines = log.read_bytes().splitlines(keepends=True)
    lines[7] = parse_record(lines[6][:-1]).position.append(f'{{"event":"{event}","time":"x"}}')[0]
    log.write_bytes(b"".join(lines))
    assert found(log) == ("moved", 7)


@pytest.mark.parametrize(("sequence", "digest"), [(3, NO_HASH), (-1, "1" * 64)])
def test_a_chain_that_does_not_begin_at_its_beginning_is_found(
    sequence: int, digest: str, options: AuditOptions, log: Path
) -> None:
    write_log(options)
    before = ChainPosition(
        chain=parse_record(log.read_bytes().splitlines()[0]).position.chain, sequence=sequence, digest=digest
    )
    log.write_bytes(before.append('{"event":"genesis","time":"x"}')[0])
    assert found(log) == ("moved", sequence + 1)


@pytest.mark.parametrize(("sequence", "problem"), [(-1, None), (0, ("tail_truncated", 0))])
def test_a_log_is_empty_only_if_its_head_knows_of_no_record(
    sequence: int, problem: Found | None, log: Path
) -> None:
    log.write_bytes(b"")
    head = Head(position=replace(ChainPosition.fresh(), sequence=sequence), segment=1, count=1)
    log.with_name("audit.jsonl.head").write_bytes(head.encode() * 2)
    assert found(log) == problem


def test_a_checkpoint_that_names_another_key_is_found(signed: AuditOptions, log: Path) -> None:
    write_log(signed)
    lines = log.read_bytes().splitlines(keepends=True)
    (index,) = [i for i, line in enumerate(lines) if parse_record(line[:-1]).event == "checkpoint"][:1]
    lines[index] = rehashed(lines[index].replace(key_id(KEY).encode(), b"0" * 16))
    log.write_bytes(b"".join(lines))
    assert found(log, key=KEY) == ("not_signed", index)


def test_an_older_copy_of_the_log_is_found(options: AuditOptions, log: Path, tmp_path: Path) -> None:
    write_log(options, 5)
    shutil.copy(log, tmp_path / "older")
    write_log(options, 5)
    assert found(log) is None
    shutil.copy(tmp_path / "older", log)
    assert found(log) == ("tail_truncated", 7)


def test_a_log_that_vanished_is_found(options: AuditOptions, log: Path) -> None:
    write_log(options)
    log.unlink()
    assert found(log) == ("tail_truncated", 0)


def test_a_log_without_its_head_file_is_not_trusted(options: AuditOptions, log: Path) -> None:
    write_log(options)
    log.with_name("audit.jsonl.head").unlink()
    assert found(log) == ("no_head", None)


def test_the_log_of_another_chain_is_found(options: AuditOptions, log: Path, tmp_path: Path) -> None:
    write_log(options)
    other = tmp_path / "other.jsonl"
    write_log(replace(options, path=other))
    shutil.copy(other, log)
    assert found(log) == ("replaced", 0)


@pytest.mark.parametrize("act", ["remove", "empty", "cut", "older", "forge", "damage", "lose_head"])
def test_a_restart_does_not_launder_what_was_done_before(
    act: str, options: AuditOptions, log: Path, tmp_path: Path
) -> None:
    write_log(options, 5)
    shutil.copy(log, tmp_path / "older")
    write_log(options, 5)
    lines = log.read_bytes().splitlines(keepends=True)
    match act:
        case "remove":
            log.unlink()
        case "empty":
            log.write_bytes(b"")
        case "cut":
            log.write_bytes(b"".join(lines[:-2]))
        case "older":
            shutil.copy(tmp_path / "older", log)
        case "forge":
            log.write_bytes(b"".join(append_forged(lines)))
        case "damage":
            log.write_bytes(b"".join([*lines[:-1], b"{}\n"]))
        case "lose_head":
            log.with_name("audit.jsonl.head").unlink()
    write_log(options, 5)
    restarted = check(log).problem
    assert restarted is not None
    reason = {
        "remove": "missing",
        "empty": "missing",
        "cut": "shortened",
        "older": "shortened",
        "forge": "added_to",
        "damage": "damaged",
        "lose_head": "head_missing",
    }
    first = json.loads(log.read_bytes().splitlines()[0])
    assert first["supersedes"]["reason"] == reason[act]
    # once somebody looked into it, the chain that was begun anew is a log like any other
    assert found(log, acknowledged=frozenset({first["chain"]})) is None
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert found(log, acknowledged=frozenset({first["chain"]})) == ("tail_truncated", 6)


def segments_of(log: Path) -> list[Path]:
    return sorted(log.parent.glob(f"{log.stem}.0*{log.suffix}"))


@pytest.mark.parametrize(
    ("act", "reason", "finding"),
    [
        ("cut", "shortened", "restarted"),
        ("damage", "damaged", "changed"),
        ("lose_head", "head_missing", "restarted"),
    ],
)
def test_a_file_that_is_not_resumed_keeps_its_number_where_the_files_before_it_were_archived(
    act: str, reason: str, finding: str, options: AuditOptions, log: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    rotated(options)
    segments = segments_of(log)
    assert len(segments) > 2
    copy_log(collect([log])[0], archive)
    for segment in segments:
        segment.unlink()
    lines = log.read_bytes().splitlines(keepends=True)
    match act:
        case "cut":
            log.write_bytes(b"".join(lines[:-1]))
        case "damage":
            log.write_bytes(b"".join([*lines[:-1], b"{}\n"]))
        case "lose_head":
            log.with_name("audit.jsonl.head").unlink()
    write_log(options, 3)
    number = len(segments) + 1
    kept = log.with_name(f"audit.{number:06d}.jsonl")
    assert segments_of(log) == [kept]
    first = json.loads(log.read_bytes().splitlines()[0])
    assert (first["segment"], first["supersedes"]["reason"]) == (number + 1, reason)
    # not the name of the file, but what was done to it
    problem = check(log, partial=True).problem
    assert problem is not None
    assert problem.code == finding
    if act == "lose_head":
        # no record is missing: the copy is continued
        copy_log(collect([log])[0], archive)
        assert found(archive / "audit.jsonl", acknowledged=frozenset({first["chain"]})) is None


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize("act", ["remove", "cut"])
def test_a_start_that_fails_does_not_launder_what_was_done_before(
    act: str,
    archived: bool,
    options: AuditOptions,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rotated(options)
    segments = segments_of(log)
    for segment in segments if archived else []:
        segment.unlink()
    if act == "remove":
        log.unlink()
    else:
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))

    def full(_fd: int, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(file_module, "write_all", full)
        for _ in range(2):
            with pytest.raises(ConfigurationError):
                write_log(options, 1)
    write_log(options, 3)
    first = json.loads(log.read_bytes().splitlines()[0])
    assert first["segment"] == len(segments) + 2
    assert first["supersedes"] == {"reason": "not_recorded", "chain": None, "seq": None, "hash": None}
    assert found(log, partial=True) == ("restarted", 0)
    assert found(log, partial=True, acknowledged=frozenset({first["chain"]})) is None


# Signatures


@pytest.fixture
def signed(options: AuditOptions) -> AuditOptions:
    return replace(options, key=KEY, checkpoint_every=8)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_with_a_signed_log_is_found_as_well(name: str, signed: AuditOptions, log: Path) -> None:
    tamper, _ = TAMPERINGS[name]
    write_log(signed)
    assert found(log, key=KEY) is None
    log.write_bytes(b"".join(tamper(log.read_bytes().splitlines(keepends=True))))
    assert found(log, key=KEY) is not None


def forge_everything(log: Path) -> None:
    """What somebody can do who may write both files, but has no key: a rewritten log with a head that fits."""
    lines = rewrite_from(7)(log.read_bytes().splitlines(keepends=True))
    log.write_bytes(b"".join(lines))
    head_path = log.with_name("audit.jsonl.head")
    head = decode_head(head_path.read_bytes())
    assert head is not None
    forged = Head(
        position=parse_record(lines[-1][:-1]).position,
        segment=head.segment,
        count=head.count + 1,
        in_use=head.in_use,
        mac=head.mac,
    )
    head_path.write_bytes(forged.encode() * 2)


def test_a_forged_head_deceives_only_where_there_is_no_key(
    options: AuditOptions, signed: AuditOptions, log: Path
) -> None:
    write_log(options)
    forge_everything(log)
    assert found(log) is None
    for file in log.parent.iterdir():
        file.unlink()
    write_log(signed)
    forge_everything(log)
    assert found(log) is None
    assert found(log, key=KEY) == ("not_signed", 8)


def test_a_cut_end_with_a_head_that_was_made_to_fit_is_seen_with_the_key(
    signed: AuditOptions, log: Path
) -> None:
    write_log(signed)
    kept = log.read_bytes().splitlines(keepends=True)[:-1]
    head_path = log.with_name("audit.jsonl.head")
    head = decode_head(head_path.read_bytes())
    assert head is not None
    at = parse_record(kept[-1][:-1]).position
    log.write_bytes(b"".join(kept))
    for mac in (head.mac, None):
        forged = Head(position=at, segment=head.segment, count=head.count + 1, in_use=head.in_use, mac=mac)
        head_path.write_bytes(forged.encode() * 2)
        assert found(log) is None
        assert found(log, key=KEY) == ("not_signed", None)


def test_without_its_key_a_signed_log_says_that_signatures_were_not_checked(
    signed: AuditOptions, log: Path
) -> None:
    write_log(signed)
    report = check(log)
    assert report.intact
    assert any("signatures were not checked" in note for note in report.notes)


def test_an_unsigned_log_is_not_accepted_where_a_key_is_expected(options: AuditOptions, log: Path) -> None:
    write_log(options)
    assert found(log, key=KEY) == ("not_signed", 0)


def test_a_chain_begun_without_the_key_is_not_continued_with_it(
    options: AuditOptions, signed: AuditOptions, log: Path
) -> None:
    write_log(options)
    write_log(signed)
    assert found(log, key=KEY) == ("not_signed", 0)
    chain = json.loads(log.read_bytes().splitlines()[0])["chain"]
    assert found(log, key=KEY, acknowledged=frozenset({chain})) is None


def test_checkpoints_cannot_be_left_out(signed: AuditOptions, log: Path) -> None:
    write_log(signed)
    kept = [line for line in log.read_bytes().splitlines(keepends=True) if b'"checkpoint"' not in line]
    at = parse_record(kept[0][:-1]).position
    for index in range(1, len(kept)):
        kept[index] = rehashed(kept[index], at)
        at = parse_record(kept[index][:-1]).position
    log.write_bytes(b"".join(kept))
    assert found(log, key=KEY) == ("not_signed", 9)


# Logs of several files


def rotated(options: AuditOptions) -> AuditOptions:
    small = replace(options, max_bytes=1500)
    write_log(small, 30)
    return small


def test_rotation_keeps_the_chain_across_files(options: AuditOptions, log: Path) -> None:
    rotated(options)
    report = check(log)
    assert report.intact
    assert report.files > 3
    assert report.last is not None
    assert report.records == report.last.sequence + 1
    ages = itertools.count(0, 40)
    aged = replace(options, path=log.with_name("aged.jsonl"), max_age_s=500.0)
    write_log(aged, 30, clock=lambda: float(next(ages)))
    assert aged.path is not None
    assert check(aged.path).intact
    assert check(aged.path).files > 3


def test_a_missing_file_is_found(options: AuditOptions, log: Path) -> None:
    rotated(options)
    first, second = (log.with_name(f"audit.{number:06d}.jsonl") for number in (1, 2))
    continued = json.loads(second.read_bytes().splitlines()[0])["seq"]
    kept = second.read_bytes()
    second.unlink()
    assert found(log) == ("missing", None)
    second.write_bytes(b"")
    assert found(log) == ("head_truncated", None)
    second.write_bytes(kept)
    first.unlink()
    assert found(log) == ("head_truncated", 0)
    assert found(log, partial=True) is None
    assert check(log, partial=True).notes[0].startswith(f"begins with record {continued}")
    second.write_bytes(b"".join(kept.splitlines(keepends=True)[:-1]))
    assert found(log, partial=True) is not None


def test_exchanged_files_are_found(options: AuditOptions, log: Path) -> None:
    rotated(options)
    first, second = (log.with_name(f"audit.{number:06d}.jsonl") for number in (1, 2))
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    assert found(log) == ("moved", 0)
    first.write_bytes(contents[1])
    assert found(log) is not None


def test_a_finished_file_can_be_checked_alone(options: AuditOptions, log: Path) -> None:
    rotated(options)
    second = log.with_name("audit.000002.jsonl")
    report = check(second)
    assert report.intact
    assert any("only finished files" in note for note in report.notes)
    second.write_bytes(second.read_bytes()[:-10])
    assert found(second) is not None


def test_a_head_file_kept_elsewhere_is_used(options: AuditOptions, log: Path, tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    elsewhere = tmp_path / "safe" / "audit.head"
    write_log(replace(options, head=elsewhere))
    assert found(log) == ("no_head", None)
    assert found(log, head=elsewhere) is None
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    assert found(log, head=elsewhere) == ("tail_truncated", LENGTH - 1)
