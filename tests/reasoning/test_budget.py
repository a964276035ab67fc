"""How the tokens of a request are divided among its documents."""

from pathlib import Path

import pytest

from research_reasoning.budget import DEPTHS, Budget
from support.carriers import connected
from support.scripted import ScriptedModel

BUDGET = Budget(call_tokens=24_000, request_tokens=300_000)


@pytest.mark.parametrize(
    ("sizes", "least", "together", "shown"),
    [
        # few large documents: as much of each as a call takes
        ([900_000], 10_000, 60_000, BUDGET.content_tokens),
        ([900_000] * 2, 10_000, 60_000, BUDGET.content_tokens),
        ([900_000] * 4, 10_000, 60_000, 15_000),
        # many: what a depth shows of each
        ([900_000] * 10, 10_000, 60_000, 10_000),
        ([900_000] * 5, 3_000, 15_000, 3_000),
        ([900_000] * 2, 3_000, 15_000, 7_500),
        # what small ones leave goes to the large ones
        ([1_000] * 9 + [900_000], 10_000, 60_000, BUDGET.content_tokens),
        ([2_000] * 8 + [900_000] * 2, 3_000, 15_000, 7_000),
        ([100] * 4, 3_000, 15_000, 14_700),
        ([], 3_000, 15_000, 15_000),
    ],
)
def test_spare_tokens_go_to_few_and_to_large_documents(
    sizes: list[int], least: int, together: int, shown: int
) -> None:
    assert BUDGET.spare_tokens(sizes, least, together) == shown


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20, 60, 200])
@pytest.mark.parametrize("depth", ["overview", "detailed"])
def test_the_limits_of_a_call_and_of_a_request_hold_for_any_number_of_documents(
    count: int, depth: str
) -> None:
    plan = DEPTHS[depth]  # type: ignore[index]
    least = BUDGET.per_document_tokens(count, plan.per_document_tokens)
    shown = BUDGET.spare_tokens([900_000] * count, least, plan.together_tokens)
    assert least <= shown <= BUDGET.content_tokens
    assert count * (shown + BUDGET.overhead) <= BUDGET.planned


async def test_two_large_documents_are_shown_far_beyond_their_share_of_many(folder: Path) -> None:
    names = ["first.md", "second.md"]
    for name in names:
        text = f"# {name}\n\n" + "Relays remove one layer of encryption each.\n\n" * 1_500
        (folder / name).write_text(text, encoding="utf-8")
    model = ScriptedModel()
    async with connected("modern-memory", folder, model) as session:
        result = await session.call(
            "synthesize_research",
            document_paths=[*names, "tor.md"],
            research_question="What is removed?",
            depth="detailed",
        )
    assert [source["coverage"]["complete"] for source in result["sources"]] == [True, True, True]
    sizes = sorted(len(text) for kind, _, text in model.calls if kind == "evidence")
    assert sizes[-1] > 60_000
    assert result["usage"]["input_tokens"] < 60_000
