"""Run both reasoning tools with a real model, and check what must be true whatever it writes.

Usage: RESEARCH_TEST_MODEL_URL=http://127.0.0.1:8080/v1 python tests/models/smoke.py [FOLDER] [--question TEXT]

Any server that is compatible with OpenAI will do. RESEARCH_TEST_MODEL names its model (the first one that it lists
when not set), RESEARCH_TEST_MODEL_KEY its key. Other RESEARCH_* variables hold as for the server itself. FOLDER is a
research folder; the samples when not given. Nothing is asserted about the contents of an answer, only its form, and
that every verified quote stands in the lines that it names. Ends with status 1 if that is not so, if an error names no
remedy, or if nothing at all was answered.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from fastmcp import Client
from fastmcp.client.logging import LogMessage

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.checks import wrong_error, wrong_summary, wrong_synthesis
from research_gateway.app import build_gateway
from research_shared.settings import Settings
from support.clients import SAMPLES
from support.results import answer_of

QUESTIONS = ("What changed, and by how much?", "What are the weaknesses or the limits of this work?")
MOST_DOCUMENTS = 5
LINES_AT_ONCE = 500


@dataclass
class Smoke:
    """What came back. `failures` is empty if everything that must be true was."""

    answered: int = 0
    failed: int = 0
    insights: int = 0
    verified_quotes: int = 0
    other_quotes: int = 0
    not_in_format: int = 0
    failures: list[str] = field(default_factory=list)

    async def log(self, message: LogMessage) -> None:
        self.not_in_format += "did not keep to the format" in str(message.data)

    def note(self, call: str, answer: Mapping[str, Any], wrong: Sequence[str]) -> None:
        self.failures += [f"{call}: {what}" for what in wrong]
        if "error" in answer:
            self.failed += 1
            return
        self.answered += 1
        insights = answer.get("key_insights", [])
        self.insights += len(insights)
        verdicts = [quote["verified"] for insight in insights for quote in insight["evidence"]]
        self.verified_quotes += sum(verdicts)
        self.other_quotes += len(verdicts) - sum(verdicts)

    def report(self) -> str:
        return (
            f"{self.answered} calls answered, {self.failed} ended with an error that names a setting; "
            f"{self.not_in_format} answers of the model not in the format; {self.insights} insights with "
            f"{self.verified_quotes} verified quotes and {self.other_quotes} others"
        )


async def smoke(settings: Settings, *, questions: Sequence[str] = QUESTIONS) -> Smoke:
    """Summarize each document and answer each question over all of them, as a client without a model gets it."""
    found = Smoke()
    async with Client(build_gateway(settings), log_handler=found.log) as client:
        listed = await client.call_tool("list_research_documents", {"limit": MOST_DOCUMENTS})
        paths = [document["path"] for document in (listed.structured_content or {})["documents"]]
        texts = {path: await read(client, path) for path in paths}

        async def call(tool: str, shown: str, **arguments: Any) -> Mapping[str, Any]:
            started = monotonic()
            answer = answer_of(await client.call_tool(tool, arguments, raise_on_error=False))
            what = answer["error"]["message"] if "error" in answer else f"route {answer['route']}"
            print(f"  {tool}, {shown}: {what}, {monotonic() - started:.1f} s", flush=True)
            return answer

        for path in paths:
            answer = await call("summarize_document", path, document_path=path)
            wrong = wrong_error(answer["error"]) if "error" in answer else wrong_summary(answer)
            found.note(f"summarize_document, {path}", answer, wrong)
        for question in questions:
            answer = await call(
                "synthesize_research", question, document_paths=paths, research_question=question
            )
            wrong = wrong_error(answer["error"]) if "error" in answer else wrong_synthesis(answer, texts)
            found.note(f"synthesize_research, {question}", answer, wrong)
    if not found.answered:
        found.failures.append("nothing was answered")
    return found


async def read(client: Client[Any], path: str) -> str:
    """Return all lines of a document, as read_document shows them."""
    lines: list[str] = []
    start: int | None = 1
    while start is not None:
        arguments = {"document_path": path, "start_line": start, "max_lines": LINES_AT_ONCE}
        page = (await client.call_tool("read_document", arguments)).structured_content or {}
        lines += [line["text"] for line in page["lines"]]
        start = page["next_start_line"]
    return "\n".join(lines)


async def served_model(url: str, key: str | None) -> str:
    """Return the first model that a server lists."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(timeout=30) as http:
        response = await http.get(f"{url.rstrip('/')}/models", headers=headers)
    name: str = response.raise_for_status().json()["data"][0]["id"]
    return name


async def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("folder", type=Path, nargs="?", default=SAMPLES)
    options.add_argument(
        "--question", action="append", help="asked over all documents, in place of the usual ones"
    )
    chosen = options.parse_args()
    url = os.environ.get("RESEARCH_TEST_MODEL_URL")
    if not url:
        options.error("RESEARCH_TEST_MODEL_URL is not set")
    key = os.environ.get("RESEARCH_TEST_MODEL_KEY")
    model = os.environ.get("RESEARCH_TEST_MODEL") or await served_model(url, key)
    given: dict[str, Any] = {
        "roots": str(chosen.folder),
        "model_route": "provider",
        "provider": os.environ.get("RESEARCH_PROVIDER", "openai"),
        "provider_url": url,
        "provider_model": model,
    }
    settings = Settings.load(**(given | ({"provider_key": key} if key else {})))
    print(f"{model} at {url}")
    found = await smoke(settings, questions=chosen.question or QUESTIONS)
    print(found.report())
    for failure in found.failures:
        print(failure)
    calls = found.answered + found.failed
    print(f"{calls - min(calls, len(found.failures))} passed, {len(found.failures)} failed")
    return int(bool(found.failures))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
