"""Scanned pages: named where they are not read, and read by OCR where the operator has it."""

import logging
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_documents.server import build_documents_server
from research_reasoning.server import build_reasoning_server
from research_shared.access.roots import Root, RootsPolicy
from research_shared.errors import DocumentUnreadable
from research_shared.reading.extraction.worker import Worker
from research_shared.reading.library import Library
from research_shared.reading.limits import Limits
from research_shared.reading.ocr import Ocr, tesseract
from research_shared.settings import Settings
from support.results import answer_of, error_of
from support.scans import pretended_tesseract, scanned_pdf

HARBOUR = "The dredging contract ended in March"
TWICE = "cat >/dev/null; echo; echo 'The dredging contract ended'; echo in March"
ENDLESS = "exec sleep 60"
REMEDY = "with RESEARCH_OCR=tesseract the server reads such pages"
Connect = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "mixed.pdf").write_bytes(scanned_pdf("*Printed text", HARBOUR, ""))
    (folder / "scan.pdf").write_bytes(scanned_pdf(HARBOUR))
    return folder


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program on the PATH that reads pictures so."""

    def put(reading: str) -> None:
        pretended_tesseract(tmp_path, reading)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return put


@pytest.fixture
def connect(folder: Path) -> Connect:
    @asynccontextmanager
    async def connected(**settings: Any) -> AsyncIterator[Client[Any]]:
        chosen = Settings(roots=(Root("research", folder),), watch=False, extract_workers=1, **settings)
        async with Client(build_documents_server(chosen)) as client:
            yield client

    return connected


async def ask(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    return answer_of(await client.call_tool(tool, arguments))


async def test_a_scanned_page_is_named_with_the_remedy(connect: Connect) -> None:
    async with connect() as client:
        mixed = await ask(client, "read_document", document_path="mixed.pdf")
        assert mixed["notes"] == [f"page 2 has no text (scanned?); {REMEDY}", "page 3 has no text (blank)"]
        searched = await ask(client, "search_documents", query="printed")
        assert searched["unreadable"] == [
            {"path": "mixed.pdf", "reason": f"in part: page 2 has no text (scanned?); {REMEDY}"},
            {"path": "scan.pdf", "reason": "no text (scanned?)"},
        ]
        refused = await client.call_tool("read_document", {"document_path": "scan.pdf"}, raise_on_error=False)
        assert error_of(refused)["message"] == (
            f"scan.pdf gives no text: no text was found on its pages, which may be scanned images; {REMEDY}"
        )


async def test_a_scanned_page_is_read_and_marked_wherever_it_is_shown(
    connect: Connect, found: Callable[[str], None]
) -> None:
    found(TWICE)
    async with connect(ocr="tesseract") as client:
        result = await client.call_tool("search_documents", {"query": "dredging"})
        hits = answer_of(result)["matches"]
        assert [(hit["document"], hit["page"], hit["line_number"], hit["ocr"]) for hit in hits] == [
            ("mixed.pdf", 2, 2, True),
            ("scan.pdf", 1, 1, True),
        ]
        assert "2 p2 OCR: The dredging contract ended" in result.content[0].text
        plain = await ask(client, "search_documents", query="printed")
        assert "ocr" not in plain["matches"][0]
        assert plain["unreadable"] == []
        result = await client.call_tool("read_document", {"document_path": "mixed.pdf"})
        assert answer_of(result)["lines"] == [
            {"number": 1, "text": "Printed text", "page": 1},
            {"number": 2, "text": "The dredging contract ended", "page": 2, "ocr": True},
            {"number": 3, "text": "in March", "page": 2, "ocr": True},
        ]
        assert answer_of(result)["notes"] == [
            "page 2 was read by OCR: letters and digits may be wrong",
            "page 3 has no text (blank)",
        ]
        assert "[page 2, read by OCR]" in result.content[0].text


async def test_evidence_says_that_it_was_read_by_ocr(folder: Path, found: Callable[[str], None]) -> None:
    found("cat >/dev/null; echo 'The dredging contract of the outer harbour ended in March 2026.'")
    settings = Settings(roots=(Root("research", folder),), ocr="tesseract", model_route="extractive")
    async with Client(build_reasoning_server(settings)) as client:
        result = await client.call_tool(
            "synthesize_research",
            {"document_paths": ["scan.pdf"], "research_question": "When has the dredging contract ended?"},
        )
    evidence = [each for insight in answer_of(result)["key_insights"] for each in insight["evidence"]]
    assert [(each["page"], each["ocr"], each["verified"]) for each in evidence] == [(1, True, True)]
    assert "(read by OCR)" in result.content[0].text


async def test_a_missing_tesseract_is_said_at_the_start_and_where_a_page_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    caplog.set_level(logging.WARNING)
    problem = "tesseract is not installed on the server's machine"
    async with Library.from_settings(
        Settings(roots=(Root("research", folder),), ocr="tesseract", extract_workers=1)
    ) as library:
        assert library.limits.ocr is not None
        assert library.limits.ocr.problem == problem
        with pytest.raises(DocumentUnreadable, match=f"RESEARCH_OCR is on, but {problem}"):
            await library.read("scan.pdf")
        mixed = await library.read("mixed.pdf")
        assert mixed.gap == f"page 2 has no text (scanned?); RESEARCH_OCR is on, but {problem}"


def test_a_language_without_data_is_a_problem_too(tmp_path: Path) -> None:
    program = pretended_tesseract(tmp_path, TWICE)
    asked = {"page_timeout_s": 1.0, "document_timeout_s": 1.0}
    german = tesseract("eng+deu", **asked, find=lambda _: program)
    assert german.problem == "tesseract has no data for deu (RESEARCH_OCR_LANGUAGES=eng+deu)"
    english = tesseract("eng", **asked, find=lambda _: program)
    assert (english.problem, english.identity) == ("", "tesseract 9.9.9 eng 1")
    assert english.command[1:] == ("stdin", "stdout", "-l", "eng", "--psm", "1", "--dpi", "300")
    (tmp_path / "tesseract").write_text("#!/bin/sh\nexit 1\n")
    assert tesseract("eng", **asked, find=lambda _: program).problem == "tesseract does not start"


def test_the_program_and_its_languages_decide_where_texts_are_stored() -> None:
    usual, ocr = Limits(), Ocr(version="5.3.0", languages="eng")
    kinds = [
        usual,
        *(replace(usual, ocr=each) for each in (ocr, replace(ocr, languages="deu"), Ocr(problem="x"))),
    ]
    assert len({limits.of_text for limits in kinds}) == len(kinds)


@pytest.fixture
def library(folder: Path, tmp_path: Path) -> Callable[[str], Library]:
    def reading(how: str) -> Library:
        limit_s = 0.3 if how == ENDLESS else 60.0
        ocr = Ocr(command=(pretended_tesseract(tmp_path, how), "stdin"), page_timeout_s=limit_s)
        return Library(RootsPolicy([Root("research", folder)]), Limits(workers=1, ocr=ocr))

    return reading


async def test_a_copy_of_a_scanned_document_is_not_recognised_again(
    library: Callable[[str], Library], folder: Path
) -> None:
    async with library("cat >/dev/null; echo process $$") as reading:
        first = await reading.read("scan.pdf")
        shutil.copy(folder / "scan.pdf", folder / "copy.pdf")
        assert (await reading.read("copy.pdf")).text == first.text
        assert first.text.startswith("process ")
        assert first.engine.endswith(", tesseract  eng 1")


@pytest.mark.parametrize("how", [ENDLESS, "cat >/dev/null; exit 1", "kill -9 $PPID"])
async def test_a_page_that_cannot_be_recognised_leaves_the_others(
    library: Callable[[str], Library], how: str
) -> None:
    async with library(how) as reading:
        mixed = await reading.read("mixed.pdf")
        assert mixed.text == "Printed text"
        assert (mixed.missing_pages, mixed.ocr_pages) == ((2,), ())
        assert mixed.gap == "page 2 has no text (scanned?)"


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="needs tesseract-ocr")
async def test_tesseract_reads_a_scanned_page(connect: Connect) -> None:
    async with connect(ocr="tesseract", index_wait_s=120) as client:
        hits = (await ask(client, "search_documents", query='"contract ended in March"'))["matches"]
        assert {(hit["document"], hit["page"], hit["matched_text"]) for hit in hits} == {
            ("scan.pdf", 1, HARBOUR),
            ("mixed.pdf", 2, HARBOUR),
        }


async def test_a_picture_that_no_process_could_look_at_is_looked_at_later(
    library: Callable[[str], Library], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, started = Worker.start, 0

    async def start_again(*args: Any) -> Worker:
        nonlocal started
        started += 1
        if started == 2:  # the first process has read the text, the second one is for the pictures
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return await start(*args)

    monkeypatch.setattr(Worker, "start", start_again)
    async with library(TWICE) as reading:
        with pytest.raises(DocumentUnreadable) as refused:
            await reading.read("mixed.pdf")
        assert (refused.value.reason, refused.value.retryable) == ("no process", True)
        assert (await reading.read("mixed.pdf")).ocr_pages == (2,)
