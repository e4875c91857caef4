"""`warrener plan calibrate`, as a process of its own (``control.plan_process`` has what it is told
and what it says).

    a room of the daemon's (virtual host, user)  ->  queues, led where they should be
    ->  idle CPU  ->  the steps of ``calibration_plan``, each with the CPU of all who take part
    ->  ``planner.fit``  ->  kept in the state folder

The room is gone when this ends, however it does: the daemon clears it away when we hang up.
"""

import asyncio
import contextlib
import os
import platform
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from warrener.bench.calibration_plan import (
    IDLE,
    PACE,
    SETTLE,
    WARM_UP,
    Shape,
    Step,
    TooShort,
    duration,
    steps,
    window,
)
from warrener.bench.cpu import Meter, NodeSource
from warrener.bench.cpu import ask as ask_metrics
from warrener.bench.job import measure
from warrener.bench.load import Flow, LoadResult, LoadSpec
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target
from warrener.control.client import Client, NotRunning, Unresponsive
from warrener.control.names import resolve_node
from warrener.control.operations import STATUS, ProgressLine, StatusRequest
from warrener.control.plan_operations import ROOM, Room, RoomNode, RoomRequest
from warrener.control.plan_process import CalibrateLine, CalibratePlan, CalibrateSpec
from warrener.control.state_folder import StateFolder
from warrener.control.wire import BAD_INPUT as BAD_INPUT_REFUSALS
from warrener.control.wire import BadLine, Refused
from warrener.facts.ids import NodeName, short_name
from warrener.management.client import ManagementError
from warrener.planner.calibration_file import encode_calibration, write_calibration
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.fit import Run, Surroundings, fit

FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_RUNNING: Final = 3
INTERRUPTED: Final = 130

MEMBERS_KNOWN: Final = 10.0
"""Seconds for the daemon's view to have the new queues; it looks every second or so."""

KEPT_MESSAGES: Final = 2_000
"""Of a queue that nobody consumes from: the oldest are dropped above it."""

STREAM_BYTES: Final = 100_000_000
STREAM_SEGMENT: Final = 20_000_000
"""Bytes that a stream keeps, and of which it drops that much at once."""

SAMPLES: Final = 8
"""Of a window: how the rate varied."""

SPARE: Final = 30.0
"""Seconds a measurement may take beyond its window before it is given up."""

CLEARED_WITHIN: Final = 60.0

_SUBJECT: Final = "calibration"

Say = Callable[[ProgressLine], None]


