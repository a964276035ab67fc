"""Lets go of the connection of a finished request, which sessions would keep."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ReleasedRequests:
    """ASGI middleware after whose requests nothing leads to their connection any more.

    A session keeps the request that opened it, and its tasks keep the context of that request. Through them, each
    abandoned session would hold the socket, the buffers and the parser of a connection that was closed long ago.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        channel = _Channel(receive, send)
        try:
            await self._app(scope, channel.receive, channel.send)
        finally:
            channel.release()


class _Channel:
    """What a request is received and answered through, until it is finished."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive: Receive | None = receive
        self._send: Send | None = send

    def release(self) -> None:
        self._receive = self._send = None

    async def receive(self) -> Message:
        return {"type": "http.disconnect"} if self._receive is None else await self._receive()

    async def send(self, message: Message) -> None:
        if self._send is not None:  # like a server whose client is gone
            await self._send(message)
