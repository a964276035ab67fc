"""A small folder and the settings of a gateway over it."""

from pathlib import Path

import pytest

from research_shared import Root
from research_shared.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "research"
    folder.mkdir()
    (folder / "a.md").write_text("The pilot cost 4 000 EUR.\n", encoding="utf-8")
    return Settings(
        roots=(Root("research", folder),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        model_route="extractive",
    )
