"""A window of the history: what every part did on the average, and the load for the planner. Pure.

    samples (of Warrener's own store, or of Prometheus) -> ``look`` -> Window -> ``load`` -> Load

A window says in words what it lacks: too little history, nodes that didn't tell, sizes that had to
be guessed. Nothing is made up silently.

Sizes of bodies. RabbitMQ doesn't tell the size of what passes. It tells what lies in a queue:
messages, and the bytes of their bodies. So a queue that holds some gives its own mean; all others
get the mean of what passes the balancer, whose bytes are known, less what AMQP puts around a body.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.models.interruptions import Stalls
from warrener.planner.consumers import SEEN, ServiceFrom, ServiceTime, service_time
from warrener.planner.costs import QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.samples import (
    BalancerSample,
    HostSample,
    NodeSample,
    QueueSample,
    RestSample,
    Sample,
    merge,
)

AROUND: Final = 70.0
"""Bytes that AMQP puts around a body, the acks included: a publish has 47 and the names of exchange
and key, a delivery 54, these names and the consumer's tag, an ack or a confirm 21; properties come
on top. With one ack for many messages and a name of one letter 56 were measured. So bodies by the
balancer's bytes are right to some 30 bytes."""

STEADY: Final = 60.0
"""Seconds of history below which a warning is given, whatever was asked for."""

COVERED: Final = 0.9
"""The part of a window that has to have samples, but for one; with less there is a warning."""

OLD: Final = 60.0
"""Seconds after which the newest sample is told to be old, or three times the sample's length."""

UNSEEN: Final = 0.8
"""Of what the balancer counted as published, the part that queues have to have counted."""

ENOUGH: Final = 30
"""Messages of which times have to be known to tell how irregular they are."""

POINTS: Final = 30
"""Of a line over the window."""


class BodyFrom(StrEnum):
    """Where the mean size of a queue's bodies is from."""

    HELD = "held"  # what lay in the queue
    BALANCER = "balancer"  # the mean of all that passed the balancer
    UNKNOWN = "unknown"


class NoHistory(Exception):
    """There is nothing in that window; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean over the window, and the lowest and highest of its samples (which are means of a
    minute where history is older than a day)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class QueueHistory:
    """One queue: its means, their spread, and what is derived of them. ``points``: published a
    second, in equal parts of the window."""

    means: QueueSample
    published: Figure
    delivered: Figure
    acked: Figure
    ready: Figure
    unacked: Figure
    body: float
    body_from: BodyFrom
    service: ServiceTime
    points: tuple[float, ...] = ()

    @property
    def entering(self) -> tuple[tuple[NodeName, float], ...]:
        """The part that was published through each node that doesn't lead it."""
        return detours(self.means.entering.items(), self.means.published, self.means.leader)

    @property
    def leaving(self) -> tuple[tuple[NodeName, float], ...]:
        """The part that was delivered through each of them."""
        return detours(self.means.leaving.items(), self.means.delivered, self.means.leader)


@dataclass(frozen=True, slots=True)
class NodeHistory:
    """One node. ``published`` and ``delivered``: of the queues that it leads now."""

    means: NodeSample
    cpu: Figure | None
    mem_used: Figure | None
    sessions: Figure
    published: float
    delivered: float
    points: tuple[float, ...] = ()  # of CPU


@dataclass(frozen=True, slots=True)
class Window:
    """From ``since`` to ``until`` (s since the epoch), of which ``seconds`` have samples."""

    since: float
    until: float
    seconds: float
    samples: int
    nodes: tuple[NodeHistory, ...]
    queues: tuple[QueueHistory, ...]
    hosts: tuple[HostSample, ...]
    rest: RestSample
    balancer: BalancerSample | None
    warnings: tuple[str, ...] = ()


OWN_VHOSTS: Final = ("warrener-calibration-",)
"""How virtual hosts begin that Warrener makes to measure in: their load isn't anybody's."""


