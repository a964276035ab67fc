"""The client of fastmcp-tasks, in an environment of its own: `python fastmcp_tasks_client.py URL TOKEN`."""

import asyncio
import sys
from importlib.metadata import version

from fastmcp import Client
from fastmcp_tasks import call_tool_task

SUMMARIZE = ("summarize_document", {"document_path": "tides.md"})


async def main(url: str, token: str) -> None:
    async with Client(url, auth=token) as client:
        plain = await client.call_tool(*SUMMARIZE)
        assert plain.structured_content["route"] == "provider", plain
        task = await call_tool_task(client, *SUMMARIZE)
        assert (await task.result()).structured_content["document_path"] == "tides.md"
        cancelled = await call_tool_task(client, *SUMMARIZE)
        await cancelled.cancel()
        assert (await cancelled.wait()).status in {"cancelled", "completed"}
    print(f"fastmcp-tasks {version('fastmcp-tasks')} gets a task, its result and a cancellation")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
