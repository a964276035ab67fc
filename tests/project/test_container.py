"""The image installs what is locked, and the lock is in step with pyproject.toml."""

import re
import runpy
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from research_shared.serving.version import VERSION

ROOT = Path(__file__).parents[2]
LOCKING: dict[str, Any] = runpy.run_path(str(ROOT / "deploy" / "lock.py"))
HASH = re.compile(r"sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = LOCKING["read_lock"](
        (ROOT / "deploy" / name).read_text(encoding="utf-8")
    )
    return found


def wanted() -> dict[str, list[str]]:
    """Everything that each lock is to hold, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = [project["project"]["optional-dependencies"][extra] for extra in LOCKING["EXTRAS"]]
    return {
        LOCKING["LOCK"]: [*project["project"]["dependencies"], *chain.from_iterable(extras)],
        LOCKING["BUILD_LOCK"]: [*project["build-system"]["requires"], LOCKING["BILL_TOOL"]],
    }


@pytest.mark.parametrize("name", [LOCKING["LOCK"], LOCKING["BUILD_LOCK"]])
def test_what_is_wanted_is_locked_in_a_version_that_is_allowed(name: str) -> None:
    versions = {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in map(Requirement, locked(name))
    }
    for each in map(Requirement, wanted()[name]):
        assert each.specifier.contains(versions[canonicalize_name(each.name)], prereleases=True), each


@pytest.mark.parametrize("name", [LOCKING["LOCK"], LOCKING["BUILD_LOCK"]])
def test_every_version_is_exact_and_every_file_has_its_hash(name: str) -> None:
    for requirement, hashes in locked(name).items():
        assert [each.operator for each in Requirement(requirement).specifier] == ["=="]
        assert hashes
        assert all(map(HASH.fullmatch, hashes)), requirement


def test_a_lock_that_is_out_of_step_is_told() -> None:
    kept = {"a==1": frozenset({"x"}), "b==1": frozenset({"y"}), "c==1": frozenset({"z"})}
    fresh = {
        "a==1": frozenset({"x", "of a wheel that came later"}),
        "b==2": frozenset({"y"}),
        "c==1": frozenset({"w"}),
    }
    assert LOCKING["differences"](kept, fresh) == [
        "b==1 is not needed",
        "b==2 is missing",
        "c==1 has hashes of files that are not there",
    ]


def test_the_image_has_one_pinned_base_and_the_version_of_the_program() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (base,) = [line for line in lines if line.startswith("ARG PYTHON_IMAGE=")]
    assert base.removeprefix("ARG PYTHON_IMAGE=python:").startswith(LOCKING["PYTHON"])
    assert HASH.fullmatch(base.partition("@")[2])
    stages = {line.split(" AS ")[1] for line in lines if line.startswith("FROM ") and " AS " in line}
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} <= {"${PYTHON_IMAGE}", *stages}
    assert f"ARG VERSION={VERSION}" in lines
