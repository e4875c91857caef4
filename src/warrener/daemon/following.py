"""Nodes that come and go by somebody else's hand, behind the balancer.

A member that wasn't there gets sessions as soon as its probes succeed, one that moved is connected
to where it is now. One that is no member any more is drained first, as far as it still serves, and
then forgotten: its sessions live on elsewhere.

Only for a driver whose nodes are somebody else's (``Capabilities.theirs``): a cluster of our own
changes by operations, which tell the balancer themselves.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from warrener.daemon.parts import Balancer
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

LEAVE_WITHIN: Final = 30.0
"""Seconds for the sessions of a node that is no member any more to move. It was stopped before it
left, so they mostly have failed over already."""

log = structlog.get_logger(__name__)


class Following:
    """Keeps the balancer's nodes the members of the cluster."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._leaving: dict[NodeName, tuple[Backend, asyncio.Task[None]]] = {}
        self._told: tuple[Backend, ...] | None = None
        self._set_to: tuple[Backend, ...] | None = None

    def update(self, balancer: Balancer) -> None:
        """After a look."""
        if not self._service.cluster.capabilities.theirs:
            return
        now = self._service.cluster.backends()
        members = {node.name for node in self._service.cluster.nodes()}
        before = self._told or ()
        for backend in before:
            if backend.name not in members and backend.name not in self._leaving:
                task = asyncio.create_task(
                    self._leave(balancer, backend.name), name=f"{backend.name} leaves"
                )
                self._leaving[backend.name] = backend, task
        for name in self._leaving.keys() & members:  # it is back
            _, task = self._leaving.pop(name)
            task.cancel()
        self._told = now
        self._set(balancer, now)

    def _set(self, balancer: Balancer, members: tuple[Backend, ...]) -> None:
        wanted = (*members, *(backend for backend, _ in self._leaving.values()))
        if wanted != self._set_to:
            balancer.set_backends(wanted)
            self._set_to = wanted

    async def _leave(self, balancer: Balancer, name: NodeName) -> None:
        try:
            result = await balancer.drain(
                name, timeout=LEAVE_WITHIN, on_progress=lambda progress: None
            )
        except Exception:  # our bug; the node is gone all the same
            log.exception("leaving_failed", node=name)
            moved = left = 0
        else:
            moved, left = result.moved, result.left
        self._leaving.pop(name, None)
        self._set(balancer, self._told or ())
        self._service.events.record(Event("node.left", name, detail={"moved": moved, "left": left}))

    async def close(self) -> None:
        """Nobody is moved any more."""
        tasks = [task for _, task in self._leaving.values()]
        self._leaving.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
