"""The requests by which a viewer of the page acts.

    POST /api/preview    an Ask           -> what it would come to; changes nothing
    POST /api/act        a Confirmation   -> 202 and its number; 409 and a new preview if the
                                             cluster is no longer as it was shown
    POST /api/call-off   a number         -> 204

``server`` has looked at Host, Origin, Sec-Fetch-Site and the token before any of this. Beyond that
a body has to be JSON and say so: a form of another site, which a browser sends without asking,
can't. Bodies are bounded in size and in time, and decoded strictly.
"""

import asyncio
from typing import Final, Protocol, TypeVar

import msgspec
from aiohttp import web

from warrener.dashboard.acts import Ask, Began, CallOff, Confirmation, Preview, Stale

BODY_TIMEOUT: Final = 5.0
"""Seconds for a body to come; it has some hundred bytes."""

MOST_PREVIEWS: Final = 8
"""At once: each may ask the cluster for something, and one of leaders measures for seconds."""

LOOK: Final = 0.25
"""Seconds between two looks whether who asked for a preview still waits for it."""

_T = TypeVar("_T")


class ActError(Exception):
    """What was asked is refused; ``status`` is HTTP's, the message for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Peer(msgspec.Struct, frozen=True):
    """Where a request came from, and where it came to: addresses on loopback."""

    host: str
    port: int
    own_port: int


class Acts(Protocol):
    """Whoever carries it out: ``daemon.page_acts``."""

    async def preview(self, ask: Ask, gone: "asyncio.Future[None]") -> Preview:
        """What it would come to. ``gone``: done once nobody waits for it. ``ActError``."""

    async def confirm(self, preview: str, peer: Peer) -> Began | Stale:
        """Begins what that preview showed. ``ActError``."""

    async def call_off(self, number: int, peer: Peer) -> None:
        """``ActError`` if there is nothing to end."""


class Acting:
    """The routes."""

    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._previews = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """POST only: what is asked for by GET is found by no route."""
        router.add_post("/api/preview", self._preview)
        router.add_post("/api/act", self._act)
        router.add_post("/api/call-off", self._call_off)

    async def _preview(self, request: web.Request) -> web.Response:
        ask: Ask = await _body(request, Ask)  # type: ignore[arg-type]  # a union is no type to mypy
        if self._previews >= MOST_PREVIEWS:
            raise ActError(503, f"more than {MOST_PREVIEWS} previews at once; try again")
        self._previews += 1
        try:
            return _json(200, await self._while_waited_for(ask, request))
        finally:
            self._previews -= 1

    async def _while_waited_for(self, ask: Ask, request: web.Request) -> Preview:
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._acts.preview(ask, gone), name="page preview")
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK)
                transport = request.transport
                if (transport is None or transport.is_closing()) and not gone.done():
                    gone.set_result(None)
        finally:
            task.cancel()
        return task.result()

    async def _act(self, request: web.Request) -> web.Response:
        confirmation = await _body(request, Confirmation)
        # Shielded: with its confirmation here, an act doesn't depend on who waits for the answer.
        found = await asyncio.shield(self._acts.confirm(confirmation.preview, _peer(request)))
        return _json(409 if isinstance(found, Stale) else 202, found)

    async def _call_off(self, request: web.Request) -> web.Response:
        wanted = await _body(request, CallOff)
        await self._acts.call_off(wanted.number, _peer(request))
        return web.Response(status=204)


async def _body(request: web.Request, kind: type[_T]) -> _T:
    if request.content_type != "application/json":
        raise ActError(415, "a request that acts has Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            body = await request.read()
    except TimeoutError:
        raise ActError(408, f"the body didn't come within {BODY_TIMEOUT:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise ActError(413, "the body is too long") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ActError(400, f"not what can be asked: {error}") from None


def _peer(request: web.Request) -> Peer:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError  # it hung up already
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    return Peer(str(peer[0]), int(peer[1]), int(own[1]))


def _json(status: int, body: msgspec.Struct) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )
