"""`ask --html`: one page that shows an answer with its quotes, and asks nobody for anything."""

import re
import shutil
import socket
import subprocess
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from research_gateway.cli.page import page, wanted_lines

COVERAGE = {
    "lines_shown": 20,
    "lines_total": 40,
    "pages_shown": 2,
    "pages_total": 3,
    "ranges": [[1, 20]],
    "complete": False,
    "clipped_lines": 0,
}


def claim(text: str, quote: str, **changes: Any) -> dict[str, Any]:
    evidence = {"document": "a.pdf", "page": 2, "lines": [7, 8], "quote": quote, "verified": True} | changes
    return {"claim": text, "evidence": [evidence], "verified": evidence["verified"], "flags": []}


def synthesis(**changes: Any) -> dict[str, Any]:
    usual = {
        "research_question": "What <b>changed</b>?",
        "synthesis": "Output **rose** [1], costs fell [1, 2].\n\n- one\n- two [9]",
        "key_insights": [claim("Output rose.", "output rose by 5 percent")],
        "contradictions": [],
        "answered": True,
        "sources_used": 1,
        "sources_skipped": 1,
        "sources": [
            {"path": "a.pdf", "status": "used", "reason": None, "coverage": COVERAGE},
            {"path": "b.md", "status": "skipped", "reason": "it is damaged", "coverage": None},
        ],
        "partial": False,
        "unverified_quotes": 0,
        "depth": "overview",
        "model": "m",
        "route": "provider",
        "warnings": [],
    }
    return usual | changes


def shown(result: dict[str, Any], context: dict[tuple[str, int], str] | None = None) -> str:
    return page(result, link=lambda path, number: f"file:///r/{path}#page={number}", context=context or {})


class Elements(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.anchors: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), f"{name} is a script"
            if name in {"href", "src"}:
                self.addresses.append(value or "")
            if name == "id":
                self.anchors.add(value or "")


def test_the_answer_its_quotes_and_its_sources_are_there() -> None:
    html = shown(
        synthesis(), {("a.pdf", 6): "before", ("a.pdf", 7): "output rose by", ("a.pdf", 8): "5 percent"}
    )
    assert "<strong>rose</strong>" in html
    assert "“output rose by 5 percent”" in html
    assert "a.pdf, page 2, lines 7-8" in html
    assert "<mark>output rose by</mark>" in html
    assert "20 of 40 lines, 2 of 3 pages" in html
    assert "skipped: it is damaged" in html
    assert "✓ verified" in html


def test_citations_lead_to_sources_that_exist_and_others_are_text() -> None:
    elements = Elements(html := shown(synthesis()))
    inside = [address[1:] for address in elements.addresses if address.startswith("#")]
    assert {"source-1", "source-2"} <= set(inside) <= elements.anchors
    assert "two [9]" in html


def test_what_the_answer_lacks_comes_before_it() -> None:
    html = shown(
        synthesis(partial=True, answered=False, warnings=["page 3 is undecodable"], unverified_quotes=2)
    )
    before = html[: html.index('id="answer"')]
    for said in ("not complete", "did not answer", "page 3 is undecodable", "2 quotes were not found"):
        assert said in before
    assert "<aside" not in shown(synthesis())


def test_a_quote_that_was_not_found_and_a_flag_are_marked() -> None:
    doubted = claim("It fell by 7.", "it fell", verified=False, lines=None, page=None)
    doubted["flags"] = ["7 is in none of its quotes"]
    html = shown(synthesis(key_insights=[doubted], contradictions=[claim("A says yes.", "yes")]))
    assert "✗ not found in the document" in html
    assert "⚑ 7 is in none of its quotes" in html
    assert 'id="contradictions"' in html


HOSTILE = (
    '<script>alert(1)</script><img src="http://127.0.0.1:{port}/i"> ![p](http://127.0.0.1:{port}/m) '
    '[l](javascript:alert(1)) <http://127.0.0.1:{port}/a> "onload="x'
)


def hostile(port: int) -> dict[str, Any]:
    text = HOSTILE.replace("{port}", str(port))
    return synthesis(
        research_question=text,
        synthesis=text,
        key_insights=[claim(text, text, document=f"{text}.md")],
        sources=[{"path": f"{text}.md", "status": "skipped", "reason": text, "coverage": None}],
        warnings=[text],
        model=text,
    )


def test_text_of_documents_and_models_adds_no_element() -> None:
    plain, elements = Elements(shown(synthesis())), Elements(shown(hostile(1)))
    assert set(elements.tags) <= set(plain.tags) | {"aside", "ul", "li"}
    assert all(address.startswith(("#", "file:///r/")) for address in elements.addresses)


def test_the_lines_around_each_quote_that_was_found_are_wanted() -> None:
    lost = claim("x", "y", lines=None)
    result = synthesis(key_insights=[claim("x", "y", lines=[2, 2]), lost], contradictions=[claim("x", "y")])
    assert wanted_lines(result) == {"a.pdf": [(1, 5), (4, 11)]}


def test_colours_have_contrast_in_light_and_dark() -> None:
    style = shown(synthesis()).partition("<style>")[2].partition("</style>")[0]
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", part)) for part in style.split("@media")[:2]]
    assert len(schemes) == 2
    for scheme in schemes:
        for name in ("fg", "muted", "good", "warn", "bad", "accent"):
            for ground in ("bg", "card"):
                assert _contrast(scheme[name], scheme[ground]) >= 4.5, (name, ground)
        assert _contrast(scheme["fg"], scheme["mark"]) >= 4.5


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.2, 1.4.3)."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser: apt install chromium")
def test_a_browser_shows_the_page_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(1000))

        threading.Thread(target=answer, daemon=True).start()
        file = tmp_path / "answer.html"
        file.write_text(shown(hostile(listener.getsockname()[1])), encoding="utf-8")
        browser = subprocess.run(
            [
                "chromium",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'profile'}",
                "--virtual-time-budget=2000",
                "--dump-dom",
                file.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        listener.shutdown(socket.SHUT_RDWR)
    assert asked == []
    assert 'id="sources"' in browser.stdout
    assert "alert(1)" in browser.stdout
    assert "<script" not in browser.stdout
