"""Two readings of a cluster, and what happened between them. Pure.

A reading has counters as they stand: of channels, by node (``cluster.leaders.rates`` has what they
are), of CPU, by process, of the balancer. What they went up by is a ``Sample``.

What can't be seen: what a channel did between its last reading and its end. Clients that open a
channel for each message are hardly in it; ``history`` compares with what the balancer counted and
warns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from warrener.cluster.leaders.rates import Counters, rates
from warrener.facts.balance import ClientWork
from warrener.facts.ids import NodeName
from warrener.facts.leaders import QueueRates
from warrener.facts.snapshot import ClusterSnapshot, QueueView
from warrener.models.arrivals import superposed
from warrener.models.interruptions import Stalls, available
from warrener.planner.costs import QueueType
from warrener.planner.samples import (
    UNKNOWN,
    BalancerSample,
    HostSample,
    Key,
    NodeSample,
    QueueSample,
    RestSample,
    Sample,
)
from warrener.planner.turnaround import ENOUGH, turnaround

ALL_UP_TO: Final = 200
"""Queues up to which each is kept, busy or not; a sample of them takes some 3 KiB on disk."""

BUSY_UP_TO: Final = 500
"""Queues that are kept of more than ``ALL_UP_TO``: the busiest, if that many are busy at all."""

ALL_OF_IT: Final = 0.9
"""The part of a queue's acks that the balancer has to have seen for its consumers' pauses to be
those of all. The two are counted at moments of their own."""

A_BACKLOG: Final = 1.0
"""Seconds' worth of messages with which a queue counts as one that wasn't empty for some time: with
a load of 0.9 of what is done it takes ten times as long until it is."""

_NO_WORK: Final = ClientWork(0.0, 0)


@dataclass(frozen=True, slots=True)
class NodeReading:
    """One node. ``cpu``: seconds used so far by the process ``pid`` (0: as the node itself tells
    it), None if nobody knows. ``cores``: how many of its host's it may use, None: all."""

    name: NodeName
    host: str
    running: bool
    pid: int = 0
    cpu: float | None = None
    mem_used: int = 0  # 0: nobody tells
    mem_limit: int = 0
    sessions: int = 0
    cores: float | None = None


@dataclass(frozen=True, slots=True)
class HostReading:
    """A machine. CPU seconds so far: ``busy`` in all, ``ours`` and ``clients`` by process."""

    name: str
    cores: float
    busy: float | None = None
    ours: Mapping[int, float] = field(default_factory=dict)
    clients: Mapping[int, float] | None = None


@dataclass(frozen=True, slots=True)
class BalancerReading:
    """The balancer's counters so far, None where its data plane doesn't count. ``cpu`` seconds of
    the process ``pid``."""

    host: str
    bytes_in: int
    bytes_out: int
    published: int | None
    delivered: int | None
    pid: int = 0
    cpu: float | None = None
    clients_on: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What is looked at seldom: ``consumers``: how many a queue has, and their smallest prefetch;
    ``held``: messages in it, and the bytes of their bodies. None: nobody told."""

    consumers: Mapping[Key, tuple[int, int]] | None = None
    held: Mapping[Key, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything at one moment: ``at`` in s since the epoch, ``clock`` by one that nobody sets.

    ``counters`` of the nodes that answered, each with its own moment by that clock; ``asked`` are
    those that should have. ``told``: rates as somebody else reckons them, where nodes can't be
    asked for counters. ``work``: what consumers did since the reading before.
    """

    at: float
    clock: float
    asked: tuple[NodeName, ...] = ()
    counters: Mapping[NodeName, tuple[float, Counters]] = field(default_factory=dict)
    told: Mapping[Key, QueueRates] | None = None
    nodes: tuple[NodeReading, ...] = ()
    hosts: tuple[HostReading, ...] = ()
    balancer: BalancerReading | None = None
    work: Mapping[Key, ClientWork] = field(default_factory=dict)


@dataclass(slots=True)
class _Flow:
    """Of one queue: into, out of, acked; and by the node of the client."""

    published: float = 0.0
    delivered: float = 0.0
    acked: float = 0.0
    entered: dict[NodeName, float] = field(default_factory=dict)
    left: dict[NodeName, float] = field(default_factory=dict)


