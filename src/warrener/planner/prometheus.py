"""The history out of a Prometheus that scrapes the cluster's nodes: what to ask, and samples of
what it answers. Pure.

It has to scrape two paths of every node's metrics (port 15692 by default): ``/metrics``, summed
over the node, and ``DETAILED``, with each channel and queue. Series are told apart by ``instance``,
and ``rabbitmq_identity_info`` says which node that is.

As with Warrener's own samples a channel that is gone before it was scraped twice isn't seen. Names
of queues with quotes or backslashes break a scrape: RabbitMQ 3.10 doesn't escape them.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot, QueueView
from warrener.planner.samples import UNKNOWN, HostSample, Key, NodeSample, QueueSample, Sample
from warrener.planner.sampling import Looked

FAMILIES: Final = (
    "channel_queue_metrics",
    "channel_queue_exchange_metrics",
    "queue_coarse_metrics",
    "queue_consumer_count",
)
DETAILED: Final = "/metrics/detailed?" + "&".join(f"family={family}" for family in FAMILIES)

IDENTITY: Final = "rabbitmq_identity_info"

POINTS: Final = 30
"""Samples that a window is asked in."""

SHORTEST: Final = 15.0
"""Seconds of one of them at least: the scrape interval that is common."""

RANGE: Final = 60.0
"""Seconds that a rate is reckoned over at least. Two scrapes have to be in it, so this does for an
interval of up to 30 s; with Prometheus' default of a minute a window has to be an hour or more."""

_DELIVERED: Final = (
    "channel_get_ack_total",
    "channel_get_total",
    "channel_messages_delivered_ack_total",
    "channel_messages_delivered_total",
)
_BY: Final = "instance, vhost, queue"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels, and (s since the epoch, value)."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Steps:
    """How a window is asked for: every ``step`` s, each value over the ``range`` s before."""

    step: float
    range: float


class NotScraped(Exception):
    """That Prometheus doesn't have what is needed; the text says what it has to scrape."""


def steps(window: float) -> Steps:
    """Of a window of so many seconds."""
    step = max(SHORTEST, window / POINTS)
    return Steps(step, max(step, RANGE))


def queries(over: Steps) -> dict[str, str]:
    """By what is asked for, in PromQL."""
    span = f"[{over.range:.0f}s]"

    def rate(metric: str, by: str = _BY) -> str:
        return f"sum by ({by}) (rate(rabbitmq_detailed_{metric}{span}))"

    def mean(metric: str) -> str:
        return f"sum by ({_BY}) (avg_over_time(rabbitmq_detailed_{metric}{span}))"

    def node(metric: str) -> str:
        return f"max by (instance) (avg_over_time({metric}{span}))"

    return {
        "identity": f"max by (instance, rabbitmq_node, rabbitmq_cluster) ({IDENTITY})",
        "published": rate("queue_messages_published_total", "instance, queue_vhost, queue"),
        **{f"delivered {number}": rate(metric) for number, metric in enumerate(_DELIVERED)},
        "acked": rate("channel_messages_acked_total"),
        "ready": mean("queue_messages_ready"),
        "unacked": mean("queue_messages_unacked"),
        "consumers": mean("queue_consumers"),
        "held": mean("queue_messages"),
        "held_bytes": mean("queue_messages_bytes"),
        "cpu": f"max by (instance) (rate(erlang_vm_statistics_runtime_milliseconds{span})) / 1000",
        "memory": node("rabbitmq_process_resident_memory_bytes"),
        "limit": node("rabbitmq_resident_memory_limit_bytes"),
        "connections": node("rabbitmq_connections"),
        "cores": node("erlang_vm_logical_processors"),
    }


def samples(
    answers: Mapping[str, Sequence[Series]],
    over: Steps,
    snapshot: ClusterSnapshot,
    hosts: Mapping[NodeName, str],
    looked: Looked,
) -> list[Sample]:
    """One for each step that has anything. ``snapshot`` says which queues there are and who leads
    them now, ``looked`` their consumers' prefetch, ``hosts`` where each node is. NotScraped."""
    nodes = _instances(answers["identity"], snapshot)
    if not nodes:
        raise NotScraped(
            f'it has no {IDENTITY}{{rabbitmq_cluster="{snapshot.cluster_name}"}}: it has to '
            f"scrape /metrics and {DETAILED} of every node"
        )
    if snapshot.queues and not answers["ready"]:
        raise NotScraped(
            f"it has no rabbitmq_detailed_queue_messages_ready: it has to scrape {DETAILED} of "
            f"every node, besides /metrics"
        )
    table = _Table(answers, nodes)
    found = []
    for at in table.moments:
        found.append(
            Sample(
                at=at,
                seconds=over.step,
                nodes=tuple(_nodes(table, at, snapshot, hosts)),
                hosts=tuple(_hosts(table, at, hosts)),
                queues=tuple(_queue(view, table, at, looked) for view in snapshot.queues),
                missing=tuple(
                    view.name
                    for view in snapshot.nodes
                    if view.running and view.name not in nodes.values()
                ),
            )
        )
    return found


