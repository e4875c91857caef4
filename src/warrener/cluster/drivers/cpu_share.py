"""How much of its host's CPU a node may use: a container's quota, and the cores it is bound to.

Linux tells both in files: ``/proc/PID/cgroup`` and ``/proc/self/mountinfo`` say where the process's
control group is, ``cpu.max`` (cgroup v2) or ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us`` (v1)
what it may use; a group can't use more than those above it. ``/proc/PID/status`` has the cores.
(Kernel: Documentation/admin-guide/cgroup-v2.rst, "cpu.max"; scheduler/sched-bwc.rst for v1.)

A process whose group lies outside of what can be seen here (``/../x``) has no quota that can be
told. Only ``cpu_share`` asks a host; the rest is pure.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

MOUNTS: Final = Path("/proc/self/mountinfo")

_V2: Final = "cpu.max"
_V1: Final = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
_DEEPEST: Final = 32
"""Groups above one another; systemd and Kubernetes make up to eight."""

Files = Mapping[Path, str]


class Reads(Protocol):
    """A host, as far as its files go."""

    async def read(self, paths: Sequence[Path]) -> Files:
        """The contents of those that are there and can be read."""


class Here:
    """This machine."""

    async def read(self, paths: Sequence[Path]) -> Files:
        return read(paths)


def read(paths: Sequence[Path]) -> Files:
    """Files here, as ``Reads`` has it."""
    found = {}
    for path in paths:
        with contextlib.suppress(OSError):
            found[path] = path.read_text("utf-8", "replace")
    return found


async def cpu_share(host: Reads, pid: int) -> float | None:
    """Cores that a process there may use; None if nothing limits it, or nobody tells."""
    cgroup, status = Path(f"/proc/{pid}/cgroup"), Path(f"/proc/{pid}/status")
    told = await host.read([cgroup, status, MOUNTS])
    folders = groups(told.get(cgroup, ""), told.get(MOUNTS, ""))
    limits = await host.read([folder / name for folder in folders for name in (_V2, *_V1)])
    found = [*quotas(limits), *allowed(told.get(status, ""))]
    return min(found, default=None)


def groups(cgroup: str, mounts: str) -> list[Path]:
    """The folders of a process's control group that may limit its CPU, and of those above it."""
    found = []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        v2 = number == "0" and not controllers
        if not v2 and "cpu" not in controllers.split(","):
            continue
        mount = _mount(mounts, v2=v2)
        if mount is None:
            continue
        root, point = mount
        below = _below(path, root)
        if below is None:
            continue
        found += [point.joinpath(*below[:depth]) for depth in range(len(below), -1, -1)]
    return found[:_DEEPEST]


def _mount(mounts: str, *, v2: bool) -> tuple[str, Path] | None:
    """Which group is mounted, and where."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, what = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(what) < 3:
            continue
        if what[0] == "cgroup2" if v2 else (what[0] == "cgroup" and "cpu" in what[2].split(",")):
            return fields[3], Path(fields[4])
    return None


def _below(path: str, root: str) -> tuple[str, ...] | None:
    """The parts of a group's path below the one that is mounted; None if it isn't below it."""
    parts = PurePosixPath(path).parts[1:]
    if ".." in parts:
        return None
    mounted = PurePosixPath(root).parts[1:]
    if parts[: len(mounted)] == mounted:
        return parts[len(mounted) :]
    return None


def quotas(files: Files) -> Iterable[float]:
    """Cores, of each group that has a limit."""
    for path, text in files.items():
        if path.name == _V2:
            yield from _ratio(*text.split()[:2])
        elif path.name == _V1[0]:
            yield from _ratio(text.strip(), files.get(path.with_name(_V1[1]), "").strip())


def _ratio(quota: str = "", period: str = "") -> Iterable[float]:
    """Nothing for ``max`` and -1, which are no limit."""
    if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
        yield int(quota) / int(period)


def allowed(status: str) -> Iterable[float]:
    """The number of cores that a process is bound to, which may be all: ``0-1,4`` are 3."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name != "Cpus_allowed_list":
            continue
        spans = [part.strip().partition("-") for part in value.split(",") if part.strip()]
        if spans and all(
            low.isdigit() and (not dash or high.isdigit()) for low, dash, high in spans
        ):
            yield float(sum(int(high or low) - int(low) + 1 for low, _, high in spans))
