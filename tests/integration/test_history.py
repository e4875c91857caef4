"""`warrener history` on a real cluster of this module's own: a paced load is measured as it is, and
a Prometheus that scrapes the nodes says the same."""

import asyncio
import contextlib
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.support import balancer_place, eventually, node_place
from tests.integration.warren import Warren, running

from warrener.bench.cores import limited
from warrener.bench.load import Flow, LoadResult, LoadSpec, run_load
from warrener.bench.topology import declare
from warrener.bench.wire import BenchError, Target
from warrener.cluster.observe import observe
from warrener.control.client import Client
from warrener.control.plan_operations import ROOM, RoomRequest
from warrener.control.state_folder import StateFolder
from warrener.daemon.history_prometheus import ask
from warrener.daemon.history_store import FILE
from warrener.facts.ids import NodeName
from warrener.management.client import ManagementClient
from warrener.planner import prometheus as prom
from warrener.planner.history import Window, look
from warrener.planner.sampling import Looked

pytestmark = pytest.mark.timeout(240)

RATES = {"orders": 400.0, "mail": 50.0}
BODY = 500


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def target(place: Any) -> Target:
    return Target(place.host, place.port, place.user, place.password, place.vhost)


@contextlib.contextmanager
def load(where: Target, rates: dict[str, float]) -> Iterator[None]:
    """Paced publishers and consumers, as long as it is entered."""
    flows = tuple(Flow(queue, where, where, rate) for queue, rate in rates.items())
    spec = LoadSpec(
        flows, body=BODY, window=200, prefetch=100, warmup=1, seconds=200, pace=0.02, moving=True
    )
    stop = threading.Event()
    results: list[LoadResult] = []
    thread = threading.Thread(target=lambda: results.append(run_load(spec, stop.is_set)))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
    assert results, "the load failed; pytest shows why as a warning"


@contextlib.contextmanager
def prometheus(folder: Path, port: int, targets: list[str]) -> Iterator[None]:
    """Debian's, with what docs/planner.md says that it has to scrape."""
    jobs = [
        {"job_name": "nodes", "static_configs": [{"targets": targets}]},
        {
            "job_name": "queues",
            "metrics_path": "/metrics/detailed",
            "params": {
                "family": [
                    "channel_queue_metrics",
                    "channel_queue_exchange_metrics",
                    "queue_coarse_metrics",
                    "queue_consumer_count",
                ]
            },
            "static_configs": [{"targets": targets}],
        },
    ]
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "2s"}, "scrape_configs": jobs}))
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def history(warren: Warren, *options: str) -> dict[str, Any]:
    document = json.loads(warren.ok("history", "--json", *options))
    assert isinstance(document, dict)
    return document


def seen(document: dict[str, Any]) -> dict[str, Any]:
    return {queue["name"]: queue for queue in document["queues"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history")


@pytest.fixture(scope="module")
def warren(folder: Path) -> Iterator[Warren]:
    (folder / "warrener.toml").write_text('[history]\nevery = "2s"\n')
    with running(folder, "-f", str(folder / "warrener.toml")) as made:
        first = target(node_place(made, made.status()["nodes"][0]))
        for queue in RATES:
            declare(first, queue, quorum=queue == "orders")
        yield made


async def from_prometheus(warren: Warren, url: str, window: float) -> Window:
    """What the daemon would make of it, had it been configured with that Prometheus."""
    status = warren.status()
    place = balancer_place(warren)
    names = [NodeName(node["name"]) for node in status["nodes"]]
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                ManagementClient(
                    f"http://127.0.0.1:{node['management_port']}", place.user, place.password
                )
            )
            for node in status["nodes"]
        ]
        view = await observe(list(zip(names, clients, strict=True)), now=time.time)
    now = time.time()
    samples = await ask(
        url, now=now, window=window, snapshot=view, looked=Looked(),
        hosts={name: "127.0.0.1" for name in names},
    )  # fmt: skip
    return look(samples, window=window, now=now)


