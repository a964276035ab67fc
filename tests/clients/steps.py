"""The main job, step by step, and what must have reached the caller at each of them."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from clients.catalog import Client
from clients.talk import DriverEnded, Said, Talk
from clients.world import (
    DOCUMENTS,
    ONION,
    ONION_PATH,
    PDFS,
    PHRASE,
    PHRASE_LINE,
    StandIn,
    Trail,
)
from support.serving import until

OK = "ok"
IMPOSSIBLE = "impossible"

ERROR_KEY = "io.github.research-assistant-mcp/error"
TOOLS = {
    "list_research_documents",
    "search_documents",
    "read_document",
    "verify_quotes",
    "summarize_document",
    "synthesize_research",
}
PHRASE_TEXT = ONION.splitlines()[PHRASE_LINE - 1]
INDEXED_WITHIN_S = 60.0
REPEAT_AFTER_S = 0.2
ENDED_WITHIN_S = 30.0
MISSING = "papers/nowhere.md"
GIVEN_UP_TOOL = "summarize_document"


class Wrong(Exception):
    """What reached the caller is not what should have."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Wrong(what)


async def judged(step: Awaitable[None]) -> str:
    """The cell of a step: that it passed, or why not."""
    try:
        await step
    except Wrong as wrong:
        return str(wrong)
    except TimeoutError:
        return "took too long"
    except DriverEnded as ended:
        return f"the driver ended: {ended}"
    return OK


