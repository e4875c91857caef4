"""What goes through a cluster, and on which hosts its parts are. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from warrener.facts.ids import NodeName
from warrener.models.interruptions import Stalls
from warrener.planner.costs import QueueType


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """One queue. Rates in 1/s; ``body``: mean bytes; ``ready`` and ``unacked``: mean numbers over
    the time that was looked at. ``entering`` and ``leaving``: the part of what is published and
    delivered through a node that isn't the leader's, by that node.

    ``service_time``: s that a consumer takes for one message, None if it isn't known.
    ``seen_here``: by the balancer, so that the way between it and the node isn't in it.
    ``service_scv``: the squared coefficient of variation of it (0: always the same, 1: as at
    random), ``arrival_scv``: of the time between two publishes of one publisher, and
    ``publishers``: how many there are, if all publish alike. ``turnaround``: s from an ack until
    the consumer has its next message, with a prefetch of 1, if one is there. ``stalls``: of its
    broker, as publishers met them. None: nobody knows.
    """

    vhost: str
    name: str
    type: QueueType
    leader: NodeName | None
    members: tuple[NodeName, ...]
    published: float
    delivered: float
    acked: float
    body: float = 0.0
    consumers: int = 0
    prefetch: int = 0  # of a consumer; 0: no limit
    ready: float = 0.0
    unacked: float = 0.0
    service_time: float | None = None
    seen_here: bool = False
    entering: tuple[tuple[NodeName, float], ...] = ()
    leaving: tuple[tuple[NodeName, float], ...] = ()
    service_scv: float | None = None
    arrival_scv: float | None = None
    publishers: float = 1.0
    turnaround: float | None = None
    stalls: Stalls | None = None

    @property
    def full_name(self) -> str:
        """As it is said: without the default virtual host."""
        return self.name if self.vhost == "/" else f"{self.vhost}/{self.name}"

    @property
    def backlog(self) -> float | None:
        """L, measured: messages that wait or are being worked on. None of a stream: it keeps what
        was read, so what is in it says nothing of what waits."""
        return None if self.type == QueueType.STREAM else self.ready + self.unacked

    @property
    def measured_time(self) -> float | None:
        """R = L / X, measured (Little's law), s; None without traffic, and of a stream."""
        return self.backlog / self.acked if self.backlog is not None and self.acked > 0 else None


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """One node. ``cpu``: cores it uses, None if nobody tells; ``cores``: how many of its host's it
    may use (a container's quota), None: all. Memory in bytes."""

    name: NodeName
    host: str
    running: bool = True
    cpu: float | None = None
    mem_used: int = 0
    mem_limit: int = 0
    cores: float | None = None


@dataclass(frozen=True, slots=True)
class HostLoad:
    """A machine. ``others``: cores used there by what is neither a node nor the balancer nor a
    client of this cluster."""

    name: str
    cores: float
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """A cluster at work. ``through_balancer``: messages that pass the balancer, 1/s both ways;
    ``clients_on``: the host where the clients run, empty if on none of these."""

    nodes: tuple[NodeLoad, ...]
    hosts: tuple[HostLoad, ...]
    queues: tuple[QueueLoad, ...]
    balancer_host: str = ""
    through_balancer: float = 0.0
    clients_on: str = ""
    warnings: tuple[str, ...] = field(default=())

    @property
    def published(self) -> float:
        """Messages a second that come in."""
        return sum(queue.published for queue in self.queues)

    def node(self, name: NodeName) -> NodeLoad | None:
        """The one of that name."""
        return next((node for node in self.nodes if node.name == name), None)

    def running(self) -> Sequence[NodeLoad]:
        """The nodes that serve."""
        return [node for node in self.nodes if node.running]
