"""Which weights fit the capacity of nodes, and how far to go there in one step. Pure.

Sessions are shared out in proportion to what each node has left for them (``capacity.Room.free``,
times its speed): then all run full at the same load. It doesn't depend on where sessions are now,
so following it doesn't chase its own tail.

    rooms -> ``fitting`` -> what weights should be -> ``step`` -> what they are next
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.facts.settings import DEFAULT_WEIGHT
from warrener.planner.capacity import Rooms

RATIO: Final = 4.0
"""A weight is at most so many times the mean, and at least the mean by as much: a measurement that
is wrong must not empty a node, nor flood one."""

APART: Final = 0.1
"""Part by which a weight has to be off before it is changed: the hysteresis."""

STEP: Final = 1.25
"""Times that a weight is changed by at most in one step, or one through it. From one half of the
mean to all of it takes four steps."""


@dataclass(frozen=True, slots=True)
class WeightChange:
    """One weight's next step on its way to ``wanted``; ``why`` in words and figures."""

    node: NodeName
    before: int
    after: int
    wanted: int
    why: str


def fitting(rooms: Rooms) -> dict[NodeName, int]:
    """What fits, with a mean of 100 before the bounds. Of nodes that share a host all get the
    same: what one doesn't use the others have."""
    rates = _rates(rooms)
    mean = sum(rates.values()) / len(rates) if rates else 0.0
    if mean <= 0:
        return dict.fromkeys(rates, DEFAULT_WEIGHT)
    if all(abs(rate / mean - 1) < APART for rate in rates.values()):
        return dict.fromkeys(rates, DEFAULT_WEIGHT)
    return {
        node: round(DEFAULT_WEIGHT * min(RATIO, max(1 / RATIO, rate / mean)))
        for node, rate in rates.items()
    }


def step(now: Mapping[NodeName, int], rooms: Rooms) -> list[WeightChange]:
    """What to change now; nothing if all is near enough. Nodes that aren't in ``now`` are left
    out, and a weight of 0 stays: somebody wants nothing there."""
    changes = []
    for node, wanted in fitting(rooms).items():
        before = now.get(node, 0)
        if before <= 0 or abs(wanted / before - 1) <= APART:
            continue
        after = round(min(before * STEP, max(before / STEP, wanted)))
        after += (after == before) * (1 if wanted > before else -1)  # 1 to 2 is a step, too
        changes.append(WeightChange(node, before, after, wanted, rooms.of(node).told))
    return changes


def commands(now: Mapping[NodeName, int], wanted: Mapping[NodeName, int]) -> tuple[str, ...]:
    """What sets them by hand, for those that are far enough off."""
    return tuple(
        f"warrener balance set-weight {short_name(node)} {weight}"
        for node, weight in wanted.items()
        if now.get(node, 0) > 0 and abs(weight / now[node] - 1) > APART
    )


def _rates(rooms: Rooms) -> dict[NodeName, float]:
    rates = {room.node: room.free * room.speed for room in rooms.nodes}
    for host in {room.shared for room in rooms.nodes} - {""}:
        there = [room.node for room in rooms.nodes if room.shared == host]
        mean = sum(rates[node] for node in there) / len(there)
        rates |= dict.fromkeys(there, mean)
    return rates
