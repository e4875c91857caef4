"""How many cores a process of this machine may use: its control group's quota, its affinity.

Of cgroup v1 the ``cpu`` controller's ``cfs_quota_us`` / ``cfs_period_us`` count, of v2 ``cpu.max``,
of the group itself and of all above it: the least is what is left (Linux, Documentation/
admin-guide/cgroup-v2.rst, "CPU Interface Files"; scheduler/sched-bwc.rst for v1).
"""

import contextlib
from pathlib import Path
from typing import Final

import psutil

_V1: Final = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
_V2: Final = "cpu.max"


def quota_of(
    pid: int, *, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Cores, None if there is no limit but the machine's, or nobody tells."""
    limits = [limit for limit in (_of_groups(pid, proc, groups), _of_affinity(pid)) if limit]
    return min(limits, default=None)


def _of_affinity(pid: int) -> float | None:
    with contextlib.suppress(psutil.Error, AttributeError, OSError):
        allowed = len(psutil.Process(pid).cpu_affinity())
        if allowed < (psutil.cpu_count() or 1):
            return float(allowed)
    return None


def _of_groups(pid: int, proc: Path, groups: Path) -> float | None:
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return None
    limits: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        # In v1 the controller has a folder of its own, called after all that are mounted there.
        roots = (
            (groups / controllers, groups / "cpu") if controllers else (groups, groups / "unified")
        )
        for root in roots:
            limits += _upwards(root, path.strip("/"))
    return min(limits, default=None)


def _upwards(root: Path, path: str) -> list[float]:
    """Of the group and those above it."""
    steps = path.split("/") if path else []
    folders = [root.joinpath(*steps[:depth]) for depth in range(len(steps), -1, -1)]
    return [limit for folder in folders if (limit := _of_folder(folder)) is not None]


def _of_folder(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / _V2).read_text().split()
        return int(quota) / int(period) if quota != "max" else None
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / name).read_text() for name in _V1)
        return int(quota) / int(period) if int(quota) > 0 else None
    return None
