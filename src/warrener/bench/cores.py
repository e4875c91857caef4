"""Each node with its own share of this machine's CPU, as if on a host of its own.

On one machine nodes share the cores, so a node that does more than the others costs nothing: it
takes what they leave. Where that is what is to be measured, each node's processes go into a control
group with a quota (cgroup v1 or v2; root, Linux).
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil

from warrener.bench.wire import BenchError

_PERIOD: Final = 10_000  # us; short, so that a node doesn't stand still for long
_V1: Final = Path("/sys/fs/cgroup/cpu")
_V2: Final = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def limited(pids: Mapping[str, int], cores: float, name: str = "warrener-bench") -> Iterator[None]:
    """Inside the block each of the processes, and its children, has ``cores`` at most. BenchError
    where control groups can't be made."""
    made: list[Path] = []
    try:
        for node, pid in pids.items():
            made.append(_group(f"{name}-{pid}-{node}", cores))
            for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
                _write(made[-1] / "cgroup.procs", str(process.pid))
        yield
    finally:
        for group in made:
            _empty(group)
            with contextlib.suppress(OSError):
                group.rmdir()


def _group(name: str, cores: float) -> Path:
    quota = int(cores * _PERIOD)
    v1 = (_V1 / "cpu.cfs_quota_us").exists() or (_V1 / "cgroup.procs").exists()
    group = (_V1 if v1 else _V2) / name
    try:
        group.mkdir()
    except OSError as error:
        raise BenchError(f"no control group can be made ({error}); run as root on Linux") from None
    if v1:
        _write(group / "cpu.cfs_period_us", str(_PERIOD))
        _write(group / "cpu.cfs_quota_us", str(quota))
    else:
        _write(group / "cpu.max", f"{quota} {_PERIOD}")
    return group


def _empty(group: Path) -> None:
    """Its processes go back to the parent: they may outlive the block."""
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (group.parent / "cgroup.procs").write_text(pid)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text)
    except OSError as error:
        raise BenchError(f"{file} can't be set to {text!r}: {error}") from None
