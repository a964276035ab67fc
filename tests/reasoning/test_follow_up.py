"""Questions that follow an answer: its evidence comes back with the client, and is read anew."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastmcp import Client

from research_gateway import build_gateway
from research_reasoning.follow_up import FOLLOW_UP_PURPOSE, MAX_FOLLOW_UP_CHARS
from research_shared.access.scope import Scope
from research_shared.middleware.scope_meta import SCOPE_META_KEY
from research_shared.serving.sealing import TokenError, TokenSealer
from support.carriers import CARRIERS, connected, no_wait, settings
from support.results import error_of
from support.scripted import ScriptedModel
from support.sizes import FULL

FIRST = "What is the price of protection in mix networks?"
THEN = "And what do relays learn?"
ROUTES = (*CARRIERS, "extractive") if FULL else ("modern-replicas", "handshake-memory", "extractive")
Ask = Callable[..., Any]


async def ask(client: Client[Any], question: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool("synthesize_research", {"research_question": question} | arguments)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client[Any], token: str, **meta: Any) -> dict[str, Any]:
    result = await client.call_tool(
        "synthesize_research",
        {"research_question": THEN, "follow_up": token},
        raise_on_error=False,
        meta=meta or None,
    )
    return error_of(result)


@pytest.mark.parametrize("carrier", ROUTES)
async def test_a_question_goes_on_from_the_evidence_of_the_last_answer(folder: Path, carrier: str) -> None:
    async with connected(carrier, folder) as session:
        first = await session.call(
            "synthesize_research", research_question=FIRST, document_paths=["notes/mix.txt"]
        )
        then = await session.call("synthesize_research", research_question=THEN, follow_up=first["follow_up"])
        calls = list(session.model.calls)
    assert 0 < len(first["follow_up"]) <= MAX_FOLLOW_UP_CHARS
    reasons = {source["path"]: source["reason"] for source in then["sources"]}
    assert reasons["notes/mix.txt"].startswith("holds evidence of the last answer")
    assert reasons["tor.md"].startswith("chosen for")
    assert then["selection"]["passages_reused"] >= 1
    assert then["selection"]["queries"][:2] == [THEN, FIRST]
    assert then["follow_up"] not in {"", first["follow_up"]}
    if carrier != "extractive":
        asked = [text for kind, _, text in calls if kind in {"queries", "passages"}]
        assert len(asked) == 2
        assert all(f'It follows what was asked before: "{FIRST}"' in text for text in asked)
        assert "The price of that protection is latency" in asked[-1]


async def test_evidence_of_a_changed_document_is_dropped_and_said(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        first = await session.call("synthesize_research", research_question=FIRST)
        with (folder / "notes" / "mix.txt").open("a", encoding="utf-8") as file:
            file.write("One more line.\n")
        then = await session.call("synthesize_research", research_question=THEN, follow_up=first["follow_up"])
        (folder / "notes" / "mix.txt").unlink()
        gone = await session.call("synthesize_research", research_question=THEN, follow_up=first["follow_up"])
    assert then["warnings"][0] == (
        'INCOMPLETE: the evidence of the last answer from "notes/mix.txt" is left out, because the document has changed since'
    )
    assert "passages_reused" not in then["selection"]
    assert any(warning.startswith('"notes/mix.txt" is left out: ') for warning in gone["warnings"])


async def test_evidence_that_the_filters_do_not_admit_is_left_out_and_named(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        first = await session.call(
            "synthesize_research", research_question=FIRST, document_paths=["notes/mix.txt"]
        )
        then = await session.call(
            "synthesize_research", research_question=THEN, follow_up=first["follow_up"], type="markdown"
        )
    assert "passages_reused" not in then["selection"]
    assert "notes/mix.txt" not in {source["path"] for source in then["sources"]}
    assert (
        'the evidence of the last answer from "notes/mix.txt" is left out, because the document does not fit the filters'
        in then["warnings"]
    )


async def test_named_documents_limit_where_new_passages_come_from(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        first = await session.call("synthesize_research", research_question=FIRST)
        then = await session.call(
            "synthesize_research",
            research_question=THEN,
            document_paths=["cache.md", "nowhere.md"],
            follow_up=first["follow_up"],
        )
    assert [(source["path"], source["status"]) for source in then["sources"]] == [
        ("notes/mix.txt", "used"),
        ("cache.md", "skipped"),
        ("nowhere.md", "skipped"),
    ]
    assert then["sources"][1]["reason"] == "none of its passages is among those that fit the question best"
    assert then["sources"][2]["reason"].startswith("no document has this path")
    assert then["sources_skipped"] == 2
    assert then["warnings"][:2] == [
        "INCOMPLETE: 1 of 2 named documents is missing or could not be read; see its reason",
        "1 of 2 named documents is not among the evidence; see its reason",
    ]


async def test_what_becomes_of_each_named_document_is_said(folder: Path) -> None:
    relays = "Relays learn what the {} relay of number {} does.\n"
    for number in range(12):
        (folder / f"relay-{number:02}.md").write_text(relays.format("onion", number), encoding="utf-8")
    (folder / "second copy.md").write_text(relays.format("onion", 0), encoding="utf-8")
    (folder / "plan v1.md").write_text(relays.format("first", 91), encoding="utf-8")
    (folder / "plan v2.md").write_text(relays.format("second", 92), encoding="utf-8")
    (folder / "blank.md").write_text("\n", encoding="utf-8")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    others = ["second copy.md", "blank.md", "broken.pdf"]
    async with connected("extractive", folder) as session:
        first = await session.call(
            "synthesize_research", research_question=FIRST, document_paths=["notes/mix.txt"]
        )
        both = await session.call(
            "synthesize_research",
            research_question=THEN,
            document_paths=["plan v1.md", "plan v2.md"],
            follow_up=first["follow_up"],
        )
        table, detailed = [
            await session.call(
                "synthesize_research",
                research_question=THEN,
                document_paths=[*(f"relay-{number:02}.md" for number in range(12)), *others],
                follow_up=first["follow_up"],
                **arguments,
            )
            for arguments in ({"aspects": ["what relays learn"]}, {"depth": "detailed"})
        ]
    assert {source["path"]: source["status"] for source in both["sources"]} == {
        "notes/mix.txt": "used",
        "plan v1.md": "used",
        "plan v2.md": "used",
    }
    for result, most in ((table, 7), (detailed, 9)):
        sources = {source["path"]: (source["status"], source["reason"]) for source in result["sources"]}
        assert sources.keys() == {
            "notes/mix.txt",
            *(f"relay-{number:02}.md" for number in range(12)),
            *others,
        }
        cut = [path for path, (_, why) in sources.items() if why and why.startswith(f"not among the {most}")]
        assert len(cut) == 12 - most
        assert sources["second copy.md"] == ("duplicate", "same content as relay-00.md")
        assert sources["blank.md"] == ("skipped", "the document holds no text")
        assert sources["broken.pdf"][0] == "skipped"
        assert result["sources_skipped"] == len(cut) + 2
        assert result["warnings"][0] == (
            "INCOMPLETE: 2 of 15 named documents are missing or could not be read; see their reasons"
        )


async def test_named_documents_are_searched_alone_whatever_others_are_called(folder: Path) -> None:
    (folder / "more").mkdir()
    for number in range(45):
        path = folder / "more" / str(number) / "tor.md"
        path.parent.mkdir()
        path.write_text("What do relays learn? Relays learn what relays do.\n", encoding="utf-8")
    (folder / " blank.md").write_text("Relays learn nothing of blanks.\n", encoding="utf-8")
    async with connected("extractive", folder) as session:
        first = await session.call(
            "synthesize_research", research_question=FIRST, document_paths=["notes/mix.txt"]
        )
        then = await session.call(
            "synthesize_research",
            research_question=THEN,
            document_paths=["tor.md", " blank.md"],
            follow_up=first["follow_up"],
        )
    assert {source["path"] for source in then["sources"]} == {"notes/mix.txt", "tor.md", " blank.md"}
    assert then["selection"]["documents_considered"] == 2


async def test_another_gateway_with_the_key_takes_the_token_and_one_without_it_does_not(
    folder: Path, tmp_path: Path
) -> None:
    def gateway(name: str, **changes: Any) -> Client[Any]:
        options = {"model_route": "extractive", "audit_log": tmp_path / f"{name}.jsonl"} | changes
        return Client(build_gateway(settings(folder, **options)))

    async with gateway("one") as one, gateway("two") as two, gateway("other", state_keys="o" * 40) as other:
        first = await ask(one, FIRST)
        then = await ask(two, THEN, follow_up=first["follow_up"])
        error = await refused(other, first["follow_up"])
    assert then["selection"]["passages_reused"] >= 1
    assert error["code"] == "invalid_arguments"
    assert "another key" in error["message"]


async def test_a_token_that_cannot_be_used_says_what_to_do(folder: Path) -> None:
    async with connected("extractive", folder) as session:
        token = (await ask(session.client, FIRST))["follow_up"]
        changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
        narrow = {SCOPE_META_KEY: Scope(("notes",)).to_json()}
        errors = [
            await refused(session.client, changed),
            await refused(session.client, token[: len(token) // 2]),
            await refused(session.client, "last answer"),
            await refused(session.client, token, **narrow),
        ]
        long_ago = TokenSealer(
            settings(folder), purpose=FOLLOW_UP_PURPOSE, ttl_s=60, clock=lambda: 1_000_000.0
        )
        errors.append(await refused(session.client, long_ago.seal(b"")))
    assert {error["code"] for error in errors} == {"invalid_arguments"}
    assert all("call again without it" in error["hint"] for error in errors)
    assert "another caller, or for other documents" in errors[3]["message"]
    assert "expired" in errors[4]["message"]


def test_a_token_is_of_one_purpose_one_key_and_one_time(tmp_path: Path) -> None:
    now = [0.0]
    mine = settings(tmp_path)
    sealer = TokenSealer(mine, purpose="a", ttl_s=10, clock=lambda: now[0])
    token = sealer.seal(b"value")
    assert sealer.open(token) == b"value"
    assert b"value" not in token.encode()
    with pytest.raises(TokenError):
        TokenSealer(mine, purpose="b", ttl_s=10, clock=lambda: now[0]).open(token)
    rotated = settings(tmp_path, state_keys=f"{'n' * 40},{'k' * 40}")
    assert TokenSealer(rotated, purpose="a", ttl_s=10, clock=lambda: now[0]).open(token) == b"value"
    now[0] = 10.0
    with pytest.raises(TokenError, match="expired"):
        sealer.open(token)


async def test_a_token_is_bounded_however_much_an_answer_rests_on(folder: Path) -> None:
    deep = "a" * 180
    for number in range(12):
        path = folder / f"{deep}{number}" / f"{deep}{number}.md"
        path.parent.mkdir()
        path.write_text(
            f"The price of protection in mix networks number {number} is latency of {number} hours.\n"
        )
    async with connected("handshake-memory", folder, ScriptedModel(), retry=no_wait()) as session:
        result = await session.call(
            "synthesize_research", research_question=FIRST + " " + "x" * 1_800, depth="detailed"
        )
    assert result["sources_used"] > 5
    assert 0 < len(result["follow_up"]) <= MAX_FOLLOW_UP_CHARS


async def test_long_questions_before_are_dropped_before_the_evidence(folder: Path) -> None:
    seeded = random.Random(1)
    questions = [
        "".join(chr(seeded.randrange(0x4E00, 0x9FA5)) for _ in range(300)) + f" {question}"
        for question in (FIRST, THEN, THEN)
    ]
    async with connected("handshake-memory", folder) as session:
        token = ""
        for question in questions:
            result = await session.call(
                "synthesize_research",
                research_question=question,
                document_paths=["notes/mix.txt"],
                follow_up=token,
            )
            token = result.get("follow_up", "")
            assert 0 < len(token) <= MAX_FOLLOW_UP_CHARS
        last = await session.call("synthesize_research", research_question=THEN, follow_up=token)
    assert last["selection"]["queries"][:2] == [THEN, questions[-1][:300]]
    assert last["selection"]["passages_reused"] >= 1
