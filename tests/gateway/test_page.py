"""An answer to look at: the page that `ask --html` writes, and the app that a client shows. They ask nobody for anything."""

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastmcp.resources import TextResource

from research_reasoning.apps import AnswerApp, page, wanted_lines
from research_reasoning.apps.answer_app import PAGE_META_KEY
from research_reasoning.apps.answer_page import page_content
from research_shared.tools.names import ANSWER_APP_URI
from support.chromium import Chromium, chromium

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


def test_numbers_in_code_and_the_alignment_of_a_table_add_no_element_and_no_style() -> None:
    text = "Of [1]:\n\n```[1]\ncode [1]\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |"
    html = shown(synthesis(synthesis=text))
    assert 'class="language-[1]"' in html
    assert '<td class="to-right">2</td>' in html
    assert "style=" not in html


def test_what_the_answer_lacks_comes_before_it() -> None:
    html = shown(
        synthesis(partial=True, answered=False, warnings=["page 3 is undecodable"], unverified_quotes=2)
    )
    before = html[: html.index('id="answer"')]
    for said in ("not complete", "did not answer", "page 3 is undecodable", "2 quotes were not found"):
        assert said in before
    assert "What to know about this answer" not in shown(synthesis())


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
    assert set(elements.tags) <= set(plain.tags) | {"ul", "li"}
    assert all(address.startswith(("#", "file:///r/")) for address in elements.addresses)


def test_the_lines_around_each_quote_that_was_found_are_wanted() -> None:
    lost = claim("x", "y", lines=None)
    result = synthesis(key_insights=[claim("x", "y", lines=[2, 2]), lost], contradictions=[claim("x", "y")])
    assert wanted_lines(result) == {"a.pdf": [(1, 5), (4, 11)]}


def test_colours_have_contrast_in_light_and_dark() -> None:
    style = shown(synthesis()).partition("<style>")[2].partition("</style>")[0]
    pairs = re.findall(r"--(\w+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", style)
    assert len(pairs) == 10
    for scheme in ({name: light for name, light, _ in pairs}, {name: dark for name, _, dark in pairs}):
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


