"""Every query of every dashboard, asked of a real Prometheus that scrapes a real cluster under
load: what a board shows when all is well has data then, and the rest has some once what it waits
for has happened.

The tests go on where the one before ended.
"""

import json
import math
import os
import signal
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
import pytest
from tests.integration.support import Place, balancer_place, eventually
from tests.integration.warren import Warren, running

from warrener.facts.ids import NodeName
from warrener.planner.calibration_file import write_calibration
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType
from warrener.telemetry.dashboards.boards import BOARDS, MARKS
from warrener.telemetry.dashboards.promql import filled

pytestmark = pytest.mark.timeout(240)

QUICK = """
[telemetry]
scrape_interval = "1s"
alert_after = "1s"
queue_metrics = 10
"""

NOT_HERE = {
    "warrener-events: First certificate ends in": "the cluster has no TLS",
}
"""What has no data in this test, and why."""


@dataclass(frozen=True)
class Asked:
    """A query: of which panel or mark, and whether it has data in a cluster that is well."""

    name: str
    expression: str
    always: bool


def asked(cluster: str) -> list[Asked]:
    found = [
        Asked(
            f"{board.uid}: {panel.title}",
            filled(query.expression, cluster=cluster),
            not panel.only_when,
        )
        for board in BOARDS
        for panel in board.panels
        for query in panel.queries
    ]
    found += [Asked(f"mark: {m.name}", filled(m.expression, cluster=cluster), False) for m in MARKS]
    return found


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("grafana")
    (folder / "quick.toml").write_text(QUICK)
    options = ("--nodes", "2", "-f", str(folder / "quick.toml"), "--with-prometheus")
    with running(folder, *options) as made:
        write_calibration(made.state, calibration(made))
        yield made


def calibration(warren: Warren) -> Calibration:
    """So that the planner has something to go by: costs in round numbers instead of half a minute
    of `plan calibrate`, which tests of its own try. The load that it looks at is real."""
    names = [NodeName(node["name"]) for node in warren.status()["nodes"]]
    acts = {Act.PUBLISH: 60e-6, Act.DELIVER: 40e-6, Act.REPLICATE: 50e-6}
    return Calibration(
        taken_at=time.time(),
        seconds=60.0,
        cluster="warren",
        version="3.10.8",
        hosts={name: name.partition("@")[2] for name in names},
        cores={name.partition("@")[2]: os.cpu_count() or 1 for name in names},
        costs={QueueType.QUORUM: {act: Cost(cpu) for act, cpu in acts.items()}},
        limits={QueueType.QUORUM: (Limit(8000, 100),)},
        idle=dict.fromkeys(names, 0.1),
    )


@pytest.fixture(scope="module")
def load(warren: Warren) -> Iterator[None]:
    """Publishers and consumers, until the end: one queue keeps up, another one grows."""
    place = balancer_place(warren)
    declare(place, "jobs", "grows")
    stop = threading.Event()
    threads = [
        threading.Thread(target=publish, args=(place, stop, "jobs", 0.01), name="to jobs"),
        threading.Thread(target=publish, args=(place, stop, "grows", 0.02), name="to grows"),
        threading.Thread(target=consume, args=(place, stop, "jobs", 0.0), name="from jobs"),
        threading.Thread(target=consume, args=(place, stop, "grows", 0.3), name="from grows"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert [thread.name for thread in threads if thread.is_alive()] == []


def connected(place: Place) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(place.url()))


def declare(place: Place, *queues: str) -> None:
    with closing(connected(place)) as connection:
        channel = connection.channel()
        for queue in queues:
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})


def publish(place: Place, stop: threading.Event, queue: str, pause: float) -> None:
    with closing(connected(place)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        while not stop.is_set():
            channel.basic_publish("", queue, b"x" * 100)
            connection.sleep(pause)


def consume(place: Place, stop: threading.Event, queue: str, takes: float) -> None:
    """``takes``: seconds for each message; one at a time if any."""
    with closing(connected(place)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1 if takes else 20)

        def work(_: Any, method: Any, __: Any, ___: bytes) -> None:
            time.sleep(takes)
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, work)
        while not stop.is_set():
            connection.process_data_events(0.1)


class Prometheus:
    """The cluster's; its address is asked for once."""

    def __init__(self, warren: Warren) -> None:
        self.url = str(warren.status()["prometheus_url"])

    def get(self, path: str, parameters: list[tuple[str, str]]) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def has(self, expression: str) -> bool:
        """There is data: a value that is a number."""
        found = self.get("/api/v1/query", [("query", expression)])["result"]
        return any(not math.isnan(float(one["value"][1])) for one in found)

    def missing(self, queries: list[Asked], patience: float) -> list[Asked]:
        """Those that never had data until then; each is asked until it has."""
        deadline = time.monotonic() + patience
        while True:
            queries = [one for one in queries if not self.has(one.expression)]
            if not queries or time.monotonic() > deadline:
                return queries
            time.sleep(0.5)


def test_variables_have_values(warren: Warren) -> None:
    prometheus = Prometheus(warren)

    def values(label: str, match: str) -> list[str]:
        found = prometheus.get(f"/api/v1/label/{label}/values", [("match[]", match)])
        assert isinstance(found, list)
        return found

    eventually("it is scraped", lambda: values("node", "warrener_node_running") != [], 20)
    (cluster,) = values("cluster", "warrener_info")
    nodes = values("node", f'warrener_node_running{{cluster="{cluster}"}}')
    assert nodes == [node["name"] for node in warren.status()["nodes"]]


@pytest.mark.usefixtures("load")
def test_every_query_has_data(warren: Warren) -> None:
    prometheus = Prometheus(warren)
    (cluster,) = prometheus.get("/api/v1/label/cluster/values", [("match[]", "warrener_info")])
    queries = asked(cluster)
    always = [one for one in queries if one.always]
    rest = [one for one in queries if not one.always]
    assert [one.name for one in prometheus.missing(always, 30)] == []

    # What is shown when something is wrong: a node dies and comes back.
    os.kill(warren.status()["nodes"][1]["pid"], signal.SIGKILL)
    rest = prometheus.missing(rest, 4)
    warren.ok("node", "restart", "n2")
    missing = {one.name for one in prometheus.missing(rest, 60)}
    assert missing == set(NOT_HERE)


def test_a_query_that_asks_for_nothing_would_be_seen(warren: Warren) -> None:
    prometheus = Prometheus(warren)
    for nothing in ("warrener_no_such_metric", "0 * warrener_info / 0", "warrener_info == 7"):
        one = Asked("nothing", nothing, always=True)
        assert prometheus.missing([one], 0) == [one]


def test_files_are_written_the_same_again(warren: Warren, tmp_path: Path) -> None:
    first = json.loads(warren.ok("telemetry", "grafana", "--out", str(tmp_path), "--json"))
    assert {one["action"] for one in first["files"]} == {"new"}
    second = json.loads(warren.ok("telemetry", "grafana", "--out", str(tmp_path), "--json"))
    assert {one["action"] for one in second["files"]} == {"unchanged"}
