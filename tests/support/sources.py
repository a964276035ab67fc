"""The project's own source files, each parsed once for all tests of a process."""

import ast
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
script = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "make_architecture.py")))
MODULES: dict[str, Path] = script.modules()
"""All modules of the project: dotted name to file. A package has the name of its folder."""


@cache
def nodes_of(file: Path) -> tuple[ast.AST, ...]:
    """The module of a file and all that is in it, in the order of `ast.walk`."""
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def module_of(file: Path) -> ast.Module:
    """The module of a file."""
    module = nodes_of(file)[0]
    assert isinstance(module, ast.Module)
    return module
