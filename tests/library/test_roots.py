"""Access to documents: what is opened and listed, and what is not."""

import ctypes
import errno
import gc
import importlib
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from library.conftest import Policy
from research_shared.access import beneath
from research_shared.access.listing import Listing
from research_shared.access.resolved import ResolvedRoot
from research_shared.access.roots import (
    Root,
    RootsPolicy,
    Scope,
    current_scope,
    identity_of,
    narrowed_scope,
)
from research_shared.documents import Identity
from research_shared.errors import (
    ConfigurationError,
    DocumentNotFound,
    DocumentUnreadable,
    Overloaded,
    RootUnavailable,
    UnsupportedType,
)
from research_shared.formats import media_type_of
from research_shared.settings import Settings

NOBODY = 65534


def read(policy: RootsPolicy, path: str) -> bytes:
    document = policy.open(path)
    with os.fdopen(document.fd, "rb") as file:
        return file.read()


def listed(policy: RootsPolicy) -> list[str]:
    return sorted(info.path for info in policy.walk())


def open_descriptors() -> int:
    gc.collect()  # what earlier tests have left is not to go meanwhile
    return len(list(Path("/dev/fd").iterdir()))


@contextmanager
def as_ordinary_user(*owned: Path) -> Iterator[None]:
    """Permissions mean nothing to root, so become somebody to whom they do."""
    if os.geteuid() != 0:
        yield
        return
    for path in owned:
        os.chown(path, NOBODY, NOBODY)
    media_type_of("a.md")  # loads the formats, which that user may not be able to read
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        importlib.invalidate_caches()  # whoever could not read the interpreter's own files should not be believed


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that an ordinary user can get to, unlike pytest's own temporary ones when root makes them."""
    base = Path(tempfile.mkdtemp(prefix="research-test-"))
    base.chmod(0o755)
    (base / "research").mkdir()
    yield base / "research"
    shutil.rmtree(base)


def test_a_document_is_listed_and_opened_by_its_path_beneath_the_root(policy: Policy, folder: Path) -> None:
    (folder / "reports").mkdir()
    (folder / "reports" / "q3.md").write_text("text")
    (folder / "reports" / "photo.png").write_bytes(b"png")
    doors = policy()
    assert listed(doors) == ["reports/q3.md"]
    assert read(doors, "reports/q3.md") == b"text"
    info = doors.stat("reports/q3.md")
    assert (info.path, info.filename, info.root, info.media_type, info.size_bytes) == (
        "reports/q3.md",
        "q3.md",
        "research",
        "text/markdown",
        4,
    )
    assert info in list(doors.walk())


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        ".",
        "..",
        "../outside.md",
        "reports/../a.md",
        "./a.md",
        "a.md/",
        "//a.md",
        "reports//a.md",
        "a.md\0",
        "\0",
        "photos",
        "reports",
        "missing.md",
        "a.md/b.md",
        "n" * 300 + ".md",
        "d/" * 3000 + "a.md",
    ],
)
def test_a_path_that_is_not_a_document_is_not_found(policy: Policy, folder: Path, path: str) -> None:
    (folder / "a.md").write_text("text")
    (folder / "reports").mkdir()
    (folder / "reports" / "a.md").write_text("text")
    (folder / "photo.png").write_bytes(b"png")
    (folder.parent / "outside.md").write_text("secret")
    with pytest.raises(DocumentNotFound):
        policy().open(path)


def test_a_relative_link_that_stays_beneath_the_root_is_followed(policy: Policy, folder: Path) -> None:
    (folder / "2024" / "deep").mkdir(parents=True)
    (folder / "2024" / "a.md").write_text("text")
    (folder / "2024" / "deep" / "up.md").symlink_to("../../2024/./a.md")
    (folder / "latest").symlink_to("2024/")
    (folder / "chain.md").symlink_to("latest/deep/up.md")
    doors = policy()
    for path in ("latest/a.md", "chain.md", "latest/deep/up.md", "2024/deep/up.md"):
        assert read(doors, path) == b"text"
    # A linked file is a document of its own; what a linked directory holds is listed where it is.
    assert listed(doors) == ["2024/a.md", "2024/deep/up.md", "chain.md"]


