"""Another load, another cluster: nothing is lost or doubled on the way."""

import math
from dataclasses import replace

import pytest
from tests.unit.planner.scene import N1, N2, N3, NODES, load, queue

from warrener.models.terms import WrongInput
from warrener.planner import changes
from warrener.planner.costs import QueueType

CLASSIC = QueueType.CLASSIC


def test_twice_the_load_is_twice_of_everything_that_passes() -> None:
    one = load(queue("jobs", 10, ready=7, consumers=2), through_balancer=20)
    two = changes.scaled(one, 2)
    found = two.queues[0]
    assert (found.published, found.delivered, found.acked) == (20, 20, 20)
    assert (found.ready, found.consumers, two.through_balancer) == (7, 2, 40)
    assert two.published == 20


@pytest.mark.parametrize("factor", [0, -1, math.nan, math.inf])
def test_a_factor_has_to_be_one(factor: float) -> None:
    with pytest.raises(WrongInput, match="multiplied by"):
        changes.scaled(load(), factor)


def test_a_node_that_goes_hands_its_quorum_queues_on() -> None:
    one = load(
        queue("a", 10, N1),
        queue("b", 10, N2),
        queue("c", 10, N1),
        queue("logs", 30, N1, type=CLASSIC),
        queue("other", 5, N3, type=CLASSIC),
        through_balancer=130,
    )
    left, stopped = changes.without_node(one, N1)
    assert stopped == ("logs",)
    assert {q.full_name: q.leader for q in left.queues} == {
        "a": N2,  # both lead one already
        "b": N2,
        "c": N3,
        "other": N3,
    }
    assert [node.name for node in left.running()] == [N2, N3]
    assert left.through_balancer == pytest.approx(130 * 70 / 130)


def test_without_a_majority_a_quorum_queue_stops() -> None:
    one = load(queue("a", 10, N1), queue("b", 10, N2, members=(N2, N3)))
    left, stopped = changes.without_node(one, N3)
    assert stopped == ("b",)
    left, stopped = changes.without_node(left, N2)
    assert stopped == ("a",)
    assert left.queues == ()
    assert left.through_balancer == 0


def test_what_came_in_at_a_node_that_is_gone_does_not_any_longer() -> None:
    one = load(queue("a", 10, N1, entering=((N2, 0.3), (N3, 0.3)), leaving=((N2, 1.0),)))
    left, _ = changes.without_node(one, N2)
    assert (left.queues[0].entering, left.queues[0].leaving) == (((N3, 0.3),), ())


def test_more_nodes_take_their_share_of_leaders_and_replicas() -> None:
    one = load(*[queue(f"q{number}", 10) for number in range(10)])
    five = changes.with_nodes(one, 2, same_host=False)
    assert [node.host for node in five.nodes[3:]] == ["new-host-1", "new-host-2"]
    assert {host.cores for host in five.hosts} == {2}
    leads = [q.leader for q in five.queues]
    assert {leads.count(node.name) for node in five.nodes} == {2}
    copies = [name for q in five.queues for name in q.members]
    assert {copies.count(node.name) for node in five.nodes} == {6}
    assert all(len(set(q.members)) == 3 and q.members[0] == q.leader for q in five.queues)
    assert {q.full_name for q in five.queues} == {q.full_name for q in one.queues}


def test_more_nodes_on_the_same_host_share_it() -> None:
    four = changes.with_nodes(load(queue("a", 1)), 1, same_host=True)
    assert len(four.hosts) == 3
    assert four.nodes[-1].host == "h1"


def test_the_busiest_queues_are_spread_first() -> None:
    one = load(queue("big", 90), queue("a", 30), queue("b", 30), queue("c", 30))
    found = {q.full_name: q.leader for q in changes.spread(one).queues}
    assert found["big"] == N1
    assert sorted([found["a"], found["b"], found["c"]]) == [N2, N2, N3]
    with pytest.raises(WrongInput, match="no node runs"):
        changes.spread(load(nodes=()))


def test_consumers_more_and_fewer() -> None:
    one = load(queue("jobs", 1, consumers=3), queue("jobs", 1, vhost="shop", consumers=1))
    found = changes.with_consumers(one, "jobs", lambda now: now + 3)
    assert [q.consumers for q in found.queues] == [6, 1]
    found = changes.with_consumers(one, "shop/jobs", lambda now: 9)
    assert [q.consumers for q in found.queues] == [3, 9]
    with pytest.raises(WrongInput, match="has 3 consumers; -1"):
        changes.with_consumers(one, "jobs", lambda now: now - 4)
    with pytest.raises(WrongInput, match="no queue billing; there are jobs, shop/jobs"):
        changes.with_consumers(one, "billing", lambda now: now)


def test_another_type() -> None:
    one = load(queue("logs", 1, N2, type=CLASSIC), queue("jobs", 1))
    found = changes.with_type(one, "logs", QueueType.QUORUM).queues[0]
    assert (found.type, found.leader, found.members) == (QueueType.QUORUM, N2, (N2, N1, N3))
    found = changes.with_type(one, "jobs", CLASSIC).queues[1]
    assert (found.type, found.leader, found.members) == (CLASSIC, N1, ())


def test_another_size_of_body() -> None:
    one = load(queue("logs", 1), queue("jobs", 1))
    assert [q.body for q in changes.with_body(one, changes.EVERY, 4096).queues] == [4096, 4096]
    assert [q.body for q in changes.with_body(one, "jobs", 0).queues] == [100, 0]
    with pytest.raises(WrongInput, match="-5"):
        changes.with_body(one, "jobs", -5)


def test_a_cluster_of_which_nothing_is_known_gets_no_nodes() -> None:
    with pytest.raises(WrongInput, match="no node is known"):
        changes.with_nodes(replace(load(), nodes=(), hosts=()), 1, same_host=False)
    with pytest.raises(WrongInput, match="0 nodes"):
        changes.with_nodes(load(), 0, same_host=False)


def test_a_leader_that_is_not_known_stays_so() -> None:
    one = load(queue("a", 0, None, members=NODES))
    left, stopped = changes.without_node(one, N1)
    assert (left.queues[0].leader, stopped) == (None, ())


def test_a_node_that_comes_has_the_least_share_of_those_that_are_there() -> None:
    whole = load(queue("jobs", 100))
    nodes = tuple(replace(n, cores=c) for n, c in zip(whole.nodes, (0.5, None, 1.5), strict=True))
    more = changes.with_nodes(replace(whole, nodes=nodes), 1, same_host=False)
    assert [node.cores for node in more.nodes] == [0.5, None, 1.5, 0.5]
    assert [node.cores for node in changes.with_nodes(whole, 1, same_host=False).nodes] == [
        None
    ] * 4


def test_nodes_that_leave_in_order_take_nothing_with_them() -> None:
    one = load(queue("a", 90, N3), queue("b", 30, N3, type=QueueType.CLASSIC), queue("c", 30, N1))
    two = changes.with_fewer_nodes(one, 1)
    assert [node.name for node in two.running()] == [N1, N2]
    assert {q.full_name for q in two.queues} == {"a", "b", "c"}
    assert all(q.leader in (N1, N2) and set(q.members) <= {N1, N2} for q in two.queues)
    assert changes.with_fewer_nodes(one, 1, staying=[N3]).running()[-1].name == N3
    for fewer, staying in ((0, ()), (3, ()), (1, NODES)):
        with pytest.raises(WrongInput, match="nodes are to go"):
            changes.with_fewer_nodes(one, fewer, staying=staying)
