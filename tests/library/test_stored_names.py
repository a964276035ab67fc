"""A name is no identity: a document has the spelling that its folder stores."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from library.conftest import Policy
from research_shared.access import beneath, changes, opener
from research_shared.access.opener import Opener
from research_shared.access.roots import Root
from research_shared.access.stored_names import is_stored, other_spellings, stored_path, stores
from research_shared.errors import ConfigurationError, DocumentNotFound
from research_shared.faults import Faults


class LenientDirectory:
    """Finds names in any case and Unicode form, and counts how often it is listed."""

    def __init__(self, *names: str) -> None:
        self.names = [name.encode() for name in names]
        self.listings = 0

    def found(self, name: bytes) -> bool:
        def key(raw: bytes) -> str:
            return unicodedata.normalize("NFD", unicodedata.normalize("NFD", raw.decode()).casefold())

        return key(name) in map(key, self.names)

    def stored(self) -> Iterable[bytes]:
        self.listings += 1
        return self.names

    def holds(self, name: str) -> bool:
        return is_stored(name.encode(), found=self.found, stored=self.stored)


@pytest.mark.parametrize(
    ("stored", "other"),
    [
        ("Plan.md", "PLAN.MD"),
        ("inner", "INNER"),
        (unicodedata.normalize("NFD", "Größe.md"), unicodedata.normalize("NFC", "Größe.md")),
        (unicodedata.normalize("NFC", "Größe.md"), unicodedata.normalize("NFD", "Größe.md")),
        ("straße.md", "strasse.md"),
        ("\u212aeep.md", "Keep.md"),
        ("Ω.md", "\u2126.md"),
        ("План.md", "план.md"),
        ("Ж", "ж"),
    ],
)
def test_a_lenient_directory_stores_one_spelling_of_a_name(stored: str, other: str) -> None:
    directory = LenientDirectory(stored, "2024")
    assert directory.found(other.encode())
    assert directory.holds(stored)
    assert not directory.holds(other)
    assert directory.holds("2024")


@pytest.mark.parametrize("composed", [True, False])
def test_a_directory_that_ignores_the_unicode_form_alone_stores_one_spelling(composed: bool) -> None:
    forms = unicodedata.normalize("NFC", "Größe.md"), unicodedata.normalize("NFD", "Größe.md")
    stored, other = forms if composed else forms[::-1]

    def found(name: bytes) -> bool:
        return unicodedata.normalize("NFC", name.decode()) == unicodedata.normalize("NFC", stored)

    assert is_stored(stored.encode(), found=found, stored=lambda: [stored.encode()])
    assert not is_stored(other.encode(), found=found, stored=lambda: [stored.encode()])


@pytest.mark.parametrize("name", ["Plan.md", "Größe.md", "Keep;.md", "報告.md", "caf\udce9.md"])
def test_an_exact_directory_is_not_listed(name: str) -> None:
    raw = name.encode("utf-8", "surrogateescape")
    assert raw not in other_spellings(raw)
    assert is_stored(raw, found=[raw].__contains__, stored=lambda: pytest.fail("listed"))


def test_two_files_that_differ_in_case_are_two_documents(folder: Path, policy: Policy) -> None:
    names = ["Plan.md", "pLAN.MD", "plan.md"]
    for name in names:
        (folder / name).write_text(name)
    documents = policy()
    assert sorted(info.path for info in documents.walk()) == names
    for name in names:
        os.close(documents.open(name).fd)
    assert documents.changed(documents.walk()) == set()


def test_what_windows_may_shorten_is_looked_for_in_the_listing(tmp_path: Path) -> None:
    (tmp_path / "2024" / "1~1").mkdir(parents=True)
    fd = os.open(tmp_path, beneath.PASSAGE)
    try:
        assert stores(fd, b"2024")
        assert stores(fd, b"1~1", (b"2024",))
        assert not stores(fd, b"2~1", (b"2024",))
        assert not stores(fd, b"2024.")
    finally:
        os.close(fd)


def test_a_directory_that_ignores_invisible_characters_stores_one_spelling() -> None:
    stored = "20\u200d24"

    def found(name: bytes) -> bool:
        return name.decode().replace("\u200d", "") == "2024"

    assert is_stored(stored.encode(), found=found, stored=lambda: [stored.encode()])
    assert not is_stored(b"2024", found=found, stored=lambda: [stored.encode()])


def test_a_spelling_that_is_not_stored_is_no_document_directly_and_behind_a_link(
    folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other spelling opens, as on a file system that ignores case, and the listing does not have it."""
    for name in ("reports", "REPORTS"):
        (folder / name).mkdir()
        (folder / name / "q3.md").write_text("alpha")
    (folder / "reports" / "Q3.md").write_text("alpha")
    (folder / "link.md").symlink_to("REPORTS/q3.md")
    documents = policy()
    listed = {info.path: info for info in documents.walk()}
    assert sorted(listed) == ["REPORTS/q3.md", "link.md", "reports/Q3.md", "reports/q3.md"]

    def stored(directory: int, name: bytes, parts: Sequence[bytes] = ()) -> bool:
        return name not in {b"REPORTS", b"Q3.md"} and stores(directory, name, parts)

    for module in (opener, changes):
        monkeypatch.setattr(module, "stores", stored)
    open_before = len(list(Path("/dev/fd").iterdir()))
    os.close(documents.open("reports/q3.md").fd)
    for path in ("REPORTS/q3.md", "link.md", "reports/Q3.md"):
        with pytest.raises(DocumentNotFound):
            documents.open(path)
    assert documents.changed(listed.values()) == {"REPORTS/q3.md", "link.md", "reports/Q3.md"}
    assert len(list(Path("/dev/fd").iterdir())) == open_before


