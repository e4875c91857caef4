"""What a process may use: quotas of control groups of both versions, of all above it too."""

import os
from pathlib import Path

import pytest

from warrener.daemon.quota import quota_of


def tree(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "60000 100000\n"}, 0.6),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, None),
        (
            "3:cpu,cpuacct:/x\n1:memory:/y\n0::/\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "4000", "cpu,cpuacct/x/cpu.cfs_period_us": "10000"},
            0.4,
        ),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "10000"}, None),
        ("1:memory:/y\n", {"memory/y/cpu.max": "10000 100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
    ],
)
def test_quotas(tmp_path: Path, cgroup: str, files: dict[str, str], cores: float | None) -> None:
    proc = tree(tmp_path / "proc", {f"{os.getpid()}/cgroup": cgroup})
    found = quota_of(os.getpid(), proc=proc, groups=tree(tmp_path / "groups", files))
    assert found == cores


def test_a_process_that_is_not_there() -> None:
    assert quota_of(2**30) is None


def test_affinity_is_a_limit_too() -> None:
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one core: nothing to leave out")
    os.sched_setaffinity(0, {min(before)})
    try:
        assert quota_of(os.getpid()) == 1
    finally:
        os.sched_setaffinity(0, before)
