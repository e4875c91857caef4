"""Nodes that wait at their boot for one that has lost its data. The choice is pure.

A RabbitMQ node (with Mnesia) that boots waits for every other one which, for all it knows, ran
longer than it did: that one may have changes that it hasn't. It waits in vain for a node that will
not come with its data, five minutes, and ends then. RabbitMQ's own answer is ``rabbitmqctl
force_boot`` before the next start; what that does at the boot, ``rabbit_table:force_load/0``, the
node that waits can be told to do (3.10.8).

It has to be the node that ran longest of those which are left, as the others then take their tables
from it. Mnesia knows: each node remembers which ones went down before itself.
"""

import asyncio
import contextlib
import re
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Final

import structlog

from warrener.cluster.drivers.boot_log import WAITS_FOR_TABLES
from warrener.cluster.drivers.node import Node
from warrener.cluster.errors import ClusterError
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name

WENT_BEFORE: Final = "mnesia_recover:get_mnesia_downs()."
LOAD: Final = "rabbit_table:force_load()."

LOOK: Final = 1.0
LOOKS: Final = 5
"""So often in a row, seconds apart, all have to be seen waiting: for each other they wait one."""

_NAME: Final = re.compile(r"[^\s,'\[\]]+@[^\s,'\[\]]+")

log = structlog.get_logger(__name__)


def names_in(answer: str) -> frozenset[NodeName]:
    """The nodes in an Erlang list of atoms."""
    return frozenset(map(NodeName, _NAME.findall(answer)))


def who_loads(
    went_before: Mapping[NodeName, Collection[NodeName]], lost: Collection[NodeName]
) -> NodeName | None:
    """Which of the nodes that wait should load what it has; None if that would help nobody or isn't
    known. ``went_before``: for each of them those that went down before itself."""
    last = [
        name
        for name in went_before
        if not any(name in went_before[other] for other in went_before if other != name)
    ]
    if not last:
        return None  # each saw another one go: two sides of a partition
    chosen = max(last, key=lambda name: len(set(went_before[name]) & went_before.keys()))
    waits_in_vain = not set(lost) <= set(went_before[chosen])
    return chosen if waits_in_vain else None


@contextlib.asynccontextmanager
async def going_on_without(
    lost: Collection[NodeName],
    nodes: Sequence[Node],
    ask: Callable[[Node, str], Awaitable[str]],
    progress: ProgressSink,
    on_event: EventSink,
) -> AsyncIterator[None]:
    """While ``nodes`` boot during the body, they don't wait for one in ``lost``. ``ask`` has a node
    evaluate some Erlang; may raise ClusterError."""
    freeing = _Freeing(lost, nodes, ask, progress, on_event)
    task = asyncio.create_task(freeing.work(), name="boot without " + " ".join(sorted(lost)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Freeing:
    lost: Collection[NodeName]
    nodes: Sequence[Node]
    ask: Callable[[Node, str], Awaitable[str]]
    progress: ProgressSink
    on_event: EventSink

    async def work(self) -> None:
        seen = 0
        while True:
            await asyncio.sleep(LOOK)
            seen = seen + 1 if all(node.stage == WAITS_FOR_TABLES for node in self.nodes) else 0
            if seen < LOOKS:
                continue
            seen = 0
            try:
                await self._free()
            except ClusterError as error:
                log.warning("waiting_nodes_not_freed", error=str(error))

    async def _free(self) -> None:
        answers = [names_in(await self.ask(node, WENT_BEFORE)) for node in self.nodes]
        chosen = who_loads(
            {node.name: answer for node, answer in zip(self.nodes, answers, strict=True)}, self.lost
        )
        if chosen is None:
            return
        told = ", ".join(short_name(name) for name in sorted(self.lost))
        self.progress(Progress(short_name(chosen), f"doesn't wait for {told} any longer"))
        self.on_event(Event("node.boots_without", chosen, detail={"lost": told}))
        await self.ask(next(node for node in self.nodes if node.name == chosen), LOAD)
