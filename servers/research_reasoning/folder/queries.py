"""The queries that evidence is looked for with: the question, and those that a model writes for it in one cheap call."""

from typing import Final

from research_reasoning import prompts
from research_reasoning.budget import OVERHEAD
from research_reasoning.call import Call
from research_reasoning.documents_shown import DESCRIPTION_TOKENS, folder_description
from research_reasoning.evidence import answers
from research_reasoning.inquiry import Inquiry
from research_reasoning.layouts.aspects import AspectsTask
from research_reasoning.models.protocol import Body, Completion, Cost, Extract, Prompt, PromptOutcome, key_of
from research_reasoning.requested import WholeFolder

MAX_QUERIES: Final = 6
"""Queries that a model writes for one question."""
QUERIES_TOKENS: Final = 400
_ROUNDS_OF_EVIDENCE: Final = 2
"""Rounds reserved for the evidence and its repair; those of the combination are added."""
_QUERIES_KEY: Final = "queries"

QUERIES_COST: Final = Cost(OVERHEAD + DESCRIPTION_TOKENS, QUERIES_TOKENS)


def rounds_after_queries(inquiry: Inquiry) -> int:
    """Return the rounds that are reserved for what follows the queries."""
    return _ROUNDS_OF_EVIDENCE + inquiry.later_rounds


async def written_queries(call: Call, inquiry: Inquiry, where: WholeFolder) -> tuple[list[str], Inquiry]:
    """Return what to search for, the same in every round, and the inquiry with the columns of its table.

    The question comes first, then the aspects of a table, then the queries of the model. A question that follows others is
    searched for with the last of them as well. Without a model there are no further queries.
    """
    paths = await _paths_of(call, where)
    columns = AspectsTask(call, inquiry, paths)
    kept: list[str] | None = call.ledger.get_result(_QUERIES_KEY)
    asked: list[Prompt] = []
    if kept is None and call.model.route != "extractive":
        asked.append(_prompt(call, inquiry, paths))
    if columns.is_open:
        asked.append(columns.prompt())
    outcomes: dict[str, PromptOutcome] = {}
    if asked:
        given = await call.ask(asked, reserve=rounds_after_queries(inquiry))
        outcomes = {prompt.key: outcome for prompt, outcome in zip(asked, given, strict=True)}
    settled = columns.settle(outcomes.get(columns.prompt().key))
    if kept is None:
        key = key_of(*_queries_identity(call, inquiry))
        kept = await _searched(call, inquiry, outcomes.get(key))
        call.ledger.set_result(_QUERIES_KEY, kept, replaces=[key])
    return list(dict.fromkeys([inquiry.question, *settled.aspects, *kept])), settled


async def _searched(call: Call, inquiry: Inquiry, outcome: PromptOutcome | None) -> list[str]:
    """Return what is searched for besides the question."""
    written = answers.search_queries(outcome.text, MAX_QUERIES) if isinstance(outcome, Completion) else []
    if outcome is not None and not written:
        await call.client.warning(
            "the model wrote no search queries; the question itself is searched for", once=True
        )
    return [*inquiry.earlier[-1:], *written]


async def _paths_of(call: Call, where: WholeFolder) -> list[str]:
    """Return the paths of what is asked about."""
    matches = where.paths.compiled()
    return [
        info.path
        for info in await call.library.documents()
        if where.wanted.admits_info(info) and matches(info.path)
    ]


def _queries_identity(call: Call, inquiry: Inquiry) -> tuple[object, ...]:
    return (prompts.PROMPTS_VERSION, "queries", inquiry, call.boundary)


def _prompt(call: Call, inquiry: Inquiry, paths: list[str]) -> Prompt:
    async def build() -> Body:
        return prompts.queries(
            inquiry=inquiry,
            folder=await folder_description(call, paths),
            most=MAX_QUERIES,
            boundary=call.boundary,
        )

    async def nothing_to_extract() -> Extract:
        raise AssertionError("the extractive route is not asked for queries")

    return Prompt(
        key_of(*_queries_identity(call, inquiry)),
        "search queries",
        QUERIES_TOKENS,
        build,
        nothing_to_extract,
        QUERIES_COST.input_tokens + call.estimate(inquiry.question),
        brief=True,
        usable=lambda answer: bool(answers.search_queries(answer, MAX_QUERIES)),
    )
