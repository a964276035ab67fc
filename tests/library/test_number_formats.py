"""Numbers as the cells of a sheet show them."""

import pytest

from research_shared.formats._parts.number_format import NumberFormat
from research_shared.formats.xlsx import open_xlsx
from support.office_files import SHEET, TYPES, links, package

CASES = [
    (1234567.891, "#,##0.00", "1,234,567.89"),
    (1234567.891, "#,##0", "1,234,568"),
    (0.1234, "0.0%", "12.3%"),
    (0.5, "0%", "50%"),
    (46085, "dd/mm/yyyy", "04/03/2026"),
    (46085, "d mmmm yyyy", "4 March 2026"),
    (46085.75, "yyyy-mm-dd hh:mm", "2026-03-04 18:00"),
    (0.75, "h:mm AM/PM", "6:00 PM"),
    (1234.5, "€#,##0.00", "€1,234.50"),
    (1234.5, '#,##0.00 "EUR"', "1,234.50 EUR"),
    (-55, "#,##0;(#,##0)", "(55)"),
    (12345678, "0.00E+00", "1.23E+07"),
    (42, '"No. "000', "No. 042"),
    (1500000, '0.0,,"M"', "1.5M"),
    (0.125, "# ?/?", "1/8"),
    (1234.5678, "0.00", "1234.57"),
    (3, "General", "3"),
    (46085, "mmm-yy", "Mar-26"),
    (0.0, '0.00;-0.00;"zero"', "zero"),
    (46085, "[$-409]dddd, mmmm dd, yyyy", "Wednesday, March 04, 2026"),
    (99.5, "_($* #,##0.00_)", "$ 99.50"),
    (1.5, "[h]:mm:ss", "36:00:00"),
    (5551234, "000-0000", "555-1234"),
    (-5, "0.0", "-5.0"),
    (0, "#,##0", "0"),
    (0, "#", ""),
    (5, "0.##", "5."),
    (0.5, ".00", ".50"),
    (12, "0.0#", "12.0"),
    (-1234.5, "#,##0.00_);[Red](#,##0.00)", "(1,234.50)"),
    (123, '[>100]"big";"small"', "big"),
    (50, '[>100]"big";"small"', "small"),
    (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
    (1234, '#,##0.0,"k"', "1.2k"),
    (0.0425, "0.00%", "4.25%"),
    (46085.5, "m/d/yy h:mm", "3/4/26 12:00"),
    (5, "00", "05"),
    (1.005, "0.00", "1.01"),
    (1000000000000000.0, "#,##0", "1,000,000,000,000,000"),
    (999999, "#,##0", "999,999"),
    (100, "#,##0", "100"),
    (0.001, "0", "0"),
    (-0.001, "0", "0"),
    (1.75, "# ?/?", "1 3/4"),
    (46085, 'yyyy"年"m"月"d"日"', "2026年3月4日"),
    (0.5, "mm:ss.0", "00:00.0"),
    (7, '"Q"0', "Q7"),
    (7, "@", ""),
    (1e21, "0", ""),
    (float("nan"), "0", ""),
    (-1, "d/m/y", ""),
    (5, "[>>1]0", "5"),
]


def test_a_number_is_shown_as_its_format_says() -> None:
    shown = {(value, code): NumberFormat(code).shown(value) for value, code, _ in CASES}
    assert list(shown.values()) == [wanted for *_, wanted in CASES]


def test_dates_count_from_1904_where_the_workbook_says_so() -> None:
    assert NumberFormat("yyyy-mm-dd").shown(0, from_1904=True) == "1904-01-01"
    assert NumberFormat("yyyy-mm-dd").shown(1) == "1900-01-01"


def formatted(rows: str) -> bytes:
    """A workbook whose styles 1 to 3 are euros, a long date and built-in percentages."""
    styles = (
        '<numFmts><numFmt numFmtId="164" formatCode="#,##0.00 &quot;€&quot;"/>'
        '<numFmt numFmtId="165" formatCode="d mmmm yyyy"/></numFmts>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="9"/></cellXfs>'
    )
    return package(
        {
            "_rels/.rels": links(officeDocument="xl/workbook.xml"),
            "xl/workbook.xml": f'<workbook xmlns="{SHEET}" xmlns:r="{TYPES}"><sheets>'
            '<sheet name="Data" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": links(worksheet="sheet1.xml", styles="styles.xml"),
            "xl/styles.xml": f'<styleSheet xmlns="{SHEET}">{styles}</styleSheet>',
            "xl/sheet1.xml": f'<worksheet xmlns="{SHEET}"><sheetData>{rows}</sheetData></worksheet>',
        }
    )


def test_a_cell_shows_what_people_see_and_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        '<row><c s="1"><v>1234567.5</v></c><c s="2"><v>46085</v></c><c s="3"><v>0.5</v></c>'
        '<c s="1"><v>no number</v></c><c><v>7</v></c></row>'
    )
    shown = "# Data\nA1: 1,234,567.50 € [1234567.5] | B1: 4 March 2026 [2026-03-04] | C1: 50% | D1: no number | E1: 7"
    assert list(open_xlsx(formatted(rows), 1, 1).texts) == [shown]
    monkeypatch.setattr("research_shared.formats.xlsx._MAX_FORMATTED", 1)
    assert list(open_xlsx(formatted(rows), 1, 1).texts) == [
        shown.replace("4 March 2026 [2026-03-04]", "2026-03-04")
    ]
