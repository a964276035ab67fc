"""A model of a few lines: it quotes what it is shown, unless its script says otherwise."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mcp_types import CreateMessageRequestParams, CreateMessageResult, SamplingMessage, TextContent

MODEL = "scripted-1"


@dataclass(frozen=True)
class Reply:
    text: str
    stop: str = "endTurn"


Answer = Reply | Exception


def kind_of(system: str) -> str:
    starts = {
        "Find what": "evidence",
        "From passages": "passages",
        "Write search": "queries",
        "Choose the": "aspects",
        "Fill one": "row",
        "Fill a": "rows",
        "List the dated": "events",
        "List dated": "dated",
        "Answer the": "combine",
        "Below is one": "part",
        "Below are notes on con": "merge",
    }
    starts |= {"Below are notes on all": "reduce", "Summarize": "summary", "The user's message": "repair"}
    return next(kind for start, kind in starts.items() if system.startswith(start))


def material(text: str) -> str:
    return re.search(r"<<<UNTRUSTED \w+\n(.*)\nUNTRUSTED", text, re.DOTALL)[1]  # type: ignore[index]


FIXED = {
    "queries": {"queries": ["layers of encryption", "latency"]},
    "aspects": {"aspects": ["timing", "layers"]},
}


def honest(kind: str, text: str) -> str:
    shown = material(text)
    sentences = re.findall(r"[A-Z][^.\n]{20,}(?:\n[^.\n]+)?\.", shown)
    if kind == "evidence":
        found = [{"claim": f"It says: {' '.join(s.split())[:60]}", "quotes": [s]} for s in sentences[:2]]
        return json.dumps({"relevant": bool(found), "findings": found})
    if kind in FIXED:
        return json.dumps(FIXED[kind])
    if kind in {"row", "rows", "events", "dated"}:
        return json.dumps(_laid_out(kind, text, shown))
    if kind == "passages":
        findings = []
        for number, part in re.findall(
            r"^Source (\d+): [^\n]*\n(.*?)(?=^Source \d+: |\Z)", shown, re.MULTILINE | re.DOTALL
        ):
            said = re.findall(r"[A-Z][^.\n]{20,}(?:\n[^.\n]+)?\.", part)[:2]
            findings += [
                {"source": int(number), "claim": f"It says: {' '.join(s.split())[:60]}", "quotes": [s]}
                for s in said
            ]
        return json.dumps({"relevant": bool(findings), "findings": findings})
    if kind == "combine":
        marks = re.findall(r"^(\d+\.\d+) ", shown, re.MULTILINE)
        cited = " ".join(f"[{m.split('.')[0]}]" for m in marks if m.endswith(".1"))
        insights = [{"claim": "What was found matters", "evidence": [m]} for m in marks[:3]]
        return json.dumps(
            {"answered": True, "synthesis": f"The sources agree {cited}.", "insights": insights}
        )
    words = " ".join(shown.split()[:30])
    return "\n\n".join(f"Paragraph {n} on {words}" for n in range(1, 7))


def _laid_out(kind: str, text: str, shown: str) -> dict[str, Any]:
    """The sentences that name an aspect, or that hold a date such as `12 March 2021`."""
    asked = re.findall(r'^(\d+)\. "([^"]*)"$', text.rpartition(">>>")[2], re.MULTILINE)
    parts = re.findall(r"^Source (\d+): [^\n]*\n(.*?)(?=^Source \d+: |\Z)", shown, re.MULTILINE | re.DOTALL)
    findings: list[dict[str, Any]] = []
    for number, part in parts or [("", shown)]:
        source = {"source": int(number)} if number else {}
        for said in re.findall(r"[A-Z][^.\n]{20,}(?:\n[^.\n]+)?\.", part):
            line = " ".join(said.split())
            fields: list[dict[str, Any]] = [
                {"aspect": int(n)} for n, aspect in asked if aspect.lower() in line.lower()
            ]
            if kind in {"events", "dated"}:
                fields = [{"date": date} for date in re.findall(r"\d{1,2} [A-Z][a-z]+ \d{4}", line)]
            findings += [
                {**source, **each, "claim": f"It says: {line[:60]}", "quotes": [said]} for each in fields
            ]
    return {"relevant": bool(findings), "findings": findings}


@dataclass
class ScriptedModel:
    """`script` maps a kind of prompt, or a text within it, to answers that come before the honest one."""

    script: dict[str, list[Answer]] = field(default_factory=dict)
    always: Callable[[str, str], Answer | None] = lambda _kind, _text: None
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def answer(self, system: str, text: str) -> Reply:
        kind = kind_of(system)
        self.calls.append((kind, system, text))
        self.counts[kind] += 1
        reply: Answer | None = self.always(kind, text)
        for trigger, queue in self.script.items():
            if reply is None and queue and (trigger == kind or trigger in text):
                reply = queue.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply or Reply(honest(kind, text))

    async def sample(
        self, messages: list[SamplingMessage], params: CreateMessageRequestParams, _context: Any
    ) -> CreateMessageResult:
        (content,) = messages[0].content_as_list
        assert isinstance(content, TextContent)
        assert params.tools is None
        reply = self.answer(params.system_prompt or "", content.text)
        block = TextContent(type="text", text=reply.text)
        return CreateMessageResult(role="assistant", content=block, model=MODEL, stop_reason=reply.stop)