class Stopped(Exception):
    """It can't be done: a sentence, and the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


# -- what is asked for


@dataclass(frozen=True, slots=True)
class _Asked:
    types: tuple[QueueType, ...]
    bodies: tuple[int, ...]
    nodes: tuple[NodeName, ...]  # that clients connect to, and that lead
    steps: tuple[Step, ...]
    window: float


def _understand(spec: CalibrateSpec, known: list[NodeName]) -> _Asked:
    """``known``: the nodes that take clients. Raises Stopped."""
    if not known:
        raise Stopped("no node takes clients; `warrener status` shows them")
    try:
        types = tuple(QueueType(name) for name in spec.types) or tuple(QueueType)
    except ValueError as error:
        allowed = ", ".join(QueueType)
        raise Stopped(f"--types: {error}; there are {allowed}", BAD_INPUT) from None
    try:
        nodes = tuple(resolve_node(name, known) for name in spec.nodes) or tuple(known)
    except Refused as refused:
        raise Stopped(f"--nodes: {refused.message}", BAD_INPUT) from None
    bodies = tuple(sorted(set(spec.bodies)))
    planned = steps(tuple(dict.fromkeys(types)), bodies, len(dict.fromkeys(nodes)))
    try:
        each = window(spec.seconds, len(planned))
    except TooShort as error:
        raise Stopped(str(error), BAD_INPUT) from None
    return _Asked(types, bodies, tuple(dict.fromkeys(nodes)), planned, each)


def plan(spec: CalibrateSpec) -> CalibratePlan:
    """What a run would do. Raises Stopped and what ``Client.connect`` does."""
    with Client.connect(StateFolder(Path(spec.state))) as client:
        status = client.call(STATUS, StatusRequest(queues=False))
    asked = _understand(spec, [node.name for node in status.nodes if node.fit])
    return CalibratePlan(
        nodes=[short_name(name) for name in asked.nodes],
        window=asked.window,
        seconds=duration(asked.window, len(asked.steps)),
        steps=[
            f"{step.told} (led by {short_name(asked.nodes[step.leader])})" for step in asked.steps
        ],
    )


# -- the room


@contextlib.contextmanager
def _room(folder: StateFolder) -> Iterator[Room]:
    """Lent for as long as the ``with`` lasts; at its end it is waited for until it is gone."""
    with Client.connect(folder) as client:
        lines = client.stream(ROOM, RoomRequest(), timeout=CLEARED_WITHIN)
        room = next((line.room for line in lines if line.room is not None), None)
        if room is None:
            raise Stopped("the daemon gave no virtual host to measure in")
        try:
            yield room
        finally:
            with _uninterrupted(), contextlib.suppress(Unresponsive, Refused):
                # Also where the daemon is being stopped: it clears up by itself then.
                client.give_up()
                for _ in lines:
                    pass


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Bench:
    """A room with its nodes as targets."""

    def __init__(self, room: Room, asked: _Asked) -> None:
        self.room = room
        self.asked = asked
        self.nodes = {node.name: node for node in room.nodes}
        self.sources = [
            NodeSource(node.name, node.pid, node.metrics, room.metrics_ca, node.metrics_name)
            for node in room.nodes
        ]
        self.cores = self._cores()

    def target(self, number: int) -> Target:
        node = self.node(number)
        room = self.room
        name = node.server_name
        return Target(
            node.address, node.amqp_port, room.user, room.password, room.vhost, room.ca, name
        )

    def node(self, number: int) -> RoomNode:
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


def _declare_all(bench: _Bench) -> list[str]:
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
        elif full:
            others |= {"x-max-length": KEPT_MESSAGES, "x-overflow": "drop-head"}
        name = _queue(step.type, step.body, full=full)
        declare(bench.target(step.leader), name, kind=step.type, others=others)
        names.append(name)
    return names


def _members(folder: StateFolder, vhost: str, names: list[str]) -> dict[str, tuple[NodeName, ...]]:
    """Queue -> its members, as soon as the daemon's view has them all. Raises Stopped."""
    deadline = time.monotonic() + MEMBERS_KNOWN
    with Client.connect(folder) as client:
        while True:
            queues = client.call(STATUS, StatusRequest()).queues
            found = {queue.name: queue.members for queue in queues if queue.vhost == vhost}
            if all(name in found for name in names):
                return found
            if time.monotonic() > deadline:
                raise Stopped(
                    f"the cluster doesn't show the queues that were declared in {vhost} within "
                    f"{MEMBERS_KNOWN:g} s; `warrener status` may say why"
                )
            time.sleep(0.5)


# -- measuring


@dataclass(frozen=True, slots=True)
class _Idle:
    nodes: dict[NodeName, float]
    balancer: float


def _measure_idle(bench: _Bench) -> _Idle:
    with Meter(bench.sources, {"balancer": bench.room.balancer_pid}) as meter:
        start = time.monotonic()
        time.sleep(IDLE)
        end = time.monotonic()
    cores = {name: meter.used(name, start, end) for name in bench.nodes}
    balancer = meter.used("balancer", start, end) or 0.0
    return _Idle(
        {name: used / (end - start) for name, used in cores.items() if used is not None},
        balancer / (end - start),
    )


def _measure(
    bench: _Bench, step: Step, rate: float | None, members: dict[str, tuple[NodeName, ...]]
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
        seconds=bench.asked.window,
        publish_only=full,
        streams=step.type is QueueType.STREAM,
        sample_every=bench.asked.window / SAMPLES,
    )
    with Meter(bench.sources, {"balancer": bench.room.balancer_pid}) as meter:
        done = measure(spec, LoadResult, timeout=bench.asked.window + SPARE)
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
        followers=tuple(name for name in members.get(queue, ()) if name != lead),
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


def _busy(bench: _Bench, meter: Meter, start: float, end: float) -> dict[str, float]:
    """Of this machine, where the generator is, by its own word; of others, what nodes use there."""
    here = platform.node()
    busy = {here: meter.busy(start, end)}
    for name, node in bench.nodes.items():
        used = meter.used(name, start, end)
        if node.host != here and used is not None:
            cores = bench.cores.get(node.host, 1)
            busy[node.host] = busy.get(node.host, 0.0) + used / (end - start) / cores
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


