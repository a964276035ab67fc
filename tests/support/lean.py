"""Clients of both protocol eras that cost next to nothing: bytes over one connection each, so that a thousand fit into a process.

Each has an address of its own (127.0.0.0/8), as a thousand machines would, so that limits for each address hold for each.
An answer that is byte for byte the one that was looked at before is not parsed again.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Self

from support.load import HANDSHAKE, HEADERS, META, MODERN

FIRST_NUMBER = 10_000_000
"""Ids of requests have eight digits, so that all requests for the same thing have the same length."""
MARK = "NUMBER-OF-REQUEST"
END_OF_CHUNKS = b"0\r\n\r\n"


class SessionRefused(Exception):
    """A server did not open a session."""


@dataclass(frozen=True, slots=True)
class Response:
    """A response of HTTP: status, headers in lower case, and the body without its framing."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        _, found, rest = self.head.partition(f"\r\n{name}: ".encode())
        return rest.partition(b"\r\n")[0].decode() if found else None

    def message(self, number: int) -> dict[str, Any] | None:
        """Return the answer to a request, from JSON or from a stream of events; nothing if it is not there."""
        if b"\r\ncontent-type: text/event-stream" in self.head:
            lines = [line[6:] for line in self.body.splitlines() if line.startswith(b"data: {")]
        else:
            lines = [self.body] if self.body.startswith(b"{") else []
        for line in lines:
            message: dict[str, Any] = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message
        return None


class Connection(asyncio.Protocol):
    """A connection that is kept open: one request at a time, and its response."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Response] | None = None

    @classmethod
    async def open(cls, port: int, *, local: str = "127.0.0.1") -> Self:
        """Connect to a port of this machine from one of its own addresses."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port, local_addr=(local, 0))
        return connection

    async def exchange(self, request: bytes) -> Response:
        """Send a request, and return its response.

        Raises:
            ConnectionError: the connection was closed before the response was whole.
        """
        if self.closed or self._transport is None:
            raise ConnectionResetError("closed")
        self._received.clear()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._waiting is None or self._waiting.done():
            return
        response = parsed(self._received)
        if response is not None:
            self._waiting.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed"))


def parsed(received: bytearray) -> Response | None:
    """Return the response in the bytes of one, once it is whole."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[:end]).lower()
    status = int(head[9:12])
    body = memoryview(received)[end + 4 :]
    if b"\r\ntransfer-encoding: chunked" in head:
        if not received.endswith(END_OF_CHUNKS):
            return None
        whole = unchunked(bytes(body))
        return None if whole is None else Response(status, head, whole)
    _, found, length = head.partition(b"\r\ncontent-length: ")
    if len(body) < (int(length.partition(b"\r\n")[0]) if found else 0):
        return None
    return Response(status, head, bytes(body))


def unchunked(body: bytes) -> bytes | None:
    """Return a body without the lengths of its chunks, if its last chunk is there."""
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        at = end + size + 4
    return None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The bytes of a request, but for its session and its id."""

    head: bytes
    before: bytes
    after: bytes

    @classmethod
    def of(
        cls,
        port: int,
        method: str,
        params: dict[str, Any],
        *,
        era: str,
        version: str | None = None,
        path: str = "/mcp",
    ) -> Self:
        """Prepare a request of an era; `version` is that of the protocol if it is not the usual one of the era."""
        name = params.get("name") or params.get("uri") or ""
        headers = {"host": f"127.0.0.1:{port}", **HEADERS, "mcp-protocol-version": version or era}
        if era == MODERN:
            headers |= {"mcp-method": method, **({"mcp-name": name} if name else {})}
            params = {**params, "_meta": {**META, "io.modelcontextprotocol/clientCapabilities": {}}}
        body = json.dumps({"jsonrpc": "2.0", "id": MARK, "method": method, "params": params}).encode()
        before, after = body.split(f'"{MARK}"'.encode())
        headers["content-length"] = str(len(before) + len(str(FIRST_NUMBER)) + len(after))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return cls(f"POST {path} HTTP/1.1\r\n{lines}".encode(), before, after)

    def bytes_of(self, number: int, session: bytes) -> bytes:
        return b"%b%b\r\n%b%d%b" % (self.head, session, self.before, number, self.after)


@dataclass(slots=True)
class LeanClient:
    """One client on one connection, which it opens again when the server has closed it."""

    port: int
    era: str
    local: str = "127.0.0.1"
    version: str = HANDSHAKE
    """Of the protocol, in sessions."""
    path: str = "/mcp"
    session: bytes = b""
    number: int = FIRST_NUMBER
    connection: Connection | None = field(default=None, repr=False)

    async def start(self) -> None:
        """Connect, and open a session if the era has them.

        Raises:
            SessionRefused: the server does not open it.
        """
        await self._connected()
        if self.era == MODERN:
            return
        params = {
            "protocolVersion": self.version,
            "capabilities": {},
            "clientInfo": {"name": "load", "version": "1"},
        }
        self.session = b""
        opened = await self.request(
            Prepared.of(self.port, "initialize", params, era=self.era, version=self.version, path=self.path)
        )
        if opened.status != 200:
            raise SessionRefused(f"http {opened.status}: {opened.body[:200]!r}")
        if (session := opened.header("mcp-session-id")) is not None:
            self.session = f"mcp-session-id: {session}\r\n".encode()
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        body = json.dumps(told).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        head = f"POST {self.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n{lines}mcp-protocol-version: {self.version}\r\n"
        await self._exchange(
            f"{head}content-length: {len(body)}\r\n".encode() + self.session + b"\r\n" + body
        )

    async def request(self, prepared: Prepared) -> Response:
        """Send a request under the next id, and return its response."""
        self.number += 1
        return await self._exchange(prepared.bytes_of(self.number, self.session))

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()

    async def _connected(self) -> Connection:
        if self.connection is None or self.connection.closed:
            self.connection = await Connection.open(self.port, local=self.local)
        return self.connection

    async def _exchange(self, request: bytes) -> Response:
        return await (await self._connected()).exchange(request)


async def until_answering(port: int, *, within_s: float = 120) -> None:
    """Wait until something listens at a port of this machine."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                connection = await Connection.open(port)
            except ConnectionError:
                await asyncio.sleep(0.02)  # another program is starting; nothing tells when it listens
            else:
                connection.close()
                return


def address(number: int) -> str:
    """Return an address of this machine for one of up to 60,000 clients."""
    return f"127.1.{number // 250}.{number % 250 + 1}"
