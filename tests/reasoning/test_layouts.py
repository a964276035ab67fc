"""Answers as tables and timelines: every entry has a quote that was looked up, or is not there."""

import json
from pathlib import Path
from typing import Any

import pytest

from research_reasoning.inquiry import MAX_TABLE_ROWS
from research_reasoning.layouts.table import QUESTION_AS_COLUMN, QUOTE_NOT_FOUND, aspect_number
from research_shared.text.dates import holds_date, normalised_date, stated_dates
from support.carriers import CARRIERS, connected
from support.scripted import Reply, ScriptedModel
from support.sizes import FULL

QUESTION = "What do the networks do about timing?"
NAMED = ["tor.md", "missing.md", "notes/mix.txt"]
ROUTES = (
    (*CARRIERS, "extractive")
    if FULL
    else ("modern-memory", "modern-replicas", "handshake-memory", "provider-openai", "extractive")
)
DATED = {
    "tor.md": "On 12 March 2021 the relays were renewed for better timing of the network.",
    "notes/mix.txt": "On 3 May 1998 the timing of the first mix network was measured by its operators.",
}


@pytest.fixture
def dated(folder: Path) -> Path:
    for path, sentence in DATED.items():
        with (folder / path).open("a", encoding="utf-8") as file:
            file.write(f"\n{sentence}\n")
    return folder


async def asked(folder: Path, carrier: str, model: ScriptedModel | None = None, **arguments: Any) -> Any:
    async with connected(carrier, folder, model) as session:
        result = await session.call("synthesize_research", **({"research_question": QUESTION} | arguments))
        assert session.progress[-1][0] == session.progress[-1][1]
        result["asked"] = dict(session.model.counts)
    return result


def entries(result: dict[str, Any]) -> dict[tuple[str, str], list[int]]:
    """The places of the stated cells, by document and aspect."""
    table = result["table"]
    return {
        (row["document"], aspect): cell["evidence"]["lines"]
        for row in table["rows"]
        for aspect, cell in zip(table["aspects"], row["cells"], strict=True)
        if cell["value"] is not None
    }


@pytest.mark.parametrize("carrier", ROUTES)
async def test_a_table_has_a_checked_quote_in_each_entry_on_every_route(folder: Path, carrier: str) -> None:
    result = await asked(
        folder, carrier, document_paths=NAMED, format="table", aspects=["timing", "encryption", "price"]
    )
    assert entries(result) == {
        ("tor.md", "timing"): [8, 8],
        ("tor.md", "encryption"): [3, 3],
        ("notes/mix.txt", "timing"): [3, 3],
        ("notes/mix.txt", "price"): [4, 5],
    }
    cells = [cell for row in result["table"]["rows"] for cell in row["cells"]]
    assert all(cell["evidence"]["verified"] for cell in cells if cell["value"] is not None)
    assert (result["table"]["stated"], result["answered"], result["key_insights"]) == (4, True, [])
    assert (result["sources_used"], result["sources_skipped"]) == (2, 1)
    assert result["synthesis"].splitlines()[0] == "| Document | timing | encryption | price |"
    assert "| [1] `tor.md` |" in result["synthesis"]
    assert result["synthesis"].count("not stated") == 2
    # No model combines a table.
    assert result["asked"] == ({} if carrier == "extractive" else {"row": 2})
    assert result["usage"]["rounds"] == (1 if carrier.startswith("modern") else 0)


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory"])
async def test_the_model_chooses_the_columns_in_the_round_of_the_queries(folder: Path, carrier: str) -> None:
    result = await asked(folder, carrier, format="table")
    assert result["table"]["aspects"] == ["timing", "layers"]
    assert result["asked"] == {"queries": 1, "aspects": 1, "rows": 1}
    assert result["usage"]["rounds"] == (2 if carrier.startswith("modern") else 0)
    assert result["selection"]["queries"][:3] == [QUESTION, "timing", "layers"]
    assert {("tor.md", "layers"), ("notes/mix.txt", "timing")} <= set(entries(result))
    named = await asked(folder, carrier, format="table", document_paths=["tor.md"])
    assert (named["table"]["aspects"], named["asked"]) == (["timing", "layers"], {"aspects": 1, "row": 1})


