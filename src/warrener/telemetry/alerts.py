"""What is worth waking somebody for, and what is worth a look: alert and recording rules as data.

Those marked ``official`` are the list that RabbitMQ's own team gives (its cluster operator's
rules), with the same conditions where the same metrics exist. The others are what that list leaves
open: queues without leader or members, skew, the time that confirms take, certificates, headroom,
forecasts, and Warrener itself.

Every series carries ``cluster`` (a label of the targets), those of nodes ``node``. Rules join on
these two and never on ``instance``, which is another one for a node and for Warrener.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """What an alert asks for."""

    CRITICAL = "critical"  # clients suffer, or are about to: now
    WARNING = "warning"  # somebody should look today
    INFO = "info"  # good to know when looking at something else


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is worked out from others, under a name that says what of and how."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class Alert:
    """``after``: seconds that the condition has to last. ``summary`` and ``text`` may use
    Prometheus' templates; ``text`` says what to do."""

    name: str
    severity: Severity
    expression: str
    after: float
    summary: str
    text: str
    official: bool = False


_MINUTE: Final = 60.0
_HOUR: Final = 3600.0

RECORDINGS: Final = (
    Recording(
        "warrener:messages:rate1m",
        "sum by (cluster, direction, locality) (rate(warrener_balancer_messages_total[1m]))",
    ),
    Recording(
        "warrener:locality:ratio5m",
        'sum by (cluster) (rate(warrener_balancer_messages_total{locality="local"}[5m])) / '
        'sum by (cluster) (rate(warrener_balancer_messages_total{locality=~"local|remote"}[5m]))',
    ),
    Recording(
        "warrener:confirm_p99:seconds5m",
        "histogram_quantile(0.99, sum by (cluster, le) "
        "(rate(warrener_balancer_confirm_seconds_bucket[5m])))",
    ),
    Recording(
        "warrener:handshake_p99:seconds5m",
        "histogram_quantile(0.99, sum by (cluster, le) "
        "(rate(warrener_balancer_handshake_seconds_bucket[5m])))",
    ),
    Recording(
        "warrener:loop_lag_p99:seconds5m",
        "histogram_quantile(0.99, sum by (cluster, le) "
        "(rate(warrener_balancer_loop_lag_seconds_bucket[5m])))",
    ),
    Recording(
        # Of nodes that run: one that is down leads nothing, and nobody could change that.
        "warrener:leaders",
        'sum by (cluster, node) (warrener_node_leaders{type=~"quorum|stream"}) '
        "and on (cluster, node) (warrener_node_running == 1)",
    ),
    Recording(
        "warrener:leader_skew:ratio",
        "max by (cluster) (warrener:leaders) / avg by (cluster) (warrener:leaders)",
    ),
    Recording(
        # By weight: a node of twice the weight is meant to have twice the sessions.
        "warrener:sessions_by_weight",
        "warrener_node_sessions / on (cluster, node) (warrener_node_weight > 0) "
        "and on (cluster, node) (warrener_node_fit == 1)",
    ),
    Recording(
        "warrener:session_skew:ratio",
        "max by (cluster) (warrener:sessions_by_weight) / "
        "avg by (cluster) (warrener:sessions_by_weight)",
    ),
    Recording(
        "warrener:memory_alarm_in:seconds",
        "(warrener_node_memory_limit_bytes - warrener_node_memory_used_bytes) / "
        "(deriv(warrener_node_memory_used_bytes[1h]) > 0)",
    ),
    Recording(
        "warrener:disk_alarm_in:seconds",
        "(warrener_node_disk_free_bytes - warrener_node_disk_limit_bytes) / "
        "(-deriv(warrener_node_disk_free_bytes[1h]) > 0)",
    ),
)