def _instances(identity: Sequence[Series], snapshot: ClusterSnapshot) -> dict[str, NodeName]:
    """Which node each instance is, of this cluster's nodes."""
    known = {view.name for view in snapshot.nodes}
    found = {}
    for series in identity:
        node = NodeName(series.labels.get("rabbitmq_node", ""))
        if node in known and series.labels.get("rabbitmq_cluster") == snapshot.cluster_name:
            found[series.labels.get("instance", "")] = node
    return found


class _Table:
    """The answers by moment: of nodes, and of queues by the node that told."""

    def __init__(
        self, answers: Mapping[str, Sequence[Series]], nodes: Mapping[str, NodeName]
    ) -> None:
        self._node: dict[tuple[str, float, NodeName], float] = {}
        self._queue: dict[tuple[str, float, Key], dict[NodeName, float]] = defaultdict(dict)
        moments = set()
        for name, told in answers.items():
            kind = name.partition(" ")[0]  # the four kinds of deliveries are one
            for series in told:
                node = nodes.get(series.labels.get("instance", ""))
                if node is None or kind == "identity":
                    continue
                queue = series.labels.get("queue")
                vhost = series.labels.get("queue_vhost", series.labels.get("vhost", ""))
                for at, value in series.values:
                    if math.isnan(value):
                        continue
                    if queue is None:
                        self._node[kind, at, node] = value
                        moments.add(at)
                    else:
                        of = self._queue[kind, at, (vhost, queue)]
                        of[node] = of.get(node, 0.0) + value
                        moments.add(at)
        self.moments = sorted(moments)

    def node(self, kind: str, at: float, node: NodeName) -> float | None:
        return self._node.get((kind, at, node))

    def queue(self, kind: str, at: float, key: Key) -> Mapping[NodeName, float]:
        return self._queue.get((kind, at, key), {})

    def sum(self, kind: str, at: float, key: Key) -> float:
        return sum(self.queue(kind, at, key).values())


def _nodes(
    table: _Table, at: float, snapshot: ClusterSnapshot, hosts: Mapping[NodeName, str]
) -> Iterable[NodeSample]:
    for view in snapshot.nodes:
        yield NodeSample(
            name=view.name,
            host=hosts.get(view.name, ""),
            running=view.running,
            cpu=table.node("cpu", at, view.name),
            mem_used=table.node("memory", at, view.name),
            mem_limit=table.node("limit", at, view.name) or 0.0,
            sessions=table.node("connections", at, view.name) or 0.0,
        )


def _hosts(table: _Table, at: float, hosts: Mapping[NodeName, str]) -> Iterable[HostSample]:
    cores: dict[str, int] = {}
    for node, host in hosts.items():
        if told := table.node("cores", at, node):
            cores[host] = max(round(told), cores.get(host, 0))
    for host, number in cores.items():
        yield HostSample(host, number)


def _queue(view: QueueView, table: _Table, at: float, looked: Looked) -> QueueSample:
    key = (view.vhost, view.name)
    ready = table.sum("ready", at, key)
    size = table.sum("held_bytes", at, key)
    _, prefetch = (looked.consumers or {}).get(key, (0, UNKNOWN))
    return QueueSample(
        vhost=view.vhost,
        name=view.name,
        type=view.type,
        leader=view.leader,
        members=view.members,
        published=table.sum("published", at, key),
        delivered=table.sum("delivered", at, key),
        acked=table.sum("acked", at, key),
        ready=ready,
        unacked=table.sum("unacked", at, key),
        backlog=1.0 if ready > 0 else 0.0,
        consumers=table.sum("consumers", at, key),
        prefetch=prefetch,
        held=table.sum("held", at, key) if size > 0 else 0.0,
        held_bytes=size,
        entering=_elsewhere(table.queue("published", at, key), view.leader),
        leaving=_elsewhere(table.queue("delivered", at, key), view.leader),
    )


def _elsewhere(flows: Mapping[NodeName, float], leader: NodeName | None) -> dict[NodeName, float]:
    return {node: rate for node, rate in flows.items() if node != leader and rate > 0}
