"""Moves of channels between nodes, as they are asked for, told and counted."""

from dataclasses import dataclass

from warrener.facts.ids import ChannelNumber, NodeName, SessionId
from warrener.facts.reasons import MoveReason, Placement


@dataclass(frozen=True, slots=True)
class MoveProgress:
    """How far a drain or a rebalancing is. Counts are sessions."""

    done: int
    total: int
    failed: int = 0


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What draining a node came to. ``moved`` and ``left`` are sessions; ``forced`` of the moved
    ones had deliveries that their client didn't settle in time: those come again, marked as
    redelivered. ``left`` stay connected to the node; the broker's own drain will close them.
    ``why_left`` says why none of them could be moved, where that is so."""

    node: NodeName
    moved: int
    forced: int
    left: int
    seconds: float
    why_left: str = ""


@dataclass(frozen=True, slots=True)
class RebalanceShare:
    """Sessions at home on a node: now, and as they should be."""

    node: NodeName
    before: int
    wanted: int
    after: int


@dataclass(frozen=True, slots=True)
class RebalanceResult:
    """``stopped`` says why it ended early; empty if it went through. ``skew`` is max/mean."""

    shares: tuple[RebalanceShare, ...]
    moved: int
    failed: int
    skew_before: float
    skew_after: float
    stopped: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """Where a channel lives and why. ``since`` is the balancer's clock, seconds.

    ``queue`` is the queue it is placed for ("" if none), ``leader`` the node that leads it.
    """

    session: SessionId
    client: str
    number: ChannelNumber
    state: str
    node: NodeName | None
    queue: str
    leader: NodeName | None
    why: Placement
    since: float
    moves: tuple[tuple[MoveReason, int], ...]  # so far, by reason
    consumers: int
    parked: int  # of them, waiting for their queue
    unsettled: int  # deliveries the client has not settled yet
    unconfirmed: int  # publishes kept in the journal
    journal_bytes: int
    messages_local: int
    messages_remote: int
