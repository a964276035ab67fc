"""What is wrong with the server at the moment: the kinds of faults, and the registry that components report to."""

from research_shared.faults.kinds import (
    DIRECTORY_FAILING,
    FAULT_KINDS,
    INDEX_FAILED,
    OUT_OF_FILES,
    ROOT_EMPTIED,
    ROOT_EMPTY,
    ROOT_FAILING,
    ROOT_UNAVAILABLE,
    VECTORS_FAILED,
    WATCHING_FAILED,
    WORKERS_FAILED,
    FaultKind,
)
from research_shared.faults.registry import Fault, Faults

__all__ = [
    "DIRECTORY_FAILING",
    "FAULT_KINDS",
    "INDEX_FAILED",
    "OUT_OF_FILES",
    "ROOT_EMPTIED",
    "ROOT_EMPTY",
    "ROOT_FAILING",
    "ROOT_UNAVAILABLE",
    "VECTORS_FAILED",
    "WATCHING_FAILED",
    "WORKERS_FAILED",
    "Fault",
    "FaultKind",
    "Faults",
]