@pytest.mark.parametrize(
    "target",
    [
        "../outside.md",
        "../research/../outside.md",
        "sub/../../outside.md",
        "{absolute_inside}",
        "{absolute_outside}",
        "/proc/self/root{absolute_outside}",
        "/proc/self/cwd",
        "loop.md",
        "dangling.md",
        ".",
        "sub",
        ".hidden.md",
        ".git/config.md",
    ],
)
def test_a_link_that_leads_anywhere_else_is_no_document(policy: Policy, folder: Path, target: str) -> None:
    (folder / "sub").mkdir()
    (folder / ".git").mkdir()
    for file in (folder / "a.md", folder / ".hidden.md", folder / ".git" / "config.md"):
        file.write_text("text")
    (folder.parent / "outside.md").write_text("secret")
    (folder / "loop.md").symlink_to("loop2.md")
    (folder / "loop2.md").symlink_to("loop.md")
    (folder / "link.md").symlink_to(
        target.format(absolute_inside=folder / "a.md", absolute_outside=folder.parent / "outside.md")
    )
    doors = policy()
    with pytest.raises(DocumentNotFound):
        doors.open("link.md")
    assert listed(doors) == ["a.md"]


def test_chains_of_links_end_in_a_bounded_refusal(policy: Policy, folder: Path) -> None:
    (folder / "l0.md").write_text("text")
    for number in range(1, 60):
        (folder / f"l{number}.md").symlink_to(f"l{number - 1}.md")
    (folder / "d0").mkdir()
    for number in range(1, 12):  # each of these links goes twice through the one before: 2^11 steps
        (folder / f"d{number}").symlink_to(f"d{number - 1}/../d{number - 1}")
    doors = policy()
    assert read(doors, f"l{beneath.MAX_LINKS}.md") == b"text"
    for path in (f"l{beneath.MAX_LINKS + 1}.md", "l59.md", "d11/a.md"):
        with pytest.raises(DocumentNotFound):
            doors.open(path)


