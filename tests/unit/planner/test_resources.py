"""How busy every part is: against sums by hand."""

import math
from dataclasses import replace

import pytest
from tests.unit.planner.scene import N1, N2, N3, US, calibration, load, queue

from warrener.models.terms import WrongInput
from warrener.planner import words
from warrener.planner.costs import Act, Cost, QueueType
from warrener.planner.load import HostLoad, NodeLoad
from warrener.planner.resources import PartKind, reckon


def test_a_replicated_queue_costs_its_leader_and_its_followers() -> None:
    found = reckon(load(queue("jobs", 1_000)), calibration())
    by_node = {part.name: part for part in found.parts if part.kind is PartKind.NODE}
    assert by_node["n1"].by_load == pytest.approx(1_000 * (60 + 0.01 * 100 + 40) * US)
    assert by_node["n2"].by_load == by_node["n3"].by_load == pytest.approx(1_000 * 50 * US)
    assert {part.idle for part in by_node.values()} == {0.1}
    assert found.unknown == ()


def test_a_classic_queue_costs_only_its_own_node() -> None:
    found = reckon(load(queue("logs", 1_000, N2, type=QueueType.CLASSIC)), calibration())
    costs = {part.name: part.by_load for part in found.parts if part.kind is PartKind.NODE}
    assert costs == {"n1": 0, "n2": pytest.approx(1_000 * 50 * US), "n3": 0}


def test_what_comes_in_elsewhere_costs_both() -> None:
    there = queue("jobs", 1_000, entering=((N2, 0.5),), leaving=((N3, 1.0),))
    before = reckon(load(queue("jobs", 1_000)), calibration())
    found = reckon(load(there), calibration())

    def more(name: str) -> float:
        parts = [one.part(PartKind.NODE, name) for one in (before, found)]
        assert parts[0] is not None
        assert parts[1] is not None
        return parts[1].by_load - parts[0].by_load

    assert more("n1") == pytest.approx(0)
    assert more("n2") == pytest.approx(0.5 * 1_000 * 25 * US)
    assert more("n3") == pytest.approx(1_000 * 15 * US)


def test_a_stream_is_read_where_the_consumer_is() -> None:
    costs = {QueueType.STREAM: {Act.PUBLISH: Cost(30 * US), Act.DELIVER: Cost(20 * US)}}
    one = queue("s", 1_000, type=QueueType.STREAM, leaving=((N2, 0.25),))
    found = reckon(load(one), calibration(costs=costs))
    by_node = {part.name: part.by_load for part in found.parts if part.kind is PartKind.NODE}
    assert by_node["n1"] == pytest.approx(1_000 * (30 + 0.75 * 20) * US)
    assert by_node["n2"] == pytest.approx(1_000 * 0.25 * 20 * US)


def test_one_host_carries_everything_that_is_on_it() -> None:
    one = load(
        queue("jobs", 1_000),
        nodes=tuple(NodeLoad(name, "h1") for name in (N1, N2, N3)),
        hosts=(HostLoad("h1", 2, others=0.2),),
        balancer_host="h1",
        clients_on="h1",
        through_balancer=2_000,
    )
    costs = calibration(
        client={Act.PUBLISH: Cost(10 * US), Act.DELIVER: Cost(5 * US)}, balancer=Cost(3 * US)
    )
    host = reckon(one, costs).part(PartKind.HOST, "h1")
    assert host is not None
    assert host.idle == pytest.approx(0.2 + 3 * 0.1)
    assert host.by_load == pytest.approx((1_000 * (101 + 2 * 50 + 15) + 2_000 * 3) * US)
    elsewhere = reckon(replace(one, clients_on="", balancer_host=""), costs)
    part = elsewhere.part(PartKind.HOST, "h1")
    assert part is not None
    assert part.by_load == pytest.approx(1_000 * 201 * US)
    balancer = elsewhere.part(PartKind.BALANCER, "balancer")
    assert balancer is not None
    assert balancer.utilisation == pytest.approx(0.006)


def test_the_first_to_break_comes_first() -> None:
    found = reckon(load(queue("jobs", 4_000)), calibration())
    assert [part.breaks_at for part in found.parts] == sorted(p.breaks_at for p in found.parts)
    # The queue's own limit of 8,000 is at twice the load; n1 has 1.9 cores for 0.404.
    assert found.first is not None
    assert (found.first.kind, found.first.name) == (PartKind.QUEUE, "jobs")
    assert found.breaks_at == pytest.approx(2.0)


