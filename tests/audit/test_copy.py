"""A copy of a log verifies, whatever is written to the log meanwhile, and keeps what the log has no longer."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from research_gateway.audit import AuditOptions
from research_gateway.audit.check import copy as copy_module
from research_gateway.audit.check.cli import audit_app
from research_gateway.audit.check.copy import CopyError, copy_log
from research_gateway.audit.check.verify import LogFiles, Part, collect
from research_gateway.audit.log.chain import Chain, Event
from research_gateway.audit.log.file import FileLog, open_log
from research_gateway.audit.log.files import lock_file
from support.audit import KEY, check, found, write_log

MORE = 300
"""Records that are more than a log may have behind its head."""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    directory = tmp_path / "archive"
    directory.mkdir()
    return directory


@contextmanager
def in_use(options: AuditOptions) -> Iterator[Callable[[int], None]]:
    """Open a log. Yields a function that writes so many records, one batch each."""
    log: FileLog = open_log(options, Chain(options.key, options.checkpoint_every, lambda: 1.0), {"pid": 1})

    def write(count: int) -> None:
        for number in range(count):
            log.append([Event.of("note", 1.0, number=number)])

    yield write
    log.close()


def copied(log: Path, directory: Path, head: Path | None = None) -> int:
    (files,) = collect([log])
    return copy_log(files, directory, head).files


class Overlapped(LogFiles):
    """A log of which another copy is started while it is copied. `statuses` are their exit statuses."""

    statuses: ClassVar[list[int]] = []

    @contextmanager
    def opened(self) -> Iterator[list[Part]]:
        self.statuses.append(run("copy", self.names.path.with_name("archive"), self.names.path))
        with super().opened() as parts:
            yield parts


def test_a_copy_that_is_started_while_another_is_at_work_there_is_refused_with_one_line(
    options: AuditOptions, log: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_use(replace(options, max_bytes=1500)) as write:
        write(10)
        (files,) = collect([log])
        overlapped = Overlapped(names=files.names, segments=files.segments, live=True)
        copy_log(overlapped, archive)
        assert overlapped.statuses == [2]
        said = capsys.readouterr()
        assert said.err == (
            "research-assistant audit: another process is writing audit.jsonl.head there: "
            "copy again when it has ended\n"
        )
        assert not said.out
        assert check(archive / "audit.jsonl").intact
        write(10)
        assert run("copy", archive, log) == 0
    assert check(archive / "audit.jsonl").intact
    assert not list(archive.glob("*.new"))


def test_a_copy_that_another_process_finishes_just_now_is_not_emptied(
    options: AuditOptions, log: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(options)
    copied(log, archive)
    kept = contents(archive)
    new, head = archive / "audit.jsonl.head.new", archive / "audit.jsonl.head"

    def finished_by_another(fd: int) -> bool:
        new.write_bytes(kept[head.name])
        new.rename(head)
        return lock_file(fd)

    monkeypatch.setattr(copy_module, "lock_file", finished_by_another)
    with pytest.raises(CopyError, match="another process is writing"):
        copied(log, archive)
    assert contents(archive) == kept


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_mount_without_locks_is_copied_to_with_a_line_that_says_so(
    number: int,
    options: AuditOptions,
    log: Path,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(_fd: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    with in_use(replace(options, max_bytes=1500)) as write:
        write(10)
        monkeypatch.setattr(fcntl, "flock", refused)
        assert run("copy", archive, log) == 0
        said = capsys.readouterr()
        assert "up to record" in said.out
        assert said.err == (
            "audit.jsonl: the directory takes no locks, so see to it that one copying runs at a time\n"
        )
        monkeypatch.undo()
        write(10)
    assert check(archive / "audit.jsonl").intact
    assert not list(archive.glob("*.new"))


def test_two_copies_at_a_time_without_locks_leave_whole_files(
    options: AuditOptions, log: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    write_log(replace(options, max_bytes=1500), 30)
    monkeypatch.setattr(fcntl, "flock", refused)
    (files,) = collect([log])
    overlapped = Overlapped(names=files.names, segments=files.segments, live=True)
    monkeypatch.setattr(Overlapped, "statuses", [])
    assert not copy_log(overlapped, archive).locked
    assert overlapped.statuses == [0]
    assert check(archive / "audit.jsonl").intact
    assert not list(archive.glob("*.new"))


def test_a_lock_that_fails_otherwise_ends_the_copying(
    options: AuditOptions, log: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_fd: int, _operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_log(options)
    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        copied(log, archive)
    assert not (archive / "audit.jsonl").exists()


class Growing(LogFiles):
    """A log to which more is written between the look at its head and the look at its files."""

    write: Callable[[], None]

    @contextmanager
    def opened(self) -> Iterator[list[Part]]:
        type(self).write()
        with super().opened() as parts:
            yield parts


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("max_bytes", [10_000_000, 40_000])
def test_a_log_that_grows_while_it_is_copied_has_a_copy_that_verifies(
    options: AuditOptions, log: Path, archive: Path, key: bytes | None, max_bytes: int
) -> None:
    with in_use(replace(options, key=key, max_bytes=max_bytes)) as write:
        write(5)
        (files,) = collect([log])
        growing = Growing(names=files.names, segments=files.segments, live=True)
        left = iter([MORE])
        Growing.write = staticmethod(lambda: write(next(left, 0)))
        copy_log(growing, archive)
        report = check(archive / "audit.jsonl", key=key)
        assert report.intact
        assert report.records < check(log, key=key).records or report.files > 1


def test_a_later_copy_adds_what_is_new_and_keeps_what_the_log_no_longer_has(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    with in_use(replace(options, max_bytes=1500)) as write:
        write(30)
        assert copied(log, archive) > 3
        log.with_name("audit.000001.jsonl").unlink()
        log.with_name("audit.000002.jsonl").unlink()
        write(3)
        assert copied(log, archive) < 4
    copied(log, archive)
    assert found(log) == ("head_truncated", 0)
    assert found(log, partial=True) is None
    whole = check(archive / "audit.jsonl")
    assert whole.intact
    assert whole.last == check(log, partial=True).last
    assert {file.stat().st_mode & 0o777 for file in archive.iterdir()} == {0o600}


def test_a_log_that_contradicts_its_copy_is_not_copied(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    write_log(options)
    earlier = {path: path.read_bytes() for path in (log, log.with_name("audit.jsonl.head"))}
    write_log(options)
    copied(log, archive)
    for path, content in earlier.items():
        path.write_bytes(content)  # a valid state, but an older one
    assert found(log) is None
    with pytest.raises(CopyError, match="records that the log does not have"):
        copied(log, archive)
    assert check(archive / "audit.jsonl").records == 44
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]))
    log.with_name("elsewhere").mkdir()
    with pytest.raises(CopyError, match="does not reach its head"):
        copied(log, log.with_name("elsewhere"))


def test_a_rotated_file_that_has_changed_is_not_copied_over(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    write_log(replace(options, max_bytes=1500), 30)
    copied(log, archive)
    first = log.with_name("audit.000001.jsonl")
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(CopyError, match="differs"):
        copied(log, archive)
    assert check(archive / "audit.jsonl").intact


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory by their names."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


LOST_BY_THE_COPY = [[], ["audit.jsonl.head"], ["audit.jsonl"], ["audit.jsonl", "audit.jsonl.head"]]


@pytest.mark.parametrize("lost", LOST_BY_THE_COPY)
def test_a_log_that_was_set_back_to_an_earlier_file_is_not_copied(
    options: AuditOptions, log: Path, archive: Path, lost: list[str]
) -> None:
    files = 5
    with in_use(replace(options, max_bytes=1500)) as write:
        earlier: dict[str, bytes] = {}
        while not log.with_name(f"audit.{files - 1:06d}.jsonl").exists():
            earlier = contents(log.parent)  # of which the file before the last is in use
            write(1)
        copied(log, archive)
    for path in (*log.parent.glob("audit*"),):
        path.unlink()
    for name, content in earlier.items():
        log.with_name(name).write_bytes(content)
    assert found(log) is None  # a valid state, but an older one
    for name in lost:
        (archive / name).unlink()
    kept = contents(archive)
    assert len(kept) == files + 1 - len(lost)
    with pytest.raises(CopyError, match="records that the log does not have"):
        copied(log, archive)
    assert contents(archive) == kept


def test_a_log_that_was_removed_with_its_head_and_begins_again_is_not_copied(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    rotating = replace(options, max_bytes=1500)
    write_log(rotating, 30)
    copied(log, archive)
    for path in (*log.parent.glob("audit*"),):
        path.unlink()
    write_log(options)
    kept = contents(archive)
    with pytest.raises(CopyError, match="records that the log does not have"):
        copied(log, archive)
    assert contents(archive) == kept


def test_a_log_whose_head_alone_was_set_back_is_not_copied(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    head = log.with_name("audit.jsonl.head")
    write_log(options)
    earlier = head.read_bytes()
    write_log(options)
    copied(log, archive)
    head.write_bytes(earlier)
    kept = contents(archive)
    with pytest.raises(CopyError, match="records that the log does not have"):
        copied(log, archive)
    assert contents(archive) == kept


def test_a_damaged_head_of_the_copy_is_refused(options: AuditOptions, log: Path, archive: Path) -> None:
    write_log(options)
    copied(log, archive)
    (archive / "audit.jsonl.head").write_bytes(b"x" * 1024)
    with pytest.raises(CopyError, match="of the copy is damaged"):
        copied(log, archive)


def test_a_file_that_was_copied_whole_is_kept_when_the_copying_ended_early(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    first = log.with_name("audit.000001.jsonl")
    with in_use(replace(options, max_bytes=1500)) as write:
        write(1)
        copied(log, archive)  # a part of the first file
        while not first.exists():
            write(1)
        shutil.copy(first, archive)  # as far as a copying comes that ends early
        whole = first.read_bytes()
        assert len((archive / "audit.jsonl").read_bytes()) < len(whole)
        first.unlink()
        copied(log, archive)
    copied(log, archive)
    assert (archive / first.name).read_bytes() == whole
    assert check(archive / "audit.jsonl").intact


def test_files_of_the_copy_that_contradict_each_other_are_kept(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    first = log.with_name("audit.000001.jsonl")
    with in_use(replace(options, max_bytes=1500)) as write:
        write(1)
        copied(log, archive)
        while not first.exists():
            write(1)
        (archive / first.name).write_bytes(first.read_bytes()[100:])
        first.unlink()
        kept = contents(archive)
        with pytest.raises(CopyError, match="of the copy differ"):
            copied(log, archive)
        assert contents(archive) == kept


def test_a_log_with_two_files_of_one_number_is_not_copied(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    write_log(options)
    shutil.copy(log, log.with_name("audit.000001.jsonl"))
    with pytest.raises(CopyError, match="the same number"):
        copied(log, archive)
    assert contents(archive) == {}


@pytest.mark.parametrize("name", ["audit.jsonl.head", "audit.jsonl"])
def test_a_copy_does_not_replace_the_head_of_the_log(
    options: AuditOptions, log: Path, archive: Path, name: str
) -> None:
    head = archive / name
    with in_use(replace(options, head=head)) as write:
        write(1)
        kept = contents(archive)
        with pytest.raises(CopyError, match=f"would replace {name}, which is in use by the log"):
            copied(log, archive, head)
        assert contents(archive) == kept
        write(1)
    assert found(log, head=head) is None


def test_a_copy_keeps_the_records_of_a_log_that_was_lost(
    options: AuditOptions, log: Path, archive: Path
) -> None:
    write_log(options)
    copied(log, archive)
    log.unlink()
    write_log(options)
    copied(log, archive)
    report = check(archive / "audit.jsonl")
    assert report.problem is not None
    assert report.problem.code == "restarted"
    chain = str(report.problem.message).split()[1]
    assert check(archive / "audit.jsonl", acknowledged=frozenset({chain})).intact
    assert (archive / "audit.000001.jsonl").exists()


def test_the_command_copies_each_log_with_its_own_head(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads = tmp_path / "heads"
    heads.mkdir()
    options = AuditOptions(path=log, head=heads / "audit.head", fsync="never")
    with in_use(options) as write, in_use(options) as write_as_well:  # the second process has audit-2.jsonl
        write(1)
        write_as_well(2)
    monkeypatch.setenv("RESEARCH_AUDIT_LOG", str(log))
    monkeypatch.setenv("RESEARCH_AUDIT_HEAD", str(heads / "audit.head"))
    logs = [str(log), str(log.with_name("audit-2.jsonl"))]
    assert run("verify", *logs) == 0
    assert run("copy", tmp_path / "new", *logs) == 0
    assert "audit-2.jsonl: 2 files written, up to record 3 " in capsys.readouterr().out
    assert run("verify", tmp_path / "new/audit.jsonl", tmp_path / "new/audit-2.jsonl") == 0


def run(*tokens: object) -> int:
    status = audit_app([str(token) for token in tokens], result_action="return_value")
    assert isinstance(status, int)
    return status


def test_what_cannot_be_copied_is_2(
    options: AuditOptions, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(replace(options, max_bytes=1500), 30)
    assert run("copy", tmp_path / "new", log.with_name("audit.000001.jsonl")) == 2
    assert "in use" in capsys.readouterr().err
    assert run("copy", tmp_path, log) == 2
    assert run("copy", tmp_path / "no" / "where", log) == 2
    log.with_name("audit.jsonl.head").write_bytes(b"")
    assert run("copy", tmp_path / "new", log) == 2
    assert "head" in capsys.readouterr().err


# A head file that was copied


def test_an_older_copy_of_the_head_reveals_an_older_log_and_does_not_bound_a_newer_one(
    options: AuditOptions, log: Path, tmp_path: Path
) -> None:
    head, kept = log.with_name("audit.jsonl.head"), tmp_path / "kept.head"
    write_log(options)
    old = log.read_bytes(), head.read_bytes()
    write_log(options)
    shutil.copy(head, kept)
    write_log(options, MORE)
    assert run("verify", log, "--head", kept) == 0
    log.write_bytes(old[0])
    head.write_bytes(old[1])
    assert run("verify", log) == 0
    assert run("verify", log, "--head", kept) == 1
    assert found(log, copied_head=kept) == ("tail_truncated", 22)


def test_a_copied_head_that_is_missing_or_damaged_is_2(
    options: AuditOptions, log: Path, tmp_path: Path
) -> None:
    write_log(options)
    assert run("verify", log, "--head", tmp_path / "missing") == 2
    (tmp_path / "damaged").write_bytes(b"x" * 1024)
    assert run("verify", log, "--head", tmp_path / "damaged") == 2
