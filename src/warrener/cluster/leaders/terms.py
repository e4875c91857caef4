"""What a plan is made of: nodes and queues with their loads, moves, what comes of them."""

from dataclasses import dataclass
from typing import Final

from warrener.facts.ids import NodeName
from warrener.facts.leaders import Fixed, LeaderReason, Short

TOLERANCE: Final = 0.10
"""Of the mean. Up to here a node isn't busy."""

AIM: Final = 0.05
"""Of the mean: where to bring it if something is done at all."""

LEAST_LOAD: Final = 10.0
"""Operations a second that nobody moves a leader for; a node carries some ten thousand."""

LEAST_SHIFT: Final = 1e-4
"""Of the mean: a queue with less isn't moved, whatever it would improve."""

MAX_MOVES: Final = 1000
"""By default. Handing over one leader takes RabbitMQ some milliseconds."""


@dataclass(frozen=True, slots=True)
class PlanNode:
    """``receives``: it runs, is fit, not drained, without an alarm. A node of ``weight`` 200 should
    carry twice as much as one of 100; one of 0 nothing that can be moved."""

    name: NodeName
    receives: bool = True
    weight: float = 100.0


@dataclass(frozen=True, slots=True)
class PlanQueue:
    """``online`` are the members that are online, the leader among them. ``fixed`` says why it
    can't be moved. Loads in operations a second."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    online: tuple[NodeName, ...] = ()
    load: float = 0.0
    follower: float = 0.0
    fixed: Fixed | None = None


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """``shift`` is what goes with it, ``load`` what it costs its leader."""

    vhost: str
    name: str
    type: str
    source: NodeName
    target: NodeName
    load: float
    shift: float
    reason: LeaderReason


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """One node before and after; ``share`` is what it should carry, 0 if it doesn't receive."""

    name: NodeName
    receives: bool
    before: float
    after: float
    share: float
    leaders_before: int
    leaders_after: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``mean`` is that of the nodes that receive. ``skew`` is the busiest of them over the mean,
    by weight: 1.0 at best. ``short``: why a node stays busy, ``short_node`` which, ``short_queue``
    (vhost, name) the hot queue; None if none does."""

    moves: tuple[PlannedMove, ...]
    nodes: tuple[NodeLoad, ...]
    mean: float
    skew_before: float
    skew_after: float
    short: Short | None = None
    short_node: NodeName | None = None
    short_queue: tuple[str, str] | None = None
