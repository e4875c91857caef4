"""What a balancer's sessions do, for the planner; weights that follow what nodes can carry.

Rates in messages a second, times in s, CPU in cores.
"""

from typing import Final

import msgspec

from warrener.control.operation import Operation
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName


class PlanSessionsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sessions that are open, with their rates over the last ``window`` s, or since they
    were opened."""

    window: float = 600.0


class SessionKindLine(msgspec.Struct, frozen=True, kw_only=True):
    """So many sessions with about this rate each, published and delivered."""

    sessions: int
    rate: float


class PlanSessionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds``: how far back rates and lifetimes go. ``lifetime`` None: none ended in that time.
    ``addresses``: sessions by client address, empty if that isn't known. ``local`` and ``remote``:
    messages a second through the node that leads their queue, and through another one; None: not
    counted. The rest is how the balancer is set; ``warnings`` say what isn't known."""

    seconds: float
    kinds: tuple[SessionKindLine, ...]
    opened: float
    lifetime: float | None
    addresses: dict[str, int]
    local: float | None
    remote: float | None
    policy: PolicyName
    locality: bool
    weights: dict[NodeName, int]
    follows_capacity: bool
    can_be_placed: bool
    warnings: tuple[str, ...]


class AutoWeightsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``on``: weights follow what nodes can carry. Off: they stay as they are."""

    on: bool


class AutoWeightsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``before``: whether it was on. ``weights`` as they are now."""

    on: bool
    before: bool
    weights: dict[NodeName, int]


PLAN_SESSIONS: Final = Operation("plan-sessions", PlanSessionsRequest, PlanSessionsAnswer)
AUTO_WEIGHTS: Final = Operation("auto-weights", AutoWeightsRequest, AutoWeightsAnswer)
