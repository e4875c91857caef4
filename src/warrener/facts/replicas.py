"""Replicas of quorum queues and streams that come and go with nodes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.facts.ids import NodeName

GOING: Final = "the old one is still being deleted"
"""Why a replica isn't added on a node yet."""


NO_REPLICA: Final = -2
"""The position of a replica that isn't there."""


class Spread(StrEnum):
    """Which queues get a replica on a node that joins."""

    SHARE = "share"  # those with too few, then an even share, taken over from other nodes
    MISSING = "missing"  # those with too few
    ALL = "all"  # every queue: more copies, dearer messages
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ReplicaMove:
    """One queue: a replica on ``to`` first, once that is in sync none on ``away`` any more. Either
    may be None."""

    vhost: str
    queue: str
    type: str  # quorum or stream
    to: NodeName | None = None
    away: NodeName | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """How far a queue's log is committed: by its leader, and by one replica of it. -1: there is no
    leader that tells; -2: there is no such replica."""

    leader: int
    replica: int
