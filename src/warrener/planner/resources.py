"""How busy each part of a cluster is, and how much more of the same load it takes.

A part is something that can be used up: a host's cores, a node's, the balancer's one, a queue's own
limit (one Erlang process), its consumers. Of each it is said what it has, what it spends whatever
the load is, and what the load that goes through now costs it. If the load grows in proportion, a
part is used up at (capacity - idle) / by load: the least of these is the whole's (the bottleneck
law: Denning and Buzen 1978, "The operational analysis of queueing network models").

Assumes that a message costs the same at any load. RabbitMQ handles messages in batches, so it costs
less when there is more to do: what is reckoned from a light load is on the safe side.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from warrener.facts.ids import NodeName, short_name
from warrener.models.terms import WrongInput
from warrener.planner.costs import Act, Calibration
from warrener.planner.load import Load, NodeLoad, QueueLoad
from warrener.planner.waits import occupied
from warrener.planner.work import acts

BALANCER_CORES = 1.0
"""It is one process with one event loop (docs/decisions/0001)."""


class PartKind(StrEnum):
    """What can be used up."""

    HOST = "host"
    NODE = "node"
    BALANCER = "balancer"
    QUEUE = "queue"
    CONSUMERS = "consumers"


@dataclass(frozen=True, slots=True)
class Part:
    """One that can be used up. ``capacity``, ``idle`` and ``by_load`` in cores (host, node,
    balancer) or messages a second (queue, consumers). ``error``: standard error of ``by_load`` as
    a part of it; ``at_least``: there may be more than ``capacity``."""

    kind: PartKind
    name: str
    capacity: float
    idle: float
    by_load: float
    error: float = 0.0
    at_least: bool = False

    @property
    def utilisation(self) -> float:
        """rho: 1 or more if it is used up."""
        return (self.idle + self.by_load) / self.capacity if self.capacity > 0 else math.inf

    @property
    def breaks_at(self) -> float:
        """How many times the present load uses it up; infinite if the load costs it nothing."""
        left = max(0.0, self.capacity - self.idle)
        return left / self.by_load if self.by_load > 0 else math.inf


@dataclass(slots=True)
class _Sum:
    """Costs that add up; their errors are taken as independent."""

    cost: float = 0.0
    variance: float = 0.0

    def add(self, cost: float, error: float) -> None:
        self.cost += cost
        self.variance += (cost * error) ** 2

    @property
    def error(self) -> float:
        return math.sqrt(self.variance) / self.cost if self.cost > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Reckoned:
    """The parts, the first to break first; ``unknown``: what a message costs where it wasn't
    measured (and is left out), in words."""

    parts: tuple[Part, ...]
    unknown: tuple[str, ...] = ()

    @property
    def first(self) -> Part | None:
        """The one that breaks first; None if the load costs nothing."""
        part = self.parts[0] if self.parts else None
        return part if part is not None and math.isfinite(part.breaks_at) else None

    @property
    def breaks_at(self) -> float:
        """How many times the present load the whole takes."""
        return self.first.breaks_at if self.first is not None else math.inf

    def node(self, name: NodeName) -> Part | None:
        """The CPU of that node; None if it doesn't run."""
        return self.part(PartKind.NODE, short_name(name))

    def part(self, kind: PartKind, name: str) -> Part | None:
        """The one of that kind and name."""
        return next((part for part in self.parts if (part.kind, part.name) == (kind, name)), None)


def reckon(load: Load, calibration: Calibration) -> Reckoned:
    """Every part of a cluster under a load, by what messages cost. WrongInput for a load that
    makes no sense."""
    check(load)
    unknown: dict[str, None] = {}
    by_node: dict[NodeName, _Sum] = defaultdict(_Sum)
    clients, balancer = _Sum(), _Sum()
    for queue in load.queues:
        _at_nodes(queue, load, calibration, by_node, unknown)
        _at_clients(queue, calibration, clients)
    if calibration.balancer is not None:
        body = _mean_body(load.queues)
        balancer.add(
            load.through_balancer * calibration.balancer.at(body), calibration.balancer.error
        )
    elif load.through_balancer > 0:
        unknown["what a message costs the balancer"] = None
    parts = [
        *_of_hosts(load, calibration, by_node, clients, balancer),
        *_of_nodes(load, calibration, by_node),
        *_of_queues(load, calibration, unknown),
    ]
    if balancer.cost > 0:
        parts.append(
            Part(PartKind.BALANCER, "balancer", BALANCER_CORES, 0.0, balancer.cost, balancer.error)
        )
    parts.sort(key=lambda part: (part.breaks_at, -part.utilisation, part.kind, part.name))
    return Reckoned(tuple(parts), tuple(unknown))


