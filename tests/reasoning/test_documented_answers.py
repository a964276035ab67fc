"""The examples on the page about reasoning: each call gives the lines that stand below it."""

import json
import re
from pathlib import Path

import pytest

from support.carriers import connected
from support.clients import SAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "reasoning.md"
EXAMPLE = re.compile(
    r"^### ([^\n]+)\n(?:(?!^##).)*?^```json\n(.*?)^```\n\n<!--[^\n]*-->\n```text\n(.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {
    title: (calls, lines) for title, calls, lines in EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
}


def test_each_form_of_an_answer_has_an_example() -> None:
    assert list(EXAMPLES) == ["Tables", "Timelines", "Questions that follow", "Files"]


@pytest.mark.parametrize("title", EXAMPLES)
async def test_an_example_of_the_page_gives_what_stands_below_it(title: str) -> None:
    calls, lines = EXAMPLES[title]
    text = token = ""
    decoder, at = json.JSONDecoder(), 0
    async with connected("extractive", SAMPLES) as session:
        while calls[at:].strip():
            at += len(calls[at:]) - len(calls[at:].lstrip())
            arguments, at = decoder.raw_decode(calls, at)
            if "follow_up" in arguments:
                arguments["follow_up"] = token
            result = await session.client.call_tool("synthesize_research", arguments)
            assert result.structured_content is not None
            token = result.structured_content.get("follow_up", "")
            text = result.content[0].text  # type: ignore[union-attr]
    for line in lines.splitlines():
        assert line in text
