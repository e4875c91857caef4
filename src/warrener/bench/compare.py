"""The run itself: everything side by side on one machine, in one go.

stand (cluster and balancer) + HAProxy + queues  ->  steps of the schedule, each a process
                                                 ->  samples  ->  report
"""

import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from warrener.bench import report
from warrener.bench.figures import ratios
from warrener.bench.haproxy import Listener, Server, free_ports, run_haproxy
from warrener.bench.idle import IdleResult, IdleSpec, memory
from warrener.bench.job import measure
from warrener.bench.latency import LatencyResult, LatencySpec
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.observed import CPU_UNIT, LEAST, measure_observed
from warrener.bench.schedule import Step, schedule
from warrener.bench.setup_rate import SetupResult, SetupSpec
from warrener.bench.stand import Stand, existing_stand, temporary_stand
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target
from warrener.bench.workloads import OBSERVATION, WORKLOADS, Kind, Route, Workload
from warrener.facts.happenings import Progress, ProgressSink

_QUEUES: Final = 6
_LEADERS_KNOWN: Final = 20.0  # s; the management API learns of a queue within 5 s
_SPARE: Final = 120.0  # s a measurement may take beyond its warm-up and window
_PAUSE: Final = 0.2  # s between two measurements, for the brokers to put things away


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What to measure. ``seconds`` is one measurement's window; ``paths`` None: each workload's
    own, without those that are ``left_out``; ``state`` None: a temporary cluster."""

    rounds: int = 3
    seconds: float = 2.0
    workloads: tuple[Workload, ...] = tuple(WORKLOADS.values())
    paths: tuple[Route, ...] | None = None
    state: Path | None = None
    seed: int = 1
    idle_sessions: int = 2_000
    left_out: tuple[Route, ...] = ()

    def steps(self) -> tuple[Step, ...]:
        """What will be measured, in order."""
        steps = schedule(self.workloads, self.paths, self.rounds, self.seed)
        return tuple(step for step in steps if step.path not in self.left_out)


@dataclass(frozen=True, slots=True)
class _Balancers:
    """What carries the traffic: ports, processes, and their memory when they were fresh (KiB)."""

    ports: dict[Route, int]
    haproxy_version: str
    pids: dict[str, int]
    fresh: dict[str, int]


class _Samples:
    """Figure and path -> round -> sample."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, Route], dict[int, float]] = defaultdict(dict)
        self.cores: dict[tuple[str, Route], dict[int, float]] = defaultdict(dict)
        self.units: dict[str, str] = {}

    def add(self, step: Step, figures: dict[str, float], cores: float | None) -> None:
        for suffix, value in figures.items():
            figure = step.workload.name + suffix
            self.units[figure] = CPU_UNIT if suffix.endswith("-cpu") else step.workload.unit
            self.values[figure, step.path][step.round] = value
            if cores is not None:
                self.cores[figure, step.path][step.round] = cores

    def in_order(self) -> dict[tuple[str, Route], dict[int, float]]:
        """By figure, then in the order in which paths are listed, not in that of the shuffle."""
        figures = list(self.units)
        paths = list(Route)
        keys = sorted(self.values, key=lambda k: (figures.index(k[0]), paths.index(k[1])))
        return {key: self.values[key] for key in keys}


def compare(options: CompareOptions, progress: ProgressSink) -> report.Report:
    """Measure and report. Whatever was started or changed is stopped or put back at the end.

    Raises BenchError when nothing can be measured; a measurement that fails is in the report.
    """
    steps = options.steps()
    if not steps:
        raise BenchError("none of the workloads says anything about these paths")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    machine = report.this_machine()
    with contextlib.ExitStack() as stack:
        progress(Progress("cluster", "starting" if options.state is None else "looking"))
        stand = stack.enter_context(
            temporary_stand() if options.state is None else existing_stand(options.state)
        )
        balancers = stack.enter_context(_balancers(stand, steps))
        progress(Progress("queues", "declaring"))
        led = _declare_queues(stand, steps)
        samples, failures = _measure_all(options, steps, stand, balancers, led, progress)
    values = samples.in_order()
    return report.Report(
        machine=machine,
        versions=report.versions(
            rabbitmq=stand.nodes[0].version,
            erlang=stand.nodes[0].erlang_version,
            haproxy=balancers.haproxy_version,
        ),
        settings=report.Settings(
            options.rounds, options.seconds, options.seed, options.idle_sessions, started
        ),
        results=tuple(report.results(values, samples.units, samples.cores)),
        ratios=tuple(ratios(values)),
        failures=tuple(failures),
    )