async def test_without_aspects_and_a_model_the_question_is_the_only_column(folder: Path) -> None:
    result = await asked(folder, "extractive", format="table", document_paths=["tor.md", "cache.md"])
    assert result["table"]["aspects"] == [QUESTION]
    assert QUESTION_AS_COLUMN in result["warnings"]
    # A model that gives no columns costs its call, and no more.
    mute = ScriptedModel({"aspects": [Reply("I would compare them.")]})
    result = await asked(folder, "handshake-memory", mute, format="table", document_paths=["tor.md"])
    assert result["table"]["aspects"] == [QUESTION]


@pytest.mark.parametrize("documents", [["tor.md"], None])
async def test_what_is_left_out_of_a_model_s_findings_is_counted(
    folder: Path, documents: list[str] | None
) -> None:
    quote = "Onion routing hides who talks to whom"
    findings = [
        {"aspect": 1, "claim": "Who talks to whom", "quotes": [quote]},
        {"aspect": 1, "claim": "All hops", "quotes": [quote]},
        {"aspect": 2, "claim": "Nothing", "quotes": ["nobody has ever written this sentence"]},
        {"aspect": 1, "quotes": [quote]},
        "a finding in prose",
    ]
    answer = Reply(json.dumps({"relevant": True, "findings": findings}))
    result = await asked(
        folder,
        "handshake-memory",
        ScriptedModel({"row": [answer], "rows": [answer], "queries": [Reply('{"queries": ["onion"]}')]}),
        aspects=["hidden", "song", "year"],
        **({"document_paths": documents} if documents else {"type": "md"}),
    )
    row = next(row for row in result["table"]["rows"] if row["document"] == "tor.md")
    assert row["cells"][0]["value"] == "Who talks to whom"
    assert result["table"]["unsupported"] == 1
    assert [warning for warning in result["warnings"] if warning.startswith(("findings", "entries"))] == [
        "findings of the model left out, which could not be read or were more than asked for: 2",
        "entries left out as not stated, because none of their quotes could be found: 1",
        "entries left out because their cell has another one of the same document and aspect: 1; ask for it alone to see all",
    ]


async def test_an_entry_without_a_quote_that_is_found_is_not_stated(folder: Path) -> None:
    quote = "Onion routing hides who talks to whom"
    findings = [
        {"aspect": 1, "claim": "7 layers", "quotes": [quote]},
        {"aspect": "2", "claim": "It sings.", "quotes": ["nobody has ever written this sentence"]},
        {"aspect": "Year | place", "claim": "a | b\nc", "quotes": [quote]},
        {"aspect": 4, "claim": "not stated", "quotes": [quote]},
        {"aspect": 5, "claim": "See [here](https://evil.example) [7]", "quotes": [quote]},
        {"aspect": 99, "claim": "Nowhere", "quotes": [quote]},
    ]
    answer = Reply(json.dumps({"relevant": True, "findings": findings}))
    result = await asked(
        folder,
        "handshake-memory",
        ScriptedModel({"row": [answer]}),
        document_paths=["tor.md"],
        aspects=["layers", "song", "Year | place", "nothing", "link"],
    )
    (row,) = result["table"]["rows"]
    values = [cell["value"] for cell in row["cells"]]
    assert values == ["7 layers", None, "a | b c", None, "See here (`https://evil.example`)"]
    assert row["cells"][0]["flags"] == ["the number 7 is in none of its quotes"]
    assert result["table"]["unsupported"] == 1
    assert result["not_answered"] == ["song", "nothing"]
    (line,) = result["synthesis"].splitlines()[2:]
    assert "| a \\| b c (line 3" in line
    assert line.replace("\\|", "").count("|") == 7
    assert "7 layers (NOT VERIFIED: the number 7" in line
    assert any(warning.startswith("entries left out as not stated") for warning in result["warnings"])


async def table_row_of(folder: Path, aspects: list[str], findings: list[dict[str, Any]]) -> Any:
    answer = Reply(json.dumps({"relevant": True, "findings": findings}))
    model = ScriptedModel({"row": [answer]})
    result = await asked(folder, "handshake-memory", model, document_paths=["tor.md"], aspects=aspects)
    return result["table"]["rows"][0]["cells"], result["warnings"]


