"""The whole answer about a cluster under a load: how busy its parts are, what breaks first and at
which load, each queue's response time and length, what is left with any node gone.

A queue is two stations in a row: its own process (one server, about as long for each message:
M/D/1 by Pollaczek and Khinchine), and its consumers. With a prefetch of 1 those are servers that
take the next message when they are free: G/G/c (Kimura), which is M/M/c where all is as
at random. With a larger one RabbitMQ deals messages out in turn before they are needed, and each
consumer has a line of its own: what arrives there is every c-th message, less irregular by that
(scv / c), and is served one by one (G/G/1).

How irregular publishes and services are was seen at the balancer; where it wasn't, both are taken
as at random (an scv of 1).

What the way through the broker adds was measured by the calibration: to each message, and to each
consumer that waits for the next with a prefetch of 1 (``waits``). Where the members of a quorum
queue stall now and then (a disk that doesn't sync), its consumers are a station with interruptions
(``models.interruptions``).
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from warrener.facts.ids import NodeName
from warrener.models.arrivals import dealt, superposed
from warrener.models.flow import Flow, Worth, max_flow, worths
from warrener.models.interruptions import available, delay
from warrener.models.queueing import ggc, mg1, mmc
from warrener.models.terms import Growing, Outcome, Steady
from warrener.planner.changes import without_node
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.limits import SINK, SOURCE, network
from warrener.planner.load import Load, QueueLoad
from warrener.planner.resources import Part, Reckoned, reckon
from warrener.planner.waits import LEAST, stalls_of, undisturbed

AT_RANDOM = 1.0
"""The squared coefficient of variation of times that are exponential."""

OVERHEAD: Final = {
    QueueType.CLASSIC: 6000.0,
    QueueType.QUORUM: 1200.0,
    QueueType.STREAM: 1200.0,
}
"""Bytes of memory that a waiting message takes beside its body, by what the resident memory of
RabbitMQ 3.10.8's nodes grew by: classic, 60,000 and 200,000 persistent messages of 100 B, 5.9 and
5.7 KiB each at the leader's; quorum, 60,000 of 100 B and 20,000 of 10 KiB, 1.1 and 11.3 KiB each at
every follower's. Larger bodies in classic queues couldn't be told from what the node freed
meanwhile, and streams weren't measured: they are taken for quorum queues."""

_MANY: Final = 1e6


@dataclass(frozen=True, slots=True)
class QueueOutlook:
    """One queue. ``process`` is its own station, ``consumers`` that of those who take from it
    (None: not known, or a stream, which keeps what it has). Measured: means over the time that was
    looked at, None without traffic."""

    load: QueueLoad
    process: Outcome | None
    consumers: Outcome | None
    transit: float = 0.0  # s through the broker when nothing else is on its way
    after: float = 0.0  # s of what the consumers' service takes that come when it is acked
    stalled: float = 0.0  # s that stalls of the broker add to R; infinite where it grows
    memory_alarm_in: float | None = None  # s; only where it grows

    @property
    def grows(self) -> float:
        """Messages a second that it gets more than are taken; 0 if none."""
        return max(
            (one.growth for one in (self.process, self.consumers) if isinstance(one, Growing)),
            default=0.0,
        )

    @property
    def response_time(self) -> float | None:
        """R, predicted: mean s from published to acked; infinite where it grows."""
        if self.consumers is None:
            return None
        if self.grows or isinstance(self.consumers, Growing):
            return math.inf
        # The transit has the queue's own work on the message in it, but not the wait for others.
        waits = self.process.waiting_time if isinstance(self.process, Steady) else 0.0
        own = self.process.response_time if isinstance(self.process, Steady) else 0.0
        taken = self.consumers.response_time - self.after
        return max(own, waits + self.transit) + taken + self.stalled

    @property
    def length(self) -> float | None:
        """L = lambda R, predicted: mean number that waits or is being worked on."""
        time = self.response_time
        return None if time is None else self.load.published * time

    @property
    def utilisation(self) -> float | None:
        """rho of the busier of its process and its consumers; None: neither is known."""
        stations = [one for one in (self.process, self.consumers) if one is not None]
        return max((one.utilisation for one in stations), default=None)

    @property
    def consumers_rate(self) -> float | None:
        """What all consumers together get through, 1/s."""
        if self.consumers is not None:
            return self.load.consumers * self.consumers.service_rate
        return self.load.consumers / self.load.service_time if self.load.service_time else None

    @property
    def service_rate(self) -> float | None:
        """mu: the least of what its process and its consumers get through, 1/s."""
        own = self.process.service_rate if self.process is not None else None
        rates = [rate for rate in (own, self.consumers_rate) if rate is not None]
        return min(rates, default=None)

    @property
    def measured_length(self) -> float | None:
        """L, measured: ready and unacked; None of a stream."""
        return self.load.backlog

    @property
    def measured_response_time(self) -> float | None:
        """R, measured; None without traffic, and of a stream."""
        return self.load.measured_time