def _measure_all(
    options: CompareOptions,
    steps: tuple[Step, ...],
    stand: Stand,
    balancers: _Balancers,
    led: dict[str, str],
    progress: ProgressSink,
) -> tuple[_Samples, list[report.Failure]]:
    samples = _Samples()
    failures: list[report.Failure] = []
    given_up: set[tuple[str, Route]] = set()
    round_ = 0
    for number, step in enumerate(steps, 1):
        name = f"{number}/{len(steps)} round {step.round} {step.workload.name} {step.path}"
        if (step.workload.name, step.path) in given_up:
            continue
        progress(Progress(name, "measuring"))
        try:
            if step.round != round_:
                round_ = step.round
                _check_leaders(stand, led)
            pinned = step.path is Route.WARRENER_PINNED
            with stand.pinned(0) if pinned else contextlib.nullcontext():
                figures, cores = _measure(options, step, stand, balancers)
        except BenchError as error:
            given_up.add((step.workload.name, step.path))
            failures.append(report.Failure(step.workload.name, step.path, step.round, str(error)))
            progress(Progress(name, str(error), failed=True))
            continue
        samples.add(step, figures, cores)
        first = next(iter(figures.values()))
        progress(Progress(name, f"{first:,.2f} {step.workload.unit}", done=True))
        time.sleep(_PAUSE)
    return samples, failures


def _measure(
    options: CompareOptions, step: Step, stand: Stand, balancers: _Balancers
) -> tuple[dict[str, float], float | None]:
    """(suffix of the figure's name -> value, what the generator used of the cores)."""
    workload, path = step.workload, step.path
    if path in OBSERVATION:
        return _measure_observed(options, step, stand)
    flows = _flows(workload, path, stand, balancers)
    timeout = options.seconds + _SPARE
    match workload.kind:
        case Kind.LOAD:
            load = measure(
                LoadSpec(
                    flows,
                    body=workload.body,
                    seconds=options.seconds,
                    connect_order=step.connect_order,
                ),
                LoadResult,
                timeout=timeout,
            )
            return {"": load.rate}, load.cpu
        case Kind.LATENCY:
            latency = measure(
                LatencySpec(flows, seconds=options.seconds, connect_order=step.connect_order),
                LatencyResult,
                timeout=timeout,
            )
            return {"": latency.p50, "-p99": latency.p99, "-max": latency.max}, latency.cpu
        case Kind.SETUP:
            setup = measure(
                SetupSpec(_targets(path, stand, balancers), seconds=options.seconds),
                SetupResult,
                timeout=timeout,
            )
            return {"": setup.rate}, setup.cpu
        case Kind.IDLE:
            idle = measure(
                IdleSpec(
                    target=_targets(path, stand, balancers)[0],
                    pid=balancers.pids[path.balancer],
                    baseline=balancers.fresh[path.balancer],
                    sessions=options.idle_sessions,
                ),
                IdleResult,
                timeout=timeout,
            )
            return {"": idle.per_session}, None


def _measure_observed(
    options: CompareOptions, step: Step, stand: Stand
) -> tuple[dict[str, float], float]:
    workload = step.workload
    seconds = max(options.seconds, LEAST)

    def spec_through(target: Target) -> LoadSpec | LatencySpec:
        queues = [_queue(index, quorum=workload.quorum) for index in range(workload.queues)]
        flows = tuple(Flow(queue, target, target) for queue in queues)
        if workload.kind is Kind.LATENCY:
            return LatencySpec(flows, seconds=seconds, connect_order=step.connect_order)
        return LoadSpec(
            flows,
            body=workload.body,
            seconds=seconds,
            connect_order=step.connect_order,
            sample_every=1.0,
        )

    return measure_observed(
        stand,
        spec_through,
        everything=step.path is Route.WARRENER_OBSERVED,
        timeout=seconds + _SPARE,
    )


