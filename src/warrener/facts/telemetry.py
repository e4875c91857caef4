"""What is measured of the balancer beside its statistics, for who watches it over time.

``balance.BalancerStatistics`` is what a status shows; this is what a graph is drawn of. Counts are
since the balancer started, times in seconds, sizes in bytes.
"""

from dataclasses import dataclass
from enum import StrEnum

from warrener.facts.ids import NodeName


class Direction(StrEnum):
    """As the clients see it."""

    IN = "in"  # from clients to nodes
    OUT = "out"  # from nodes to clients


class Locality(StrEnum):
    """Through which node a message entered or left."""

    LOCAL = "local"  # the one that leads its queue
    REMOTE = "remote"  # another one
    UNKNOWN = "unknown"  # it goes to several queues, or to one that isn't known


@dataclass(frozen=True, slots=True)
class Distribution:
    """What was observed, by size: ``counts`` of those up to each of ``bounds`` (and above the one
    before), the last of those above all bounds. ``total`` is the sum of what was observed."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def number(self) -> int:
        """How many were observed."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class NodeFigures:
    """What goes between clients and one node. ``channels`` and ``links`` are open now;
    ``messages`` so far."""

    node: NodeName
    channels: int = 0
    links: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    messages: tuple[tuple[Direction, Locality, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """How often a policy chose a node. ``choice`` is a ``reasons.Choice``."""

    policy: str
    choice: str
    node: NodeName
    count: int


@dataclass(frozen=True, slots=True)
class BalancerFigures:
    """``rejected``: clients that never got a session, by ``reasons.SessionEnd``. None: the data
    plane can't know that."""

    nodes: tuple[NodeFigures, ...] | None = None
    decisions: tuple[Decision, ...] | None = None
    rejected: tuple[tuple[str, int], ...] | None = None
    handshakes: Distribution | None = None  # from a client's connect until it may speak
    confirms: Distribution | None = None  # of sampled publishes, until the client has the confirm
    loop_lag: Distribution | None = None  # how much later than asked for the event loop woke


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """``[telemetry]``. ``port`` 0: chosen. ``queue_metrics``: of how many queues there are metrics
    of their own. ``prometheus``: one is run beside the cluster; ``scrape_interval`` is its, in
    seconds, and so is ``alert_after``: the longest that an alert's condition has to last before it
    fires; 0: as the rules have it."""

    enabled: bool = True
    port: int = 0
    queue_metrics: int = 0
    prometheus: bool = False
    scrape_interval: float = 15.0
    retention: float = 15 * 86_400.0
    alert_after: float = 0.0