ALERTS: Final = (
    # -- RabbitMQ's own list
    Alert(
        "MemoryAlarm",
        Severity.CRITICAL,
        "max by (cluster, node) (max_over_time(rabbitmq_alarms_memory_used_watermark[5m])) > 0",
        0,
        "{{ $labels.node }} has a memory alarm",
        "Publishers of the whole cluster are blocked while it lasts. See what fills the node: "
        "`warrener status`, queues that grow; let consumers catch up, or raise "
        "`vm_memory_high_watermark` with `warrener config set`.",
        official=True,
    ),
    Alert(
        "DiskAlarm",
        Severity.CRITICAL,
        "max by (cluster, node) (max_over_time(rabbitmq_alarms_free_disk_space_watermark[5m])) > 0",
        0,
        "{{ $labels.node }} has a disk alarm",
        "Publishers of the whole cluster are blocked while it lasts. Free space on the node's "
        "disk, or empty queues.",
        official=True,
    ),
    Alert(
        "FileDescriptorsNearLimit",
        Severity.WARNING,
        "max_over_time(rabbitmq_process_open_fds[5m]) / rabbitmq_process_max_fds > 0.8",
        10 * _MINUTE,
        "{{ $labels.node }} has used {{ $value | humanizePercentage }} of its file descriptors",
        "At the limit it takes no connections. Raise the limit (ulimit -n) of the user it runs as.",
        official=True,
    ),
    Alert(
        "HighConnectionChurn",
        Severity.WARNING,
        "(sum by (cluster) (rate(rabbitmq_connections_opened_total[5m])) + "
        "sum by (cluster) (rate(rabbitmq_connections_closed_total[5m]))) / "
        "sum by (cluster) (rabbitmq_connections) > 0.1 "
        "unless sum by (cluster) (rabbitmq_connections) < 100",
        10 * _MINUTE,
        "{{ $value | humanizePercentage }} of the connections are opened or closed each second",
        "Clients should keep their connections. `warrener sessions` shows who comes and goes.",
        official=True,
    ),
    Alert(
        "InsufficientEstablishedErlangDistributionLinks",
        Severity.CRITICAL,
        "(count by (cluster) (erlang_vm_dist_node_state == 3) "
        "or 0 * count by (cluster) (rabbitmq_build_info)) "
        "< count by (cluster) (rabbitmq_build_info) * "
        "(count by (cluster) (rabbitmq_build_info) - 1)",
        10 * _MINUTE,
        "only {{ $value }} links between nodes stand",
        "Each node has to reach each other one. Look at the network between them, and at "
        "`warrener status` for partitions.",
        official=True,
    ),
    Alert(
        "LowDiskWatermarkPredicted",
        Severity.WARNING,
        # The second part: there is a day of data to go by.
        "(predict_linear(rabbitmq_disk_space_available_bytes[24h], 86400) "
        "< rabbitmq_disk_space_available_limit_bytes) "
        "and count_over_time(rabbitmq_disk_space_available_limit_bytes[2h] offset 22h) > 0",
        _HOUR,
        "{{ $labels.node }} will have a disk alarm within a day, by the last day's trend",
        "Free space on its disk, or find out what grows.",
        official=True,
    ),
    Alert(
        "NoMajorityOfNodesReady",
        Severity.CRITICAL,
        'sum by (cluster) (up{job="rabbitmq"}) <= 0.5 * count by (cluster) (up{job="rabbitmq"})',
        5 * _MINUTE,
        "half of the nodes or fewer answer",
        "Quorum queues have no leaders without a majority. `warrener status` shows the nodes, "
        "`warrener node restart NODE` starts one that is down.",
        official=True,
    ),
    Alert(
        "UnroutableMessages",
        Severity.WARNING,
        "sum by (cluster) (increase(rabbitmq_global_messages_unroutable_dropped_total[5m])) >= 1 "
        "or "
        "sum by (cluster) (increase(rabbitmq_global_messages_unroutable_returned_total[5m])) >= 1",
        0,
        "messages were published that no queue takes",
        "They are dropped, or returned to publishers that ask for it. Look at exchanges and "
        "bindings.",
        official=True,
    ),
    Alert(
        "QueueHasNoConsumers",
        Severity.WARNING,
        "warrener_cluster_queues_without_consumers > 0",
        10 * _MINUTE,
        "{{ $value }} queues have messages and no consumer",
        "`warrener status` lists queues with their consumers.",
        official=True,
    ),
    Alert(
        "QueueIsGrowing",
        Severity.WARNING,
        # More than 1, for rounding errors; by queue where queues have metrics of their own.
        "(avg_over_time(warrener_queue_messages_ready[10m]) "
        "- avg_over_time(warrener_queue_messages_ready[10m] offset 1m) > 1) "
        "or (avg_over_time(warrener_cluster_messages_ready[10m]) "
        "- avg_over_time(warrener_cluster_messages_ready[10m] offset 1m) > 1)",
        10 * _MINUTE,
        "{{ if $labels.queue }}queue {{ $labels.queue }} grows{{ else }}queues grow{{ end }}",
        "More comes in than is taken. `warrener plan advise` says whether consumers are missing.",
        official=True,
    ),
    Alert(
        "NodeRestarted",
        Severity.INFO,
        "max by (cluster, node) (resets(rabbitmq_erlang_uptime_seconds[10m])) >= 1",
        0,
        "{{ $labels.node }} was restarted within the last ten minutes",
        "`warrener events` tells who did it, or that it died.",
        official=True,
    ),
    # -- queues
    Alert(
        "LeaderlessQueues",
        Severity.CRITICAL,
        "sum by (cluster) (warrener_cluster_leaderless_queues) > 0",
        _MINUTE,
        "{{ $value }} queues have no leader",
        "Nobody can publish to them or consume from them. Their nodes are down or have lost the "
        "majority: `warrener status`, `warrener node restart NODE`.",
    ),
    Alert(
        "UnderReplicatedQueues",
        Severity.WARNING,
        "sum by (cluster) (warrener_cluster_under_replicated_queues) > 0",
        10 * _MINUTE,
        "{{ $value }} queues lack a member",
        "They survive fewer lost nodes than they are meant to. Bring the node back, or "
        "`warrener node replace NODE`.",
    ),
    Alert(
        "QueuesAtBareMajority",
        Severity.WARNING,
        "sum by (cluster) (warrener_cluster_queues_at_bare_majority) > 0",
        5 * _MINUTE,
        "{{ $value }} queues would lose the majority with one more node",
        "Restart and drain nothing until the missing node is back.",
    ),
    Alert(
        "LeaderSkew",
        Severity.WARNING,
        "warrener:leader_skew:ratio > 1.5 "
        "and on (cluster) sum by (cluster) (warrener:leaders) >= 9",
        30 * _MINUTE,
        "one node leads {{ $value | humanize }} times its share of queues",
        "`warrener leaders balance` spreads them by load.",
    ),
    Alert(
        "ConnectionSkew",
        Severity.WARNING,
        "warrener:session_skew:ratio > 1.5 "
        "and on (cluster) sum by (cluster) (warrener_node_sessions) >= 20",
        30 * _MINUTE,
        "one node has {{ $value | humanize }} times its share of sessions",
        "`warrener balance rebalance` spreads them by live moves.",
    ),
    Alert(
        "RaftCommitLatencyHigh",
        Severity.WARNING,
        "rabbitmq_raft_entry_commit_latency_seconds > 0.5",
        10 * _MINUTE,
        "entries of quorum queues take {{ $value | humanizeDuration }} to commit on "
        "{{ $labels.node }}",
        "The disk or the network of a member is slow. `warrener plan show` tells how busy nodes "
        "are.",
    ),
    Alert(
        "ConfirmLatencyHigh",
        Severity.WARNING,
        "warrener:confirm_p99:seconds5m > 1",
        10 * _MINUTE,
        "1 in 100 publishes waits {{ $value | humanizeDuration }} for its confirm",
        "Nodes are busy, or their disks are slow: `warrener plan show`.",
    ),
    # -- nodes and the cluster
    Alert(
        "NodeDown",
        Severity.CRITICAL,
        "warrener_node_running == 0",
        _MINUTE,
        "{{ $labels.node }} doesn't run",
        "Its clients were moved. `warrener node restart NODE` starts it; if its disk is lost, "
        "`warrener node replace NODE`.",
    ),
    Alert(
        "NodeNotScraped",
        Severity.WARNING,
        'up{job="rabbitmq"} == 0 unless on (cluster, node) '
        "(warrener_node_running == 0 or warrener_node_drained == 1)",
        5 * _MINUTE,
        "{{ $labels.node }} runs and gives no metrics",
        "The plugin rabbitmq_prometheus is off, or its port isn't reachable from Prometheus.",
    ),
    Alert(
        "NetworkPartition",
        Severity.CRITICAL,
        "warrener_node_unseen_nodes > 0",
        _MINUTE,
        "{{ $labels.node }} doesn't see {{ $value }} of the other nodes",
        "Mend the network between them; docs/partitions.md says what happens meanwhile.",
    ),
    Alert(
        "MemoryAlarmPredicted",
        Severity.WARNING,
        "warrener:memory_alarm_in:seconds < 14400 and on (cluster, node) "
        "(warrener_node_memory_used_bytes > 0.5 * warrener_node_memory_limit_bytes)",
        15 * _MINUTE,
        "{{ $labels.node }} has a memory alarm in {{ $value | humanizeDuration }}, by the last "
        "hour's trend",
        "Publishers will be blocked. See which queues grow: `warrener plan show`.",
    ),
    Alert(
        "DiskAlarmPredicted",
        Severity.WARNING,
        "warrener:disk_alarm_in:seconds < 14400",
        15 * _MINUTE,
        "{{ $labels.node }} has a disk alarm in {{ $value | humanizeDuration }}, by the last "
        "hour's trend",
        "Publishers will be blocked. Free space, or see which queues grow: `warrener plan show`.",
    ),
    Alert(
        "HeadroomLostWithoutOneNode",
        Severity.WARNING,
        "min by (cluster) (warrener_planner_headroom_without_node_ratio) < 1",
        15 * _MINUTE,
        "with one node gone the others carry {{ $value | humanizePercentage }} of the load",
        "No node can be spared. `warrener plan advise` says what to change.",
    ),
    Alert(
        "HeadroomLow",
        Severity.WARNING,
        "warrener_planner_headroom_ratio < 1.2",
        15 * _MINUTE,
        "the first part breaks at {{ $value | humanizePercentage }} of today's load",
        "`warrener plan show` names it and what helps.",
    ),
    Alert(
        "CertificateExpiresSoon",
        Severity.WARNING,
        "warrener_certificate_expiry_timestamp_seconds - time() < 14 * 86400",
        _HOUR,
        "the {{ $labels.what }} of {{ $labels.whose }} ends in {{ $value | humanizeDuration }}",
        "Warrener renews what it made by itself, long before; this one is yours, or renewal fails: "
        "`warrener tls show`, `warrener events`.",
    ),
    Alert(
        "ClusterDrift",
        Severity.INFO,
        "warrener_cluster_drift_steps > 0",
        _HOUR,
        "the cluster differs from its description in {{ $value }} steps",
        "`warrener diff` shows them, `warrener apply` takes them.",
    ),
    # -- the balancer
    Alert(
        "WarrenerDown",
        Severity.CRITICAL,
        'up{job="warrener"} == 0',
        _MINUTE,
        "Warrener doesn't answer",
        "Clients can't connect through it. `warrener up` starts it again; nodes that a killed "
        "daemon left are found.",
    ),
    Alert(
        "SessionMovesFailing",
        Severity.WARNING,
        "sum by (cluster) (increase(warrener_balancer_channel_moves_failed_total[10m])) >= 5 "
        "and on (cluster) (sum by (cluster) "
        "(increase(warrener_balancer_channel_moves_failed_total[10m])) > 0.1 * "
        "sum by (cluster) (increase(warrener_balancer_channel_moves_total[10m])))",
        5 * _MINUTE,
        "{{ $value | humanize }} moves of channels came to nothing in ten minutes",
        "Clients don't settle in time, or nodes refuse links (limits of users and virtual hosts): "
        "`warrener explain`.",
    ),
    Alert(
        "ClientsTurnedAway",
        Severity.CRITICAL,
        "sum by (cluster, reason) (increase("
        'warrener_balancer_rejected_clients_total{reason=~"no_fit_node|limit"}[5m])) >= 1',
        0,
        "clients couldn't connect: {{ $labels.reason }}",
        "no_fit_node: no node takes sessions, see `warrener status`; limit: more clients than the "
        "limit of open files allows.",
    ),
    Alert(
        "JournalNearLimit",
        Severity.WARNING,
        "warrener_balancer_journal_bytes / warrener_balancer_journal_limit_bytes > 0.8",
        5 * _MINUTE,
        "unconfirmed publishes take {{ $value | humanizePercentage }} of what may be kept",
        "At the limit publishers are slowed down. Confirms are late: nodes are busy.",
    ),
    Alert(
        "EventLoopLag",
        Severity.WARNING,
        "warrener:loop_lag_p99:seconds5m > 0.25",
        5 * _MINUTE,
        "Warrener's event loop is {{ $value | humanizeDuration }} late",
        "The balancer gets too little CPU, or carries all that one core can: `warrener plan show`.",
    ),
    Alert(
        "ClusterViewStale",
        Severity.WARNING,
        "warrener_cluster_view_age_seconds > 30",
        _MINUTE,
        "no node has told about the cluster for {{ $value | humanizeDuration }}",
        "Leaders aren't known; the balancer goes by its probes alone. `warrener status` says why.",
    ),
)
