"""For each alert, series under which it fires and series under which it doesn't, in promtool's own
notation: a value, then how it goes on each minute (``5+2x10``: eleven values from 5 to 25).

Each case differs from its counterpart by one thing.
"""

from dataclasses import dataclass

N1, N2, N3 = (f'cluster="w",node="n{number}"' for number in (1, 2, 3))
W = 'cluster="w"'

Series = dict[str, str]


@dataclass(frozen=True)
class Case:
    """``at``: minutes after which is looked. ``labels`` are those that the alert has beside
    ``severity``."""

    fires: Series
    quiet: Series
    at: int
    labels: dict[str, str]


def _nodes(metric: str, *values: str) -> Series:
    return {f"{metric}{{{node}}}": value for node, value in zip((N1, N2, N3), values, strict=False)}


def _bucket(metric: str, fast: str, all_: str) -> Series:
    """Observations: up to 0.1 s, and in all; the rest took up to 5 s."""
    return {
        f'{metric}_bucket{{{W},le="0.1"}}': fast,
        f'{metric}_bucket{{{W},le="5"}}': all_,
        f'{metric}_bucket{{{W},le="+Inf"}}': all_,
    }


CLUSTER = {"cluster": "w"}
NODE1 = {"cluster": "w", "node": "n1"}
UP = 'up{job="rabbitmq",%s}'
PEERS = 'erlang_vm_dist_node_state{%s,peer="%s"}'


def _links(last: str) -> Series:
    pairs = [(N1, "n2"), (N1, "n3"), (N2, "n1"), (N2, "n3"), (N3, "n1")]
    return {
        **{PEERS % pair: "3x30" for pair in pairs},
        PEERS % (N3, "n2"): last,
        **_nodes("rabbitmq_build_info", "1x30", "1x30", "1x30"),
    }


