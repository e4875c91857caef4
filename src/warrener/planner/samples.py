"""What a cluster did in one short stretch of time: the unit of the history. Values only.

A sample has rates over its ``seconds`` and what was there at its end. Samples that are merged have
means over all of their time, so that a minute of history is of the same kind as ten seconds.

Units as everywhere in the planner: rates in 1/s, CPU in cores, sizes in bytes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from warrener.facts.ids import NodeName

Key = tuple[str, str]
"""Of a queue: virtual host and name."""


UNKNOWN: Final = -1
"""A prefetch that nobody has told yet: consumers are looked at seldom."""


@dataclass(frozen=True, slots=True)
class QueueSample:
    """One queue. ``backlog``: the part of the time in which messages were ready, 0 or 1 of a single
    look. ``entering`` and ``leaving``: messages a second that came and went through nodes that
    don't lead it. ``held``: messages whose size was known, and ``held_bytes`` of their bodies.
    ``at_work``: consumers that were busy on the average, and ``worked``: messages a second that
    they settled, as the balancer saw it; ``timed``: of these, messages whose own time was seen,
    with the sums a second of these times and of their squares. ``spaced``: messages a second whose
    distance to the one before on their channel was seen, ``arrival_spread``: times its scv,
    ``publishers``: how many that publish alike would be as many. ``turned``: by how much what was
    seen of the turnaround weighs (``planner.turnaround``), ``turned_seconds``: times it.
    ``confirmed``: messages a second whose confirms the balancer saw, ``stalled``: of them, those
    that came while the broker confirmed nothing for unusually long, ``stalled_seconds``: how long
    these waited, a second."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    members: tuple[NodeName, ...] = ()
    published: float = 0.0
    delivered: float = 0.0
    acked: float = 0.0
    ready: float = 0.0
    unacked: float = 0.0
    backlog: float = 0.0
    consumers: float = 0.0
    prefetch: int = UNKNOWN  # the smallest that one of its consumers has; 0: no limit
    held: float = 0.0
    held_bytes: float = 0.0
    entering: Mapping[NodeName, float] = field(default_factory=dict)
    leaving: Mapping[NodeName, float] = field(default_factory=dict)
    at_work: float = 0.0
    worked: float = 0.0
    timed: float = 0.0
    timed_seconds: float = 0.0
    timed_squares: float = 0.0
    spaced: float = 0.0
    arrival_spread: float = 0.0
    publishers: float = 0.0
    turned: float = 0.0
    turned_seconds: float = 0.0
    confirmed: float = 0.0
    stalled: float = 0.0
    stalled_seconds: float = 0.0

    @property
    def key(self) -> Key:
        return self.vhost, self.name

    def seeing_as(self, other: "QueueSample") -> "QueueSample":
        """The other one, with what only the balancer can tell taken from this one."""
        return replace(
            other,
            at_work=self.at_work,
            worked=self.worked,
            timed=self.timed,
            timed_seconds=self.timed_seconds,
            timed_squares=self.timed_squares,
            spaced=self.spaced,
            arrival_spread=self.arrival_spread,
            publishers=self.publishers,
            turned=self.turned,
            turned_seconds=self.turned_seconds,
            confirmed=self.confirmed,
            stalled=self.stalled,
            stalled_seconds=self.stalled_seconds,
        )

    @property
    def traffic(self) -> float:
        """Operations a second: publishes, deliveries and acks."""
        return self.published + self.delivered + self.acked


@dataclass(frozen=True, slots=True)
class NodeSample:
    """One node. ``cpu``: cores it used; memory in bytes; None if nobody tells. ``cores``: how many
    of its host's it may use, None: all."""

    name: NodeName
    host: str
    running: bool = True
    cpu: float | None = None
    mem_used: float | None = None
    mem_limit: float = 0.0
    sessions: float = 0.0
    cores: float | None = None


@dataclass(frozen=True, slots=True)
class HostSample:
    """A machine, or what of it may be used here. ``others``: cores used by what isn't this
    cluster's, its clients included; ``clients``: by clients that run there. None if nobody
    tells."""

    name: str
    cores: float
    others: float | None = None
    clients: float | None = None


