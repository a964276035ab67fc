"""Fixtures of the audit tests."""

from pathlib import Path

import pytest

from research_gateway.audit import AuditOptions


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def options(log: Path) -> AuditOptions:
    return AuditOptions(path=log, fsync="never")
