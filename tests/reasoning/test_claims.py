"""A verified quote does not make its claim true: numbers and negations are compared."""

import json
from pathlib import Path

import pytest
from mcp_types import TextContent

from research_reasoning.evidence.claims import flags
from support.carriers import connected
from support.scripted import Reply, ScriptedModel

CASES = Path(__file__).parents[1] / "data" / "models" / "claims"
ENGLISH = "The new filter cut response time by 20 percent on average."
SMALL = "The change was not significant for small clinics."
GERMAN = "Der neue Filter senkte die Antwortzeit im Mittel um 20 Prozent."
COSTS = "Die Kosten stiegen um 3 Prozent."


@pytest.mark.parametrize(
    ("claim", "quotes"),
    [
        ("It cut response time by 20 percent.", [ENGLISH]),
        ("It cut response time by 20% [1].", [GERMAN]),
        ("It cut response time by twenty percent.", [GERMAN]),
        ("Response time fell by a fifth to 20,0 Prozent.", [GERMAN]),
        ("The change was not significant for small clinics.", [SMALL]),
        ("The change was insignificant for small clinics.", [SMALL]),
        ("Costs rose by 3 percent, and response time fell by 20.", [GERMAN, COSTS]),
        ("The archive holds 2417 boxes, 1.5 million sheets.", ["holds 2,417 boxes and 1,500,000 sheets"]),
        ("Zwischen 1.234,50 und 2 000 Euro", ["between 1,234.5 and 2,000 euros"]),
        ("Both documents agree, as do 2 of 3 sources.", ["They agree."]),
        ("One of five sites closed.", ["1 of 5 sites closed"]),
        ("The trial did not reach its goal.", ["The trial failed to reach its goal."]),
        ("No client left.", ["No client left during the pilot."]),
        ("It hides who talks to whom.", ["It hides who talks to whom, and does not hide when."]),
        ("It helps small clinics.", ["It helps not only small clinics."]),
        ("GPT-4 was used.", ["They used GPT-4."]),
        ("A share of 0.2 is enough.", ["20 % are enough"]),
        ("Half of them, 50 percent.", ["half of them"]),
        ("It rose by fünfundzwanzig Prozent.", ["It rose by twenty-five percent."]),
        ("Findings 1.1 and 2.1 matter.", ["They matter."]),
        ("Anything 99.", []),
    ],
)
def test_a_claim_that_its_quotes_hold_is_not_flagged(claim: str, quotes: list[str]) -> None:
    assert flags(claim, quotes) == []


@pytest.mark.parametrize(
    ("claim", "quotes", "flag"),
    [
        ("It cut response time by 30 percent.", [ENGLISH], "the number 30 is in none of its quotes"),
        ("It cut response time by 2 percent.", [GERMAN], "the number 2 is in none of its quotes"),
        ("It cut response time by thirty percent.", [GERMAN], "the number thirty is in none of its quotes"),
        ("It took five percent.", ["It took 4 percent."], "the number five is in none of its quotes"),
        ("It cost 1,5 million.", ["It cost 1,5 billion."], "the number 1,5 million is in none of its quotes"),
        ("In 2019 costs rose by 3 percent.", [COSTS], "the number 2019 is in none of its quotes"),
        ("The filter did not cut response time.", [ENGLISH], "it negates, and none of its quotes does"),
        ("Die Kosten stiegen nicht.", [COSTS], "it negates, and none of its quotes does"),
        ("The change was significant for small clinics.", [SMALL], "its quotes negate 'significant', and it does not"),
        ("Die Kosten stiegen.", ["Die Kosten stiegen nicht."], "its quotes negate 'kosten', and it does not"),
        (
            "Latency fell in every site.",
            ["It is not true that latency fell in every site."],
            "its quotes negate 'latency', and it does not",
        ),
    ],
)  # fmt: skip
def test_a_number_or_a_negation_that_no_quote_holds_is_flagged(
    claim: str, quotes: list[str], flag: str
) -> None:
    assert flags(claim, quotes) == [flag]


def evidence(*findings: tuple[str, str]) -> Reply:
    return Reply(
        json.dumps(
            {"relevant": True, "findings": [{"claim": claim, "quotes": [quote]} for claim, quote in findings]}
        )
    )


async def test_a_flagged_insight_is_not_verified_and_says_why_in_both_forms(folder: Path) -> None:
    for name in ("a.md", "b.md"):
        (folder / name).write_text((CASES / name).read_text("utf-8"), "utf-8")
    claims = [
        ("The filter cut response time by 20 percent in both trials.", ["1.1", "2.1"]),
        ("The filter cut response time by 30 percent.", ["1.1"]),
        ("The change was significant for small clinics.", ["1.2"]),
    ]
    combination = {
        "answered": True,
        "synthesis": "It helps [1, 2].",
        "insights": [{"claim": claim, "evidence": marks} for claim, marks in claims],
    }
    model = ScriptedModel(
        {
            "The new filter": [evidence(("It cut it by 30 percent.", ENGLISH), ("Small.", SMALL))],
            "Der neue Filter": [evidence(("Um 20 Prozent.", GERMAN))],
            "combine": [Reply(json.dumps(combination))],
        }
    )
    async with connected("handshake-memory", folder, model) as session:
        arguments = {"document_paths": ["a.md", "b.md"], "research_question": "Does the filter help?"}
        reply = await session.client.call_tool("synthesize_research", arguments)
    result = reply.structured_content
    assert result is not None
    assert [(insight["verified"], insight["flags"]) for insight in result["key_insights"]] == [
        (True, []),
        (False, ["the number 30 is in none of its quotes"]),
        (False, ["its quotes negate 'significant', and it does not"]),
    ]
    assert all(item["verified"] for insight in result["key_insights"] for item in insight["evidence"])
    assert any("2 insights state a number or a negation" in warning for warning in result["warnings"])
    (block,) = reply.content
    assert isinstance(block, TextContent)
    text = block.text
    assert (
        "2. The filter cut response time by 30 percent. (NOT VERIFIED, do not report as fact: "
        "the number 30 is in none of its quotes)\n"
    ) in text
    (asked,) = [shown for kind, _, shown in model.calls if kind == "combine"]
    assert "(Doubtful: the number 30 is in none of its quotes)" in asked


async def test_the_quote_of_an_insight_is_the_whole_sentence_with_its_negation(folder: Path) -> None:
    (folder / "c.md").write_text("It is not\ntrue that latency fell in every site. It rose.\n", "utf-8")
    model = ScriptedModel(
        {"evidence": [evidence(("Latency fell in every site.", "latency fell in every site"))]}
    )
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call(
            "synthesize_research", document_paths=["c.md"], research_question="Did latency fall?"
        )
    (found,) = result["key_insights"][0]["evidence"]
    assert found == {
        "document": "c.md",
        "page": None,
        "lines": [1, 2],
        "quote": "It is not true that latency fell in every site.",
        "verified": True,
    }
