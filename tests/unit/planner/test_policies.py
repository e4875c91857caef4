"""Policies tried on a workload: which wins where theory says so, and that chance isn't a winner."""

import math
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.planner.scene import N1, N2, N3, NODES, calibration, load, queue

from warrener.facts.settings import PolicyName
from warrener.models.queueing import mmc
from warrener.models.terms import Steady, WrongInput
from warrener.planner.costs import Act, Cost, QueueType
from warrener.planner.load import Load
from warrener.planner.policies import PolicyAdvice, PolicyLine, choose
from warrener.planner.sessions import SessionKind, Sessions

P = PolicyName


def sessions(*kinds: tuple[int, float], **changes: Any) -> Sessions:
    made = Sessions(
        kinds=tuple(SessionKind(number, rate) for number, rate in kinds),
        policy=P.ROUNDROBIN,
        locality=False,
        weights=dict.fromkeys(NODES, 100),
    )
    return replace(made, **changes)


def work(*cores: float, rate: float = 500) -> Load:
    """Six queues, led in turn, whose clients come by all nodes alike."""
    queues = []
    for number in range(6):
        leader = NODES[number % 3]
        others = tuple((node, 1 / 3) for node in NODES if node != leader)
        queues.append(queue(f"q{number}", rate, leader, entering=others, leaving=others))
    one = load(*queues)
    nodes = tuple(replace(n, cores=c) for n, c in zip(one.nodes, cores, strict=True))
    return replace(one, nodes=nodes)


def line(found: PolicyAdvice, policy: PolicyName) -> PolicyLine:
    return next(one for one in found.lines if one.policy is policy)


def test_equal_sessions_on_equal_nodes_are_nobodys_choice() -> None:
    found = choose(work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0)))
    assert found.keep
    assert found.commands == ()
    assert "no real difference" in found.found
    assert {one.policy for one in found.lines} == set(PolicyName)
    assert line(found, P.ROUNDROBIN).now


def test_the_same_seed_gives_the_same_answer() -> None:
    asked = (work(0.6, 0.6, 0.6), calibration(), sessions((3, 900.0), (30, 110.0)))
    assert choose(*asked, seed=7) == choose(*asked, seed=7)
    assert choose(*asked, seed=7).lines != choose(*asked, seed=8).lines


def test_unequal_nodes_take_weights() -> None:
    found = choose(work(0.9, 0.48, 0.48), calibration(), sessions((60, 100.0)))
    assert not found.keep
    assert found.best.policy in (P.WEIGHTED, P.WEIGHTED_LEASTCONN, P.P2C)
    assert found.commands[-1] == f"warrener balance set-policy {found.best.policy}"
    assert found.commands[0].startswith("warrener balance set-weight n1 ")
    for blind in (P.ROUNDROBIN, P.LEASTCONN):
        assert not line(found, blind).equal
    assert found.gain > 0.03
    already = replace(sessions((60, 100.0)), policy=found.best.policy, weights=found.weights)
    assert choose(work(0.9, 0.48, 0.48), calibration(), already).keep
    follows = sessions((60, 100.0), follows_capacity=True)
    then = choose(work(0.9, 0.48, 0.48), calibration(), follows)
    assert then.commands == (f"warrener balance set-policy {then.best.policy}",)


def test_one_address_is_one_node_for_source_hash() -> None:
    asked = sessions((60, 100.0), policy=P.SOURCE, addresses={"10.0.0.1": 60})
    found = choose(work(0.6, 0.6, 0.6), calibration(), asked)
    assert not found.keep
    assert found.best.policy is P.ROUNDROBIN  # of those that are as good the simplest
    assert line(found, P.SOURCE).skew.value > line(found, P.ROUNDROBIN).skew.value
    spread = sessions((60, 100.0), policy=P.SOURCE)
    assert choose(work(0.6, 0.6, 0.6), calibration(), spread).keep


def test_a_node_that_has_more_to_do_than_it_can_is_told() -> None:
    asked = sessions((60, 100.0), policy=P.SOURCE, addresses={"10.0.0.1": 60})
    found = choose(work(0.36, 0.36, 0.36), calibration(), asked)
    assert found.now.full == 1.0
    assert found.best.full == 0.0
    assert "no node has more to do than it can" in found.found


def test_sessions_that_come_and_go_make_chance_worse_than_counting() -> None:
    """Queues follow their sessions, which are few and busy: who counts keeps them apart."""
    follow = [queue(f"q{number}", 700, NODES[number % 3]) for number in range(6)]
    one = load(*follow)
    one = replace(one, nodes=tuple(replace(node, cores=0.62) for node in one.nodes))
    found = choose(one, calibration(), sessions((12, 700.0), policy=P.RANDOM, lifetime=60.0))
    counts, dice = line(found, P.LEASTCONN), line(found, P.RANDOM)
    assert counts.skew.value < dice.skew.value
    assert counts.response_time.value < dice.response_time.value
    assert not found.keep


