"""The way of messages through a cluster, and where it is narrowest: boxes and links. Pure.

    publishers -> balancer -> host -> node -> queue -> consumers

What is drawn is what ``planner.limits`` gives to max-flow; a box is red where its limit is in the
min-cut. Hosts are left out where each has one node, the balancer where nothing passes it. Of many
queues, those in the cut and the busiest have boxes of their own; the others are one box for each
node that leads them.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.planner.load import QueueLoad
from warrener.planner.outlook import Outlook, QueueOutlook
from warrener.planner.resources import Part, PartKind
from warrener.plots.style import number

MOST_QUEUES: Final = 14
"""Boxes of single queues."""

MOST_CUT: Final = 8
"""Of them, for queues that are in the min-cut."""

ALL_UP_TO: Final = 20
"""Queues that all have boxes of their own, if there are no more."""

MOST_NODES: Final = 20
"""Boxes of single nodes; the others are one."""


class Column(IntEnum):
    """From left to right."""

    PUBLISHERS = 0
    BALANCER = 1
    HOST = 2
    NODE = 3
    QUEUE = 4
    CONSUMERS = 5


@dataclass(frozen=True, slots=True)
class Box:
    """A place: its name, a second line, messages/s through it today; ``cut``: its limit is in the
    min-cut; ``many``: it stands for several."""

    column: Column
    key: str
    title: str
    text: str
    flow: float
    cut: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """From a box to the next, messages/s today; ``cut``: it leads through the narrowest place."""

    source: str
    target: str
    flow: float
    cut: bool = False


@dataclass(frozen=True, slots=True)
class FlowMap:
    """Boxes column by column, each column in the order from top to bottom."""

    boxes: tuple[Box, ...]
    links: tuple[Link, ...]
    capacity: float  # messages/s in today's proportions; infinite: nothing limits it
    max_flow: float

    def column(self, column: Column) -> list[Box]:
        """Its boxes."""
        return [box for box in self.boxes if box.column is column]

    @property
    def columns(self) -> list[Column]:
        """Those that there is something in."""
        return [column for column in Column if self.column(column)]

    @property
    def rows(self) -> int:
        """Boxes one below the other, at most."""
        return max((len(self.column(column)) for column in Column), default=0)


def flow_map(outlook: Outlook) -> FlowMap:
    """Of an outlook; without boxes where nothing goes through."""
    if outlook.flow is None:
        return FlowMap((), (), math.inf, math.inf)
    return _Map(outlook).made()


class _Map:
    """An outlook on the way to boxes."""

    def __init__(self, outlook: Outlook) -> None:
        assert outlook.flow is not None, "flow_map() has seen to it"
        self.outlook, self.load = outlook, outlook.load
        self.parts = {(part.kind, part.name): part for part in outlook.reckoned.parts}
        self.cut = {
            (edge.what, edge.source if edge.what == PartKind.CONSUMERS else edge.target)
            for edge in outlook.flow.cut
        }
        running = [node.name for node in self.load.running()]
        self.led: dict[NodeName, list[QueueOutlook]] = {name: [] for name in running}
        for queue in outlook.queues:
            if queue.load.published > 0 and queue.load.leader in self.led:
                self.led[queue.load.leader].append(queue)
        self.nodes = [name for name in running if self.led[name]]
        hosts = {node.name: node.host for node in self.load.nodes}
        self.host_of = {name: hosts[name] for name in self.nodes}
        self.shares_hosts = len(set(self.host_of.values())) < len(self.nodes)
        self.balancer = self.load.through_balancer > 0
        self.boxes: list[Box] = []
        self.links: dict[tuple[str, str], Link] = {}

    def made(self) -> FlowMap:
        assert self.outlook.flow is not None
        total = sum(self._flow(name) for name in self.nodes)
        self._box(Column.PUBLISHERS, "publishers", "publishers", f"{number(total)}/s", total)
        before = "publishers"
        if self.balancer:
            part = self.parts.get((PartKind.BALANCER, "balancer"))
            cut = (PartKind.BALANCER, "balancer") in self.cut
            text = "" if part is None else f"{part.utilisation:.0%} of one core"
            self._box(Column.BALANCER, "balancer", "balancer", text, total, cut=cut)
            self._link(before, "balancer", total, cut=cut)
            before = "balancer"
        for node in self._nodes(before):
            self._queues(node)
        return FlowMap(
            tuple(sorted(self.boxes, key=lambda box: box.column)),
            tuple(self.links.values()),
            self.outlook.capacity,
            self.outlook.flow.value,
        )

    def _nodes(self, before: str) -> Sequence[Sequence[NodeName]]:
        """Each by itself, or of many the least busy ones together; those of one host next to each
        other."""
        busiest = sorted(self.nodes, key=lambda name: -self._flow(name))
        alone = busiest if len(busiest) <= MOST_NODES else busiest[: MOST_NODES - 1]
        order = [name for name in self.nodes if name in alone]
        if self.shares_hosts:
            hosts = list(dict.fromkeys(self.host_of[name] for name in order))
            order.sort(key=lambda name: hosts.index(self.host_of[name]))
        groups: list[list[NodeName]] = [[name] for name in order]
        if rest := [name for name in self.nodes if name not in alone]:
            groups.append(rest)
        for group in groups:
            self._node(before, group)
        return groups

    def _node(self, before: str, group: Sequence[NodeName]) -> None:
        flow = sum(self._flow(name) for name in group)
        alone, first = len(group) == 1, group[0]
        cut = sum((PartKind.NODE, f"node {name}") in self.cut for name in group)
        host_cut = sum((PartKind.HOST, f"host {self.host_of[name]}") in self.cut for name in group)
        if self.shares_hosts and alone:
            before = self._host(before, self.host_of[first])
        else:
            cut = max(cut, host_cut)
        parts = [self.outlook.reckoned.node(name) for name in group]
        busy = max((part.utilisation for part in parts if part is not None), default=0.0)
        text = _cores(parts[0]) if alone else f"the busiest {busy:.0%} busy"
        title = short_name(first) if alone else f"{len(group)} other nodes"
        key = _key(group)
        self._box(Column.NODE, key, title, text, flow, cut=cut > 0, many=not alone)
        self._link(before, key, flow, cut=cut > 0)

    def _host(self, before: str, host: str) -> str:
        key = f"host {host}"
        there = [name for name in self.nodes if self.host_of[name] == host]
        cut = (PartKind.HOST, key) in self.cut
        if all(box.key != key for box in self.boxes):
            flow = sum(self._flow(name) for name in there)
            text = _cores(self.parts.get((PartKind.HOST, host)))
            self._box(Column.HOST, key, f"host {host}", text, flow, cut=cut)
            self._link(before, key, flow, cut=cut)
        return key

    def _queues(self, group: Sequence[NodeName]) -> None:
        queues = [queue for name in group for queue in self.led[name]]
        alone = [queue for queue in queues if queue.load.full_name in self._alone()]
        alone.sort(key=lambda queue: -queue.load.published)
        for queue in alone:
            self._queue(group, [queue])
        names = {queue.load.full_name for queue in alone}
        if rest := [queue for queue in queues if queue.load.full_name not in names]:
            self._queue(group, rest)

    def _alone(self) -> Collection[str]:
        """Queues with a box of their own."""
        queues = [queue for led in self.led.values() for queue in led]
        if len(queues) <= ALL_UP_TO:
            return [queue.load.full_name for queue in queues]
        busiest = sorted(queues, key=lambda queue: -_busy(queue))
        names = [queue.load.full_name for queue in busiest]
        in_cut = [
            name
            for name in names
            if {(PartKind.QUEUE, f"queue {name}"), (PartKind.CONSUMERS, f"queue {name}")} & self.cut
        ]
        first = in_cut[:MOST_CUT]
        return list(dict.fromkeys([*first, *names]))[:MOST_QUEUES]

    def _queue(self, group: Sequence[NodeName], queues: Sequence[QueueOutlook]) -> None:
        alone = len(queues) == 1
        loads = [queue.load for queue in queues]
        flow = sum(load.published for load in loads)
        own = [(PartKind.QUEUE, f"queue {load.full_name}") in self.cut for load in loads]
        taken = [(PartKind.CONSUMERS, f"queue {load.full_name}") in self.cut for load in loads]
        names = _key(group) if not alone else loads[0].full_name
        key = f"queues {names}" if not alone else f"queue {names}"
        after = f"consumers {names}"
        limit = self._limit(PartKind.QUEUE, loads)
        title = loads[0].full_name if alone else f"{len(loads)} other queues"
        self._box(
            Column.QUEUE, key, title, _of(flow, limit, sum(own), alone), flow, any(own), not alone
        )
        self._link(_key(group), key, flow, cut=any(own))
        count = sum(load.consumers for load in loads)
        title = f"{count:,} consumer{'' if count == 1 else 's'}" if count else "no consumers"
        limit = self._limit(PartKind.CONSUMERS, loads)
        delivered = sum(load.delivered for load in loads)
        text = _of(delivered, limit, sum(taken), alone)
        self._box(Column.CONSUMERS, after, title, text, delivered, any(taken), not alone)
        self._link(key, after, delivered, cut=any(taken))

    def _limit(self, kind: PartKind, loads: Sequence[QueueLoad]) -> float:
        """All together; infinite if one isn't known."""
        parts = [self.parts.get((kind, load.full_name)) for load in loads]
        return sum(math.inf if part is None else part.capacity for part in parts)

    def _flow(self, node: NodeName) -> float:
        return sum(queue.load.published for queue in self.led[node])

    def _box(
        self,
        column: Column,
        key: str,
        title: str,
        text: str,
        flow: float,
        cut: bool = False,
        many: bool = False,
    ) -> None:
        self.boxes.append(Box(column, key, title, text, flow, cut, many))

    def _link(self, source: str, target: str, flow: float, *, cut: bool) -> None:
        self.links[source, target] = Link(source, target, flow, cut)