def test_links_whose_targets_pile_up_are_refused(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    for number in range(1, 5):
        (folder / f"s{number}").symlink_to(f"s{number + 1}" + "/." * 2000)
    (folder / "s5").symlink_to(".")
    doors = policy()
    assert read(doors, "s4/a.md") == b"text"
    with pytest.raises(DocumentNotFound):
        doors.open("s1/a.md")


def test_hidden_names_are_neither_listed_nor_opened_unless_configured(policy: Policy, folder: Path) -> None:
    (folder / ".git").mkdir()
    (folder / "sub").mkdir()
    paths = [".git/a.md", ".notes.md", "sub/.draft.md"]
    for path in paths:
        (folder / path).write_text("text")
    doors = policy()
    assert listed(doors) == []
    for path in paths:
        with pytest.raises(DocumentNotFound):
            doors.open(path)
    doors = policy(include_hidden=True)
    assert listed(doors) == paths
    assert read(doors, ".git/a.md") == b"text"
    assert doors.changed(doors.walk()) == set()
    assert doors.include_hidden
    assert not RootsPolicy([Root("research", folder)]).include_hidden


def test_a_name_that_is_not_utf8_is_listed_in_a_form_that_opens_it(policy: Policy, folder: Path) -> None:
    for raw in (b"caf\xe9.md", b"two\nlines.md", b"back\\slash.md", b"\xff\xfe/\x80.md"):
        target = os.fsencode(folder) + b"/" + raw
        Path(os.fsdecode(target)).parent.mkdir(exist_ok=True)
        Path(os.fsdecode(target)).write_bytes(raw)
    doors = policy()
    assert listed(doors) == [r"\xff\xfe/\x80.md", r"back\\slash.md", r"caf\xe9.md", r"two\x0alines.md"]
    assert {read(doors, path) for path in listed(doors)} == {
        b"\xff\xfe/\x80.md",
        b"back\\slash.md",
        b"caf\xe9.md",
        b"two\nlines.md",
    }


def test_special_files_are_refused_without_waiting(policy: Policy, folder: Path) -> None:
    os.mkfifo(folder / "fifo.md")
    (folder / "link.md").symlink_to("fifo.md")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(folder)  # a socket's path is limited to about 100 bytes
        try:
            listening.bind("socket.md")
        finally:
            os.chdir(before)
        (folder / "directory.md").mkdir()
        doors = policy()
        assert listed(doors) == []
        for name in ("fifo.md", "link.md", "socket.md", "directory.md"):
            with pytest.raises(DocumentNotFound):
                doors.open(name)


def test_several_roots_lead_their_documents_paths_with_their_names(policy: Policy, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    doors = policy(Root("1", tmp_path / "one"), Root("2", tmp_path / "two"))
    assert listed(doors) == ["1/a.md", "2/a.md"]
    assert read(doors, "2/a.md") == b"two"
    for path in ("a.md", "3/a.md", "1", "1/../2/a.md", "one/a.md"):
        with pytest.raises(DocumentNotFound):
            doors.open(path)


def test_a_root_within_a_root_keeps_its_documents_to_itself(policy: Policy, tmp_path: Path) -> None:
    outer, inner = tmp_path / "all", tmp_path / "all" / "clients" / "acme"
    inner.mkdir(parents=True)
    (outer / "a.md").write_text("outer")
    (inner / "a.md").write_text("inner")
    (outer / "link.md").symlink_to("clients/acme/a.md")
    doors = policy(Root("all", outer), Root("acme", inner))
    assert listed(doors) == ["acme/a.md", "all/a.md"]
    for path in ("all/clients/acme/a.md", "all/link.md"):
        with pytest.raises(DocumentNotFound):
            doors.open(path)


def test_a_scope_narrows_opening_listing_and_links(policy: Policy, folder: Path) -> None:
    for team in ("a", "b"):
        (folder / team).mkdir()
        (folder / team / "plan.md").write_text(team)
    (folder / "a" / "other.md").symlink_to("../b/plan.md")
    (folder / "a" / "same.md").symlink_to("plan.md")
    doors = policy()
    assert listed(doors) == ["a/other.md", "a/plan.md", "a/same.md", "b/plan.md"]
    with narrowed_scope(Scope(("a",))):
        assert listed(doors) == ["a/plan.md", "a/same.md"]
        assert read(doors, "a/same.md") == b"a"
        for path in ("b/plan.md", "a/other.md"):
            with pytest.raises(DocumentNotFound):
                doors.open(path)
        with narrowed_scope(Scope(("b",))):
            assert listed(doors) == []
    with narrowed_scope(Scope(("a/plan.md",))):
        assert listed(doors) == ["a/plan.md"]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (("",), ("a",), ("a",)),
        (("a",), ("a",), ("a",)),
        (("a",), ("a/b",), ("a/b",)),
        (("a", "a/b"), ("a/b",), ("a/b",)),
        (("a", "b/c"), ("a/d", "b"), ("a/d", "b/c")),
        (("", "a"), ("b",), ("b",)),
        (("a",), ("ab",), ()),
        (("a/b",), ("a/c",), ()),
        (("a",), (), ()),
    ],
)
def test_what_two_scopes_have_in_common(
    one: tuple[str, ...], other: tuple[str, ...], both: tuple[str, ...]
) -> None:
    assert Scope(one).narrowed(Scope(other)) == Scope(both)
    assert Scope(other).narrowed(Scope(one)) == Scope(both)
    with narrowed_scope(Scope(one)), narrowed_scope(Scope(other)) as effective:
        assert effective == Scope(both) == current_scope()


def test_a_scope_of_nested_parts_admits_what_lies_in_either_and_leads_to_both() -> None:
    scope = Scope(("a", "a/b", "c/d", "ef/g"))
    for path in ("a", "a/b", "a/b/x.md", "a/x.md", "c/d", "c/d/x.md"):
        assert scope.admits(path)
    for path in ("", "ab/x.md", "c", "c/x.md", "c/de/x.md"):
        assert not scope.admits(path)
    leads = {path: scope.leads_to(path) for path in ("a", "c", "c/d/e", "c/x", "ac", "e")}
    assert [path for path, does in leads.items() if does] == ["a", "c", "c/d/e"]


def true(path: Path) -> Identity:
    """The identity of whatever is there, whether it may be named or not."""
    try:
        return identity_of(path.stat())
    except (OSError, ValueError):
        return Identity(0, 0, 0, 0, 0)