def test_with_locality_the_home_does_not_matter() -> None:
    found = choose(
        work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0), locality=True, local=1.0)
    )
    assert all(one.behind.value == 0 for one in found.lines)
    assert found.other is not None
    assert found.other.locality is False
    assert found.other.behind.low > 0  # remote hops cost
    without = choose(work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0), can_be_placed=False))
    assert without.other is None


def test_response_times_are_those_of_the_formula() -> None:
    """All work at the leaders, each a station of its own: M/M/1."""
    costs = calibration(
        costs={QueueType.CLASSIC: {Act.PUBLISH: Cost(1e-3), Act.DELIVER: Cost(1e-3)}},
        idle=dict.fromkeys(NODES, 0.0),
    )
    queues = [queue(f"q{node}", 350, node, type=QueueType.CLASSIC) for node in NODES]
    one = load(*queues)
    one = replace(one, nodes=tuple(replace(node, cores=1.0) for node in one.nodes))
    found = choose(one, costs, sessions((300, 7.0), locality=True, local=1.0))
    station = mmc(700, 1000, 1)
    assert isinstance(station, Steady)
    assert found.now.response_time.value == pytest.approx(station.response_time, rel=0.1)
    assert found.now.p99.value == pytest.approx(station.percentile(0.99), rel=0.1)


def test_clients_that_come_past_the_balancer_are_no_session() -> None:
    half = choose(work(0.6, 0.6, 0.6), calibration(), sessions((60, 50.0)))
    whole = choose(work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0)))
    assert half.now.skew.value < whole.now.skew.value + 0.05
    assert half.now.full == 0


@pytest.mark.parametrize(
    ("one", "asked", "told"),
    [
        (work(1, 1, 1), sessions(), "no client is connected"),
        (work(1, 1, 1), sessions((5, 0.0)), "none of the sessions sends or gets anything"),
        (work(1, 1, 1, rate=0), sessions((5, 1.0)), "no message went through"),
        (load(queue("q", 5, N1), nodes=load().nodes[:1]), sessions((5, 1.0)), "there is one node"),
    ],
)
def test_what_can_not_be_tried(one: Load, asked: Sessions, told: str) -> None:
    one = replace(
        one, queues=tuple(q for q in one.queues if q.leader in {n.name for n in one.nodes})
    )
    with pytest.raises(WrongInput, match=told):
        choose(one, calibration(), asked)


def test_progress_and_many_sessions() -> None:
    said: list[tuple[int, int]] = []
    many = sessions((30_000, 0.2), lifetime=math.inf)
    found = choose(
        work(0.6, 0.6, 0.6),
        calibration(),
        many,
        progress=lambda done, total: said.append((done, total)),
    )
    assert said[0][0] == 0
    assert said[-1][0] == said[-1][1]
    assert found.trials == 5
    assert {N1, N2, N3} == set(found.weights)


def test_the_quickest_today_is_not_advised_if_a_node_is_full_by_it_soon() -> None:
    """All sessions of one address on the node with twice the CPU: quick, while there is room."""
    asked = sessions((48, 125.0), addresses={"10.0.0.1": 48})
    found = choose(work(0.72, 0.48, 0.48), calibration(), asked)
    source = line(found, P.SOURCE)
    assert source.full_at < 0.97 * found.now.full_at
    assert not source.sound
    assert not source.equal
    assert found.best.policy is not P.SOURCE


def test_who_carries_more_is_advised_where_the_load_is_near() -> None:
    """Most messages of nodes that lead little: round robin gives the small ones too many."""
    asked = sessions((60, 100.0))
    far = choose(work(1.6, 1.0, 1.0), calibration(), asked)
    near = choose(work(0.62, 0.42, 0.42), calibration(), asked)
    assert near.now.full_at < 2
    assert not near.keep
    assert near.best.full_at > 1.03 * near.now.full_at
    assert far.now.full_at > 2
    assert far.now.sound
    assert near.best.sound


def test_times_the_load_at_which_a_node_is_full() -> None:
    once = choose(work(0.6, 0.6, 0.6), calibration(), sessions((60, 100.0))).now
    assert once.full == 0.0
    assert once.full_at > 1
    heavier = sessions((60, 100.0 * once.full_at * 1.05))
    twice = choose(work(0.6, 0.6, 0.6, rate=500 * once.full_at * 1.05), calibration(), heavier).now
    assert twice.full_at == pytest.approx(1 / 1.05, rel=0.02)
