"""The examples of docstrings are run: what a stranger copies from them works."""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from support.sources import MODULES, nodes_of

ENTRY_POINTS = {"build_documents_server", "build_gateway", "build_reasoning_server", "RootsPolicy"}
PARSER = doctest.DocTestParser()
CHECKER = doctest.OutputChecker()


def documented() -> Iterator[tuple[str, str, list[doctest.Example]]]:
    """The functions, classes and modules of the project that have examples: module, name, the examples."""
    for module, file in MODULES.items():
        source = file.read_text(encoding="utf-8")
        if (
            ">>>" not in source
        ):  # to take a module apart takes longer, and this is done whenever tests are collected
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node, clean=True) or ""
                if examples := PARSER.get_examples(text) if ">>>" in text else []:
                    yield module, getattr(node, "name", module), examples


EXAMPLES = {f"{module}.{name}": (module, found) for module, name, found in documented()}


def middleware() -> set[str]:
    """The names of the middleware classes of the project."""
    return {
        node.name
        for file in MODULES.values()
        for node in nodes_of(file)
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
    classes = middleware()
    assert len(classes) > 10
    with_example = {name.rpartition(".")[2] for name in EXAMPLES}
    assert with_example >= classes | ENTRY_POINTS, (classes | ENTRY_POINTS) - with_example


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_the_example_works(name: str) -> None:
    module, examples = EXAMPLES[name]
    names = dict(vars(importlib.import_module(module)))
    for wanted, printed in await outcomes(examples, names):
        assert CHECKER.check_output(wanted, printed, doctest.ELLIPSIS), f"{printed!r} instead of {wanted!r}"
