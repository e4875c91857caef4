"""Serves ``/metrics`` on loopback to who has the token.

One scrape is worked on at a time; those that come meanwhile get the same answer. Whatever a client
sends, the worst that happens is that its connection is closed: nothing in here ends the daemon.
"""

import asyncio
import contextlib
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from aiohttp import web

from warrener.daemon.errors import DaemonError
from warrener.telemetry.exposition import CONTENT_TYPE

LOOPBACK: Final = "127.0.0.1"

PATIENCE: Final = 10.0
"""Seconds for one scrape, which is what Prometheus gives it; it takes some milliseconds."""

KEEP_ALIVE: Final = 75.0
"""Seconds that an idle connection is kept; a Prometheus comes every 15 by default."""

MOST_CONNECTIONS: Final = 64
"""Connections at once. Each takes a descriptor, which sessions need more."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for answers that are being written."""

_SILENT: Final = logging.getLogger("warrener.metrics.http")
_SILENT.disabled = True  # what clients send wrong is theirs; our own errors go to our log

log = structlog.get_logger(__name__)

Scrape = Callable[[], Awaitable[bytes]]


class MetricsServer:
    """``scrape`` makes the text. ``start``, then ``close``."""

    def __init__(self, scrape: Scrape, token: str) -> None:
        self._scrape = scrape
        self._bearer = f"Bearer {token}".encode()
        self._runner: web.AppRunner | None = None
        self._under_way: asyncio.Task[bytes] | None = None
        self._requests = 0
        self.port = 0
        self.scrapes = 0

    async def start(self, ports: Sequence[int], *, must: bool = False) -> None:
        """Listens on the first of ``ports`` that is free, else on any; ``must``: on that one, or
        ``DaemonError``."""
        bound = _bind(ports, must=must)
        app = web.Application(client_max_size=1024)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=KEEP_ALIVE,
        )
        try:
            await self._runner.setup()
            await web.SockSite(self._runner, bound, backlog=MOST_CONNECTIONS).start()
        except BaseException:
            bound.close()
            await self.close()
            raise
        self.port = bound.getsockname()[1]

    @property
    def url(self) -> str:
        """What is to be scraped; empty while it doesn't listen."""
        return f"http://{LOOPBACK}:{self.port}/metrics" if self.port else ""

    async def close(self) -> None:
        """Listens no more; who is connected is cut off."""
        runner, self._runner = self._runner, None
        self.port = 0
        if self._under_way is not None:
            self._under_way.cancel()
        if runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runner.cleanup(), CLOSE_TIMEOUT)

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


def _bind(ports: Sequence[int], *, must: bool) -> socket.socket:
    for port in [*ports, *([] if must else [0])]:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((LOOPBACK, port))
        except OSError as error:
            bound.close()
            why = error.strerror
        else:
            bound.setblocking(False)
            return bound
    raise DaemonError(
        f"port {ports[0] if ports else 0} for metrics can't be had: {why}; choose another `port` "
        f"under [telemetry] in warrener.toml, or leave it out"
    )
