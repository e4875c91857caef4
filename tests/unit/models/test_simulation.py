"""The simulation with the balancer's own policies: equal to the closed forms where those hold; what
policies are known to do; nothing lost when nodes go."""

import math
import random
import time

import pytest

from warrener.balancer.core.policies import Candidate, make_policy
from warrener.facts.ids import NodeName
from warrener.facts.settings import PolicyName
from warrener.models.queueing import mg1, mm1, mmc
from warrener.models.simulation import Balancing, Group, Result, SimulatedNode, simulate
from warrener.models.terms import Steady, WrongInput

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))


def balancing(policy: PolicyName) -> Balancing[Candidate]:
    return Balancing(make_policy(policy, random.Random(1)), Candidate)


def run(
    nodes: list[SimulatedNode],
    groups: list[Group],
    policy: PolicyName = PolicyName.ROUNDROBIN,
    *,
    duration: float = 500.0,
    seed: int = 3,
) -> Result:
    return simulate(nodes, groups, balancing(policy), duration=duration, seed=seed)


def steady(outcome: object) -> Steady:
    assert isinstance(outcome, Steady)
    return outcome


# -- closed forms


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_one_node_is_mm1(load: float) -> None:
    found = run([SimulatedNode(N1, 1000.0)], [Group("all", 50, 20.0 * load)])
    told = steady(mm1(1000.0 * load, 1000.0))
    assert found.response_time.value == pytest.approx(told.response_time, rel=0.04)
    assert found.p99.value == pytest.approx(told.percentile(0.99), rel=0.06)
    assert found.nodes[0].utilisation == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("scv", [0.0, 0.5, 3.0])
def test_one_node_is_mg1(scv: float) -> None:
    found = run([SimulatedNode(N1, 1000.0, service_scv=scv)], [Group("all", 50, 14.0)])
    told = steady(mg1(700.0, 1000.0, scv))
    assert found.waiting_time.value == pytest.approx(told.waiting_time, rel=0.06)


def test_several_servers_are_mmc() -> None:
    found = run([SimulatedNode(N1, 250.0, servers=4)], [Group("all", 50, 16.0)])
    told = steady(mmc(800.0, 250.0, 4))
    assert found.waiting_time.value == pytest.approx(told.waiting_time, rel=0.06)


def test_a_split_by_sessions_is_one_mm1_each() -> None:
    nodes = [SimulatedNode(name, 500.0) for name in (N1, N2, N3)]
    found = run(nodes, [Group("all", 60, 18.0)], duration=300.0)
    told = steady(mm1(360.0, 500.0))
    assert found.response_time.value == pytest.approx(told.response_time, rel=0.05)
    assert found.skew == pytest.approx(1.0, abs=0.03)
    assert [node.sessions for node in found.nodes] == [20, 20, 20]


# -- what policies are known to do


def test_weights_pay_where_nodes_differ() -> None:
    nodes = [
        SimulatedNode(N1, 900.0, weight=300),
        SimulatedNode(N2, 300.0, weight=100),
        SimulatedNode(N3, 300.0, weight=100),
    ]
    groups = [Group("all", 300, 3.5)]
    even = run(nodes, groups, duration=100.0)
    weighted = run(nodes, groups, PolicyName.WEIGHTED, duration=100.0)
    assert even.nodes[1].utilisation > 1.1  # 350 a second at 300
    assert weighted.skew < 1.05 < even.skew
    assert weighted.p99.value < even.p99.value / 10


def test_one_address_goes_to_one_node_by_source() -> None:
    nodes = [SimulatedNode(name, 1000.0) for name in (N1, N2, N3)]
    found = run(nodes, [Group("nat", 30, 10.0)], PolicyName.SOURCE, duration=50.0)
    assert sorted(node.messages > 0 for node in found.nodes) == [False, False, True]


def test_leastconn_fills_a_node_that_comes_back_and_roundrobin_does_not() -> None:
    nodes = [
        SimulatedNode(N1, 1000.0, down=((10.0, 20.0),)),
        SimulatedNode(N2, 1000.0),
        SimulatedNode(N3, 1000.0),
    ]
    groups = [Group("all", 300, 2.0, lifetime=200.0)]
    least = run(nodes, groups, PolicyName.LEASTCONN, duration=120.0)
    turns = run(nodes, groups, duration=120.0)
    assert max(n.sessions for n in least.nodes) - min(n.sessions for n in least.nodes) <= 2
    assert turns.nodes[0].sessions < 70
    assert least.moved == 100
    assert turns.moved == pytest.approx(100, abs=3)


