"""Use docstrings as the descriptions of tools and prompts."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def described(register: Callable[..., Callable[[F], Any]], **options: Any) -> Callable[[F], Any]:
    """Return a decorator that registers a function by `server.tool` or `server.prompt`, described by its whole docstring.

    FastMCP would parse docstrings for sections of parameters. Its parser takes 3 % of a server's start to import, and reads
    every line that ends with a colon as the title of a section.
    """

    def decorate(function: F) -> Any:
        description = inspect.getdoc(function)
        function.__doc__ = None
        return register(description=description, **options)(function)

    return decorate
