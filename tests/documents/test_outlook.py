"""Messages of Outlook: headers, bodies in each of their forms, and attachments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.formats import DAMAGED, EMPTY, Refused
from research_shared.formats._mail.compressed_rtf import decompressed_rtf
from research_shared.formats.mail import open_outlook
from research_shared.settings import Settings
from support.office_files import COMPOUND_FILE, compound_file, outlook_message
from support.results import answer_of

HEAD = [
    "# subjectmark",
    "From: Ann Sender <ann@mail.example>",
    "Cc: Bob <bob@mail.example>",
    "Date: 2026-03-04 10:00 UTC",
]
ATTACHED = ["[attachment] figures.csv", *(f"A{row}: csvmark | B{row}: 2" for row in range(1, 501))]
INNER = ["[attachment] message", "## innermark", "inner body", "[attachment] film.mp4"]
# The example of [MS-OXRTFCP], 4.1.1
COMPRESSED = bytes.fromhex(
    "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0"
)


def lines_of(data: bytes) -> list[str]:
    (text,) = open_outlook(data, 1, 1).texts
    return str(text).split("\n")


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ({"1000001F": "first\r\n\r\n# second".encode("utf-16-le")}, ["first", r"\# second"]),
        ({"1000001E": "привет".encode("cp1251")}, ["привет"]),
        ({"10130102": b"<p>html " + "привет".encode("cp1251")}, ["html привет"]),
        ({"1013001F": "<p>text".encode("utf-16-le"), "1000001F": "text".encode("utf-16-le")}, ["text"]),
        ({"10130102": '<meta charset="utf-8"><p>ü'.encode()}, ["ü"]),
        ({"10090102": COMPRESSED}, ["hello world"]),
        ({"10090102": b"\0" * 16 + b"x"}, []),
    ],
)
def test_a_body_is_read_in_each_form(body: dict[str, bytes], lines: list[str]) -> None:
    assert lines_of(outlook_message(**body)) == [*HEAD, *lines, *ATTACHED, *INNER]


def test_a_message_says_who_wrote_what_when_and_what_of_it_is_not_read() -> None:
    pages = open_outlook(outlook_message(), 1, 1)
    assert pages.metadata.title == "subjectmark"
    assert (pages.metadata.authors, pages.metadata.date) == (("Ann Sender",), "2026-03-04")
    assert pages.notes == ["the attachment film.mp4 is not read"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"", EMPTY),
        (lambda: COMPOUND_FILE + bytes(100), DAMAGED),
        (lambda: outlook_message()[:2000], DAMAGED),
        (lambda: compound_file({"Workbook": b"x"}), DAMAGED),
        (lambda: compound_file({"__properties_version1.0": b""}), EMPTY),
    ],
)
def test_what_is_no_message_has_a_reason(make: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(Refused) as refusal:
        open_outlook(make(), 1, 1)
    assert refusal.value.reason == reason


def test_a_damaged_body_gives_what_stands_before_the_damage() -> None:
    whole = decompressed_rtf(COMPRESSED, 1000)
    assert whole == b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
    for size in range(len(COMPRESSED)):
        assert whole.startswith(decompressed_rtf(COMPRESSED[:size], 1000))
    assert decompressed_rtf(COMPRESSED, 5) == whole[:5]
    assert decompressed_rtf(b"\0" * 8 + b"MELA" + bytes(4) + b"abc", 9) == b""
    assert decompressed_rtf(b"\0" * 4 + b"\3\0\0\0MELA" + bytes(4) + b"abcd", 9) == b"abc"


async def test_a_message_is_found_and_read(tmp_path: Path) -> None:
    (tmp_path / "offer.msg").write_bytes(outlook_message())
    settings = Settings(roots=(Root("research", tmp_path),), watch=False, extract_workers=1)
    async with Client[Any](build_documents_server(settings)) as client:
        found = answer_of(await client.call_tool("search_documents", {"query": "innermark"}))
        assert [(hit["document"], hit["matched_text"]) for hit in found["matches"]] == [
            ("offer.msg", "## innermark")
        ]
        assert "warnings" not in found
