"""The columns of a table when none are given: chosen by the model, or the question itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from research_reasoning import prompts
from research_reasoning.call import Call
from research_reasoning.documents_shown import DESCRIPTION_TOKENS, folder_description
from research_reasoning.evidence import answers
from research_reasoning.inquiry import MAX_ASPECT_CHARS, MAX_ASPECTS, Inquiry
from research_reasoning.models.protocol import Body, Completion, Extract, Prompt, PromptOutcome, key_of

ASPECTS_TOKENS: Final = 300
MOST_CHOSEN: Final = 6
"""Aspects that a model is asked for."""
_ASPECTS_KEY: Final = "aspects"
_ROUNDS_AFTER: Final = 2


class AspectsTask:
    """The prompt for the columns of a table, and its result. It can be asked along with other prompts."""

    def __init__(self, call: Call, inquiry: Inquiry, paths: Sequence[str]) -> None:
        self._call = call
        self._inquiry = inquiry
        self._paths = paths
        self._key = key_of(prompts.PROMPTS_VERSION, _ASPECTS_KEY, inquiry, call.boundary)

    @property
    def is_open(self) -> bool:
        """Whether the model is to be asked: a table without columns, and not yet answered."""
        return (
            self._inquiry.format == "table"
            and not self._inquiry.aspects
            and self._call.model.route != "extractive"
            and self._call.ledger.get_result(_ASPECTS_KEY) is None
        )

    def prompt(self) -> Prompt:
        """Return the prompt."""

        async def build() -> Body:
            return prompts.aspects(
                inquiry=self._inquiry,
                folder=await folder_description(self._call, self._paths),
                most=MOST_CHOSEN,
                boundary=self._call.boundary,
            )

        async def nothing_to_extract() -> Extract:
            raise AssertionError("the extractive route is not asked for aspects")

        return Prompt(
            self._key,
            "the columns of the table",
            ASPECTS_TOKENS,
            build,
            nothing_to_extract,
            DESCRIPTION_TOKENS + self._call.budget.overhead,
            brief=True,
            usable=lambda answer: bool(answers.table_aspects(answer, MOST_CHOSEN)),
        )

    def settle(self, outcome: PromptOutcome | None) -> Inquiry:
        """Return the inquiry with its columns, the same in every round. `outcome` is None if the model was not asked."""
        inquiry, call = self._inquiry, self._call
        if inquiry.format != "table" or inquiry.aspects:
            return inquiry
        chosen: list[str] | None = call.ledger.get_result(_ASPECTS_KEY)
        if chosen is None:
            said = answers.table_aspects(outcome.text, MOST_CHOSEN) if isinstance(outcome, Completion) else []
            chosen = list(dict.fromkeys(aspect[:MAX_ASPECT_CHARS] for aspect in said))[:MAX_ASPECTS]
            call.ledger.set_result(_ASPECTS_KEY, chosen, replaces=[self._key])
        return replace(inquiry, aspects=tuple(chosen) or (inquiry.question,))


async def chosen_aspects(call: Call, inquiry: Inquiry, paths: Sequence[str]) -> Inquiry:
    """Return the inquiry with the columns of its table, for which the model is asked if there are none."""
    task = AspectsTask(call, inquiry, paths)
    outcome = None
    if task.is_open:
        (outcome,) = await call.ask([task.prompt()], reserve=_ROUNDS_AFTER)
    return task.settle(outcome)
