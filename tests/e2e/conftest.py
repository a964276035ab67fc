"""Fixtures of the main job's tests."""

from pathlib import Path

import pytest

from research_shared.access.roots import Root
from research_shared.settings import Settings
from support.clients import SAMPLES, Observer


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        roots=(Root("samples", SAMPLES),),
        audit_log=tmp_path / "audit.jsonl",
        watch=False,
        extract_workers=1,
        search_deadline_s=60,
        retry_base_s=0.0,
    )