def test_bursts_make_messages_wait() -> None:
    nodes = [SimulatedNode(N1, 1000.0)]
    calm = run(nodes, [Group("all", 20, 25.0)], duration=300.0)
    bursts = run(nodes, [Group("all", 20, 25.0, burst=0.5, duty=0.1)], duration=300.0)
    assert bursts.nodes[0].utilisation == pytest.approx(calm.nodes[0].utilisation, rel=0.1)
    assert bursts.waiting_time.value > 5 * calm.waiting_time.value


def test_uneven_sessions_make_nodes_uneven() -> None:
    nodes = [SimulatedNode(name, 1000.0) for name in (N1, N2, N3)]
    alike = run(nodes, [Group("all", 60, 20.0)], duration=60.0)
    uneven = run(nodes, [Group("all", 60, 20.0, unevenness=2.0)], duration=60.0)
    assert alike.skew < 1.05 < uneven.skew


# -- nodes that go


def test_what_a_dead_node_had_not_done_is_done_by_others() -> None:
    nodes = [
        SimulatedNode(N1, 100.0, down=((30.0, math.inf),)),
        SimulatedNode(N2, 400.0, down=((40.0, 50.0),)),
        SimulatedNode(N3, 400.0),
    ]
    # n1 gets more than it can do: at its end it has a backlog, which n2 has not done when it goes.
    found = run(nodes, [Group("all", 30, 15.0)], duration=60.0)
    whole = run([SimulatedNode(N3, 4000.0)], [Group("all", 30, 15.0)], duration=60.0)
    assert found.messages == whole.messages
    assert found.repeated > 1000
    assert found.moved == 10 + 15
    assert found.p99.value > 1.0
    assert math.isfinite(found.p99.value)


def test_without_any_node_there_is_no_answer() -> None:
    with pytest.raises(WrongInput, match="after 5 s no node is alive"):
        run([SimulatedNode(N1, 100.0, down=((5.0, 6.0),))], [Group("all", 1, 1.0)], duration=10.0)


# -- chance


def test_a_seed_gives_the_same_again_and_all_policies_the_same_messages() -> None:
    nodes = [SimulatedNode(name, 500.0) for name in (N1, N2)]
    groups = [Group("all", 20, 30.0, lifetime=5.0, unevenness=1.0, burst=1.0, duty=0.5)]
    one, same = run(nodes, groups, duration=20.0), run(nodes, groups, duration=20.0)
    other = run(nodes, groups, PolicyName.P2C, duration=20.0)
    elsewhere = run(nodes, groups, duration=20.0, seed=4)
    assert one == same
    assert one.messages == other.messages != elsewhere.messages
    assert one.response_time != other.response_time


def test_a_million_messages() -> None:
    """Not timed here (`make validate-models` does)."""
    nodes = [SimulatedNode(name, 20_000.0) for name in (N1, N2, N3)]
    began = time.perf_counter()
    found = run(nodes, [Group("all", 2_000, 20.0, lifetime=10.0)], duration=25.0)
    print(f"{found.messages} messages in {time.perf_counter() - began:.2f} s")
    assert found.messages == pytest.approx(900_000, rel=0.01)


@pytest.mark.parametrize(
    ("nodes", "groups", "what"),
    [
        ([], [Group("g", 1, 1.0)], "each node needs a name"),
        ([SimulatedNode(N1, 0.0)], [Group("g", 1, 1.0)], "the service rate of n1@localhost is 0"),
        ([SimulatedNode(N1, 1.0)], [], "there is no group"),
        ([SimulatedNode(N1, 1.0)], [Group("g", 0, 1.0)], "the sessions of g is 0"),
        ([SimulatedNode(N1, 1.0)], [Group("g", 1, 1.0, duty=0.0)], "the duty of g is 0"),
        ([SimulatedNode(N1, 1.0)], [Group("g", 1, 1.0, lifetime=0.0)], "the lifetime of g"),
        ([SimulatedNode(N1, 1.0)], [Group("g", 1, 0.0)], "no message was sent"),
        ([SimulatedNode(N1, 1.0)], [Group("g", 9, 1e7)], "up to 20,000,000 can be simulated"),
        ([SimulatedNode(N1, 1.0, down=((3, 2),))], [Group("g", 1, 1.0)], "is down from 3 to 2"),
    ],
)
def test_what_makes_no_sense_is_told(
    nodes: list[SimulatedNode], groups: list[Group], what: str
) -> None:
    with pytest.raises(WrongInput, match=what):
        run(nodes, groups, duration=10.0)
