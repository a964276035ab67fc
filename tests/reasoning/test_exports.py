"""Answers as files: Markdown with footnotes, BibTeX and CSL-JSON, from what documents say about themselves."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from research_reasoning.exports.bibtex import escaped_for_tex
from research_reasoning.exports.markdown import plain_text
from research_reasoning.exports.references import person_names, unique_keys
from research_shared.formats import Metadata
from support.carriers import connected
from support.pdf_files import plain_pdf
from support.scripted import Reply, ScriptedModel

QUESTION = "What do the networks do about timing?"
HOSTILE = '50% of "onions" & {layers}} { \\input{x} [^1] <b>$a_1^2~#</b>'
FRONT = f"---\ntitle: '{HOSTILE}'\nauthor:\n  - Ann Lee\n  - World Health Organization\ndate: 2021-05-03\nlang: en\n---\n"
DATE = {
    "type": "object",
    "properties": {
        "date-parts": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": ["string", "number"]}},
        }
    },
    "additionalProperties": False,
}
TEXT = {"type": "string"}
CSL_ITEMS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "id"],
        "additionalProperties": False,
        "properties": {
            **dict.fromkeys(("title", "language", "URL", "medium", "note"), TEXT),
            "id": {"type": ["string", "number"]},
            "type": {
                "enum": [
                    "book",
                    "dataset",
                    "document",
                    "personal_communication",
                    "report",
                    "speech",
                    "webpage",
                ]
            },
            "issued": DATE,
            "author": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": dict.fromkeys(("family", "given", "literal"), TEXT),
                    "additionalProperties": False,
                },
            },
        },
    },
}
"""What of the official schema (csl-data.json, version 1.0.2) concerns the members that are written."""


@pytest.fixture
def described(folder: Path) -> Path:
    tor = folder / "tor.md"
    tor.write_text(FRONT + tor.read_text("utf-8"), encoding="utf-8")
    return folder


async def exported(
    folder: Path, export: str, carrier: str = "extractive", model: ScriptedModel | None = None, **changes: Any
) -> str:
    url = changes.pop("document_url", "https://dms.example/{path}#page={page}")
    async with connected(carrier, folder, model, document_url=url) as session:
        result = await session.client.call_tool(
            "synthesize_research",
            {
                "research_question": QUESTION,
                "export": export,
                "document_paths": ["tor.md", "no.md", "notes/mix.txt"],
            }
            | changes,
        )
    assert result.structured_content is not None
    file = result.structured_content["export"]
    assert file["format"] == export
    text: str = result.content[0].text  # type: ignore[union-attr]
    assert file["content"] in text
    return str(file["content"])


def footnotes(text: str) -> tuple[list[str], dict[str, str]]:
    """The marks in a text in their order, and the notes by their mark."""
    notes = dict(re.findall(r"^\[\^([\w-]+)\]: (.*)$", text, re.MULTILINE))
    body = re.sub(r"^\[\^[\w-]+\]: .*$", "", text, flags=re.MULTILINE)
    return re.findall(r"(?<!\\)\[\^([\w-]+)\]", body), notes


async def test_each_mark_of_the_markdown_has_its_one_note_and_each_note_a_mark(described: Path) -> None:
    text = await exported(described, "markdown", "modern-memory", ScriptedModel())
    marks, notes = footnotes(text)
    assert text.startswith(f"# {QUESTION}\n\n> INCOMPLETE: 1 of 3 documents was skipped")
    assert set(marks) == set(notes)
    assert len(notes) == len(re.findall(r"^\[\^", text, re.MULTILINE))
    assert {"1", "3"} <= set(notes)
    assert "[tor.md](<https://dms.example/tor.md>)" in notes["1"]
    assert "Ann Lee; World Health Organization. *50% of" in notes["1"]
    assert any(note.startswith("“Mix networks delay") and "line 3" in note for note in notes.values())


async def test_a_note_links_to_the_page_of_its_quote(folder: Path) -> None:
    (folder / "paged.pdf").write_bytes(
        plain_pdf("The first page is on gardens.", "The networks hide timing by their delays.")
    )
    text = await exported(folder, "markdown", document_paths=["paged.pdf"])
    _, notes = footnotes(text)
    assert "[paged.pdf, p. 2, line 2](<https://dms.example/paged.pdf#page=2>)" in notes["1-1"]


async def test_what_a_model_writes_makes_no_footnotes(described: Path) -> None:
    combined = {
        "answered": True,
        "synthesis": "Layers [1, p. 3]; see [^9] and `x[1]`.\n\n[^1]: fake",
        "insights": [{"claim": "Layers [^7] hide.", "evidence": ["1.1"]}],
    }
    model = ScriptedModel({"combine": [Reply(json.dumps(combined))]})
    text = await exported(described, "markdown", "handshake-memory", model)
    assert "Layers [^1], p. 3; see \\[^9] and `x[1]`.\n\n\\[^1] : fake" in text
    marks, notes = footnotes(text)
    assert set(marks) == set(notes) == {"1", "1-1"}


@pytest.mark.parametrize("layout", ["table", "timeline"])
async def test_tables_and_timelines_are_exported_with_a_note_for_each_entry(
    described: Path, layout: str
) -> None:
    sentence = "On 12 March 2021 the networks changed their timing.\n"
    with (described / "tor.md").open("a", encoding="utf-8") as file:
        file.write(f"\n{sentence}")
    more: dict[str, Any] = {"format": layout} | (
        {"aspects": ["timing", "latency"]} if layout == "table" else {}
    )
    text = await exported(described, "markdown", **more)
    marks, notes = footnotes(text)
    assert set(marks) == set(notes)
    assert len([mark for mark in marks if "-" in mark]) == (3 if layout == "table" else 1)
    assert ("not stated" in text) is (layout == "table")
    assert ("- **2021-03-12** (12 March 2021): " in text) is (layout == "timeline")


async def test_no_backslash_makes_or_breaks_a_footnote_or_a_cell(described: Path) -> None:
    (described / "tor.md").write_text(
        "---\ntitle: A | B\n---\nOnion routing hides who talks.\n", encoding="utf-8"
    )
    quote = "Onion routing hides who talks"
    row = [{"aspect": 1, "claim": "a \\| b \\[^x] \\", "quotes": [quote]}]
    text = await exported(
        described,
        "markdown",
        "handshake-memory",
        ScriptedModel({"row": [Reply(json.dumps({"relevant": True, "findings": row}))]}),
        format="table",
        aspects=["who"],
        document_paths=["tor.md"],
    )
    assert "| A \\| B[^1] | a \\| b \\[^x] \\\\[^1-1] |" in text
    combined = {
        "answered": True,
        "synthesis": "Who \\[1]; what \\\\[^9].",
        "insights": [{"claim": "It hides \\", "evidence": ["1.1"]}],
    }
    model = ScriptedModel({"combine": [Reply(json.dumps(combined))]})
    text = await exported(described, "markdown", "handshake-memory", model)
    assert "Who [^1]; what \\\\\\[^9]." in text
    assert "- It hides \\\\[^1-" in text
    marks, notes = footnotes(text.replace("\\\\", ""))
    assert set(marks) == set(notes)


async def test_bibtex_escapes_what_tex_would_act_on(described: Path) -> None:
    text = await exported(described, "bibtex")
    entries = re.findall(r"^@misc\{([a-z0-9-]+),$", text, re.MULTILINE)
    assert entries == ["lee2021of", "mix"]
    title = re.search(r"title = \{\{(.*)\}\},", text)
    assert title is not None
    assert title[1] == escaped_for_tex(HOSTILE)
    assert "author = {Lee, Ann and {World Health Organization}}," in text
    assert "  year = {2021},\n  month = may,\n  day = {3},\n  language = {en}," in text
    assert "url = {https://dms.example/notes/mix.txt}," in text
    for entry in text.split("\n\n"):
        assert entry.count("{") == entry.count("}")  # BibTeX counts those behind a backslash, too
        assert entry.rstrip().endswith("\n}")
        for field in re.findall(r" = \{(.*)\},$", entry, re.MULTILINE):
            assert not re.search(r"(?<!\\)[%&#$_^~<>|\"]", re.sub(r"https?://\S*", "", field))


async def test_csl_json_is_of_the_shape_of_its_schema(described: Path) -> None:
    items = json.loads(await exported(described, "csl-json"))
    jsonschema.validate(items, CSL_ITEMS)
    first = items[0]
    assert (first["id"], first["type"], first["title"]) == ("lee2021of", "document", HOSTILE)
    assert first["author"] == [{"family": "Lee", "given": "Ann"}, {"literal": "World Health Organization"}]
    assert first["issued"] == {"date-parts": [[2021, 5, 3]]}
    assert (first["language"], first["URL"]) == ("en", "https://dms.example/tor.md")
    assert items[1]["title"] == "mix.txt"
    assert "author" not in items[1]


async def test_without_a_document_system_nothing_is_linked(described: Path) -> None:
    text = await exported(described, "markdown", document_url=None)
    assert "](" not in text
    assert "URL" not in json.loads(await exported(described, "csl-json", document_url=None))[0]


async def test_an_export_asks_no_model_again(described: Path) -> None:
    model = ScriptedModel()
    await exported(described, "bibtex", "modern-memory", model)
    assert model.counts == {"evidence": 2, "combine": 1}


async def test_another_format_is_refused_with_those_that_there_are(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        error = await session.fail("synthesize_research", research_question=QUESTION, export="docx")
    assert error["code"] == "invalid_arguments"
    assert "csl-json" in error["message"] + error["hint"]


def test_keys_are_ascii_and_unique() -> None:
    same = Metadata(authors=("Łukasz Ångström-Żak",), date="2020", title="The Tides")
    sources = [(1, same, "a.md"), (2, same, "b.md"), (3, Metadata(), "Ю.md"), (4, Metadata(), "x/Ю.txt")]
    keys = unique_keys([*sources, (5, Metadata(), "2020.pdf"), (6, Metadata(title="Ab Cd"), "q")])
    assert keys == [
        "angstromzak2020tides",
        "angstromzak2020tides-2",
        "source3",
        "source4",
        "source5",
        "abcd",
    ]


@pytest.mark.parametrize(
    ("author", "names"),
    [
        ("Lee, Ann", ("Lee", "Ann")),
        ("Ann B. Lee", ("Lee", "Ann B.")),
        ("Bo van der Berg", ("van der Berg", "Bo")),
        ("Plato", None),
        ("Smith, John, Jr.", None),
        ("Ministry of Health", None),
        ("Martin Luther King Jr.", None),
        ("Ann Lee, Ph.D.", None),
        ("Deutsche Forschungsgemeinschaft", None),
        ("European Parliament", None),
        ("Department of Energy, Office of Science", None),
        ("Press, William H.", ("Press", "William H.")),
        ("Paul Harcourt", ("Harcourt", "Paul")),
        ("王 小明", None),
        ("김 민수", None),
        ("", None),
    ],
)
def test_names_are_parted_where_they_tell(author: str, names: tuple[str, str] | None) -> None:
    assert person_names(author) == names


def test_plain_text_is_plain_in_markdown() -> None:
    assert plain_text("a|b\n[x](https://e.example) www.e.example a@b.example *y* [^1]") == (
        r"a\|b \[x\](https\://e.example) www\.e.example a\@b.example \*y\* \[^1\]"
    )
