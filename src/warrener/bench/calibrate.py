"""`warrener plan calibrate`, as a process of its own (``control.plan_process`` has what it is told
and what it says).

    a room of the daemon's (virtual host, user)  ->  queues, led where they should be
    ->  idle CPU  ->  the steps of ``calibration_plan``, each with the CPU of all who take part
    ->  ``planner.fit``  ->  kept in the state folder

The room is gone when this ends, however it does: the daemon clears it away when we hang up.
"""

import contextlib
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from warrener.bench.calibration_bench import (
    SUBJECT,
    Asked,
    CalibrationBench,
    Say,
    declare_all,
    measure_idle,
    run_all,
    wait_for_members,
)
from warrener.bench.calibration_plan import (
    TooShort,
    duration,
    steps,
    window,
)
from warrener.bench.wire import BenchError
from warrener.control.client import Client, NotRunning, Unresponsive
from warrener.control.names import resolve_node
from warrener.control.operations import STATUS, ProgressLine, StatusRequest
from warrener.control.plan_operations import ROOM, Room, RoomRequest
from warrener.control.plan_process import CalibrateLine, CalibratePlan, CalibrateSpec
from warrener.control.state_folder import StateFolder
from warrener.control.wire import BAD_INPUT as BAD_INPUT_REFUSALS
from warrener.control.wire import BadLine, Refused
from warrener.facts.ids import NodeName, short_name
from warrener.planner import words
from warrener.planner.calibration_file import encode_calibration, write_calibration
from warrener.planner.costs import Calibration, QueueType
from warrener.planner.fit import Surroundings, fit

FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_RUNNING: Final = 3
INTERRUPTED: Final = 130

OTHERS: Final = 0.2
"""Cores that others may use on this machine before it is warned of."""

CLEARED_WITHIN: Final = 60.0


class Stopped(Exception):
    """It can't be done: a sentence, and the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


# -- what is asked for


def _understand(spec: CalibrateSpec, known: list[NodeName]) -> Asked:
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
    return Asked(types, bodies, tuple(dict.fromkeys(nodes)), planned, each)


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


def calibrate(spec: CalibrateSpec, say: Say) -> Calibration:
    """Measures, and keeps what came of it in the state folder. Raises Stopped, BenchError, and what
    the control client does."""
    folder = StateFolder(Path(spec.state))
    taken_at, began = time.time(), time.monotonic()
    with _room(folder) as room:
        asked = _understand(spec, [node.name for node in room.nodes])
        bench = CalibrationBench(room, asked)
        total = len(asked.steps)
        say(ProgressLine(SUBJECT, "declares queues", count=0, total=total))
        names = declare_all(bench)
        members = wait_for_members(folder, room.vhost, names)
        say(ProgressLine(SUBJECT, "nodes without load", count=0, total=total))
        idle = measure_idle(bench)
        if not idle.nodes:
            raise Stopped(
                "no node's CPU time can be read: Warrener doesn't run them on this machine, and "
                "their metrics (plugin rabbitmq_prometheus) can't be reached"
            )
        warnings = [f"left out: {why}" for why in room.left_out]
        blind = [short_name(name) for name in bench.nodes if name not in idle.nodes]
        if blind:
            warnings.append(f"the CPU time of {', '.join(blind)} can't be read")
        by_metrics = [
            short_name(source.name)
            for source in bench.sources
            if source.name in idle.nodes and source.process() is None
        ]
        if by_metrics:
            warnings.append(
                f"{', '.join(by_metrics)}: by the nodes' own metrics, which leave out what the "
                f"kernel does for them: a fifth to a half comes on top"
            )
        limited = [f"{short_name(name)} {words.cores(s)}" for name, s in bench.shares.items()]
        if limited:
            warnings.append(f"less than their hosts have may be used by {', '.join(limited)}")
        if idle.others > OTHERS:
            warnings.append(
                f"other processes used {idle.others:.1f} of this machine's "
                f"{bench.cores[platform.node()]} cores before it began: limits are too low, and "
                f"costs less sure than their errors say"
            )
        measured = run_all(bench, members, spec.seconds, began, say)
        around = Surroundings(
            taken_at=taken_at,
            seconds=time.monotonic() - began,
            cluster=room.cluster,
            version=room.version,
            hosts={node.name: node.host for node in room.nodes},
            cores=bench.cores,
            shares=bench.shares,
        )
    if not any(run.balancer is None for run in measured.runs):
        raise Stopped(f"nothing could be measured: {measured.failures[0]}")
    calibration = fit(
        measured.runs,
        idle=idle.nodes,
        around=around,
        balancer_idle=idle.balancer,
        waits=measured.waits,
        warnings=[*warnings, *measured.failures],
    )
    write_calibration(folder.path, calibration)
    say(ProgressLine(SUBJECT, f"done in {around.seconds:.0f} s", done=True))
    return calibration


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
