"""The way into one of several workers: sessions to their owner, and the metrics of all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from research_shared.logs import get_logger
from research_shared.serving.fleet.figures import CONTENT_TYPE, METRICS_PATH, figures_of_workers
from research_shared.serving.fleet.named_sessions import NamedSessions
from research_shared.serving.fleet.passing import Peer, PeerLost, SlowBody, as_it_came, without_receiving
from research_shared.serving.fleet.place import Place
from research_shared.serving.limits.bodies import SESSION_HEADER
from research_shared.serving.limits.refusals import refusal

log = get_logger("research.fleet")

_FIGURES_S = 5.0
"""Seconds after which a worker counts as down on the page of all metrics."""


class FleetDoor:
    """ASGI application of one worker. It serves what any worker can, and passes on requests of another one's sessions.

    The id of a session begins with the number of the worker that opened it (`NamedSessions`). A worker that has ended has taken its sessions along: their requests are answered with 404, upon which clients open new ones. The body of a request
    that is passed on has `body_s` seconds to arrive.
    """

    def __init__(self, app: ASGIApp, place: Place, *, body_s: float) -> None:
        self._app = app
        self._served = NamedSessions(app, f"{place.number}-")
        self._place = place
        self._inside = str(place.path_of(place.number))
        self._peers = {
            number: Peer(place.path_of(number), body_s=body_s)
            for number in place.peers
            if number != place.number
        }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep connections to the other workers while a block runs."""
        try:
            yield
        finally:
            for peer in self._peers.values():
                await peer.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or have it served."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (scope.get("server") or ("", None))[0] == self._inside:
            await self._served(as_it_came(scope), receive, send)
        elif scope["path"] == METRICS_PATH and scope["method"] == "GET":
            await self._figures(scope, send)
        else:
            owner = self._place.other_owner(Headers(scope=scope).get(SESSION_HEADER, ""))
            if owner is None:
                await self._served(scope, receive, send)
            else:
                await self._pass_on(self._peers[owner], scope, receive, send)

    async def _pass_on(self, owner: Peer, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["raw_path"].startswith(b"/"):  # such as `OPTIONS *`: nothing that a session asks
            await self._served(scope, receive, send)
            return
        try:
            await owner.serve(scope, receive, send)
        except PeerLost as error:
            log.info("the worker of a session has ended", error=str(error))
            await refusal(HTTPStatus.NOT_FOUND, "Session not found")(scope, receive, send)
        except SlowBody:
            late = refusal(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")
            await late(scope, receive, send)

    async def _figures(self, scope: Scope, send: Send) -> None:
        """Answer with the metrics of all workers, or as this one refuses to show its own."""
        own = _Kept()
        await self._app(scope, without_receiving, own.send)
        if own.status != HTTPStatus.OK:
            for message in own.messages:
                await send(message)
            return
        pages: dict[int, str | None] = dict.fromkeys(self._place.peers)
        pages[self._place.number] = own.body.decode()

        async def ask(number: int, peer: Peer) -> None:
            try:
                with anyio.move_on_after(_FIGURES_S):
                    status, page = await peer.get(METRICS_PATH, scope["headers"])
                    pages[number] = page.decode() if status == HTTPStatus.OK else None
            except PeerLost as error:
                log.warning("a worker does not tell its metrics", worker=number, error=str(error))

        async with anyio.create_task_group() as tasks:
            for number, peer in self._peers.items():
                tasks.start_soon(ask, number, peer)
        page = Response(figures_of_workers(pages), media_type=CONTENT_TYPE)
        await page(scope, without_receiving, send)


class _Kept:
    """The messages of a response, kept."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])