def _key(group: Sequence[NodeName]) -> str:
    return f"node {group[0]}" if len(group) == 1 else "other nodes"


def _cores(part: Part | None) -> str:
    if part is None:
        return ""
    used = part.idle + part.by_load
    return f"{number(used)} of {part.capacity:.3g} core{'' if part.capacity == 1 else 's'}"


def _of(flow: float, limit: float, in_cut: int, alone: bool) -> str:
    text = f"{number(flow)}/s"
    if in_cut and not alone:
        return f"{text}, {in_cut} in the min-cut"
    return text if math.isinf(limit) else f"{text} of {number(limit)}/s"


def _busy(queue: QueueOutlook) -> float:
    stations = [one for one in (queue.process, queue.consumers) if one is not None]
    if stations:
        return max(station.utilisation for station in stations)
    return 1e-9 * queue.load.published  # nothing is known of it: after the others


Places = Mapping[str, tuple[float, float]]


def places(found: FlowMap) -> Places:
    """Where boxes are: column and row of their middles, from 0 up; rows are as many as the fullest
    column has. A queue's consumers are beside it, a node is beside its queues, as near as boxes
    leave room for one another."""
    rows = found.rows
    at: dict[str, tuple[float, float]] = {}
    columns = found.columns
    after: dict[str, list[str]] = defaultdict(list)
    for link in found.links:
        after[link.source].append(link.target)
    for column in reversed(columns):
        boxes = found.column(column)
        x = float(columns.index(column))
        wanted = []
        for number_, box in enumerate(boxes):
            beside = [at[key][1] for key in after[box.key] if key in at]
            even = (number_ + 0.5) * rows / len(boxes) - 0.5
            wanted.append(sum(beside) / len(beside) if beside else even)
        for box, y in zip(boxes, _apart(wanted, rows), strict=True):
            at[box.key] = (x, y)
    return at


def _apart(wanted: Sequence[float], rows: int) -> list[float]:
    """The same order, at least 1 apart, within 0 and rows - 1."""
    found: list[float] = []
    for y in wanted:
        found.append(max(y, found[-1] + 1) if found else max(0.0, y))
    limit = rows - 1.0
    for number_ in range(len(found) - 1, -1, -1):
        found[number_] = min(found[number_], limit)
        limit = found[number_] - 1
    return found
