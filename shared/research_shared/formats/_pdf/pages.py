"""The text of a page of a PDF, from pdfium: its lines, what its fields and stamps show, and what its comments say.

Only a worker process imports this module. It calls pdfium's own functions (`pypdfium2.raw`) where pypdfium2 has none.
"""

import contextlib
import ctypes
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import Any

import pypdfium2
from pypdfium2 import raw

from research_shared.formats._pdf.layout import (
    CJK,
    MIN_COLUMN_ROWS,
    Box,
    PageLine,
    Segment,
    blocks_of,
    columns_first,
    is_raised,
    is_suspect,
    is_undecodable,
    rows_of,
    stand_apart,
    vertical_lines_from_the_right,
    with_fields,
    word_ends,
)
from research_shared.formats._pdf.picture import is_drawn

_BREAK = re.compile("(?<=\\w)[\x02\ufffe](?:\r\n|\r|\n|(?=\\w)|$)|\r\n|\r|\n")
"""The end of a line. pdfium replaces a hyphen there, with the line break, by one of two characters."""
_LONG_WORD_CHARS = 17
_LONG_WORD = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]{17,}")
_ANY_WORD = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff]{3,}")
_MARK = re.compile("[0-9](?<=[a-z]{3}[0-9])[0-9]{0,2}(?![0-9A-Za-z])")
"""A number behind a word. Begins with the digit, which is rare, so that it is found fast."""
_RAISED = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_WIDE_LINE = re.compile("[^\r\n]{30,}")
_SAMPLE = 16
_SAMPLED_CHARS = 200
_SAMPLED_LINES = 4
_SAMPLED_WORDS = 3
_TURNED = 0.1  # radians

_PRINTED = frozenset({raw.FPDF_ANNOT_FREETEXT, raw.FPDF_ANNOT_STAMP, raw.FPDF_ANNOT_WIDGET})
_COMMENTS = frozenset(
    {
        raw.FPDF_ANNOT_TEXT, raw.FPDF_ANNOT_HIGHLIGHT, raw.FPDF_ANNOT_UNDERLINE, raw.FPDF_ANNOT_SQUIGGLY,
        raw.FPDF_ANNOT_STRIKEOUT, raw.FPDF_ANNOT_LINE, raw.FPDF_ANNOT_SQUARE, raw.FPDF_ANNOT_CIRCLE,
        raw.FPDF_ANNOT_POLYGON, raw.FPDF_ANNOT_POLYLINE, raw.FPDF_ANNOT_INK, raw.FPDF_ANNOT_CARET,
    }
)  # fmt: skip
_HIDDEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_MAX_ANNOTATIONS = 5000
_MAX_APART = 500
"""Fields of one page that are read one by one. More are read at once: the time would grow with their square."""
_MAX_NESTED_FORMS = 8
_MAX_NAME = 256
_BLANKS = frozenset(b" \t\r\n\x00")


@dataclass(slots=True, kw_only=True)
class PageText:
    """What is on a page: its text, whether its letters can be told, and what hangs on it without being printed.

    `drawn`: it has no text, and pictures or many lines.
    """

    text: str
    undecodable: bool = False
    drawn: bool = False
    attachments: int = 0
    left_out: set[str] = field(default_factory=set)


def read_page(document: pypdfium2.PdfDocument, index: int, layers_off: frozenset[str]) -> PageText:
    """Return the text of one page (`index` from 0).

    Raises:
        PdfiumError: pdfium cannot load the page.
    """
    with contextlib.closing(document[index]) as page:
        found = PageText(text="")
        if layers_off:
            _leave_out_layers(page, layers_off, found)
        total = raw.FPDFPage_GetAnnotCount(page)
        annotations = _annotations(page, total, found) if total else _NONE
        with contextlib.closing(page.get_textpage()) as textpage:
            text = textpage.get_text_range()
            found.undecodable = _is_undecodable(textpage, text)
            if found.undecodable:
                text = ""
            letters = _letters(page, textpage, text)
            lines = letters.lines() if annotations.printed or letters.need_care() else None
            if lines is None:
                text = letters.edited(text)
        found.drawn = not text.strip() and is_drawn(page)
    if annotations.printed:
        lines = with_fields(lines or [], _printed(document, index))
    if lines is not None:
        text = "\n".join(line.text for line in lines)
    found.text = "\n".join(filter(None, [text, *annotations.comments]))
    return found


