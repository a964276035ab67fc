"""Private names of other packages are used in the adapter modules `_framework.py` alone, which say why."""

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import research_gateway._framework
import research_shared._framework
from support.sources import ROOT, nodes_of

ADAPTER = "_framework.py"
SOURCES = {
    ".".join(source.relative_to(ROOT / folder).with_suffix("").parts): source
    for folder in ("shared", "servers", "gateway")
    for source in sorted((ROOT / folder).rglob("*.py"))
    if source.stem not in {"__init__", "__main__"}
}
PUBLIC_IN_SPITE_OF_THEIR_NAMES = {
    "_asdict": "a documented method of named tuples",
    "_exit": "a documented function of `os`",
    "_replace": "a documented method of named tuples",
}
BY_NAME = {"getattr", "setattr", "hasattr", "delattr", "attrgetter"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The private names that a module defines: functions, classes, variables, and attributes of its own objects."""
    names: set[str] = set()
    for node in nodes:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                names.add(name)
    return {name for name in names if is_private(name)}


def private_uses(nodes: Iterable[ast.AST]) -> Iterator[tuple[ast.expr | None, str]]:
    """Each private attribute that is read, set or named in a call, with the object; None for what is imported."""
    for node in nodes:
        match node:
            case ast.Attribute(value=value, attr=name) if is_private(name):
                yield value, name
            case ast.Call(func=ast.Name(id=function), args=args) if function in BY_NAME:
                yield from (
                    (args[0], arg.value)
                    for arg in args
                    if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and is_private(arg.value)
                )
            case ast.Import(names=aliases):
                yield from (
                    (None, alias.name) for alias in aliases if any(map(is_private, alias.name.split(".")))
                )
            case ast.ImportFrom(module=str(module), names=aliases) if not module.startswith("research_"):
                parts = [*module.split("."), *(alias.name for alias in aliases)]
                yield from ((None, f"{module}.{part}") for part in parts if is_private(part))


def foreign(nodes: Collection[ast.AST], of_the_house: set[str]) -> set[str]:
    """The private names of other packages in a module. `of_the_house` are those that our packages define.

    An object other than `self` may be foreign, so its attribute must be one that the module itself defines.
    """
    own = own_names(nodes)
    found = set()
    for value, name in private_uses(nodes):
        if isinstance(value, ast.Name) and value.id in {"self", "cls"}:
            known = own | of_the_house
        else:
            known = own | PUBLIC_IN_SPITE_OF_THEIR_NAMES.keys()
        if value is None or name not in known:
            found.add(name)
    return found


def test_private_names_of_others_are_seen() -> None:
    source = """
import _thread
from mcp.client import _transport
from mcp.shared._httpx_utils import stream
from fastmcp import _Hidden
import os

class Mine:
    def __init__(self, other): self._other = other; self._inherited(); self.__secret = 1
    def same(self, other): return other._other, self._elsewhere, self.__secret
    def foreign(self, server): server._mcp_server.title = setattr(server, "_name", getattr(server, "name"))
    def named(self, item): return item._replace(a=1), os._exit(0)
"""
    seen = foreign([*ast.walk(ast.parse(source))], {"_elsewhere"})
    assert seen == {
        "_thread",
        "mcp.client._transport",
        "mcp.shared._httpx_utils._httpx_utils",
        "fastmcp._Hidden",
        "_inherited",
        "_mcp_server",
        "_name",
    }


def test_no_private_name_of_another_package_stands_outside_the_adapters() -> None:
    modules = {module: nodes_of(source) for module, source in SOURCES.items()}
    # A base class may be of another package of the house.
    own = set[str]().union(*map(own_names, modules.values()))
    used = {module: names for module, nodes in modules.items() if (names := foreign(nodes, own))}
    adapters = {module for module, source in SOURCES.items() if source.name == ADAPTER}
    assert used.keys() == adapters, {module: used[module] for module in used.keys() - adapters}


def test_the_adapters_say_why_they_use_each_private_name_and_how_to_get_rid_of_it() -> None:
    for adapter in (research_shared._framework, research_gateway._framework):
        for name, function in inspect.getmembers(adapter, inspect.isfunction):
            if function.__module__ == adapter.__name__:
                doc = inspect.getdoc(function) or ""
                used = foreign([*ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))], set())
                assert used, f"{name} of {adapter.__name__} needs no adapter"
                assert "Private: `" in doc, f"{name} of {adapter.__name__} does not name what is private"
                assert "Way out: " in doc, f"{name} of {adapter.__name__} does not name the way out"
                for part in used:
                    assert part.rpartition(".")[2] in doc, (
                        f"{name} of {adapter.__name__} does not name {part}"
                    )


@cache
def names_in_classes(file: str) -> dict[str, set[str]]:
    """The private names that each class of a file defines as methods or variables, or sets on `self`."""
    found: dict[str, set[str]] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[prefix + node.name] = own_names(ast.walk(node)) - {node.name}
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(Path(file).read_bytes()).body, "")
    return found


def names_in_class(kind: type) -> set[str]:
    file = getattr(sys.modules[kind.__module__], "__file__", None)
    if file is None or not file.endswith(".py"):  # written in C
        return set()
    return names_in_classes(file).get(kind.__qualname__, set())


def overridden(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Classes of a module with the private names that they share with a base class of another package."""
    for kind in vars(module).values():
        if not inspect.isclass(kind) or kind.__module__ != module.__name__:
            continue
        bases: list[Any] = [base for base in kind.__mro__ if not base.__module__.startswith("research_")]
        inherited = set[str]().union(*map(names_in_class, bases))
        yield from ((kind.__qualname__, name) for name in sorted(names_in_class(kind) & inherited))


def test_a_private_name_that_a_subclass_shares_with_a_foreign_base_is_named_in_an_adapter() -> None:
    shared = {
        (module.partition(".")[0], kind, name)
        for module in SOURCES
        for kind, name in overridden(importlib.import_module(module))
    }
    assert ("research_gateway", "UpstreamProvider", "_list_tools") in shared
    for package, kind, name in sorted(shared):
        adapter = research_gateway if package == "research_gateway" else research_shared
        doc = adapter._framework.__doc__ or ""
        assert f"`{kind}`" in doc, f"{kind}.{name} is private to a base class of another package"
        assert name in doc, f"{kind}.{name} is private to a base class of another package"
