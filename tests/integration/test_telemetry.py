"""Metrics of a real cluster, scraped by the real Prometheus that `up --with-prometheus` runs.

The tests go on where the one before ended. Scrapes are a second apart and alerts wait a second at
most, by warrener.toml, so that nothing here waits for minutes.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pamqp import commands
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.raw import Raw
from tests.integration.support import balancer_place, eventually
from tests.integration.warren import Warren, assert_gone, running, wait_until_gone

from warrener.telemetry.alerts import ALERTS, RECORDINGS
from warrener.telemetry.registry import OF_RABBITMQ

pytestmark = pytest.mark.timeout(300)

QUICK = """
[telemetry]
scrape_interval = "1s"
alert_after = "1s"
queue_metrics = 10
"""


@pytest.fixture(scope="module")
def warren(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warren]:
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "quick.toml").write_text(QUICK)
    options = ("--nodes", "2", "-f", str(folder / "quick.toml"), "--with-prometheus")
    with running(folder, *options) as made:
        yield made


def told(warren: Warren) -> dict[str, Any]:
    document = json.loads(warren.ok("telemetry", "status", "--json"))
    assert isinstance(document, dict)
    return document


def get(url: str, token: str = "") -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def metrics(warren: Warren) -> str:
    status = told(warren)
    return get(status["metrics_url"], Path(status["token_file"]).read_text())


def samples(warren: Warren) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics(warren))
        for sample in family.samples
    }


@functools.cache
def prometheus_of(warren: Warren) -> str:
    return str(warren.status()["prometheus_url"])


def query(warren: Warren, expression: str) -> list[dict[str, Any]]:
    url = f"{prometheus_of(warren)}/api/v1/query?"
    try:
        answer = json.loads(get(url + urllib.parse.urlencode({"query": expression})))
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{expression}: {error.read().decode()}") from None
    found = answer["data"]["result"]
    assert isinstance(found, list)
    return found


def value(warren: Warren, expression: str) -> float:
    found = query(warren, expression)
    assert len(found) == 1, (expression, found)
    return float(found[0]["value"][1])


def firing(warren: Warren) -> set[str]:
    return {alert["name"] for alert in told(warren)["alerts"] if alert["state"] == "firing"}


@contextlib.contextmanager
def publisher(warren: Warren, queue: str = "jobs", messages: int = 120) -> Iterator[Raw]:
    with Raw(balancer_place(warren)).open() as raw:
        raw.channel()
        raw.send(
            commands.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": "quorum"}),
            channel=1,
        )
        raw.expect(commands.Queue.DeclareOk)
        raw.send(commands.Confirm.Select(), channel=1)
        raw.expect(commands.Confirm.SelectOk)
        for number in range(messages):
            raw.publish(queue, b"%d" % number)
            raw.expect(commands.Basic.Ack)
        yield raw
        raw.close()


def test_all_targets_are_up(warren: Warren) -> None:
    status = warren.status()
    assert status["metrics_url"] == told(warren)["metrics_url"] != ""
    eventually(
        "all targets are up",
        lambda: [t["health"] for t in told(warren)["targets"]] == ["up"] * 3,
        20,
    )
    targets = told(warren)["targets"]
    assert [(t["job"], t["node"]) for t in targets] == [
        ("warrener", ""),
        *(("rabbitmq", node["name"]) for node in status["nodes"]),
    ]
    shown = warren.ok("telemetry", "status")
    assert told(warren)["prometheus"]["url"] in shown
    assert f"Prometheus at {status['prometheus_url']}" in warren.ok("status")


def test_metrics_are_clean_and_tell_what_went_through(warren: Warren) -> None:
    with publisher(warren):
        text = metrics(warren)
        done = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        found = samples(warren)

        def total(name: str, **labels: str) -> float:
            wanted = set(labels.items())
            return sum(v for (n, found_), v in found.items() if n == name and wanted <= found_)

        assert total("warrener_balancer_messages_total", direction="in") == 120
        assert total("warrener_balancer_messages_total", direction="in", locality="local") > 60
        assert total("warrener_balancer_confirm_seconds_count") >= 3
        assert total("warrener_balancer_handshake_seconds_count") == 1
        assert total("warrener_balancer_sessions") == 1
        assert total("warrener_balancer_channels") == 1
        assert total("warrener_balancer_links") >= 1
        assert total("warrener_balancer_decisions_total", policy="roundrobin") >= 1
        assert total("warrener_cluster_majority") == 1
        assert total("warrener_node_running") == 2
        assert total("warrener_node_memory_used_bytes") > 0
        eventually(
            "the queue is seen",
            lambda: (
                samples(warren).get(
                    (
                        "warrener_queue_messages_ready",
                        frozenset({("vhost", "/"), ("queue", "jobs")}),
                    )
                )
                == 120
            ),
            15,
        )


def test_nothing_secret_is_told_and_nothing_without_the_token(warren: Warren) -> None:
    document = json.loads(warren.ok("url", "--json"))
    status = told(warren)
    token = Path(status["token_file"]).read_text()
    for secret in (document["password"], token):
        assert secret not in metrics(warren)
    for wrong in ("", "x" * len(token)):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            get(status["metrics_url"], wrong)
    for path in (warren.state / "log").glob("*.log"):
        assert token not in path.read_text(errors="replace")
    process = psutil.Process(status["prometheus"]["pid"])
    assert token not in " ".join([*process.cmdline(), *process.environ().values()])


def test_a_node_has_every_metric_that_rules_ask_for(warren: Warren) -> None:
    node = warren.status()["nodes"][0]
    text = get(f"http://{node['host']}:{node['prometheus_port']}/metrics")
    there = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert sorted(OF_RABBITMQ - there) == []


def test_every_rule_can_be_asked(warren: Warren) -> None:
    for one in (*RECORDINGS, *ALERTS):
        query(warren, one.expression)
    eventually("it is recorded", lambda: query(warren, "warrener:confirm_p99:seconds5m") != [], 20)
    eventually("leaders are", lambda: value(warren, "sum(warrener:leaders)") == 1, 20)


def test_the_files_it_writes_are_right_and_follow_the_cluster(
    warren: Warren, tmp_path: Path
) -> None:
    out = tmp_path / "monitoring"
    answer = json.loads(warren.ok("telemetry", "prometheus", "--out", str(out), "--json"))
    assert answer["targets"] == {"warrener": 1, "rabbitmq": 2}
    done = subprocess.run(
        ["promtool", "check", "config", out / "prometheus.yml"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

    def nodes() -> list[str]:
        groups = json.loads((out / "targets" / "rabbitmq.json").read_text())
        return [group["labels"]["node"] for group in groups]

    assert nodes() == [node["name"] for node in warren.status()["nodes"]]
    warren.ok("node", "add")
    eventually("the new node is in it", lambda: len(nodes()) == 3, 10)
    eventually(
        "and is scraped",
        lambda: [t["health"] for t in told(warren)["targets"]] == ["up"] * 4,
        20,
    )


def test_an_alert_fires_when_a_node_is_killed_and_clears_when_it_is_back(warren: Warren) -> None:
    assert "NodeDown" not in firing(warren)
    node = warren.status()["nodes"][1]
    os.kill(node["pid"], signal.SIGKILL)
    eventually("it fires", lambda: "NodeDown" in firing(warren), 30)
    alert = next(one for one in told(warren)["alerts"] if one["name"] == "NodeDown")
    assert alert["labels"]["node"] == node["name"]
    assert f"{node['name']} doesn't run" in warren.ok("telemetry", "status")
    eventually("so do these", lambda: "UnderReplicatedQueues" in firing(warren), 30)
    warren.ok("node", "restart", "n2")
    eventually(
        "all clear",
        lambda: not firing(warren) & {"NodeDown", "UnderReplicatedQueues"},
        40,
    )


def test_a_prometheus_that_dies_is_started_again_on_its_port(warren: Warren) -> None:
    before = told(warren)["prometheus"]
    os.kill(before["pid"], signal.SIGKILL)
    eventually(
        "it is back",
        lambda: (
            (now := told(warren)["prometheus"])["state"] == "running"
            and now["pid"] != before["pid"]
        ),
        30,
    )
    now = told(warren)["prometheus"]
    assert (now["url"], now["starts"]) == (before["url"], before["starts"] + 1)
    # Its data is what it was.
    assert value(warren, "count(count_over_time(warrener_cluster_members[10m]) > 5)") == 1
    kinds = [event["kind"] for event in json.loads(warren.ok("events", "--json"))["events"]]
    assert {"prometheus.started", "prometheus.exited"} <= set(kinds)


def test_a_prometheus_that_a_killed_daemon_left_is_ended(warren: Warren) -> None:
    left = psutil.Process(told(warren)["prometheus"]["pid"])
    daemon = warren.status()["pid"]
    os.kill(daemon, signal.SIGKILL)
    wait_until_gone(daemon)
    assert left.is_running()
    warren.ok("down")
    assert not left.is_running()
    assert_gone(warren.state)