def calibrate(spec: CalibrateSpec, say: Say) -> Calibration:
    """Measures, and keeps what came of it in the state folder. Raises Stopped, BenchError, and what
    the control client does."""
    folder = StateFolder(Path(spec.state))
    taken_at, began = time.time(), time.monotonic()
    with _room(folder) as room:
        asked = _understand(spec, [node.name for node in room.nodes])
        bench = _Bench(room, asked)
        total = len(asked.steps)
        say(ProgressLine(_SUBJECT, "declares queues", count=0, total=total))
        names = _declare_all(bench)
        members = _members(folder, room.vhost, names)
        say(ProgressLine(_SUBJECT, "nodes without load", count=0, total=total))
        idle = _measure_idle(bench)
        if not idle.nodes:
            raise Stopped(
                "no node's CPU time can be read: Warrener doesn't run them on this machine, and "
                "their metrics (plugin rabbitmq_prometheus) can't be reached"
            )
        warnings = [f"left out: {why}" for why in room.left_out]
        blind = [short_name(name) for name in bench.nodes if name not in idle.nodes]
        if blind:
            warnings.append(f"the CPU time of {', '.join(blind)} can't be read")
        runs, failures = _run_all(bench, members, say)
        around = Surroundings(
            taken_at=taken_at,
            seconds=time.monotonic() - began,
            cluster=room.cluster,
            version=room.version,
            hosts={node.name: node.host for node in room.nodes},
            cores=bench.cores,
        )
    if not any(run.balancer is None for run in runs):
        raise Stopped(f"nothing could be measured: {failures[0]}")
    calibration = fit(
        runs,
        idle=idle.nodes,
        around=around,
        balancer_idle=idle.balancer,
        warnings=[*warnings, *failures],
    )
    write_calibration(folder.path, calibration)
    say(ProgressLine(_SUBJECT, f"done in {around.seconds:.0f} s", done=True))
    return calibration


def _run_all(
    bench: _Bench, members: dict[str, tuple[NodeName, ...]], say: Say
) -> tuple[list[Run], list[str]]:
    """What was measured, and in words what failed: the rest goes on without it."""
    runs: list[Run] = []
    failures: list[str] = []
    total = len(bench.asked.steps)
    rate = 0.0
    for number, step in enumerate(bench.asked.steps, 1):
        if step.shape is Shape.PACED and not rate:
            continue  # its limit wasn't measured
        say(ProgressLine(_SUBJECT, step.told, count=number, total=total))
        paced = rate * PACE if step.shape is Shape.PACED else None
        try:
            run = _measure(bench, step, paced, members)
        except BenchError as error:
            failures.append(f"{step.told}: {error}")
            say(ProgressLine(_SUBJECT, f"{step.told}: {error}", failed=True))
            run = None
        if step.shape is Shape.BOTH:
            rate = min(run.published, run.delivered) / run.seconds if run else 0.0
        if run is not None:
            runs.append(run)
        time.sleep(SETTLE)
    return runs, failures


# -- the process


def _line(line: CalibrateLine) -> None:
    """BrokenPipeError if nobody reads any more: it ends then, as after Ctrl-C."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _answer(spec: CalibrateSpec) -> CalibrateLine:
    if spec.dry_run:
        return CalibrateLine(plan=plan(spec))
    calibration = calibrate(spec, lambda line: _line(CalibrateLine(progress=line)))
    return CalibrateLine(calibration=encode_calibration(calibration).decode())


def main() -> None:
    """Spec on stdin, lines on stdout."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=CalibrateSpec)
    try:
        last = _answer(spec)
    except Stopped as stopped:
        last = CalibrateLine(error=str(stopped), code=stopped.code)
    except NotRunning as error:
        last = CalibrateLine(error=str(error), code=NOT_RUNNING)
    except Refused as refused:
        code = BAD_INPUT if refused.refusal in BAD_INPUT_REFUSALS else FAILED
        last = CalibrateLine(error=refused.message, code=code)
    except (BenchError, Unresponsive, BadLine) as error:
        last = CalibrateLine(error=str(error))
    except KeyboardInterrupt:
        last = CalibrateLine(error="interrupted; the cluster is as it was", code=INTERRUPTED)
    except BrokenPipeError:
        os._exit(FAILED)  # nobody to tell; the room is gone by now
    with contextlib.suppress(BrokenPipeError):
        _line(last)


if __name__ == "__main__":
    main()
