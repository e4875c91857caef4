"""Serves ``/metrics`` on loopback to who has the token.

One scrape is worked on at a time; those that come meanwhile get the same answer. Whatever a client
sends, the worst that happens is that its connection is closed: nothing in here ends the daemon.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from aiohttp import web

from warrener.daemon.errors import DaemonError
from warrener.dashboard.loopback import LOOPBACK, LoopbackSite
from warrener.telemetry.exposition import CONTENT_TYPE

PATIENCE: Final = 10.0
"""Seconds for one scrape, which is what Prometheus gives it; it takes some milliseconds."""

MOST_CONNECTIONS: Final = 64
"""Connections at once. Each takes a descriptor, which sessions need more."""

log = structlog.get_logger(__name__)

Scrape = Callable[[], Awaitable[bytes]]


class MetricsServer:
    """``scrape`` makes the text. ``start``, then ``close``."""

    def __init__(self, scrape: Scrape, token: str) -> None:
        self._scrape = scrape
        self._bearer = f"Bearer {token}".encode()
        self._site = LoopbackSite()
        self._under_way: asyncio.Task[bytes] | None = None
        self._requests = 0
        self.scrapes = 0

    async def start(self, ports: Sequence[int], *, must: bool = False) -> None:
        """Listens on the first of ``ports`` that is free, else on any; ``must``: on that one, or
        ``DaemonError``."""
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        wanted = [*ports, *([] if must else [0])]
        try:
            await self._site.start(app, wanted, backlog=MOST_CONNECTIONS)
        except OSError as error:
            raise DaemonError(
                f"port {wanted[0]} for metrics can't be had: {error.strerror}; choose another "
                f"`port` under [telemetry] in warrener.toml, or leave it out"
            ) from None

    @property
    def port(self) -> int:
        """0 while it doesn't listen."""
        return self._site.port

    @property
    def url(self) -> str:
        """What is to be scraped; empty while it doesn't listen."""
        return f"http://{LOOPBACK}:{self.port}/metrics" if self.port else ""

    async def close(self) -> None:
        """Listens no more; who is connected is cut off."""
        if self._under_way is not None:
            self._under_way.cancel()
        await self._site.close()

    async def _metrics(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._bearer):
            return web.Response(
                status=401,
                headers={"WWW-Authenticate": 'Bearer realm="warrener"'},
                text="send the token of the state folder: Authorization: Bearer TOKEN\n",
            )
        if self._requests >= MOST_CONNECTIONS:
            return web.Response(status=503, text="too many scrapes at once\n")
        self._requests += 1
        try:
            body = await asyncio.wait_for(self._shared(), PATIENCE)
        except TimeoutError:
            return web.Response(status=503, text="the metrics weren't ready in time\n")
        except Exception:
            log.exception("scrape_failed")
            return web.Response(status=500, text="a bug in Warrener; the daemon's log has it\n")
        finally:
            self._requests -= 1
        self.scrapes += 1
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _shared(self) -> bytes:
        """What is being made already, or anew. A client that hangs up doesn't end it for others."""
        task = self._under_way
        if task is None or task.done():
            task = asyncio.ensure_future(self._scrape())
            self._under_way = task
        return await asyncio.shield(task)
