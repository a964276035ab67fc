"""File patterns."""

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research_shared.access.globs import compile_pattern, folder_named_by
from research_shared.errors import InvalidPattern


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*", "a/b/c.md", True),
        ("**", "a/b/c.md", True),
        ("*.pdf", "reports/2024/q3.pdf", True),
        ("*.pdf", "q3.md", False),
        ("reports/*.pdf", "reports/q3.pdf", True),
        ("reports/*.pdf", "reports/2024/q3.pdf", False),
        ("reports/*.pdf", "old/reports/q3.pdf", False),
        ("reports/**/*.pdf", "reports/q3.pdf", True),
        ("reports/**/*.pdf", "reports/2024/11/q3.pdf", True),
        ("reports/**", "reports/2024/q3.pdf", True),
        ("**/q3.pdf", "q3.pdf", True),
        ("**/**/**/q3.pdf", "a/q3.pdf", True),
        ("q?.pdf", "q3.pdf", True),
        ("a?b.md", "a/b.md", False),
        ("a**b.md", "a/x/b.md", True),
        ("[a-c]*.md", "beta.md", True),
        ("[!a-c]*.md", "beta.md", False),
        ("[^a-c]*.md", "zeta.md", True),
        ("x[!a]y.md", "x/y.md", False),
        ("x[+-9]y.md", "x/y.md", False),
        ("x[+-9]y.md", "x5y.md", True),
        ("[]]x.md", "]x.md", True),
        ("[z-a].md", "m.md", False),
        ("[*].md", "*.md", True),
        ("[*].md", "a.md", False),
        ("*.{md,pdf}", "a.pdf", True),
        ("*.{md,pdf}", "a.txt", False),
        ("{a,{b,c}d}.md", "cd.md", True),
        ("{,old/}a.md", "old/a.md", True),
        ("{**/a,b}.md", "x/a.md", True),
        ("{[}],x}.md", "}.md", True),
        ("a,b.md", "a,b.md", True),
        ("{a.md", "{a.md", True),
        ("[a.md", "[a.md", True),
        ("}].md", "}].md", True),
        ("report[1].md", "drafts/report[1].md", True),
        ("drafts/report[1].md", "drafts/report[1].md", True),
        (r"caf\xe9.md", r"caf\xe9.md", True),
        ("Q3.PDF", "q3.pdf", True),
        ("*.PDF", "reports/q3.pdf", True),
        ("*.pdf", "reports/Q3.PDF", True),
        ("[A-C]*.md", "beta.md", True),
        ("[!A-C]*.md", "beta.md", False),
        ("ÉTÉ/*", "été/a.md", True),
        ("caf\u00e9/*", "cafe\u0301/a.md", True),
        ("cafe\u0301.md", "caf\u00e9.md", True),
        ("papers", "papers/a/b.pdf", True),
        ("papers", "old/papers/b.pdf", True),
        ("papers", "papers2/b.pdf", False),
        ("papers", "mypapers/b.pdf", False),
        ("papers/", "papers/a/b.pdf", True),
        ("Papers/", "papers/b.pdf", True),
        ("papers/a", "papers/a/b.pdf", True),
        ("papers/a", "old/papers/a/b.pdf", False),
        ("p*", "papers/b.md", False),
        ("*/a/", "papers/a/b.pdf", True),
        ("/papers/*", "papers/b.pdf", True),
        ("./papers/*", "papers/b.pdf", True),
        (" papers/* ", "papers/b.pdf", True),
        ("research://documents/pa%20pers/*", "pa pers/b.pdf", True),
        ("/", "a/b.md", True),
        ("", "a/b.md", True),
        ("../*", "a.md", False),
        ("/../*", "a.md", False),
        ("/etc/*", "hosts.md", False),
        ("**/..", "a.md", False),
    ],
)
def test_a_pattern_means_what_a_glob_means(pattern: str, path: str, expected: bool) -> None:
    assert compile_pattern(pattern)(path) is expected


@given(
    st.text("ab*?[]!^-.", min_size=1, max_size=12).filter(lambda text: "**" not in text and "^" not in text),
    st.text("ab-.!]", min_size=1, max_size=8),
)
def test_within_one_directory_a_pattern_agrees_with_fnmatch(pattern: str, name: str) -> None:
    assert compile_pattern(pattern)(name) == (fnmatch.fnmatchcase(name, pattern) or name == pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 40 + "b",
        "**/" * 200 + "x",
        "?*" * 500,
        "{a,b}" * 190,
        "{a," * 240 + "}" * 240,
        "[" * 1000,
        "{" * 1000,
        "[!" * 500,
        "*" * 1000,
        "\0",
    ],
)
def test_no_pattern_is_slow(pattern: str) -> None:
    started = time.process_time()
    matches = compile_pattern(pattern)
    for path in ("a" * 4000, "/".join("a" * 2000), "ab" * 2000):
        matches(path)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("pattern", ["x" * 1001, "\ud800", "*" * 1_000_000])
def test_what_cannot_be_a_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("papers", "papers"),
        ("/papers/old/", "papers/old"),
        ("papers/tor.pdf", None),
        ("papers/*", None),
        ("{a,b}", None),
        ("*", None),
    ],
)
def test_a_pattern_without_wildcards_that_can_be_no_document_names_a_folder(
    pattern: str, folder: str | None
) -> None:
    assert folder_named_by(pattern) == folder
