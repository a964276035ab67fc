"""Listings that meet what is gone, what is no file, and what changes while they run."""

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from library.conftest import Policy
from research_shared.access import beneath
from research_shared.access.opener import Opener
from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.errors import DocumentNotFound, RootUnavailable
from research_shared.faults import Faults


@pytest.fixture
def roots(tmp_path: Path) -> list[Root]:
    """Two roots with a document each."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    return [Root(name, tmp_path / name) for name in ("one", "two")]


def after(policy: RootsPolicy, path: str, limit: int = 9) -> list[str]:
    return [info.path for info in policy.documents_after(path, limit)]


def test_the_documents_after_a_path_need_only_the_roots_that_can_hold_them(
    policy: Policy, roots: list[Root], tmp_path: Path
) -> None:
    doors = policy(*roots)
    assert after(doors, "") == ["one/a.md", "two/a.md"]
    (tmp_path / "two").rename(tmp_path / "gone")
    assert after(doors, "", 1) == ["one/a.md"]
    with narrowed_scope(Scope(("one",))):
        assert after(doors, "") == ["one/a.md"]
    with pytest.raises(RootUnavailable):
        after(doors, "", 2)
    (tmp_path / "gone").rename(tmp_path / "two")
    (tmp_path / "one").rename(tmp_path / "gone")
    assert after(doors, "one0") == ["two/a.md"]
    with pytest.raises(RootUnavailable):
        after(doors, "one/b.md")


def test_what_looks_like_a_document_and_is_none_is_not_among_those_after_a_path(
    policy: Policy, folder: Path
) -> None:
    (folder / "a.md").write_text("text")
    (folder / "loop.md").symlink_to("loop.md")
    (folder / "nowhere.md").symlink_to("missing.md")
    os.mkfifo(folder / "pipe.md")
    (folder / "z.md").write_text("text")
    assert after(policy(), "") == ["a.md", "z.md"]
    assert after(policy(), "", 2) == ["a.md", "z.md"]


def test_a_directory_that_becomes_a_link_during_a_listing_is_not_followed(
    policy: Policy, folder: Path
) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / f"{name}.md").write_text("text")
    asked: list[bool] = []

    def swapped() -> bool:
        if len(asked) == 1:  # the root has been read, its directories have not
            (folder / "two").rename(folder.with_name("away"))
            (folder / "two").symlink_to("one")
        asked.append(True)
        return False

    assert [info.path for info in policy().walk(swapped)] == ["one/one.md"]


def test_a_root_that_can_be_opened_and_not_be_read_is_not_available(
    policy: Policy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("text")
    doors = policy()

    def refuse(*_args: Any, **_options: Any) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Opener, "open_beneath", refuse)
    with pytest.raises(RootUnavailable):
        list(doors.walk())
    with pytest.raises(RootUnavailable):
        after(doors, "")


def test_an_absolute_link_is_refused_although_its_path_fits_beneath_the_root(
    policy: Policy, folder: Path
) -> None:
    (folder / "a.md").write_text("text")
    (folder / "link.md").symlink_to("/a.md")
    doors = policy()
    with pytest.raises(DocumentNotFound):
        doors.open("link.md")
    assert [info.path for info in doors.walk()] == ["a.md"]


def test_a_failure_that_does_not_pass_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def syscall(*args: object) -> int:
        calls.append(args)
        ctypes.set_errno(errno.ENOENT)
        return -1

    monkeypatch.setattr(beneath, "_syscall", lambda: syscall)
    with pytest.raises(FileNotFoundError):
        beneath.open_unlinked(3, [b"a.md"], beneath.FILE)
    assert len(calls) == 1


def test_the_name_of_a_root_alone_leads_to_no_document(roots: list[Root]) -> None:
    opener = Opener(roots, include_hidden=False, openat2=False, faults=Faults())
    assert opener.locate("one/a.md")[1] == (b"a.md",)
    for path in ("one", "one/", "three/a.md", "a.md"):
        with pytest.raises(DocumentNotFound):
            opener.locate(path)
