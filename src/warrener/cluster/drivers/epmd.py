"""A cluster's own epmd: the directory in which its nodes find one another's ports.

Nodes that run don't need it and register again by themselves when it is back; a node that starts
does need it. So it is kept running for as long as the cluster is.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from warrener.cluster.drivers.host import Host, Process, how_it_ended
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.node_config import epmd_environment
from warrener.cluster.drivers.processes import mark
from warrener.cluster.errors import ClusterError, StartFailed
from warrener.facts.happenings import Event, EventSink
from warrener.facts.reasons import NodeState

TIMEOUT: Final = 10.0
"""Seconds to listen, and to be gone."""

_PAUSE: Final = 1.0  # s between two starts of an epmd that keeps ending
_LOOK_EVERY: Final = 0.02


class Epmd:
    """One epmd, kept running from ``start`` to ``stop``. It is ended with the cluster's other
    marked processes, in between the two halves of its end."""

    def __init__(
        self,
        host: Host,
        installation: Installation,
        *,
        port: int,
        cluster_mark: str,
        folder: Path,
        log: Path,
    ) -> None:
        self.host = host
        self._installation = installation
        self._port = port
        self._cluster_mark = cluster_mark
        self._folder = folder
        self._log = log
        self._child: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, on_event: EventSink) -> None:
        """Returns once it listens. Raises StartFailed."""
        try:
            await self._launch()
        except OSError as error:
            raise StartFailed("epmd", f"can't be started: {error}", (), self._told) from error
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        while not await self._answers():
            assert self._child is not None
            ended = self._child.exited.is_set()
            if ended or asyncio.get_running_loop().time() > deadline:
                how = how_it_ended(self._child)
                raise StartFailed("epmd", f"doesn't listen ({how})", (), self._told)
            await asyncio.sleep(_LOOK_EVERY)
        self._keeper = asyncio.create_task(self._keep(on_event), name="keep:epmd")

    async def let_go(self) -> None:
        """It is no longer started anew."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def wait_gone(self) -> None:
        """Until its process has ended, for a while."""
        child, self._child = self._child, None
        if child is not None:
            await child.wait(TIMEOUT)

    @property
    def _told(self) -> Path:
        return self.host.told(self.host.path(self._log))

    async def _launch(self) -> None:
        address, port = self.host.address, str(self._port)
        self._child = await self.host.spawn(
            "epmd",
            # In the foreground, so that it is ours to stop. It listens on loopback in any case.
            [str(self._installation.epmd), "-address", address, "-port", port],
            environment=epmd_environment(self._installation.path, mark(self._cluster_mark, "epmd")),
            folder=self._folder,
            output=self._log,
        )

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host.address, self._port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _keep(self, on_event: EventSink) -> None:
        while True:
            assert self._child is not None
            await self._child.exited.wait()
            how = how_it_ended(self._child)
            on_event(Event("epmd.exited", "epmd", NodeState.DOWN.value, {"how": how}))
            launched = False
            while not launched:
                await asyncio.sleep(_PAUSE)
                launched = await self._launched()

    async def _launched(self) -> bool:
        try:
            await self._launch()
        except (OSError, ClusterError):  # a host that isn't reached at the moment
            return False
        return True
