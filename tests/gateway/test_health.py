"""What readiness tells of the index, and of a documents server on its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from research_documents.server import build_standalone_server
from research_shared.access.roots import Root
from research_shared.serving.health import index_check
from research_shared.settings import Settings
from support.asgi import send_request


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


async def test_a_documents_server_on_its_own_names_its_faults_in_readyz(tmp_path: Path) -> None:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "a.md").write_text("text", encoding="utf-8")
    app = build_standalone_server(Settings(roots=(Root("research", folder),), watch=False)).http_app()

    async def readyz() -> tuple[int, Any]:
        answer = await send_request(app, b"", {}, method="GET", path="/readyz")
        return answer.status, json.loads(answer.body)

    status, found = await readyz()
    assert (status, found["status"]) == (200, "ready")
    assert found["checks"]["roots"] == {"ok": True, "research": True}
    assert found["checks"]["faults"] == {"ok": True, "current": []}
    folder.rename(tmp_path / "away")
    status, found = await readyz()
    assert (status, found["status"]) == (503, "unready")
    assert found["checks"]["faults"]["current"] == [{"fault": "root_unavailable", "root": "research"}]
    assert str(tmp_path) not in json.dumps(found)
    (tmp_path / "away").rename(folder)
    assert (await readyz())[0] == 200
