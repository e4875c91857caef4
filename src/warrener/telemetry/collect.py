"""Values -> samples of the registry's metrics. Pure.

A label that has a closed set of values (reasons, states) is given with all of them where a counter
would else come into being with its first event: a rate over it would miss that one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import isfinite
from typing import Final, NamedTuple

from warrener.facts.balance import BackendStatistics, BalancerStatistics
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason, NodeState, SessionEnd
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.facts.telemetry import BalancerFigures, Direction, Distribution
from warrener.telemetry import registry as r
from warrener.telemetry.registry import Metric
from warrener.telemetry.values import PlanValues, Values

MAX_EVENT_KINDS: Final = 200
"""Kinds of events there may be; there are some eighty. A bound on what is a label."""

TYPES: Final = ("classic", "quorum", "stream")

FOREVER: Final = 1e9
"""Stands for "never ends" where a ratio or a time is infinite: 30 years, a billion times the load.
Prometheus knows +Inf, but a mean over it, or a graph with it, is worth nothing."""

_REJECTED: Final = (
    SessionEnd.LIMIT,
    SessionEnd.NO_FIT_NODE,
    SessionEnd.ACCESS_REFUSED,
    SessionEnd.TLS_HANDSHAKE,
    SessionEnd.CLIENT_BROKE_PROTOCOL,
    SessionEnd.CLIENT_LOST,
    SessionEnd.CLIENT_SLOW_HANDSHAKE,
)


class Sample(NamedTuple):
    """One series. ``labels`` are values, in the order of the metric's names."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Distribution


def collect(values: Values) -> Iterator[Sample]:
    """Every sample. The number of series is bounded by nodes, reasons and ``queue_metrics``."""
    plane = values.balancer.data_plane.value if values.balancer is not None else ""
    yield Sample(r.INFO, (values.version, values.rabbitmq, plane, values.driver), 1)
    if values.balancer is not None:
        yield from _balancer(values.balancer)
        yield from _backends(values.balancer.backends)
        if values.balancer.journal_bytes is not None:
            yield Sample(r.JOURNAL_LIMIT, (), values.journal_limit)
        yield from _node_bytes(values.balancer, values.figures)
    yield from _figures(values.figures)
    yield from _members(values)
    if values.snapshot is not None:
        yield from _nodes(values.snapshot)
        yield from _queues(values.snapshot)
    if values.view_age is not None:
        yield Sample(r.CLUSTER_VIEW_AGE, (), values.view_age)
    if values.drift is not None:
        yield Sample(r.DRIFT, (), values.drift)
    for ending in values.endings:
        yield Sample(r.CERTIFICATE, (ending.whose, ending.what), ending.ends_at)
    for kind, count in sorted(values.events.items())[:MAX_EVENT_KINDS]:
        yield Sample(r.EVENTS, (kind,), count)
    if values.plan is not None:
        yield from _plan(values.plan)
    yield from _each_queue(values)


def _known(metric: Metric, value: float | None, *labels: str) -> Iterator[Sample]:
    if value is not None:
        yield Sample(metric, labels, value)


def _counts(
    metric: Metric, counts: Iterable[tuple[str, int]] | None, known: Iterable[str]
) -> Iterator[Sample]:
    if counts is not None:
        found = dict.fromkeys(known, 0) | dict(counts)
        for label, count in found.items():
            yield Sample(metric, (label,), count)


def _balancer(told: BalancerStatistics) -> Iterator[Sample]:
    yield Sample(r.SESSIONS, (), told.sessions)
    yield Sample(r.SESSIONS_OPENED, (), told.sessions_total)
    yield from _counts(r.SESSIONS_ENDED, told.sessions_ended, SessionEnd)
    yield from _counts(r.MOVES, told.moves, MoveReason)
    yield from _known(r.MOVES_FAILED, told.moves_failed)
    yield from _known(r.REPLAYED, told.replayed)
    yield from _known(r.PARKED, told.parked)
    yield from _known(r.JOURNAL, told.journal_bytes)
    yield Sample(r.CLIENT_BYTES, (Direction.IN,), told.bytes_in)
    yield Sample(r.CLIENT_BYTES, (Direction.OUT,), told.bytes_out)
    yield Sample(r.LOCALITY, (), told.locality)
    if told.locality:
        yield Sample(r.LEADERS_KNOWN, (), not told.locality_error)
    for policy in PolicyName:
        yield Sample(r.POLICY, (policy,), policy is told.policy)