def look(samples: Sequence[Sample], *, window: float, now: float) -> Window:
    """The last ``window`` s before ``now``. ``NoHistory`` if no sample is in it."""
    since = now - window
    samples = sorted(
        (sample for sample in samples if since < sample.at <= now + OLD),
        key=lambda sample: sample.at,
    )
    if not samples:
        raise NoHistory(
            f"there is no history of the last {span(window)}: the first sample comes some seconds "
            f"after the cluster has started"
        )
    means = merge(samples)
    everywhere = _body_at_balancer(means.balancer)
    by_key = [{queue.key: queue for queue in sample.queues} for sample in samples]
    queues = tuple(
        _queue(
            queue,
            [(sample.at, by.get(queue.key)) for sample, by in zip(samples, by_key, strict=True)],
            since,
            window,
            everywhere,
        )
        for queue in sorted(means.queues, key=lambda queue: (-queue.traffic, queue.key))
    )
    nodes = tuple(_node(node, samples, since, window, queues) for node in means.nodes)
    return Window(
        since=since,
        until=now,
        seconds=means.seconds,
        samples=means.merged,
        nodes=nodes,
        queues=queues,
        hosts=means.hosts,
        rest=means.rest,
        balancer=means.balancer,
        warnings=tuple(_warnings(means, samples, queues, window, now)),
    )


def load(window: Window) -> Load:
    """What the planner reckons with: without what Warrener itself measured with, and queues of a
    type that it doesn't know, these with a warning."""
    queues, strange = [], set()
    for one in window.queues:
        if one.means.vhost.startswith(OWN_VHOSTS):
            continue
        try:
            kind = QueueType(one.means.type)
        except ValueError:
            strange.add(one.means.type)
            continue
        queues.append(_queue_load(one, kind, window.seconds))
    warnings = list(window.warnings)
    if strange:
        warnings.append(f"queues of the type {', '.join(sorted(strange))} are left out")
    balancer = window.balancer
    return Load(
        nodes=tuple(
            NodeLoad(
                name=node.means.name,
                host=node.means.host,
                running=node.means.running,
                cpu=node.means.cpu,
                mem_used=round(node.means.mem_used or 0),
                mem_limit=round(node.means.mem_limit),
                cores=node.means.cores,
            )
            for node in window.nodes
        ),
        hosts=tuple(HostLoad(host.name, host.cores, host.others or 0.0) for host in window.hosts),
        queues=tuple(queues),
        balancer_host=balancer.host if balancer is not None else "",
        through_balancer=_through(window),
        clients_on=balancer.clients_on if balancer is not None else "",
        warnings=tuple(warnings),
    )


def span(seconds: float) -> str:
    """A length of time as people say it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


# -- queues and nodes


def _queue(
    means: QueueSample,
    seen: Sequence[tuple[float, QueueSample | None]],
    since: float,
    window: float,
    everywhere: float | None,
) -> QueueHistory:
    """``seen``: when, and the queue as it was then; None if it wasn't kept."""
    there = [queue for _, queue in seen if queue is not None]

    def flow(pick: Callable[[QueueSample], float], mean: float) -> Figure:
        values = [0.0 if queue is None else pick(queue) for _, queue in seen]
        return Figure(mean, min(values), max(values))

    def state(pick: Callable[[QueueSample], float], mean: float) -> Figure:
        values = [pick(queue) for queue in there]
        return Figure(mean, min(values), max(values))

    if means.held > 0:
        body, body_from = means.held_bytes / means.held, BodyFrom.HELD
    elif everywhere is not None:
        body, body_from = everywhere, BodyFrom.BALANCER
    else:
        body, body_from = 0.0, BodyFrom.UNKNOWN
    return QueueHistory(
        means=means,
        published=flow(lambda queue: queue.published, means.published),
        delivered=flow(lambda queue: queue.delivered, means.delivered),
        acked=flow(lambda queue: queue.acked, means.acked),
        ready=state(lambda queue: queue.ready, means.ready),
        unacked=state(lambda queue: queue.unacked, means.unacked),
        body=body,
        body_from=body_from,
        service=service_time(
            delivered=means.delivered,
            acked=means.acked,
            consumers=means.consumers,
            prefetch=means.prefetch,
            unacked=means.unacked,
            backlog=means.backlog,
            at_work=means.at_work,
            worked=means.worked,
        ),
        points=_points(
            [(at, 0.0 if queue is None else queue.published) for at, queue in seen],
            since,
            window,
        ),
    )