def test_a_paced_load_is_measured_and_prometheus_says_the_same(
    warren: Warren, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prom, "RANGE", 8.0)  # it is scraped every 2 s here
    monkeypatch.setattr(prom, "SHORTEST", 4.0)
    nodes = warren.status()["nodes"]
    port = free_port()
    targets = [f"127.0.0.1:{node['prometheus_port']}" for node in nodes]
    url = f"http://127.0.0.1:{port}"
    through = target(balancer_place(warren))
    with prometheus(folder, port, targets), load(through, RATES):
        time.sleep(10)
        own = eventually(
            "the load as it is", lambda: fits(history(warren, "--window", "6s")), LONG, 1
        )
        table = warren.ok("history", "--window", "7s", "--queue", "ord*")
        told = eventually(
            "the same of Prometheus",
            lambda: fits_told(asyncio.run(from_prometheus(warren, url, 8.0))),
            LONG,
            1,
        )
    check_window(told, own)
    assert own["source"] == "warrener"
    assert own["balancer"]["published"] == pytest.approx(sum(RATES.values()), rel=0.05)
    orders = seen(own)["orders"]
    # By what lay in the queue if a message did when it was looked at, which is once a minute.
    assert orders["body_from"] in ("balancer", "held")
    assert abs(orders["body"] - BODY) < 40
    assert orders["service_from"] == "watched"
    assert orders["entering"] == orders["leaving"] == {}  # through the balancer: no detour
    assert any("of history: means of so little" in warning for warning in own["warnings"])
    (host,) = own["hosts"]
    assert host["cores"] >= 1
    assert host["clients"] is not None  # the load of this very process
    assert all(node["memory_used"]["mean"] > 1e6 for node in own["nodes"])
    assert "orders" in table
    assert not any(line.startswith("mail") for line in table.splitlines())


LONG = 90.0
"""Seconds until a window has nothing in it but the load: some 12 on a machine that isn't busy."""


def fits(document: dict[str, Any]) -> dict[str, Any] | None:
    """The document if it is within 5 % of what is known to have been sent, and nothing lacks."""
    queues = seen(document)
    total = sum(node["published"] for node in document["nodes"])
    right = total == pytest.approx(sum(RATES.values()), rel=0.05) and all(
        queues[name][what]["mean"] == pytest.approx(rate, rel=0.05)
        for name, rate in RATES.items()
        for what in ("published", "delivered", "acked")
    )
    counted = all(  # told 5 s late, and their prefetch when they are looked at
        round(queues[name]["consumers"]) == 1 and queues[name]["prefetch"] >= 0 for name in RATES
    )
    busy = all(node["cpu"] and node["cpu"]["mean"] > 0 for node in document["nodes"])
    return document if right and counted and busy else None


def fits_told(window: Window) -> Window | None:
    """The same of a window."""
    queues = {queue.means.name: queue for queue in window.queues}
    right = all(
        figure.mean == pytest.approx(rate, rel=0.05)
        for name, rate in RATES.items()
        for figure in (queues[name].published, queues[name].delivered, queues[name].acked)
    )
    counted = all(round(queues[name].means.consumers) == 1 for name in RATES)
    return window if right and counted else None


def check_window(told: Window, own: dict[str, Any]) -> None:
    """What doesn't depend on the moment is the same."""
    for queue in told.queues:
        assert queue.means.leader == seen(own)[queue.means.name]["leader"]
        assert queue.entering == ()
    for node, mine in zip(told.nodes, own["nodes"], strict=True):
        assert node.cpu is not None
        assert node.cpu.mean > 0
        assert node.means.mem_limit == mine["memory_limit"]
    assert told.hosts[0].cores == own["hosts"][0]["cores"]