def _backends(rows: Iterable[BackendStatistics]) -> Iterator[Sample]:
    for row in rows:
        yield Sample(r.NODE_FIT, (row.name,), row.unfit is None)
        if row.unfit is not None:
            yield Sample(r.NODE_UNFIT, (row.name, row.unfit), 1)
        yield Sample(r.NODE_WEIGHT, (row.name,), row.weight)
        yield Sample(r.NODE_SESSIONS, (row.name,), row.sessions)
        yield Sample(r.NODE_SESSIONS_OPENED, (row.name,), row.sessions_total)
        yield Sample(r.NODE_FAILURES, (row.name,), row.failures_total)
        passed = row.probes_total - row.probes_failed
        yield Sample(r.NODE_PROBES, (row.name, "passed"), passed)
        yield Sample(r.NODE_PROBES, (row.name, "failed"), row.probes_failed)


def _node_bytes(told: BalancerStatistics, figures: BalancerFigures) -> Iterator[Sample]:
    """By the links where there are any, else as the data plane counts them."""
    if figures.nodes is None:
        for row in told.backends:
            yield from _known(r.BYTES, row.bytes_in, row.name, Direction.IN)
            yield from _known(r.BYTES, row.bytes_out, row.name, Direction.OUT)
        yield from _counts(r.REJECTED, [("unknown", told.rejected_total)], ())
        return
    for node in figures.nodes:
        yield Sample(r.BYTES, (node.node, Direction.IN), node.bytes_in)
        yield Sample(r.BYTES, (node.node, Direction.OUT), node.bytes_out)


def _figures(figures: BalancerFigures) -> Iterator[Sample]:
    for node in figures.nodes or ():
        yield Sample(r.CHANNELS, (node.node,), node.channels)
        yield Sample(r.LINKS, (node.node,), node.links)
        for direction, locality, count in node.messages:
            yield Sample(r.MESSAGES, (node.node, direction, locality), count)
    for one in figures.decisions or ():
        yield Sample(r.DECISIONS, (one.policy, one.choice, one.node), one.count)
    yield from _counts(r.REJECTED, figures.rejected, _REJECTED)
    for metric, seen in (
        (r.HANDSHAKE, figures.handshakes),
        (r.CONFIRM, figures.confirms),
        (r.LOOP_LAG, figures.loop_lag),
    ):
        if seen is not None:
            yield Sample(metric, (), seen)


def _members(values: Values) -> Iterator[Sample]:
    states = Counter(node.state for node in values.nodes)
    for state in NodeState:
        yield Sample(r.CLUSTER_NODES, (state,), states[state])
    yield Sample(r.CLUSTER_MEMBERS, (), len(values.nodes))
    views = {view.name: view for view in values.snapshot.nodes} if values.snapshot else {}
    running = 0
    for node in values.nodes:
        view = views.get(node.name)
        may_run = node.state in (NodeState.RUNNING, NodeState.UNREACHABLE)
        runs = may_run and (view is None or view.running)
        running += runs
        yield Sample(r.NODE_RUNNING, (node.name,), runs)
        yield Sample(r.NODE_DRAINED, (node.name,), node.drained)
    yield Sample(r.CLUSTER_MAJORITY, (), 2 * running > len(values.nodes))


def _nodes(snapshot: ClusterSnapshot) -> Iterator[Sample]:
    for view in snapshot.nodes:
        if not view.running:
            continue
        yield Sample(r.NODE_ALARM, (view.name, "memory"), view.mem_alarm)
        yield Sample(r.NODE_ALARM, (view.name, "disk"), view.disk_alarm)
        yield Sample(r.NODE_PARTITIONS, (view.name,), len(view.partitions))
        for metric, value in _sizes(view):
            if value:  # a node's first statistics come some seconds after it; until then they are 0
                yield Sample(metric, (view.name,), value)


def _sizes(view: NodeView) -> tuple[tuple[Metric, float], ...]:
    return (
        (r.NODE_MEMORY, view.mem_used),
        (r.NODE_MEMORY_LIMIT, view.mem_limit),
        (r.NODE_DISK, view.disk_free),
        (r.NODE_DISK_LIMIT, view.disk_free_limit),
        (r.NODE_FILES, view.fd_used),
        (r.NODE_FILES_LIMIT, view.fd_total),
        (r.NODE_UPTIME, view.uptime),
    )