def _node(
    means: NodeSample,
    samples: Sequence[Sample],
    since: float,
    window: float,
    queues: Sequence[QueueHistory],
) -> NodeHistory:
    seen = [
        (sample.at, node) for sample in samples for node in sample.nodes if node.name == means.name
    ]
    cpu = [(at, node.cpu) for at, node in seen if node.cpu is not None]
    led = [queue.means for queue in queues if queue.means.leader == means.name]

    return NodeHistory(
        means=means,
        cpu=_spread(means.cpu, [value for _, value in cpu]),
        mem_used=_spread(means.mem_used, [node.mem_used for _, node in seen]),
        sessions=Figure(
            means.sessions,
            min(node.sessions for _, node in seen),
            max(node.sessions for _, node in seen),
        ),
        published=sum(queue.published for queue in led),
        delivered=sum(queue.delivered for queue in led),
        points=_points(cpu, since, window),
    )


def _spread(mean: float | None, values: Sequence[float | None]) -> Figure | None:
    known = [value for value in values if value is not None]
    return None if mean is None else Figure(mean, min(known), max(known))


def _points(
    values: Sequence[tuple[float, float]], since: float, window: float
) -> tuple[float, ...]:
    """Means of equal parts of the time from the first sample on; parts without one are as the part
    before."""
    if not values:
        return ()
    first = max(since, values[0][0])
    length = max(since + window - first, 1e-9)
    number = min(POINTS, len(values))
    parts: list[list[float]] = [[] for _ in range(number)]
    for at, value in values:
        parts[min(number - 1, max(0, int((at - first) / length * number)))].append(value)
    points: list[float] = []
    for part in parts:
        points.append(sum(part) / len(part) if part else points[-1] if points else values[0][1])
    return tuple(points)


def _queue_load(one: QueueHistory, kind: QueueType, window: float) -> QueueLoad:
    queue = one.means
    return QueueLoad(
        vhost=queue.vhost,
        name=queue.name,
        type=kind,
        leader=queue.leader,
        members=queue.members,
        published=queue.published,
        delivered=queue.delivered,
        acked=queue.acked,
        body=one.body,
        consumers=round(queue.consumers),
        prefetch=max(0, queue.prefetch),
        ready=queue.ready,
        unacked=queue.unacked,
        service_time=one.service.seconds,
        seen_here=one.service.why is ServiceFrom.WATCHED,
        entering=one.entering,
        leaving=one.leaving,
        service_scv=_service_scv(queue, window),
        arrival_scv=_arrival_scv(queue, window),
        publishers=max(1.0, queue.publishers),
        turnaround=queue.turned_seconds / queue.turned if queue.turned > 0 else None,
        stalls=_stalls(queue, window),
    )


def _stalls(queue: QueueSample, window: float) -> Stalls | None:
    if not _speaks_for_all(queue.confirmed, queue.published, window):
        return None
    return Stalls.met(queue.confirmed, queue.stalled, queue.stalled_seconds)


def _service_scv(queue: QueueSample, window: float) -> float | None:
    if not _speaks_for_all(queue.timed, queue.acked, window) or queue.timed_seconds <= 0:
        return None
    return max(0.0, queue.timed * queue.timed_squares / queue.timed_seconds**2 - 1.0)


def _arrival_scv(queue: QueueSample, window: float) -> float | None:
    if not _speaks_for_all(queue.spaced, queue.published, window):
        return None
    return queue.arrival_spread / queue.spaced


def _speaks_for_all(seen: float, all_of_them: float, window: float) -> bool:
    """Rates in 1/s; ``window`` in s."""
    return seen > 0 and seen >= SEEN * all_of_them and seen * window >= ENOUGH