def test_consumers_are_a_part_if_it_is_known_how_long_they_take() -> None:
    slow = queue("jobs", 100, consumers=4, service_time=0.02)
    part = reckon(load(slow), calibration()).part(PartKind.CONSUMERS, "jobs")
    assert part is not None
    assert (part.capacity, part.utilisation, part.breaks_at) == (200, 0.5, 2.0)
    unknown = reckon(load(replace(slow, service_time=None)), calibration())
    assert unknown.part(PartKind.CONSUMERS, "jobs") is None


def test_a_part_that_is_used_up_already_breaks_below_the_present_load() -> None:
    found = reckon(load(queue("jobs", 16_000)), calibration())
    assert found.breaks_at == pytest.approx(0.5)
    assert found.first is not None
    assert found.first.utilisation == pytest.approx(2.0)


def test_without_traffic_nothing_breaks() -> None:
    found = reckon(load(queue("jobs", 0)), calibration())
    assert found.first is None
    assert found.breaks_at == math.inf
    assert found.unknown == ()


def test_what_was_not_measured_is_said_and_left_out() -> None:
    found = reckon(load(queue("s", 10, type=QueueType.STREAM), through_balancer=20), calibration())
    assert set(found.unknown) == {
        "what publish costs for stream queues",
        "what deliver costs for stream queues",
        "what replicate costs for stream queues",
        "what one stream queue gets through",
        "what a message costs the balancer",
    }


def test_a_node_that_is_down_costs_nothing() -> None:
    nodes = (NodeLoad(N1, "h1"), NodeLoad(N2, "h2", running=False), NodeLoad(N3, "h3"))
    found = reckon(load(queue("jobs", 1_000), nodes=nodes), calibration())
    assert found.part(PartKind.NODE, "n2") is None
    host = found.part(PartKind.HOST, "h2")
    assert host is not None
    assert (host.idle, host.by_load) == (0, 0)


def test_errors_of_costs_add_up_as_independent_ones() -> None:
    costs = {
        QueueType.CLASSIC: {
            Act.PUBLISH: Cost(30 * US, error=0.1),
            Act.DELIVER: Cost(40 * US, error=0.1),
        }
    }
    one = queue("logs", 1_000, type=QueueType.CLASSIC)
    part = reckon(load(one), calibration(costs=costs)).part(PartKind.NODE, "n1")
    assert part is not None
    assert part.error == pytest.approx(5 / 70)  # 3 and 4 of 70


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (load(queue("jobs", -1.0)), "queue jobs: published is -1.0"),
        (load(queue("jobs", 1, vhost="shop", body=math.nan)), "queue shop/jobs: the size"),
        (load(queue("jobs", 1, leader="n9@h")), "led by n9@h, which isn't among the nodes"),
        (load(queue("jobs", 1, service_time=0.0)), "take 0.0 s a message"),
        (load(hosts=(HostLoad("h1", 2),)), "is on host h2, which isn't given"),
        (load(hosts=tuple(HostLoad(f"h{n}", 0) for n in (1, 2, 3))), "has 0 cores"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_by_name(wrong: object, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        reckon(wrong, calibration())  # type: ignore[arg-type]


def test_a_node_with_a_quota_has_no_more_than_that() -> None:
    """Half a core of its host's two: used up long before the host."""
    whole = load(queue("jobs", 1_000))
    nodes = (replace(whole.nodes[0], cores=0.5), replace(whole.nodes[1], cores=16.0))
    small = replace(whole, nodes=(*nodes, whole.nodes[2]))
    found = reckon(small, calibration())
    part = found.node(N1)
    assert part is not None
    assert (part.capacity, part.idle) == (0.5, 0.1)
    assert found.first == part
    assert found.breaks_at == pytest.approx(0.4 / (1_000 * 101 * US))
    other = found.node(N2)
    assert other is not None
    assert other.capacity == 2  # not more than its host has
    assert words.named(part) == "the CPU of node n1 (0.5 cores)"
    assert words.remedy(part, small).startswith("more of its host's cores")
    assert words.remedy(other, small).startswith("spread the leaders")
    with pytest.raises(WrongInput, match="may use 0 cores"):
        reckon(replace(whole, nodes=(replace(whole.nodes[0], cores=0),)), calibration())
