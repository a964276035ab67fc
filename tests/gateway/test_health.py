"""What readiness tells of the index."""

import pytest

from research_gateway.health import index_check


@pytest.mark.parametrize(
    ("progress", "detail"),
    [
        (None, {"state": "complete"}),
        ((0, 0), {"state": "listing"}),
        ((12, 70), {"state": "building", "done": 12, "total": 70}),
    ],
)
async def test_readiness_tells_how_far_the_index_is_and_does_not_depend_on_it(
    progress: tuple[int, int] | None, detail: dict[str, object]
) -> None:
    finding = await index_check(lambda: progress)()
    assert (finding.ok, finding.detail, finding.required) == (True, detail, False)