class _Letters:
    """The letters of a loaded page: where they are, by their position in its text. `cut`: its paper is not all of the sheet."""

    def __init__(
        self,
        textpage: pypdfium2.PdfTextPage,
        text: str,
        paper: tuple[float, float, float, float],
        *,
        cut: bool,
    ) -> None:
        self._page = textpage
        self._is_cut = cut
        self._text = text
        self._paper = Box(*paper)
        self._astral = [] if text.isascii() else [match.start() for match in _ASTRAL.finditer(text)]
        self._rectangle = raw.FS_RECTF()
        self._reference = ctypes.byref(self._rectangle)

    def box(self, position: int) -> Box | None:
        """Return the box of a character, None for one that pdfium added."""
        number = raw.FPDFText_GetCharIndexFromTextIndex(self._page, self._unit(position))
        if number < 0 or not raw.FPDFText_GetLooseCharBox(self._page, number, self._reference):
            return None
        found = self._rectangle
        return Box(found.left, found.bottom, found.right, found.top)

    def _unit(self, position: int) -> int:
        """Return the position in UTF-16, which pdfium counts in."""
        return position + sum(at < position for at in self._astral) if self._astral else position

    def _position(self, unit: int) -> int:
        for at in self._astral:
            if at < unit - 1:
                unit -= 1
        return unit

    def need_care(self) -> bool:
        """Return whether the text may not be as people read it. Cheap: most pages need no look at each line."""
        return (
            self._has_gaps()
            or self._has_columns()
            or (not self._text.isascii() and CJK.search(self._text) is not None)
            or self._reaches_off_paper()
        )

    def _has_gaps(self) -> bool:
        """Return whether a long word is none: people see spaces in it."""
        long = [word for word in self._text.split() if len(word) >= _LONG_WORD_CHARS]
        found = 0
        for word in long:
            if (match := _LONG_WORD.search(word)) is not None:
                if self._ends(self._text.index(word) + match.start(), match[0]):
                    return True
                found += 1
                if found == _SAMPLED_WORDS:
                    break
        return False

    def _has_columns(self) -> bool:
        """Return whether most of a sample of long lines have parts that stand apart."""
        long = [match.span() for match in _WIDE_LINE.finditer(self._text)]
        if len(long) < MIN_COLUMN_ROWS:
            return False
        sample = long[:: -(-len(long) // _SAMPLED_LINES)]
        needed = len(sample) // 2 + 1
        for looked_at, (start, end) in enumerate(sample, start=1):
            number = raw.FPDFText_GetCharIndexFromTextIndex(self._page, self._unit(start))
            total = raw.FPDFText_CountRects(self._page, number, end - start) if number >= 0 else 0
            needed -= total > 1 and stand_apart(self._rectangles(total))
            if needed > len(sample) - looked_at:
                return False
        return True

    def _reaches_off_paper(self) -> bool:
        """Return whether there are letters beside the paper: those on it are fewer.

        Looks where the paper was cut, or the first or the last letter stands beside it: counting takes a while.
        """
        paper = self._paper
        if not self._is_cut:
            ends = (self.box(0), self.box(len(self._text) - 1))
            if all(end is None or end.touches(paper) for end in ends):
                return False
        sides = (paper.left, paper.top, paper.right, paper.bottom)
        size = raw.FPDFText_GetBoundedText(self._page, *sides, None, 0)
        if size >= len(self._text):
            return False
        # Fewer characters: it may be line breaks, of which this text has less.
        buffer = (ctypes.c_ushort * size)()
        raw.FPDFText_GetBoundedText(self._page, *sides, buffer, size)
        on_paper = bytes(buffer).decode("utf-16-le", "replace")
        return 0 < len("".join(on_paper.split())) < len("".join(self._text.split()))

    def lines(self) -> list[PageLine]:
        """Return the lines in the order of reading, without those beside the paper."""
        if not self._text:
            return []
        lines = [self._line(start, text) for start, text in self._broken()]
        on_paper = [line for line in lines if line.box is None or line.box.touches(self._paper)]
        if any(line.box for line in on_paper):
            lines = on_paper
        if any(line.is_vertical for line in lines):
            lines = vertical_lines_from_the_right(lines)
        lines = self._columns(lines)
        gaps = self._has_gaps()
        return [replace(line, text=self.edited(line.text, line.start, gaps=gaps)) for line in lines]

    def _broken(self) -> Iterator[tuple[int, str]]:
        at = 0
        for match in _BREAK.finditer(self._text):
            hyphen = "-" if match[0][0] in "\x02\ufffe" else ""
            yield at, self._text[at : match.start()] + hyphen
            at = match.end()
        yield at, self._text[at:]

    def _line(self, start: int, text: str) -> PageLine:
        inner = text.strip()
        if not inner:
            return PageLine(text=text, start=start)
        start += text.index(inner[0])
        first = self.box(start)
        last = self.box(start + len(inner) - 1)
        if last is None:
            last = first
        if first is None or last is None:
            return PageLine(text=text, start=start)
        box = first.around(last)
        upright = True
        if box.height > 2 * box.width:
            number = raw.FPDFText_GetCharIndexFromTextIndex(self._page, self._unit(start))
            upright = abs(raw.FPDFText_GetCharAngle(self._page, number)) < _TURNED
        return PageLine(text=inner, start=start, box=box, upright=upright)

    def _columns(self, lines: list[PageLine]) -> list[PageLine]:
        """Return the lines with columns of prose one after the other."""
        if sum(line.box is not None for line in lines) < MIN_COLUMN_ROWS:
            return lines
        total = raw.FPDFText_CountRects(self._page, 0, -1)
        if total < 2 * MIN_COLUMN_ROWS:
            return lines
        blocks = blocks_of(rows_of(starmap(Box, self._rectangles(total))))
        return columns_first(lines, filter(None, map(self._located, blocks)))

    def _located(self, block: Sequence[Sequence[Box]]) -> list[list[Segment]]:
        """Return the parts of rows with their positions in the text; nothing when one is not found."""
        found = [[segment for box in row if (segment := self._segment(box))] for row in block]
        complete = all(len(segments) == len(row) for segments, row in zip(found, block, strict=True))
        return found if complete else []

    def _rectangles(self, total: int) -> Iterator[tuple[float, float, float, float]]:
        """Yield left, bottom, right and top of the runs of letters that the file sets in one go."""
        left, top, right, bottom = (ctypes.c_double() for _ in range(4))
        at = [ctypes.byref(each) for each in (left, top, right, bottom)]
        get, page = raw.FPDFText_GetRect, self._page
        for number in range(total):
            if get(page, number, *at):
                yield left.value, bottom.value, right.value, top.value

    def _segment(self, box: Box) -> Segment | None:
        middle = (box.bottom + box.top) / 2
        reach = box.height / 2
        number = raw.FPDFText_GetCharIndexAtPos(self._page, box.left + 0.5, middle, reach, reach)
        if number < 0:
            return None
        unit = raw.FPDFText_GetTextIndexFromCharIndex(self._page, number)
        return Segment(self._position(unit), box) if unit >= 0 else None

    def edited(self, text: str, start: int = 0, *, gaps: bool = False) -> str:
        """Return a part of the text, which begins at `start`, as it looks.

        Numbers of footnotes are raised; with `gaps`, there are spaces where people see some and the file has none.
        """
        edits = [
            (*match.span(), f" {match[0].translate(_RAISED)}")
            for match in _MARK.finditer(text)
            if self._is_raised(start + match.start())
        ]
        if gaps:
            edits += [
                (match.start() + end, match.start() + end, " ")
                for match in _ANY_WORD.finditer(text)
                for end in self._ends(start + match.start(), match[0])
            ]
        for begin, end, instead in sorted(edits, reverse=True):
            text = text[:begin] + instead + text[end:]
        return text

    def _is_raised(self, start: int) -> bool:
        """Return whether a digit stands above the line of the letter before it, as the number of a footnote does."""
        before, digit = self.box(start - 1), self.box(start)
        return before is not None and digit is not None and is_raised(digit, before)

    def _ends(self, start: int, word: str) -> list[int]:
        boxes = [box for number in range(len(word)) if (box := self.box(start + number)) is not None]
        return word_ends(boxes, self._em(start)) if len(boxes) == len(word) else []

    def _em(self, position: int) -> float:
        """Return the size of the font at a character, as it stands on the page; 0 when it is not known."""
        number = raw.FPDFText_GetCharIndexFromTextIndex(self._page, self._unit(position))
        matrix = raw.FS_MATRIX()
        if number < 0 or not raw.FPDFText_GetMatrix(self._page, number, ctypes.byref(matrix)):
            return 0.0
        return float(raw.FPDFText_GetFontSize(self._page, number)) * math.hypot(matrix.a, matrix.b)


def _letters(page: pypdfium2.PdfPage, textpage: pypdfium2.PdfTextPage, text: str) -> _Letters:
    paper = page.get_bbox()
    return _Letters(textpage, text, paper, cut=paper != page.get_mediabox())


def _is_undecodable(textpage: pypdfium2.PdfTextPage, text: str) -> bool:
    """Return whether a page shows letters that nobody can tell. Looks at a sample before it looks at each of them."""
    total = raw.FPDFText_CountChars(textpage)
    check = raw.FPDFText_HasUnicodeMapError
    sample = range(0, total, max(total // _SAMPLE, 1))
    if (
        not is_suspect(text[:: max(len(text) // _SAMPLED_CHARS, 1)])
        and sum(check(textpage, number) == 1 for number in sample) <= len(sample) / 4
    ):
        return False
    printed = [number for number in range(total) if raw.FPDFText_GetUnicode(textpage, number) not in _BLANKS]
    unmapped = sum(check(textpage, number) == 1 for number in printed)
    return is_undecodable(text, unmapped / max(len(printed), 1))


@dataclass(slots=True)
class _Annotations:
    printed: bool = False
    comments: list[str] = field(default_factory=list)


_NONE = _Annotations()


def _annotations(page: pypdfium2.PdfPage, total: int, found: PageText) -> _Annotations:
    """Return what hangs on a page: whether something of it is printed, and the comments."""
    kinds = _Annotations()
    for number in range(min(total, _MAX_ANNOTATIONS)):
        with _annotation(page, number) as annotation:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if raw.FPDFAnnot_GetFlags(annotation) & _HIDDEN:
                continue
            if kind in _PRINTED:
                kinds.printed = True
            elif kind in _COMMENTS:
                if comment := _contents(annotation):
                    kinds.comments.append(f"[comment] {comment}")
            elif kind == raw.FPDF_ANNOT_FILEATTACHMENT:
                found.attachments += 1
    return kinds


@contextlib.contextmanager
def _annotation(page: pypdfium2.PdfPage, number: int) -> Iterator[Any]:
    annotation = raw.FPDFPage_GetAnnot(page, number)
    try:
        yield annotation
    finally:
        raw.FPDFPage_CloseAnnot(annotation)


def _printed(document: pypdfium2.PdfDocument, index: int) -> list[PageLine]:
    """Return the lines of filled fields, free text and stamps, in their order.

    Flattening draws them into the page as one object, which holds an object for each. Only one is active at a time.
    """
    with contextlib.closing(document[index]) as page:
        if raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY) != raw.FLATTEN_SUCCESS:
            return []
    with contextlib.closing(document[index]) as page:
        total = raw.FPDFPage_CountObjects(page)
        drawn = raw.FPDFPage_GetObject(page, total - 1)
        if total < 1 or raw.FPDFPageObj_GetType(drawn) != raw.FPDF_PAGEOBJ_FORM:
            return []
        for number in range(total - 1):
            raw.FPDFPageObj_SetIsActive(raw.FPDFPage_GetObject(page, number), False)
        parts = [
            raw.FPDFFormObj_GetObject(drawn, number) for number in range(raw.FPDFFormObj_CountObjects(drawn))
        ]
        if len(parts) > _MAX_APART:
            return _lines(page)
        lines: list[PageLine] = []
        for part in parts:
            raw.FPDFPageObj_SetIsActive(part, False)
        for part in parts:
            raw.FPDFPageObj_SetIsActive(part, True)
            lines += _lines(page)
            raw.FPDFPageObj_SetIsActive(part, False)
        return lines


def _lines(page: pypdfium2.PdfPage) -> list[PageLine]:
    with contextlib.closing(page.get_textpage()) as textpage:
        text = textpage.get_text_range()
        if _is_undecodable(textpage, text):
            return []
        return [line for line in _letters(page, textpage, text).lines() if line.text.strip()]


def _leave_out_layers(page: pypdfium2.PdfPage, off: frozenset[str], found: PageText) -> None:
    """Switch the objects of a page off that stand on one of these layers, also those within other objects."""
    waiting = [(raw.FPDFPage_GetObject(page, number), 0) for number in range(raw.FPDFPage_CountObjects(page))]
    while waiting:
        drawn, depth = waiting.pop()
        if layers := _layers_of(drawn) & off:
            raw.FPDFPageObj_SetIsActive(drawn, False)
            found.left_out |= layers
        elif depth < _MAX_NESTED_FORMS and raw.FPDFPageObj_GetType(drawn) == raw.FPDF_PAGEOBJ_FORM:
            total = raw.FPDFFormObj_CountObjects(drawn)
            waiting += [(raw.FPDFFormObj_GetObject(drawn, number), depth + 1) for number in range(total)]


def _layers_of(drawn: Any) -> frozenset[str]:
    marks = [raw.FPDFPageObj_GetMark(drawn, number) for number in range(raw.FPDFPageObj_CountMarks(drawn))]
    return frozenset(_layer_name(mark) for mark in marks if _mark_name(mark) == "OC")


def _mark_name(mark: Any) -> str:
    buffer, length = (ctypes.c_ushort * _MAX_NAME)(), ctypes.c_ulong()
    size = ctypes.sizeof(buffer)
    there = raw.FPDFPageObjMark_GetName(mark, buffer, size, ctypes.byref(length))
    return _from_utf16(buffer, length.value) if there else ""


def _layer_name(mark: Any) -> str:
    buffer, length = (ctypes.c_ushort * _MAX_NAME)(), ctypes.c_ulong()
    size = ctypes.sizeof(buffer)
    there = raw.FPDFPageObjMark_GetParamStringValue(mark, b"Name", buffer, size, ctypes.byref(length))
    return _from_utf16(buffer, length.value) if there else ""


def _contents(annotation: Any) -> str:
    """Return what somebody wrote into an annotation, on one line."""
    length = raw.FPDFAnnot_GetStringValue(annotation, b"Contents", None, 0)
    buffer = (ctypes.c_ushort * (length // 2 + 1))()
    raw.FPDFAnnot_GetStringValue(annotation, b"Contents", buffer, ctypes.sizeof(buffer))
    return " ".join(_from_utf16(buffer, length).split())


def _from_utf16(buffer: Any, length: int) -> str:
    """Return a string that pdfium wrote into a buffer: UTF-16, `length` bytes with the zero at its end."""
    return bytes(buffer)[: max(length - 2, 0)].decode("utf-16-le", "replace")
