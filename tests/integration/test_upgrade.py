"""`warrener rolling-upgrade` on three nodes, under the ledger's load. Only one version of RabbitMQ
is installed here, so the other installation is a copy, and the one that fails a broken copy."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.integration.ledger_load import load_on, nodes_of, report_gap, wait_all_fit
from tests.integration.support import eventually
from tests.integration.warren import WARRENER, Warren, environment, running, warrener

from warrener.cluster.drivers.installation import find_installation

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    with running(tmp_path_factory.mktemp("upgrade")) as made:
        yield made


@pytest.fixture(scope="module")
def usual() -> Path:
    return find_installation(None, os.environ["PATH"]).root


@pytest.fixture(scope="module")
def copy(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As good as the usual one."""
    root = tmp_path_factory.mktemp("copy") / usual.name
    shutil.copytree(usual, root, symlinks=True)
    return root


@pytest.fixture(scope="module")
def broken(usual: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose server script fails at once."""
    root = tmp_path_factory.mktemp("broken") / usual.name
    shutil.copytree(usual, root, symlinks=True)
    script = root / "sbin" / "rabbitmq-server"
    script.unlink()
    script.write_text("#!/bin/sh\necho 'this one is broken' >&2\nexit 1\n")
    script.chmod(0o755)
    return root


def run_from(warren: Warren) -> list[Path]:
    """Where each node's RabbitMQ was started from, as the processes say."""
    found = []
    for node in nodes_of(warren):
        words = psutil.Process(node["pid"]).cmdline()
        boot = next(word for word in words if word.endswith("/ebin") or "/plugins/rabbit-" in word)
        found.append(Path(boot.partition("/plugins/")[0]))
    return found


def pids(warren: Warren) -> list[int]:
    return [node["pid"] for node in nodes_of(warren)]


def test_what_can_not_be_done_is_told_before_anything_is_touched(
    warren: Warren, copy: Path, tmp_path: Path
) -> None:
    before = pids(warren)
    shown = warren.ok("rolling-upgrade", "--to", str(copy), "--dry-run")
    print(shown)
    assert shown.count("ok  ") == 8
    assert shown.count("drained, restarted with the new installation") == 3
    nowhere = warren.run("rolling-upgrade", "--to", str(tmp_path))
    assert (nowhere.returncode, "no RabbitMQ in" in nowhere.stderr) == (2, True), nowhere.stderr
    poor = tmp_path / copy.name
    (poor / "sbin").mkdir(parents=True)
    (poor / "sbin" / "rabbitmq-server").touch()
    (poor / "plugins").mkdir()
    (poor / "plugins" / "rabbit-3.9.1").mkdir()
    refused = warren.run("rolling-upgrade", "--to", str(poor), "--force")
    assert refused.returncode == 1
    assert "nothing was touched" in refused.stderr
    assert "upgrade path: 3.9.1 is older than 3.10.8" in refused.stderr
    assert "doesn't have rabbitmq_management, rabbitmq_prometheus" in refused.stderr
    assert pids(warren) == before


def test_under_load_a_broken_one_is_taken_back_and_a_good_one_taken(
    warren: Warren, usual: Path, copy: Path, broken: Path, tmp_path: Path
) -> None:
    """Nothing lost, nobody disconnected, through a failed upgrade and one that works."""
    with load_on(warren, tmp_path, duplicates=True) as load:
        before, at = pids(warren), time.monotonic()
        done = warren.run("rolling-upgrade", "--to", str(broken))
        print(f"failed after {time.monotonic() - at:.1f} s: {done.stderr}")
        assert done.returncode == 1
        assert "runs 3.10.8 as before; no further node was touched" in done.stderr
        assert "this one is broken" in done.stderr
        assert len(set(pids(warren)) & set(before)) == 2
        assert run_from(warren) == [usual] * 3
        load.wait_flowing(60)
        began = time.monotonic()
        answer = json.loads(warren.ok("rolling-upgrade", "--to", str(copy), "--json"))
        print(f"three nodes in {time.monotonic() - began:.1f} s")
        assert [row["state"] for row in answer["nodes"]] == ["done"] * 3
        assert [row["version"] for row in answer["nodes"]] == ["3.10.8"] * 3
        assert (answer["mixed"], answer["flags_off"]) == (False, [])
        assert run_from(warren) == [copy] * 3
        load.wait_flowing(60)
        report_gap(load, "upgrade", at)
    again = warren.ok("rolling-upgrade", "--to", str(copy), "--enable-feature-flags")
    assert "Nothing to do" in again


def test_a_daemon_killed_in_the_middle_knows_who_runs_which(
    warren: Warren, usual: Path, copy: Path
) -> None:
    """Back to the usual one, the first node only; then the daemon dies while the second is on its
    way. The next start has the first with what it was given, and the second with what is proven."""
    order = [node["name"].partition("@")[0] for node in nodes_of(warren)]
    warren.ok("rolling-upgrade", "--to", str(usual), order[0])
    assert run_from(warren) == [usual, copy, copy]
    daemon = warren.status()["pid"]
    log = warren.state.parent / "progress.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [WARRENER, "--state", warren.state, "rolling-upgrade", "--to", usual, order[1]],
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment(),
        )  # fmt: skip
    eventually("it starts", lambda: f"{order[1]}: starts" in log.read_text(), 90, every=0.02)
    os.kill(daemon, signal.SIGKILL)
    process.wait(60)
    done = warrener("--state", warren.state, "up", "-d", cwd=warren.state.parent)
    assert done.returncode == 0, done.stderr
    wait_all_fit(warren)
    assert run_from(warren) == [usual, copy, copy]
    record = json.loads((warren.state / "cluster.json").read_text())
    assert record["trial"] is None
