"""An agent that answers from a research folder, and cannot give an answer whose quotes were not checked.

    python examples/agent/agent.py "How did burnout change?" [--root FOLDER]

The model searches, reads and drafts as it likes. Its draft is a list of claims with a quote each, and a validator of the
program, not the model, has the server check the quotes: a quote that no document holds, or that only a superseded version
holds, goes back to the model with what the document says instead.

`AGENT_MODEL=anthropic:claude-sonnet-4-5` (with `ANTHROPIC_API_KEY`), or another of pydantic-ai's names, answers with a real
model. Without it a scripted one runs, which quotes a number wrongly at first, as models do.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from fastmcp.client.logging import LogMessage
from fastmcp.client.transports import StdioTransport
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRetry
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

INSTRUCTIONS = (
    "Answer from the research folder alone. Search it, read around what you find, then give claims. Support each claim with "
    "one quote of the document that you cite, word for word. Leave out what you cannot support."
)
TIMEOUT_S = 120


class Claim(BaseModel):
    """One statement, with the words of a document that support it."""

    statement: str
    quote: str = Field(description="word for word, from the document")
    document: str = Field(description="the path that a search or a listing gave")


class Answer(BaseModel):
    """What the agent may say: claims whose quotes were found."""

    claims: list[Claim] = Field(min_length=1)


def build_agent(server: MCPToolset, model: Model | str) -> Agent[None, Answer]:
    """Return the agent. Its answers have passed `verify_quotes` of the server."""
    agent = Agent(model, toolsets=[server], output_type=Answer, instructions=INSTRUCTIONS, retries=3)

    @agent.output_validator
    async def check_quotes(answer: Answer) -> Answer:
        """Refuse an answer with a quote that is not in the document, or in a superseded one only."""
        asked = [{"quote": claim.quote, "document_path": claim.document} for claim in answer.claims]
        checked = await server.direct_call_tool("verify_quotes", {"quotes": asked})
        if problems := [problem for each in checked["quotes"] if (problem := problem_of(each))]:
            print(*(f"refused: {problem}" for problem in problems), sep="\n")
            raise ModelRetry("Correct these quotes or leave their claims out:\n" + "\n".join(problems))
        return answer

    return agent


def problem_of(checked: dict[str, Any]) -> str | None:
    """Return what is wrong with a quote, or None."""
    if checked["verified"]:
        older = checked.get("version")
        return f"{checked['quote']!r}: {checked['document']} is an {older}" if older else None
    nearest = checked.get("nearest")
    instead = f"; the document says {nearest['text']!r}" if nearest else ""
    return f"{checked['quote']!r} is not in the document{instead}"


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stand in for a model: search, quote the hits with a wrong digit, and correct the draft as it is told to."""
    (drafts,) = info.output_tools
    parts = [part for message in messages for part in message.parts]
    question = next(str(part.content) for part in parts if isinstance(part, UserPromptPart))
    answers = [part for part in parts if isinstance(part, ToolReturnPart)]
    if not answers:
        return ModelResponse([ToolCallPart("search_documents", {"query": question, "limit": 3})])
    refused = "\n".join(str(part.content) for part in answers if part.tool_name == drafts.name)
    claims = [
        {"statement": hit["matched_text"], "quote": quote, "document": hit["document"]}
        for hit in found(answers[0])["matches"]
        if f"{hit['document']} is an older version" not in refused
        for quote in [hit["matched_text"] if refused else hit["matched_text"].replace("2.9", "3.9")]
    ]
    return ModelResponse([ToolCallPart(drafts.name, {"claims": claims})])


def found(part: ToolReturnPart) -> dict[str, Any]:
    """Return the structured result of a tool."""
    if not isinstance(part.content, dict):
        raise TypeError(f"{part.tool_name} gave {part.content!r}")
    return part.content


async def unprinted(_message: LogMessage) -> None:
    """Keep the server's log messages out of the output: what they say is in the results too."""


async def main(question: str, roots: list[str], command: str) -> None:
    """Ask the question, and print the claims with their places."""
    model = os.environ.get("AGENT_MODEL") or FunctionModel(scripted, model_name="scripted")
    folders = [argument for root in roots for argument in ("--root", root)]
    with tempfile.TemporaryDirectory() as directory:
        # A server over stdio gets no environment but what it is given. Its audit trail and log would go to our terminal.
        kept = {"RESEARCH_AUDIT_LOG": str(Path(directory) / "audit.jsonl"), "RESEARCH_LOG_LEVEL": "warning"}
        transport = StdioTransport(
            command, ["serve", *folders], env=kept | dict(os.environ), keep_alive=False
        )
        server = MCPToolset(transport, log_handler=unprinted, init_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S)
        async with server:
            result = await build_agent(server, model).run(question)
    for claim in result.output.claims:
        print(f"- {claim.statement}\n    checked: “{claim.quote}” ({claim.document})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask a research folder, with checked quotes.")
    parser.add_argument("question")
    parser.add_argument(
        "--root", action="append", default=[], help="a research folder; RESEARCH_ROOTS otherwise"
    )
    parser.add_argument(
        "--server", default=shutil.which("research-assistant"), help="the command of the server"
    )
    options = parser.parse_args()
    if options.server is None:
        sys.exit("agent.py: no research-assistant on the PATH; name it with --server")
    asyncio.run(main(options.question, options.root, options.server))