async def test_an_entry_is_shown_and_judged_with_the_one_quote_that_holds_it(dated: Path) -> None:
    general, exact = "Onion routing hides who talks to whom", DATED["tor.md"]
    nowhere = "nobody has ever written this sentence"
    cells, warnings = await table_row_of(
        dated,
        ["renewal", "layers", "half"],
        [
            {"aspect": 1, "claim": "Renewed in 2021", "quotes": [general, exact]},
            {"aspect": 2, "claim": "7 layers since 2021", "quotes": [general, exact]},
            {"aspect": 3, "claim": "Renewed in 2021", "quotes": [nowhere, exact]},
        ],
    )
    assert [cell["evidence"]["quote"].rstrip(".") for cell in cells] == [
        exact.rstrip("."),
        general,
        exact.rstrip("."),
    ]
    assert [cell.get("flags", []) for cell in cells] == [
        [],
        ["the number 7 is in none of its quotes", "the number 2021 is in none of its quotes"],
        [QUOTE_NOT_FOUND],
    ]
    assert any(": 2; see the flags" in warning for warning in warnings)


async def test_an_aspect_is_found_however_it_is_written_and_else_counted(folder: Path) -> None:
    quote = "Onion routing hides who talks to whom"
    aspects = ["Cost", "Method", "Method of pay", "4-year use", "Five"]
    fitting = ["2. Method", "Cost (EUR)", "column 3: it", "[4]", "Aspect 5"]
    others = ["Methodical", "9. Else", "", "2 years", "3-month use"]
    for named, values, misplaced in ((fitting, ["b", "a", "c", "d", "e"], 0), (others, [None] * 5, 5)):
        findings = [
            {"aspect": aspect, "claim": "abcde"[at], "quotes": [quote]} for at, aspect in enumerate(named)
        ]
        cells, warnings = await table_row_of(folder, aspects, findings)
        assert [cell["value"] for cell in cells] == values
        left_out = [warning for warning in warnings if "name no aspect" in warning]
        assert [warning.rpartition(": ")[2] for warning in left_out] == [str(misplaced)] * bool(misplaced)
    said = ["method of pay (x)", "5. Method", "4-year use", "#2", '2 "Cost"', "2"]
    assert [aspect_number(each, aspects) for each in said] == [3, 2, 4, 2, 1, 2]


async def test_a_table_of_more_documents_than_a_reply_holds_is_refused(folder: Path) -> None:
    paths = [f"{number}.md" for number in range(MAX_TABLE_ROWS + 1)]
    async with connected("extractive", folder) as session:
        error = await session.fail(
            "synthesize_research", document_paths=paths, research_question=QUESTION, format="table"
        )
    assert error["code"] == "invalid_arguments"
    assert f"at most {MAX_TABLE_ROWS} rows" in error["message"]


@pytest.mark.parametrize("carrier", ROUTES)
async def test_a_timeline_is_in_the_order_of_the_dates_on_every_route(dated: Path, carrier: str) -> None:
    result = await asked(dated, carrier, format="timeline")
    events = result["timeline"]["events"]
    assert [(event["iso"], event["date"]) for event in events] == [
        ("1998-05-03", "3 May 1998"),
        ("2021-03-12", "12 March 2021"),
    ]
    assert [event["evidence"][0]["document"] for event in events] == ["notes/mix.txt", "tor.md"]
    assert [event["evidence"][0]["quote"] for event in events] == [
        DATED["notes/mix.txt"],
        DATED["tor.md"],
    ]
    assert all(event["verified"] for event in events)
    assert (result["timeline"]["undated"], result["answered"]) == (0, True)
    assert result["synthesis"].startswith("- 1998-05-03 (3 May 1998): ")
    assert result["asked"] == ({} if carrier == "extractive" else {"queries": 1, "dated": 1})