def test_of_many_documents_those_are_told_that_are_not_what_they_were(policy: Policy, tmp_path: Path) -> None:
    roots = [Root(name, tmp_path / name) for name in ("one", "two")]
    for directory in ("one/sub", "two", "outside"):
        (tmp_path / directory).mkdir(parents=True)
    for name in (
        "one/a.md",
        "one/sub/b.txt",
        "one/sub/data.bin",
        "one/.hidden.md",
        "two/c.md",
        "outside/d.md",
    ):
        (tmp_path / name).write_text(name)
    (tmp_path / "one" / "link.md").symlink_to("sub/b.txt")
    (tmp_path / "one" / "out.md").symlink_to("../outside/d.md")
    (tmp_path / "one" / "linked").symlink_to("sub")
    (tmp_path / "one" / "away").symlink_to("../outside")
    os.mkfifo(tmp_path / "one" / "fifo.md")
    doors = policy(*roots)
    there = ["one/a.md", "one/sub/b.txt", "one/link.md", "one/linked/b.txt", "two/c.md"]
    absent = [
        "one/none.md", "none/a.md", "a.md", "one", "one/sub", "one/sub/data.bin", "one/.hidden.md", "one/out.md",
        "one/away/d.md", "one/fifo.md", "one/../outside/d.md", "one/sub/../a.md", "one//a.md", "/one/a.md", "", "one/\0.md",
        "one/sub/..", "three/x.md", "one/a.md/x.md", "one/folder.md",
    ]  # fmt: skip
    (tmp_path / "one" / "folder.md").mkdir()
    before = open_descriptors()
    known = [doors.stat(path) for path in there]
    everything = [*known, *(replace(known[0], path=path, identity=true(tmp_path / path)) for path in absent)]
    assert doors.changed(everything) == set(absent)
    for part in Identity._fields:
        others = [
            replace(info, identity=info.identity._replace(**{part: getattr(info.identity, part) + 1}))
            for info in everything
        ]
        assert doors.changed(others) == {*absent, *(there if part != "device" else [])}
    with narrowed_scope(Scope(("one/sub",))):
        assert doors.changed(known) == set(there) - {"one/sub/b.txt"}
    for path in absent:
        with pytest.raises(UnsupportedType if path.endswith(".bin") else DocumentNotFound):
            doors.stat(path)
    assert doors.changed([]) == set()
    (tmp_path / "two").rename(tmp_path / "gone")
    with pytest.raises(RootUnavailable):
        doors.changed(known)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.EMFILE, Overloaded), (errno.ESTALE, None), (errno.EACCES, None)],
)
@pytest.mark.parametrize("what", ["the directory", "the file"])
def test_a_passing_reason_is_no_change(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception] | None,
    what: str,
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.md").write_text("text")
    doors = RootsPolicy([Root("research", folder)])
    known = [doors.stat("sub/a.md")]
    real_open, real_stat = beneath.open_unlinked, os.stat

    def failing_open(root_fd: int, parts: Any, flags: int) -> int:
        if what == "the directory":
            raise OSError(number, os.strerror(number))
        return real_open(root_fd, parts, flags)

    def failing_stat(path: Any, **options: Any) -> os.stat_result:
        if path == b"a.md":
            raise OSError(number, os.strerror(number))
        return real_stat(path, **options)

    monkeypatch.setattr(beneath, "open_unlinked", failing_open)
    monkeypatch.setattr(beneath, "open_walking", failing_open)
    monkeypatch.setattr(os, "stat", failing_stat)
    if expected is None:
        assert doors.changed(known) == {"sub/a.md"}
    else:
        with pytest.raises(expected):
            doors.changed(known)


def test_it_can_be_asked_which_roots_are_there(policy: Policy, tmp_path: Path) -> None:
    roots = [Root(name, tmp_path / name) for name in ("one", "two")]
    for root in roots:
        root.directory.mkdir()
    doors = policy(*roots)
    (tmp_path / "two").rmdir()
    assert [doors.available(root) for root in roots] == [True, False]


