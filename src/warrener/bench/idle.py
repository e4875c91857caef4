"""What an idle session costs a balancer in memory.

PSS (``/proc/PID/smaps_rollup``: private pages and the share of the shared ones) of the balancer's
process, before and with the connections open. The process keeps what it once had, so the state
before is taken once, when the balancer is fresh, and given to every later run (``baseline``).
"""

import time
from dataclasses import dataclass
from pathlib import Path

from warrener.bench.wire import BenchError, Target, Wire


@dataclass(frozen=True, slots=True)
class IdleSpec:
    """One run. ``pid`` is the balancer's process, ``baseline`` its PSS in KiB when it was fresh.

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


def pss(pid: int) -> int:
    """A process's proportional set size in KiB. Raises BenchError if it can't be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError as error:
        raise BenchError(f"can't read the memory of process {pid}: {error.strerror}") from None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise BenchError(f"/proc/{pid}/smaps_rollup has no Pss")


def run_idle(spec: IdleSpec) -> IdleResult:
    """Open the sessions, measure, close them. Raises BenchError if any fails."""
    wires: list[Wire] = []
    try:
        for number in range(spec.sessions):
            wires.append(Wire(spec.target, name=f"bench idle {number}"))
        time.sleep(spec.settle)
        held = pss(spec.pid)
        while wires:
            wires.pop().close()
    finally:
        for wire in wires:
            wire.sock.close()
    return IdleResult((held - spec.baseline) / spec.sessions, held, spec.sessions)
