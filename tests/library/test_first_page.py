"""What the beginning of a text says about the document."""

import time

import pytest

from research_shared.documents import DocumentInfo, Identity
from research_shared.formats import NO_METADATA, Metadata, media_type_of
from research_shared.reading.filters import day_range
from research_shared.reading.first_page import with_first_page
from research_shared.reading.front_matter import front_matter


def said_by(text: str, path: str = "note.md", declared: Metadata = NO_METADATA) -> Metadata:
    media_type = media_type_of(path)
    assert media_type is not None
    info = DocumentInfo(path=path, root="research", media_type=media_type, identity=Identity(1, 1, 1, 1, 1))
    return with_first_page(info, declared, text.encode())


WHOLE = Metadata(
    title="Costs: a plan",
    authors=("Ann Lee", "Bo Ek"),
    date="2024-03-01",
    language="en",
    tags=("q3", "supply chain"),
)


@pytest.mark.parametrize(
    "text",
    [
        '---\ntitle: "Costs: a plan"\nauthors: [Ann Lee, "Bo Ek"]\ndate: 2024-03-01\nlang: en\ntags: q3, supply chain\n---\n# Other\n',
        "---\nTitle: 'Costs: a plan'\nauthor:\n  - name: Ann Lee\n    affiliation: ACME\n  - Bo Ek\ndate: 2024-03-01 10:00:00 # local time\nlanguage: en\ntags:\n- '#q3'\n- supply chain\n...\n",
        "---\r\ntitle: >\r\n  Costs:\r\n  a plan\r\nauthor: Ann Lee and Bo Ek\r\ndate: 1 March 2024\r\nlang: en\r\nkeywords: [q3, supply chain]\r\n---\r\n",
        '+++\ntitle = "Costs: a plan"\nauthors = ["Ann Lee", {name = "Bo Ek"}]\ndate = 2024-03-01\nlang = "en"\ntags = ["q3", "supply chain"]\n+++\n',
    ],
)
def test_front_matter_is_read_in_the_forms_that_people_write(text: str) -> None:
    assert said_by(text) == WHOLE


@pytest.mark.parametrize(
    ("written", "authors"),
    [
        ("[Ann Lee, 'van der Berg, Bo']", ("Ann Lee", "van der Berg, Bo")),
        ("['Ek, Bo' , \"Lee, Ann\" ]", ("Ek, Bo", "Lee, Ann")),
        ("[Ann Lee, 'O''Neil, Bo']", ("Ann Lee", "O'Neil, Bo")),
        ('["Ann \\"An\\" Lee", Bo Ek]', ('Ann "An" Lee', "Bo Ek")),
        ("[Ann O'Neil, Bo 'B' Ek]", ("Ann O'Neil", "Bo 'B' Ek")),
        ("\n  - 'van der Berg, Bo Anders'\n  - Ann Lee", ("van der Berg, Bo Anders", "Ann Lee")),
    ],
)
def test_a_name_in_quotation_marks_is_one_author(written: str, authors: tuple[str, ...]) -> None:
    assert said_by(f"---\nauthor: {written}\n---\n").authors == authors


@pytest.mark.parametrize(
    "text",
    [
        "---\ntitle: never closed\n",
        "---\n\n---\n",
        "text\n---\ntitle: later\n---\n",
        "---\n- a\n- b\n---\n",
        "+++\nno = toml = at all\n+++\n",
        "+++\na = " + "[" * 5_000 + "\n+++\n",
        "",
    ],
)
def test_what_is_no_front_matter_says_nothing(text: str) -> None:
    assert said_by(text, "note.txt") == NO_METADATA


def test_front_matter_made_to_take_long_does_not() -> None:
    bombs = (
        "---\na: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a, *a]\n" for n in range(150)) + "---\n",
        "---\ntitle: " + "a " * 8_000 + "\n---\n",
        "---\ntags: " + "[" * 8_000 + "\n---\n",
        "---\n" + ("a" * 60 + " ") * 250 + "\n---\n",
        "# " + "*" * 16_000,
        "# " + "[" * 16_000,
    )
    started = time.process_time()
    for bomb in bombs:
        said_by(bomb)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# The *first* [heading](a.md) {#id}\n# Second", "The first heading"),
        ("```\n# a comment\n```\n## Real\n", "Real"),
        ("Underlined\n==========\n", "Underlined"),
        ("just text\n", ""),
    ],
)
def test_the_first_heading_of_markdown_is_its_title(text: str, title: str) -> None:
    assert said_by(text).title == title
    assert said_by(text, "note.txt").title == ""


def test_a_declared_title_comes_before_a_heading_and_front_matter_before_both() -> None:
    assert said_by("# Heading", declared=Metadata(title="Declared")).title == "Declared"
    assert said_by("---\ntitle: Front\n---\n# Heading").title == "Front"


@pytest.mark.parametrize(
    ("text", "path", "date"),
    [
        ("# Minutes\n**Date:** 2023-05-01\n", "a.md", "2023-05-01"),
        ("Minutes\n\n  Dated 1 May 2023.\n", "a.txt", "2023-05-01"),
        ("A paper\nAugust 16, 2010\nAbstract\n", "a.pdf", "2010-08-16"),
        ("# Minutes of 2023-05-01\n", "a.md", "2023-05-01"),
        ("text\n", "minutes 2023-05-01.txt", "2023-05-01"),
        ("We met on 2023-05-01 and went home.\n", "a.txt", ""),
        ("2023\n", "a.txt", ""),
        ("x\n" * 40 + "2023-05-01\n", "a.txt", ""),
    ],
)
def test_only_a_line_that_is_a_date_or_a_title_or_file_name_with_one_dates_a_document(
    text: str, path: str, date: str
) -> None:
    assert said_by(text, path).date == date


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ("Flat Datacenter Storage\nEdmund Nightingale\nAbstract", "Flat Datacenter Storage"),
        (
            "Operating System Support for\nConsolidating Workloads\nAnn Lee\nABSTRACT",
            "Operating System Support for Consolidating Workloads",
        ),
        (
            "Implementing the LFU\ncache eviction scheme\n1 Introduction",
            "Implementing the LFU cache eviction scheme",
        ),
        ("Dear Sirs,\nwe regret", ""),
        ("12\nA Title of a Paper\nAbstract", ""),
        ("Abstract", ""),
    ],
)
def test_the_first_line_of_a_paper_is_its_title(lines: str, title: str) -> None:
    assert said_by(lines, "a.pdf").title == title


@pytest.mark.parametrize(("number", "title"), [("1" * 5_000, ""), ("0x" + "f" * 6_000, "a")])
def test_a_number_of_thousands_of_digits_costs_the_front_matter_alone(number: str, title: str) -> None:
    found, _ = front_matter(["+++", "title = 'a'", f"x = {number}", "+++", "text"])
    assert found == Metadata(title=title)


def test_the_last_year_of_the_calendar_is_a_date() -> None:
    assert [str(day) for day in day_range("9999")] == ["9999-01-01", "9999-12-31"]
    assert [str(day) for day in day_range("9999-12")] == ["9999-12-01", "9999-12-31"]