def test_a_scope_leaves_out_whole_roots(policy: Policy, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    doors = policy(Root("one", tmp_path / "one"), Root("two", tmp_path / "two"))
    (tmp_path / "two").rename(tmp_path / "gone")
    with narrowed_scope(Scope(("one",))):
        assert listed(doors) == ["one/a.md"]
    with pytest.raises(RootUnavailable):
        listed(doors)


@pytest.mark.parametrize(
    "directory", ["/", "//", "/proc/self/root", "/proc", "/sys", "/dev", "/proc/self/fd"]
)
def test_a_directory_of_the_system_cannot_be_a_root(policy: Policy, directory: str) -> None:
    with pytest.raises(ConfigurationError):
        policy(Root("research", Path(directory)))


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "\ud800"])
def test_a_root_needs_a_printable_name(policy: Policy, folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError):
        policy(Root(name, folder))


def test_roots_that_cannot_be_served_are_refused_at_start(policy: Policy, folder: Path) -> None:
    (folder / "file.md").write_text("text")
    (folder / "link").symlink_to("../research")
    for roots in (
        [Root("research", folder / "missing")],
        [Root("research", folder / "file.md")],
        [Root("one", folder), Root("two", folder / "link")],
        [Root("one", folder), Root("one", folder.parent)],
    ):
        with pytest.raises(ConfigurationError):
            policy(*roots)
    with pytest.raises(ConfigurationError):
        RootsPolicy([])


