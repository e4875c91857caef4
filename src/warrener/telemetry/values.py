"""What the metrics are made of, as whoever has it hands it over: plain values, read at one moment.

None stands for what isn't known; the metric is left out then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from warrener.facts.balance import BalancerStatistics
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.telemetry import BalancerFigures


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """One queue as predicted. ``rho`` of the busier of the queue itself and its consumers;
    ``response_time`` in seconds, infinite where it grows."""

    rho: float | None
    response_time: float | None
    length: float | None


@dataclass(frozen=True, slots=True)
class PlanValues:
    """What the planner says. Rates in messages/s, times in seconds; ``headroom`` is how many times
    the present load it takes, infinite without load. ``rho`` is the busiest part of each kind."""

    at: float  # seconds since the epoch
    load: float
    capacity: float
    headroom: float
    headroom_without: Mapping[NodeName, float]
    rho: Mapping[str, float]
    node_rho: Mapping[NodeName, float]
    predicted_time: float | None
    measured_time: float | None
    predicted_length: float
    measured_length: float
    growing: int
    memory_alarm_in: float | None
    queues: Mapping[tuple[str, str], QueuePlan] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeValues:
    """A member, as its driver says."""

    name: NodeName
    state: NodeState
    drained: bool


@dataclass(frozen=True, slots=True)
class Ending:
    """When a certificate ends, in seconds since the epoch."""

    whose: str
    what: str
    ends_at: float


@dataclass(frozen=True, slots=True)
class Values:
    """Everything. ``snapshot`` is the newest that may be acted on, ``view_age`` the age of the last
    one, however old. ``queue_metrics``: of how many queues there are metrics of their own."""

    version: str
    rabbitmq: str
    driver: str
    nodes: tuple[NodeValues, ...]
    balancer: BalancerStatistics | None = None
    figures: BalancerFigures = field(default_factory=BalancerFigures)
    journal_limit: int = 0
    snapshot: ClusterSnapshot | None = None
    view_age: float | None = None
    drift: int | None = None
    endings: tuple[Ending, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)
    plan: PlanValues | None = None
    queue_metrics: int = 0