def make(
    before: Reading,
    after: Reading,
    snapshot: ClusterSnapshot | None,
    looked: Looked,
    *,
    all_up_to: int = ALL_UP_TO,
    busy_up_to: int = BUSY_UP_TO,
) -> Sample:
    """What happened between two readings; ``snapshot`` is the newest view of the cluster, None if
    there is no recent one. ValueError if no time passed."""
    seconds = after.clock - before.clock
    if seconds <= 0:
        raise ValueError(f"the readings are {seconds} s apart")
    flows, missing = _flows(before, after)
    views = snapshot.queues if snapshot is not None else ()
    queues = [
        _queue(view, flows.get((view.vhost, view.name)), looked, after.work, seconds)
        for view in views
    ]
    kept, rest = _chosen(queues, all_up_to, busy_up_to)
    return Sample(
        at=after.at,
        seconds=seconds,
        nodes=tuple(_nodes(before, after, seconds)),
        hosts=tuple(_hosts(before, after, seconds)),
        queues=tuple(kept),
        rest=rest,
        balancer=_balancer(before.balancer, after.balancer, seconds),
        missing=missing,
    )


def _flows(before: Reading, after: Reading) -> tuple[Mapping[Key, _Flow], tuple[NodeName, ...]]:
    flows: dict[Key, _Flow] = defaultdict(_Flow)
    if after.told is not None:
        for key, told in after.told.items():
            flows[key] = _Flow(told.published, told.delivered, told.acked)
        return flows, ()
    missing = []
    for node in after.asked:
        now, then = after.counters.get(node), before.counters.get(node)
        if then is None and before.asked and node not in before.asked:
            then = (before.clock, {})  # it has come up since, and its channels with it
        if now is None or then is None:
            missing.append(node)
            continue
        for key, told in rates([(then[1], now[1], now[0] - then[0])]).items():
            flow = flows[key]
            flow.published += told.published
            flow.delivered += told.delivered
            flow.acked += told.acked
            if told.published > 0:
                flow.entered[node] = told.published
            if told.delivered > 0:
                flow.left[node] = told.delivered
    return flows, tuple(missing)


def _queue(
    view: QueueView,
    flow: _Flow | None,
    looked: Looked,
    works: Mapping[Key, ClientWork],
    seconds: float,
) -> QueueSample:
    flow = flow or _Flow()
    work = works.get((view.vhost, view.name), _NO_WORK)
    key = (view.vhost, view.name)
    consumers, prefetch = view.consumers, UNKNOWN
    if looked.consumers is not None:
        counted, prefetch = looked.consumers.get(key, (0, UNKNOWN))
        consumers = consumers or counted  # the view has none of them where there are many queues
    held, held_bytes = looked.held.get(key, (0, 0))
    turned = _turned(view, work, flow, prefetch, round(consumers), seconds)
    return QueueSample(
        vhost=view.vhost,
        name=view.name,
        type=view.type,
        leader=view.leader,
        members=view.members,
        published=flow.published,
        delivered=flow.delivered,
        acked=flow.acked,
        ready=view.messages_ready,
        unacked=view.messages_unacknowledged,
        backlog=1.0 if view.messages_ready > 0 else 0.0,
        consumers=consumers,
        prefetch=prefetch,
        held=held,
        held_bytes=held_bytes,
        entering={node: rate for node, rate in flow.entered.items() if node != view.leader},
        leaving={node: rate for node, rate in flow.left.items() if node != view.leader},
        at_work=work.seconds / seconds,
        worked=work.messages / seconds,
        timed=work.timed / seconds,
        timed_seconds=work.timed_seconds / seconds,
        timed_squares=work.timed_squares / seconds,
        spaced=work.spaced / seconds,
        arrival_spread=work.arrival_spread / seconds,
        publishers=work.spaced**2 / work.square if work.square else 0.0,
        turned=0.0 if turned is None else work.messages / seconds,
        turned_seconds=0.0 if turned is None else turned * work.messages / seconds,
        confirmed=work.confirmed / seconds,
        stalled=work.stalled / seconds,
        stalled_seconds=work.stalled_seconds / seconds,
    )


