"""What a cluster did over the last minutes or days, and the load that the planner reckons with.

Rates in 1/s, times in s, CPU in cores, sizes in bytes.
"""

from typing import Final

import msgspec

from warrener.control.operation import Operation
from warrener.facts.ids import NodeName


class HistoryRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last ``window`` s. ``queue`` is a name or a pattern such as ``jobs.*``, empty for all;
    ``limit`` bounds the queues in the answer, the busiest first."""

    window: float = 600.0
    queue: str = ""
    limit: int = 50


class FigureLine(msgspec.Struct, frozen=True, kw_only=True):
    """The mean, and the lowest and highest sample."""

    mean: float
    min: float
    max: float


class HistoryNodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``cpu`` and ``memory_used`` are None if nobody tells. ``published`` and
    ``delivered`` are of the queues that it leads; ``points`` of CPU, over the window. ``cores``:
    how many of its host's it may use, None: all."""

    node: NodeName
    host: str
    running: bool
    cpu: FigureLine | None
    memory_used: FigureLine | None
    memory_limit: int
    sessions: FigureLine
    published: float
    delivered: float
    points: tuple[float, ...] = ()
    cores: float | None = None


class HistoryQueueLine(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. ``body``: mean bytes, and ``body_from`` where that is from (held, balancer,
    unknown). ``prefetch`` 0: no limit, below: not known. ``service_time`` of a consumer, None with
    the reason in ``service_from``. ``entering`` and ``leaving``: the part that comes and goes
    through nodes that don't lead it. ``points`` of ``published``, over the window."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    members: tuple[NodeName, ...]
    published: FigureLine
    delivered: FigureLine
    acked: FigureLine
    ready: FigureLine
    unacked: FigureLine
    consumers: float
    prefetch: int
    body: float
    body_from: str
    service_time: float | None
    service_from: str
    entering: dict[NodeName, float]
    leaving: dict[NodeName, float]
    points: tuple[float, ...] = ()


class HistoryHostLine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine: cores used by others than this cluster, and by its clients; None: not known."""

    host: str
    cores: float
    others: float | None
    clients: float | None


class HistoryRestLine(msgspec.Struct, frozen=True, kw_only=True):
    """Queues that aren't kept singly, together."""

    queues: int
    published: float
    delivered: float
    acked: float
    ready: float
    unacked: float


class HistoryBalancerLine(msgspec.Struct, frozen=True, kw_only=True):
    """What passed the balancer, None where its data plane doesn't count."""

    bytes_in: float
    bytes_out: float
    published: float | None
    delivered: float | None
    cpu: float | None


class HistoryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``seconds`` of the window have samples, ``samples`` of them. ``source``: warrener, or the URL
    of the Prometheus. ``queues_total`` were asked for."""

    since: float
    until: float
    seconds: float
    samples: int
    source: str
    nodes: list[HistoryNodeLine]
    queues: list[HistoryQueueLine]
    queues_total: int
    rest: HistoryRestLine
    hosts: list[HistoryHostLine]
    balancer: HistoryBalancerLine | None
    warnings: list[str]


class PlanLoadRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The load of the last ``window`` s, for the planner."""

    window: float = 600.0


class StallsLine(msgspec.Struct, frozen=True, kw_only=True):
    """``models.interruptions.Stalls``."""

    wait: float
    share: float


class LoadQueueLine(msgspec.Struct, frozen=True, kw_only=True):
    """``planner.load.QueueLoad``."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    members: tuple[NodeName, ...]
    published: float
    delivered: float
    acked: float
    body: float
    consumers: int
    prefetch: int
    ready: float
    unacked: float
    service_time: float | None
    seen_here: bool
    entering: tuple[tuple[NodeName, float], ...]
    leaving: tuple[tuple[NodeName, float], ...]
    service_scv: float | None = None
    arrival_scv: float | None = None
    publishers: float = 1.0
    turnaround: float | None = None
    stalls: StallsLine | None = None


class LoadNodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """``planner.load.NodeLoad``."""

    name: NodeName
    host: str
    running: bool
    cpu: float | None
    mem_used: int
    mem_limit: int
    cores: float | None = None


class LoadHostLine(msgspec.Struct, frozen=True, kw_only=True):
    """``planner.load.HostLoad``."""

    name: str
    cores: float
    others: float


class PlanLoadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``planner.load.Load``; ``planner.load_wire`` makes one of it."""

    nodes: tuple[LoadNodeLine, ...]
    hosts: tuple[LoadHostLine, ...]
    queues: tuple[LoadQueueLine, ...]
    balancer_host: str
    through_balancer: float
    clients_on: str
    warnings: tuple[str, ...]


HISTORY: Final = Operation("history", HistoryRequest, HistoryAnswer)
PLAN_LOAD: Final = Operation("plan-load", PlanLoadRequest, PlanLoadAnswer)