def test_a_directory_that_may_not_be_passed_is_not_there_and_leaves_no_descriptor_open(
    tmp_path: Path,
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "secret.md").write_text("alpha")
    inner = (tmp_path / "inner").stat()
    fd = os.open(tmp_path, beneath.PASSAGE)
    open_before = len(list(Path("/dev/fd").iterdir()))
    try:
        for parts, flags in (((b"inner", b"secret.md"), beneath.FILE), ((b"inner",), beneath.DIRECTORY)):
            with pytest.raises(FileNotFoundError):
                beneath.open_walking(
                    fd,
                    parts,
                    flags,
                    lambda _parts: True,
                    passes=lambda directory: not os.path.samestat(os.fstat(directory), inner),
                )
        with pytest.raises(FileNotFoundError):
            beneath.open_walking(
                fd,
                (b"inner",),
                beneath.DIRECTORY,
                lambda _parts: True,
                stores=lambda _directory, _name: False,
            )
        assert len(list(Path("/dev/fd").iterdir())) == open_before
    finally:
        os.close(fd)


def test_a_nested_root_is_no_part_of_the_outer_one_behind_a_link(folder: Path, policy: Policy) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "secret.md").write_text("alpha")
    (folder / "a.md").write_text("alpha")
    (folder / "moved").symlink_to("inner")
    (folder / "link.md").symlink_to("moved/secret.md")
    documents = policy(Root("outer", folder), Root("inner", folder / "inner"))
    assert sorted(info.path for info in documents.walk()) == ["inner/secret.md", "outer/a.md"]
    for path in ("outer/moved/secret.md", "outer/link.md", "outer/inner/secret.md"):
        with pytest.raises(DocumentNotFound):
            documents.open(path)


def test_a_folder_cannot_be_two_roots(folder: Path, policy: Policy) -> None:
    (folder.parent / "link").symlink_to(folder)
    with pytest.raises(ConfigurationError):
        policy(Root("a", folder), Root("b", folder.parent / "link"))


def test_an_absolute_path_is_spelled_as_its_directories_store_it(tmp_path: Path) -> None:
    (tmp_path / "Plan").mkdir()
    plan = os.fsencode(tmp_path / "Plan")
    assert stored_path(plan) == plan
    assert stored_path(plan + b"/none/") == plan + b"/none"
    assert stored_path(b"/") == b"/"


def test_a_nested_root_is_told_by_its_name_while_its_directory_cannot_be_looked_at(
    folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "secret.md").write_text("alpha")
    documents = policy(Root("outer", folder), Root("inner", folder / "inner"))
    monkeypatch.setattr(opener, "_status_of", lambda _directory: None)
    assert [info.path for info in documents.walk()] == ["inner/secret.md"]
    with pytest.raises(DocumentNotFound):
        documents.open("outer/inner/secret.md")


def test_a_nested_root_is_told_by_its_directory_at_another_name_too(
    folder: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the same directory is mounted at two places."""
    for name in ("inner", "alias"):
        (folder / name).mkdir()
        (folder / name / "secret.md").write_text("alpha")
    documents = policy(Root("outer", folder), Root("inner", folder / "inner"))
    monkeypatch.setattr(opener, "_status_of", lambda _directory: (folder / "alias").stat())
    assert [info.path for info in documents.walk()] == ["inner/secret.md"]
    with pytest.raises(DocumentNotFound):
        documents.open("outer/alias/secret.md")


@pytest.mark.parametrize("openat2", [True, False])
def test_a_nested_root_is_told_by_its_directory_where_its_name_is_another(
    folder: Path, openat2: bool
) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "secret.md").write_text("alpha")
    roots = Root("outer", folder), Root("inner", folder / "inner")
    documents = Opener(roots, include_hidden=False, openat2=openat2, faults=Faults())
    documents.resolved = tuple(replace(each, nested=()) for each in documents.resolved)
    os.close(documents.open("inner/secret.md").fd)
    with pytest.raises(DocumentNotFound):
        documents.open("outer/inner/secret.md")
