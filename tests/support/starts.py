"""What a fresh interpreter holds after each of several steps, so that one process answers for many starts."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

_PROGRAM = """
import json, logging, sys

found = []

def look():
    handlers = [repr(handler) for handler in logging.getLogger().handlers]
    found.append([list(sys.modules), list(logging.Logger.manager.loggerDict), handlers])

steps = json.loads(sys.argv[1])
for code, arguments in steps:
    sys.argv = ["-c", *arguments]
    try:
        exec(compile(code, "<step>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        if end.code:
            raise
    look()
sys.stderr.write("\\nfound " + json.dumps(found))
"""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The modules, the names of loggers and the root logger's handlers that a process has at one time."""

    modules: frozenset[str]
    loggers: frozenset[str]
    root_handlers: tuple[str, ...]


def after_each(*steps: tuple[str, Sequence[str]]) -> list[Snapshot]:
    """Run each piece of code, with its command line arguments, in one fresh interpreter; what it holds after each.

    What a step must not load, no step before it may load either, and a step that exits must do so with status 0.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESEARCH_")}
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, json.dumps(steps)],
        check=True,
        capture_output=True,
        text=True,
        env=kept,
        timeout=300,
    )
    return [
        Snapshot(modules=frozenset(modules), loggers=frozenset(loggers), root_handlers=tuple(root_handlers))
        for modules, loggers, root_handlers in json.loads(ended.stderr.rpartition("\nfound ")[2])
    ]


_CREATE = """
import os, tempfile
from {server} import create_server
with tempfile.TemporaryDirectory() as folder:
    os.environ['RESEARCH_ROOTS'] = folder
    create_server()
"""
_SERVERS = {
    "nothing": "",
    "an empty server": "from fastmcp import FastMCP; FastMCP('empty')",
    "imports": """
import os
os.environ["RESEARCH_MODEL_ROUTE"] = "nonsense"
import research_gateway.app, research_gateway.cli, research_documents.server, research_reasoning.server
del os.environ["RESEARCH_MODEL_ROUTE"]
""",
    "research_documents.server": "import research_shared.serving.run\n"
    + _CREATE.format(server="research_documents.server"),
    "research_gateway.app": _CREATE.format(server="research_gateway.app"),
    "a gateway with an upstream": "import os; os.environ['RESEARCH_REASONING_URL'] = 'http://127.0.0.1:9/mcp'\n"
    + _CREATE.format(server="research_gateway.app"),
    "a provider": "import research_reasoning.models.provider.client",
}


@cache
def start_of_servers() -> dict[str, Snapshot]:
    """What a process holds after each of these, one after the other:

    nothing, a server of FastMCP without anything, our imports, each of our servers, and the parts that only some need.
    """
    return dict(zip(_SERVERS, after_each(*((code, ()) for code in _SERVERS.values())), strict=True))
