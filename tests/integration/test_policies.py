"""Each policy on the running balancer: set by the command, seen in where real sessions go."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.raw import Raw
from tests.integration.support import Place, balancer_place, eventually
from tests.integration.warren import Warren


def spread(cluster: Warren) -> list[int]:
    """Open sessions per node."""
    return [node["sessions"] for node in cluster.status()["nodes"]]


def set_weights(cluster: Warren, *weights: int) -> None:
    for node, weight in zip(cluster.status()["nodes"], weights, strict=True):
        if node["weight"] != weight:
            cluster.ok("balance", "set-weight", node["name"], str(weight))


@pytest.fixture
def balanced(cluster: Warren) -> Iterator[Warren]:
    """No session is open; policy and weights are put back afterwards."""
    before = cluster.status()["balancer"]["policy"]
    eventually("no session", lambda: sum(spread(cluster)) == 0)
    try:
        yield cluster
    finally:
        cluster.ok("balance", "set-policy", before)
        set_weights(cluster, 100, 100, 100)


@contextlib.contextmanager
def sessions(place: Place, number: int) -> Iterator[list[Raw]]:
    """Open sessions, one after the other."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Raw(place)).open() for _ in range(number)]


def expect_in_turn(counts: list[int]) -> None:
    assert counts == [12, 12, 12]


def expect_by_weight(counts: list[int]) -> None:
    assert counts == [6, 12, 18]


def expect_all_used(counts: list[int]) -> None:
    assert min(counts) > 0  # fails by chance once in 700,000 runs


def expect_one_node(counts: list[int]) -> None:
    assert sorted(counts) == [0, 0, 36]


@pytest.mark.parametrize(
    ("policy", "weights", "expect"),
    [
        ("roundrobin", (100, 100, 100), expect_in_turn),
        ("roundrobin", (100, 200, 300), expect_in_turn),
        ("weighted", (100, 200, 300), expect_by_weight),
        ("random", (100, 100, 100), expect_all_used),
        ("source", (100, 100, 100), expect_one_node),
        ("leastconn", (100, 200, 300), expect_in_turn),
        ("weighted-leastconn", (100, 200, 300), expect_by_weight),
    ],
)
def test_a_policy_spreads_sessions(
    balanced: Warren, policy: str, weights: tuple[int, int, int], expect: Any
) -> None:
    balanced.ok("balance", "set-policy", policy)
    set_weights(balanced, *weights)
    with sessions(balancer_place(balanced), 36):
        assert balanced.status()["balancer"]["policy"] == policy
        expect(spread(balanced))


def test_source_keeps_a_client_on_its_node(balanced: Warren) -> None:
    """All clients here have one address: they stay on one node, however often they come."""
    balanced.ok("balance", "set-policy", "source")
    place = balancer_place(balanced)
    with sessions(place, 3):
        first = spread(balanced)
    eventually("no session", lambda: sum(spread(balanced)) == 0)
    with sessions(place, 3):
        assert spread(balanced) == first
    assert sorted(first) == [0, 0, 3]


@pytest.mark.parametrize("policy", ["leastconn", "p2c"])
def test_idle_nodes_catch_up(balanced: Warren, policy: str) -> None:
    """After six sessions on one node, twelve more go where there are fewer."""
    place = balancer_place(balanced)
    set_weights(balanced, 100, 0, 0)  # 0: only if there is no other
    with sessions(place, 6):
        assert spread(balanced) == [6, 0, 0]
        set_weights(balanced, 100, 100, 100)
        balanced.ok("balance", "set-policy", policy)
        with sessions(place, 12):
            counts = spread(balanced)
    assert sum(counts) == 18
    if policy == "leastconn":
        assert counts == [6, 6, 6]
    else:  # of two nodes picked at random the one with fewer sessions
        assert counts[0] <= 8
        assert min(counts) >= 3


def test_bad_policies_and_weights_are_refused_and_change_nothing(balanced: Warren) -> None:
    before = balanced.status()
    for arguments in (
        ("set-policy", "fastest"),
        ("set-weight", "n1", "1001"),
        ("set-weight", "n1", "-1"),
        ("set-weight", "n9", "10"),
    ):
        done = balanced.run("balance", *arguments)
        assert done.returncode in (1, 2), arguments
        assert done.stderr.strip(), arguments
    after = balanced.status()
    assert after["balancer"]["policy"] == before["balancer"]["policy"]
    assert [node["weight"] for node in after["nodes"]] == [
        node["weight"] for node in before["nodes"]
    ]