@dataclass(frozen=True, slots=True)
class BalancerSample:
    """What passed the balancer. ``host`` is where it runs, empty if on no node's host. ``cpu`` is
    that of its process, which is the daemon's. None: its data plane doesn't count messages."""

    host: str
    bytes_in: float
    bytes_out: float
    published: float | None
    delivered: float | None
    cpu: float | None
    clients_on: str = ""


@dataclass(frozen=True, slots=True)
class RestSample:
    """The queues that are not kept singly, all together."""

    queues: int = 0
    published: float = 0.0
    delivered: float = 0.0
    acked: float = 0.0
    ready: float = 0.0
    unacked: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The cluster over the ``seconds`` until ``at`` (s since the epoch). ``missing``: nodes that
    run and didn't tell what their clients do. ``merged``: of how many samples this is the mean."""

    at: float
    seconds: float
    nodes: tuple[NodeSample, ...]
    hosts: tuple[HostSample, ...] = ()
    queues: tuple[QueueSample, ...] = ()
    rest: RestSample = RestSample()
    balancer: BalancerSample | None = None
    missing: tuple[NodeName, ...] = ()
    merged: int = 1


def merge(samples: Sequence[Sample]) -> Sample:
    """One sample of all their time, weighted by its length. What isn't a measurement (leaders,
    prefetch, hosts) is that of the newest. ValueError without samples.

    A queue that some samples don't have had no traffic then, as far as is known: it was below the
    others, or not there.
    """
    if not samples:
        raise ValueError("no samples to merge")
    samples = sorted(samples, key=lambda sample: sample.at)
    if len(samples) == 1:
        return samples[0]
    total = sum(sample.seconds for sample in samples)
    weights = [sample.seconds / total if total > 0 else 1 / len(samples) for sample in samples]
    return Sample(
        at=samples[-1].at,
        seconds=total,
        nodes=tuple(_nodes(samples, weights)),
        hosts=tuple(_hosts(samples, weights)),
        queues=tuple(_queues(samples, weights)),
        rest=RestSample(
            queues=samples[-1].rest.queues,
            published=_mean((one.rest.published for one in samples), weights),
            delivered=_mean((one.rest.delivered for one in samples), weights),
            acked=_mean((one.rest.acked for one in samples), weights),
            ready=_mean((one.rest.ready for one in samples), weights),
            unacked=_mean((one.rest.unacked for one in samples), weights),
        ),
        balancer=_balancer(samples, weights),
        missing=tuple(sorted({name for sample in samples for name in sample.missing})),
        merged=sum(sample.merged for sample in samples),
    )


def _mean(values: Iterable[float], weights: Iterable[float]) -> float:
    return sum(value * weight for value, weight in zip(values, weights, strict=False))


def _known(values: Iterable[float | None], weights: Iterable[float]) -> float | None:
    """The mean of those that are known, None if none is."""
    known = [
        (value, weight)
        for value, weight in zip(values, weights, strict=True)
        if value is not None and weight > 0
    ]
    share = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / share if share > 0 else None


