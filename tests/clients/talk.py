"""A conversation with the driver of one client; `drivers/conversation.py` says in what form."""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

STARTING_S = 60.0
ANSWERING_S = 90.0
ENDING_S = 30.0
LINE_BYTES = 16 * 1024 * 1024

Said = dict[str, Any]


class DriverEnded(Exception):
    """The driver ended although it was needed; the message is what it had to say about that."""


class Talk:
    """Calls through one client."""

    def __init__(self, process: asyncio.subprocess.Process, errors: Any) -> None:
        self._process = process
        self._errors = errors
        self._hello: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._calls: list[asyncio.Future[Said]] = []
        self.tools: list[str] = []
        """The tools that the client was told of."""

    async def listen(self) -> None:
        """Hand out what the driver says until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            answered = self._hello if "tools" in said else self._calls[said["id"]]
            answered.set_result(said)
        self._errors.seek(0)
        ended = DriverEnded(self._errors.read()[-1500:].decode(errors="replace").strip() or "without a word")
        for waiting in (self._hello, *self._calls):
            if not waiting.done():
                waiting.set_exception(ended)
                waiting.exception()  # somebody may have given up waiting

    async def connected(self) -> None:
        async with asyncio.timeout(STARTING_S):
            self.tools = (await self._hello)["tools"]

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")

    def start(self, tool: str, arguments: Mapping[str, Any]) -> int:
        """Begin a call; the number is for `answer` and `cancel`."""
        number = len(self._calls)
        self._calls.append(asyncio.get_running_loop().create_future())
        self._send({"id": number, "tool": tool, "arguments": arguments})
        return number

    async def answer(self, number: int) -> Said:
        """What the client gives to its caller for a call."""
        async with asyncio.timeout(ANSWERING_S):
            return await asyncio.shield(self._calls[number])

    def cancel(self, number: int) -> None:
        """Cancel a call in the way of the client."""
        self._send({"cancel": number})

    async def call(self, tool: str, **arguments: Any) -> Said:
        """A whole call."""
        return await self.answer(self.start(tool, arguments))

    async def close(self) -> None:
        """Let the client close its connection and end.

        Raises:
            TimeoutError: it does not.
        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(ENDING_S):
            await self._process.wait()


@asynccontextmanager
async def talk(command: Sequence[str], target: Mapping[str, Any]) -> AsyncIterator[Talk]:
    """Start a driver and connect its client; it is killed if it has not been closed when the block ends."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as home:
        process = await asyncio.create_subprocess_exec(
            *command,
            json.dumps(target),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            limit=LINE_BYTES,
            # A home of its own, so that no client reads or leaves settings in the user's.
            env=os.environ | {"HOME": home},
        )
        talking = Talk(process, errors)
        listening = asyncio.create_task(talking.listen())
        try:
            await talking.connected()
            yield talking
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await listening
