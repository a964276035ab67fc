"""Readiness: what a server checks, and the page that says so."""

from research_shared.serving.health.checks import (
    Check,
    CheckResult,
    faults_check,
    index_check,
    roots_check,
)
from research_shared.serving.health.readiness import add_readiness, readiness

__all__ = [
    "Check",
    "CheckResult",
    "add_readiness",
    "faults_check",
    "index_check",
    "readiness",
    "roots_check",
]
