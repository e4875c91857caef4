"""What nodes have for sessions: by cores, quotas, what else they do, and how fast they are."""

from dataclasses import replace

import pytest
from tests.unit.planner.scene import N1, N2, N3, NODES, US, calibration, load, queue

from warrener.facts.ids import NodeName
from warrener.planner.capacity import Bound, rooms
from warrener.planner.load import HostLoad, Load, NodeLoad


def with_nodes(one: Load, **changes: object) -> Load:
    return replace(one, nodes=tuple(replace(node, **changes) for node in one.nodes))


def on_one_host(*quotas: float | None, cores: int = 2, others: float = 0.0) -> Load:
    nodes = tuple(
        NodeLoad(NodeName(f"n{number}@h1"), "h1", cores=quota)
        for number, quota in enumerate(quotas, 1)
    )
    return Load(nodes=nodes, hosts=(HostLoad("h1", cores, others),), queues=())


def test_a_host_of_its_own_less_what_else_runs_there() -> None:
    hosts = (HostLoad("h1", 2, 0.5), HostLoad("h2", 2), HostLoad("h3", 4))
    found = rooms(load(hosts=hosts), calibration()).nodes
    assert [room.cores for room in found] == [1.5, 2, 4]
    assert [room.free for room in found] == pytest.approx([1.4, 1.9, 3.9])  # 0.1 idle
    assert {room.bound for room in found} == {Bound.HOST}
    assert {room.shared for room in found} == {""}


def test_a_quota_is_less_than_the_host() -> None:
    found = rooms(on_one_host(0.6, 0.3, 0.3), None)
    assert [(room.cores, room.bound, room.shared) for room in found.nodes] == [
        (0.6, Bound.QUOTA, ""),
        (0.3, Bound.QUOTA, ""),
        (0.3, Bound.QUOTA, ""),
    ]
    assert found.guessed == ("what a message costs wasn't measured: only cores are gone by",)


def test_nodes_that_share_a_host_share_what_is_free_there() -> None:
    found = rooms(on_one_host(None, None, 0.2, others=0.4), None).nodes
    assert [room.cores for room in found] == pytest.approx([0.7, 0.7, 0.2])
    assert [room.bound for room in found] == [Bound.SHARE, Bound.SHARE, Bound.QUOTA]
    assert {room.shared for room in found} == {"h1"}


def test_queues_that_a_node_leads_are_no_room_for_sessions() -> None:
    """2,000 quorum messages a second in and out: 61 + 40 us each at the leader, 50 at followers."""
    first, second, third = rooms(load(queue("q", 2_000, N1)), calibration()).nodes
    assert first.leads == pytest.approx(2_000 * 101 * US)
    assert second.leads == third.leads == pytest.approx(2_000 * 50 * US)
    assert first.free == pytest.approx(2 - 0.1 - 0.202)


def test_what_follows_clients_is_theirs() -> None:
    one = load(queue("q", 2_000, N1, entering=((N2, 0.5),), leaving=((N3, 1.0),)))
    first, second, third = rooms(one, calibration()).nodes
    assert (first.enters, second.enters, third.enters) == pytest.approx((0, 0.025, 0.03))
    assert second.leads == pytest.approx(2_000 * 50 * US)
    assert second.free == pytest.approx(1.8)


def test_messages_that_cost_more_than_calibrated_take_more_room() -> None:
    one = load(queue("q", 2_000, N1))
    seen = [0.1 + 2 * 0.202, 0.1 + 2 * 0.1, 0.1 + 2 * 0.1]
    busy = replace(
        one, nodes=tuple(replace(n, cpu=cpu) for n, cpu in zip(one.nodes, seen, strict=True))
    )
    found = rooms(busy, calibration())
    assert found.scale == pytest.approx(2)
    assert found.nodes[0].leads == pytest.approx(0.404)
    idle = rooms(with_nodes(load(queue("q", 1)), cpu=0.9), calibration())
    assert (idle.scale, len(idle.guessed)) == (1.0, 1)  # too little load to tell
    wild = rooms(with_nodes(one, cpu=1.9), calibration())
    assert wild.scale == 4.0


def test_a_slow_node_is_told_by_what_the_same_work_takes_there() -> None:
    one = load(*[queue(f"q{number}", 1_000, node) for number, node in enumerate(NODES)])
    each = 1_000 * 201 * US
    seen = (0.1 + 2 * each, 0.1 + each, 0.1 + each)
    slow = replace(
        one, nodes=tuple(replace(n, cpu=cpu) for n, cpu in zip(one.nodes, seen, strict=True))
    )
    speeds = [room.speed for room in rooms(slow, calibration()).nodes]
    assert speeds == pytest.approx([0.67, 1.33, 1.33])
    uneven = replace(slow, queues=(queue("q0", 9_000, N1, type="classic"), *slow.queues[1:]))
    assert {room.speed for room in rooms(uneven, calibration()).nodes} == {1.0}


def test_there_is_always_a_little_room() -> None:
    found = rooms(load(queue("q", 60_000, N1)), calibration()).nodes
    assert found[0].free == pytest.approx(0.04)
    assert "for the queues that it leads and copies: 0.04 for sessions" in found[0].told


def test_clients_and_the_balancer_on_the_host_take_their_part() -> None:
    from warrener.planner.costs import Act, Cost

    costs = calibration(client={Act.PUBLISH: Cost(10 * US)}, balancer=Cost(10 * US))
    one = load(queue("q", 10_000, N1), clients_on="h2", balancer_host="h3", through_balancer=20_000)
    found = rooms(one, costs).nodes
    assert [room.cores for room in found] == pytest.approx([2, 1.9, 1.8])
