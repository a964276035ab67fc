"""The text of a reply: what a model reads, safe to render and short enough to be read whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types import TextContent

from reasoning.test_untrusted import HTML, PIECES, acts
from research_reasoning.evidence.combination import MAX_UNCOMBINED_TOKENS
from research_reasoning.replies.fitting import fitted
from research_reasoning.replies.rendering import MAX_TEXT_TOKENS, summary_text, synthesis_text
from research_reasoning.replies.results import (
    Cell,
    ComparisonTable,
    Coverage,
    DatedEvent,
    Evidence,
    Insight,
    Source,
    Summary,
    Synthesis,
    TableRow,
    Timeline,
    Usage,
)
from research_reasoning.replies.untrusted import neutralised, neutralised_line
from research_shared.text.tokens import estimate_tokens
from support.carriers import connected
from support.scripted import Reply, ScriptedModel
from support.sizes import examples

USAGE = Usage(model_calls=1, attempts=1, rounds=0, input_tokens=10, output_tokens=10)
COVERED = Coverage(
    lines_shown=8,
    lines_total=9,
    pages_shown=None,
    pages_total=None,
    ranges=[(1, 8)],
    complete=True,
    clipped_lines=0,
)
LIMIT = 25_000


def synthesis(**changes: Any) -> Synthesis:
    plain: dict[str, Any] = {
        "research_question": "Who talks to whom?",
        "synthesis": "They agree [1].",
        "key_insights": [],
        "contradictions": [],
        "answered": True,
        "sources_used": 1,
        "sources_skipped": 0,
        "sources": [Source(path="a.md", status="used", reason=None, coverage=COVERED)],
        "partial": False,
        "unverified_quotes": 0,
        "depth": "overview",
        "model": "scripted-1",
        "route": "client",
        "warnings": [],
        "usage": USAGE,
    }
    return Synthesis(**(plain | changes))


async def text_of(session: Any, tool: str, **arguments: Any) -> str:
    result = await session.client.call_tool(tool, arguments)
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.structured_content is not None
    return block.text


@pytest.mark.parametrize("carrier", ["modern-memory", "handshake-memory"])
async def test_a_synthesis_reads_as_answer_insights_and_sources_with_what_is_missing_first(
    folder: Path, carrier: str
) -> None:
    evidence = {
        "relevant": True,
        "findings": [
            {"claim": "Layers hide it.", "quotes": ["Each relay removes one layer"]},
            {"claim": "Magic hides it.", "quotes": ["a wizard did it with `Rc<T>`"]},
        ],
    }
    combination = {
        "answered": True,
        "synthesis": "Layers hide it [2].",
        "insights": [
            {"claim": "Layers hide it.", "evidence": ["2.1"]},
            {"claim": "Magic hides it.", "evidence": ["2.2"]},
        ],
    }
    model = ScriptedModel(
        {"evidence": [Reply(json.dumps(evidence))], "combine": [Reply(json.dumps(combination))]}
    )
    async with connected(carrier, folder, model) as session:
        text = await text_of(
            session,
            "synthesize_research",
            document_paths=["no.md", "tor.md"],
            research_question="Who hides it?",
        )
    text, _, token = text.partition("\n\nTo ask on from this evidence, pass follow_up: ")
    assert token.startswith("v1.")
    assert text == (
        "INCOMPLETE: 1 of 2 documents was skipped; see its reason\n"
        "Note: 1 quote could not be found in the documents and is marked unverified\n"
        "\n"
        "Layers hide it [2].\n"
        "\n"
        "Key insights:\n"
        "1. Layers hide it. (verified)\n"
        '   - [2] line 4: "Each relay removes one layer"\n'
        "2. Magic hides it. (NOT VERIFIED, do not report as fact)\n"
        '   - [2] is not in the document: "a wizard did it with `Rc<T>`"\n'
        "\n"
        "Sources (1 used, 1 skipped):\n"
        "- [1] `no.md` skipped: no document has this path\n"
        "- [2] `tor.md`\n"
        "\n"
        "Model: scripted-1 (client)."
    )


async def test_a_summary_reads_as_its_paragraphs_and_says_first_what_it_does_not_rest_on(
    folder: Path,
) -> None:
    (folder / "long.md").write_text(
        "\n\n".join(f"# {n}\n\n" + "Relays hide. " * 300 for n in range(9)), "utf-8"
    )
    async with connected("extractive", folder) as session:
        whole = await text_of(session, "summarize_document", document_path="tor.md", summary_length="brief")
    async with connected(
        "extractive", folder, model_call_tokens=2_000, model_request_tokens=4_000
    ) as session:
        part = await text_of(session, "summarize_document", document_path="long.md", summary_length="brief")
    assert whole.startswith("Onion routing hides")
    assert whole.endswith("\n\nSummary of `tor.md`. No model was used.")
    assert part.startswith("INCOMPLETE: ")
    assert "lines were used; the rest did not fit" in part.partition("\n\n")[0]


def test_an_answer_that_answers_nothing_says_so_before_it() -> None:
    text = synthesis_text(synthesis(answered=False, synthesis="None says it.", warnings=["a note"]))
    assert text.startswith("Note: a note\n\nNOT ANSWERED: ")


def test_findings_that_were_not_combined_are_said_to_be_no_answer() -> None:
    one = Insight(claim="It is so.", evidence=[], verified=False, flags=[])
    text = synthesis_text(synthesis(answered=False, partial=True, key_insights=[one]))
    assert text.startswith("NOT ANSWERED as one:")
    assert "Search for others" not in text


def test_contradictions_are_shown_with_both_sides() -> None:
    sides = [
        Evidence(document="a.md", page=None, lines=(n, n), quote=f"It is {n}.", verified=True) for n in (1, 2)
    ]
    told = Insight(claim="They disagree on it.", evidence=sides, verified=True, flags=[])
    text = synthesis_text(synthesis(contradictions=[told]))
    assert (
        "\n\nContradictions between the documents:\n"
        "1. They disagree on it. (verified)\n"
        '   - [1] line 1: "It is 1."\n'
        '   - [1] line 2: "It is 2."\n'
    ) in text


TEXTS = st.lists(st.sampled_from([*PIECES, "Sources (9 used):", "| a |\n|-|\n"]), max_size=8).map("".join)


@given(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
@settings(max_examples=examples(150), deadline=None)
def test_no_text_of_others_acts_or_takes_what_follows_into_code(
    answer: str, claim: str, quote: str, path: str, reason: str
) -> None:
    found = Evidence(document=path, page=2, lines=(1, 2), quote=quote, verified=True)
    result = synthesis(
        synthesis=neutralised(answer),
        key_insights=[Insight(claim=neutralised_line(claim), evidence=[found], verified=True, flags=[])],
        sources=[Source(path=path, status="skipped", reason=reason, coverage=None)],
        sources_used=0,
        sources_skipped=1,
        warnings=[reason, f"INCOMPLETE: {quote}"],
    )
    text = synthesis_text(result)
    assert acts(text) == []
    last = HTML.parse(text)[-2]
    assert (last.type, last.content) == ("inline", "Model: scripted-1 (client).")
    summary = Summary(
        document_path=path,
        summary=neutralised(answer),
        word_count=1,
        token_estimate=1,
        model="m",
        route="provider",
        summary_length="brief",
        coverage=COVERED,
        warnings=[reason],
        usage=USAGE,
    )
    assert acts(summary_text(summary)) == []
    assert HTML.parse(summary_text(summary))[-2].content.endswith("Model: m (provider).")


def test_neither_form_of_the_longest_reply_is_too_long_for_a_model() -> None:
    ranges = [(n, n + 3) for n in range(1, 400, 8)]
    covered = COVERED.model_copy(update={"ranges": ranges, "complete": False})
    sources = [
        Source(
            path=f"folder/sub-folder/a-name-as-papers-have-{n}.pdf",
            status="used",
            reason=None,
            coverage=covered,
        )
        for n in range(430)
    ]
    quote = "some words of a document that say it " * 30
    evidence = [
        Evidence(document=sources[n].path, page=None, lines=None, quote=quote, verified=False)
        for n in range(60)
    ]
    insights = [Insight(claim="It is so. " * 60, evidence=evidence, verified=False, flags=[])] * 5
    result = synthesis(key_insights=insights, sources=sources, sources_used=430, synthesis="A word. " * 1_000)
    assert estimate_tokens(result.model_dump_json()) > 5 * LIMIT
    short = fitted(result, estimate_tokens)
    assert estimate_tokens(short.model_dump_json()) <= LIMIT
    assert [source.path for source in short.sources] == [source.path for source in sources]
    assert short.warnings[-1].startswith("INCOMPLETE: the reply would be too long")
    text = synthesis_text(result)
    assert estimate_tokens(text) <= MAX_TEXT_TOKENS + 100
    assert "- and " in text
    assert fitted(synthesis(), estimate_tokens) == synthesis()


def test_a_table_and_a_timeline_that_are_too_long_keep_their_entries_and_places_and_lose_words() -> None:
    quote = Evidence(document="a.md", page=None, lines=(2, 3), quote="what it says " * 40, verified=True)
    cells = [Cell(value="an entry of words " * 20, evidence=quote), Cell(value=None, evidence=None)]
    table = ComparisonTable(
        aspects=["Method", "Cost"],
        rows=[TableRow(document="a.md", cells=cells)] * 100,
        stated=100,
        unsupported=0,
    )
    dated = DatedEvent(
        date="1 May 2024",
        iso="2024-05-01",
        claim="It began.",
        evidence=[quote, quote],
        verified=True,
        flags=[],
    )
    sources = [
        Source(path="a.md", status="used", reason=None, coverage=COVERED),
        Source(path="b.md", status="skipped", reason="it is damaged " * 20, coverage=None),
    ]
    result = synthesis(table=table, timeline=Timeline(events=[dated] * 20, undated=0), sources=sources)
    short = fitted(result, estimate_tokens, limit=1)
    assert short.table is not None
    assert short.timeline is not None
    assert len(short.table.rows) == 100
    first, nothing = short.table.rows[0].cells
    assert nothing == cells[1]
    assert (len(first.value or ""), (first.value or "")[-1]) == (120, "…")
    assert first.evidence == quote.model_copy(update={"quote": f"{quote.quote[:99]}…"})
    (event, *_), (evidence,) = short.timeline.events, short.timeline.events[0].evidence
    assert (event.claim, evidence.lines, len(evidence.quote)) == ("It began.", (2, 3), 100)
    assert [len(source.reason or "") for source in short.sources] == [0, 60]
    assert "what it says" not in short.synthesis
    assert "[1]" in short.synthesis
    within = estimate_tokens(result.model_dump_json()) - 1_000
    roomy = fitted(result, estimate_tokens, limit=within)
    assert estimate_tokens(roomy.model_dump_json()) <= within + 100  # the warning comes on top
    assert len(roomy.warnings[-1]) < len(short.warnings[-1])  # no more goes than has to


async def test_findings_that_were_not_combined_are_shown_as_far_as_a_reply_goes(folder: Path) -> None:
    (folder / "many").mkdir()
    for number in range(90):
        (folder / "many" / f"{number:02}.md").write_text(
            f"Relay {number} removes one layer of it.\n", "utf-8"
        )
    claim = "This is a long claim about what a relay removes. " * 12
    finding = {"claim": claim, "quotes": ["removes one layer of it"]}
    answer = Reply(json.dumps({"relevant": True, "findings": [finding, finding]}))
    model = ScriptedModel(always=lambda kind, _text: Reply("", "refusal") if kind == "combine" else answer)
    async with connected("handshake-memory", folder, model) as session:
        result = await session.call(
            "synthesize_research",
            document_paths=[f"many/{number:02}.md" for number in range(90)],
            research_question="What does it remove?",
        )
    assert result["partial"] is True
    assert estimate_tokens(result["synthesis"]) <= MAX_UNCOMBINED_TOKENS + 100
    shown = result["synthesis"].count("- This is a long claim")
    (told,) = [warning for warning in result["warnings"] if "only the first finding" in warning]
    assert told == f"INCOMPLETE: only the first finding of each of {shown} of 90 documents is shown"
