"""An HTTP application on loopback, as the page and the metrics are served.

What clients send wrong is theirs and isn't logged, and neither is what they ask for: links may have
a token in them.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Final

from aiohttp import web

LOOPBACK: Final = "127.0.0.1"

KEEP_ALIVE: Final = 75.0
"""Seconds that an idle connection is kept; a Prometheus comes every 15 by default."""

CLOSE_TIMEOUT: Final = 2.0
"""Seconds for answers that are being written."""

_SILENT: Final = logging.getLogger("warrener.http")
_SILENT.disabled = True


class LoopbackSite:
    """``start``, then ``close``. ``port`` is 0 while it doesn't listen."""

    def __init__(self) -> None:
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(
        self, app: web.Application, ports: Sequence[int], *, backlog: int = 128
    ) -> None:
        """Listens on the first of ``ports`` that is free; 0 is any. ``OSError`` if none is."""
        bound = _bind(ports)
        self._runner = web.AppRunner(
            app,
            handle_signals=False,
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=KEEP_ALIVE,
        )
        try:
            await self._runner.setup()
            await web.SockSite(self._runner, bound, backlog=backlog).start()
        except BaseException:
            bound.close()
            await self.close()
            raise
        self.port = bound.getsockname()[1]

    async def close(self) -> None:
        """Listens no more; who is connected then is cut off."""
        runner, self._runner = self._runner, None
        self.port = 0
        if runner is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runner.cleanup(), CLOSE_TIMEOUT)


def _bind(ports: Sequence[int]) -> socket.socket:
    why = OSError("no port to listen on")
    for port in ports:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((LOOPBACK, port))
        except OSError as error:
            bound.close()
            why = error
        else:
            bound.setblocking(False)
            return bound
    raise why
