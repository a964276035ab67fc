"""Copies and versions of documents are recognised by content and by name."""

import itertools
import time
import tracemalloc
from dataclasses import replace

import pytest

from research_shared.reading.versions import VersionedDocument, version_notes


def notes(*paths: str, **digests: str) -> dict[str, str]:
    """Notes on documents that were changed one after the other."""
    documents = [
        VersionedDocument(path=path, modified_ns=at, digest=digests.get(path[0], ""))
        for at, path in enumerate(paths)
    ]
    return {path: str(note) for path, note in version_notes(documents).items()}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (("a v1.md", "a v2.md"), {"a v1.md": "older version of a v2.md"}),
        (("a-v10.md", "a-v9.md"), {"a-v9.md": "older version of a-v10.md"}),
        (("a_v2.docx", "a.docx"), {"a.docx": "older version of a_v2.docx"}),
        (("a v1.2.md", "a v1.10.md"), {"a v1.2.md": "older version of a v1.10.md"}),
        (("a-final.md", "a-v3.md"), {"a-v3.md": "older version of a-final.md"}),
        (("a FINAL final.md", "a final.md"), {"a final.md": "older version of a FINAL final.md"}),
        (("a final v2.md", "a final.md"), {"a final.md": "older version of a final v2.md"}),
        (("a.md", "a draft.md", "a (old).md"), {"a draft.md": "older version of a.md", "a (old).md": "older version of a.md"}),
        (("a.md", "a (1).md"), {"a (1).md": "copy of a.md"}),
        (("a.md", "a(2).md"), {"a(2).md": "copy of a.md"}),
        (("a.md", "Copy of a.md"), {"Copy of a.md": "copy of a.md"}),
        (("a.md", "a - Copy.md", "a - Copy (2).md"), {"a - Copy.md": "copy of a.md", "a - Copy (2).md": "copy of a.md"}),
        (("a.md", "a - Kopie.md"), {"a - Kopie.md": "copy of a.md"}),
        (("a.md", "a (Ann's conflicted copy 2024-05-01).md"), {"a (Ann's conflicted copy 2024-05-01).md": "conflicted copy of a.md"}),
        (("a.md", "a (conflicted copy 2024-05-01 101112).md"), {"a (conflicted copy 2024-05-01 101112).md": "conflicted copy of a.md"}),
        (("a.md", "a.sync-conflict-20240501-101112-ABCDEF7.md"), {"a.sync-conflict-20240501-101112-ABCDEF7.md": "conflicted copy of a.md"}),
        (("a.md", "a-DESKTOP-4F2K9QX.md"), {"a-DESKTOP-4F2K9QX.md": "conflicted copy of a.md"}),
        (("a v2.md", "a v1.md", "a v2 (1).md"), {"a v1.md": "older version of a v2.md", "a v2 (1).md": "copy of a v2.md"}),
    ],
)  # fmt: skip
def test_names_that_differ_in_marks_are_versions(paths: tuple[str, ...], expected: dict[str, str]) -> None:
    assert notes(*paths) == dict(sorted(expected.items()))


@pytest.mark.parametrize(
    "paths",
    [
        ("minutes 2024-05-01.md", "minutes 2024-05-02.md"),
        ("chapter (1).md", "chapter (2).md"),
        ("chapter 1.md", "chapter 2.md"),
        ("x/a v1.md", "y/a v2.md"),
        ("a v1.md", "a v2.pdf"),
        ("ipv4.md", "ipv6.md"),
        ("final.md", "draft.md"),
        ("v1.md", "v2.md"),
        ("copy.md", "copies.md"),
        ("a conflict of interest.md", "a.md"),
        ("a_v1.md", "A v1.md"),
    ],
)
def test_names_that_tell_documents_apart_are_no_versions(paths: tuple[str, ...]) -> None:
    assert notes(*paths) == {}


def test_the_same_content_counts_for_the_document_with_the_plainest_name() -> None:
    paths = ("x/y/a.md", "b - Copy.md", "c.md", "d.md")
    assert notes(*paths, x="1", b="1", c="1", d="2") == {
        "b - Copy.md": "same content as c.md",
        "x/y/a.md": "same content as c.md",
    }


def test_documents_whose_content_is_unknown_are_not_the_same() -> None:
    assert notes("a.md", "b.md") == {}


def test_notes_do_not_depend_on_the_order_of_the_documents() -> None:
    documents = [
        VersionedDocument(path=path, modified_ns=1, digest=digest)
        for path, digest in (("a.md", "1"), ("a v2.md", "2"), ("a (1).md", "1"), ("b/a.md", "2"))
    ]
    found = [version_notes(order) for order in itertools.permutations(documents)]
    assert all(each == found[0] and list(each) == list(found[0]) for each in found)


def test_nothing_is_kept_of_names_without_marks() -> None:
    documents = [
        VersionedDocument(path=f"folder/minutes {n}.md", modified_ns=n, digest=str(n)) for n in range(2_000)
    ]
    version_notes(documents)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        version_notes(replace(each, path=f"other {each.path}") for each in documents)
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 10 * len(documents)


def test_a_name_without_marks_is_the_newest_beside_one_that_is_older() -> None:
    assert notes("x/b.md", "x/a old.md", "x/a .md", "y/a.md") == {"x/a old.md": "older version of x/a .md"}


def test_thousands_of_names_take_a_moment() -> None:
    documents = [
        VersionedDocument(
            path=f"folder {n % 7}/{'(' * 100}report {n} v{n % 5} - Copy (2).docx", modified_ns=n
        )
        for n in range(1_000)
    ]
    documents += [
        VersionedDocument(path=f"folder/report {n} of the year.docx", modified_ns=n) for n in range(5_000)
    ]
    started = time.process_time()
    version_notes(documents)
    assert time.process_time() - started < 2
