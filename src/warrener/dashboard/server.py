"""Serves the page on loopback: assets to everybody, the cluster to who has the token.

    GET /                    the page itself; nothing of the cluster is in it
    GET /static/NAME         its scripts and styles
    GET /api/live?view=...   documents, one JSON line each, for as long as the viewer stays
    GET /api/plan?load=...   what the planner says, and what if: one answer
    POST /api/...            what a viewer does to the cluster: ``acting``

The token comes in the link's fragment, which browsers don't send. The page's script keeps it for
its tab and sends it as ``Authorization: Bearer``. It is no cookie, since those go to every port of
127.0.0.1, whoever listens there; and without a cookie no other site can act in a viewer's name.

Whatever a client sends, the worst that happens is that its connection is closed.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Final

import structlog
from aiohttp import web

from warrener.dashboard.acting import ActError, Acting, Acts
from warrener.dashboard.documents.terms import View, Wanted
from warrener.dashboard.live import Full, Live
from warrener.dashboard.loopback import LOOPBACK, LoopbackSite
from warrener.dashboard.plan import NoAnswer, Question, WhyNot, read

PATIENCE: Final = 5.0
"""Seconds that a viewer may take no bytes; then it is dropped. It connects again by itself."""

UNSENT: Final = 64 * 1024
"""Bytes that may wait for one viewer beside what the kernel keeps. aiohttp looks at it after as
many, so that twice that and one document is the most."""

MOST_SEARCH: Final = 100
MOST_OFFSET: Final = 10_000_000

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer."""

Planner = Callable[[Question, str], Awaitable[bytes]]
"""A question, and the viewer's name, who may have asked another one: an answer as JSON.
``NoAnswer``."""

_NO_ANSWER: Final = {
    WhyNot.UNKNOWN: 404,
    WhyNot.WRONG: 422,
    WhyNot.OVERTAKEN: 409,
    WhyNot.BUSY: 503,
    WhyNot.FAILED: 502,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


def assets() -> dict[str, tuple[bytes, str]]:
    """What is in ``static``: name -> content and its type."""
    found = {}
    for entry in resources.files("warrener.dashboard").joinpath("static").iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in _TYPES:
            found[entry.name] = (entry.read_bytes(), _TYPES[suffix])
    return found


class PageServer:
    """``start``, then ``close``."""

    def __init__(
        self,
        live: Live,
        token: str,
        *,
        planner: Planner | None = None,
        acts: Acts | None = None,
    ) -> None:
        self._live = live
        self._planner = planner
        self._acting = Acting(acts) if acts is not None else None
        self._bearer = f"Bearer {token}".encode()
        self._assets = assets()
        self._site = LoopbackSite()
        self._streams: set[asyncio.Transport] = set()
        self.dropped = 0  # viewers that took nothing for too long

    async def start(self, port: int) -> None:
        """Listens on ``port`` if it is free, else on any. ``OSError``."""
        app = web.Application(client_max_size=1024, middlewares=[self._guard])
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._static)
        app.router.add_get("/api/live", self._stream)
        if self._acting is not None:
            self._acting.add_to(app.router)
        app.router.add_get("/api/plan", self._plan)
        await self._site.start(app, (port, 0) if port else (0,))

    @property
    def port(self) -> int:
        """0 while it doesn't listen."""
        return self._site.port

    @property
    def url(self) -> str:
        """Without the token; empty while it doesn't listen."""
        return f"http://{LOOPBACK}:{self.port}/" if self.port else ""

    async def close(self) -> None:
        """Listens no more. Viewers see their connection end."""
        self._live.close()
        for transport in self._streams:
            transport.abort()
        await self._site.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Whom is talked to at all: nobody who calls us by another name (a name that was made to
        lead to loopback, which is DNS rebinding), and no script of another site."""
        if not self._is_ours(request.headers.get("Host", "")):
            return _refused(421, "this page is only served at the address that `warrener page` has")
        origin = request.headers.get("Origin")
        if origin is not None and not (
            origin.startswith("http://") and self._is_ours(origin.removeprefix("http://"))
        ):
            return _refused(403, "another site's script isn't answered")
        from_api = request.path.startswith("/api/")
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if from_api and site != "same-origin":
            return _refused(403, "another site's script isn't answered")
        if from_api and not self._has_token(request):
            return _refused(401, "the token is missing or wrong; `warrener page` prints the link")
        try:
            return await handler(request)
        except ActError as error:
            return _refused(error.status, error.message)
        except web.HTTPException as error:
            return _refused(error.status, error.reason)
        except Exception as error:
            if not isinstance(error, ConnectionError):
                log.exception("page_request_failed", path=request.path)
            return _refused(500, "a bug in Warrener; the daemon's log has it")

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        return name in (LOOPBACK, "localhost") and port == str(self.port)

    def _has_token(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        return hmac.compare_digest(given, self._bearer)

    async def _index(self, request: web.Request) -> web.Response:
        return self._asset("index.html")

    async def _static(self, request: web.Request) -> web.Response:
        return self._asset(request.match_info["name"])

    def _asset(self, name: str) -> web.Response:
        found = self._assets.get(name)
        if found is None:
            return _refused(404, "no such page")
        content, type_ = found
        return web.Response(body=content, content_type=type_, charset="utf-8")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        wanted = _wanted(request)
        if wanted is None:
            return _refused(400, "no such view, or a number that is none")
        transport = request.transport
        if transport is None:
            raise ConnectionResetError  # it hung up already
        try:
            with self._live.viewing(wanted.view):
                self._streams.add(transport)
                return await self._send(request, wanted, transport)
        except Full:
            return _refused(503, "too many viewers at once")
        finally:
            self._streams.discard(transport)

    async def _plan(self, request: web.Request) -> web.Response:
        if self._planner is None:
            return _refused(404, "there is no planner here")
        try:
            question, viewer = read(request.query.items())
        except ValueError as error:
            return _refused(400, str(error))
        try:
            answer = await self._planner(question, viewer)
        except NoAnswer as error:
            return _refused(_NO_ANSWER[error.reason], str(error))
        return web.Response(body=answer, content_type="application/json", charset="utf-8")

    async def _send(
        self, request: web.Request, wanted: Wanted, transport: asyncio.Transport
    ) -> web.StreamResponse:
        transport.set_write_buffer_limits(high=UNSENT)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        number = 0
        try:
            await response.prepare(request)
            while (newer := await self._live.newer(number, wanted)) is not None:
                number, document = newer
                async with asyncio.timeout(PATIENCE):
                    await response.write(document)
        except TimeoutError:
            self.dropped += 1
            transport.abort()
        except ConnectionError:
            pass
        return response


def _wanted(request: web.Request) -> Wanted | None:
    query = request.query
    try:
        wanted = Wanted(
            view=View(query.get("view", "")),
            search=query.get("search", "")[:MOST_SEARCH],
            offset=int(query.get("offset", "0")),
            sort=query.get("sort", "")[:20],
            descending=query.get("descending") == "1",
            session=int(query["session"]) if "session" in query else None,
        )
    except ValueError:
        return None
    return wanted if 0 <= wanted.offset <= MOST_OFFSET else None


def _refused(status: int, text: str) -> web.Response:
    headers = {"WWW-Authenticate": 'Bearer realm="warrener"'} if status == 401 else {}
    return web.Response(status=status, text=text + "\n", headers=headers)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
