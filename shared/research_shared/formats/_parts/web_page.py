"""HTML to lines: blocks and rows of tables are lines, what stands beside the words follows them under a name."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser

from research_shared.formats._parts.lines import no_heading, on_one_line
from research_shared.formats._parts.metadata import Metadata

_SILENT = frozenset({"script", "style", "template", "title"})
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
})  # fmt: skip
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "button", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6",
    "head", "header", "hr", "html", "label", "legend", "li", "main", "menu", "nav", "ol", "option", "p", "pre",
    "section", "select", "summary", "table", "tbody", "textarea", "tfoot", "thead", "ul",
})  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")
_NAMED_META = frozenset({"author", "description", "keywords"})
_LAYOUT_CHARS = 400
"""A row of more characters whose cells hold several lines each is there for the layout: its lines stay apart."""
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([\w.:-]+)|encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE)
_CHARSET_WITHIN = 2048
_HEAD_CHARS = 64 * 1024


def declared_encoding(data: bytes) -> str:
    """Return the encoding that an HTML file says it has, or an empty string."""
    match = _CHARSET.search(data[:_CHARSET_WITHIN])
    return (match[1] or match[2]).decode("ascii") if match else ""


@dataclass(slots=True)
class _Table:
    """An open table: the cells of its open row, and whether the last flow of lines is a cell of it."""

    row: list[list[str]] | None = None
    in_cell: bool = False


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.meta: list[str] = []
        self._flows: list[list[str]] = [[]]
        self._tables: list[_Table] = []
        self._words: list[str] = []
        self._hidden: list[str] = []
        self._after: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._heading = 0
        self._item = False
        self._addresses: set[str] = set()

    def _is_in(self, *names: str) -> bool:
        return any(name in names for name, _ in self._open[-200:])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _BLOCKS or tag == "br":
            self._flush()
        match tag:
            case "table":
                self._tables.append(_Table())
            case "tr" if self._tables:
                self._end_row(self._tables[-1])
            case "td" | "th" if self._tables:
                self._end_cell(self._tables[-1])
                self._flows.append([])
                self._tables[-1].in_cell = True
            case "li":
                self._item = True
            case _ if tag in _HEADINGS:
                self._heading = _HEADINGS[tag]
            case _:
                self._beside(tag, attributes)
        if tag not in _VOID:
            hidden = "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "").lower()))
            self._open.append((tag, hidden or (bool(self._open) and self._open[-1][1])))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def _beside(self, tag: str, attributes: dict[str, str]) -> None:
        match tag:
            case "img" | "area":
                self._say("image", attributes.get("alt", ""))
            case "input" if attributes.get("type", "text") not in {"hidden", "password", "checkbox", "radio"}:
                self._words.append(f" {attributes.get('value') or attributes.get('placeholder', '')} ")
            case "a":
                address = attributes.get("href", "")
                if address.startswith("#") and self._words and self._words[-1][-1:].isalnum():
                    self._words.append(" ")  # the number of a note is not part of the word before it
                if ("://" in address or address.startswith("mailto:")) and address not in self._addresses:
                    self._addresses.add(address)
                    self._say("link", address)
            case "meta" if attributes.get("name", "").lower() in _NAMED_META:
                if text := on_one_line(attributes.get("content", "")):
                    self.meta.append(f"[{attributes['name'].lower()}] {text}")

    def _say(self, what: str, text: str) -> None:
        if text := on_one_line(text):
            self._after.append(f"[{what}] {text}")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1][0] in _SILENT:
            if self._open[-1][0] == "title" and not self._is_in("body", "svg"):
                self.title.append(data)
            return
        if self._open and self._open[-1][1]:
            self._hidden.append(data)
        elif self._is_in("pre", "textarea"):
            *lines, rest = data.split("\n")
            for line in lines:
                self._words.append(line)
                self._flush(kept=True)
            self._words.append(rest)
        else:
            self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        names = [name for name, _ in self._open[-200:]]
        if tag not in names:
            return
        if tag in _BLOCKS:
            self._flush(kept=tag in {"pre", "textarea"})
        if self._tables:
            if tag in {"td", "th"}:
                self._end_cell(self._tables[-1])
            elif tag == "tr":
                self._end_row(self._tables[-1])
            elif tag == "table":
                self._end_row(self._tables.pop())
        while self._open and self._open.pop()[0] != tag:
            pass

    def _flush(self, *, kept: bool = False) -> None:
        """End a line. `kept` keeps its white space."""
        text = "".join(self._words)
        text = text.rstrip() if kept else on_one_line(text)
        if text:
            mark = "#" * self._heading + " " if self._heading else "- " if self._item else ""
            self._flows[-1].append(mark + text if mark else no_heading(text))
            self._heading, self._item = 0, False
        if hidden := on_one_line("".join(self._hidden)):
            self._flows[-1].append(f"[hidden] {hidden}")
        self._flows[-1] += self._after
        self._words, self._hidden, self._after = [], [], []

    def _end_cell(self, table: _Table) -> None:
        self._flush()
        if table.in_cell:
            table.row = [*(table.row or ()), self._flows.pop()]
            table.in_cell = False

    def _end_row(self, table: _Table) -> None:
        self._end_cell(table)
        cells, table.row = table.row or [], None
        lines = [line for cell in cells for line in cell]
        if len(lines) > len(cells) and sum(map(len, lines)) > _LAYOUT_CHARS:
            self._flows[-1] += lines
            return
        beside = [line for line in lines if line.startswith(("[link]", "[image]", "[hidden]"))]
        words = [" ".join(line for line in cell if line not in beside) for cell in cells]
        if any(words):
            self._flows[-1].append(" | ".join(words))
        self._flows[-1] += beside

    def finish(self) -> list[str]:
        """Return the lines of the page, with what was open at its end."""
        self.close()
        self._flush()
        while self._tables:
            self._end_row(self._tables.pop())
        return self._flows[0]


_TITLE_META = ("citation_title", "dc.title", "dcterms.title", "og:title")
_AUTHOR_META = ("author", "citation_author", "dc.creator", "dcterms.creator", "article:author")
_DATE_META = (
    "citation_publication_date", "article:published_time", "dc.date", "dcterms.date", "dcterms.created", "date",
    "article:modified_time", "dcterms.modified",
)  # fmt: skip
_KEYWORD_META = ("keywords", "article:tag", "dc.subject", "citation_keywords")


class _Head(HTMLParser):
    """Collects what the head of a page declares."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.language = ""
        self.title: list[str] = []
        self.meta: dict[str, list[str]] = {}
        self._in_title = False
        self.over = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title" and not self.over
        self.over = self.over or tag == "body"
        if tag == "html":
            self.language = attributes.get("lang") or attributes.get("xml:lang", "")
        elif tag == "meta" and not self.over:
            name = (attributes.get("name") or attributes.get("property", "")).lower()
            self.meta.setdefault(name, []).append(attributes.get("content", ""))

    def handle_endtag(self, tag: str) -> None:
        self._in_title = self._in_title and tag != "title"

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)


def html_metadata(text: str) -> Metadata:
    """Return what the head of an HTML text declares."""
    head = _Head()
    head.feed(text[:_HEAD_CHARS])

    def of(names: tuple[str, ...]) -> list[str]:
        return next((found for name in names if any(found := head.meta.get(name, []))), [])

    return Metadata.of(
        title="".join(head.title) or "".join(of(_TITLE_META)[:1]),
        authors=of(_AUTHOR_META),
        date="".join(of(_DATE_META)[:1]),
        language=head.language,
        tags=[tag for text in of(_KEYWORD_META) for tag in text.split(",")],
    )


def html_lines(text: str, *, with_title: bool = True) -> list[str]:
    """Return the lines of an HTML text."""
    page = _Page()
    page.feed(text)
    lines = page.finish()
    title = on_one_line("".join(page.title))
    before = [f"[title] {title}", *page.meta] if title else page.meta
    return [*before, *lines] if with_title else lines
