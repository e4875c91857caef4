"""`plan advise` and automatic weights on a real cluster whose nodes have unequal quotas of CPU:
what is measured arrives, the policies are tried on it, weights follow it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.support import balancer_place, eventually
from tests.integration.warren import Warren, running
from tests.unit.planner.scene import COSTS

from warrener.bench.cores import limited
from warrener.bench.load import Flow, LoadResult, LoadSpec, run_load
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target
from warrener.facts.ids import NodeName
from warrener.planner.calibration_file import write_calibration
from warrener.planner.costs import Calibration

# What else uses CPU here counts, too: a quota that is more than what is free is no limit.
pytestmark = [pytest.mark.timeout(240), pytest.mark.alone]

QUOTAS = {"n1": 0.8, "n2": 0.4, "n3": 0.4}
DESCRIPTION = """
[balancer]
locality = false
weights = "auto"
[history]
every = "1s"
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("balancing")
    (folder / "warrener.toml").write_text(DESCRIPTION)
    with running(folder, "-f", str(folder / "warrener.toml")) as started:
        nodes = {NodeName(node["name"]): node for node in started.status()["nodes"]}
        write_calibration(
            Path(started.state),
            Calibration(0.0, 60.0, "warren", "3.10.8", dict.fromkeys(nodes, "127.0.0.1"),
                        {"127.0.0.1": 2}, COSTS, {}, dict.fromkeys(nodes, 0.02)),
        )  # fmt: skip
        with contextlib.ExitStack() as quotas:
            try:
                for name, node in nodes.items():
                    pids = {name.partition("@")[0]: node["pid"]}
                    quota = QUOTAS[name.partition("@")[0]]
                    quotas.enter_context(limited(pids, quota, "warrener-test"))
            except BenchError as error:
                pytest.skip(f"no quotas of CPU here: {error}")
            yield started


@contextlib.contextmanager
def load(where: Target, rates: dict[str, float]) -> Iterator[None]:
    flows = tuple(Flow(queue, where, where, rate) for queue, rate in rates.items())
    spec = LoadSpec(
        flows, window=200, prefetch=100, warmup=1, seconds=200, pace=0.02, sample_every=1.0
    )
    stop = threading.Event()
    results: list[LoadResult] = []
    thread = threading.Thread(target=lambda: results.append(run_load(spec, stop.is_set)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert results, "the generator failed"


def place(warren: Warren) -> Target:
    found = balancer_place(warren)
    return Target(found.host, found.port, found.user, found.password, found.vhost)


def test_policies_are_tried_on_what_is_measured(warren: Warren) -> None:
    where = place(warren)
    rates = {"busy": 200.0, **{f"calm{number}": 20.0 for number in range(5)}}
    for queue in rates:
        declare(where, queue)

    def known() -> dict[str, Any] | None:
        """Once there is some history, and the daemon has looked at the quotas, every 20 s."""
        said = warren.run("plan", "advise", "--window", "8s", "--json")
        if said.returncode:
            assert "there is no history" in said.stderr, said.stderr
            return None
        found: dict[str, Any] = json.loads(said.stdout)["balancing"]
        quotas = all("(its quota)" in one["why"] for one in found["weights"])
        return found if quotas and found["policies"] is not None else None

    with load(where, rates):
        found = eventually("quotas are known", known, 75, 1.0)
    policies = found["policies"]
    assert {line["policy"] for line in policies["lines"]} == {
        "roundrobin", "weighted", "random", "source", "leastconn", "weighted-leastconn", "p2c",
    }  # fmt: skip
    assert policies["other"]["locality"] is True
    assert all(line["response_time"]["value"] > 0 for line in policies["lines"])
    fits = {one["node"].partition("@")[0]: one for one in found["weights"]}
    assert fits["n1"]["why"].startswith("0.80 cores (its quota)")
    assert fits["n2"]["why"].startswith("0.40 cores (its quota)")
    assert fits["n1"]["fits"] > 1.5 * fits["n2"]["fits"]
    assert found["follows"] is True


def test_weights_follow_the_quotas(warren: Warren) -> None:
    def changed() -> list[dict[str, Any]]:
        events = json.loads(warren.ok("events", "--last", "200", "--json"))["events"]
        return [event for event in events if event["kind"] == "weight.followed"]

    eventually("a weight follows", changed, 75, 2.0)
    first = changed()[0]
    assert first["reason"] == "capacity"
    assert first["detail"]["is"] in (125, 80)
    status = warren.status()
    assert status["balancer"]["auto_weights"] is True
    weights = {node["name"].partition("@")[0]: node["weight"] for node in status["nodes"]}
    assert weights["n1"] > 100 > weights["n2"]
    reason = next(node["weight_reason"] for node in status["nodes"] if node["weight"] > 100)
    assert "0.80 cores (its quota)" in reason
    refused = warren.run("balance", "set-weight", "n1", "5")
    assert (refused.returncode, "auto-weights off" in refused.stderr) == (2, True)
    assert "weights follow" not in warren.ok("balance", "auto-weights", "off")
    warren.ok("balance", "set-weight", "n1", "5")
