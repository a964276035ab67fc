"""Fixtures of the audit tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from research_gateway.audit import AuditOptions


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def options(log: Path) -> AuditOptions:
    return AuditOptions(path=log, fsync="never")


@pytest.fixture(autouse=True)
def server_log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as captured:
        yield captured
