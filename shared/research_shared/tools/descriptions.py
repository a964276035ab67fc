"""Docstrings as the descriptions that models read."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def described(register: Callable[..., Callable[[F], Any]], **options: Any) -> Callable[[F], Any]:
    """Register a function by `server.tool` or `server.prompt` with its docstring, as it stands, for a description.

    Left to itself, FastMCP looks for sections of parameters in docstrings, with a library that takes a thirtieth of a
    server's start to import and takes a line that ends with a colon for the title of a section.
    """

    def decorate(function: F) -> Any:
        description = inspect.getdoc(function)
        function.__doc__ = None
        return register(description=description, **options)(function)

    return decorate
