"""What each node has to give to sessions, and what it spends whatever sessions do. Pure.

A node's CPU goes three ways: what it uses without traffic, what it does for the queues that it
leads and copies (wherever clients are connected), and what it does for clients that are connected
to it and whose queues others lead. Only the last is for a balancer to move. How much each takes is
what nodes were seen to use, shared out by what the calibration says its parts cost (the utilisation
law: U = X D); without a calibration there are only the cores.

Nodes that share a host take what the others leave, so each gets an equal part of what is free
there, but no more than its own quota.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration
from warrener.planner.load import Load, NodeLoad
from warrener.planner.resources import PartKind, Reckoned, reckon

LEAST: Final = 0.02
"""Of its cores that a node is taken to have left for sessions, however much it has to do."""

SCALE: Final = (0.5, 4.0)
"""Between these what messages cost may differ from the calibration: at a low load a message costs
up to 3.8 times as much (docs/planner.md), and a calibration is right to some tens of per cent."""

TELLING: Final = 0.05
"""Cores of load below which what a node was seen to use says nothing about what messages cost."""

ALIKE: Final = 2.0
"""Times that the busiest node may do as much as the idlest, for their speeds to be compared: where
there is more to do at once, a message costs less."""

SPEED: Final = 0.15
"""Difference of speeds that isn't taken for one: the calibration's own error."""


class Bound(StrEnum):
    """What a node's cores are bounded by."""

    HOST = "host"  # its host's, which it has for itself
    SHARE = "share"  # its part of a host that nodes share
    QUOTA = "quota"  # its own process may use no more


@dataclass(frozen=True, slots=True)
class Room:
    """One node, in cores. ``cores``: what it may use; ``idle``: uses without traffic; ``leads``:
    for queues that it leads and copies; ``enters``: for clients that are connected there and whose
    queues others lead. ``speed`` against the mean of all nodes. ``used``: as measured; None:
    nobody tells. ``shared``: the host's name, where nodes can take what others leave."""

    node: NodeName
    host: str
    cores: float
    bound: Bound
    idle: float = 0.0
    leads: float = 0.0
    enters: float = 0.0
    speed: float = 1.0
    used: float | None = None
    shared: str = ""

    @property
    def free(self) -> float:
        """What is left for sessions, those that are there included."""
        return max(self.cores - self.idle - self.leads, LEAST * self.cores)

    @property
    def told(self) -> str:
        """All of it in words."""
        of = {
            Bound.HOST: "its host's",
            Bound.SHARE: "its part of its host's",
            Bound.QUOTA: "its quota",
        }[self.bound]
        spent = [
            f"{amount:.2f} {what}"
            for amount, what in (
                (self.idle, "without traffic"),
                (self.leads, "for the queues that it leads and copies"),
            )
            if amount >= 0.005
        ]
        less = f", less {' and '.join(spent)}" if spent else ""
        speed = f", {self.speed:.2f} times as fast as the mean" if self.speed != 1 else ""
        return f"{self.cores:.2f} cores ({of}){less}{speed}: {self.free:.2f} for sessions"


@dataclass(frozen=True, slots=True)
class Rooms:
    """Of all nodes that run, in order. ``scale``: times the calibration that messages were seen to
    cost; ``guessed`` says what wasn't known, in words."""

    nodes: tuple[Room, ...]
    scale: float = 1.0
    guessed: tuple[str, ...] = ()

    def of(self, node: NodeName) -> Room:
        """KeyError if it doesn't run."""
        for room in self.nodes:
            if room.node == node:
                return room
        raise KeyError(node)


@dataclass(slots=True)
class _Spent:
    """By the calibration."""

    leads: dict[NodeName, float] = field(default_factory=dict)
    enters: dict[NodeName, float] = field(default_factory=dict)

    def total(self, node: NodeName) -> float:
        return self.leads.get(node, 0.0) + self.enters.get(node, 0.0)


def rooms(load: Load, calibration: Calibration | None) -> Rooms:
    """Of a cluster under its load. WrongInput if the load makes no sense."""
    running = load.running()
    guessed: list[str] = []
    if calibration is None:
        guessed.append("what a message costs wasn't measured: only cores are gone by")
        return Rooms(tuple(_rooms_of(load, {}, _Spent(), 1.0, {}, {})), 1.0, tuple(guessed))
    reckoned = reckon(load, calibration)
    mean_idle = sum(calibration.idle.values()) / max(1, len(calibration.idle))
    idle = {node.name: calibration.idle.get(node.name, mean_idle) for node in running}
    spent = _spent(load, calibration, reckoned)
    seen = {
        node.name: max(0.0, node.cpu - idle[node.name]) for node in running if node.cpu is not None
    }
    expected = sum(spent.total(name) for name in seen)
    scale = 1.0
    if expected >= TELLING:
        scale = min(max(sum(seen.values()) / expected, SCALE[0]), SCALE[1])
    else:
        guessed.append(
            "there is too little load to tell what messages cost now: the calibration is gone by"
        )
    speeds = _speeds(running, spent, seen)
    found = _rooms_of(load, idle, spent, scale, speeds, _beside(load, reckoned))
    return Rooms(tuple(found), scale, tuple(guessed))


