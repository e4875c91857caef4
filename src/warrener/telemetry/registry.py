"""Every metric that Warrener exports: its name, its type, what it means, its labels, its unit.

Names follow Prometheus' rules: ``warrener_`` and what is measured, base units (seconds, bytes,
ratios from 0 to 1), ``_total`` for counters. Labels are closed sets (directions, reasons, policies)
or the cluster's nodes; queues are labels only of the metrics in ``OF_QUEUES``, which are off unless
asked for, and capped. Nothing that a client chooses (names, users, addresses) is a label but the
name of a queue and its virtual host.

A metric that the data plane can't know (HAProxy passes bytes), or that nobody has measured, is left
out, not zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Prometheus' types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` is whole, as it is asked for (a histogram's without ``_bucket`` and the like).
    ``unit`` is "" for what is counted; ``labels`` in the order in which values are given."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def series(self) -> tuple[str, ...]:
        """The names that a query may use."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


def _gauge(name: str, help_: str, *labels: str, unit: str = "") -> Metric:
    return Metric(f"warrener_{name}", Kind.GAUGE, help_, labels, unit)


def _counter(name: str, help_: str, *labels: str, unit: str = "") -> Metric:
    return Metric(f"warrener_{name}", Kind.COUNTER, help_, labels, unit)


def _histogram(name: str, help_: str) -> Metric:
    return Metric(f"warrener_{name}", Kind.HISTOGRAM, help_, (), "seconds")


INFO: Final = _gauge(
    "info", "1; what runs, in its labels.", "version", "rabbitmq", "data_plane", "driver"
)

# -- the balancer

SESSIONS: Final = _gauge("balancer_sessions", "Client sessions that are open.")
SESSIONS_OPENED: Final = _counter(
    "balancer_sessions_opened_total", "Client connections that were accepted."
)
SESSIONS_ENDED: Final = _counter(
    "balancer_sessions_ended_total", "Sessions that ended, by reason.", "reason"
)
REJECTED: Final = _counter(
    "balancer_rejected_clients_total", "Clients that never got a session, by reason.", "reason"
)
CHANNELS: Final = _gauge("balancer_channels", "Channels that are open, by their node.", "node")
LINKS: Final = _gauge("balancer_links", "Connections of sessions to a node.", "node")
PARKED: Final = _gauge("balancer_parked_consumers", "Consumers that wait for their queue.")
MOVES: Final = _counter(
    "balancer_channel_moves_total", "Channels moved to another node, by reason.", "reason"
)
MOVES_FAILED: Final = _counter(
    "balancer_channel_moves_failed_total", "Planned moves that came to nothing."
)
REPLAYED: Final = _counter(
    "balancer_replayed_publishes_total", "Unconfirmed publishes sent again on another node."
)
JOURNAL: Final = _gauge(
    "balancer_journal_bytes", "Unconfirmed publishes that are kept.", unit="bytes"
)
JOURNAL_LIMIT: Final = _gauge(
    "balancer_journal_limit_bytes", "The most that is kept of all sessions.", unit="bytes"
)
MESSAGES: Final = _counter(
    "balancer_messages_total",
    "Messages, by node, direction (in: from clients) and whether the node leads their queue.",
    "node",
    "direction",
    "locality",
)
BYTES: Final = _counter(
    "balancer_bytes_total",
    "Bytes between the balancer and a node (in: from clients).",
    "node",
    "direction",
    unit="bytes",
)
CLIENT_BYTES: Final = _counter(
    "balancer_client_bytes_total",
    "Bytes between clients and the balancer (in: from clients).",
    "direction",
    unit="bytes",
)
DECISIONS: Final = _counter(
    "balancer_decisions_total",
    "Choices of a node, by the policy that made them; retry: after a node that refused.",
    "policy",
    "choice",
    "node",
)
POLICY: Final = _gauge("balancer_policy", "1 for the policy in force.", "policy")
LOCALITY: Final = _gauge("balancer_locality", "1 while channels go to the leaders of their queues.")
LEADERS_KNOWN: Final = _gauge(
    "balancer_leaders_known", "1 while the balancer knows where leaders are."
)
HANDSHAKE: Final = _histogram(
    "balancer_handshake_seconds", "From a client's connect until it may speak."
)
CONFIRM: Final = _histogram(
    "balancer_confirm_seconds", "From a publish until its confirm, of a sample."
)
LOOP_LAG: Final = _histogram(
    "balancer_loop_lag_seconds", "How much later than asked for the event loop woke."
)

# -- nodes, as the balancer and the cluster see them

