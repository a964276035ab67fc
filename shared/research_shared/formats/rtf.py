"""Rich Text Format, with notes, comments, headers, text boxes, deleted and hidden text."""

import codecs
import re
from dataclasses import dataclass, field, replace

from research_shared.formats._format import DAMAGED, EMPTY, Format, Pages, Reader, Refused
from research_shared.formats._parts.lines import MAX_HEADING, no_heading, on_one_line
from research_shared.formats._parts.metadata import Metadata
from research_shared.formats._parts.properties import split_keywords

_RTF_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]{1,32})(?P<value>-?\d{1,10})?[ ]?"
    r"|\\'(?P<code>[0-9A-Fa-f]{2})|\\(?P<symbol>.)|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)",
    re.DOTALL,
)
_FLOW_NAMES = {
    "header": "header", "headerl": "header", "headerr": "header", "headerf": "header",
    "footer": "footer", "footerl": "footer", "footerr": "footer", "footerf": "footer",
    "footnote": "footnote", "annotation": "comment", "shptxt": "text box", "fldinst": "code",
    "atnauthor": "reviewer", "title": "title", "author": "author", "subject": "subject",
    "keywords": "keywords", "doccomm": "description",
}  # fmt: skip
_DECLARED = ("title", "author", "keywords")
_TIME_STAMP = re.compile(rb"\\(?:revtim|creatim)\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})")
_INFO_WITHIN = 256 * 1024
_INFO = frozenset({"title", "author", "subject", "keywords", "doccomm"})
_SILENT_GROUPS = frozenset({
    "fonttbl", "colortbl", "stylesheet", "info", "pict", "objdata", "nonshppict", "listtext", "pntext", "sp",
    "nonesttables", "filetbl", "generator", "template", "xe", "tc", "rxe", "bkmkstart", "bkmkend", "atrfstart",
    "atrfend", "themedata", "datastore",
})  # fmt: skip
_KEPT_IF_STARRED = frozenset(
    {"shpinst", "footnote", "annotation", "atnauthor", "fldinst", "shptxt", "fldrslt"}
)
_SYMBOLS = {
    "emdash": "\u2014", "endash": "\u2013", "bullet": "\u2022", "lquote": "\u2018", "rquote": "\u2019", "ldblquote": "\u201c",
    "rdblquote": "\u201d", "tab": "\t", "emspace": " ", "enspace": " ", "qmspace": " ", "nestcell": " ", "nestrow": " / ",
}  # fmt: skip
_BREAKS = frozenset({"par", "line", "sect", "page", "column", "softline"})
_CODE_PAGES = {
    0: "cp1252", 77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gbk", 136: "cp950", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
}  # fmt: skip
"""The encodings of the character sets of fonts."""
_FIELD_ADDRESS = re.compile(r'HYPERLINK\s+"([^"]+)"')
_MAX_GROUPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """What holds within braces, and ends with them."""

    silent: str = ""
    """The name of a group whose text is no text of the document, or an empty string."""
    flow: bool = False
    hidden: bool = False
    deleted: bool = False
    encoding: str = "cp1252"
    after_unicode: int = 1


@dataclass(slots=True, kw_only=True)
class _RtfFlow:
    """Lines that follow each other, with the paragraph that is being read."""

    kind: str
    lines: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    heading: int = 0
    level: int | None = None
    in_table: bool = False

    def end_paragraph(self) -> None:
        """Make lines of what was read."""
        text = on_one_line("".join(self.words))
        if self.in_table or self.cells:
            self.words = [text, " "] if text else []
            return
        if text:
            self.lines.append(self._marked(text))
        self._end_beside()

    def _marked(self, text: str) -> str:
        if self.kind != "body":
            return text
        if self.heading:
            return f"{'#' * min(self.heading, MAX_HEADING)} {text}"
        if self.level is not None:
            return f"{'  ' * min(self.level, 8)}- {text}"
        return no_heading(text)

    def end_cell(self) -> None:
        """Keep a cell for its row."""
        self.cells.append(on_one_line("".join(self.words)))
        self.words = []

    def end_row(self) -> None:
        """Make a line of the cells of a row."""
        if any(self.cells):
            self.lines.append(" | ".join(self.cells))
        self.cells, self.in_table = [], False
        self._end_beside()

    def end(self) -> None:
        """Make lines of what is left at the end."""
        if self.cells:
            self.end_cell()
            self.end_row()
        self.in_table = False
        self.end_paragraph()

    def _end_beside(self) -> None:
        for what, parts in (("deleted", self.deleted), ("hidden", self.hidden)):
            if text := on_one_line("".join(parts)):
                self.lines.append(f"[{what}] {text}")
        self.lines += self.after
        self.words, self.deleted, self.hidden, self.after = [], [], [], []


