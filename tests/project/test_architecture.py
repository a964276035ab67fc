"""The layout that `docs/architecture.md` describes is the one that the code has."""

import ast
import importlib
from collections import Counter

import pytest

from support.sources import MODULES, ROOT, nodes_of, script

MAX_MODULES = 12
PACKAGES = sorted(name for name, file in MODULES.items() if file.name == "__init__.py")


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other: what is left after modules without open imports are taken away."""
    left = {name: set(imported) for name, imported in graph.items()}
    while free := {name for name, imported in left.items() if not imported & left.keys()}:
        for name in free:
            del left[name]
    while unused := {name for name in left if not any(name in imported for imported in left.values())}:
        for name in unused:
            del left[name]
    return [sorted(left)] if left else []


def test_a_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_no_module_imports_itself_over_others() -> None:
    graph = script.graph()
    assert len(graph) > 100
    assert circles(graph) == []


def test_no_folder_holds_more_modules_than_one_looks_through() -> None:
    count = Counter(script.folder_of(name, MODULES) for name in MODULES if name not in PACKAGES)
    assert {folder: number for folder, number in count.items() if number > MAX_MODULES} == {}


def test_the_pictures_of_the_architecture_are_those_of_the_code() -> None:
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == script.document()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_has_a_front_door(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    public = module.__all__
    assert public == sorted(public, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in public:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        module.nothing_of_that_name  # noqa: B018


def test_nothing_private_of_one_module_is_imported_by_another() -> None:
    taken = [
        f"{name} imports {alias.name} of {node.module}"
        for name, file in MODULES.items()
        for node in nodes_of(file)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("research_")
        for alias in node.names
        # A module that runs in a process of its own is named like this, too.
        if alias.name.startswith("_") and f"{node.module}.{alias.name}" not in MODULES
    ]
    assert taken == []
