"""The measurements of a calibration, in a room that is lent: queues, idle CPU, one step after the
other. Each load is a process of its own (``job``); the CPU of all who take part is read beside it.
"""

import asyncio
import contextlib
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from warrener.bench.alone import AloneResult, AloneSpec
from warrener.bench.calibration_plan import (
    IDLE,
    PACE,
    SETTLE,
    WARM_UP,
    Shape,
    Step,
    shortened,
)
from warrener.bench.cpu import Meter, NodeSource
from warrener.bench.cpu import ask as ask_metrics
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target
from warrener.control.client import Client
from warrener.control.operations import STATUS, ProgressLine, StatusRequest
from warrener.control.plan_operations import Room, RoomNode
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName
from warrener.management.client import ManagementError
from warrener.planner.costs import QueueType, Wait
from warrener.planner.fit import Run

MEMBERS_KNOWN: Final = 10.0
"""Seconds for the daemon's view to have the new queues; it looks every second or so."""

KEPT_MESSAGES: Final = 2_000
"""Of a queue that nobody consumes from: the oldest are dropped above it."""

STREAM_BYTES: Final = 100_000_000
STREAM_SEGMENT: Final = 20_000_000
"""Bytes that a stream keeps, and of which it drops that much at once."""

SAMPLES: Final = 8
"""Of a window: how the rate varied."""

LATE: Final = 1.5
LATE_BY: Final = 30.0
"""Times as long as it may take, and seconds more, on a machine that is busy, before the rest is
left out. Half a calibration is of little use, and a short one is late easily."""

ATTEMPTS: Final = 2
"""At a step that fails."""

SPARE: Final = 30.0
"""Seconds a measurement may take beyond its window before it is given up."""

SUBJECT: Final = "calibration"

Members = dict[str, tuple[NodeName, ...]]
Say = Callable[[ProgressLine], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be measured; ``window`` in seconds."""

    types: tuple[QueueType, ...]
    bodies: tuple[int, ...]
    nodes: tuple[NodeName, ...]  # that clients connect to, and that lead
    steps: tuple[Step, ...]
    window: float


class CalibrationBench:
    """A room with its nodes as targets."""

    def __init__(self, room: Room, asked: Asked) -> None:
        self.room = room
        self.asked = asked
        self.nodes = {node.name: node for node in room.nodes}
        self.sources = [
            NodeSource(node.name, node.pid, node.metrics, room.metrics_ca, node.metrics_name)
            for node in room.nodes
        ]
        self.cores = self._cores()
        self.shares = {
            node.name: node.cores
            for node in room.nodes
            if node.cores is not None and node.cores < self.cores.get(node.host, node.cores)
        }

    def target(self, number: int) -> Target:
        """Straight to a node."""
        node = self.node(number)
        room = self.room
        name = node.server_name
        return Target(
            node.address, node.amqp_port, room.user, room.password, room.vhost, room.ca, name
        )

    def node(self, number: int) -> RoomNode:
        """Of the nodes that are asked for."""
        return self.nodes[self.asked.nodes[number]]

    def _cores(self) -> dict[str, int]:
        """Of each host: of this machine by its own word, of others by the nodes'."""
        cores = {platform.node(): os.cpu_count() or 1}
        for source in self.sources:
            host = self.nodes[source.name].host
            if host not in cores and source.metrics:
                with contextlib.suppress(ManagementError):
                    cores[host] = asyncio.run(ask_metrics(source)).cores
        return cores

    @property
    def balancer(self) -> Target:
        """Through it."""
        room = self.room
        return Target(
            room.balancer_host,
            room.balancer_port,
            room.user,
            room.password,
            room.vhost,
            room.balancer_ca,
        )


def _queue(kind: QueueType, body: int, *, full: bool) -> str:
    return f"{kind}-{body}{'-full' * full}"


def declare_all(bench: CalibrationBench) -> list[str]:
    """A queue for each type and size, and one that nobody consumes from; their names."""
    names = []
    for step in bench.asked.steps:
        if step.shape not in (Shape.BOTH, Shape.PUBLISH):
            continue
        full = step.shape is Shape.PUBLISH
        others: dict[str, str | int] = {}
        if step.type is QueueType.STREAM:
            others |= {"x-max-length-bytes": STREAM_BYTES, "x-max-age": "1h"}
            others |= {"x-stream-max-segment-size-bytes": STREAM_SEGMENT}
            # On all of them: RabbitMQ 3.10 doesn't tell a stream's members.
            others |= {"x-initial-cluster-size": len(bench.nodes)}
        elif full:
            others |= {"x-max-length": KEPT_MESSAGES, "x-overflow": "drop-head"}
        name = _queue(step.type, step.body, full=full)
        declare(bench.target(step.leader), name, kind=step.type, others=others)
        names.append(name)
    return names


def wait_for_members(folder: StateFolder, vhost: str, names: list[str]) -> Members:
    """Queue -> its members, as soon as the daemon's view has them all. Raises BenchError."""
    deadline = time.monotonic() + MEMBERS_KNOWN
    with Client.connect(folder) as client:
        while True:
            queues = client.call(STATUS, StatusRequest()).queues
            found = {queue.name: queue.members for queue in queues if queue.vhost == vhost}
            if all(name in found for name in names):
                return found
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the cluster doesn't show the queues that were declared in {vhost} within "
                    f"{MEMBERS_KNOWN:g} s; `warrener status` may say why"
                )
            time.sleep(0.5)


