"""Which tests differ in the long variants: those that `FULL` of `support/sizes.py` reaches, by whatever names.

`RESEARCH_TEST_FULL=1 pytest -m long` runs these alone: any other test does the same in every run of the suite.
"""

import ast
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parents[1]
SIZES = TESTS / "support" / "sizes.py"


def _assigned(node: ast.AST) -> Iterator[str]:
    """The names that a statement of a module gives to something, without those inside of functions and classes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _assigned(child)


def _mentioned(statement: ast.stmt) -> Iterator[str]:
    """The names that occur anywhere in a statement. An argument may be a fixture, and a text the name of one."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _imported(statement: ast.ImportFrom) -> Iterator[str]:
    """The names that vary among those that are imported from another module of the tests."""
    file = TESTS.joinpath(*(statement.module or "").split(".")).with_suffix(".py")
    if file.is_file():
        found = varying_in(file)
        yield from (alias.asname or alias.name for alias in statement.names if alias.name in found)


def varying(source: str, known: Collection[str]) -> frozenset[str]:
    """Return the names of a module that vary: the `known` ones, and what depends on them or on others that vary.

    A statement that is an expression (`CASES.append(…)`) counts as one that assigns every name in it.
    """
    found = set(known)
    statements: list[tuple[set[str], set[str]]] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom):
            found |= {*_imported(statement)}
        elif not isinstance(statement, ast.Import):
            mentioned = {*_mentioned(statement)}
            assigned = mentioned if isinstance(statement, ast.Expr) else {*_assigned(statement)}
            statements.append((assigned, mentioned))
    reached = found
    while reached:
        reached = {
            name for assigned, mentioned in statements if mentioned & found for name in assigned
        } - found
        found |= reached
    return frozenset(found)


@cache
def varying_in(file: Path) -> frozenset[str]:
    """Return the names of a module of the tests that vary, with those of each `conftest.py` above it."""
    folders = [folder for folder in reversed(file.parents) if folder.is_relative_to(TESTS)]
    found = frozenset({"FULL"} if file == SIZES else ())
    for module in (*(folder / "conftest.py" for folder in folders), file):
        if module.is_file():
            found = varying(module.read_text(encoding="utf-8"), found)
    return found


def is_long(file: Path, names: Collection[str]) -> bool:
    """Whether a test varies, by its own name and those of its fixtures.

    A hook that varies (`pytest_collection_modifyitems` of a `conftest.py`) may change every test below its folder.
    """
    found = varying_in(file)
    return not found.isdisjoint(names) or any(name.startswith("pytest_") for name in found)
