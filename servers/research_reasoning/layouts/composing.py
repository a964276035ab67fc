"""Makes the answer from the evidence, in the form that was asked for."""

from collections.abc import Sequence

from research_reasoning.budget import DepthPlan
from research_reasoning.call import Call
from research_reasoning.evidence.combination import Answer, Combination
from research_reasoning.evidence.gathering import DocumentEvidence
from research_reasoning.inquiry import Inquiry
from research_reasoning.layouts.table import table_answer
from research_reasoning.layouts.timeline import timeline_answer


async def compose(
    call: Call,
    inquiry: Inquiry,
    plan: DepthPlan,
    usable: Sequence[tuple[int, DocumentEvidence]],
    warnings: list[str],
    *,
    whole: bool,
) -> Answer:
    """Return the answer from the evidence of the `usable` documents, which have the numbers of their sources.

    Prose is written by the model, a table and a timeline are made without it. `whole` says that it is evidence of all of
    the documents' text. What the answer lacks is added to `warnings`.
    """
    if left_out := sum(found.left_out for _, found in usable):
        warnings.append(
            f"findings of the model left out, which could not be read or were more than asked for: {left_out}"
        )
    if inquiry.format == "table":
        return table_answer(inquiry, usable, warnings)
    if inquiry.format == "timeline":
        return timeline_answer(usable, warnings)
    return await Combination(call, inquiry, plan, usable, warnings, whole=whole).run()
