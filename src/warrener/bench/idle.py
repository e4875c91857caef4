"""What an idle session costs a balancer in memory.

What is counted is the anonymous memory of the balancer's process (heap and stacks, swapped out or
not), before and with the connections open. RSS and PSS would add pages of files: PSS changes when
any other Python process begins or ends, RSS when the kernel drops cold pages. The kernel's own
memory for sockets is in none of them.

A process keeps what it once had, so the state before is taken once, when the balancer is fresh,
and given to every later run (``baseline``).
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warrener.bench.wire import BenchError, Target, Wire

_OTHER_FILES: Final = 20  # a balancer's own sockets come and go: probes, a status being asked for


@dataclass(frozen=True, slots=True)
class IdleSpec:
    """One run. ``pid`` is the balancer's process, ``baseline`` its memory in KiB when it
    was fresh.

    ``settle`` is the wait before measuring, in seconds.
    """

    target: Target
    pid: int
    baseline: int
    sessions: int = 2_000
    settle: float = 1.0


@dataclass(frozen=True, slots=True)
class IdleResult:
    """Memory in KiB."""

    per_session: float
    with_sessions: int
    sessions: int


def memory(pid: int) -> int:
    """A process's anonymous memory in KiB. Raises BenchError if it can't be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise BenchError(f"can't read the memory of process {pid}: {error.strerror}") from None
    return parse_rollup(text)


def parse_rollup(text: str) -> int:
    """Anonymous memory, swapped out or not, in KiB, of the text of a ``smaps_rollup``."""
    sizes = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[key] = int(value.split()[0])
    if "Anonymous" not in sizes:
        raise BenchError("smaps_rollup doesn't say how much memory is anonymous")
    return sizes["Anonymous"] + sizes.get("Swap", 0)


def _files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def run_idle(spec: IdleSpec) -> IdleResult:
    """Open the sessions, measure, close them.

    Raises BenchError if any fails, or if the process doesn't hold two sockets a session.
    """
    wires: list[Wire] = []
    files = _files(spec.pid)
    try:
        for number in range(spec.sessions):
            wires.append(Wire(spec.target, name=f"bench idle {number}"))
        time.sleep(spec.settle)
        held = memory(spec.pid)
        files = _files(spec.pid) - files
        if files < 2 * spec.sessions - _OTHER_FILES:
            raise BenchError(
                f"process {spec.pid} holds {files} files for {spec.sessions} sessions: it isn't "
                "the one that carries them, or not alone"
            )
        while wires:
            wires.pop().close()
    finally:
        for wire in wires:
            wire.sock.close()
    return IdleResult((held - spec.baseline) / spec.sessions, held, spec.sessions)
