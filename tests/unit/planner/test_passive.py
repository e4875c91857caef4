"""Costs out of a history, against a made-up truth: found where the history tells them, and a
sentence wherever it can't."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, QueueType
from warrener.planner.fit import Surroundings
from warrener.planner.passive import passive
from warrener.planner.work import Stretch

N1, N2, N3 = NODES = tuple(NodeName(f"n{number}@here") for number in (1, 2, 3))
AROUND = Surroundings(1.0, 60.0, "warren", "3.10.8", dict.fromkeys(NODES, "here"), {"here": 8})
IDLE = {N1: 0.03, N2: 0.05, N3: 0.02}

Truth = Mapping[Act, float]  # s a message

CLASSIC: Truth = {Act.PUBLISH: 12e-6, Act.DELIVER: 9e-6, Act.ENTER: 14e-6, Act.LEAVE: 10e-6}
QUORUM: Truth = {**CLASSIC, Act.PUBLISH: 30e-6, Act.REPLICATE: 20e-6}
BOTH = {QueueType.CLASSIC: CLASSIC, QueueType.QUORUM: QUORUM}

RateOf = Callable[[NodeName, QueueType, Act], float]


def stretch(
    truth: Mapping[QueueType, Truth],
    rate_of: RateOf,
    noise: np.random.Generator,
    blur: float = 0.02,
    **more: float,
) -> Stretch:
    rates = {
        node: {
            kind: {act: rate_of(node, kind, act) for act in acts} for kind, acts in truth.items()
        }
        for node in NODES
    }
    cpu = {
        node: (
            IDLE[node]
            + sum(
                rate * truth[kind][act]
                for kind, acts in rates[node].items()
                for act, rate in acts.items()
            )
        )
        * (1 + blur * float(noise.standard_normal()))
        for node in NODES
    }
    return Stretch(10.0, cpu, rates, **more)


def varied(truth: Mapping[QueueType, Truth], number: int, seed: int = 11) -> list[Stretch]:
    """Each act at a rate of its own, any time."""
    noise = np.random.default_rng(seed)
    return [
        stretch(truth, lambda *_: float(noise.uniform(100, 9_000)), noise) for _ in range(number)
    ]


def together(
    rate: Callable[[], float], number: int, seed: int = 12, jitter: float = 0.0
) -> list[Stretch]:
    """Each message is published and delivered at once, at each node as much."""
    noise = np.random.default_rng(seed)
    truth = {QueueType.CLASSIC: {act: CLASSIC[act] for act in (Act.PUBLISH, Act.DELIVER)}}
    found = []
    for _ in range(number):
        now = rate()
        found.append(
            stretch(truth, lambda *_: now * (1 + jitter * float(noise.standard_normal())), noise)  # noqa: B023  # used at once
        )
    return found


def test_a_history_that_varies_tells_the_costs() -> None:
    found = passive(varied(BOTH, 200), around=AROUND, warnings=["before"])
    for kind, acts in BOTH.items():
        for act, base in acts.items():
            cost = found.costs[kind][act]
            assert abs(cost.base - base) <= 5 * cost.error * cost.base
            assert cost.error < 0.15
    assert found.idle[N2] == pytest.approx(0.05, abs=0.03)
    assert found.limits == {}
    before, at_these_rates = found.warnings
    assert before == "before"
    assert "at the rates that there were" in at_these_rates


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), jitter=st.sampled_from([0.0, 0.005, 0.05]))
def test_acts_that_come_together_are_known_together(seed: int, jitter: float) -> None:
    """What a message costs from end to end is right, and as sure as it is said to be, whether or
    not a little jitter makes it look as if the two could be told apart."""
    load = np.random.default_rng(seed)
    history = together(lambda: float(load.uniform(0, 9_000)), 60, seed=seed, jitter=jitter)
    found = passive(history, around=AROUND)
    costs = found.costs[QueueType.CLASSIC]
    both = costs[Act.PUBLISH].base + costs[Act.DELIVER].base
    assert both == pytest.approx(21e-6, rel=0.05)
    assert max(cost.error for cost in costs.values()) < 0.15
    if jitter == 0.0:
        (warning,) = [one for one in found.warnings if "rise and fall together" in one]
        assert warning.startswith("classic queues: publish, deliver rise and fall together")


def test_a_load_that_never_varied_tells_nothing() -> None:
    """All of it could be idle CPU as well."""
    found = passive(together(lambda: 1_000.0, 100), around=AROUND)
    assert found.costs == {}
    (warning,) = found.warnings
    assert warning.startswith("classic queues: what their messages cost can't be told from what")


def test_too_little_traffic_tells_nothing() -> None:
    load = np.random.default_rng(3)
    found = passive(together(lambda: float(load.uniform(0, 20)), 40), around=AROUND)
    assert found.costs == {}
    assert any("too little went through them" in warning for warning in found.warnings)


def test_one_type_can_be_told_and_another_not() -> None:
    noise = np.random.default_rng(4)

    def rate(node: NodeName, kind: QueueType, act: Act) -> float:
        return 500.0 if kind is QueueType.QUORUM else float(noise.uniform(100, 9_000))

    found = passive([stretch(BOTH, rate, noise) for _ in range(100)], around=AROUND)
    assert set(found.costs) == {QueueType.CLASSIC}
    assert any(
        one.startswith("quorum queues: what their messages cost can't") for one in found.warnings
    )


def test_a_short_history_is_called_short() -> None:
    found = passive(varied({QueueType.QUORUM: QUORUM}, 4), around=AROUND)
    assert any("too short a history: 12 measurements for 8 unknowns" in w for w in found.warnings)


def test_an_idle_cluster_tells_its_idle_cores_only() -> None:
    found = passive([Stretch(10.0, dict(IDLE), {}) for _ in range(20)], around=AROUND)
    assert found.costs == {}
    assert found.idle == pytest.approx(IDLE)
    (warning,) = found.warnings
    assert "nothing went through the queues" in warning


def test_nothing_at_all() -> None:
    assert passive([], around=AROUND).costs == {}


def test_who_stands_beside_the_nodes_is_told_too() -> None:
    noise = np.random.default_rng(5)
    history = []
    for _ in range(60):
        passed = float(noise.uniform(0, 20_000))
        history.append(
            Stretch(
                10.0,
                {N1: 0.1},
                {},
                passed=passed,
                balanced=passed / 2,
                balancer=0.02 + passed / 2 * 4e-6,
                clients=0.1 + passed * 6e-6,
            )
        )
    found = passive(history, around=AROUND)
    assert found.balancer is not None
    assert found.balancer.base == pytest.approx(4e-6, rel=0.05)
    assert found.client[Act.PUBLISH].base == pytest.approx(6e-6, rel=0.05)
    assert found.client[Act.DELIVER] == found.client[Act.PUBLISH]
    same = [Stretch(10.0, {N1: 0.1}, {}, 100.0, 100.0, 0.2, 0.2)] * 20
    found = passive(same, around=AROUND)
    assert (found.balancer, found.client) == (None, {})
    assert "what a message costs the balancer can't be told by the history" in found.warnings


def test_two_types_in_step_at_the_same_node_cannot_be_told_apart() -> None:
    load = np.random.default_rng(6)
    truth = {
        kind: {act: acts[act] for act in (Act.PUBLISH, Act.DELIVER)} for kind, acts in BOTH.items()
    }
    history = []
    for _ in range(60):
        now = float(load.uniform(0, 9_000))
        history.append(stretch(truth, lambda *_: now, load))  # noqa: B023  # used at once
    found = passive(history, around=AROUND)
    assert found.costs == {}
    assert sum("or only with that of others" in warning for warning in found.warnings) == 2