class _RtfDocument:
    def __init__(self, text: str) -> None:
        self._text = text
        self._flows = [_RtfFlow(kind="body")]
        self._group = _Group()
        self._groups: list[_Group] = []
        self._bytes = bytearray()
        self._unicode_skip = 0
        self._starred = False
        self._fonts: dict[int, str] = {}
        self._styles: dict[int, int] = {}
        self._number = 0
        self._default = "cp1252"
        self._reviewer = ""
        self.before: list[str] = []

    def lines(self) -> list[str]:
        """Return the lines of the document."""
        at = 0
        while match := _RTF_TOKEN.match(self._text, at):
            at = match.end()
            if word := match["word"]:
                if word == "bin":
                    at += max(int(match["value"] or 0), 0)
                self._flush()
                self._control(word, None if match["value"] is None else int(match["value"]))
            elif match["code"]:
                self._take(bytes.fromhex(match["code"]))
            elif match["brace"]:
                self._flush()
                (self._open if match["brace"] == "{" else self._close)()
            elif match["symbol"]:
                self._symbol(match["symbol"])
            elif match["text"]:
                self._take(match["text"].encode("latin-1"))
        self._flush()
        while self._groups:
            self._close()
        self._flows[0].end()
        return [*dict.fromkeys(self.before), *self._flows[0].lines]

    def _take(self, data: bytes) -> None:
        skipped = min(self._unicode_skip, len(data))
        self._unicode_skip -= skipped
        self._bytes += data[skipped:]

    def _flush(self) -> None:
        if self._bytes:
            data, self._bytes = bytes(self._bytes), bytearray()
            self._write(data.decode(self._group.encoding, "replace"))

    def _write(self, text: str) -> None:
        if self._group.silent:
            return
        flow = self._flows[-1]
        if self._group.deleted:
            flow.deleted.append(text)
        elif self._group.hidden:
            flow.hidden.append(text)
        else:
            flow.words.append(text)

    def _symbol(self, symbol: str) -> None:
        self._flush()
        if symbol == "*":
            self._starred = True
        elif symbol in "\\{}":
            self._take(symbol.encode())
        elif symbol in "\r\n":
            self._flows[-1].end_paragraph()
        else:
            self._write({"~": " ", "_": "-"}.get(symbol, ""))

    def _open(self) -> None:
        self._unicode_skip = 0
        if len(self._groups) >= _MAX_GROUPS:
            raise Refused(DAMAGED)
        self._groups.append(self._group)
        self._group = replace(self._group, flow=False)

    def _close(self) -> None:
        if not self._groups:
            return
        if self._group.flow and len(self._flows) > 1:
            self._end_flow(self._flows.pop())
        self._group = self._groups.pop()

    def _control(self, word: str, value: int | None) -> None:
        starred, self._starred = self._starred, False
        self._unicode_skip = 0
        if word in _FLOW_NAMES and (self._group.silent in {"", "info"}):
            if (self._group.silent == "info") == (word in _INFO):
                self._flows.append(_RtfFlow(kind=_FLOW_NAMES[word]))
                self._group = replace(self._group, flow=True, silent="", hidden=False, deleted=False)
        elif word in _SILENT_GROUPS or (starred and word not in _KEPT_IF_STARRED):
            if word in {"listtext", "pntext"} and self._flows[-1].level is None:
                self._flows[-1].level = 0
            self._group = replace(self._group, silent=self._group.silent or word)
        elif self._group.silent:
            self._define(word, value)
        elif word in _BREAKS:
            self._flows[-1].end_paragraph()
        elif word in _SYMBOLS:
            self._write(_SYMBOLS[word])
        else:
            self._format(word, value)

    def _define(self, word: str, value: int | None) -> None:
        """Take what the tables of fonts and styles say."""
        number = value or 0
        if word in {"f", "s"}:
            self._number = number
        elif word == "fcharset" and self._group.silent == "fonttbl":
            self._fonts[self._number] = _CODE_PAGES.get(number, self._default)
        elif word == "outlinelevel" and self._group.silent == "stylesheet" and 0 <= number < MAX_HEADING:
            self._styles[self._number] = number + 1

    def _format(self, word: str, value: int | None) -> None:
        flow = self._flows[-1]
        match word:
            case "u":
                self._write(chr((value or 0) % 65_536))
                self._unicode_skip = self._group.after_unicode
            case "cell":
                flow.end_cell()
            case "row":
                flow.end_row()
            case "intbl":
                flow.in_table = True
            case "pard":
                flow.heading, flow.level, flow.in_table = 0, None, False
            case "s":
                flow.heading = self._styles.get(value or 0, 0)
            case "outlinelevel" if value is not None and 0 <= value < MAX_HEADING:
                flow.heading = value + 1
            case "ilvl":
                flow.level = max(value or 0, 0)
            case "ftnalt" if flow.kind == "footnote":
                flow.kind = "endnote"
            case _:
                self._format_words(word, value)

    def _format_words(self, word: str, value: int | None) -> None:
        on = value != 0
        match word:
            case "plain":
                self._group = replace(self._group, hidden=False, deleted=False, encoding=self._default)
            case "v":
                self._group = replace(self._group, hidden=on)
            case "deleted":
                self._group = replace(self._group, deleted=on)
            case "uc":
                self._group = replace(self._group, after_unicode=min(max(value or 0, 0), 100))
            case "f":
                encoding = self._fonts.get(value or 0, self._default)
                self._group = replace(self._group, encoding=encoding)
            case "ansicpg":
                self._default = _known(f"cp{value}")
                self._group = replace(self._group, encoding=self._default)
            case "mac":
                self._default = "mac_roman"
                self._group = replace(self._group, encoding=self._default)

    def _end_flow(self, flow: _RtfFlow) -> None:
        flow.end()
        below = self._flows[-1]
        match flow.kind:
            case "code":
                below.after += (f"[link] {found}" for found in _FIELD_ADDRESS.findall(" ".join(flow.lines)))
            case "reviewer":
                self._reviewer = on_one_line(" ".join(flow.lines))
            case "header" | "footer" | "title" | "author" | "subject" | "keywords" | "description":
                self.before += _prefixed(flow.kind, flow.lines)
            case "comment":
                name = f"comment by {self._reviewer}" if self._reviewer else "comment"
                self._reviewer = ""
                below.after += _prefixed(name, flow.lines)
            case kind:
                below.after += _prefixed(kind, flow.lines)


