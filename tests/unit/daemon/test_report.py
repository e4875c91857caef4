"""What three sources say of a node becomes one row; the URL is escaped."""

from dataclasses import dataclass, replace

import pytest

from warrener.daemon import report
from warrener.facts.balance import BackendStatistics, BalancerStatistics
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView

N1, N2 = NodeName("n1@localhost"), NodeName("n2@localhost")


@dataclass(frozen=True)
class Driven:
    name: NodeName
    state: NodeState = NodeState.RUNNING
    pid: int | None = 7
    host: str = "127.0.0.1"
    amqp_port: int = 5001
    management_port: int = 5002
    prometheus_port: int = 5003
    drained: bool = False
    frozen: bool = False


def backend(name: NodeName, unfit: Unfit | None = None) -> BackendStatistics:
    return BackendStatistics(
        name=name, host="127.0.0.1", port=5001, weight=50, unfit=unfit, unfit_detail="why",
        sessions=3, sessions_total=9, failures_total=0, probes_total=5, probes_failed=0,
    )  # fmt: skip


def statistics(*backends: BackendStatistics) -> BalancerStatistics:
    return BalancerStatistics(
        host="127.0.0.1", port=5000, policy=PolicyName.RANDOM, locality=False, sessions=3,
        sessions_total=9, sessions_ended=(("node_lost", 2),), rejected_total=1, bytes_in=10,
        bytes_out=20, published=30, delivered=40, backends=backends,
    )  # fmt: skip


def snapshot(*nodes: NodeView, queues: tuple[QueueView, ...] = ()) -> ClusterSnapshot:
    return ClusterSnapshot(N1, 100.0, "warren", nodes, queues)


def test_before_anything_is_known_a_node_is_what_its_driver_says() -> None:
    (row,) = report.nodes([Driven(N1, NodeState.STARTING, None)], None, None, "3.10.8")
    assert (row.state, row.running, row.pid) == (NodeState.STARTING, None, None)
    assert (row.fit, row.unfit_reason) == (False, Unfit.NOT_PROBED)
    assert (row.leaders, row.uptime, row.memory_used) == (None, None, None)
    assert row.version == "3.10.8"


def test_the_three_sources_meet_in_one_row() -> None:
    view = NodeView(
        N1, running=True, mem_alarm=True, partitions=(N2,), mem_used=5, mem_limit=6, disk_free=7,
        disk_free_limit=8, uptime=9.0, version="4.1.0", erlang_version="27",
    )  # fmt: skip
    queues = tuple(
        QueueView("/", f"q{i}", "quorum", leader) for i, leader in enumerate((N1, N1, N2))
    )
    row, other = report.nodes(
        [Driven(N1), Driven(N2)],
        statistics(backend(N1), backend(N2, Unfit.HANGS)),
        snapshot(view, NodeView(N2, running=False), queues=queues),
        "3.10.8",
    )
    assert (row.fit, row.unfit_reason, row.weight, row.sessions) == (True, None, 50, 3)
    assert (row.leaders, row.alarms, row.uptime) == (2, ("memory", "partition"), 9.0)
    assert (row.version, row.memory_used, row.memory_limit) == ("4.1.0", 5, 6)
    assert (other.fit, other.unfit_reason, other.unfit_detail) == (False, Unfit.HANGS, "why")
    assert (other.running, other.leaders) == (False, 1)


def test_an_old_view_says_nothing_about_a_node_that_is_known_to_be_down() -> None:
    view = NodeView(N1, running=True, mem_alarm=True, uptime=9.0, version="3.10.8")
    (row,) = report.nodes([Driven(N1, NodeState.DOWN, None)], None, snapshot(view), "3.10.8")
    assert (row.state, row.uptime, row.alarms) == (NodeState.DOWN, None, ())


def test_the_balancer_counts_fit_nodes() -> None:
    status = report.balancer(statistics(backend(N1), backend(N2, Unfit.REFUSES)), pid=42)
    assert (status.fit_nodes, status.pid, status.sessions_ended) == (1, 42, {"node_lost": 2})


def test_what_a_data_plane_cannot_know_is_none_and_its_process_is_its_own() -> None:
    told = replace(
        statistics(replace(backend(N1), failures_total=2, bytes_in=3, bytes_out=4)),
        data_plane=DataPlane.HAPROXY, version="2.6.12", pid=7, sessions_ended=None,
        published=None, delivered=None, moves=None, parked=None,
    )  # fmt: skip
    status = report.balancer(told, pid=42)
    assert (status.data_plane, status.data_plane_version, status.pid) == ("haproxy", "2.6.12", 7)
    assert (status.sessions_ended, status.published, status.moves) == (None, None, None)
    (row,) = report.nodes([Driven(N1)], told, None, "")
    assert (row.failures_total, row.bytes_in, row.bytes_out) == (2, 3, 4)
    assert report.balancer(replace(told, pid=None), pid=42).pid is None


@pytest.mark.parametrize(
    ("address", "credentials", "vhost", "url"),
    [
        (("127.0.0.1", 5672), ("w", "secret"), "/", "amqp://w:secret@127.0.0.1:5672/%2F"),
        (("::1", 5672), ("w", "s"), "/", "amqp://w:s@[::1]:5672/%2F"),
        (("h", 1), ("a@b", "p:/?#%"), "v/1", "amqp://a%40b:p%3A%2F%3F%23%25@h:1/v%2F1"),
    ],
)
def test_urls_are_escaped(
    address: tuple[str, int], credentials: tuple[str, str], vhost: str, url: str
) -> None:
    assert report.url(address, credentials, vhost).url == url


def test_a_node_is_drained_whoever_knows_of_it() -> None:
    """The management API of 3.10 doesn't tell: then the driver's and the balancer's word count."""
    view = NodeView(N1, running=True, being_drained=True)
    for row in (
        report.nodes([Driven(N1, drained=True)], None, None, "")[0],
        report.nodes([Driven(N1)], None, snapshot(view), "")[0],
        report.nodes([Driven(N1)], statistics(backend(N1, Unfit.DRAINED)), None, "")[0],
    ):
        assert row.being_drained
    assert not report.nodes([Driven(N1)], statistics(backend(N1)), None, "")[0].being_drained


def test_moves_and_locality_reach_the_status() -> None:
    told = replace(
        statistics(), locality=True, locality_error="no answer", moves=(("failover", 2),),
        moves_failed=1, replayed=3, parked=4, journal_bytes=5, messages_local=6, messages_remote=7,
    )  # fmt: skip
    status = report.balancer(told, pid=1)
    assert (status.locality, status.locality_error) == (True, "no answer")
    assert (status.moves, status.moves_failed, status.replayed) == ({"failover": 2}, 1, 3)
    assert (status.parked, status.journal_bytes) == (4, 5)
    assert (status.messages_local, status.messages_remote) == (6, 7)
