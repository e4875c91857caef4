"""Costs out of measurements, against a made-up truth: found again without noise, within a few
standard errors with it, and a warning wherever the measurements can't tell."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, QueueType
from warrener.planner.fit import Run, Surroundings, fit

N1, N2, N3 = NODES = tuple(NodeName(f"n{number}@here") for number in (1, 2, 3))
AROUND = Surroundings(1.0, 60.0, "warren", "3.10.8", dict.fromkeys(NODES, "here"), {"here": 8})
IDLE = {N1: 0.03, N2: 0.05, N3: 0.02}

Truth = Mapping[Act, tuple[float, float]]  # base and per byte, s

CLASSIC: Truth = {
    Act.PUBLISH: (12e-6, 2e-9),
    Act.DELIVER: (9e-6, 1e-9),
    Act.ENTER: (14e-6, 3e-9),
    Act.LEAVE: (10e-6, 2e-9),
}
QUORUM: Truth = {**CLASSIC, Act.PUBLISH: (30e-6, 5e-9), Act.REPLICATE: (20e-6, 4e-9)}
CLIENT: Truth = {Act.PUBLISH: (1e-6, 0.0), Act.DELIVER: (2e-6, 1e-10)}


def made(
    kind: QueueType,
    truth: Truth,
    body: int,
    *,
    publisher: NodeName = N1,
    consumer: NodeName | None = N1,
    rate: float = 20_000.0,
    seconds: float = 2.0,
    saturated: bool = True,
    busy: float = 0.5,
    dearer: float = 1.0,
    noise: np.random.Generator | None = None,
    spread: float = 0.03,
) -> Run:
    """A run as it would have been measured. ``dearer``: every act costs so many times as much."""
    replicated = kind is not QueueType.CLASSIC
    messages = rate * seconds
    run = Run(
        kind,
        body,
        N1,
        (N2, N3) if replicated else (),
        publisher,
        consumer,
        messages,
        0.0 if consumer is None else messages,
        seconds,
        {},
        client=0.0,
        saturated=saturated,
        busy={"here": busy},
    )

    def cost(act: Act, of: Truth) -> float:
        base, per_byte = of.get(act, (0.0, 0.0))
        return (base + per_byte * body) * dearer

    def blurred(value: float) -> float:
        return value if noise is None else value * (1 + spread * float(noise.standard_normal()))

    cpu = {
        node: blurred(sum(n * cost(act, truth) for act, n in run.acts(node).items()))
        + IDLE[node] * seconds
        for node in NODES
    }
    client = run.published * cost(Act.PUBLISH, CLIENT) + run.delivered * cost(Act.DELIVER, CLIENT)
    fields = {name: getattr(run, name) for name in Run.__slots__}
    return Run(**{**fields, "cpu": cpu, "client": blurred(client)})


def all_runs(
    kind: QueueType,
    truth: Truth,
    bodies: tuple[int, ...] = (100, 4096),
    noise: np.random.Generator | None = None,
) -> list[Run]:
    ends: list[tuple[NodeName, NodeName | None]] = [(N1, N1), (N1, None), (N2, N1), (N1, N2)]
    return [
        made(kind, truth, body, publisher=publisher, consumer=consumer, noise=noise)
        for body in bodies
        for publisher, consumer in ends
    ]


def fitted(runs: list[Run]) -> Calibration:
    return fit(runs, idle=IDLE, around=AROUND)


@pytest.mark.parametrize(
    ("kind", "truth"), [(QueueType.CLASSIC, CLASSIC), (QueueType.QUORUM, QUORUM)]
)
def test_without_noise_the_truth_is_found(kind: QueueType, truth: Truth) -> None:
    found = fitted(all_runs(kind, truth))
    assert set(found.costs) == {kind}
    assert set(found.costs[kind]) == set(truth)
    for act, (base, per_byte) in truth.items():
        assert found.costs[kind][act].base == pytest.approx(base, rel=1e-6)
        assert found.costs[kind][act].per_byte == pytest.approx(per_byte, rel=1e-6)
    assert found.client[Act.PUBLISH].at(100) == pytest.approx(1e-6)
    assert found.client[Act.DELIVER].at(4096) == pytest.approx(2e-6 + 4096e-10)
    assert found.idle == IDLE
    assert found.hosts == AROUND.hosts


def test_a_stream_is_read_at_the_consumers_node() -> None:
    truth = {**QUORUM, Act.LEAVE: (0.0, 0.0)}
    found = fitted(all_runs(QueueType.STREAM, truth))
    costs = found.costs[QueueType.STREAM]
    assert costs[Act.DELIVER].base == pytest.approx(9e-6, rel=1e-6)
    assert costs[Act.LEAVE].at(4096) == 0.0
    assert not any("leave" in warning for warning in found.warnings)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    costs=st.lists(st.floats(5e-6, 60e-6), min_size=5, max_size=5),
    per_byte=st.floats(1e-9, 6e-9),
)
def test_with_noise_the_truth_is_within_the_errors_told(
    seed: int, costs: list[float], per_byte: float
) -> None:
    truth = {act: (base, per_byte) for act, base in zip(Act, costs, strict=True)}
    noise = np.random.default_rng(seed)
    found = fitted(all_runs(QueueType.QUORUM, truth, noise=noise)).costs[QueueType.QUORUM]
    for act, (base, of_byte) in truth.items():
        for body in (100, 4096):
            real = base + of_byte * body
            told = found[act].at(body)
            # 5 standard errors; an error of 1 says that nothing is known.
            assert found[act].error == 1.0 or abs(told - real) <= 5 * found[act].error * told


def test_errors_are_those_of_repeated_runs() -> None:
    """The standard error that one fit tells is about what many fits differ by."""
    noise = np.random.default_rng(7)
    values, errors = [], []
    for _ in range(150):
        runs = [
            made(QueueType.CLASSIC, CLASSIC, 100, consumer=None, noise=noise, spread=0.10, rate=2e5)
            for _ in range(12)
        ]
        cost = fitted(runs).costs[QueueType.CLASSIC][Act.PUBLISH]
        values.append(cost.at(100))
        errors.append(cost.error * cost.at(100))
    assert np.mean(values) == pytest.approx(12.2e-6, rel=0.01)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_costs_are_never_negative() -> None:
    """Consuming seems to make it cheaper: then it costs nothing, and that is said."""
    runs = [
        made(QueueType.CLASSIC, {Act.PUBLISH: (20e-6, 0.0)}, 100, consumer=None),
        made(QueueType.CLASSIC, {Act.PUBLISH: (15e-6, 0.0)}, 100),
    ]
    found = fitted(runs)
    costs = found.costs[QueueType.CLASSIC]
    assert costs[Act.DELIVER].at(100) == 0.0
    assert 15e-6 < costs[Act.PUBLISH].at(100) < 20e-6
    assert "classic queues: deliver cost too little to be measured" in found.warnings


def test_acts_that_always_come_together_cant_be_told_apart() -> None:
    found = fitted([made(QueueType.CLASSIC, CLASSIC, body) for body in (100, 4096)])
    costs = found.costs[QueueType.CLASSIC]
    both = costs[Act.PUBLISH].at(100) + costs[Act.DELIVER].at(100)
    assert both == pytest.approx(21.3e-6, rel=1e-6)
    assert costs[Act.PUBLISH].error == costs[Act.DELIVER].error == 1.0
    assert (
        "classic queues: publish and deliver can't be told apart by what was measured"
        in found.warnings
    )


def test_one_size_of_body_gives_one_figure() -> None:
    costs = fitted(all_runs(QueueType.CLASSIC, CLASSIC, (100,))).costs[QueueType.CLASSIC]
    assert costs[Act.PUBLISH].per_byte == 0.0
    assert costs[Act.PUBLISH].base == pytest.approx(12.2e-6, rel=1e-6)
    assert costs[Act.PUBLISH].error < 0.15


def test_large_errors_are_warned_of() -> None:
    noise = np.random.default_rng(3)
    runs = [
        made(QueueType.CLASSIC, CLASSIC, 100, consumer=consumer, noise=noise, spread=0.5)
        for consumer in (N1, None, N1, None)
    ]
    (warning,) = [one for one in fitted(runs).warnings if "classic queues: not measured" in one]
    assert "deliver ±" in warning


def test_what_a_message_costs_at_a_low_rate_is_compared_and_kept_out() -> None:
    runs = all_runs(QueueType.CLASSIC, CLASSIC)
    slow = made(QueueType.CLASSIC, CLASSIC, 100, rate=4_000, saturated=False, dearer=2.5)
    found = fitted([*runs, slow])
    assert found.costs[QueueType.CLASSIC][Act.PUBLISH].base == pytest.approx(12e-6, rel=1e-6)
    assert any("costs up to 2.5 times" in warning for warning in found.warnings)
    same = made(QueueType.CLASSIC, CLASSIC, 100, rate=4_000, saturated=False)
    assert not any("at a low rate" in warning for warning in fitted([*runs, same]).warnings)


def test_what_remote_clients_cost_the_leaders_node_is_compared() -> None:
    runs = all_runs(QueueType.CLASSIC, CLASSIC)
    assert not any("than it is reckoned with" in warning for warning in fitted(runs).warnings)
    cheaper = {**CLASSIC, Act.PUBLISH: (2e-6, 2e-9)}
    remote = [made(QueueType.CLASSIC, cheaper, body, publisher=N2) for body in (100, 4096)]
    kept = [run for run in runs if run.publisher == N1]
    found = fitted([*kept, *remote])
    assert found.costs[QueueType.CLASSIC][Act.PUBLISH].base == pytest.approx(12e-6, rel=1e-6)
    (warning,) = [one for one in found.warnings if "than it is reckoned with" in one]
    assert warning.startswith("classic queues: messages that enter through another node cost")
    assert "less" in warning


def test_limits_are_of_saturated_local_runs() -> None:
    runs = [
        made(QueueType.CLASSIC, CLASSIC, 100, rate=60_000, busy=0.5),
        made(QueueType.CLASSIC, CLASSIC, 100, rate=50_000, busy=0.5),
        made(QueueType.CLASSIC, CLASSIC, 4096, rate=30_000, busy=0.97),
        made(QueueType.CLASSIC, CLASSIC, 100, rate=6_000, saturated=False),
        made(QueueType.CLASSIC, CLASSIC, 100, rate=20_000, publisher=N2),
        made(QueueType.CLASSIC, CLASSIC, 100, rate=90_000, consumer=None),
    ]
    found = fitted(runs)
    small, large = found.limits[QueueType.CLASSIC]
    assert (small.rate, small.body, small.at_least) == (55_000, 100, False)
    assert small.error == pytest.approx(5_000 / 55_000)
    assert (large.rate, large.body, large.at_least) == (30_000, 4096, True)
    assert any("CPU was used up before the queue was (4096 B)" in one for one in found.warnings)


def test_the_balancer_pays_for_each_way() -> None:
    through = [
        Run(QueueType.CLASSIC, body, N1, (), N1, N1, 40_000, 40_000, 2.0, {N1: 9.0}, balancer=used)
        for body, used in ((100, 80_000 * 3e-6 + 0.02), (4096, 80_000 * 5e-6 + 0.02))
    ]
    runs = [*all_runs(QueueType.CLASSIC, CLASSIC), *through]
    found = fit(runs, idle=IDLE, around=AROUND, balancer_idle=0.01)
    assert found.balancer is not None
    assert found.balancer.at(100) == pytest.approx(3e-6)
    assert found.balancer.at(4096) == pytest.approx(5e-6)
    # What nodes used meanwhile says nothing of them.
    assert found.costs[QueueType.CLASSIC][Act.PUBLISH].base == pytest.approx(12e-6, rel=1e-6)
    assert fitted(all_runs(QueueType.CLASSIC, CLASSIC)).balancer is None


def test_where_no_cpu_was_read_there_are_no_costs_and_it_is_said() -> None:
    run = Run(QueueType.STREAM, 100, N1, (N2, N3), N1, N2, 9_000, 9_000, 1.0, {}, client=0.01)
    found = fitted([run])
    assert found.costs == {QueueType.STREAM: {}}
    assert any("stream queues: no costs, as no node's CPU" in one for one in found.warnings)


def test_warnings_of_the_run_come_first() -> None:
    found = fit(
        all_runs(QueueType.CLASSIC, CLASSIC), idle=IDLE, around=AROUND, warnings=["n4 is drained"]
    )
    assert found.warnings[0] == "n4 is drained"
