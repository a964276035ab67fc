"""One name has one meaning in the whole house."""

import ast
from collections import defaultdict
from collections.abc import Iterator

from support.sources import ROOT, module_of

SOURCES = sorted(
    source
    for folder in ("shared/research_shared", "servers", "gateway/research_gateway")
    for source in (ROOT / folder).rglob("*.py")
)
SAME_EVERYWHERE = {
    "FORMATS": "the formats that a module of `research_shared.formats` declares, which are found under this name",
    "__all__": "Python's list of the public names of a module",
    "__getattr__": "Python's hook for names that a package loads when they are used",
    "_HOMES": "the modules of the names that a package exports, for `lazy_exports`",
    "app": "the cyclopts application of a command line, which tools look for under this name",
    "create_server": "the factory that `fastmcp run` and entry points call, one for each server",
    "log": "the structlog logger of a module",
    "main": "the entry point of a program",
}
"""Names that several modules define because they mean the same in each, and why they cannot be one object."""


def names_defined_by(body: list[ast.stmt]) -> Iterator[str]:
    """The names that the statements of a module define, those inside `if` and `try` included."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.If() | ast.For() | ast.With() | ast.Try():
                inner = [
                    *statement.body,
                    *getattr(statement, "orelse", []),
                    *getattr(statement, "finalbody", []),
                ]
                for handler in getattr(statement, "handlers", []):
                    inner += handler.body
                yield from names_defined_by(inner)
            case _ if type(statement).__name__ == "TypeAlias":  # Python 3.12 and later
                yield statement.name.id  # type: ignore[attr-defined]


def defined_twice(sources: dict[str, ast.Module]) -> dict[str, list[str]]:
    """The names that more than one module defines, each with its modules."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for module, source in sources.items():
        for name in sorted(set(names_defined_by(source.body))):
            homes[name].append(module)
    return {name: modules for name, modules in homes.items() if len(modules) > 1}


def test_a_name_with_two_meanings_is_seen() -> None:
    sources = {
        "a": "LIMIT = 1\nclass Call: pass\ntry:\n    import re2\nexcept ImportError:\n    _engine = None",
        "b": "LIMIT: int = 2\nasync def _engine(): local = 1",
        "c": "class Call: pass\ndef other():\n    def local(): pass\nif LIMIT:\n    local = 2",
    }
    trees = {module: ast.parse(source) for module, source in sources.items()}
    assert defined_twice(trees) == {"LIMIT": ["a", "b"], "Call": ["a", "c"], "_engine": ["a", "b"]}


def test_each_name_of_a_module_has_one_meaning_in_the_house() -> None:
    assert len(SOURCES) > 150
    twice = defined_twice({str(source.relative_to(ROOT)): module_of(source) for source in SOURCES})
    assert {name: modules for name, modules in twice.items() if name not in SAME_EVERYWHERE} == {}
    assert SAME_EVERYWHERE.keys() <= twice.keys(), "an exception that is none any more"
