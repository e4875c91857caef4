"""What HAProxy should have, and what it has to be told to have it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.balancer.haproxy.plan import (
    ALGORITHMS,
    MAX_WEIGHT,
    SLOTS,
    Admission,
    Seen,
    Server,
    Slots,
    Spot,
    TooManyNodes,
    commands,
    scale,
)
from warrener.facts.balance import Backend, BackendStatistics
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Unfit
from warrener.facts.settings import PolicyName

NAMES = [NodeName(f"n{number}@localhost") for number in range(1, SLOTS + 2)]
THREE = [Backend(name, "127.0.0.1", 5000 + index) for index, name in enumerate(NAMES[:3], 1)]


def row(backend: Backend, weight: int = 100, unfit: Unfit | None = None) -> BackendStatistics:
    return BackendStatistics(
        name=backend.name, host=backend.host, port=backend.port, weight=weight, unfit=unfit,
        unfit_detail="", sessions=0, sessions_total=0, failures_total=0, probes_total=0,
        probes_failed=0,
    )  # fmt: skip


def seen(servers: tuple[Server, ...]) -> dict[Spot, Seen]:
    """A HAProxy that has them all as they should be."""
    return {
        Spot(policy, one.slot): Seen(one.host, one.port, one.admission, one.weight(policy))
        for policy in ALGORITHMS
        for one in servers
    }


def plan(*rows: BackendStatistics) -> dict[str, Server]:
    found = Slots(THREE).plan(rows)
    return {server.slot: server for server in found}


def test_every_policy_is_one_of_haproxys() -> None:
    assert set(ALGORITHMS) == set(PolicyName)


# -- slots


def test_slots_are_named_after_the_nodes_and_the_rest_are_spare() -> None:
    names = [server.slot for server in Slots(THREE).plan([])]
    assert names[:4] == ["n1", "n2", "n3", "spare-1"]
    assert len(names) == SLOTS


@pytest.mark.parametrize("name", ["n 1@x", "n1;quit@x", "@x", "x" * 50 + "@x"])
def test_a_name_that_haproxy_would_not_take_gets_a_spare_slot(name: str) -> None:
    slots = Slots([Backend(NodeName(name), "127.0.0.1", 1)])
    assert slots.of(NodeName(name)) == "spare-1"


def test_nodes_that_share_a_short_name_get_spare_slots() -> None:
    slots = Slots([Backend(NodeName(f"n1@{host}"), "127.0.0.1", 1) for host in "ab"])
    assert [slots.of(NodeName("n1@a")), slots.of(NodeName("n1@b"))] == ["spare-1", "spare-2"]


def test_a_node_keeps_its_slot_and_comes_back_to_it() -> None:
    slots = Slots(THREE)
    slots.assign(THREE[2:], {})
    assert [slots.of(one.name) for one in THREE] == [None, None, "n3"]
    slots.assign(THREE, {})
    assert [slots.of(one.name) for one in THREE] == ["n1", "n2", "n3"]


def test_a_new_node_gets_the_slot_with_the_fewest_sessions_left() -> None:
    slots = Slots(THREE)
    slots.assign(THREE[1:], {})
    new = Backend(NAMES[5], "127.0.0.1", 5006)
    slots.assign([*THREE[1:], new], {"n1": 2})
    assert slots.of(new.name) == "spare-1"


def test_more_nodes_than_slots_are_refused() -> None:
    many = [Backend(name, "127.0.0.1", 5000) for name in NAMES]
    with pytest.raises(TooManyNodes, match="16 nodes, and there are 17"):
        Slots(many)


def test_a_host_that_is_no_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"db\.example"):
        Slots([Backend(NAMES[0], "db.example", 5000)])


# -- what each should be


def test_fit_nodes_are_ready_drained_ones_drain_others_are_in_maintenance() -> None:
    found = plan(
        row(THREE[0]), row(THREE[1], unfit=Unfit.DRAINED), row(THREE[2], unfit=Unfit.HANGS)
    )
    admissions = [found[slot].admission for slot in ("n1", "n2", "n3", "spare-1")]
    assert admissions == [Admission.READY, Admission.DRAIN, Admission.MAINT, Admission.MAINT]


def test_weights_count_under_policies_that_go_by_them() -> None:
    found = plan(row(THREE[0], 100), row(THREE[1], 200), row(THREE[2], 50))
    weights = {
        policy: [found[s].weight(policy) for s in ("n1", "n2", "n3")] for policy in ALGORITHMS
    }
    for policy, given_ in weights.items():
        even = policy in (PolicyName.ROUNDROBIN, PolicyName.LEASTCONN)
        assert given_ == ([1, 1, 1] if even else [100, 200, 50])


def test_weight_0_gets_nothing_while_another_node_is_fit() -> None:
    found = plan(row(THREE[0], 0), row(THREE[1]), row(THREE[2]))
    assert (found["n1"].even, found["n1"].weighted) == (0, 0)


def test_weight_0_gets_something_when_no_other_node_is_fit() -> None:
    found = plan(row(THREE[0], 0), row(THREE[1], unfit=Unfit.REFUSES), row(THREE[2], 0))
    assert (found["n1"].even, found["n1"].weighted) == (1, 1)


@given(st.lists(st.integers(1, 256), min_size=1))
def test_weights_up_to_256_keep_their_proportion_exactly(weights: list[int]) -> None:
    scaled = scale(weights)
    assert all(a * scaled[0] == b * weights[0] for a, b in zip(weights, scaled, strict=True))
    assert MAX_WEIGHT / 2 < max(scaled) <= MAX_WEIGHT


@given(st.lists(st.integers(0, 1000)))
def test_scaled_weights_are_haproxys(weights: list[int]) -> None:
    scaled = scale(weights)
    assert len(scaled) == len(weights)
    assert all(1 <= one <= MAX_WEIGHT for one in scaled)
    order = sorted(range(len(weights)), key=lambda i: weights[i])
    assert [scaled[i] for i in order] == sorted(scaled)


# -- what is told


def told(servers: tuple[Server, ...], before: dict[Spot, Seen]) -> list[str]:
    """Of one policy."""
    policy = PolicyName.WEIGHTED
    all_told = commands(servers, policy, before, policy)
    return [one for one in all_told if f" {policy}/" in one]


SERVER = Server("n1", "127.0.0.1", 5001, Admission.READY, 1, 200)


def test_nothing_is_told_to_a_haproxy_that_is_in_step() -> None:
    servers = Slots(THREE).plan([row(one) for one in THREE])
    assert commands(servers, PolicyName.P2C, seen(servers), PolicyName.P2C) == []


def test_a_policy_is_told_once_and_last() -> None:
    before = seen((replace(SERVER, weighted=1),))
    found = commands((SERVER,), PolicyName.P2C, before, PolicyName.SOURCE)
    assert found[-1] == "set map policy.map policy p2c"
    assert len(found) == 1 + len(ALGORITHMS) - 2  # weights, but under the two even policies


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weighted": 7}, ["weight 200"]),
        ({"admission": Admission.MAINT}, ["state ready"]),
        ({"port": 1, "admission": Admission.MAINT}, ["addr 127.0.0.1 port 5001", "state ready"]),
        # Nobody is sent to the old address meanwhile.
        ({"port": 1}, ["state maint", "addr 127.0.0.1 port 5001", "state ready"]),
    ],
)
def test_only_what_differs_is_told(changes: dict[str, object], expected: list[str]) -> None:
    before = seen((replace(SERVER, **changes),))  # type: ignore[arg-type]
    assert told((SERVER,), before) == [f"set server weighted/n1 {one}" for one in expected]


def test_where_a_server_is_that_nobody_uses_makes_no_odds() -> None:
    away = replace(SERVER, admission=Admission.MAINT)
    assert told((away,), seen((replace(away, host="127.0.0.9", port=1),))) == []


def test_a_server_that_haproxy_says_nothing_of_is_told_everything() -> None:
    assert told((SERVER,), {}) == [
        "set server weighted/n1 state maint",
        "set server weighted/n1 addr 127.0.0.1 port 5001",
        "set server weighted/n1 weight 200",
        "set server weighted/n1 state ready",
    ]