def test_a_root_that_goes_away_fails_closed_and_recovers(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    doors = policy()
    aside = folder.with_name("aside")
    folder.rename(aside)
    for _ in range(2):
        with pytest.raises(RootUnavailable):
            doors.open("a.md")
        with pytest.raises(RootUnavailable):
            listed(doors)
        folder.write_text("a file in its place") if not folder.exists() else None
    folder.unlink()
    folder.mkdir()
    (folder / "b.md").write_text("new")
    assert listed(doors) == ["b.md"]
    shutil.rmtree(folder)
    aside.rename(folder)
    assert read(doors, "a.md") == b"text"


@pytest.mark.parametrize("target", ["elsewhere", "{absolute}"])
def test_a_link_put_in_the_place_of_a_root_is_not_followed(policy: Policy, folder: Path, target: str) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    (elsewhere / "a.md").write_text("secret")
    doors = policy()
    folder.rmdir()
    folder.symlink_to(target.format(absolute=elsewhere))
    with pytest.raises(RootUnavailable):
        doors.open("a.md")
    with pytest.raises(RootUnavailable):
        listed(doors)


def test_a_root_that_is_a_link_is_served_until_it_points_elsewhere(policy: Policy, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(name)
    link = tmp_path / "current"
    link.symlink_to("first")
    doors = policy(Root("research", link))
    assert read(doors, "a.md") == b"first"
    link.unlink()
    with pytest.raises(RootUnavailable):
        doors.open("a.md")
    link.symlink_to("second")
    descriptors = open_descriptors()
    with pytest.raises(RootUnavailable):
        doors.open("a.md")
    assert open_descriptors() == descriptors
    link.unlink()
    link.symlink_to("first")
    assert listed(doors) == ["a.md"]


def test_an_unreadable_root_fails_closed_and_recovers(policy: Policy, public_folder: Path) -> None:
    (public_folder / "a.md").write_text("text")
    doors = policy(Root("research", public_folder))
    with as_ordinary_user(public_folder):
        for mode in (0o000, 0o444, 0o111):
            public_folder.chmod(mode)
            with pytest.raises(RootUnavailable):
                doors.open("a.md")
            with pytest.raises(RootUnavailable):
                listed(doors)
        with pytest.raises(ConfigurationError):
            policy(Root("research", public_folder))
        public_folder.chmod(0o755)
        assert read(doors, "a.md") == b"text"


def test_a_document_that_the_server_may_not_read_says_so(policy: Policy, public_folder: Path) -> None:
    closed, shut = public_folder / "closed.md", public_folder / "shut"
    closed.write_text("secret")
    shut.mkdir()
    (shut / "a.md").write_text("secret")
    (public_folder / "link.md").symlink_to("closed.md")
    (public_folder / "linked").symlink_to("shut")
    (shut / "deep").mkdir()
    doors = policy(Root("research", public_folder))
    with as_ordinary_user(public_folder, closed, shut, shut / "a.md"):
        closed.chmod(0o000)
        shut.chmod(0o000)
        assert listed(doors) == ["closed.md"]
        descriptors = open_descriptors()
        with pytest.raises(DocumentUnreadable) as refusal:
            doors.open("closed.md")
        assert open_descriptors() == descriptors
        assert refusal.value.reason == "not permitted"
        for path in ("shut/a.md", "shut/missing.md", "shut/deep/a.md", "link.md"):
            with pytest.raises(DocumentNotFound):
                doors.open(path)
        shut.chmod(0o755)
        (shut / "a.md").chmod(0o000)
        for path in ("shut/a.md", "linked/a.md"):
            with pytest.raises(DocumentUnreadable):
                doors.open(path)
        # Outside the scope, what may not be read is not there, as everything else.
        with narrowed_scope(Scope(("linked",))), pytest.raises(DocumentNotFound):
            doors.open("linked/a.md")


def _take_every_descriptor() -> list[int]:
    held: list[int] = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return held


def test_running_out_of_descriptors_is_overload_not_absence(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    doors = policy()
    doors.stat("a.md")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        held = _take_every_descriptor()
        with pytest.raises(Overloaded):
            doors.open("a.md")  # not even the root can be opened
        os.close(held.pop())
        with pytest.raises(Overloaded):
            doors.open("a.md")  # the root can, the document cannot
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(doors, "a.md") == b"text"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.EIO, DocumentUnreadable),
        (errno.ESTALE, DocumentUnreadable),
        (errno.ENFILE, Overloaded),
        (errno.ENXIO, DocumentNotFound),
    ],
)
def test_a_failing_file_system_is_told_apart_from_a_missing_document(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    (folder / "a.md").write_text("text")
    doors = RootsPolicy([Root("research", folder)])

    def fail(*_args: object, **_kwargs: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(beneath, "open_unlinked", fail)
    monkeypatch.setattr(beneath, "open_walking", fail)
    with pytest.raises(expected):
        doors.open("a.md")


def test_directories_that_cannot_be_opened_are_passed_over(policy: Policy, public_folder: Path) -> None:
    shut = public_folder / "shut"
    shut.mkdir()
    (public_folder / "a.md").write_text("text")
    doors = policy(Root("research", public_folder))
    with as_ordinary_user(public_folder, shut):
        shut.chmod(0o000)
        assert listed(doors) == ["a.md"]
        shut.chmod(0o444)  # names can be read, but nothing behind them
        assert listed(doors) == ["a.md"]
        shut.chmod(0o755)


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.EMFILE, Overloaded), (errno.EIO, RootUnavailable), (errno.EACCES, None)]
)
@pytest.mark.parametrize("what", ["sub", "link.md"])
def test_a_listing_leaves_nothing_out_for_a_passing_reason(
    policy: Policy,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    number: int,
    expected: type[Exception] | None,
) -> None:
    (folder / "sub").mkdir()
    (folder / "a.md").write_text("text")
    (folder / "link.md").symlink_to("a.md")
    doors = policy()
    for name in ("open_unlinked", "open_walking"):
        original = getattr(beneath, name)

        def fail(
            root_fd: int, parts: tuple[bytes, ...], *rest: Any, original: Any = original, **more: Any
        ) -> int:
            if parts and os.fsdecode(parts[-1]) == what:
                raise OSError(number, os.strerror(number))
            return int(original(root_fd, parts, *rest, **more))

        monkeypatch.setattr(beneath, name, fail)
    if (what, number) == ("link.md", errno.EIO):
        expected = None  # one file alone fails
    if expected is None:
        left_out = what == "link.md" and number == errno.EACCES
        assert listed(doors) == (["a.md"] if left_out else ["a.md", "link.md"])
    else:
        with pytest.raises(expected):
            listed(doors)