@dataclass(frozen=True, slots=True)
class Loss:
    """What is left with one node gone. ``breaks_at``: times the present load of those that are
    still served, which makes ``capacity`` messages/s; ``stopped``: queues that nobody serves."""

    node: NodeName
    breaks_at: float
    capacity: float
    first: Part | None
    stopped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """All of it. ``flow``: the most that could go through if every queue got as much as it takes,
    and the least cut; None without traffic. ``worths``: what raising one limit alone would
    bring."""

    load: Load
    reckoned: Reckoned
    queues: tuple[QueueOutlook, ...]
    losses: tuple[Loss, ...]
    flow: Flow | None
    worths: tuple[Worth, ...]

    @property
    def capacity(self) -> float:
        """Messages a second that come in when the first part breaks, the load being as it is
        but more; infinite without traffic."""
        factor = self.reckoned.breaks_at
        return self.load.published * factor if math.isfinite(factor) else math.inf


def outlook(
    load: Load, calibration: Calibration, *, losses: bool = True, with_worths: bool = True
) -> Outlook:
    """Everything about a cluster under a load. WrongInput if the load makes no sense.

    Of what takes longest, either may be left out: ``losses`` take as long again for each node,
    worths a max-flow for each edge of the cut, which may be as many as there are queues.
    """
    reckoned = reckon(load, calibration)
    edges = network(load, reckoned)
    return Outlook(
        load=load,
        reckoned=reckoned,
        queues=tuple(look_at(queue, load, calibration) for queue in load.queues),
        losses=losses_of(load, calibration) if losses else (),
        flow=max_flow(edges, SOURCE, SINK) if edges else None,
        worths=tuple(worths(edges, SOURCE, SINK)) if edges and with_worths else (),
    )


def losses_of(load: Load, calibration: Calibration) -> tuple[Loss, ...]:
    """What is left without each node that runs."""
    return tuple(_loss(node.name, load, calibration) for node in load.running())


def look_at(queue: QueueLoad, load: Load, calibration: Calibration) -> QueueOutlook:
    """One queue, which has to make sense (``resources.check``); ``load`` has its node."""
    limit = calibration.limit(queue.type, queue.body)
    found = QueueOutlook(queue, None, None, calibration.wait(queue.type).transit)
    if queue.published > 0:
        if limit is not None:
            found = replace(found, process=mg1(queue.published, limit.rate, 0.0))
        takes = undisturbed(queue, calibration)
        if queue.consumers and takes and queue.type is not QueueType.STREAM:
            found = _with_consumers(found, takes)
    if found.grows > 0:
        found = replace(found, memory_alarm_in=_memory_alarm(queue, found.grows, load))
    return found


def _with_consumers(found: QueueOutlook, takes: float) -> QueueOutlook:
    """``takes``: s of a consumer for one message while nothing stalls."""
    queue = found.load
    assert queue.service_time is not None, "known with what it takes"
    consumers, stalled = _consumers(queue, takes), 0.0
    stalls = stalls_of(queue)
    if stalls is not None:
        in_hand = _in_hand(queue, consumers) * queue.service_time
        takes /= max(LEAST, available(stalls, in_hand))
        consumers = _consumers(queue, takes)
        stalled = delay(stalls, in_hand, consumers.utilisation)
    after = takes - queue.service_time
    return replace(found, consumers=consumers, after=after, stalled=stalled)


def _in_hand(queue: QueueLoad, consumers: Outcome) -> float:
    """Messages that a consumer which has any has to work on, its broker saying nothing."""
    most = queue.prefetch or math.inf
    if isinstance(consumers, Growing):
        return min(most, _MANY)
    return min(most, max(1.0, consumers.in_system if consumers.servers == 1 else 1.0))


def _consumers(queue: QueueLoad, takes: float) -> Outcome:
    rate, count = 1.0 / takes, queue.consumers
    came = AT_RANDOM if queue.arrival_scv is None else queue.arrival_scv
    came = superposed(came, queue.publishers, queue.published / (rate * count))
    took = AT_RANDOM
    if queue.service_scv is not None and queue.service_time is not None:
        took = queue.service_scv * (queue.service_time / takes) ** 2  # the rest is always the same
    if queue.prefetch == 1 or count == 1:
        if came == took == AT_RANDOM:
            return mmc(queue.published, rate, count)
        return ggc(queue.published, rate, count, arrival_scv=came, service_scv=took)
    dealt_out = dealt(came, count)
    each = ggc(queue.published / count, rate, 1, arrival_scv=dealt_out, service_scv=took)
    if isinstance(each, Growing):  # all of them together
        return Growing(each.model, queue.published, rate, count)
    return each


def _memory_alarm(queue: QueueLoad, growth: float, load: Load) -> float | None:
    node = load.node(queue.leader) if queue.leader is not None else None
    if node is None or node.mem_limit <= 0:
        return None
    left = max(0, node.mem_limit - node.mem_used)
    return left / (growth * (queue.body + OVERHEAD[queue.type]))


def _loss(name: NodeName, load: Load, calibration: Calibration) -> Loss:
    left, stopped = without_node(load, name)
    if not left.running():
        return Loss(name, 0.0, 0.0, None, tuple(queue.full_name for queue in load.queues))
    reckoned = reckon(left, calibration)
    capacity = left.published * reckoned.breaks_at if left.published > 0 else 0.0
    return Loss(name, reckoned.breaks_at, capacity, reckoned.first, stopped)
