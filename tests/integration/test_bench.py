"""`warrener bench compare` on real clusters with a real HAProxy: the document, plausibility, and
that nothing is left behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.integration.warren import WARRENER, Warren, assert_gone, environment, warrener

from warrener.bench.haproxy import Listener, Server, free_ports, render

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the bench puts its temporary cluster; nothing may be left in it, and no process."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    assert_gone(folder)


def results(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["workload"], row["path"]): row for row in document["results"]}


def test_a_run_of_its_own(temporary: Path, tmp_path: Path) -> None:
    done = warrener(
        *("bench", "compare", "--rounds", "1", "--seconds", "1", "--workloads", "classic-1"),
        *("--paths", "direct,warrener", "--json", "figures.json"),
        cwd=tmp_path,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "figures.json").read_text())
    assert set(document["machine"]) >= {"cores", "model", "memory_mib", "kernel"}
    assert document["versions"]["rabbitmq"]
    assert document["versions"]["warrener"]
    found = results(document)
    assert set(found) == {("classic-1", "direct"), ("classic-1", "warrener")}
    for row in found.values():
        assert row["unit"] == "msg/s"
        assert row["samples"] == [row["median"]]
        assert 500 < row["median"] < 1_000_000  # a busy machine included
        assert 0 < row["generator_cores"][0] < 1  # it was not what was measured
    (ratio,) = document["ratios"]
    assert (ratio["workload"], ratio["path"], ratio["against"]) == (
        "classic-1",
        "warrener",
        "direct",
    )
    measured = found["classic-1", "warrener"]["median"] / found["classic-1", "direct"]["median"]
    assert ratio["median"] == pytest.approx(measured)
    assert "classic-1" in done.stdout


def test_every_kind_of_measurement_on_a_running_cluster(cluster: Warren, tmp_path: Path) -> None:
    before = cluster.status()
    done = cluster.run(
        *("bench", "compare", "--rounds", "1", "--seconds", "0.5", "--json", "-"),
        *("--workloads", "quorum-6,classic-1-4k,latency,setup,idle-memory"),
        *("--paths", "remote,haproxy-leastconn,haproxy-pinned,warrener,warrener-pinned"),
        *("--idle-sessions", "60"),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = results(json.loads(done.stdout))
    through = ("haproxy-leastconn", "haproxy-pinned", "warrener", "warrener-pinned")
    loads = {(w, p) for w in ("quorum-6", "classic-1-4k") for p in ("remote", *through)}
    latencies = {(f"latency{m}", p) for m in ("", "-p99", "-max") for p in ("remote", *through)}
    rest = {(w, p) for w in ("setup", "idle-memory") for p in through}
    assert set(found) == loads | latencies | rest
    for path in ("remote", *through):
        p50, p99, most = (found[f"latency{m}", path]["median"] for m in ("", "-p99", "-max"))
        assert 0 < p50 <= p99 <= most < 10_000
    assert all(1 < found["setup", path]["median"] < 100_000 for path in through)
    assert all(-10 < found["idle-memory", path]["median"] < 1_000 for path in through)
    after = cluster.status()
    assert after["balancer"]["policy"] == before["balancer"]["policy"]
    assert [n["weight"] for n in after["nodes"]] == [n["weight"] for n in before["nodes"]]
    deadline = time.monotonic() + 15  # the daemon looks at the cluster every two seconds
    while any(q["vhost"] == "warrener-bench" for q in cluster.status()["queues"]):
        assert time.monotonic() < deadline, "the bench left its queues"


def test_what_it_costs_to_be_observed(cluster: Warren, temporary: Path) -> None:
    """Two daemons, one after the other, before the same nodes; the bench itself sees to it that
    Prometheus, the page's viewer and the history were at work."""
    done = cluster.run(
        *("bench", "compare", "--rounds", "1", "--workloads", "classic-1", "--json", "-"),
        *("--paths", "warrener-unobserved,warrener-observed"),
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = results(document)
    paths = ("warrener-unobserved", "warrener-observed")
    both = {(f"classic-1{end}", path) for path in paths
            for end in ("", "-daemon-cpu", "-nodes-cpu", "-machine-cpu")}  # fmt: skip
    assert set(found) == both | {("classic-1-prometheus-cpu", "warrener-observed")}
    for path in paths:
        cpu = {end: found[f"classic-1-{end}-cpu", path]["median"]
               for end in ("daemon", "nodes", "machine")}  # fmt: skip
        assert 0.1 < cpu["daemon"] < 200
        assert cpu["daemon"] + cpu["nodes"] < 1.2 * cpu["machine"]
    assert {ratio["against"] for ratio in document["ratios"]} == {"warrener-unobserved"}


def test_ctrl_c_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    """In the middle of a measurement; the fixture looks for what is left."""
    process = subprocess.Popen(
        [WARRENER, "bench", "compare", "--seconds", "60", "--workloads", "classic-1"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 150
        while not measures(process.pid):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(90)
    assert code == 130


def measures(pid: int) -> bool:
    """Whether a measurement runs: the bench has a generator for a child."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):
                if "warrener.bench.job" in child.cmdline():
                    return True
    return False


def test_a_cluster_that_does_not_run_is_exit_3(tmp_path: Path) -> None:
    done = warrener("bench", "compare", "--state", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 3
    assert "no cluster is running" in done.stderr


def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    servers = tuple(Server(f"n{i}", "127.0.0.1", port) for i, port in enumerate(free_ports(3)))
    ports = free_ports(2)
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        render(
            [
                Listener("haproxy-leastconn", ports[0], "leastconn", servers),
                Listener("haproxy-pinned", ports[1], "roundrobin", servers[:1]),
            ]
        )
    )
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    done = subprocess.run(
        [program, "-c", "-f", str(config)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "WARNING" not in done.stderr + done.stdout