def _targets(path: Route, stand: Stand, balancers: _Balancers) -> tuple[Target, ...]:
    """Where clients connect that use no queue."""
    match path.balancer:
        case "warrener":
            return (stand.balancer,)
        case "haproxy":
            return (stand.at(balancers.ports[path]),)
        case _:
            return tuple(stand.node_target(index) for index in range(len(stand.nodes)))


def _flows(
    workload: Workload, path: Route, stand: Stand, balancers: _Balancers
) -> tuple[Flow, ...]:
    flows = []
    for index in range(workload.queues):
        if path is Route.DIRECT:
            target = stand.node_target(index)
        elif path is Route.REMOTE:
            target = stand.node_target(_other_node(index, len(stand.nodes)))
        else:
            (target,) = _targets(path, stand, balancers)
        flows.append(Flow(_queue(index, quorum=workload.quorum), target, target))
    return tuple(flows)


def _other_node(leader: int, nodes: int) -> int:
    """A node that doesn't lead queue ``leader``, not the same for all queues of a node.

    Raises BenchError where there is no other.
    """
    if nodes < 2:
        raise BenchError("the path remote needs a second node")
    return leader + 1 + leader // nodes % (nodes - 1)


def _queue(index: int, *, quorum: bool) -> str:
    return f"{'quorum' if quorum else 'classic'}-{index + 1}"


def _declare_queues(stand: Stand, steps: tuple[Step, ...]) -> dict[str, str]:
    """Queue i led by node i modulo the number of nodes; returns queue -> node."""
    led = {}
    for quorum in sorted({s.workload.quorum for s in steps if s.workload.queues}):
        for index in range(_QUEUES):
            queue = _queue(index, quorum=quorum)
            declare(stand.node_target(index), queue, quorum=quorum)
            led[queue] = stand.nodes[index % len(stand.nodes)].name
    deadline = time.monotonic() + _LEADERS_KNOWN
    while led and not led.items() <= stand.leaders().items() and time.monotonic() < deadline:
        time.sleep(0.25)
    return led


def _check_leaders(stand: Stand, led: dict[str, str]) -> None:
    """Raises BenchError if a queue isn't led by the node that should lead it."""
    leaders = stand.leaders() if led else {}
    for queue, node in led.items():
        if leaders.get(queue) != node:
            raise BenchError(f"{queue} is led by {leaders.get(queue)}, not by {node}")


@contextlib.contextmanager
def _balancers(stand: Stand, steps: tuple[Step, ...]) -> Iterator[_Balancers]:
    """HAProxy, if any step needs it, and the memory both have while they are fresh."""
    routes = sorted({s.path for s in steps if s.path.balancer == "haproxy"})
    pids = {"warrener": stand.balancer_pid}
    if not routes:
        yield _Balancers({}, "", pids, {name: memory(pid) for name, pid in pids.items()})
        return
    servers = tuple(Server(node.short, node.host, node.amqp_port) for node in stand.nodes)
    ports = dict(zip(routes, free_ports(len(routes)), strict=True))
    listeners = [
        Listener(
            name=route.value,
            port=ports[route],
            balance="leastconn" if route is Route.HAPROXY_LEASTCONN else "roundrobin",
            servers=servers[:1] if route is Route.HAPROXY_PINNED else servers,
        )
        for route in routes
    ]
    with (
        tempfile.TemporaryDirectory(prefix="warrener-bench-haproxy-") as folder,
        run_haproxy(listeners, Path(folder)) as haproxy,
    ):
        pids["haproxy"] = haproxy.worker
        fresh = {name: memory(pid) for name, pid in pids.items()}
        yield _Balancers(ports, haproxy.version, pids, fresh)
