"""Who is a node of a cluster that runs: others forget it, it joins, and the streams' coordinator
follows."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from warrener.cluster.drivers import stream_coordinator
from warrener.cluster.drivers.node import Node
from warrener.cluster.drivers.stream_coordinator import Coordinator
from warrener.cluster.drivers.upkeep import ASK_TIMEOUT, Upkeep
from warrener.cluster.errors import ClusterError, NotRunning, ToolFailed
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.management.client import ManagementError

FOLLOW_TIMEOUT: Final = 30.0
"""Seconds for the coordinator of streams to follow; it takes a fraction of one where it can."""

LEAVE_TIMEOUT: Final = 5.0
"""The same where a node has just been forgotten, and may come back in its place: of two, the one
that is left has no majority to decide it."""

_FOLLOW_LOOK: Final = 0.2
_FOLLOW_TOLD: Final = 2.0
_FORGET_TRIES: Final = 3
_FORGET_PAUSE: Final = 1.0


class Membership:
    """The steps of it. ``works`` reaches the nodes."""

    def __init__(
        self,
        works: Upkeep,
        nodes: Mapping[NodeName, Node],
        progress: ProgressSink,
        on_event: EventSink,
    ) -> None:
        self._works = works
        self._nodes = nodes
        self._progress = progress
        self._on_event = on_event

    async def forget(self, names: Sequence[NodeName]) -> None:
        """Has the cluster that runs forget nodes that don't, so far as it knows them; replicas of
        quorum queues on them are forgotten too. Raises NotRunning or ToolFailed."""
        asked = self._somebody(names)
        if asked is None:
            raise NotRunning("no node runs that could forget another one")
        try:
            known = {node.name for node in await asked.client.nodes()}
        except ManagementError as error:
            raise NotRunning(f"{asked.short} doesn't tell which nodes it knows: {error}") from None
        forgotten = [name for name in names if name in known]
        for name in forgotten:
            self._progress(Progress(short_name(name), "is forgotten by the others"))
            await self._forget(asked, name)
        if forgotten:
            await self.streams_follow(LEAVE_TIMEOUT, without=names)

    async def _forget(self, asked: Node, name: NodeName) -> None:
        """Tried again: just after its end a node may still count as running."""
        for attempt in range(_FORGET_TRIES):
            try:
                await self._works.tool(asked, "rabbitmqctl", "-q", "forget_cluster_node", name)
                return
            except ToolFailed:
                if attempt + 1 == _FORGET_TRIES:
                    raise
                await asyncio.sleep(_FORGET_PAUSE)

    async def join_if_alone(self, node: Node, other: NodeName) -> None:
        """Joins a node that serves as a cluster of its own. Peer discovery is only for a node whose
        folder is empty when RabbitMQ looks, and the coordinator of streams puts the replicas back
        that it remembers there as soon as the Erlang VM is up (3.10.8). Raises ToolFailed."""
        try:
            seen = {one.name for one in await node.client.nodes()}
        except ManagementError:
            return
        if seen != {node.name}:
            return
        self._progress(Progress(node.short, "joins the others"))
        for words in (("stop_app",), ("reset",), ("join_cluster", other), ("start_app",)):
            await self._works.tool(node, "rabbitmqctl", "-q", *words)

    # -- streams

    async def streams_follow(
        self, timeout: float = FOLLOW_TIMEOUT, without: Sequence[NodeName] = ()
    ) -> bool:
        """Whether the coordinator of streams has all nodes that run, and none that is no more;
        waits for it up to ``timeout`` s. If not, that is told as an event, and RabbitMQ goes on
        trying by itself. ``without``: nodes that go, which are neither asked nor waited for."""
        clock = asyncio.get_running_loop().time
        began, told = clock(), False
        while True:
            found: Coordinator | None
            try:
                found = await self._coordinator(without)
                if found is None or found.follows(without):
                    return True
                why = (
                    f"{_names(found.missing(without))} missing, {_names(found.left_over)} left over"
                )
                if not found.led:
                    why = "it has no leader"
            except (ClusterError, ValueError) as error:
                why = str(error)
            if clock() - began > timeout:
                detail: dict[str, str | int | float | bool] = {"why": why}
                self._on_event(Event("streams.coordinator_behind", detail=detail))
                return False
            if not told and clock() - began > _FOLLOW_TOLD:
                told = True
                self._progress(Progress("streams", "their coordinator follows the cluster"))
            await asyncio.sleep(_FOLLOW_LOOK)

    async def _coordinator(self, without: Sequence[NodeName]) -> Coordinator | None:
        asked = self._somebody(without)
        if asked is None:
            raise NotRunning("no node runs that knows the coordinator of streams")
        answer = await self._works.evaluate_on(asked, stream_coordinator.FOLLOW, ASK_TIMEOUT)
        return stream_coordinator.seen(answer)

    def _somebody(self, without: Sequence[NodeName]) -> Node | None:
        return next(
            (n for n in self._nodes.values() if n.name not in without and self._works.answers(n)),
            None,
        )


def _names(nodes: Sequence[NodeName]) -> str:
    return ", ".join(map(short_name, nodes)) or "nobody"
