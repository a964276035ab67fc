"""A server whose tool fails with any error that there is."""

from collections.abc import Iterator
from typing import Any

from fastmcp import FastMCP

from research_shared.errors import DocumentUnreadable, ResearchError
from research_shared.middleware.boundary import ErrorBoundary


def error_classes(base: type[ResearchError] = ResearchError) -> Iterator[type[ResearchError]]:
    """Every class of the tree in `errors.py`, with a code of its own or that of its base, in the order of the tree."""
    yield base
    for derived in base.__subclasses__():
        if derived.__module__.startswith("research_shared."):  # a server's own are of one of these kinds
            yield from error_classes(derived)


def example(kind: type[ResearchError]) -> ResearchError:
    """An error of this class, with a detail."""
    more = {"reason": "damaged"} if kind is DocumentUnreadable else {"detail": [1, {"two": None}]}
    return kind(f"the {kind.__name__} of this call", **more)


def raising_server() -> FastMCP[Any]:
    """A server with the tool `fail`, which declares a result and raises the error class of the name that it is given."""
    server: FastMCP[Any] = FastMCP("raising", middleware=[ErrorBoundary()], mask_error_details=True)
    kinds = {kind.__name__: kind for kind in error_classes()}

    @server.tool
    async def fail(name: str) -> dict[str, int]:
        if name not in kinds:
            raise RuntimeError("the secret /etc/passwd")
        raise example(kinds[name])

    @server.resource("fail://{name}")
    async def failing(name: str) -> str:
        raise example(kinds[name])

    return server