@dataclass(frozen=True, slots=True)
class Idle:
    """Cores: of each node, of the balancer, and on this machine of everybody else."""

    nodes: dict[NodeName, float]
    balancer: float
    others: float


def measure_idle(bench: CalibrationBench) -> Idle:
    """Takes ``IDLE`` seconds."""
    with Meter(bench.sources, {"balancer": bench.room.balancer_pid}) as meter:
        start = time.monotonic()
        time.sleep(IDLE)
        end = time.monotonic()
    seconds = end - start
    used = {name: meter.used(name, start, end) for name in bench.nodes}
    nodes = {name: cpu / seconds for name, cpu in used.items() if cpu is not None}
    balancer = (meter.used("balancer", start, end) or 0.0) / seconds
    here = platform.node()
    known = sum(cores for name, cores in nodes.items() if bench.nodes[name].host == here)
    others = meter.busy(start, end) * bench.cores[here] - known - balancer
    return Idle(nodes, balancer, max(0.0, others))


def _measure(
    bench: CalibrationBench,
    step: Step,
    rate: float | None,
    members: Members,
    window: float,
) -> Run:
    """One step. Raises BenchError."""
    leader, other = bench.target(step.leader), bench.target(step.other)
    publish = {Shape.ENTER: other, Shape.BALANCER: bench.balancer}.get(step.shape, leader)
    consume = {Shape.LEAVE: other, Shape.BALANCER: bench.balancer}.get(step.shape, leader)
    full = step.shape is Shape.PUBLISH
    queue = _queue(step.type, step.body, full=full)
    spec = LoadSpec(
        (Flow(queue, publish, consume, rate),),
        body=step.body,
        warmup=WARM_UP,
        seconds=window,
        publish_only=full,
        streams=step.type is QueueType.STREAM,
        sample_every=window / SAMPLES,
    )
    with Meter(bench.sources, {"balancer": bench.room.balancer_pid}) as meter:
        done = measure(spec, LoadResult, timeout=window + SPARE)
    start, end = done.samples[0], done.samples[-1]
    lead = bench.asked.nodes[step.leader]
    away = bench.asked.nodes[step.other]
    cpu = {name: meter.used(name, start.at, end.at) for name in bench.nodes}
    balancer = meter.used("balancer", start.at, end.at)
    if step.shape is Shape.BALANCER and balancer is None:
        raise BenchError("the balancer's CPU time can't be read")
    return Run(
        type=step.type,
        body=step.body,
        leader=lead,
        followers=_followers(bench, step, lead, members.get(queue, ())),
        publisher=away if step.shape is Shape.ENTER else lead,
        consumer=None if full else away if step.shape is Shape.LEAVE else lead,
        published=end.published - start.published,
        delivered=end.delivered - start.delivered,
        seconds=end.at - start.at,
        cpu={name: used for name, used in cpu.items() if used is not None},
        client=end.cpu - start.cpu,
        balancer=balancer if step.shape is Shape.BALANCER else None,
        saturated=step.shape is not Shape.PACED,
        busy=_busy(bench, meter, start.at, end.at),
        error=_error(done),
    )


