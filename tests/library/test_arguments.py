"""Arguments as language models send them."""

import json
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from research_shared.access.roots import Root, RootsPolicy, Scope, narrowed_scope
from research_shared.errors import DocumentNotFound
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.tools.arguments import (
    READ_LIST,
    READ_TEXT,
    clamped,
    nearest_paths,
    nothing_matches,
    or_default,
    plain_path,
    resolve_path,
)

Number = Annotated[int, Field(description="a number"), or_default(10)]
Text = Annotated[str, Field(description="a text"), or_default("*")]
Choice = Annotated[Literal["keyword", "regex"], or_default("keyword", choice=True)]
Paths = Annotated[list[str], Field(min_length=1), READ_LIST]


def read(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "sent", "meant"),
    [
        (Number, None, 10),
        (Number, "", 10),
        (Number, " ", 10),
        (Number, "7", 7),
        (Number, " -6 ", -6),
        (Number, "7.0", 7),
        (Number, 7.0, 7),
        (Number, 5_000, 5_000),
        (Text, None, "*"),
        (Text, "", "*"),
        (Text, "*.pdf", "*.pdf"),
        (Text, ["*.pdf"], "*.pdf"),
        (Choice, None, "keyword"),
        (Choice, "", "keyword"),
        (Choice, "Regex ", "regex"),
        (Annotated[str, READ_TEXT], 404, "404"),
        (Annotated[str, READ_TEXT], "onion", "onion"),
        (Paths, ["a.md"], ["a.md"]),
        (Paths, '["a.md", "b.md"]', ["a.md", "b.md"]),
        (Paths, "a.md", ["a.md"]),
        (Paths, "[draft].md", ["[draft].md"]),
    ],
)
def test_an_argument_is_read_as_it_is_meant(kind: Any, sent: Any, meant: Any) -> None:
    assert read(kind, sent) == meant


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (Number, "many"),
        (Number, 1.5),
        (Number, float("inf")),
        (Number, "9" * 10_000),
        (Number, {"a": 1}),
        (Text, {"a": 1}),
        (Text, ["a", "b"]),
        (Choice, "fuzzy"),
        (Paths, ""),
        (Paths, None),
        (Paths, '["a.md", 1]'),
        (Paths, "[" * 100_000),
    ],
)
def test_what_can_mean_nothing_is_still_refused(kind: Any, sent: Any) -> None:
    if isinstance(sent, str) and sent.startswith("[["):
        assert read(kind, sent) == [sent]  # no list, so a name; it will not be found
        return
    with pytest.raises(ValidationError):
        read(kind, sent)


def test_the_schema_keeps_the_plain_type() -> None:
    assert TypeAdapter(Number).json_schema() == {"type": "integer", "description": "a number"}
    assert TypeAdapter(Text).json_schema() == {"type": "string", "description": "a text"}
    assert TypeAdapter(Choice).json_schema() == {"type": "string", "enum": ["keyword", "regex"]}
    assert TypeAdapter(Paths).json_schema() == {"type": "array", "items": {"type": "string"}, "minItems": 1}


