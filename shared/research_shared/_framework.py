"""The private names of FastMCP that the servers use, each with its reason and its public way out.

No other module of `research_shared`, `research_documents` and `research_reasoning` reads or sets a private attribute of
another package or imports a private module. The gateway has an adapter of its own. Subclasses also override hooks that
FastMCP documents and names with an underscore, because only the base class calls them:

- `DocumentResources` overrides `Provider._list_resources` and `Provider._get_resource`, `AnswerApp` the second of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fastmcp import FastMCP
from fastmcp.server.dependencies import FastMCPRequestContext
from mcp.server.lowlevel import Server


def low_level_server(server: FastMCP[Any]) -> Server[Any]:
    """Return the SDK's server inside a FastMCP server.

    Private: `FastMCP._mcp_server`. FastMCP takes every part of a server's identity but the title, and its own handler of
    `resources/list` can only cut a page out of the whole list. Way out: a `title` argument, and a public method that
    replaces the handler of a listing.
    """
    return server._mcp_server  # noqa: SLF001


@contextmanager
def progress_token_set(request: FastMCPRequestContext, token: str) -> Iterator[None]:
    """Give a request without a progress token this one while a block runs, so that `Context.report_progress` reports.

    Private: `FastMCPRequestContext._srctx`, FastMCP's escape hatch to the SDK's request context, where
    `Context.report_progress` looks for the token. Way out: a public hook for the progress reports of a request.
    """
    served = request._srctx  # noqa: SLF001
    request._srctx = replace(served, meta={**(served.meta or {}), "progress_token": token})  # noqa: SLF001
    try:
        yield
    finally:
        request._srctx = served  # noqa: SLF001
