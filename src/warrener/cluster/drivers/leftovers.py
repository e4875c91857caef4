"""What a daemon that was killed left running: found by its mark, stopped in order.

The nodes of a cluster outlive a daemon that dies by SIGKILL or a crash (processes.py says why).
``warrener up`` and ``warrener down`` look for them first. These functions block; they are also
used where no event loop runs.
"""

import contextlib
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from warrener.cluster.drivers import erl_call
from warrener.cluster.drivers.node import NO_STATISTICS, QUIET_TIMEOUT
from warrener.cluster.drivers.node_config import tool_environment
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.drivers.processes import kill_marked, marked, marks_ending, part_of
from warrener.cluster.errors import StateBroken
from warrener.facts.ids import NodeName

STOP_TIMEOUT: Final = 30.0
"""Seconds for all nodes together to stop in order, as in node.py."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that belongs to a cluster whose daemon is gone. ``part``: ``n1``, ``epmd``."""

    part: str
    pid: int
    program: str
    started_at: float  # seconds since the epoch


def find_leftovers(state: Path) -> tuple[Leftover, ...]:
    """The running processes of the cluster in ``state``, by part and pid. Meant for a folder that
    no daemon drives: a running cluster's own processes are found as well."""
    found = []
    for process in (process for mark in _marks(state) for process in marked(mark)):
        try:
            found.append(
                Leftover(part_of(process), process.pid, process.name(), process.create_time())
            )
        except psutil.Error:
            continue  # it has ended since
    return tuple(sorted(found, key=lambda one: (one.part, one.pid)))


def stop_leftovers(state: Path, timeout: float = STOP_TIMEOUT) -> int:
    """Stops them: the nodes in order for up to ``timeout`` seconds, then whatever is left by force.
    Returns how many there were."""
    marks = _marks(state)
    found = [process for mark in marks for process in marked(mark)]
    nodes = [process for process in found if _is_vm(process)]
    if timeout > QUIET_TIMEOUT:
        _take_statistics_away(nodes)
    for number in (signal.SIGTERM, signal.SIGCONT):  # a frozen node is thawed to stop in order
        _signal(nodes, number)
    psutil.wait_procs(nodes, timeout=timeout)
    for mark in marks:
        kill_marked(mark)
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline and any(process.is_running() for process in found):
        time.sleep(0.02)
    return len(found)


def _marks(state: Path) -> set[str]:
    """What marks the processes of the cluster in ``state``.

    A damaged record mustn't keep ``down --purge`` from ending them, which is what people are told
    to do about it: any mark made in this folder counts then.
    """
    if not state.is_dir():
        return set()
    files = PrivateFiles(state)
    try:
        record = files.read_record()
    except StateBroken:
        return marks_ending(files.mark_of_folder())
    return {files.mark(record)} if record is not None else set()


def _is_vm(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("beam")
    except psutil.Error:
        return False


def _take_statistics_away(nodes: Sequence[psutil.Process]) -> None:
    """From all at once, so that they stop in 1.5 s instead of 6 (``node.NO_STATISTICS``). One that
    can't be asked, or doesn't answer, is stopped all the same."""
    asked = []
    for node in nodes:
        with contextlib.suppress(psutil.Error, OSError, KeyError):
            environment = node.environ()
            name = NodeName(environment["RABBITMQ_NODENAME"])
            if node.status() == psutil.STATUS_STOPPED or not erl_call.can_reach(environment):
                continue
            asked.append(
                subprocess.Popen(
                    erl_call.command(name, NO_STATISTICS),
                    env=tool_environment(environment, {}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
    deadline = time.monotonic() + QUIET_TIMEOUT
    for one in asked:
        try:
            one.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def _signal(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.Error:
            continue