def test_clients_at_another_node_enter_and_leave_there(warren: Warren) -> None:
    leader = seen(history(warren))["orders"]["leader"]
    other = next(node for node in warren.status()["nodes"] if node["name"] != leader)
    straight = target(node_place(warren, other))
    name = other["name"]

    def there() -> dict[str, Any] | None:
        orders = seen(history(warren, "--window", "3s"))["orders"]
        right = orders["published"]["mean"] == pytest.approx(100, rel=0.05)
        return orders if right and orders["entering"].get(name) == pytest.approx(1) else None

    with load(straight, {"orders": 100.0}):
        orders = eventually("the load at another node", there, LONG, 0.5)
    assert orders["leaving"] == {name: pytest.approx(1.0)}


def test_what_messages_cost_is_told_by_the_history(warren: Warren, tmp_path: Path) -> None:
    """Nobody has calibrated this cluster: its load rises and falls, not of both types in step."""
    through = target(balancer_place(warren))
    for orders, mail in ((2_000.0, 100.0), (100.0, 2_000.0), (1_000.0, 1_000.0)):
        with load(through, {"orders": orders, "mail": mail}):
            time.sleep(8)
    picture = tmp_path / "plan.png"
    plain = warren.ok("plan", "show", "--window", "60s", "--plot", str(picture))
    print(plain)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "what messages cost by the history, not measured" in plain
    told = json.loads(warren.ok("plan", "show", "--window", "60s", "--json"))
    assert told["costs_from"] == "history"
    assert any("what messages cost is told by" in warning for warning in told["warnings"])
    assert told["breaks_at"] is not None
    # What is predicted for that minute is what was used in it.
    predicted = sum(node["cpu"] for node in told["nodes"])
    used = sum(node["cpu_measured"] for node in told["nodes"])
    print(f"cores of all nodes: predicted {predicted:.3f}, measured {used:.3f}")
    assert predicted == pytest.approx(used, rel=0.35)
    both = tmp_path / "both.svg"
    warren.ok("plan", "what-if", "--load", "x2", "--window", "60s", "--plot", str(both))
    assert "After: carries" in both.read_text()
    refused = warren.run("plan", "show", "--calibration", "measured")
    assert refused.returncode == 1
    assert "plan calibrate" in refused.stderr
    # What docs/python-api.md shows for a cluster that runs.
    text = (Path(__file__).parents[2] / "docs" / "python-api.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        exec(block.replace('".warrener"', repr(str(warren.state))), names)
    assert names["calibration"] is None
    assert names["by_history"].costs
    assert names["load"].queues


def test_a_node_in_a_container_has_no_more_than_its_quota(warren: Warren) -> None:
    """A control group, as a container's; its process is put into it while it runs."""
    (node, *_) = warren.status()["nodes"]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(limited({"n1": node["pid"]}, 0.5))
        except BenchError as error:
            pytest.skip(str(error))
        with Client.connect(StateFolder(warren.state)) as client:  # for a calibration: at once
            lines = client.stream(ROOM, RoomRequest(), timeout=60)
            room = next(line.room for line in lines if line.room is not None)
            client.give_up()
            for _ in lines:  # until it is cleared away
                pass
        assert {one.cores for one in room.nodes if one.name == node["name"]} == {0.5}
        assert all(one.cores != 0.5 for one in room.nodes if one.name != node["name"])
        # For the history with the next look, which new consumers bring on.
        first = target(node_place(warren, node))
        declare(first, "fresh", quorum=False)

        def there() -> dict[str, Any] | None:
            (found, *_) = history(warren, "--window", "3s")["nodes"]
            return found if found["cores"] == 0.5 else None

        with load(target(balancer_place(warren)), {"fresh": 50.0}):
            eventually("its quota in the history", there, LONG, 1)
            told = json.loads(warren.ok("plan", "show", "--window", "20s", "--json"))
    (part,) = (p for p in told["parts"] if (p["kind"], p["name"]) == ("node", "n1"))
    assert part["capacity"] == 0.5


def test_history_outlives_the_daemon_and_nothing_else_reads_it(warren: Warren) -> None:
    assert (warren.state / FILE).stat().st_mode & 0o777 == 0o600
    refused = warren.run("history", "--window", "99d")
    assert refused.returncode == 2
    assert "a window is 1 s to 7 d" in refused.stderr
