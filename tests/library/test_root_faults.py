"""What roots report when they are empty, gone, or fail: it begins with what shows it, and ends with what shows the contrary."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from library.conftest import Policy
from research_shared.access.opener import Opener
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.errors import DocumentUnreadable, Overloaded, RootUnavailable
from research_shared.faults import ROOT_FAILING, Faults


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def current(doors: RootsPolicy) -> list[tuple[str, str]]:
    return [(fault.kind.name, fault.about) for fault in doors.faults.current]


def walk(doors: RootsPolicy, stopped: Callable[[], bool] = lambda: False) -> list[str]:
    return [info.path for info in doors.walk(stopped)]


def test_a_root_is_empty_while_no_entry_is_in_it(policy: Policy, folder: Path) -> None:
    doors = policy()
    assert walk(doors, lambda: True) == []
    assert current(doors) == []
    assert walk(doors) == []
    assert current(doors) == [("root_empty", "research")]
    (folder / "notes.bin").write_text("no document")
    assert walk(doors) == []
    assert current(doors) == []


def test_a_root_that_held_a_document_is_emptied_and_no_longer_when_there_is_one(
    policy: Policy, folder: Path
) -> None:
    document = folder / "a.md"
    doors = policy()
    for left in ("", "notes.bin"):
        document.touch()
        assert walk(doors) == ["a.md"]
        assert current(doors) == []
        document.unlink()
        if left:
            (folder / left).touch()
        assert walk(doors) == []
        assert current(doors) == [("root_emptied", "research")]


def test_an_empty_root_is_so_until_a_document_is_seen(policy: Policy, folder: Path) -> None:
    doors = policy()
    walk(doors)
    (folder / "a.md").touch()
    assert walk(doors) == ["a.md"]
    assert current(doors) == []


def test_what_a_scope_shows_of_a_root_says_nothing_of_all_of_it(policy: Policy, folder: Path) -> None:
    doors = policy()
    doors.expect_documents(["research", "another"])
    with narrowed_scope(Scope(("sub",))):
        assert walk(doors) == []
        assert current(doors) == []
    assert walk(doors) == []
    assert current(doors) == [("root_emptied", "research")]
    (folder / "a.md").touch()
    with narrowed_scope(Scope(("sub",))):
        assert walk(doors) == []
    assert current(doors) == [("root_emptied", "research")]


def test_only_the_root_that_is_empty_is_named(policy: Policy, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a.md").touch()
    doors = policy(*(Root(name, tmp_path / name) for name in ("one", "two")))
    doors.expect_documents(["one"])
    assert walk(doors) == ["one/a.md"]
    assert current(doors) == [("root_empty", "two")]


def test_a_root_is_unavailable_until_it_can_be_opened(
    policy: Policy, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a.md").touch()
    doors = policy()
    folder.rename(folder.with_name("away"))
    with pytest.raises(RootUnavailable):
        doors.open("a.md")
    assert current(doors) == [("root_unavailable", "research")]
    assert vars(caplog.records[-1])["error"] == os.strerror(errno.ENOENT)
    folder.with_name("away").rename(folder)
    os.close(doors.open("a.md").fd)
    assert current(doors) == []


def test_a_root_that_leads_elsewhere_is_not_the_same(
    policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("first")
    doors = policy(Root("research", tmp_path / "link"))
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("second")
    with pytest.raises(RootUnavailable):
        walk(doors)
    assert vars(caplog.records[-1])["error"] == "not the same"


@pytest.mark.parametrize("how", ["opened", "listed"])
def test_a_file_system_that_fails_does_so_until_all_of_it_is_listed(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    (folder / "a.md").touch()
    clock = Clock()
    doors = RootsPolicy([Root("research", folder)], faults=Faults(clock))
    looks = 0

    def fail(*_args: Any, **_options: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def stat_once(path: Any, **options: Any) -> os.stat_result:
        nonlocal looks
        looks += path == b"."
        return os_stat(path, **options) if looks < 2 else fail()

    os_stat = os.stat
    with monkeypatch.context() as patched:
        patched.setattr(Opener, "open_target", fail)
        patched.setattr(os, "stat", stat_once)  # the root can be opened, and fails then
        with pytest.raises(RootUnavailable):
            doors.open("a.md") if how == "opened" else walk(doors)
    assert current(doors) == [("root_failing", "research")]
    assert vars(caplog.records[-1])["error"] == os.strerror(errno.EIO)
    clock.now += ROOT_FAILING.settle_s
    os.close(doors.open("a.md").fd)
    with narrowed_scope(Scope(("other/**",))):
        walk(doors)
    assert current(doors) == [("root_failing", "research")]
    walk(doors)
    assert current(doors) == []


def test_one_file_that_the_file_system_fails_to_give_is_no_fault_of_the_folder(
    policy: Policy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.md", "b.md"):
        (folder / name).write_text("text", encoding="utf-8")
    doors = policy()
    known = [doors.stat(name) for name in ("a.md", "b.md")]
    open_target, scandir, os_stat = Opener.open_target, os.scandir, os.stat
    broken = OSError(errno.EIO, os.strerror(errno.EIO))

    def open_others(self: Opener, resolved: Any, root_fd: int, parts: Any, *rest: Any, **options: Any) -> Any:
        if parts[-1:] == (b"b.md",):
            raise broken
        return open_target(self, resolved, root_fd, parts, *rest, **options)

    class Entry:
        def __init__(self, entry: "os.DirEntry[str]") -> None:
            self._entry = entry

        def __getattr__(self, name: str) -> Any:
            return getattr(self._entry, name)

        def stat(self, **options: Any) -> os.stat_result:
            if self._entry.name == "b.md":
                raise broken
            return self._entry.stat(**options)

    @contextmanager
    def scanned(fd: int) -> Iterator[Any]:
        with scandir(fd) as entries:
            yield map(Entry, entries)

    def stat_others(path: Any, **options: Any) -> os.stat_result:
        if path == b"b.md":
            raise broken
        return os_stat(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Opener, "open_target", open_others)
        patched.setattr(os, "scandir", scanned)
        patched.setattr(os, "stat", stat_others)
        with pytest.raises(DocumentUnreadable) as refusal:
            doors.open("b.md")
        found = sorted(info.path for info in doors.walk(lambda: False))
        changed = doors.changed(known)
    assert refusal.value.reason == "not available"
    assert found == ["a.md", "b.md"]
    assert changed == {"b.md"}
    assert current(doors) == []


@pytest.mark.parametrize(
    ("number", "where", "expected"),
    [
        (errno.EIO, "sub", [("directory_failing", "research")]),
        (errno.EUCLEAN, "sub", [("directory_failing", "research")]),
        (errno.EUCLEAN, "", [("directory_failing", "research")]),
        (errno.ENOENT, "sub", []),
        (errno.EIO, "", [("root_failing", "research")]),
        (errno.EMFILE, "sub", [("out_of_files", "")]),
    ],
)
@pytest.mark.parametrize("how", ["walk", "documents_after"])
def test_a_directory_that_fails_while_it_is_listed_is_left_out(
    policy: Policy,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    where: str,
    expected: list[tuple[str, str]],
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (folder / "sub").mkdir()
    for name in ("a.md", "sub/b.md"):
        (folder / name).touch()
    failing, scandir = (folder / where).stat().st_ino, os.scandir

    @contextmanager
    def scanned(fd: int) -> Iterator[Iterator[Any]]:
        def cut(found: Iterator[Any]) -> Iterator[Any]:
            yield next(found)
            raise OSError(number, os.strerror(number))

        with scandir(fd) as found:
            yield cut(found) if os.fstat(fd).st_ino == failing else found

    monkeypatch.setattr(os, "scandir", scanned)
    doors = policy()

    def listed() -> list[str]:
        return walk(doors) if how == "walk" else [info.path for info in doors.documents_after("", 9)]

    if expected and expected[0][0] in {"root_failing", "out_of_files"}:
        with pytest.raises((RootUnavailable, Overloaded)):
            listed()
    elif where:
        assert listed() == ["a.md", "sub/b.md"]  # what came before the failure counts
    else:
        assert listed() in (["a.md"], ["sub/b.md"])  # whichever the file system gives first
    assert current(doors) == expected
    if expected[:1] == [("directory_failing", "research")]:
        assert vars(caplog.records[-1])["error"] == f"{os.strerror(number)} (in 1 of its directories)"
    monkeypatch.undo()
    with narrowed_scope(Scope(("a.md",))):
        walk(doors)
    walk(doors, lambda: True)
    doors.documents_after("", 9)
    left = [fault for fault in current(doors) if fault[0] == "directory_failing"]
    assert left == [fault for fault in expected if fault[0] == "directory_failing"]
    walk(doors)
    assert ("directory_failing", "research") not in current(doors)


@pytest.mark.parametrize("how", ["opened", "listed"])
@pytest.mark.parametrize("where", ["open_target", "_open_directory"])
def test_a_process_is_out_of_files_until_it_opens_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, how: str
) -> None:
    (folder / "a.md").touch()
    clock = Clock()
    doors = RootsPolicy([Root("research", folder)], faults=Faults(clock))

    def fail(*_args: Any, **_options: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(Opener, where, fail)
        with pytest.raises(Overloaded):
            doors.open("a.md") if how == "opened" else walk(doors)
    assert current(doors) == [("out_of_files", "")]
    assert vars(caplog.records[-1])["error"] == os.strerror(errno.EMFILE)
    clock.now += 5
    if how == "opened":
        os.close(doors.open("a.md").fd)
    else:
        walk(doors)
    assert current(doors) == []


def test_others_report_that_nothing_can_be_opened_too(folder: Path) -> None:
    doors = RootsPolicy([Root("research", folder)])
    error = doors.overloaded(OSError(errno.EMFILE, "too many"))
    assert isinstance(error, Overloaded)
    assert current(doors) == [("out_of_files", "")]
