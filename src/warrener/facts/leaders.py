"""Who leads which queue and what that costs, as far as several rooms speak of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from warrener.facts.ids import NodeName


class Fixed(StrEnum):
    """Why a queue's leader stays where it is."""

    CLASSIC = "classic"  # one copy: it would have to be declared anew
    STREAM = "stream"  # this version of RabbitMQ has no way to hand a stream over
    TYPE = "type"  # a type that isn't known here
    AWAY = "away"  # no leader, or the queue is down
    ALONE = "alone"  # no other member is online
    SYNCING = "syncing"  # fewer members online than a majority could spare


class LeaderReason(StrEnum):
    """Why a leader is to be moved."""

    BUSY = "busy"  # its node has more than its share
    ROOM = "room"  # makes room for a busier queue


class Short(StrEnum):
    """Why the busiest node can't be brought to its share."""

    HOT_QUEUE = "hot_queue"  # one queue alone is more than a node's share
    FIXED = "fixed"  # load that can't be moved
    MEMBERS = "members"  # no queue on it has a member online on a node with room
    LUMPS = "lumps"  # no queue, and no exchange of two, is of a size that would help
    MAX_MOVES = "max_moves"  # more moves would be needed than were allowed


@dataclass(frozen=True, slots=True)
class LeaderMove:
    """One order to the driver: the queue is to be led by ``target``, one of its members."""

    vhost: str
    name: str
    type: str  # quorum or stream
    source: NodeName
    target: NodeName


@dataclass(frozen=True, slots=True)
class QueueRates:
    """Messages a second: into the queue, out of it (deliveries and gets), acknowledged."""

    published: float = 0.0
    delivered: float = 0.0
    acked: float = 0.0


@dataclass(frozen=True, slots=True)
class RateSample:
    """What went through the queues in ``seconds``; a queue that isn't in it was idle, as far as
    the nodes tell. ``missing`` are nodes that should have been asked and didn't answer: what
    clients do on them isn't in it."""

    seconds: float
    rates: Mapping[tuple[str, str], QueueRates]  # by (vhost, name)
    missing: tuple[NodeName, ...] = ()


@dataclass(frozen=True, slots=True)
class NotMoved:
    """RabbitMQ's word that a leader didn't move, for the log; the next view is what counts."""

    move: LeaderMove
    why: str