_OTHER_NAMES = {"cp10000": "mac_roman", "cp0": "cp1252", "cp10007": "mac_cyrillic", "cp65001": "utf-8"}


def _known(encoding: str) -> str:
    if encoding in _OTHER_NAMES:
        return _OTHER_NAMES[encoding]
    try:
        codecs.lookup(encoding)
    except LookupError:
        return "cp1252"
    return encoding


def _prefixed(what: str, lines: list[str]) -> list[str]:
    return [line if line.startswith("[") else f"[{what}] {line}" for line in lines]


def open_rtf(data: bytes, _first: int, _last: int) -> Pages:
    """Open a text. Objects that are embedded in it are not opened."""
    if not data:
        raise Refused(EMPTY)
    if not _is_rtf(data):
        raise Refused(DAMAGED)
    document = _RtfDocument(data.decode("latin-1"))
    lines = document.lines()
    if not lines:
        raise Refused(EMPTY)
    # Characters beyond the first plane are written as two halves.
    text = "\n".join(lines).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return Pages(total=1, texts=iter((text,)), metadata=_rtf_metadata(document.before, data))


def _rtf_metadata(before: list[str], data: bytes) -> Metadata:
    """Return what the information group says, from its lines and its time stamps."""
    said = {
        name: line.partition("] ")[2]
        for line in before
        for name in _DECLARED
        if line.startswith(f"[{name}] ")
    }
    stamp = _TIME_STAMP.search(data, 0, _INFO_WITHIN)
    return Metadata.of(
        title=said.get("title", ""),
        authors=[said.get("author", "")],
        date="-".join(f"{int(part):02}" for part in stamp.groups()) if stamp else "",
        tags=split_keywords([said.get("keywords", "")]),
    )


def _is_rtf(data: bytes) -> bool:
    return data.lstrip().startswith(b"{\\rtf")


FORMATS = (
    Format(
        title="an RTF document",
        media_types={".rtf": "application/rtf"},
        readers=(Reader(name="rtf", open=open_rtf),),
        markdown=True,
        recognises=_is_rtf,
    ),
)
