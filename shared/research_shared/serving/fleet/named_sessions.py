"""Session ids that say where a session is."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.serving.limits.bodies import SESSION_HEADER


class NamedSessions:
    """ASGI middleware that puts `prefix` before the ids of the sessions of `app`, which itself does not see it.

    The prefix is no secret and needs no seal: the rest of the id is the session's, and with a wrong prefix there is no such
    session.
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        session = Headers(scope=scope).get(SESSION_HEADER, "")
        if session.startswith(self._prefix):
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers[SESSION_HEADER] = session.removeprefix(self._prefix)
            scope = {**scope, "headers": headers.raw}

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", ())))
                known = headers.get(SESSION_HEADER)
                if known is not None and not known.startswith(self._prefix):
                    headers[SESSION_HEADER] = f"{self._prefix}{known}"
                    message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, named)
