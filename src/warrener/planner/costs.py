"""What one message costs, as a calibration measured it. Values only.

A message is published at one node, lies in a queue that a node leads, is copied to followers if
the queue is replicated, and is delivered and acked. Each ``Act`` costs CPU on one node:

    PUBLISH    at the leader's node: taken from a publisher that is connected there, confirmed
    DELIVER    at the leader's node: to a consumer that is connected there, acked. Of a stream at
               the consumer's own node, which reads its own replica
    REPLICATE  at the node of each follower, for a message that is published and acked
    ENTER      at the node where the publisher is connected, if that isn't the leader's: in addition
    LEAVE      the same for the consumer

Sources: the utilisation law, U = X D (Denning and Buzen 1978), with U measured as CPU time, X as
messages through; see ``fit`` of the calibration for how the acts are told apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from warrener.facts.ids import NodeName


class QueueType(StrEnum):
    """As RabbitMQ names them (``x-queue-type``)."""

    CLASSIC = "classic"
    QUORUM = "quorum"
    STREAM = "stream"


class Act(StrEnum):
    """What is done with a message at a node."""

    PUBLISH = "publish"
    DELIVER = "deliver"
    REPLICATE = "replicate"
    ENTER = "enter"
    LEAVE = "leave"


class CostsFrom(StrEnum):
    """Where it is known from what messages cost."""

    MEASURED = "measured"  # a calibration run
    HISTORY = "history"  # what the cluster did anyway


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds a message: ``base`` + ``per_byte`` x bytes of its body. ``error`` is the standard
    error of the whole at the sizes that were measured, as a part of it (0.1: 10 %)."""

    base: float
    per_byte: float = 0.0
    error: float = 0.0

    def at(self, body: float) -> float:
        """Of a message with a body of so many bytes, s."""
        return self.base + self.per_byte * body


@dataclass(frozen=True, slots=True)
class Limit:
    """How many messages a second one queue gets through from publishers to consumers, by
    itself, with bodies of ``body`` bytes. ``at_least``: the hosts' CPU was used up before the
    queue was, so it may do more where there is more CPU."""

    rate: float
    body: float
    error: float = 0.0
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds a message takes through the broker when nothing else does. ``transit``: from when it
    is sent until a consumer that waits for it has it; ``turnaround``: from when a consumer with a
    prefetch of 1 acks until it has the next."""

    transit: float
    turnaround: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of a cluster: once, over ``seconds`` from ``taken_at`` (s since the epoch).

    ``costs`` has what was measured, by type and act; ``limits`` of one queue of each type, one for
    each size of body; ``idle``: cores that a node without traffic uses; ``client``: what a message
    costs whoever publishes (PUBLISH) or consumes it (DELIVER), of the load generator; ``balancer``:
    what a message costs the balancer, each way; ``waits``: by type, as far as measured.
    ``warnings`` in words. ``shares``: cores of its host's that a node might use, where not all.
    """

    taken_at: float
    seconds: float
    cluster: str
    version: str  # RabbitMQ's
    hosts: Mapping[NodeName, str]
    cores: Mapping[str, float]  # of each host
    costs: Mapping[QueueType, Mapping[Act, Cost]]
    limits: Mapping[QueueType, tuple[Limit, ...]]
    idle: Mapping[NodeName, float]
    client: Mapping[Act, Cost] = field(default_factory=dict)
    balancer: Cost | None = None
    waits: Mapping[QueueType, Wait] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    shares: Mapping[NodeName, float] = field(default_factory=dict)
    source: CostsFrom = CostsFrom.MEASURED

    def node_cores(self) -> float | None:
        """Those of the node that had least; None if nothing was told of any."""
        shares = [
            min(self.shares.get(node, self.cores[host]), self.cores[host])
            for node, host in self.hosts.items()
            if host in self.cores
        ]
        return min(shares or self.cores.values(), default=None)

    def cost(self, kind: QueueType, act: Act, body: float) -> float | None:
        """CPU seconds of one message at one node; None if it wasn't measured."""
        found = self.costs.get(kind, {}).get(act)
        return None if found is None else found.at(body)

    def wait(self, kind: QueueType) -> Wait:
        """Nothing if it wasn't measured."""
        return self.waits.get(kind, Wait(0.0, 0.0))

    def limit(self, kind: QueueType, body: float) -> Limit | None:
        """Of one queue with bodies of that size: between two sizes that were measured, by the time
        a message takes; None if the type wasn't measured."""
        limits = sorted(self.limits.get(kind, ()), key=lambda limit: limit.body)
        if not limits:
            return None
        below = [limit for limit in limits if limit.body <= body]
        above = [limit for limit in limits if limit.body >= body]
        if not below or not above:
            return limits[0] if not below else limits[-1]
        one, other = below[-1], above[0]
        if one is other:
            return one
        share = (body - one.body) / (other.body - one.body)
        takes = (1 - share) / one.rate + share / other.rate
        return Limit(
            rate=1 / takes,
            body=body,
            error=max(one.error, other.error),
            at_least=one.at_least or other.at_least,
        )
