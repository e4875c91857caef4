"""The loads of nodes and queues as numbers to reckon with, and the result told as a plan. Pure.

The words are those of ``plan``.
"""

from collections.abc import Iterable, Sequence
from copy import copy
from typing import Final

from warrener.cluster.leaders.terms import (
    AIM,
    LEAST_SHIFT,
    TOLERANCE,
    NodeLoad,
    Plan,
    PlannedMove,
    PlanNode,
    PlanQueue,
)
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderReason, Short

_PINNED: Final = 32
"""Queues looked at for being too hot for any node's share; there can't be many more than nodes."""

_LARGEST: Final = 8  # moves off a node that are looked at to find the next one


class Problem:
    """The loads as arrays: nodes are numbers, only those that receive; queues are those that can be
    moved and are worth it."""

    def __init__(
        self, nodes: Sequence[PlanNode], queues: Sequence[PlanQueue], least_load: float
    ) -> None:
        self.given = nodes
        self.least_load = least_load
        self.nodes = [node for node in nodes if node.receives]
        self.number_of = {node.name: number for number, node in enumerate(self.nodes)}
        size = len(self.nodes)
        self.weights = [node.weight for node in self.nodes]
        self.loads_given = {node.name: 0.0 for node in nodes}
        self.counts_given = {node.name: 0 for node in nodes}
        self.base = [0.0] * size
        self.counts = [0] * size
        movable: list[tuple[PlanQueue, float, int, tuple[int, ...]]] = []
        for queue in queues:
            self._add(queue, movable)
        total = sum(self.loads_given[node.name] for node in self.nodes)
        weight = sum(self.weights)
        self.mean = total / size if size else 0.0
        self.level = total / weight if weight else 0.0  # per weight
        least = LEAST_SHIFT * self.mean
        self.queues: list[PlanQueue] = []
        self.shifts: list[float] = []
        self.leaders: list[int] = []
        self.targets: list[tuple[int, ...]] = []  # all members that receive, the leader too
        for queue, shift, leader, members in movable:
            if shift > least and len(members) > 1:
                self.queues.append(queue)
                self.shifts.append(shift)
                self.leaders.append(leader)
                self.targets.append(members)
            else:
                self.base[leader] += shift
        self.hot: dict[int, int] = {}  # node: the queue that is too hot for any node's share
        self.shares = self._shares()

    def under(self, leaders: Sequence[int]) -> "Problem":
        """The same, as if these led already."""
        problem = copy(self)
        problem.leaders = list(leaders)
        problem.counts = list(self.counts)
        for before, now in zip(self.leaders, leaders, strict=True):
            problem.counts[before] -= 1
            problem.counts[now] += 1
        problem.hot = {}
        problem.shares = problem._shares()
        return problem

    def _add(
        self, queue: PlanQueue, movable: list[tuple[PlanQueue, float, int, tuple[int, ...]]]
    ) -> None:
        if queue.leader is None or queue.leader not in self.loads_given:
            return
        for name in queue.online:
            if name != queue.leader and name in self.loads_given:
                self.loads_given[name] += queue.follower
                if name in self.number_of:
                    self.base[self.number_of[name]] += queue.follower
        self.loads_given[queue.leader] += queue.load
        self.counts_given[queue.leader] += 1
        leader = self.number_of.get(queue.leader)
        if leader is None:
            return
        self.counts[leader] += 1
        if queue.fixed is not None or queue.leader not in queue.online:
            self.base[leader] += queue.load
            return
        self.base[leader] += queue.follower
        members = tuple(sorted(self.number_of[n] for n in queue.online if n in self.number_of))
        movable.append((queue, queue.load - queue.follower, leader, members))

    # -- what each should carry

    def _shares(self) -> list[float]:
        base = list(self.base)
        rest = sum(self.shifts)
        level = _water_level(base, self.weights, rest)
        order = sorted(range(len(self.shifts)), key=lambda q: -self.shifts[q])
        for queue in order[:_PINNED]:
            shift = self.shifts[queue]
            places = self.targets[queue]
            if any(base[n] + shift <= max(base[n], level * self.weights[n]) for n in places):
                continue
            here = self.leaders[queue]
            heights = {n: (base[n] + shift) / max(self.weights[n], 1e-9) for n in places}
            best = min(places, key=lambda n: (round(heights[n], 9), self.counts[n]))
            if heights[here] - heights[best] <= TOLERANCE * self.level:
                best = here
            self.hot[best] = queue
            base[best] += shift
            rest -= shift
            level = _water_level(base, self.weights, max(0.0, rest))
        return [max(load, level * weight) for load, weight in zip(base, self.weights, strict=True)]

    def limits(self, tolerance: float) -> list[float]:
        """Over it a node is busy."""
        return [
            share + max(tolerance * self.level * weight, self.least_load)
            for share, weight in zip(self.shares, self.weights, strict=True)
        ]

    def loads(self, leaders: Iterable[int]) -> list[float]:
        """Of each node under these leaders."""
        loads = list(self.base)
        for queue, leader in enumerate(leaders):
            loads[leader] += self.shifts[queue]
        return loads

    def excess(self, leaders: Sequence[int], tolerance: float) -> float:
        """What is over the limits, added up."""
        pairs = zip(self.loads(leaders), self.limits(tolerance), strict=True)
        return sum(max(0.0, load - limit) for load, limit in pairs)

    def busy(self, leaders: Sequence[int], tolerance: float) -> list[int]:
        """The nodes over their limits, the worst first."""
        over = [
            load - limit
            for load, limit in zip(self.loads(leaders), self.limits(tolerance), strict=True)
        ]
        eps = 1e-9 * (1.0 + self.mean)
        return sorted((n for n in range(len(over)) if over[n] > eps), key=lambda n: -over[n])

    def number(self, leaders: Sequence[int]) -> int:
        """How many moves lead there."""
        return sum(a != b for a, b in zip(leaders, self.leaders, strict=True))

    # -- as moves

    def in_order(self, leaders: Sequence[int]) -> list[tuple[int, int]]:
        """(queue, node): the moves, those first that take most off the busiest without making
        another busy."""
        moved = [q for q in range(len(leaders)) if leaders[q] != self.leaders[q]]
        moved.sort(key=lambda q: (-self.shifts[q], self.queues[q].vhost, self.queues[q].name))
        waiting: list[list[int]] = [[] for _ in self.nodes]
        for queue in reversed(moved):
            waiting[self.leaders[queue]].append(queue)
        loads = self.loads(self.leaders)
        limits = self.limits(TOLERANCE)
        ordered = []
        while any(waiting):
            # The busiest node's largest that fits; if none does, the smallest of all.
            sources = sorted(
                (n for n in range(len(loads)) if waiting[n]), key=lambda n: limits[n] - loads[n]
            )
            choice = next(
                (
                    queue
                    for source in sources
                    for queue in waiting[source][: -_LARGEST - 1 : -1]
                    if loads[leaders[queue]] + self.shifts[queue] <= limits[leaders[queue]]
                ),
                None,
            )
            if choice is None:
                choice = min((waiting[n][0] for n in sources), key=lambda q: self.shifts[q])
            waiting[self.leaders[choice]].remove(choice)
            loads[self.leaders[choice]] -= self.shifts[choice]
            loads[leaders[choice]] += self.shifts[choice]
            ordered.append((choice, leaders[choice]))
        return ordered

    def not_worse(self, moves: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Without those at the end that leave a node busier than the busiest was."""
        loads = self.loads(self.leaders)
        before = self.skew(loads)
        good = 0
        for number, (queue, target) in enumerate(moves, 1):
            loads[self.leaders[queue]] -= self.shifts[queue]
            loads[target] += self.shifts[queue]
            if self.skew(loads) <= before:
                good = number
        return moves[:good]

    def skew(self, loads: Sequence[float]) -> float:
        """The busiest over the mean, by weight; a node of weight 0 counts as one of a mean one."""
        if self.level <= 0:
            return 1.0
        usual = sum(self.weights) / sum(weight > 0 for weight in self.weights)
        return max(
            load / ((weight or usual) * self.level)
            for load, weight in zip(loads, self.weights, strict=True)
        )

    def told(self, moves: Sequence[tuple[int, int]], *, capped: bool) -> Plan:
        """For people."""
        leaders = list(self.leaders)
        counts = list(self.counts)
        before = self.loads(leaders)
        was_busy = set(self.busy(leaders, AIM))
        for queue, target in moves:
            counts[leaders[queue]] -= 1
            counts[target] += 1
            leaders[queue] = target
        after = self.loads(leaders)
        short = self._why_short(leaders, capped=capped)
        return Plan(
            moves=tuple(self._move(queue, target, was_busy) for queue, target in moves),
            nodes=tuple(self._node(node, after, counts) for node in self.given),
            mean=self.mean,
            skew_before=self.skew(before),
            skew_after=self.skew(after),
            short=short[0],
            short_node=short[1],
            short_queue=short[2],
        )

    def _move(self, queue: int, target: int, was_busy: set[int]) -> PlannedMove:
        moved = self.queues[queue]
        source = self.leaders[queue]
        return PlannedMove(
            vhost=moved.vhost,
            name=moved.name,
            type=moved.type,
            source=self.nodes[source].name,
            target=self.nodes[target].name,
            load=moved.load,
            shift=self.shifts[queue],
            reason=LeaderReason.BUSY if source in was_busy else LeaderReason.ROOM,
        )

    def _node(self, node: PlanNode, after: Sequence[float], counts: Sequence[int]) -> NodeLoad:
        number = self.number_of.get(node.name)
        before = self.loads_given[node.name]
        count = self.counts_given[node.name]
        return NodeLoad(
            name=node.name,
            receives=node.receives,
            before=before,
            after=before if number is None else after[number],
            share=0.0 if number is None else self.shares[number],
            leaders_before=count,
            leaders_after=count if number is None else counts[number],
        )

    def _why_short(
        self, leaders: Sequence[int], *, capped: bool
    ) -> tuple[Short | None, NodeName | None, tuple[str, str] | None]:
        """Why the busiest node is more than the tolerance over the mean."""
        loads = self.loads(leaders)
        far = [
            load - (1 + TOLERANCE) * self.level * weight
            for load, weight in zip(loads, self.weights, strict=True)
        ]
        worst = max(range(len(far)), key=lambda n: far[n], default=-1)
        if worst < 0 or far[worst] <= max(self.least_load, 1e-9 * (1.0 + self.mean)):
            return None, None, None
        name = self.nodes[worst].name
        hot = self.hot.get(worst)
        if capped:
            return Short.MAX_MOVES, name, None
        if hot is not None and leaders[hot] == worst:
            return Short.HOT_QUEUE, name, (self.queues[hot].vhost, self.queues[hot].name)
        mine = [queue for queue in range(len(leaders)) if leaders[queue] == worst]
        if loads[worst] - sum(self.shifts[q] for q in mine) >= self.level * self.weights[worst]:
            return Short.FIXED, name, None
        limits = self.limits(TOLERANCE)
        room = {n for n in range(len(loads)) if loads[n] < limits[n]}
        if not any(room.intersection(self.targets[queue]) for queue in mine):
            return Short.MEMBERS, name, None
        return Short.LUMPS, name, None


def _water_level(floor: Sequence[float], weights: Sequence[float], water: float) -> float:
    """Per weight: how high ``water`` stands when poured over nodes that hold ``floor`` already."""
    heights = sorted(
        (load / weight, weight) for load, weight in zip(floor, weights, strict=True) if weight > 0
    )
    width, held = 0.0, 0.0
    level = 0.0
    for number, (height, weight) in enumerate(heights):
        width += weight
        held += height * weight
        level = (water + held) / width
        if number + 1 == len(heights) or level <= heights[number + 1][0]:
            break
    return level
