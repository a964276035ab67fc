"""A folder to read, and both ways of opening what is in it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from research_shared.access.roots import Root, RootsPolicy

Policy = Callable[..., RootsPolicy]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "research"
    root.mkdir()
    return root


@pytest.fixture(params=["openat2", "walk"])
def policy(request: pytest.FixtureRequest, folder: Path) -> Policy:
    """Makes a policy, over `folder` unless roots are given, that opens in one way or the other."""

    def make(*roots: Root, include_hidden: bool = False) -> RootsPolicy:
        return RootsPolicy(
            roots or (Root("research", folder),),
            include_hidden=include_hidden,
            openat2=request.param == "openat2",
        )

    return make