HOST = Path(__file__).parents[1] / "support" / "app_host.html"
NEEDS_BROWSER = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs a browser: apt install chromium"
)
FOCUSED = "(document.activeElement.textContent || document.activeElement.id).trim()"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def nobody() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what it was asked."""
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
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)


def written(path: Path, html: str) -> str:
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


def hosted(*results: dict[str, Any], theme: str = "light") -> str:
    """A page that is the host of our app, and shows it these results."""
    given = {"app": app_html(), "input": {"research_question": "What?"}, "results": results, "theme": theme}
    text = json.dumps(given).replace("</", "<\\/")
    return HOST.read_text(encoding="utf-8").replace("JSON_OF_THE_TEST", text)


def app_html() -> str:
    resource = anyio.run(AnswerApp().get_resource, ANSWER_APP_URI)
    assert isinstance(resource, TextResource)
    return resource.text


def result_of(content: str | None, **changes: Any) -> dict[str, Any]:
    meta = {} if content is None else {"_meta": {PAGE_META_KEY: content}}
    return {"content": [{"type": "text", "text": "The text <b>of</b> the answer"}], **meta, **changes}


def content_of(result: dict[str, Any]) -> str:
    return page_content(
        result, link=lambda path, _: f"https://dms.example/{path}", context={("a.pdf", 7): "output rose by"}
    )


def nodes(browser: Chromium, *roles: str) -> list[tuple[str, str]]:
    """Role and name of what a screen reader finds on the page, in order."""
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    by_id = {node["nodeId"]: node for node in tree}
    found, waiting = [], [tree[0]]
    while waiting:
        node = waiting.pop()
        if (role := node.get("role", {}).get("value")) in roles:
            found.append((role, node.get("name", {}).get("value", "")))
        waiting += [by_id[child] for child in reversed(node.get("childIds", [])) if child in by_id]
    return found


@NEEDS_BROWSER
def test_a_browser_shows_the_page_and_asks_nobody_for_anything(
    browser: Chromium, nobody: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    port, asked = nobody
    browser.requested.clear()
    browser.open(address := written(tmp_path / "answer.html", shown(hostile(port))))
    assert browser.evaluate("document.querySelectorAll('script, img, iframe').length") == 0
    assert "alert(1)" in browser.evaluate("document.getElementById('answer').parentElement.textContent")
    assert browser.evaluate("document.getElementById('sources') !== null")
    assert browser.requested == [address]
    assert asked == []


@NEEDS_BROWSER
def test_the_page_has_landmarks_headings_and_names_for_a_screen_reader(
    browser: Chromium, tmp_path: Path
) -> None:
    context = {("a.pdf", 7): "output rose by"}
    browser.open(written(tmp_path / "answer.html", shown(synthesis(partial=True), context)))
    question = synthesis()["research_question"]
    assert nodes(browser, "main", "banner", "region", "heading", "table", "meter") == [
        ("main", ""),
        ("heading", question),
        ("region", "What to know about this answer"),
        ("region", "Answer"),
        ("heading", "Answer"),
        ("region", "Insights"),
        ("heading", "Insights"),
        ("region", "Sources"),
        ("heading", "Sources"),
        ("table", "Sources"),
        ("meter", "20 of 40 lines, 2 of 3 pages"),
    ]
    assert ("columnheader", "Number") in nodes(browser, "columnheader")
    assert nodes(browser, "DisclosureTriangle") == [
        ("DisclosureTriangle", "In its context (a.pdf, page 2, lines 7-8)")
    ]


@NEEDS_BROWSER
def test_the_keyboard_reaches_links_and_context_in_the_order_of_the_page(
    browser: Chromium, tmp_path: Path
) -> None:
    browser.open(written(tmp_path / "answer.html", shown(synthesis(), {("a.pdf", 7): "output rose by"})))
    order = []
    for _ in range(7):
        browser.press("Tab")
        order.append(browser.evaluate(FOCUSED))
        if order[-1].startswith("In its context"):
            browser.press(" ")
            assert browser.evaluate("document.querySelector('details').open") is True
    place = "a.pdf, page 2, lines 7-8"
    assert order == ["To the answer", "1", "1", "2", "1", place, f"In its context ({place})"]


@NEEDS_BROWSER
def test_a_host_shows_the_answer_in_a_frame_of_its_own_and_the_app_asks_nobody_for_anything(
    browser: Chromium, nobody: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    port, asked = nobody
    browser.requested.clear()
    content = content_of(synthesis())
    results = [result_of(content), result_of(content_of(hostile(port)))]
    browser.open(address := written(tmp_path / "host.html", hosted(*results, theme="dark")))
    browser.wait_for_line("shown")
    main = "document.querySelector('main')"
    assert browser.evaluate(f"{main}.textContent", in_frame=True) == text_of(content)
    assert browser.evaluate("document.title", in_frame=True) == synthesis()["research_question"]
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor", in_frame=True)
        == "rgb(13, 17, 23)"
    )
    first = browser.evaluate("received[0]")
    assert (first["method"], first["params"]["protocolVersion"]) == ("ui/initialize", "2026-01-26")
    browser.evaluate("send(results[1], 'shown again')")
    browser.wait_for_line("shown again")
    assert "alert(1)" in browser.evaluate(f"{main}.textContent", in_frame=True)
    assert browser.evaluate(f"{main}.querySelectorAll('script, img').length", in_frame=True) == 0
    # What a renderer with a fault would let through, the policy of the app still keeps from running and loading.
    attack = f'<img src="http://127.0.0.1:{port}/" onerror="window.ran = 1"><style>@import "http://127.0.0.1:{port}/"</style>'
    browser.evaluate(f"send({json.dumps(result_of(attack))}, 'attacked')")
    browser.wait_for_line("attacked")
    assert browser.evaluate("window.ran === undefined", in_frame=True) is True
    assert [
        url for url in browser.requested if not url.startswith(("about:", f"http://127.0.0.1:{port}"))
    ] == [address]
    assert asked == []


@NEEDS_BROWSER
def test_without_a_rendered_answer_the_app_shows_the_text_and_says_what_failed(
    browser: Chromium, tmp_path: Path
) -> None:
    results = [result_of(None), result_of(content_of(synthesis()), isError=True)]
    browser.said.clear()
    browser.open(written(tmp_path / "host.html", hosted(*results)))
    browser.wait_for_line("shown")
    main = "document.querySelector('main')"
    assert browser.evaluate(f"{main}.textContent", in_frame=True) == "AnswerThe text <b>of</b> the answer"
    browser.evaluate("send(results[1], 'failed')")
    browser.wait_for_line("failed")
    assert browser.evaluate(f"{main}.textContent", in_frame=True).startswith("The question was not answered")


@NEEDS_BROWSER
def test_in_the_app_citations_lead_to_sources_and_links_are_opened_by_the_host(
    browser: Chromium, tmp_path: Path
) -> None:
    browser.said.clear()
    browser.open(written(tmp_path / "host.html", hosted(result_of(content_of(synthesis())))))
    browser.wait_for_line("shown")
    browser.evaluate("document.querySelector('a[href=\"#source-2\"]').click()", in_frame=True)
    assert browser.evaluate("document.activeElement.id", in_frame=True) == "source-2"
    browser.evaluate("document.querySelector('blockquote a[href^=https]').click()", in_frame=True)
    browser.wait_for_line("opened https://dms.example/a.pdf")


def text_of(html: str) -> str:
    parser = Texts()
    parser.feed(html)
    return "".join(parser.texts)


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