def _queues(samples: Sequence[Sample], weights: Sequence[float]) -> Iterable[QueueSample]:
    found: dict[Key, list[tuple[QueueSample, float]]] = defaultdict(list)
    for sample, weight in zip(samples, weights, strict=True):
        for queue in sample.queues:
            found[queue.key].append((queue, weight))
    for seen in found.values():
        queues = [queue for queue, _ in seen]
        parts = [part for _, part in seen]
        last = queues[-1]
        there = sum(parts)
        share = [part / there for part in parts]  # what is a state, not a flow
        yield QueueSample(
            vhost=last.vhost,
            name=last.name,
            type=last.type,
            leader=last.leader,
            members=last.members,
            published=_mean((queue.published for queue in queues), parts),
            delivered=_mean((queue.delivered for queue in queues), parts),
            acked=_mean((queue.acked for queue in queues), parts),
            ready=_mean((queue.ready for queue in queues), share),
            unacked=_mean((queue.unacked for queue in queues), share),
            backlog=_mean((queue.backlog for queue in queues), share),
            consumers=_mean((queue.consumers for queue in queues), share),
            prefetch=_newest_known(queues),
            held=_mean((queue.held for queue in queues), share),
            held_bytes=_mean((queue.held_bytes for queue in queues), share),
            entering=_by_node([queue.entering for queue in queues], parts),
            leaving=_by_node([queue.leaving for queue in queues], parts),
            at_work=_mean((queue.at_work for queue in queues), parts),
            worked=_mean((queue.worked for queue in queues), parts),
            timed=_mean((queue.timed for queue in queues), parts),
            timed_seconds=_mean((queue.timed_seconds for queue in queues), parts),
            timed_squares=_mean((queue.timed_squares for queue in queues), parts),
            spaced=_mean((queue.spaced for queue in queues), parts),
            arrival_spread=_mean((queue.arrival_spread for queue in queues), parts),
            publishers=_mean((queue.publishers for queue in queues), share),
            turned=_mean((queue.turned for queue in queues), parts),
            turned_seconds=_mean((queue.turned_seconds for queue in queues), parts),
            confirmed=_mean((queue.confirmed for queue in queues), parts),
            stalled=_mean((queue.stalled for queue in queues), parts),
            stalled_seconds=_mean((queue.stalled_seconds for queue in queues), parts),
        )


def _newest_known(queues: Sequence[QueueSample]) -> int:
    """The prefetch: consumers that have left since had one."""
    known = (queue.prefetch for queue in reversed(queues) if queue.prefetch != UNKNOWN)
    return next(known, UNKNOWN)


def _by_node(
    flows: Sequence[Mapping[NodeName, float]], weights: Sequence[float]
) -> dict[NodeName, float]:
    sums: dict[NodeName, float] = defaultdict(float)
    for flow, weight in zip(flows, weights, strict=True):
        for node, rate in flow.items():
            sums[node] += rate * weight
    return dict(sums)


def _nodes(samples: Sequence[Sample], weights: Sequence[float]) -> Iterable[NodeSample]:
    for last in samples[-1].nodes:  # one that has left since is of no use to the planner
        seen = [
            (node, weight)
            for sample, weight in zip(samples, weights, strict=True)
            for node in sample.nodes
            if node.name == last.name
        ]
        nodes = [node for node, _ in seen]
        there = sum(weight for _, weight in seen)
        share = [weight / there if there > 0 else 1 / len(seen) for _, weight in seen]
        yield NodeSample(
            name=last.name,
            host=last.host,
            running=last.running,
            cpu=_known((node.cpu for node in nodes), share),
            mem_used=_known((node.mem_used for node in nodes), share),
            mem_limit=last.mem_limit,
            sessions=_mean((node.sessions for node in nodes), share),
            cores=last.cores,
        )


def _hosts(samples: Sequence[Sample], weights: Sequence[float]) -> Iterable[HostSample]:
    for last in samples[-1].hosts:
        seen = [
            (host, weight)
            for sample, weight in zip(samples, weights, strict=True)
            for host in sample.hosts
            if host.name == last.name
        ]
        parts = [weight for _, weight in seen]
        yield HostSample(
            name=last.name,
            cores=last.cores,
            others=_known((host.others for host, _ in seen), parts),
            clients=_known((host.clients for host, _ in seen), parts),
        )


def _balancer(samples: Sequence[Sample], weights: Sequence[float]) -> BalancerSample | None:
    seen = [
        (sample.balancer, weight)
        for sample, weight in zip(samples, weights, strict=True)
        if sample.balancer is not None
    ]
    if not seen:
        return None
    parts = [weight for _, weight in seen]
    there = sum(parts)
    share = [part / there if there > 0 else 1 / len(seen) for part in parts]
    last = seen[-1][0]
    return BalancerSample(
        host=last.host,
        bytes_in=_mean((one.bytes_in for one, _ in seen), share),
        bytes_out=_mean((one.bytes_out for one, _ in seen), share),
        published=_known((one.published for one, _ in seen), share),
        delivered=_known((one.delivered for one, _ in seen), share),
        cpu=_known((one.cpu for one, _ in seen), share),
        clients_on=last.clients_on,
    )
