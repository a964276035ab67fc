"""In which order the lines of a page are read, and which letters are none, from numbers alone."""

import pytest

from research_shared.formats._pdf.layout import (
    Box,
    PageLine,
    Segment,
    blocks_of,
    columns_first,
    is_raised,
    is_undecodable,
    rows_of,
    stand_apart,
    vertical_lines_from_the_right,
    with_fields,
    word_ends,
)

SIZE = 10.0


def box(left: float, top: float, width: float, height: float = SIZE) -> Box:
    return Box(left, top - height, left + width, top)


def page_of_columns(*rows: tuple[str, str], right: float = 300) -> list[str]:
    """The lines of a page whose file holds the rows one by one, each with a left and a right part."""
    boxes, lines, starts = [], list[PageLine](), list[list[int]]()
    at, top = 0, 700.0
    for left_text, right_text in rows:
        text = f"{left_text} {right_text}"
        parts = [box(50, top, 6.0 * len(left_text)), box(right, top, 6.0 * len(right_text))]
        lines.append(PageLine(text=text, start=at, box=parts[0].around(parts[1])))
        starts.append([at, at + len(left_text) + 1])
        boxes += parts
        at += len(text) + 2
        top -= 14
    located = [
        [
            [Segment(start, part) for start, part in zip(starts[number], row, strict=True)]
            for number, row in enumerate(block)
        ]
        for block in blocks_of(rows_of(boxes))
    ]
    return [line.text for line in columns_first(lines, located)]


PROSE = (
    ("The committee met in spring", "Costs rose in every year"),
    ("and agreed on a new plan", "because energy was scarce"),
    ("for the northern harbours", "and wages followed prices"),
)


def test_columns_of_prose_are_read_one_after_the_other() -> None:
    left, right = zip(*PROSE, strict=True)
    assert page_of_columns(*PROSE) == [*left, *right]


@pytest.mark.parametrize(
    "rows",
    [
        PROSE[:2],
        (
            ("Total revenue of region", "12 14 16 18"),
            ("Total costs of region", "13 15 17 19"),
            ("and a third row", "1 2 3 4"),
        ),
        (("Norway", "is large"), ("Sweden", "is larger"), ("Denmark", "is flat")),
        (
            ("Name of the first client", "Paid in the first week"),
            ("Name of the second client", "Paid in the second week"),
            ("Name of the third client", "Paid in the third week"),
        ),
    ],
    ids=["too few rows", "numbers", "single words", "rows that begin anew"],
)
def test_rows_of_a_table_stay_together(rows: tuple[tuple[str, str], ...]) -> None:
    assert page_of_columns(*rows) == [f"{left} {right}" for left, right in rows]


def test_words_of_one_line_are_one_part() -> None:
    words = [box(50, 700, 30), box(83, 700, 30), box(116, 700, 30)]
    assert list(rows_of(words)) == [[Box(50, 690, 146, 700)]]
    assert not stand_apart(words)
    assert stand_apart([box(50, 700, 30), box(95, 700, 30)])


def test_rows_whose_gutters_differ_are_no_columns() -> None:
    rows = [
        [box(50, 700 - 14 * number, 100), box(left, 700 - 14 * number, 50)]
        for number, left in enumerate((160, 300, 160))
    ]
    rows[1][0] = box(50, 686, 240)
    assert list(blocks_of(rows)) == []


def vertical(text: str, left: float, *, upright: bool = True) -> PageLine:
    return PageLine(text=text, box=box(left, 700, SIZE, 200), upright=upright)


def test_vertical_lines_are_read_from_the_right() -> None:
    heading = PageLine(text="見出し", box=box(50, 760, 30))
    lines = [heading, vertical("来年", 50), vertical("市場", 90), vertical("対象", 70)]
    ordered = [line.text for line in vertical_lines_from_the_right(lines)]
    assert ordered == ["見出し", "市場", "対象", "来年"]


@pytest.mark.parametrize(
    "lines",
    [
        [vertical("Norway", 50), vertical("Sweden", 70)],
        [vertical("来年", 50, upright=False), vertical("市場", 90, upright=False)],
    ],
    ids=["letters of other scripts", "turned lines"],
)
def test_lines_that_are_not_written_downwards_keep_their_order(lines: list[PageLine]) -> None:
    assert vertical_lines_from_the_right(lines) == lines


def letters(*gaps: float) -> list[Box]:
    """Boxes of letters of 5 points, with these gaps between them."""
    at, found = 0.0, [box(0, 700, 5)]
    for gap in gaps:
        at += 5 + gap
        found.append(box(at, 700, 5))
    return found


@pytest.mark.parametrize(
    ("gaps", "ends"),
    [
        ((0, 1, 0, 0, 1.2, 0), [2, 5]),
        ((0, 0.9, 0, 0, 0.5, 0), []),
        ((1, 1, 1, 2, 1, 1), []),
        ((), []),
    ],
    ids=["gaps from a tenth of the size", "smaller gaps", "spaced letters", "one letter"],
)
def test_gaps_that_people_see_are_spaces(gaps: tuple[float, ...], ends: list[int]) -> None:
    assert word_ends(letters(*gaps), SIZE) == ends


def test_a_small_digit_above_the_line_is_raised() -> None:
    letter = box(50, 700, 5)
    assert is_raised(box(55, 703, 3, 6), letter)
    assert not is_raised(box(55, 700, 5), letter)
    assert not is_raised(box(55, 696, 3, 6), letter)


def test_what_a_field_holds_stands_behind_its_label_or_below_it() -> None:
    label = PageLine(text="Client:", box=box(50, 700, 40))
    above = PageLine(text="Remarks", box=box(50, 660, 40))
    footer = PageLine(text="Page 1", box=box(50, 100, 40))
    beside = PageLine(text="Marlowe", box=box(100, 700, 50))
    below = PageLine(text="none", box=box(55, 640, 50))
    nowhere = PageLine(text="stamp", box=box(10, 790, 20))
    found = with_fields([label, above, footer], [beside, below, nowhere])
    assert [line.text for line in found] == ["Client: Marlowe", "Remarks", "none", "Page 1", "stamp"]


@pytest.mark.parametrize(
    ("text", "unmapped", "undecodable"),
    [
        ("The board approved the merger", 0.0, False),
        ("The board approved the merger", 1.0, False),
        ("7KH ERDUG DSSURYHG WKH PHUJHU", 1.0, True),
        ("&41\x01.;->0\x01-<<>;B10\x01@41", 1.0, True),
        ("&41\x01.;->0\x01-<<>;B10\x01@41", 0.1, False),
        ("\ue001\ue002 \ue003\ue004 a", 0.0, True),
        ("\ufffd\ufffd\ufffd", 0.0, True),
        ("see \ue001 there", 0.0, False),
        (" \n", 1.0, False),
    ],
)
def test_characters_that_are_no_letters_are_told_from_words(
    text: str, unmapped: float, *, undecodable: bool
) -> None:
    assert is_undecodable(text, unmapped) is undecodable