NODE_FIT: Final = _gauge("node_fit", "1 while a node gets new sessions.", "node")
NODE_UNFIT: Final = _gauge(
    "node_unfit", "1 for the reason why a node gets no new sessions.", "node", "reason"
)
NODE_WEIGHT: Final = _gauge("node_weight", "Its weight for the weighted policies.", "node")
NODE_SESSIONS: Final = _gauge("node_sessions", "Sessions that have their home on it.", "node")
NODE_SESSIONS_OPENED: Final = _counter(
    "node_sessions_opened_total", "Sessions that ever had their home on it.", "node"
)
NODE_FAILURES: Final = _counter(
    "node_handshakes_failed_total", "Connects and handshakes of sessions that failed on it.", "node"
)
NODE_PROBES: Final = _counter("node_probes_total", "Probes of a node.", "node", "outcome")
NODE_RUNNING: Final = _gauge("node_running", "1 while RabbitMQ runs on it.", "node")
NODE_DRAINED: Final = _gauge("node_drained", "1 while it is drained.", "node")
NODE_ALARM: Final = _gauge("node_alarm", "1 while it has this alarm.", "node", "alarm")
NODE_PARTITIONS: Final = _gauge("node_unseen_nodes", "Nodes it says it is cut off from.", "node")
NODE_MEMORY: Final = _gauge("node_memory_used_bytes", "Memory in use.", "node", unit="bytes")
NODE_MEMORY_LIMIT: Final = _gauge(
    "node_memory_limit_bytes", "Memory in use at which the alarm comes.", "node", unit="bytes"
)
NODE_DISK: Final = _gauge("node_disk_free_bytes", "Free space of its disk.", "node", unit="bytes")
NODE_DISK_LIMIT: Final = _gauge(
    "node_disk_limit_bytes", "Free space at which the alarm comes.", "node", unit="bytes"
)
NODE_FILES: Final = _gauge("node_open_files", "File descriptors in use.", "node")
NODE_FILES_LIMIT: Final = _gauge("node_open_files_limit", "The most it may have.", "node")
NODE_UPTIME: Final = _gauge("node_uptime_seconds", "How long it runs.", "node", unit="seconds")
NODE_LEADERS: Final = _gauge("node_leaders", "Queues that it leads, by type.", "node", "type")

# -- the cluster

CLUSTER_NODES: Final = _gauge("cluster_nodes", "Members, by state.", "state")
CLUSTER_MEMBERS: Final = _gauge("cluster_members", "Members, whatever their state.")
CLUSTER_MAJORITY: Final = _gauge("cluster_majority", "1 while more than half of the members run.")
CLUSTER_VIEW_AGE: Final = _gauge(
    "cluster_view_age_seconds", "Age of the cluster's own view.", unit="seconds"
)
QUEUES: Final = _gauge("cluster_queues", "Queues, by type.", "type")
QUEUES_LEADERLESS: Final = _gauge(
    "cluster_leaderless_queues", "Queues that no node leads, by type.", "type"
)
QUEUES_SHORT: Final = _gauge(
    "cluster_under_replicated_queues", "Queues with a member that isn't online, by type.", "type"
)
QUEUES_AT_EDGE: Final = _gauge(
    "cluster_queues_at_bare_majority",
    "Queues of several members that would lose the majority with one more, by type.",
    "type",
)
QUEUES_UNTENDED: Final = _gauge(
    "cluster_queues_without_consumers", "Queues with messages and no consumer."
)
MESSAGES_READY: Final = _gauge("cluster_messages_ready", "Messages that wait in queues.")
MESSAGES_UNACKED: Final = _gauge(
    "cluster_messages_unacknowledged", "Messages given to consumers and not acknowledged."
)
CONSUMERS: Final = _gauge("cluster_consumers", "Consumers of all queues.")
DRIFT: Final = _gauge("cluster_drift_steps", "Steps from the cluster as it is to its description.")
CERTIFICATE: Final = _gauge(
    "certificate_expiry_timestamp_seconds",
    "When a certificate of the cluster ends, in seconds since 1970.",
    "whose",
    "what",
    unit="seconds",
)
EVENTS: Final = _counter("events_total", "Events that were recorded, by kind.", "kind")

# -- the planner

CAPACITY: Final = _gauge(
    "planner_capacity_messages_per_second", "Messages that may come in, the load being as it is."
)
LOAD: Final = _gauge("planner_load_messages_per_second", "Messages that come in.")
HEADROOM: Final = _gauge(
    "planner_headroom_ratio", "Times the present load at which the first part breaks."
)
HEADROOM_WITHOUT: Final = _gauge(
    "planner_headroom_without_node_ratio", "The same with this node gone.", "node"
)
RHO: Final = _gauge("planner_rho_ratio", "How busy a kind of part is: the busiest one.", "part")
NODE_RHO: Final = _gauge("planner_node_rho_ratio", "How busy a node is, predicted.", "node")
PREDICTED_TIME: Final = _gauge(
    "planner_predicted_response_seconds",
    "R: mean from published to acknowledged, by load, predicted.",
    unit="seconds",
)
MEASURED_TIME: Final = _gauge(
    "planner_measured_response_seconds", "The same, measured (Little's law).", unit="seconds"
)
PREDICTED_LENGTH: Final = _gauge(
    "planner_predicted_messages", "L: messages in all queues that don't grow, predicted."
)
MEASURED_LENGTH: Final = _gauge("planner_measured_messages", "The same, measured.")
GROWING: Final = _gauge("planner_growing_queues", "Queues that get more than is taken from them.")
MEMORY_ALARM_IN: Final = _gauge(
    "planner_memory_alarm_in_seconds",
    "Time until the first queue that grows fills its node's memory.",
    unit="seconds",
)
PLANNED_AT: Final = _gauge(
    "planner_computed_timestamp_seconds", "When that was worked out.", unit="seconds"
)

