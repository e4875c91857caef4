"""Who leads which queue and what that costs, as far as several rooms speak of it."""

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