@dataclass(frozen=True, kw_only=True)
class Run:
    """One client at one gateway."""

    client: Client
    transport: str
    talk: Talk
    provider: StandIn
    trail: Trail

    async def result(self, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """Text and structured content of a call that succeeds; empty what this client does not show.

        Raises:
            Wrong: it failed, or lacks what the client shows of other servers' results.
        """
        said = await self.talk.call(tool, **arguments)
        check("raised" not in said and not said.get("is_error"), f"{tool} failed: {said}")
        text, structured = said.get("text") or "", said.get("structured") or {}
        shown = {name for name, value in (("text", text), ("structured", structured)) if value}
        check(shown == self.client.shows, f"{tool} shows {shown or 'nothing'}")
        return text, structured

    def check_text(self, text: str, *parts: str) -> None:
        """A text holds all parts, if this client shows texts."""
        if "text" in self.client.shows:
            for part in parts:
                check(part in text, f"no {part!r} in the text {text[:300]!r}")


async def connect(run: Run) -> None:
    missing = TOOLS - set(run.talk.tools)
    check(not missing, f"not among the tools: {missing}")


async def list_documents(run: Run) -> None:
    text, structured = await run.result("list_research_documents")
    paths = [document["path"] for document in structured["documents"]]
    check(paths == DOCUMENTS, f"listed {paths}")
    counts = (structured["count"], structured["total"])
    check(counts == (len(DOCUMENTS), len(DOCUMENTS)), f"count and total are {counts}")
    run.check_text(text, *DOCUMENTS)


async def search(run: Run) -> None:
    """The right line comes first, or the answer says that it is not complete yet and is asked for again."""
    async with asyncio.timeout(INDEXED_WITHIN_S):
        while True:
            text, structured = await run.result("search_documents", query=f'"{PHRASE}"')
            incomplete = any(warning.startswith("INCOMPLETE") for warning in structured.get("warnings", ()))
            if "text" in run.client.shows:
                first = text.partition("\n")[0]
                check(
                    incomplete == first.startswith("INCOMPLETE"),
                    f"warnings {structured.get('warnings')}, but the text begins {first!r}",
                )
            if not incomplete:
                break
            check(structured["truncated"], "INCOMPLETE, but not truncated")
            await asyncio.sleep(REPEAT_AFTER_S)
    check(bool(structured["matches"]), "found nothing, and does not say that it is incomplete")
    best = structured["matches"][0]
    found = (best["document"], best["line_number"])
    check(found == (ONION_PATH, PHRASE_LINE), f"found {found} first")
    check(PHRASE in best["matched_text"], f"found the text {best['matched_text']!r}")
    run.check_text(text, ONION_PATH, PHRASE_TEXT)
    if text:
        numbered = re.search(rf"\b{PHRASE_LINE}\b.*{PHRASE}", text)
        check(numbered is not None, f"the line has no number in the text {text[:300]!r}")


async def read(run: Run) -> None:
    text, structured = await run.result(
        "read_document", document_path=ONION_PATH, start_line=PHRASE_LINE, max_lines=2
    )
    lines = [(line["number"], line["text"]) for line in structured["lines"]]
    check(len(lines) == 2, f"read {len(lines)} lines")
    check(lines[0] == (PHRASE_LINE, PHRASE_TEXT), f"read {lines[0]}")
    run.check_text(text, PHRASE_TEXT)


async def summarize(run: Run) -> None:
    """The stand-in's paragraphs arrive, on words that it was shown of a PDF."""
    text, structured = await run.result(
        "summarize_document", document_path=PDFS[0], summary_length="standard"
    )
    paragraphs = structured["summary"].split("\n\n")
    starts = [paragraph.partition(" on ")[0] for paragraph in paragraphs]
    check(starts == ["Paragraph 1", "Paragraph 2", "Paragraph 3"], f"the summary begins {starts}")
    check("pilot" in structured["summary"], "the summary has no word of the document")
    check(structured["route"] == "provider", f"the route is {structured['route']}")
    run.check_text(text, paragraphs[0])


async def synthesize(run: Run) -> None:
    """Two documents are used and a missing one is skipped; every quote is found again."""
    text, structured = await run.result(
        "synthesize_research",
        document_paths=[ONION_PATH, MISSING, PDFS[1]],
        research_question="What is known of layers?",
    )
    used = (structured["sources_used"], structured["sources_skipped"])
    check(used == (2, 1), f"sources used and skipped: {used}")
    insights = structured["key_insights"]
    check(bool(insights), "no insights")
    check(all(insight["verified"] for insight in insights), f"not verified: {insights}")
    documents = {evidence["document"] for insight in insights for evidence in insight["evidence"]}
    check(ONION_PATH in documents, f"the evidence is from {documents}")
    check("The sources agree" in structured["synthesis"], f"the synthesis is {structured['synthesis']!r}")
    run.check_text(text, structured["synthesis"], insights[0]["claim"])


def check_error(client: Client, said: Said, code: str) -> None:
    """An error has reached the caller with code, message and hint, in the form that its client gives to it.

    Raises:
        Wrong: something is missing, or there is structured content, which would violate the tool's output schema.
    """
    message = said.get("raised", said.get("text")) or ""
    check("raised" in said or bool(said.get("is_error")), f"no error but {message[:300]!r}")
    form = rf"\b{code}: \S[^\n]*\nHint: \S"
    check(re.search(form, message) is not None, f"no code, message and hint in {message[:500]!r}")
    if client.errors == "message":
        return
    check("raised" not in said, f"raised {said.get('raised_type')}")
    check(said["structured"] is None, f"structured content {said['structured']}")
    payload = (said["meta"] or {}).get(ERROR_KEY)
    check(payload is not None, f"no payload in {said['meta']}")
    assert payload is not None  # checked above
    says = {"code": code, "message": payload.get("message"), "hint": payload.get("hint")}
    check(
        says.items() <= payload.items() and isinstance(payload.get("retryable"), bool), f"payload {payload}"
    )
    expected = "{code}: {message}\nHint: {hint}".format_map(says)
    check(message == expected, f"the text is {message!r}, and the payload says {expected!r}")


async def error(run: Run) -> None:
    said = await run.talk.call("read_document", document_path=MISSING)
    check_error(run.client, said, "document_not_found")


async def cancel(run: Run) -> None:
    """A call that waits for a model is given up, the next one works, and a server that is told stops the work."""
    given_up = run.client.given_up.get(run.transport, "at once")
    run.provider.hold()
    number = run.talk.start(GIVEN_UP_TOOL, {"document_path": ONION_PATH})
    await run.provider.reached()
    run.talk.cancel(number)
    said = await run.talk.answer(number)
    check(bool(said.get("cancelled")), f"the cancelled call gave {said}")
    if given_up == "at once":
        await until(lambda: run.trail.outcomes(GIVEN_UP_TOOL)[-1] == "cancelled", ENDED_WITHIN_S)
        await until(lambda: run.provider.open_now == 0, ENDED_WITHIN_S)
    await list_documents(run)
    if given_up != "at once":
        outcome = run.trail.outcomes(GIVEN_UP_TOOL)[-1]
        check(outcome is None, f"listed as cancelled {given_up}, but the call has ended as {outcome!r}")


async def close(run: Run) -> None:
    """The client closes its connection and ends; no call is left without an end in the audit trail."""
    given_up = run.client.given_up.get(run.transport, "at once")
    await run.talk.close()
    if given_up == "at close":
        await until(lambda: run.trail.outcomes(GIVEN_UP_TOOL)[-1] == "cancelled", ENDED_WITHIN_S)
    run.provider.release()
    await until(lambda: run.trail.unended() == 0, ENDED_WITHIN_S)
    if given_up == "runs on":
        outcome = run.trail.outcomes(GIVEN_UP_TOOL)[-1]
        check(outcome == "ok", f"listed as {given_up}, but the call has ended as {outcome!r}")
    protocols = run.trail.protocols()
    check(protocols == {run.client.protocol}, f"spoke {protocols}, listed with {run.client.protocol}")


Step = Callable[[Run], Awaitable[None]]
STEPS: dict[str, Step] = {
    "connect": connect,
    "list": list_documents,
    "search": search,
    "read": read,
    "summarize": summarize,
    "synthesize": synthesize,
    "error": error,
    "cancel": cancel,
    "close": close,
}