# -- queues, where asked for

QUEUE_READY: Final = _gauge("queue_messages_ready", "Messages that wait.", "vhost", "queue")
QUEUE_UNACKED: Final = _gauge(
    "queue_messages_unacknowledged", "Given to consumers, not acknowledged.", "vhost", "queue"
)
QUEUE_CONSUMERS: Final = _gauge("queue_consumers", "Consumers.", "vhost", "queue")
QUEUE_ONLINE: Final = _gauge("queue_online_members", "Members online.", "vhost", "queue")
QUEUE_RHO: Final = _gauge(
    "queue_rho_ratio", "How busy the queue or its consumers are, predicted.", "vhost", "queue"
)
QUEUE_PREDICTED_TIME: Final = _gauge(
    "queue_predicted_response_seconds", "R, predicted.", "vhost", "queue", unit="seconds"
)
QUEUE_PREDICTED_LENGTH: Final = _gauge(
    "queue_predicted_messages", "L, predicted.", "vhost", "queue"
)
QUEUES_LEFT_OUT: Final = _gauge(
    "telemetry_queues_left_out", "Queues without metrics of their own, past the cap."
)

OF_QUEUES: Final = (
    QUEUE_READY,
    QUEUE_UNACKED,
    QUEUE_CONSUMERS,
    QUEUE_ONLINE,
    QUEUE_RHO,
    QUEUE_PREDICTED_TIME,
    QUEUE_PREDICTED_LENGTH,
)
"""Those whose number grows with the number of queues."""

METRICS: Final[Mapping[str, Metric]] = {
    found.name: found for found in list(vars().values()) if isinstance(found, Metric)
}
"""By name. What this module calls a ``Metric`` is one."""

OF_RABBITMQ: Final = frozenset(
    {
        "erlang_vm_dist_node_state",
        "rabbitmq_alarms_free_disk_space_watermark",
        "rabbitmq_alarms_memory_used_watermark",
        "rabbitmq_build_info",
        "rabbitmq_channels",
        "rabbitmq_connections",
        "rabbitmq_connections_closed_total",
        "rabbitmq_connections_opened_total",
        "rabbitmq_disk_space_available_bytes",
        "rabbitmq_disk_space_available_limit_bytes",
        "rabbitmq_erlang_processes_used",
        "rabbitmq_erlang_scheduler_run_queue",
        "rabbitmq_erlang_uptime_seconds",
        "rabbitmq_identity_info",
        "rabbitmq_process_max_fds",
        "rabbitmq_process_open_fds",
        "rabbitmq_process_resident_memory_bytes",
        "rabbitmq_queue_consumers",
        "rabbitmq_queue_messages",
        "rabbitmq_queue_messages_ready",
        "rabbitmq_raft_entry_commit_latency_seconds",
        "rabbitmq_resident_memory_limit_bytes",
        "rabbitmq_global_messages_acknowledged_total",
        "rabbitmq_global_messages_confirmed_total",
        "rabbitmq_global_messages_delivered_total",
        "rabbitmq_global_messages_received_total",
        "rabbitmq_global_messages_redelivered_total",
        "rabbitmq_global_messages_unroutable_dropped_total",
        "rabbitmq_global_messages_unroutable_returned_total",
    }
)
"""Of RabbitMQ's own metrics, what Warrener's rules and dashboards ask for. They are those that
RabbitMQ 3.10 has on ``/metrics``, which a test asks a real node for."""

OF_DAEMON: Final = frozenset({"process_cpu_seconds_total", "process_resident_memory_bytes"})
"""Of what Prometheus' client library tells of the daemon's own process, what dashboards ask for."""

OF_PROMETHEUS: Final = frozenset({"up", "ALERTS"})
"""What Prometheus makes by itself."""


def unknown(names: Iterable[str]) -> list[str]:
    """Those of the names of series that nobody exports."""
    known = {series for metric in METRICS.values() for series in metric.series}
    return sorted(set(names) - known - OF_RABBITMQ - OF_DAEMON - OF_PROMETHEUS)
