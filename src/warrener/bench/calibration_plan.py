"""What a calibration measures, in which order, and how long each takes. Pure.

For each type of queue and size of body, one queue with one publisher and one consumer:

    both      both at the leader's node, as much as goes: the queue's limit
    paced     the same at ``PACE`` of that limit, as the CPU of a message depends on the load
    publish   nobody consumes: tells publishing from delivering
    enter     the publisher at another node
    leave     the consumer at another node

and for the smallest size, but not of streams:

    alone     one message at a time: how long it takes through the broker

and once for each size of body through the balancer. The leader goes round the nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.planner.costs import QueueType

PACE: Final = 0.3
"""Of the limit."""

IDLE: Final = 2.5
"""Seconds without load, in which the cores of idle nodes are read."""

WARM_UP: Final = 0.4

SETTLE: Final = 0.2
"""Seconds between two measurements, for the nodes to put things away."""

AROUND: Final = 0.6 + WARM_UP + SETTLE
"""Seconds a measurement takes beside its window: Python's start, connecting, and draining at its
end, on two cores that the cluster uses as well (measured: 1.0 in all)."""

PREPARATION: Final = 3.0
"""Seconds to make the virtual host and its queues and to clear them away."""

SHORTEST: Final = 0.4
"""Seconds of a window: at half a core, a tick of the CPU clock is then 5 % of what is read."""

LONGEST: Final = 30.0


class Shape(StrEnum):
    """What a measurement is."""

    BOTH = "both"
    PACED = "paced"
    PUBLISH = "publish"
    ENTER = "enter"
    LEAVE = "leave"
    BALANCER = "balancer"
    ALONE = "alone"


_WORDS: Final = {
    Shape.BOTH: "as much as goes",
    Shape.PACED: f"at {PACE:.0%} of that",
    Shape.PUBLISH: "published only",
    Shape.ENTER: "published through another node",
    Shape.LEAVE: "consumed through another node",
    Shape.BALANCER: "through the balancer",
    Shape.ALONE: "one message at a time",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement. ``leader`` and ``other`` are numbers of nodes."""

    type: QueueType
    body: int
    shape: Shape
    leader: int
    other: int

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.type} {self.body} B, {_WORDS[self.shape]}"


class TooShort(Exception):
    """There isn't time enough for that many measurements."""


def steps(types: Sequence[QueueType], bodies: Sequence[int], nodes: int) -> tuple[Step, ...]:
    """In the order they are done; a paced one follows the limit that it goes by."""
    planned = []
    shapes = [Shape.BOTH, Shape.PACED, Shape.PUBLISH]
    if nodes > 1:
        shapes += [Shape.ENTER, Shape.LEAVE]
    turn = 0
    for kind in types:
        for body in bodies:
            leader, other = turn % nodes, (turn + 1) % nodes
            turn += 1
            planned += [Step(kind, body, shape, leader, other) for shape in shapes]
            if kind == types[0]:
                planned.append(Step(kind, body, Shape.BALANCER, leader, other))
            if body == bodies[0] and kind is not QueueType.STREAM:
                planned.append(Step(kind, body, Shape.ALONE, leader, other))
    return tuple(planned)


def window(seconds: float, measurements: int) -> float:
    """Seconds of each measurement's window, so that all of it takes ``seconds``. TooShort."""
    around = PREPARATION + IDLE + measurements * AROUND
    each = (seconds - around) / measurements
    if each < SHORTEST:
        least = around + measurements * SHORTEST
        raise TooShort(
            f"{measurements} measurements take {least:.0f} s at least, not {seconds:g}; "
            f"--types, --body or a longer --seconds"
        )
    return min(each, LONGEST)


def shortened(window: float, seconds: float, measurements: int) -> float:
    """The window of each, if so many seconds are left for so many; never under ``SHORTEST``."""
    return max(SHORTEST, min(window, seconds / measurements - AROUND))


def duration(window: float, measurements: int) -> float:
    """Seconds that all of it takes."""
    return PREPARATION + IDLE + measurements * (AROUND + window)
