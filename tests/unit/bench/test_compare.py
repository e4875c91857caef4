"""The run, with the cluster and the measurements replaced: what is measured where, and failures."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from warrener.bench import compare as module
from warrener.bench.compare import CompareOptions, compare
from warrener.bench.idle import IdleResult, IdleSpec
from warrener.bench.latency import LatencyResult, LatencySpec
from warrener.bench.load import LoadResult, LoadSpec
from warrener.bench.setup_rate import SetupResult, SetupSpec
from warrener.bench.stand import Stand, StandNode
from warrener.bench.wire import BenchError, Target
from warrener.bench.workloads import OBSERVATION, WORKLOADS, Route
from warrener.facts.happenings import Progress

NAMES = ("n1@localhost", "n2@localhost", "n3@localhost")
RESULTS: dict[type, Any] = {
    LoadResult: LoadResult(100.0, 101.0, 100.0, 1_000, 0, 1.0, 0.07),
    LatencyResult: LatencyResult(0.5, 3.0, 9.0, 1_000, 1_000.0, 0.2),
    SetupResult: SetupResult(300.0, 400, 0.2),
    IdleResult: IdleResult(4.5, 9_000, 2_000),
}


@dataclass
class Scene:
    """What the run did to the replaced parts."""

    measured: list[tuple[Any, bool]] = field(default_factory=list)  # spec, while pinned
    declared: list[tuple[str, int, bool]] = field(default_factory=list)  # queue, port, quorum
    moved: dict[str, str] = field(default_factory=dict)  # queue -> the wrong leader
    fails_at: int = 0  # port
    pinned: bool = False
    observed: list[tuple[Any, bool]] = field(default_factory=list)  # spec, with everything
    torn_down: bool = False


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene()
    stand = Stand(
        Path("/nowhere"),
        tuple(
            StandNode(name, "127.0.0.1", 5001 + i, 6001 + i, 100, "3.10.8", "25.2.3")
            for i, name in enumerate(NAMES)
        ),
        Target("127.0.0.1", 5000, "u", "p", "v"),
        os.getpid(),
        "roundrobin",
    )

    @contextlib.contextmanager
    def temporary_stand() -> Iterator[Stand]:
        try:
            yield stand
        finally:
            scene.torn_down = True

    @contextlib.contextmanager
    def pinned(_: Stand, index: int) -> Iterator[None]:
        assert index == 0
        scene.pinned = True
        yield
        scene.pinned = False

    def leaders(_: Stand) -> dict[str, str]:
        led = {queue: NAMES[port - 5001] for queue, port, _ in scene.declared}
        return led | scene.moved

    def declare(target: Target, queue: str, *, quorum: bool) -> None:
        scene.declared.append((queue, target.port, quorum))

    def measure(spec: Any, result: type, *, timeout: float) -> Any:
        assert timeout > 60
        scene.measured.append((spec, scene.pinned))
        if isinstance(spec, LoadSpec) and spec.flows[0].publish.port == scene.fails_at:
            raise BenchError("it broke")
        return RESULTS[result]

    def measure_observed(
        _: Stand, spec_through: Any, *, everything: bool, timeout: float
    ) -> tuple[dict[str, float], float]:
        assert timeout > 60
        spec = spec_through(Target("127.0.0.1", 7000, "u", "p", "v"))
        scene.observed.append((spec, everything))
        return {"": 90.0 if everything else 100.0, "-daemon-cpu": 3.5}, 0.1

    monkeypatch.setattr(module, "measure_observed", measure_observed)
    monkeypatch.setattr(module, "temporary_stand", temporary_stand)
    monkeypatch.setattr(Stand, "pinned", pinned)
    monkeypatch.setattr(Stand, "leaders", leaders)
    monkeypatch.setattr(module, "declare", declare)
    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setattr(module, "_LEADERS_KNOWN", 0.0)
    return scene


def options(workloads: str, *paths: Route, rounds: int = 1) -> CompareOptions:
    chosen = tuple(WORKLOADS[name] for name in workloads.split(","))
    return CompareOptions(rounds=rounds, workloads=chosen, paths=paths)


def quiet(_: Progress) -> None:
    pass


def ports(scene: Scene) -> list[int]:
    ((spec, _),) = scene.measured
    assert all(flow.publish == flow.consume for flow in spec.flows)
    return [flow.publish.port for flow in spec.flows]


def test_leaders_are_spread_two_on_each_node(scene: Scene) -> None:
    compare(options("classic-6,quorum-6", Route.DIRECT), quiet)
    for quorum in (False, True):
        assert [p for _, p, q in scene.declared if q == quorum] == [5001, 5002, 5003] * 2


def test_direct_clients_go_to_their_queues_leader(scene: Scene) -> None:
    compare(options("classic-6", Route.DIRECT), quiet)
    assert ports(scene) == [5001, 5002, 5003, 5001, 5002, 5003]


def test_remote_clients_go_to_both_of_the_other_nodes(scene: Scene) -> None:
    compare(options("quorum-6", Route.REMOTE), quiet)
    assert ports(scene) == [5002, 5003, 5001, 5003, 5001, 5002]


def test_clients_of_warrener_use_its_one_port(scene: Scene) -> None:
    compare(options("classic-6", Route.WARRENER), quiet)
    assert ports(scene) == [5000] * 6


def test_only_the_pinned_path_pins(scene: Scene) -> None:
    compare(options("classic-1", Route.WARRENER, Route.WARRENER_PINNED, rounds=2), quiet)
    assert sorted(pinned for _, pinned in scene.measured) == [False, False, True, True]
    assert scene.torn_down


def test_set_up_rate_goes_straight_to_all_nodes_in_turn(scene: Scene) -> None:
    compare(options("setup", Route.DIRECT), quiet)
    ((spec, _),) = scene.measured
    assert isinstance(spec, SetupSpec)
    assert [target.port for target in spec.targets] == [5001, 5002, 5003]


def test_idle_memory_looks_at_the_balancers_process(scene: Scene) -> None:
    compare(options("idle-memory", Route.WARRENER), quiet)
    ((spec, _),) = scene.measured
    assert isinstance(spec, IdleSpec)
    assert spec.pid == os.getpid()
    assert spec.baseline > 0
    assert scene.declared == []  # no queue is needed


def test_latency_gives_three_figures(scene: Scene) -> None:
    report = compare(options("latency", Route.DIRECT, rounds=2), quiet)
    assert [(r.workload, r.unit, r.samples) for r in report.results] == [
        ("latency", "ms", (0.5, 0.5)),
        ("latency-p99", "ms", (3.0, 3.0)),
        ("latency-max", "ms", (9.0, 9.0)),
    ]
    assert report.results[0].generator_cores == (0.2, 0.2)


def test_a_measurement_that_fails_is_reported_and_not_tried_again(scene: Scene) -> None:
    scene.fails_at = 5002
    seen: list[Progress] = []
    report = compare(options("classic-1", *(Route.DIRECT, Route.REMOTE), rounds=3), seen.append)
    assert [(f.path, f.round, f.text) for f in report.failures] == [(Route.REMOTE, 1, "it broke")]
    assert [(r.path, len(r.samples)) for r in report.results] == [(Route.DIRECT, 3)]
    assert len(scene.measured) == 4
    assert [p.text for p in seen if p.failed] == ["it broke"]


def test_a_queue_led_by_the_wrong_node_gives_no_figure(scene: Scene) -> None:
    scene.moved = {"quorum-1": NAMES[1]}
    report = compare(options("quorum-1", Route.DIRECT, rounds=2), quiet)
    assert report.results == ()
    (failure,) = report.failures
    assert "quorum-1 is led by n2@localhost, not by n1@localhost" in failure.text
    assert scene.measured == []


def test_results_are_in_the_order_of_the_lists_not_of_the_shuffle(scene: Scene) -> None:
    chosen = (Route.WARRENER_PINNED, Route.WARRENER, Route.REMOTE, Route.DIRECT)
    report = compare(options("quorum-1,classic-1", *chosen), quiet)
    workloads = ["quorum-1"] * 4 + ["classic-1"] * 4
    assert [r.workload for r in report.results] == workloads
    assert [r.path for r in report.results[:4]] == sorted(chosen, key=list(Route).index)


def test_nothing_to_measure_is_an_error_before_anything_is_started(scene: Scene) -> None:
    with pytest.raises(BenchError, match="none of the workloads"):
        compare(options("idle-memory", Route.DIRECT), quiet)
    assert not scene.torn_down


def test_observation_is_measured_through_a_daemon_of_its_own(scene: Scene) -> None:
    report = compare(options("quorum-1", *OBSERVATION, rounds=2), quiet)
    assert [everything for _, everything in scene.observed] == [False, True, True, False]
    spec, _ = scene.observed[0]
    assert [(flow.queue, flow.publish.port) for flow in spec.flows] == [("quorum-1", 7000)]
    assert spec.seconds == 10.0  # of a window of two: less would see no sample of the history
    rows = [(row.workload, row.path, row.unit, row.samples) for row in report.results]
    assert rows == [
        ("quorum-1", Route.WARRENER_UNOBSERVED, "msg/s", (100.0, 100.0)),
        ("quorum-1", Route.WARRENER_OBSERVED, "msg/s", (90.0, 90.0)),
        ("quorum-1-daemon-cpu", Route.WARRENER_UNOBSERVED, "us/message", (3.5, 3.5)),
        ("quorum-1-daemon-cpu", Route.WARRENER_OBSERVED, "us/message", (3.5, 3.5)),
    ]
    assert [(one.workload, one.median) for one in report.ratios] == [
        ("quorum-1", 0.9),
        ("quorum-1-daemon-cpu", 1.0),
    ]


def test_paths_that_are_left_out_are_no_steps() -> None:
    whole = CompareOptions(rounds=1, workloads=(WORKLOADS["classic-6"],))
    less = CompareOptions(rounds=1, workloads=(WORKLOADS["classic-6"],), left_out=OBSERVATION)
    assert len(whole.steps()) == len(less.steps()) + 2
    assert not {step.path for step in less.steps()} & set(OBSERVATION)


def test_observation_is_measured_at_a_steady_rate_as_well(scene: Scene) -> None:
    compare(options("latency", *OBSERVATION), quiet)
    spec, _ = scene.observed[0]
    assert isinstance(spec, LatencySpec)
    assert len(spec.flows) == 6
    assert spec.seconds == 10.0
