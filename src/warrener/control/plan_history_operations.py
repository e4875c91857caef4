"""What the planner takes out of the history beside the load: what nodes had to do and how much CPU
it took them, and how single queues did at the loads that there were.

Rates in 1/s, times in s, CPU in cores.
"""

from typing import Final

import msgspec

from warrener.control.operation import Operation
from warrener.facts.ids import NodeName


class PlanWorkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last ``window`` s, or as much as is kept."""

    window: float = 24 * 3600.0


class StretchLine(msgspec.Struct, frozen=True, kw_only=True):
    """``planner.work.Stretch``: by node, type of queue and act."""

    seconds: float
    cpu: dict[NodeName, float]
    rates: dict[NodeName, dict[str, dict[str, float]]]
    passed: float
    balanced: float | None
    balancer: float | None
    clients: float | None


class PlanWorkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``since`` in s since the epoch, ``seconds`` in all. ``hosts`` of nodes, ``cores`` of hosts,
    ``shares`` of nodes that may use a part of them. ``left_out``: samples that tell nothing, by the
    reason in words. ``told_by_nodes``: their CPU is by their own metrics, without the kernel's
    part."""

    since: float
    seconds: float
    cluster: str
    version: str  # RabbitMQ's
    hosts: dict[NodeName, str]
    cores: dict[str, float]
    shares: dict[NodeName, float]
    stretches: list[StretchLine]
    left_out: dict[str, int]
    told_by_nodes: bool = False


class PlanPointsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of these queues (virtual host, name), over the last ``window`` s."""

    window: float
    queues: list[tuple[str, str]]


class PointsLine(msgspec.Struct, frozen=True, kw_only=True):
    """One queue: published and acked a second, and how many messages were in it; means of equal
    parts of the window, those without a sample left out."""

    vhost: str
    name: str
    points: list[tuple[float, float, float]]


class PlanPointsAnswer(msgspec.Struct, frozen=True):
    """Of the queues that there was something of."""

    queues: list[PointsLine]


PLAN_WORK: Final = Operation("plan-work", PlanWorkRequest, PlanWorkAnswer)
PLAN_POINTS: Final = Operation("plan-points", PlanPointsRequest, PlanPointsAnswer)