def _rooms_of(
    load: Load,
    idle: Mapping[NodeName, float],
    spent: _Spent,
    scale: float,
    speeds: Mapping[NodeName, float],
    beside: Mapping[str, float],
) -> Sequence[Room]:
    found: dict[NodeName, Room] = {}
    for host in load.hosts:
        there = [node for node in load.running() if node.host == host.name]
        free = max(LEAST * host.cores, host.cores - host.others - beside.get(host.name, 0.0))
        parts = _parts(there, free)
        competes = sum(node.cores or host.cores for node in there) > free + 1e-9
        for node, cores in zip(there, parts, strict=True):
            quota = node.cores is not None and node.cores <= cores + 1e-9
            alone = len(there) == 1
            found[node.name] = Room(
                node=node.name,
                host=host.name,
                cores=cores,
                bound=Bound.QUOTA if quota else Bound.HOST if alone else Bound.SHARE,
                idle=idle.get(node.name, 0.0),
                leads=scale * spent.leads.get(node.name, 0.0),
                enters=scale * spent.enters.get(node.name, 0.0),
                speed=speeds.get(node.name, 1.0),
                used=node.cpu,
                shared=host.name if competes and not alone else "",
            )
    return [found[node.name] for node in load.running() if node.name in found]


def _parts(nodes: Sequence[NodeLoad], free: float) -> list[float]:
    """What each gets of a host: an equal part, or its quota where that is less."""
    left, parts = free, dict[int, float]()
    order = sorted(range(len(nodes)), key=lambda at: nodes[at].cores or float("inf"))
    for done, at in enumerate(order):
        equal = left / (len(nodes) - done)
        quota = nodes[at].cores
        parts[at] = equal if quota is None else min(quota, equal)
        left -= parts[at]
    return [parts[at] for at in range(len(nodes))]


def _spent(load: Load, calibration: Calibration, reckoned: Reckoned) -> _Spent:
    """What the load costs each node by the calibration, and which part of it follows clients."""
    spent = _Spent()
    for queue in load.queues:
        costs = calibration.costs.get(queue.type, {})
        for act, rate, parts in (
            (Act.ENTER, queue.published, queue.entering),
            (Act.LEAVE, queue.delivered, queue.leaving),
        ):
            cost = costs.get(act)
            if cost is None:
                continue
            for node, part in parts:
                more = part * rate * cost.at(queue.body)
                spent.enters[node] = spent.enters.get(node, 0.0) + more
    for one in load.running():
        whole = reckoned.node(one.name)
        total = whole.by_load if whole is not None else 0.0
        spent.leads[one.name] = max(0.0, total - spent.enters.get(one.name, 0.0))
    return spent


def _speeds(
    nodes: Sequence[NodeLoad], spent: _Spent, seen: Mapping[NodeName, float]
) -> dict[NodeName, float]:
    """How fast nodes are against their mean: what the same work takes there. 1 where they don't do
    enough, or not alike enough, to tell."""
    work = {node.name: spent.total(node.name) for node in nodes}
    telling = set(seen) == set(work) and all(used >= TELLING for used in seen.values())
    if len(nodes) < 2 or not telling or min(work.values()) < TELLING:
        return {}
    if max(work.values()) > ALIKE * min(work.values()):
        return {}
    dear = {name: seen[name] / work[name] for name in work}
    mean = sum(dear.values()) / len(dear)
    speeds = {name: min(2.0, max(0.5, mean / times)) for name, times in dear.items()}
    return {name: round(speed, 2) for name, speed in speeds.items() if abs(speed - 1) > SPEED}


def _beside(load: Load, reckoned: Reckoned) -> dict[str, float]:
    """Cores that the balancer and clients take of each host: what it has to do less its nodes'."""
    beside = {part.name: part.by_load for part in reckoned.parts if part.kind is PartKind.HOST}
    for node in load.running():
        part = reckoned.node(node.name)
        if part is not None and node.host in beside:
            beside[node.host] = max(0.0, beside[node.host] - part.by_load)
    return beside