def test_a_listing_stops_when_it_is_told_to(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    assert list(policy().walk(lambda: True)) == []


def test_paths_too_long_to_open_are_not_listed(policy: Policy, folder: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        for _ in range(25):
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
            Path("a.md").write_text("text")
    finally:
        os.chdir(before)
        os.close(before)
    doors = policy()
    paths = listed(doors)
    assert 15 <= len(paths) <= 20
    assert all(read(doors, path) == b"text" for path in paths)


def test_a_path_of_the_greatest_length_is_listed_and_opened(policy: Policy, folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 200, dir_fd=fd)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    for name in ("b" * 72 + ".md", "b" * 73 + ".md"):
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    (path,) = listed(policy())
    assert len(path) == 4_095
    assert read(policy(), path) == b""


def test_a_page_of_a_folder_looks_only_at_the_files_that_it_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "e").mkdir()
    for name in ("a", "b", "c", "d", "e/p", "e/q"):
        (folder / f"{name}.md").write_text("text")
    looked: list[tuple[bytes, ...]] = []
    status = Listing._identity

    def noted(
        listing: Listing, resolved: ResolvedRoot, root_fd: int, parts: tuple[bytes, ...], *more: Any
    ) -> Any:
        looked.append(parts)
        return status(listing, resolved, root_fd, parts, *more)

    monkeypatch.setattr(Listing, "_identity", noted)
    doors = RootsPolicy([Root("research", folder)])
    assert [info.path for info in doors.documents_after("a.md", 2)] == ["b.md", "c.md"]
    assert looked == [(b"b.md",), (b"c.md",)]
    looked.clear()
    assert [info.path for info in doors.documents_after("c.md", 2)] == ["d.md", "e/p.md"]
    assert looked == [(b"d.md",), (b"e", b"p.md")]


def test_files_of_types_that_are_not_read_are_told(policy: Policy, folder: Path) -> None:
    (folder / "sub.bin").mkdir()
    for name in ("a.md", "b.bin", "sub.bin/c.bin", "hidden.bin/d.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("text")
    (folder / "link.bin").symlink_to("b.bin")
    os.mkfifo(folder / "pipe.bin")
    told: list[str] = []
    with narrowed_scope(Scope(("a.md", "b.bin", "sub.bin", "link.bin", "pipe.bin"))):
        assert [info.path for info in policy().walk(unread=told.append)] == ["a.md"]
    assert sorted(told) == ["b.bin", "sub.bin/c.bin"]


def test_a_path_that_ends_in_a_dot_is_the_directory_before_it(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    root = os.open(tmp_path, beneath.PASSAGE)
    try:
        for parts, directory in (([b"inner", b"."], tmp_path / "inner"), ([b"inner", b".."], tmp_path)):
            fd = beneath.open_walking(root, parts, beneath.DIRECTORY, lambda _parts: True)
            assert os.path.samestat(os.fstat(fd), directory.stat())
            os.close(fd)
    finally:
        os.close(root)


def test_a_document_whose_path_is_none_has_changed(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    doors = policy()
    (info,) = doors.walk()
    odd = replace(info, path=".git/a.md")
    assert doors.changed([odd, info]) == {".git/a.md"}


def test_what_lies_before_a_link_on_a_path_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.md").write_text("text")
    (tmp_path / "l4").symlink_to("inner")
    (tmp_path / "l3").symlink_to("l4" + "/." * 95)
    for name, following in (("l1", "l2"), ("l2", "l3")):
        (tmp_path / name).symlink_to(following + "/." * 2_000)
    root = os.open(tmp_path, beneath.PASSAGE)
    try:
        os.close(beneath.open_walking(root, [b"l1", b"a.md"], beneath.FILE, lambda _parts: True))
        with pytest.raises(OSError, match="symbolic links") as refusal:
            beneath.open_walking(root, [b"l1", b".", b"a.md"], beneath.FILE, lambda _parts: True)
        assert refusal.value.errno == errno.ELOOP
    finally:
        os.close(root)


def test_no_descriptor_is_left_open(policy: Policy, folder: Path) -> None:
    (folder / "a.md").write_text("text")
    (folder / "sub").mkdir()
    (folder / "link.md").symlink_to("sub/../a.md")
    (folder / "out.md").symlink_to("../../out.md")
    os.mkfifo(folder / "fifo.md")
    doors = policy()
    before = open_descriptors()
    for path in ("a.md", "link.md", "out.md", "fifo.md", "sub", "none.md", "sub/none.md"):
        try:
            read(doors, path)
        except DocumentNotFound:
            continue
    assert listed(doors) == ["a.md", "link.md"]
    next(iter(doors.walk()))
    assert open_descriptors() == before


def test_the_portable_way_is_taken_where_the_kernel_has_no_openat2(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.md").write_text("text")

    def refuse(*_args: object) -> int:
        raise PermissionError(errno.EPERM, "not in this container")

    beneath.has_openat2.cache_clear()
    monkeypatch.setattr(beneath, "_openat2", refuse)
    try:
        assert read(RootsPolicy([Root("research", folder)]), "a.md") == b"text"
        beneath.has_openat2.cache_clear()
        monkeypatch.setattr("sys.platform", "darwin")
        assert read(RootsPolicy([Root("research", folder)]), "a.md") == b"text"
    finally:
        beneath.has_openat2.cache_clear()


def test_the_kernel_is_asked_again_when_something_moved_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [errno.EAGAIN, errno.EINTR, 0]

    def syscall(*_args: object) -> int:
        number = answers.pop(0)
        if not number:
            return 7
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(beneath, "_syscall", lambda: syscall)
    assert beneath.open_unlinked(3, [b"a.md"], beneath.FILE) == 7


def test_the_settings_make_the_ceiling(folder: Path) -> None:
    (folder / ".a.md").write_text("text")
    doors = RootsPolicy.from_settings(Settings(roots=(Root("research", folder),), include_hidden=True))
    assert listed(doors) == [".a.md"]


PATHS = (
    "a-b/c.md",
    "a.md",
    "a/b.md",
    "a/b/c.md",
    "a/b!.md",
    "a0.txt",
    "B/x.md",
    "z/ü/1.md",
    "z/ü.md",
    "é.md",
)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for path in PATHS:
        file = tmp_path / "many" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x", encoding="utf-8")
    (tmp_path / "many" / "a" / "photo.png").write_bytes(b"x")
    (tmp_path / "many" / "a" / "link.md").symlink_to("b.md")
    return tmp_path / "many"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_the_documents_after_a_path_are_those_of_the_listing_in_its_order(many: Path, limit: int) -> None:
    policy = RootsPolicy([Root("many", many)])
    whole = listed(policy)
    assert whole == sorted([*PATHS, "a/link.md"])
    for after in ["", *whole, "a", "a/", "a/b", "zz", "\U0010ffff"]:
        expected = [path for path in whole if path > after][:limit]
        assert [info.path for info in policy.documents_after(after, limit)] == expected, after


@pytest.mark.parametrize("prefixes", [("a",), ("a/b", "z/ü"), ("z/ü.md",), ()])
def test_the_documents_after_a_path_are_those_within_the_scope(many: Path, prefixes: tuple[str, ...]) -> None:
    policy = RootsPolicy([Root("many", many)])
    with narrowed_scope(Scope(prefixes)):
        whole = listed(policy)
        for after in ("", "a/b.md", "b"):
            expected = [path for path in whole if path > after]
            assert [info.path for info in policy.documents_after(after, 100)] == expected


def test_a_page_of_a_folder_opens_only_the_directories_that_it_shows(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = RootsPolicy([Root("many", many)])
    opened: list[int] = []
    scandir = os.scandir

    def counting(fd: int) -> Any:
        opened.append(os.fstat(fd).st_ino)
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", counting)
    assert [info.path for info in policy.documents_after("a.md", 2)] == ["a/b!.md", "a/b.md"]
    assert opened == [many.stat().st_ino, (many / "a").stat().st_ino]
    opened.clear()
    (many / "within").mkdir()
    (many / "within" / "a.md").write_text("text")
    with narrowed_scope(Scope(("within",))):
        assert [info.path for info in policy.documents_after("", 9)] == ["within/a.md"]
    assert opened == [many.stat().st_ino, (many / "within").stat().st_ino]


def test_documents_after_a_path_can_be_stopped_and_leave_no_descriptor(many: Path) -> None:
    policy = RootsPolicy([Root("many", many)])
    before = open_descriptors()
    assert policy.documents_after("", 100, lambda: True) == []
    assert len(policy.documents_after("", 5)) == 5
    many.rename(many.with_name("gone"))
    with pytest.raises(RootUnavailable):
        policy.documents_after("", 5)
    assert open_descriptors() == before