def _measure_alone(bench: CalibrationBench, step: Step, window: float) -> Wait:
    """BenchError."""
    queue = _queue(step.type, step.body, full=False)
    spec = AloneSpec(queue, bench.target(step.leader), step.body, window)
    done = measure(spec, AloneResult, timeout=window + SPARE)
    return Wait(done.transit, done.turnaround)


def _followers(
    bench: CalibrationBench, step: Step, leader: NodeName, members: tuple[NodeName, ...]
) -> tuple[NodeName, ...]:
    if step.type is QueueType.STREAM:
        members = tuple(bench.nodes)
    return tuple(name for name in members if name != leader)


def _busy(bench: CalibrationBench, meter: Meter, start: float, end: float) -> dict[str, float]:
    """Of this machine, where the generator is, by its own word; of others, what nodes use there;
    and of what a node may use of its host, where that is a part."""
    here = platform.node()
    busy = {here: meter.busy(start, end)}
    for name, node in bench.nodes.items():
        used = meter.used(name, start, end)
        if node.host != here and used is not None:
            cores = bench.cores.get(node.host, 1)
            busy[node.host] = busy.get(node.host, 0.0) + used / (end - start) / cores
        if used is not None and name in bench.shares:
            busy[name] = used / (end - start) / bench.shares[name]
    return busy


def _error(done: LoadResult) -> float:
    """Standard error of the rate, as a part of it, by how it varied within the window. Samples are
    taken for independent, which they aren't quite."""
    rates = [
        (after.published - before.published) / (after.at - before.at)
        for before, after in zip(done.samples, done.samples[1:], strict=False)
        if after.at > before.at
    ]
    mean = statistics.fmean(rates) if rates else 0.0
    if len(rates) < 2 or mean <= 0:
        return 0.0
    return float(statistics.stdev(rates) / len(rates) ** 0.5 / mean)


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of the steps; ``failures`` in words."""

    runs: list[Run] = field(default_factory=list)
    waits: dict[QueueType, Wait] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run_all(
    bench: CalibrationBench,
    members: Members,
    seconds: float,
    began: float,
    say: Say,
) -> Measured:
    """All steps; what fails is left out. What took longer than planned, on a machine that is busy,
    shortens the windows that follow."""
    measured = Measured()
    runs, failures = measured.runs, measured.failures
    planned = bench.asked.steps
    total = len(planned)
    rate = 0.0
    for number, step in enumerate(planned, 1):
        if step.shape is Shape.PACED and not rate:
            continue  # its limit wasn't measured
        passed = time.monotonic() - began
        if passed > LATE * seconds + LATE_BY:
            late = f"{total - number + 1} of {total} measurements were left out: it took too long"
            failures.append(f"{late} on a machine as busy as this; a longer --seconds has them all")
            break
        say(ProgressLine(SUBJECT, step.told, count=number, total=total))
        paced = rate * PACE if step.shape is Shape.PACED else None
        each = shortened(bench.asked.window, seconds - passed, total - number + 1)
        run = None
        for attempt in range(ATTEMPTS):
            try:
                if step.shape is Shape.ALONE:
                    measured.waits[step.type] = _measure_alone(bench, step, each)
                else:
                    run = _measure(bench, step, paced, members, each)
                break
            except BenchError as error:
                if attempt == ATTEMPTS - 1:
                    failures.append(f"{step.told}: {error}")
                    say(ProgressLine(SUBJECT, f"{step.told}: {error}", failed=True))
            time.sleep(SETTLE)
        if step.shape is Shape.BOTH:
            rate = min(run.published, run.delivered) / run.seconds if run else 0.0
        if run is not None:
            runs.append(run)
        time.sleep(SETTLE)
    return measured
