"""The examples of docstrings are run: what a stranger copies from them works."""

import ast
import doctest
import importlib
import inspect
import runpy
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
script = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "make_architecture.py")))
MODULES: dict[str, Path] = script.modules()
ENTRY_POINTS = {"build_documents_server", "build_gateway", "build_reasoning_server", "RootsPolicy"}
PARSER = doctest.DocTestParser()
CHECKER = doctest.OutputChecker()


def documented() -> Iterator[tuple[str, str, ast.AST, list[doctest.Example]]]:
    """All functions and classes of the project, and the modules themselves: module, name, definition, its examples."""
    for module, file in MODULES.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node, clean=True) or ""
                examples = PARSER.get_examples(text) if ">>>" in text else []  # to look for one takes longer
                yield module, getattr(node, "name", module), node, examples


DOCUMENTED = list(documented())
EXAMPLES = {f"{module}.{name}": (module, found) for module, name, _, found in DOCUMENTED if found}
MIDDLEWARE = {
    name
    for _, name, node, _ in DOCUMENTED
    if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "Middleware" for base in node.bases)
}


async def outcomes(examples: list[doctest.Example], names: dict[str, Any]) -> list[tuple[str, str]]:
    """Run the statements of one docstring, which may await: what each of them should print, and what it prints."""
    compared = []
    for example in examples:
        code = compile(example.source, "<example>", "single", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with redirect_stdout(StringIO()) as printed:
            result = FunctionType(code, names)()
            if inspect.iscoroutine(result):
                await result
        compared.append((example.want, printed.getvalue()))
    return compared


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where examples run: with a folder `research` that has one document."""
    (tmp_path / "research").mkdir()
    (tmp_path / "research" / "tides.md").write_text("# Tides\n\nThe moon pulls the sea.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_an_example_that_prints_something_else_is_seen() -> None:
    text = ">>> import anyio\n>>> async with anyio.create_task_group():\n...     await anyio.sleep(0)\n...     print(2)\n1\n"
    assert await outcomes(PARSER.get_examples(text), {}) == [("", ""), ("1\n", "2\n")]


def test_what_a_stranger_starts_with_has_an_example() -> None:
    assert len(MIDDLEWARE) > 10
    with_example = {name.rpartition(".")[2] for name in EXAMPLES}
    assert with_example >= MIDDLEWARE | ENTRY_POINTS, (MIDDLEWARE | ENTRY_POINTS) - with_example


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_the_example_works(name: str) -> None:
    module, examples = EXAMPLES[name]
    names = dict(vars(importlib.import_module(module)))
    for wanted, printed in await outcomes(examples, names):
        assert CHECKER.check_output(wanted, printed, doctest.ELLIPSIS), f"{printed!r} instead of {wanted!r}"
