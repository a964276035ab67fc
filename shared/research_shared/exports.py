"""Public names of a package that are imported when they are first used, so that its light modules stay light."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_exports(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module-level `__getattr__` (PEP 562) for `package`.

    `homes` maps each public name to the submodule that defines it. A package uses it as
    `__getattr__ = lazy_exports(__name__, {...})` and repeats the imports under `TYPE_CHECKING` for type checkers.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return get
