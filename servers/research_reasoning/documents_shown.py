"""What a model is told of many documents at once: names, and how a few of them begin."""

from collections.abc import Sequence
from typing import Final

from research_reasoning.call import Call
from research_reasoning.replies.untrusted import quoted
from research_shared.errors import ResearchError
from research_shared.text.sizes import counted

DESCRIPTION_TOKENS: Final = 700
"""Tokens of the description, about."""
MAX_NAMED_DOCUMENTS: Final = 24
MAX_SAMPLES: Final = 4
MAX_SAMPLE_CHARS: Final = 240


async def folder_description(call: Call, paths: Sequence[str]) -> str:
    """Return names of documents from all of the paths, and how a few of them begin: their languages and words."""
    named = _spread_over(paths, MAX_NAMED_DOCUMENTS)
    beginnings = []
    for path in _spread_over(paths, MAX_SAMPLES):
        try:
            text = await call.library.read(path)
        except ResearchError:
            continue  # its name is enough
        words = " ".join(" ".join(text.lines(1, 12)).split())[:MAX_SAMPLE_CHARS]
        beginnings.append(f"{quoted(path)} begins: {words}")
    return "\n".join([f"{counted(len(paths), 'document')}, among them:", *map(quoted, named), *beginnings])


def _spread_over(paths: Sequence[str], most: int) -> list[str]:
    """Return at most so many of the paths, evenly from all of them."""
    step = max(1, -(-len(paths) // most))
    return list(paths[::step][:most])
