"""Values of a small cluster under some load, for tests of what is made of them."""

from dataclasses import replace
from typing import Any

from warrener.facts.balance import BackendStatistics, BalancerStatistics
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.facts.telemetry import (
    BalancerFigures,
    Decision,
    Direction,
    Distribution,
    Locality,
    NodeFigures,
)
from warrener.telemetry.values import Ending, NodeValues, PlanValues, QueuePlan, Values

N1, N2, N3 = NODES = tuple(NodeName(f"n{number}@localhost") for number in (1, 2, 3))


def view(name: NodeName, **changes: Any) -> NodeView:
    base = NodeView(
        name, running=True, mem_used=100, mem_limit=400, disk_free=9000, disk_free_limit=50,
        fd_used=20, fd_total=1000, uptime=60.0, version="3.10.8",
    )  # fmt: skip
    return replace(base, **changes)


def queue(name: str, leader: NodeName | None = N1, **changes: Any) -> QueueView:
    base = QueueView("/", name, "quorum", leader, members=NODES, online=NODES, consumers=1)
    return replace(base, **changes)


def backend(name: NodeName, unfit: Unfit | None = None) -> BackendStatistics:
    return BackendStatistics(
        name=name, host="127.0.0.1", port=5001, weight=100, unfit=unfit, unfit_detail="",
        sessions=2, sessions_total=5, failures_total=1, probes_total=9, probes_failed=3,
    )  # fmt: skip


STATISTICS = BalancerStatistics(
    host="127.0.0.1", port=5672, policy=PolicyName.LEASTCONN, locality=True, sessions=4,
    sessions_total=11, sessions_ended=(("client_closed", 7),), rejected_total=2, bytes_in=1000,
    bytes_out=2000, published=10, delivered=8, backends=tuple(map(backend, NODES)),
    moves=(("failover", 3), ("locality", 5)), moves_failed=1, replayed=4, parked=1,
    journal_bytes=77, messages_local=15, messages_remote=3,
)  # fmt: skip

HAPROXY = replace(
    STATISTICS, sessions_ended=None, moves=None, moves_failed=None, replayed=None, parked=None,
    journal_bytes=None, locality=False, data_plane=DataPlane.HAPROXY,
    backends=tuple(replace(row, bytes_in=30, bytes_out=40) for row in STATISTICS.backends),
)  # fmt: skip

FIGURES = BalancerFigures(
    nodes=(
        NodeFigures(
            N1, channels=3, links=2, bytes_in=11, bytes_out=22,
            messages=(
                (Direction.IN, Locality.LOCAL, 7),
                (Direction.OUT, Locality.REMOTE, 2),
            ),
        ),
    ),
    decisions=(Decision("leastconn", "policy", N1, 6),),
    rejected=(("access_refused", 2),),
    handshakes=Distribution((0.01, 0.1), (4, 1, 0), 0.08),
    confirms=Distribution((0.01, 0.1), (0, 2, 1), 0.9),
    loop_lag=Distribution((0.001,), (5, 0), 0.002),
)  # fmt: skip

PLAN = PlanValues(
    at=900.0, load=50.0, capacity=200.0, headroom=4.0,
    headroom_without={N1: 3.0, N2: float("inf")}, rho={"queue": 0.25, "node": 0.1},
    node_rho={N1: 0.1}, predicted_time=0.02, measured_time=0.03, predicted_length=1.0,
    measured_length=2.0, growing=1, memory_alarm_in=3600.0,
    queues={("/", "a"): QueuePlan(0.25, float("inf"), 3.0)},
)  # fmt: skip


def snapshot(*queues: QueueView, nodes: tuple[NodeView, ...] = ()) -> ClusterSnapshot:
    return ClusterSnapshot(N1, 100.0, "warren", nodes or tuple(map(view, NODES)), queues)


def values(**changes: Any) -> Values:
    base = Values(
        version="0.1.0",
        rabbitmq="3.10.8",
        driver="local",
        nodes=tuple(NodeValues(name, NodeState.RUNNING, False) for name in NODES),
        balancer=STATISTICS,
        figures=FIGURES,
        journal_limit=512,
        snapshot=snapshot(queue("a", messages=3, messages_ready=2, messages_unacknowledged=1)),
        view_age=1.5,
        drift=2,
        endings=(Ending("n1", "certificate", 2e9),),
        events={"node.unfit": 2},
        plan=PLAN,
        queue_metrics=10,
    )
    return replace(base, **changes)
