"""Stdio transport to an upstream server whose messages are bounded.

The SDK's own keeps a line until it ends, however long it is, and searches all of it again with each part.
"""

import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import anyio.abc
import mcp_types
from fastmcp.client.transports import ClientTransport, StdioTransport
from fastmcp.client.transports.base import TransportOptions
from mcp import ClientSession
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage

from research_gateway.upstreams.transports.http import MAX_ANSWER_BYTES
from research_shared.logs import get_logger
from research_shared.processors import all_processors

log = get_logger("research.upstreams")

FLUSH_S = 0.5
"""Time for messages that were accepted to reach the server before its input is closed."""
EXIT_S = 2.0
"""Time for the server to end after its input was closed; then it is terminated, and after as long again killed."""
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


class LineTooLong(Exception):
    """A server has written a line that is longer than the limit."""


async def lines_of(chunks: AsyncIterable[bytes], *, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, without their ends. No more than `max_bytes` and one chunk are held.

    Raises:
        LineTooLong: a line has more than `max_bytes`.
    """
    held = bytearray()
    async for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            if len(held) + len(part) > max_bytes:
                raise LineTooLong
            yield bytes(held) + part
            held.clear()
        if len(held) + len(rest) > max_bytes:
            raise LineTooLong
        held += rest


class BoundedStdioTransport(ClientTransport):
    """A process for each session, run as a FastMCP transport says. Its messages have `max_line_bytes` at most.

    A longer one ends the process: requests in flight fail with an error that says so, and the next session starts the
    server anew. `upstream` is what log lines call the server.
    """

    def __init__(
        self, transport: StdioTransport, *, upstream: str, max_line_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        self._transport = transport
        self._upstream = upstream
        self._max_line_bytes = max_line_bytes
        self._pipes: _Pipes | None = None

    @property
    def ended(self) -> bool:
        """Whether the server of the latest session has ended, or is to end, so that it answers nothing more."""
        return self._pipes is not None and self._pipes.ended

    @asynccontextmanager
    async def connect_session(
        self, *, transport_options: TransportOptions | None = None, **session_kwargs: Any
    ) -> AsyncIterator[ClientSession]:
        """Start the server and open a session with it."""
        options = transport_options or TransportOptions()
        with all_processors():
            process = await anyio.open_process(
                [self._transport.command, *self._transport.args],
                env=get_default_environment() | (self._transport.env or {}),
                cwd=self._transport.cwd,
                stderr=sys.stderr,
                start_new_session=True,  # so that its children end with it
            )
        self._pipes = pipes = _Pipes(process, upstream=self._upstream, max_line_bytes=self._max_line_bytes)
        async with (
            pipes.running(),
            options.session_class(pipes.received, pipes.outgoing, **session_kwargs) as session,
        ):
            yield session


class _Pipes:
    """The pipes of a server process, as streams of messages for a session."""

    def __init__(self, process: anyio.abc.Process, *, upstream: str, max_line_bytes: int) -> None:
        assert process.stdin is not None  # noqa: S101  (opened with pipes)
        assert process.stdout is not None  # noqa: S101
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._upstream = upstream
        self._max_line_bytes = max_line_bytes
        self._deliver, self.received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.outgoing, self._to_send = anyio.create_memory_object_stream[SessionMessage](0)
        self._asked: set[mcp_types.RequestId] = set()
        self._written, self._drained = anyio.Event(), anyio.Event()
        self.ended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Carry messages while the block runs, and end the process after it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read)
            tasks.start_soon(self._write)
            try:
                yield
            finally:
                # A cancelled request must not leave a process behind. Every wait inside has a limit.
                with anyio.CancelScope(shield=True):
                    await self._end()
                tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        too_long = False
        with suppress(*_GONE):
            async with self._deliver:
                try:
                    async for line in lines_of(self._stdout, max_bytes=self._max_line_bytes):
                        if line.strip():
                            await self._deliver.send(self._message(line))
                except LineTooLong:
                    too_long = True
                # Before anybody is told: whoever is, asks whether to use the session again.
                self.ended = True
                if too_long:
                    await self._refuse_line()
        if too_long:
            with anyio.CancelScope(shield=True):
                await terminate_posix_process_tree(self._process, EXIT_S)
        # A server that still writes could not read, and would not see that it is to end.
        with anyio.CancelScope(shield=True), suppress(*_GONE):
            while True:
                await self._stdout.receive()
        self._drained.set()

    async def _refuse_line(self) -> None:
        log.warning(
            "a message of the upstream is too large; its process is ended",
            upstream=self._upstream,
            max_bytes=self._max_line_bytes,
        )
        for request in tuple(self._asked):
            error = mcp_types.ErrorData(code=mcp_types.INTERNAL_ERROR, message="the response is too large")
            refused = mcp_types.JSONRPCError(jsonrpc="2.0", id=request, error=error)
            await self._deliver.send(SessionMessage(refused))

    def _message(self, line: bytes) -> SessionMessage | Exception:
        try:
            message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError as error:
            log.info("the upstream has written a line that is no message", upstream=self._upstream)
            return error
        if isinstance(message, mcp_types.JSONRPCResponse | mcp_types.JSONRPCError) and message.id is not None:
            self._asked.discard(message.id)
        return SessionMessage(message)

    async def _write(self) -> None:
        try:
            async with self._to_send:
                async for sent in self._to_send:
                    if isinstance(sent.message, mcp_types.JSONRPCRequest):
                        self._asked.add(sent.message.id)
                    text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await self._stdin.send(f"{text}\n".encode())
        except _GONE:
            await self._deliver.aclose()  # so that requests end, although the server may still run
        finally:
            self._written.set()

    async def _end(self) -> None:
        self.received.close()
        self.outgoing.close()
        with anyio.move_on_after(FLUSH_S):
            await self._written.wait()
        with suppress(*_GONE):
            await self._stdin.aclose()
        with anyio.move_on_after(EXIT_S):
            await self._process.wait()
        # Also when the server itself has ended: what it started may not have. Returns at once if nothing is left.
        await terminate_posix_process_tree(self._process, EXIT_S)
        # Only the end of what it wrote closes its pipe. It comes now, unless a process that got away still holds the pipe.
        with anyio.move_on_after(FLUSH_S):
            await self._drained.wait()
        with anyio.move_on_after(EXIT_S), suppress(*_GONE):
            await self._process.aclose()
        for stream in (self._deliver, self._to_send):
            stream.close()