def detours(
    flows: Iterable[tuple[NodeName, float]], whole: float, leader: NodeName | None
) -> tuple[tuple[NodeName, float], ...]:
    """What goes through other nodes than the leader's, as parts of the whole; what came in through
    one that leads the queue by now comes straight."""
    if whole <= 0:
        return ()
    return tuple(
        (node, min(1.0, rate / whole))
        for node, rate in sorted(flows)
        if node != leader and rate > 0
    )


def _body_at_balancer(balancer: BalancerSample | None) -> float | None:
    if balancer is None or balancer.published is None or balancer.delivered is None:
        return None
    messages = balancer.published + balancer.delivered
    if messages <= 0:
        return None
    return max(0.0, (balancer.bytes_in + balancer.bytes_out) / messages - AROUND)


def _through(window: Window) -> float:
    """Messages a second through the balancer; one that doesn't count them but carries bytes is
    taken to carry all there are."""
    balancer = window.balancer
    if balancer is None:
        return 0.0
    if balancer.published is not None and balancer.delivered is not None:
        return balancer.published + balancer.delivered
    if balancer.bytes_in + balancer.bytes_out <= 0:
        return 0.0
    kept = sum(queue.means.published + queue.means.delivered for queue in window.queues)
    return kept + window.rest.published + window.rest.delivered


# -- what is lacking


def _warnings(
    means: Sample,
    samples: Sequence[Sample],
    queues: Sequence[QueueHistory],
    window: float,
    now: float,
) -> Iterable[str]:
    if means.seconds < COVERED * window - samples[-1].seconds:
        yield f"only {span(means.seconds)} of history in the last {span(window)}"
    elif means.seconds < STEADY:
        yield f"only {span(means.seconds)} of history: means of so little are not steady"
    age = now - samples[-1].at
    if age > max(OLD, 3 * samples[-1].seconds):
        yield f"the newest sample is {span(age)} old"
    if means.missing:
        names = ", ".join(short_name(name) for name in means.missing)
        yield f"{names} didn't tell what clients do there for some of the time"
    yield from _warn_of_bodies(queues)
    yield from _warn_of_unseen(means)
    rest = means.rest
    if rest.published + rest.delivered > 0:
        yield (
            f"{rest.queues:,} queues with {rest.published:.0f} msg/s in and {rest.delivered:.0f} "
            f"out are not kept singly: there are too many"
        )
    silent = [short_name(node.name) for node in means.nodes if node.running and node.cpu is None]
    if silent:
        yield f"nobody tells how much CPU {', '.join(silent)} used"
    for host in means.hosts:
        if host.others is None:
            yield f"nobody tells what else uses CPU on {host.name}; it is taken as nothing"
        elif host.clients is None:
            yield f"clients on {host.name} can't be told from what else uses CPU there"


def _warn_of_bodies(queues: Sequence[QueueHistory]) -> Iterable[str]:
    busy = [queue for queue in queues if queue.means.traffic > 0]
    guessed = [queue for queue in busy if queue.body_from is BodyFrom.BALANCER]
    if guessed:
        yield (
            f"bodies of {_named(guessed)} are taken as {guessed[0].body:.0f} bytes, the mean of "
            f"what passed the balancer: none lay in the queue when it was looked at"
        )
    unknown = [queue for queue in busy if queue.body_from is BodyFrom.UNKNOWN]
    if unknown:
        yield f"the size of bodies isn't known for {_named(unknown)}; it is taken as 0"


def _warn_of_unseen(means: Sample) -> Iterable[str]:
    """Channels that live for less than a sample are counted by the balancer alone."""
    balancer = means.balancer
    if balancer is None or not balancer.published:
        return
    counted = sum(queue.published for queue in means.queues) + means.rest.published
    if counted < UNSEEN * balancer.published:
        yield (
            f"queues counted {counted:.0f} msg/s in, the balancer {balancer.published:.0f}: the "
            f"rest was routed to no queue, or published on channels that live for seconds only"
        )


def _named(queues: Sequence[QueueHistory]) -> str:
    names = [queue.means.name for queue in queues[:3]]
    more = f" and {len(queues) - 3} more" if len(queues) > 3 else ""
    return f"{', '.join(names)}{more}"