def test_a_number_beyond_its_bounds_is_brought_within_them_and_said() -> None:
    notes: list[str] = []
    assert clamped(50, "limit", least=1, most=1_000, notes=notes) == 50
    assert notes == []
    assert clamped(5_000, "limit", least=1, most=1_000, notes=notes) == 1_000
    assert clamped(-(10**50), "start_line", least=1, most=9, notes=notes) == 1
    assert notes[0] == "limit is from 1 to 1000: 1000 is used instead of 5000"
    assert len(notes[1]) < 100


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("papers/tor.pdf", "papers/tor.pdf"),
        ("./papers/tor.pdf", "papers/tor.pdf"),
        ("/papers//./tor.pdf/", "papers/tor.pdf"),
        ("`papers/tor.pdf`", "papers/tor.pdf"),
        ('"papers/tor.pdf" ', "papers/tor.pdf"),
        ("research://documents/papers/the%20tor%C3%A9.pdf", "papers/the toré.pdf"),
        ("RESEARCH://documents/a.md", "a.md"),
        ("research://documents/a%ff.md", "a%ff.md"),
        ("papers/100%25.pdf", "papers/100%25.pdf"),
        ("../papers/tor.pdf", "../papers/tor.pdf"),
        ("", ""),
    ],
)
def test_a_path_is_freed_of_what_is_written_around_it(given: str, plain: str) -> None:
    assert plain_path(given) == plain


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    root = tmp_path / "research"
    for name in (
        "papers/tor-the-second-generation-onion-router.pdf",
        "papers/b-trees.pdf",
        "notes/ch01.md",
        "notes/caf\u00e9 menu.md",
        "notes/old/summary.md",
        "drafts/summary.md",
        "drafts/100%.md",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text\n", encoding="utf-8")
    async with Library(RootsPolicy((Root("research", root),)), Limits()) as opened:
        yield opened


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("notes/ch01.md", "notes/ch01.md"),
        ("./notes/ch01.md", "notes/ch01.md"),
        ("/notes/ch01.md", "notes/ch01.md"),
        ("ch01.md", "notes/ch01.md"),
        ("CH01.MD", "notes/ch01.md"),
        ("Notes/Ch01.md", "notes/ch01.md"),
        ("notes\\ch01.md", "notes/ch01.md"),
        ("old/summary.md", "notes/old/summary.md"),
        ("research://documents/notes/ch01.md", "notes/ch01.md"),
        ("research://documents/notes/caf%C3%A9%20menu.md", "notes/caf\u00e9 menu.md"),
        (unicodedata.normalize("NFD", "notes/caf\u00e9 menu.md"), "notes/caf\u00e9 menu.md"),
        ("CAFE\u0301 MENU.md", "notes/caf\u00e9 menu.md"),
        ("drafts/100%.md", "drafts/100%.md"),
        ("tor-the-second-generation-onion-router.pdf", "papers/tor-the-second-generation-onion-router.pdf"),
    ],
)
async def test_a_path_that_means_one_document_is_that_document(
    library: Library, given: str, path: str
) -> None:
    assert await resolve_path(library, given) == path


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("summary.md", ["drafts/summary.md", "notes/old/summary.md"]),
        ("papers/btrees.pdf", ["papers/b-trees.pdf"]),
        ("tor.pdf", ["papers/tor-the-second-generation-onion-router.pdf"]),
        ("ch1.md", ["notes/ch01.md"]),
        ("papers/*.pdf", ["file_pattern"]),
        ("zzz", []),
        ("", []),
        ("../ch01.md", ["notes/ch01.md"]),
        ("/etc/passwd", []),
        ("x" * 100_000, []),
        ("\0", []),
    ],
)
async def test_a_path_that_means_none_or_several_is_not_found_and_the_nearest_are_named(
    library: Library, given: str, named: list[str]
) -> None:
    with pytest.raises(DocumentNotFound) as failure:
        await resolve_path(library, given)
    for path in named:
        assert path in failure.value.hint
    if not named:
        assert "nearest" not in failure.value.hint


async def test_nothing_outside_the_scope_is_meant_or_named(library: Library) -> None:
    with narrowed_scope(Scope(("papers",))):
        for given in ("notes/ch01.md", "ch01.md", "CH01.md", "research://documents/notes/ch01.md"):
            with pytest.raises(DocumentNotFound) as hidden:
                await resolve_path(library, given)
            assert "notes" not in hidden.value.hint
        # What exists beyond the scope is answered like what does not exist.
        with pytest.raises(DocumentNotFound) as absent:
            await resolve_path(library, "ch99.md")
        assert json.dumps(hidden.value.payload()) == json.dumps(absent.value.payload())
    with narrowed_scope(Scope(("notes/old",))):
        assert await resolve_path(library, "summary.md") == "notes/old/summary.md"


def test_among_very_many_paths_the_nearest_are_found_too() -> None:
    paths = [f"area{n % 40}/report-{n:05}.md" for n in range(20_000)]
    paths.append("area7/onion-routing.md")
    assert nearest_paths("onion-ruting.md", paths)[0] == "area7/onion-routing.md"


def test_a_pattern_that_matches_nothing_is_answered_with_what_there_is() -> None:
    paths = ["papers/a.pdf", "papers/b.pdf", "notes/c.md", "d.md"]
    assert nothing_matches("*.docx", paths) == (
        "no document matches '*.docx'; 4 documents are there, in papers/ (2), notes/ (1), and 1 in no folder"
    )
    assert nothing_matches("paper", ["papers/a.pdf"]).startswith(
        "no document matches 'paper'; 1 document is there"
    )
    assert nothing_matches("x", []) == "no document matches 'x'; there are no documents at all"
    many = [f"f{n}/a.md" for n in range(9)]
    assert nothing_matches("*.x", many).endswith("f4/ (1) and 4 more folders")
    assert "nearest: papers/tor.pdf" in nothing_matches("papers/torr.pdf", ["papers/tor.pdf"])
