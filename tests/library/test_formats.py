"""A new document format is one new file in `research_shared/formats/`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import research_shared
from research_shared.formats import DAMAGED, Format, Reader, format_of, formats
from research_shared.reading.extraction import engines, explanation
from research_shared.reading.extraction.result import NOT_INSTALLED

pytestmark = pytest.mark.usefixtures("own_workers")

TOY_FORMAT = '''
"""Decks of slides: `DECK`, then one slide after the other, parted by a zero byte."""

from research_shared.formats import DAMAGED, Format, Pages, Reader, Refused


def open_deck(data, first, last):
    import colorsys  # a worker has the standard library, and the packages that a reader names

    if not data.startswith(b"DECK"):
        raise Refused(DAMAGED)
    slides = data[4:].split(b"\\0")
    notes = []

    def texts():
        for slide in slides[first - 1 : last]:
            if slide.startswith(b"BAD"):
                yield None
                continue
            yield slide.decode()
        notes.append("1 video is not read")

    return Pages(total=len(slides), texts=texts(), notes=notes)


FORMATS = (
    Format(
        title="a deck",
        media_types={".deck": "application/x-deck"},
        readers=(Reader(name="deck", open=open_deck, revision=3),),
        part="slide",
        recognises=lambda data: data.startswith(b"DEC"),
        notes=("speaker notes are never read",),
    ),
    Format(
        title="a locked deck",
        media_types={".lock": "application/x-locked-deck"},
        readers=(Reader(name="lock", open=open_deck, packages=("no_such_package",), install="pip install decks"),),
    ),
)
'''
TEXT_FORMAT = """
from research_shared.formats import Format

FORMATS = (Format(title="a reStructuredText file", media_types={".rst": "text/x-rst"}),)
"""
SCRIPT = """
import json, sys
import anyio
from fastmcp import Client
from pathlib import Path
from research_documents import build_documents_server
from research_shared import Root, Settings

async def main():
    settings = Settings(roots=(Root("research", Path(sys.argv[1])),), watch=False)
    async with Client(build_documents_server(settings)) as client:
        async def call(tool, **arguments):
            result = await client.call_tool(tool, arguments, raise_on_error=False)
            return [result.content[0].text, result.structured_content]
        print(json.dumps({
            "listed": await call("list_research_documents"),
            "found": await call("search_documents", query="chartreuse"),
            "slide": await call("read_document", document_path="plan.deck", page=3),
            "whole": await call("read_document", document_path="plan.deck"),
            "text": await call("read_document", document_path="guide.rst"),
            "damaged": await call("read_document", document_path="short.deck"),
            "other": await call("read_document", document_path="other.deck"),
            "locked": await call("read_document", document_path="plan.lock"),
        }))

anyio.run(main)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the tools answer when two files were added to a copy of the shared package, and nothing was changed."""
    packages, folder = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("research")
    source = Path(research_shared.__file__).parent
    shutil.copytree(source, packages / "research_shared")
    (packages / "research_shared" / "formats" / "deck.py").write_text(TOY_FORMAT, encoding="utf-8")
    (packages / "research_shared" / "formats" / "rst.py").write_text(TEXT_FORMAT, encoding="utf-8")
    (folder / "plan.deck").write_bytes(b"DECKWhy we are here\0BAD\0Paint it chartreuse\nor teal")
    (folder / "short.deck").write_bytes(b"DEC")
    (folder / "other.deck").write_bytes(b"PK\x03\x04")
    (folder / "plan.lock").write_bytes(b"DECK")
    (folder / "guide.rst").write_text("Guide\n=====\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        env=environment | {"PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_files_of_a_new_format_are_listed(answers: dict[str, Any]) -> None:
    _, listing = answers["listed"]
    assert {entry["path"]: entry["media_type"] for entry in listing["documents"]} == {
        "guide.rst": "text/x-rst",
        "other.deck": "application/x-deck",
        "plan.deck": "application/x-deck",
        "plan.lock": "application/x-locked-deck",
        "short.deck": "application/x-deck",
    }


def test_a_hit_says_on_which_slide_it_is(answers: dict[str, Any]) -> None:
    text, result = answers["found"]
    (match,) = result["matches"]
    assert (match["document"], match["line_number"], match["page"]) == ("plan.deck", 2, 3)
    assert "2 slide 3: Paint it chartreuse" in text
    assert {entry["path"]: entry["reason"] for entry in result["unreadable"]} == {
        "other.deck": "not a deck",
        "plan.deck": "in part: slide 2 could not be read and is missing",
        "plan.lock": "not installed",
        "short.deck": "damaged",
    }


def test_a_slide_is_read_by_its_number(answers: dict[str, Any]) -> None:
    text, result = answers["slide"]
    assert [line["text"] for line in result["lines"]] == ["Paint it chartreuse", "or teal"]
    assert "slide 3 of 3" in text
    whole, result = answers["whole"]
    assert "[slide 3]" in whole
    assert result["notes"] == [
        "slide 2 could not be read and is missing",
        "1 video is not read",
        "speaker notes are never read",
    ]


def test_a_new_kind_of_text_is_read_line_by_line(answers: dict[str, Any]) -> None:
    _, result = answers["text"]
    assert [line["text"] for line in result["lines"]] == ["Guide", "====="]
    assert result["pages"] is None


def test_why_a_file_of_a_new_format_gives_no_text(answers: dict[str, Any]) -> None:
    assert answers["damaged"][0].startswith(
        "document_unreadable: short.deck gives no text: the file is damaged"
    )
    assert answers["other"][0].startswith("document_unreadable: other.deck gives no text: it is not a deck")
    assert "the package that reads it is not installed: pip install decks" in answers["locked"][0]


def reader(**fields: Any) -> Reader:
    def never(_data: bytes, _first: int, _last: int) -> Any:
        raise AssertionError

    return Reader(name="toy", open=never, **fields)


def test_stored_texts_are_kept_under_what_read_them() -> None:
    assert reader(revision=2).identity == "toy 2"
    assert reader(distribution="pypdf").identity.startswith("toy ")
    assert reader(distribution="pypdf").identity != reader(distribution="pypdf", revision=2).identity
    assert reader(distribution="no-such-distribution").identity == "toy none 1"
    assert {each.partition(" ")[0] for each in engines()} >= {"text", "pypdfium2", "pypdf"}


def test_each_format_can_be_found_and_explained() -> None:
    for each in formats():
        for media_type in each.media_types.values():
            assert format_of(media_type) is each
        assert explanation(each.mismatch, each) == f"it is {each.mismatch}"
        assert explanation(DAMAGED, each)
    assert explanation(NOT_INSTALLED, Format(title="a toy", media_types={}, readers=(reader(),))) == (
        "the package that reads it is not installed"
    )


def test_two_formats_cannot_claim_the_same_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    from research_shared.formats import text

    again = Format(title="another", media_types={".txt": "text/other"})
    monkeypatch.setattr(text, "FORMATS", (*text.FORMATS, again))
    with pytest.raises(ValueError, match=r"two formats claim \.txt"):
        formats.__wrapped__()
