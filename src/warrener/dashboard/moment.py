"""All that the page's views are made of, as whoever has it hands it over, read at one moment.

None stands for what isn't known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from warrener.control.operations import EventLine, SessionLine, StatusAnswer
from warrener.dashboard.acts import ActsShown
from warrener.dashboard.plan import Plan
from warrener.facts.ids import NodeName


@dataclass(frozen=True, slots=True)
class QueueMeasure:
    """One queue over the last seconds: messages/s. ``remote``: of what is published and delivered,
    the part that passes through a node that isn't the leader's. What the planner says of it: times
    in seconds, infinite where it grows; None without calibration. Measured ones are means over the
    same time as the predicted ones, if there are those."""

    published: float
    delivered: float
    acked: float
    remote: float = 0.0
    rho: float | None = None
    predicted_time: float | None = None
    predicted_length: float | None = None
    measured_time: float | None = None
    measured_length: float | None = None


@dataclass(frozen=True, slots=True)
class NodeMeasure:
    """One node. ``cpu``: cores it uses; ``busy``: the part of those it may use that this is;
    ``rho`` as the planner reckons it."""

    cpu: float | None = None
    busy: float | None = None
    rho: float | None = None


@dataclass(frozen=True, slots=True)
class Hop:
    """Messages/s that enter or leave through ``entry`` for queues that ``leader`` leads."""

    entry: NodeName
    leader: NodeName
    rate: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured over the last seconds, and when that was worked out (since the epoch)."""

    at: float | None = None
    queues: Mapping[tuple[str, str], QueueMeasure] = field(default_factory=dict)
    nodes: Mapping[NodeName, NodeMeasure] = field(default_factory=dict)
    hops: Sequence[Hop] = ()
    why_not: str = ""  # nothing was


@dataclass(frozen=True, slots=True)
class Moment:
    """``at`` in seconds since the epoch, ``clock`` by the monotonic one. ``sessions`` is None where
    nobody looks at them; ``events`` are the newest, oldest first."""

    at: float
    clock: float
    status: StatusAnswer
    events: Sequence[EventLine] = ()
    sessions: Sequence[SessionLine] | None = None
    sessions_why_not: str = ""  # the data plane doesn't know its sessions
    measured: Measured = field(default_factory=Measured)
    acts: ActsShown = field(default_factory=ActsShown)
    plan: Plan = field(default_factory=Plan)