def _at_nodes(
    queue: QueueLoad,
    load: Load,
    calibration: Calibration,
    by_node: Mapping[NodeName, _Sum],
    unknown: dict[str, None],
) -> None:
    def add(node: NodeName, act: Act, rate: float) -> None:
        if rate <= 0:
            return
        cost = calibration.costs.get(queue.type, {}).get(act)
        if cost is None:
            unknown[f"what {act} costs for {queue.type} queues"] = None
        else:
            by_node[node].add(rate * cost.at(queue.body), cost.error)

    for node, act, rate in acts(queue, {node.name for node in load.running()}):
        add(node, act, rate)


def _at_clients(queue: QueueLoad, calibration: Calibration, clients: _Sum) -> None:
    for act, rate in ((Act.PUBLISH, queue.published), (Act.DELIVER, queue.delivered)):
        cost = calibration.client.get(act)
        if cost is not None:
            clients.add(rate * cost.at(queue.body), cost.error)


def _of_hosts(
    load: Load,
    calibration: Calibration,
    by_node: Mapping[NodeName, _Sum],
    clients: _Sum,
    balancer: _Sum,
) -> Iterable[Part]:
    for host in load.hosts:
        total = _Sum()
        idle = host.others
        for node in load.running():
            if node.host == host.name:
                idle += calibration.idle.get(node.name, _mean_idle(calibration))
                if node.name in by_node:
                    total.add(by_node[node.name].cost, by_node[node.name].error)
        if load.balancer_host == host.name:
            total.add(balancer.cost, balancer.error)
        if load.clients_on == host.name:
            total.add(clients.cost, clients.error)
        yield Part(PartKind.HOST, host.name, float(host.cores), idle, total.cost, total.error)


def _of_nodes(
    load: Load, calibration: Calibration, by_node: Mapping[NodeName, _Sum]
) -> Iterable[Part]:
    for node in load.running():
        spent = by_node.get(node.name, _Sum())
        idle = calibration.idle.get(node.name, _mean_idle(calibration))
        yield Part(
            PartKind.NODE,
            short_name(node.name),
            node_cores(node, load),
            idle,
            spent.cost,
            spent.error,
        )


def node_cores(node: NodeLoad, load: Load) -> float:
    """Those that it may use: its host's, or its share of them."""
    cores = next((host.cores for host in load.hosts if host.name == node.host), 1.0)
    return float(cores if node.cores is None else min(cores, node.cores))


def _of_queues(load: Load, calibration: Calibration, unknown: dict[str, None]) -> Iterable[Part]:
    for queue in load.queues:
        limit = calibration.limit(queue.type, queue.body)
        through = max(queue.published, queue.delivered)
        if limit is not None:
            yield Part(
                PartKind.QUEUE,
                queue.full_name,
                limit.rate,
                0.0,
                through,
                limit.error,
                limit.at_least,
            )
        elif through > 0:
            unknown[f"what one {queue.type} queue gets through"] = None
        if queue.consumers and (takes := occupied(queue, calibration)):
            rate = queue.consumers / takes
            yield Part(PartKind.CONSUMERS, queue.full_name, rate, 0.0, queue.published)


def _mean_idle(calibration: Calibration) -> float:
    idle = calibration.idle.values()
    return sum(idle) / len(idle) if idle else 0.0


def _mean_body(queues: Iterable[QueueLoad]) -> float:
    """Weighted by what passes."""
    pairs = [(queue.published + queue.delivered, queue.body) for queue in queues]
    messages = sum(rate for rate, _ in pairs)
    return sum(rate * body for rate, body in pairs) / messages if messages > 0 else 0.0


def check(load: Load) -> None:
    """WrongInput, naming the value, for rates below 0, hosts that aren't there and the like."""
    hosts = {host.name for host in load.hosts}
    for host in load.hosts:
        if not host.cores > 0:
            raise WrongInput(f"host {host.name} has {host.cores} cores; it has to be more than 0")
    for node in load.nodes:
        if node.cores is not None and not node.cores > 0:
            raise WrongInput(
                f"node {node.name} may use {node.cores} cores; it has to be more than 0"
            )
        if node.host not in hosts:
            raise WrongInput(f"node {node.name} is on host {node.host}, which isn't given")
    names = {node.name for node in load.nodes}
    for queue in load.queues:
        values = {
            "published": queue.published,
            "delivered": queue.delivered,
            "acked": queue.acked,
            "the size of bodies": queue.body,
            "the number of consumers": queue.consumers,
        }
        for what, value in values.items():
            if not math.isfinite(value) or value < 0:
                raise WrongInput(
                    f"queue {queue.full_name}: {what} is {value}; it has to be 0 or more"
                )
        if queue.leader is not None and queue.leader not in names:
            raise WrongInput(
                f"queue {queue.full_name} is led by {queue.leader}, which isn't among the nodes"
            )
        if queue.service_time is not None and not queue.service_time > 0:
            raise WrongInput(
                f"queue {queue.full_name}: its consumers take {queue.service_time} s a message; it "
                f"has to be more than 0"
            )
