"""Values -> samples."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.telemetry.scene import (
    FIGURES,
    HAPROXY,
    N1,
    N2,
    N3,
    NODES,
    STATISTICS,
    backend,
    queue,
    snapshot,
    values,
    view,
)

from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.telemetry import BalancerFigures
from warrener.telemetry import registry as r
from warrener.telemetry.collect import FOREVER, collect
from warrener.telemetry.registry import METRICS, OF_QUEUES, Metric
from warrener.telemetry.values import NodeValues, Values


def of(metric: Metric, **changes: Any) -> dict[tuple[str, ...], Any]:
    return {
        sample.labels: sample.value
        for sample in collect(values(**changes))
        if sample.metric is metric
    }


def test_every_metric_of_the_registry_is_exported_with_its_labels() -> None:
    unfit = replace(STATISTICS, backends=(backend(N1, Unfit.HANGS),))
    found = list(collect(values(balancer=unfit)))
    assert {sample.metric.name for sample in found} == set(METRICS)
    for sample in found:
        assert len(sample.labels) == len(sample.metric.labels), sample


def test_no_series_is_there_twice() -> None:
    found = [(sample.metric.name, sample.labels) for sample in collect(values())]
    assert len(found) == len(set(found))


def test_what_is_not_known_is_left_out() -> None:
    nothing = Values(version="0", rabbitmq="", driver="local", nodes=())
    assert {sample.metric for sample in collect(nothing)} == {
        r.INFO,
        r.CLUSTER_NODES,
        r.CLUSTER_MEMBERS,
        r.CLUSTER_MAJORITY,
    }


def test_behind_haproxy_bytes_are_its_own_and_messages_are_not_there() -> None:
    behind = {"balancer": HAPROXY, "figures": BalancerFigures()}
    assert of(r.BYTES, **behind)[N1, "in"] == 30
    assert of(r.REJECTED, **behind) == {("unknown",): 2}
    for metric in (r.MESSAGES, r.MOVES, r.JOURNAL, r.JOURNAL_LIMIT, r.CONFIRM, r.CHANNELS):
        assert of(metric, **behind) == {}, metric.name


def test_bytes_by_node_are_those_of_the_links() -> None:
    assert of(r.BYTES) == {(N1, "in"): 11, (N1, "out"): 22}


def test_counters_by_reason_are_there_before_their_first_event() -> None:
    assert of(r.MOVES)[("drain",)] == 0
    assert of(r.MOVES)[("failover",)] == 3
    assert of(r.REJECTED)[("no_fit_node",)] == 0
    assert of(r.REJECTED)[("access_refused",)] == 2


@pytest.mark.parametrize(
    ("online", "short", "edge"),
    [(NODES, 0, 0), ((N1, N2), 1, 1), ((N1,), 1, 0)],
)
def test_queues_that_lack_members(online: Any, short: int, edge: int) -> None:
    seen = {"snapshot": snapshot(queue("a", online=online))}
    assert of(r.QUEUES_SHORT, **seen)[("quorum",)] == short
    assert of(r.QUEUES_AT_EDGE, **seen)[("quorum",)] == edge


def test_five_members_of_which_four_are_online_are_not_at_the_edge() -> None:
    five = (*NODES, N1, N2)
    seen = {"snapshot": snapshot(queue("a", members=five, online=five[:4]))}
    assert of(r.QUEUES_AT_EDGE, **seen)[("quorum",)] == 0


def test_a_member_on_a_node_that_is_down_does_not_count_as_online() -> None:
    nodes = (view(N1), view(N2), view(N3, running=False))
    seen = {"snapshot": snapshot(queue("a"), nodes=nodes)}
    assert of(r.QUEUES_SHORT, **seen)[("quorum",)] == 1


def test_a_queue_is_leaderless_without_a_leader_or_with_one_that_is_down() -> None:
    nodes = (view(N1, running=False), view(N2), view(N3))
    queues = (queue("a", N1), queue("b", None), queue("c", N2), queue("d", N1, type="classic"))
    seen = {"snapshot": snapshot(*queues, nodes=nodes)}
    assert of(r.QUEUES_LEADERLESS, **seen) == {("classic",): 1, ("quorum",): 2, ("stream",): 0}


def test_queues_with_messages_and_no_consumer() -> None:
    queues = (queue("a", messages=1, consumers=0), queue("b", consumers=0), queue("c", messages=1))
    assert of(r.QUEUES_UNTENDED, snapshot=snapshot(*queues)) == {(): 1}


def test_a_node_runs_if_driver_and_cluster_say_so() -> None:
    nodes = (
        NodeValues(N1, NodeState.RUNNING, False),
        NodeValues(N2, NodeState.RUNNING, True),
        NodeValues(N3, NodeState.DOWN, False),
    )
    seen = snapshot(nodes=(view(N1), view(N2, running=False), view(N3)))
    told = {"nodes": nodes, "snapshot": seen}
    assert of(r.NODE_RUNNING, **told) == {(N1,): 1, (N2,): 0, (N3,): 0}
    assert of(r.NODE_DRAINED, **told) == {(N1,): 0, (N2,): 1, (N3,): 0}
    assert of(r.CLUSTER_MAJORITY, **told) == {(): 0}
    assert of(r.CLUSTER_NODES, **told)[("down",)] == 1


def test_sizes_that_a_young_node_does_not_tell_yet_are_left_out() -> None:
    nodes = (view(N1, mem_used=0, disk_free=0), view(N2))
    seen = {"snapshot": snapshot(nodes=nodes)}
    assert (N1,) not in of(r.NODE_MEMORY, **seen)
    assert of(r.NODE_MEMORY, **seen)[(N2,)] == 100


def test_metrics_of_queues_are_off_unless_asked_for() -> None:
    for metric in (*OF_QUEUES, r.QUEUES_LEFT_OUT):
        assert of(metric, queue_metrics=0) == {}, metric.name


def test_metrics_of_queues_are_capped_and_the_rest_is_told() -> None:
    queues = tuple(queue(f"q{number:03}") for number in range(50))
    seen = {"snapshot": snapshot(*reversed(queues)), "queue_metrics": 20}
    assert list(of(r.QUEUE_READY, **seen)) == [("/", f"q{number:03}") for number in range(20)]
    assert of(r.QUEUES_LEFT_OUT, **seen) == {(): 30}


def test_the_number_of_series_does_not_grow_with_queues_sessions_or_kinds_of_events() -> None:
    few = len(list(collect(values(queue_metrics=0))))
    queues = tuple(queue(f"q{number}") for number in range(3000))
    events = {f"kind.{number}": 1 for number in range(5000)}
    many = list(collect(values(snapshot=snapshot(*queues), events=events, queue_metrics=0)))
    assert len(many) - few < 200


def test_infinite_is_a_large_number() -> None:
    assert of(r.HEADROOM_WITHOUT)[(N2,)] == FOREVER
    assert of(r.QUEUE_PREDICTED_TIME) == {("/", "a"): FOREVER}


def test_no_name_that_a_client_chooses_is_a_label() -> None:
    labels = {label for metric in METRICS.values() for label in metric.labels}
    assert labels <= {
        "alarm", "choice", "data_plane", "direction", "driver", "kind", "locality", "node",
        "outcome", "part", "policy", "queue", "rabbitmq", "reason", "state", "type", "version",
        "vhost", "what", "whose",
    }  # fmt: skip
    assert {m.name for m in METRICS.values() if "queue" in m.labels} == {m.name for m in OF_QUEUES}


def test_histograms_are_passed_on() -> None:
    assert of(r.HANDSHAKE) == {(): FIGURES.handshakes}
