"""What a control group allows, out of the files as kernels and container runtimes write them."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from warrener.bench.cores import limited
from warrener.bench.wire import BenchError
from warrener.cluster.drivers.cpu_share import (
    MOUNTS,
    Files,
    Here,
    allowed,
    cpu_share,
    groups,
    quotas,
)

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
# Docker without a namespace of control groups: only its own part is mounted.
DOCKER = "70 60 0:29 /docker/ab /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"


class Host:
    """Files of a machine."""

    def __init__(self, files: Files) -> None:
        self.files = files

    async def read(self, paths: Sequence[Path]) -> Files:
        return {path: self.files[path] for path in paths if path in self.files}


def machine(cgroup: str, mounts: str, status: str = "", **limits: str) -> Host:
    files = {Path("/proc/7/cgroup"): cgroup, MOUNTS: mounts, Path("/proc/7/status"): status}
    files |= {Path(path): text for path, text in limits.items()}
    return Host(files)


def test_where_groups_are() -> None:
    base = Path("/sys/fs/cgroup")
    assert groups("4:cpu,cpuacct:/a/b\n2:cpuset:/c\n", V1) == [
        base / "cpu,cpuacct/a/b",
        base / "cpu,cpuacct/a",
        base / "cpu,cpuacct",
    ]
    assert groups("0::/system.slice/r.service\n", V2) == [
        base / "system.slice/r.service",
        base / "system.slice",
        base,
    ]
    assert groups("0::/\n", V2) == [base]
    assert groups("4:cpu,cpuacct:/docker/ab\n", DOCKER) == [base / "cpu"]
    assert groups("4:cpu,cpuacct:/docker/ab/x\n", DOCKER) == [base / "cpu/x", base / "cpu"]


@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [("0::/../other\n", V2), ("4:cpu:/elsewhere\n", DOCKER), ("0::/a\n", ""), ("nonsense", V2)],
)
def test_a_group_that_cannot_be_seen_is_none(cgroup: str, mounts: str) -> None:
    assert groups(cgroup, mounts) == []


def test_what_quotas_say() -> None:
    group = Path("/g")
    assert list(quotas({group / "cpu.max": "150000 100000\n"})) == [1.5]
    assert list(quotas({group / "cpu.max": "max 100000\n"})) == []
    v1 = {group / "cpu.cfs_quota_us": "5000\n", group / "cpu.cfs_period_us": "10000\n"}
    assert list(quotas(v1)) == [0.5]
    assert list(quotas({**v1, group / "cpu.cfs_quota_us": "-1\n"})) == []
    assert list(quotas({group / "cpu.cfs_quota_us": "5000\n"})) == []
    assert list(quotas({group / "cpu.max": ""})) == []


def test_the_cores_that_a_process_is_bound_to() -> None:
    assert list(allowed("Name:\tbeam.smp\nCpus_allowed_list:\t0-1,4\nMems_allowed_list:\t0\n")) == [
        3
    ]
    assert list(allowed("Cpus_allowed_list:\t7\n")) == [1]
    assert list(allowed("Cpus_allowed_list:\t\n")) == []
    assert list(allowed("")) == []


async def test_the_least_of_all_that_limits_it() -> None:
    folder = "/sys/fs/cgroup/pod/container"
    limits = {f"{folder}/cpu.max": "400000 100000", "/sys/fs/cgroup/pod/cpu.max": "250000 100000"}
    host = machine("0::/pod/container\n", V2, "Cpus_allowed_list:\t0-15\n", **limits)
    assert await cpu_share(host, 7) == 2.5
    host = machine("0::/pod/container\n", V2, "Cpus_allowed_list:\t0-1\n", **limits)
    assert await cpu_share(host, 7) == 2.0
    assert await cpu_share(host, 8) is None  # it is gone


async def test_this_very_process() -> None:
    """Whatever limits it here: never more than it is bound to, never nothing."""
    share = await cpu_share(Here(), os.getpid())
    assert share is not None
    assert 0 < share <= len(os.sched_getaffinity(0))


async def test_a_real_control_group() -> None:
    """As a container's; takes root, and Linux."""
    process = await asyncio.create_subprocess_exec("sleep", "60")
    try:
        before = await cpu_share(Here(), process.pid)
        with limited({"n1": process.pid}, 0.5, name="warrener-unit"):
            assert await cpu_share(Here(), process.pid) == 0.5
        assert await cpu_share(Here(), process.pid) == before
    except BenchError as error:
        pytest.skip(str(error))
    finally:
        process.kill()
        await process.wait()
