"""The queries that evidence is looked for with: the question, and those that a model writes for it in one cheap call."""

from typing import Final

from research_reasoning import prompts
from research_reasoning.budget import OVERHEAD
from research_reasoning.call import Call
from research_reasoning.evidence import answers
from research_reasoning.models.protocol import Body, Completion, Cost, Extract, Prompt, key_of
from research_reasoning.replies.untrusted import quoted
from research_reasoning.requested import WholeFolder
from research_shared.access.globs import compile_pattern
from research_shared.errors import ResearchError

MAX_QUERIES: Final = 6
"""Queries that a model writes for one question."""
QUERIES_TOKENS: Final = 400
FOLDER_TOKENS: Final = 700
"""Tokens of what the model is shown of the folder, about."""
MAX_NAMED_DOCUMENTS: Final = 24
MAX_SAMPLES: Final = 4
MAX_SAMPLE_CHARS: Final = 240
LATER_ROUNDS: Final = 4
"""Rounds reserved for the evidence, the combination and their repairs."""
_QUERIES_KEY: Final = "queries"

QUERIES_COST: Final = Cost(OVERHEAD + FOLDER_TOKENS, QUERIES_TOKENS)


async def written_queries(call: Call, question: str, where: WholeFolder) -> list[str]:
    """Return the question, then the queries of the model, the same in every round. Without a model, the question alone."""
    kept: list[str] | None = call.ledger.get_result(_QUERIES_KEY)
    if kept is not None:
        return kept
    written: list[str] = []
    if call.model.route != "extractive":
        prompt = _prompt(call, question, where)
        (outcome,) = await call.ask([prompt], reserve=LATER_ROUNDS)
        if isinstance(outcome, Completion):
            written = answers.search_queries(outcome.text, MAX_QUERIES)
        if not written:
            await call.client.warning(
                "the model wrote no search queries; the question itself is searched for", once=True
            )
    queries = list(dict.fromkeys([question, *written]))
    call.ledger.set_result(_QUERIES_KEY, queries, replaces=[key_of(*_queries_identity(call, question))])
    return queries


def _queries_identity(call: Call, question: str) -> tuple[object, ...]:
    return (prompts.PROMPTS_VERSION, "queries", question, call.boundary)


def _prompt(call: Call, question: str, where: WholeFolder) -> Prompt:
    async def build() -> Body:
        return prompts.queries(
            question=question,
            folder=await _described_folder(call, where),
            most=MAX_QUERIES,
            boundary=call.boundary,
        )

    async def nothing_to_extract() -> Extract:
        raise AssertionError("the extractive route is not asked for queries")

    return Prompt(
        key_of(*_queries_identity(call, question)),
        "search queries",
        QUERIES_TOKENS,
        build,
        nothing_to_extract,
        QUERIES_COST.input_tokens + call.estimate(question),
        brief=True,
        usable=lambda answer: bool(answers.search_queries(answer, MAX_QUERIES)),
    )


async def _described_folder(call: Call, where: WholeFolder) -> str:
    """Return names of documents from all that is asked about, and how a few of them begin: their languages and words."""
    matches = [compile_pattern(pattern) for pattern in where.patterns]
    paths = [
        info.path
        for info in await call.library.documents()
        if where.wanted.admits_info(info) and any(matching(info.path) for matching in matches)
    ]
    named = _spread_over(paths, MAX_NAMED_DOCUMENTS)
    beginnings = []
    for path in _spread_over(paths, MAX_SAMPLES):
        try:
            text = await call.library.read(path)
        except ResearchError:
            continue  # its name is enough
        words = " ".join(" ".join(text.lines(1, 12)).split())[:MAX_SAMPLE_CHARS]
        beginnings.append(f"{quoted(path)} begins: {words}")
    return "\n".join([f"{len(paths)} documents, among them:", *map(quoted, named), *beginnings])


def _spread_over(paths: list[str], most: int) -> list[str]:
    """Return at most so many of the paths, evenly from all of them."""
    step = max(1, -(-len(paths) // most))
    return paths[::step][:most]
