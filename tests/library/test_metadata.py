"""What is kept of what a document says about itself."""

import pytest

from research_shared.formats import NO_METADATA, Metadata


def test_what_programs_fill_in_is_no_title_and_no_author() -> None:
    said = Metadata.of(title="Microsoft Word - draft.doc", authors=["python-docx", "Ann Lee"])
    assert said == Metadata(authors=("Ann Lee",))
    assert Metadata.of(title="thesis.dvi", authors=["Administrator"]) == NO_METADATA
    assert Metadata.of(title="Plan of Jim.doc") == NO_METADATA
    assert Metadata.of(title="About node.js").title == "About node.js"


def test_metadata_are_on_one_line_bounded_and_without_hidden_characters() -> None:
    said = Metadata.of(
        title="One\r\n\u202etwo\u0007  three" + "x" * 1_000,
        authors=["A\nB"],
        tags=["#q3", "", "q3", " plan "],
    )
    assert said.title.startswith("One two three")
    assert len(said.title) == 300
    assert said.authors == ("A B",)
    assert said.tags == ("q3", "plan")
    assert len(Metadata.of(authors=[f"Name {n}" for n in range(500)]).authors) == 50


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Ann Lee, Bo Ek and Cy Day", ("Ann Lee", "Bo Ek", "Cy Day")),
        ("Lee, Ann; Ek, Bo", ("Lee, Ann", "Ek, Bo")),
        ("Lee, Ann", ("Lee, Ann",)),
        ("Anderson Sand & Land", ("Anderson Sand", "Land")),
        ("", ()),
    ],
)
def test_names_in_one_text_are_parted(text: str, names: tuple[str, ...]) -> None:
    assert Metadata.of(authors=[text]).authors == names


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("D:20230501093000+02'00'", "2023-05-01"),
        ("D:2023", "2023"),
        ("20230501", "2023-05-01"),
        ("2023-05-01T09:30:00Z", "2023-05-01"),
        ("2023-05", "2023-05"),
        ("1 May 2023", "2023-05-01"),
        ("Sept. 3, 2023", "2023-09-03"),
        ("May 2023", "2023-05"),
        ("2023-02-31", ""),
        ("0000-01-01", ""),
        ("202305019", ""),
        ("soon", ""),
    ],
)
def test_dates_become_iso_dates_as_far_as_they_tell(text: str, iso: str) -> None:
    assert Metadata.of(date=text).date == iso


def test_what_is_missing_comes_from_another_source() -> None:
    first = Metadata(title="A", date="2020")
    assert first.or_else(Metadata(title="B", authors=("C",))) == Metadata(
        title="A", authors=("C",), date="2020"
    )


@pytest.mark.parametrize(
    "kept",
    [
        None,
        [],
        "title",
        {"title": 1},
        {"authors": "Ann"},
        {"authors": [1]},
        {"tags": [None]},
        {"path": "/etc"},
    ],
)
def test_metadata_of_another_shape_are_refused(kept: object) -> None:
    with pytest.raises(TypeError):
        Metadata.unpacked(kept)


def test_packed_metadata_come_back() -> None:
    said = Metadata(title="A", authors=("B",), date="2020", language="pt-BR", tags=("c",))
    assert Metadata.unpacked(said.packed()) == said
    assert Metadata.unpacked(NO_METADATA.packed()) == NO_METADATA
