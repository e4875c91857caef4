"""The sessions that a balancer has: how many, how unequal, how long they stay. Values only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName


@dataclass(frozen=True, slots=True)
class SessionKind:
    """So many sessions, each of which sends and gets ``rate`` messages a second, together."""

    sessions: int
    rate: float


@dataclass(frozen=True, slots=True)
class Sessions:
    """All of them at one time. ``lifetime`` (s) is their mean, infinite if none ended in the time
    that was looked at. ``addresses``: how many come from each client address; empty: not known, and
    each is taken to have its own. ``local``: the part of messages that came and went through the
    node that leads their queue; None: not known. The rest is how the balancer is set."""

    kinds: tuple[SessionKind, ...]
    policy: PolicyName
    locality: bool
    weights: Mapping[NodeName, int]
    lifetime: float = math.inf
    addresses: Mapping[str, int] = field(default_factory=dict)
    local: float | None = None
    follows_capacity: bool = False  # weights = "auto"
    can_be_placed: bool = True  # the data plane can send channels to leaders
    warnings: tuple[str, ...] = field(default=())

    @property
    def number(self) -> int:
        """How many there are."""
        return sum(kind.sessions for kind in self.kinds)

    @property
    def rate(self) -> float:
        """Messages a second of all of them, both ways."""
        return sum(kind.sessions * kind.rate for kind in self.kinds)