def _turned(
    view: QueueView,
    work: ClientWork,
    flow: _Flow,
    prefetch: int,
    consumers: int,
    seconds: float,
) -> float | None:
    """The turnaround while nothing stalls, where the balancer saw what all of the consumers did."""
    if prefetch != 1 or not work.messages:
        return None
    rate = work.messages / seconds
    if rate < ALL_OF_IT * flow.acked:
        return None
    service_time = work.seconds / work.messages
    empty = view.messages_ready < A_BACKLOG * rate
    found = turnaround(
        work.pauses,
        rate=rate,
        service_time=service_time,
        consumers=consumers,
        empty=empty,
        arrival_scv=_arrival_scv(work, rate * service_time / max(1, consumers)),
    )
    if found is None or empty or view.type != QueueType.QUORUM or not work.confirmed:
        return found
    # Of a backlog all pauses are in it, those of stalls too, which the planner adds by themselves.
    stalls = Stalls.met(work.confirmed, work.stalled, work.stalled_seconds)
    part = available(stalls, service_time)
    return max(0.0, part * (service_time + found) - service_time)


def _arrival_scv(work: ClientWork, load: float) -> float:
    """Of all publishers together; as at random where few were seen."""
    if work.spaced < ENOUGH:
        return 1.0
    publishers = max(1.0, work.spaced**2 / work.square)
    return superposed(work.arrival_spread / work.spaced, publishers, load)


def _chosen(
    queues: list[QueueSample], all_up_to: int, busy_up_to: int
) -> tuple[list[QueueSample], RestSample]:
    """All if they are few; else the busiest of those with traffic, and the others together."""
    if len(queues) <= all_up_to:
        return queues, RestSample()
    queues = sorted(queues, key=lambda queue: (-queue.traffic, queue.key))
    busy = sum(queue.traffic > 0 for queue in queues)
    number = min(busy, busy_up_to)
    rest = queues[number:]
    return queues[:number], RestSample(
        queues=len(rest),
        published=sum(queue.published for queue in rest),
        delivered=sum(queue.delivered for queue in rest),
        acked=sum(queue.acked for queue in rest),
        ready=sum(queue.ready for queue in rest),
        unacked=sum(queue.unacked for queue in rest),
    )


def _nodes(before: Reading, after: Reading, seconds: float) -> Iterable[NodeSample]:
    then = {node.name: node for node in before.nodes}
    for node in after.nodes:
        was = then.get(node.name)
        cpu = None
        if was is not None and was.pid == node.pid:
            cpu = _cores(was.cpu, node.cpu, seconds)
        yield NodeSample(
            name=node.name,
            host=node.host,
            running=node.running,
            cpu=cpu,
            mem_used=node.mem_used or None,
            mem_limit=node.mem_limit,
            sessions=node.sessions,
            cores=node.cores,
        )


def _cores(before: float | None, after: float | None, seconds: float) -> float | None:
    if before is None or after is None or after < before:
        return None
    return (after - before) / seconds


def _hosts(before: Reading, after: Reading, seconds: float) -> Iterable[HostSample]:
    then = {host.name: host for host in before.hosts}
    for host in after.hosts:
        was = then.get(host.name)
        busy = None if was is None else _cores(was.busy, host.busy, seconds)
        if was is None or busy is None:
            yield HostSample(host.name, host.cores)
            continue
        clients = None
        if host.clients is not None and was.clients is not None:
            clients = _used(was.clients, host.clients) / seconds
        ours = _used(was.ours, host.ours) / seconds
        # The kernel counts processes and the whole machine at different moments.
        others = max(0.0, busy - ours - (clients or 0.0))
        yield HostSample(host.name, host.cores, others, clients)


def _used(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU seconds of processes that are in both: one may be found long after it has begun."""
    return sum(max(0.0, used - before.get(pid, used)) for pid, used in after.items())


def _balancer(
    before: BalancerReading | None, after: BalancerReading | None, seconds: float
) -> BalancerSample | None:
    if before is None or after is None:
        return None
    same = before.pid == after.pid
    return BalancerSample(
        host=after.host,
        bytes_in=max(0, after.bytes_in - before.bytes_in) / seconds,
        bytes_out=max(0, after.bytes_out - before.bytes_out) / seconds,
        published=_rate(before.published, after.published, seconds),
        delivered=_rate(before.delivered, after.delivered, seconds),
        cpu=_cores(before.cpu, after.cpu, seconds) if same else None,
        clients_on=after.clients_on,
    )


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return max(0, after - before) / seconds
