"""Our tools in a FastMCP server of your own: the documents server alone, or the whole gateway in a namespace.

    python examples/host/host.py [FOLDER]            # shows its tools and a search, in this process
    RESEARCH_ROOTS=FOLDER fastmcp run examples/host/host.py:create_host   # serves it over stdio

Without a folder it uses the sample documents of the package.
"""

import asyncio
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from fastmcp import Client, FastMCP
from fastmcp.client.logging import LogMessage

from research_documents import build_documents_server
from research_gateway import build_gateway
from research_shared import Library, Root, Settings

SAMPLES = Path(str(files("research_gateway"))) / "samples"


def build_host(settings: Settings) -> FastMCP:
    """Return a server with a tool of its own, the documents tools as they are, and the gateway under `research`.

    Errors of our tools keep their codes and hints here: the error boundary is part of each mounted server. One library
    reads the folder once for both.
    """
    host = FastMCP("our tools")

    @host.tool
    def working_days(weeks: int, days_a_week: int = 4) -> int:
        """Return how many days are worked in some weeks."""
        return weeks * days_a_week

    library = Library.from_settings(settings)
    host.mount(build_documents_server(settings, library=library))
    host.mount(build_gateway(settings, library=library), namespace="research")
    return host


def create_host() -> FastMCP:
    """Return the host over the folders of `RESEARCH_ROOTS`, for `fastmcp run`."""
    return build_host(Settings.load())


async def unprinted(_message: LogMessage) -> None:
    """Keep the servers' log messages out of the output: what they say is in the results too."""


async def show(folder: Path) -> None:
    """Print what a client of the host sees."""
    with tempfile.TemporaryDirectory() as directory:
        # Without a file, the audit trail of the gateway goes to standard error.
        settings = Settings(roots=(Root("research", folder),), audit_log=Path(directory) / "audit.jsonl")
        async with Client(build_host(settings), log_handler=unprinted) as client:
            print("tools:", ", ".join(sorted(tool.name for tool in await client.list_tools())))
            print("ours:", (await client.call_tool("working_days", {"weeks": 26})).data)
            query = {"query": "burnout score", "limit": 1}
            for tool in ("search_documents", "research_search_documents"):
                (hit,) = (await client.call_tool(tool, query)).structured_content["matches"]
                print(f"{tool}: {hit['document']}, line {hit['line_number']}: {hit['matched_text']}")
            refused = await client.call_tool(
                "read_document", {"document_path": "../../etc/passwd"}, raise_on_error=False
            )
            print("refused:", refused.content[0].text.splitlines()[0])


if __name__ == "__main__":
    asyncio.run(show(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES))