class _Tally:
    """Of the queues of one type."""

    __slots__ = ("at_edge", "leaderless", "number", "short")

    def __init__(self) -> None:
        self.number = self.leaderless = self.short = self.at_edge = 0

    def add(self, queue: QueueView, up: frozenset[NodeName]) -> None:
        self.number += 1
        # Until another one is elected, RabbitMQ goes on naming a leader that is gone.
        self.leaderless += queue.leader is None or queue.leader not in up
        if len(queue.members) > 1:
            online = sum(node in up for node in queue.online)
            self.short += online < len(queue.members)
            self.at_edge += 2 * online > len(queue.members) >= 2 * (online - 1)


def _queues(snapshot: ClusterSnapshot) -> Iterator[Sample]:
    up = frozenset(view.name for view in snapshot.nodes if view.running)
    tallies = {type_: _Tally() for type_ in TYPES}
    leaders: Counter[tuple[NodeName, str]] = Counter()
    untended = ready = unacked = consumers = 0
    for queue in snapshot.queues:
        tallies.setdefault(queue.type, _Tally()).add(queue, up)
        if queue.leader is not None:
            leaders[queue.leader, queue.type] += 1
        untended += queue.messages > 0 and not queue.consumers
        ready += queue.messages_ready
        unacked += queue.messages_unacknowledged
        consumers += queue.consumers
    for type_, tally in tallies.items():
        yield Sample(r.QUEUES, (type_,), tally.number)
        yield Sample(r.QUEUES_LEADERLESS, (type_,), tally.leaderless)
        yield Sample(r.QUEUES_SHORT, (type_,), tally.short)
        yield Sample(r.QUEUES_AT_EDGE, (type_,), tally.at_edge)
    for view in snapshot.nodes:
        for type_ in tallies:
            yield Sample(r.NODE_LEADERS, (view.name, type_), leaders[view.name, type_])
    yield Sample(r.QUEUES_UNTENDED, (), untended)
    yield Sample(r.MESSAGES_READY, (), ready)
    yield Sample(r.MESSAGES_UNACKED, (), unacked)
    yield Sample(r.CONSUMERS, (), consumers)


def _plan(plan: PlanValues) -> Iterator[Sample]:
    yield Sample(r.PLANNED_AT, (), plan.at)
    yield Sample(r.LOAD, (), plan.load)
    yield from _known(r.CAPACITY, plan.capacity if isfinite(plan.capacity) else None)
    yield Sample(r.HEADROOM, (), _bounded(plan.headroom))
    for node, headroom in plan.headroom_without.items():
        yield Sample(r.HEADROOM_WITHOUT, (node,), _bounded(headroom))
    for part, rho in plan.rho.items():
        yield Sample(r.RHO, (part,), _bounded(rho))
    for node, rho in plan.node_rho.items():
        yield Sample(r.NODE_RHO, (node,), _bounded(rho))
    yield from _known(r.PREDICTED_TIME, plan.predicted_time)
    yield from _known(r.MEASURED_TIME, plan.measured_time)
    yield Sample(r.PREDICTED_LENGTH, (), plan.predicted_length)
    yield Sample(r.MEASURED_LENGTH, (), plan.measured_length)
    yield Sample(r.GROWING, (), plan.growing)
    yield from _known(r.MEMORY_ALARM_IN, plan.memory_alarm_in)


def _bounded(value: float) -> float:
    return min(value, FOREVER)


def _each_queue(values: Values) -> Iterator[Sample]:
    """The first ones by name: which they are doesn't change with the load, so that no series comes
    and goes."""
    if not values.queue_metrics or values.snapshot is None:
        return
    queues = sorted(values.snapshot.queues, key=lambda queue: (queue.vhost, queue.name))
    yield Sample(r.QUEUES_LEFT_OUT, (), max(0, len(queues) - values.queue_metrics))
    plans = values.plan.queues if values.plan is not None else {}
    for queue in queues[: values.queue_metrics]:
        key = (queue.vhost, queue.name)
        yield Sample(r.QUEUE_READY, key, queue.messages_ready)
        yield Sample(r.QUEUE_UNACKED, key, queue.messages_unacknowledged)
        yield Sample(r.QUEUE_CONSUMERS, key, queue.consumers)
        if queue.members:
            yield Sample(r.QUEUE_ONLINE, key, len(queue.online))
        plan = plans.get(key)
        if plan is not None:
            yield from _known(r.QUEUE_RHO, plan.rho, *key)
            if plan.response_time is not None:
                yield Sample(r.QUEUE_PREDICTED_TIME, key, _bounded(plan.response_time))
            if plan.length is not None:
                yield Sample(r.QUEUE_PREDICTED_LENGTH, key, _bounded(plan.length))