async def test_events_without_a_date_are_counted_and_dates_that_no_quote_holds_flagged(dated: Path) -> None:
    quote = DATED["tor.md"]
    findings = [
        {"date": "12. März 2021", "claim": "Renewed.", "quotes": [quote]},
        {"date": "last week", "claim": "Nothing.", "quotes": [quote]},
        {"claim": "No date at all.", "quotes": [quote]},
        {"date": "2019", "claim": "Made up.", "quotes": [quote]},
        {"date": "2 March 2021", "claim": "Renewed early.", "quotes": [quote]},
    ]
    answer = Reply(json.dumps({"relevant": True, "findings": findings}))
    result = await asked(
        dated,
        "handshake-memory",
        ScriptedModel({"events": [answer]}),
        format="timeline",
        document_paths=["tor.md"],
    )
    events = [(event["iso"], event["verified"]) for event in result["timeline"]["events"]]
    assert events == [("2019", False), ("2021-03-02", False), ("2021-03-12", True)]
    assert result["timeline"]["undated"] == 2
    assert "events left out because they give no date that can be read: 2" in result["warnings"]
    assert "NOT VERIFIED, do not report as fact: the date is in none of its quotes" in result["synthesis"]


async def test_a_document_without_dates_gives_no_timeline(folder: Path) -> None:
    result = await asked(folder, "extractive", format="timeline", document_paths=["cache.md"])
    assert (result["answered"], result["timeline"]) == (False, {"events": [], "undated": 0})


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("12 March 2021", "2021-03-12"),
        ("March 12th, 2021", "2021-03-12"),
        ("the 3rd of May 1998", "1998-05-03"),
        ("12. März 2021", "2021-03-12"),
        ("12 de marzo de 2021", "2021-03-12"),
        ("1er janvier 2020", "2020-01-01"),
        ("31.12.1999", "1999-12-31"),
        ("13/02/2020", "2020-02-13"),
        ("03/04/2020", "2020"),
        ("May 2020", "2020-05"),
        ("Q3 2021", "2021-07/2021-09"),
        ("2021-03-12T10:00", "2021-03-12"),
        ("2021/03/12", "2021-03-12"),
        ("2021/13/12", None),
        ("2021-02-31", None),
        ("summer of 2019", "2019"),
        ("yesterday", None),
        ("version 3.2021.4", None),
    ],
)
def test_dates_are_normalised_as_far_as_they_tell(text: str, iso: str | None) -> None:
    assert normalised_date(text) == iso


def test_a_number_of_four_digits_is_a_year_where_a_word_tells_so() -> None:
    text = "In 1998 it kept 2048 keys (2001), 2010 bits more, and since 2015 a total of 1500."
    assert [date.iso for date in stated_dates(text)] == ["1998", "2001", "2015"]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("It was tested in 1200 patients and from 1843 participants.", []),
        ("Half of them (1500 respondents) failed after 1000 cycles.", []),
        ("Er hielt nach 1600 Zyklen und in 1750 Fällen.", []),
        ("It rose from 1600 to 1900 units in 1850 (12 %) of them.", []),
        ("It rose from 1600 to 1900 and fell in 1950 (see above).", ["1600", "1950"]),
        ("In the year 1215 barons met, and in 1216 they were gone.", ["1215"]),
        ("Seit 2015 wurden sie gezählt; en 2016 se midió.", ["2015", "2016"]),
    ],
)
def test_an_amount_is_no_year(text: str, years: list[str]) -> None:
    assert [date.iso for date in stated_dates(text)] == years


@pytest.mark.parametrize(
    ("quote", "stated", "held"),
    [
        ("It opened on 11 March 2021.", "1 March 2021", False),
        ("It opened on 11 March 2021.", "11. März 2021", True),
        ("It opened on 11 March 2021.", "March 2021", True),
        ("It opened on March 11, 2021.", "March 2021", True),
        ("It opened on 03/04/2021.", "04/03/2021", False),
        ("It opened on 03/04/2021.", "03/04/2021", True),
        ("It opened on 03/04/2021.", "2021", True),
        ("It closed in 2021 by order.", "winter 2021", False),
        ("It closed in 2021 by order.", "before 2021", False),
        ("It closed in 2021 by order.", "in the year 2021", True),
        ("It closed on 2021-03-12T10:00.", "12 March 2021", True),
        ("It closed on 12 March 2021.", "2021-03-12T10:00", False),
        ("It is version 3.2021 of it.", "2021", False),
        ("It closed in 2021.", "the", False),
    ],
)
def test_a_quote_holds_a_date_only_if_it_says_all_of_it(quote: str, stated: str, held: bool) -> None:
    assert holds_date(quote, stated) is held