CASES: dict[str, Case] = {
    "MemoryAlarm": Case(
        _nodes("rabbitmq_alarms_memory_used_watermark", "1x10", "0x10"),
        _nodes("rabbitmq_alarms_memory_used_watermark", "0x10", "0x10"),
        5,
        NODE1,
    ),
    "DiskAlarm": Case(
        _nodes("rabbitmq_alarms_free_disk_space_watermark", "1x10", "0x10"),
        _nodes("rabbitmq_alarms_free_disk_space_watermark", "0x10", "0x10"),
        5,
        NODE1,
    ),
    "FileDescriptorsNearLimit": Case(
        _nodes("rabbitmq_process_open_fds", "850x20")
        | _nodes("rabbitmq_process_max_fds", "1000x20"),
        _nodes("rabbitmq_process_open_fds", "790x20")
        | _nodes("rabbitmq_process_max_fds", "1000x20"),
        15,
        NODE1,
    ),
    "HighConnectionChurn": Case(
        _nodes("rabbitmq_connections_opened_total", "0+600x30")
        | _nodes("rabbitmq_connections_closed_total", "0+600x30")
        | _nodes("rabbitmq_connections", "150x30"),
        # As much coming and going, but of few connections.
        _nodes("rabbitmq_connections_opened_total", "0+600x30")
        | _nodes("rabbitmq_connections_closed_total", "0+600x30")
        | _nodes("rabbitmq_connections", "90x30"),
        20,
        CLUSTER,
    ),
    "InsufficientEstablishedErlangDistributionLinks": Case(
        _links("1x30"), _links("3x30"), 15, CLUSTER
    ),
    "LowDiskWatermarkPredicted": Case(
        _nodes("rabbitmq_disk_space_available_bytes", "4000-1x1560")
        | _nodes("rabbitmq_disk_space_available_limit_bytes", "1500x1560"),
        _nodes("rabbitmq_disk_space_available_bytes", "9000-1x1560")
        | _nodes("rabbitmq_disk_space_available_limit_bytes", "1500x1560"),
        1550,
        NODE1,
    ),
    "NoMajorityOfNodesReady": Case(
        {UP % N1: "1x20", UP % N2: "0x20", UP % N3: "0x20"},
        {UP % N1: "1x20", UP % N2: "1x20", UP % N3: "0x20"},
        10,
        CLUSTER,
    ),
    "UnroutableMessages": Case(
        _nodes("rabbitmq_global_messages_unroutable_dropped_total", "0 0 5x10"),
        _nodes("rabbitmq_global_messages_unroutable_dropped_total", "5x12"),
        5,
        CLUSTER,
    ),
    "QueueHasNoConsumers": Case(
        {f"warrener_cluster_queues_without_consumers{{{W}}}": "2x20"},
        {f"warrener_cluster_queues_without_consumers{{{W}}}": "2x5 0x15"},
        15,
        CLUSTER,
    ),
    "QueueIsGrowing": Case(
        {f"warrener_cluster_messages_ready{{{W}}}": "0+10x40"},
        {f"warrener_cluster_messages_ready{{{W}}}": "500x40"},
        35,
        CLUSTER,
    ),
    "NodeRestarted": Case(
        _nodes("rabbitmq_erlang_uptime_seconds", "9000+60x5 0+60x10"),
        _nodes("rabbitmq_erlang_uptime_seconds", "9000+60x20"),
        10,
        NODE1,
    ),
    "LeaderlessQueues": Case(
        {f'warrener_cluster_leaderless_queues{{{W},type="quorum"}}': "1x5"},
        # For less than a minute, as an election takes.
        {f'warrener_cluster_leaderless_queues{{{W},type="quorum"}}': "0 0 0 1 0 0"},
        3,
        CLUSTER,
    ),
    "UnderReplicatedQueues": Case(
        {f'warrener_cluster_under_replicated_queues{{{W},type="quorum"}}': "3x20"},
        {f'warrener_cluster_under_replicated_queues{{{W},type="quorum"}}': "3x5 0x15"},
        15,
        CLUSTER,
    ),
    "QueuesAtBareMajority": Case(
        {f'warrener_cluster_queues_at_bare_majority{{{W},type="quorum"}}': "3x20"},
        {f'warrener_cluster_queues_at_bare_majority{{{W},type="quorum"}}': "0x20"},
        10,
        CLUSTER,
    ),
    "LeaderSkew": Case(
        {
            f'warrener_node_leaders{{{node},type="quorum"}}': f"{count}x40"
            for node, count in ((N1, 8), (N2, 2), (N3, 2))
        }
        | _nodes("warrener_node_running", "1x40", "1x40", "1x40"),
        # Two of three nodes have all, as the third is down.
        {
            f'warrener_node_leaders{{{node},type="quorum"}}': f"{count}x40"
            for node, count in ((N1, 6), (N2, 6), (N3, 0))
        }
        | _nodes("warrener_node_running", "1x40", "1x40", "0x40"),
        35,
        CLUSTER,
    ),
    "ConnectionSkew": Case(
        _nodes("warrener_node_sessions", "20x40", "5x40", "5x40")
        | _nodes("warrener_node_weight", "100x40", "100x40", "100x40")
        | _nodes("warrener_node_fit", "1x40", "1x40", "1x40"),
        # As uneven, and meant to be.
        _nodes("warrener_node_sessions", "20x40", "5x40", "5x40")
        | _nodes("warrener_node_weight", "400x40", "100x40", "100x40")
        | _nodes("warrener_node_fit", "1x40", "1x40", "1x40"),
        35,
        CLUSTER,
    ),
    "RaftCommitLatencyHigh": Case(
        _nodes("rabbitmq_raft_entry_commit_latency_seconds", "0.9x20"),
        _nodes("rabbitmq_raft_entry_commit_latency_seconds", "0.02x20"),
        15,
        NODE1,
    ),
    "ConfirmLatencyHigh": Case(
        _bucket("warrener_balancer_confirm_seconds", "0+90x30", "0+100x30"),
        _bucket("warrener_balancer_confirm_seconds", "0+100x30", "0+100x30"),
        20,
        CLUSTER,
    ),
    "NodeDown": Case(
        _nodes("warrener_node_running", "0x5", "1x5"),
        _nodes("warrener_node_running", "1x5", "1x5"),
        3,
        NODE1,
    ),
    "NodeNotScraped": Case(
        {UP % N1: "0x20", f"warrener_node_running{{{N1}}}": "1x20"},
        # It is down, which another alert says.
        {UP % N1: "0x20", f"warrener_node_running{{{N1}}}": "0x20"},
        10,
        NODE1 | {"job": "rabbitmq"},
    ),
    "NetworkPartition": Case(
        _nodes("warrener_node_unseen_nodes", "1x5", "0x5"),
        _nodes("warrener_node_unseen_nodes", "0x5", "0x5"),
        3,
        NODE1,
    ),
    "MemoryAlarmPredicted": Case(
        _nodes("warrener_node_memory_used_bytes", "500+1x120")
        | _nodes("warrener_node_memory_limit_bytes", "800x120"),
        # It grows as fast, from further away.
        _nodes("warrener_node_memory_used_bytes", "500+1x120")
        | _nodes("warrener_node_memory_limit_bytes", "1000x120"),
        100,
        NODE1,
    ),
    "DiskAlarmPredicted": Case(
        _nodes("warrener_node_disk_free_bytes", "400-1x120")
        | _nodes("warrener_node_disk_limit_bytes", "100x120"),
        _nodes("warrener_node_disk_free_bytes", "400+1x120")
        | _nodes("warrener_node_disk_limit_bytes", "100x120"),
        100,
        NODE1,
    ),
    "HeadroomLostWithoutOneNode": Case(
        _nodes("warrener_planner_headroom_without_node_ratio", "0.9x20", "1.5x20"),
        _nodes("warrener_planner_headroom_without_node_ratio", "1.1x20", "1.5x20"),
        18,
        CLUSTER,
    ),
    "HeadroomLow": Case(
        {f"warrener_planner_headroom_ratio{{{W}}}": "1.1x20"},
        {f"warrener_planner_headroom_ratio{{{W}}}": "1.3x20"},
        18,
        CLUSTER,
    ),
    "CertificateExpiresSoon": Case(
        # Seconds since 1970, and a test begins then.
        {
            f"warrener_certificate_expiry_timestamp_seconds"
            f'{{{W},whose="n1",what="certificate"}}': "1000000x90"
        },
        {
            f"warrener_certificate_expiry_timestamp_seconds"
            f'{{{W},whose="n1",what="certificate"}}': "2000000x90"
        },
        80,
        CLUSTER | {"whose": "n1", "what": "certificate"},
    ),
    "ClusterDrift": Case(
        {f"warrener_cluster_drift_steps{{{W}}}": "2x90"},
        {f"warrener_cluster_drift_steps{{{W}}}": "0x90"},
        80,
        CLUSTER,
    ),
    "WarrenerDown": Case(
        {f'up{{job="warrener",{W}}}': "0x5"},
        {f'up{{job="warrener",{W}}}': "1x5"},
        3,
        CLUSTER | {"job": "warrener"},
    ),
    "SessionMovesFailing": Case(
        {
            f"warrener_balancer_channel_moves_failed_total{{{W}}}": "0+2x30",
            f'warrener_balancer_channel_moves_total{{{W},reason="drain"}}': "0+5x30",
        },
        # As many fail, of many more.
        {
            f"warrener_balancer_channel_moves_failed_total{{{W}}}": "0+2x30",
            f'warrener_balancer_channel_moves_total{{{W},reason="drain"}}': "0+500x30",
        },
        20,
        CLUSTER,
    ),
    "ClientsTurnedAway": Case(
        {f'warrener_balancer_rejected_clients_total{{{W},reason="no_fit_node"}}': "0 0 3x10"},
        # A wrong password is its client's business.
        {f'warrener_balancer_rejected_clients_total{{{W},reason="access_refused"}}': "0 0 3x10"},
        5,
        CLUSTER | {"reason": "no_fit_node"},
    ),
    "JournalNearLimit": Case(
        {
            f"warrener_balancer_journal_bytes{{{W}}}": "90x20",
            f"warrener_balancer_journal_limit_bytes{{{W}}}": "100x20",
        },
        {
            f"warrener_balancer_journal_bytes{{{W}}}": "70x20",
            f"warrener_balancer_journal_limit_bytes{{{W}}}": "100x20",
        },
        10,
        CLUSTER,
    ),
    "EventLoopLag": Case(
        _bucket("warrener_balancer_loop_lag_seconds", "0+90x30", "0+100x30"),
        _bucket("warrener_balancer_loop_lag_seconds", "0+100x30", "0+100x30"),
        15,
        CLUSTER,
    ),
    "ClusterViewStale": Case(
        {f"warrener_cluster_view_age_seconds{{{W}}}": "40x5"},
        {f"warrener_cluster_view_age_seconds{{{W}}}": "2x5"},
        3,
        CLUSTER,
    ),
}
