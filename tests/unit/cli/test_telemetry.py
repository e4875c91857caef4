"""`warrener telemetry`: what it asks for, and what it prints."""

import json
from pathlib import Path

import msgspec
import pytest
import yaml
from tests.unit.cli.conftest import Run

from warrener.control import telemetry_operations as ops
from warrener.control import wire
from warrener.control.state_folder import StateFolder
from warrener.telemetry.alerts import ALERTS
from warrener.testing.scripted_daemon import answer, refusal, scripted_daemon

ANSWER = ops.TelemetryAnswer(
    metrics_url="http://127.0.0.1:20005/metrics",
    token_file="/s/telemetry/token",
    scrapes=1234,
    queue_metrics=0,
    prometheus=ops.PrometheusLine(
        url="http://127.0.0.1:20003", state="running", pid=77, version="2.42.0", starts=1
    ),
    targets=[
        ops.TargetLine(
            job="rabbitmq", node="n1@localhost", url="http://127.0.0.1:20012/metrics",
            health="down", error="connection refused", took=0.012,
        )
    ],
    alerts=[
        ops.AlertLine(
            name="NodeDown", severity="critical", state="firing", summary="n1 doesn't run",
            labels={"node": "n1@localhost"}, since="2026-01-01T00:00:00Z",
        )
    ],
    exports=["/etc/prometheus/warren"],
)  # fmt: skip


def test_status_shows_all_of_it(run: Run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(ANSWER)):
        done = run("telemetry", "status")
    assert done.code == 0
    for words in (
        "http://127.0.0.1:20005/metrics, scraped 1,234 times",
        "/s/telemetry/token",
        "/etc/prometheus/warren",
        "Prometheus 2.42.0: http://127.0.0.1:20003, running, process 77",
        "connection refused",
        "firing: NodeDown (critical): n1 doesn't run",
    ):
        assert words in done.out
    assert "12ms" in done.out


def test_status_without_anything_says_what_could_be(run: Run, folder: StateFolder) -> None:
    nothing = msgspec.structs.replace(
        ANSWER, metrics_url="", token_file="", prometheus=None, targets=[], alerts=[], exports=[]
    )
    with scripted_daemon(folder, answer(nothing)):
        done = run("telemetry", "status")
    assert "none are served" in done.out
    assert "--with-prometheus" in done.out


def test_status_as_json_is_the_answer(run: Run, folder: StateFolder) -> None:
    with scripted_daemon(folder, answer(ANSWER)):
        done = run("telemetry", "status", "--json")
    assert msgspec.json.decode(done.out, type=ops.TelemetryAnswer) == ANSWER


def test_prometheus_asks_for_an_absolute_folder(
    run: Run, folder: StateFolder, tmp_path: Path
) -> None:
    told = ops.TelemetryExportAnswer(
        folder=str(tmp_path / "out"), files=["prometheus.yml"], targets={"rabbitmq": 3}
    )
    with scripted_daemon(folder, answer(told)) as requests:
        done = run("telemetry", "prometheus", "--out", "out", "--interval", "30s")
    assert done.code == 0
    assert "out/prometheus.yml" in done.out
    assert "3 nodes" in done.out
    request = json.loads(requests[0])["args"]
    assert request["folder"] == str(tmp_path / "out")
    assert (request["scrape_interval"], request["alert_after"]) == (30.0, 0.0)


def test_what_the_daemon_refuses_is_said(run: Run, folder: StateFolder) -> None:
    with scripted_daemon(folder, refusal(wire.Refusal.FAILED, "out can't be written")):
        done = run("telemetry", "prometheus", "--out", "out")
    assert (done.code, done.err) == (1, "warrener: out can't be written\n")


@pytest.mark.parametrize("given", ["0", "-1s", "soon", "2d", "0.5s"])
def test_times_that_make_no_sense(run: Run, given: str) -> None:
    done = run("telemetry", "prometheus", "--out", "out", f"--interval={given}")
    assert done.code == 2
    assert "--interval is a time from 1s to 24h" in done.err


def test_alerts_need_no_cluster(run: Run) -> None:
    done = run("telemetry", "alerts")
    assert done.code == 0
    assert "NodeDown (critical, after 1m)" in done.out
    assert "MemoryAlarm (critical, of RabbitMQ's list)" in done.out
    listed = json.loads(run("telemetry", "alerts", "--json").out)
    assert [alert["name"] for alert in listed["alerts"]] == [alert.name for alert in ALERTS]
    rules = yaml.safe_load(run("telemetry", "alerts", "--rules").out)
    assert {group["name"] for group in rules["groups"]} == {
        "warrener-recording",
        "rabbitmq",
        "warrener",
    }


@pytest.mark.parametrize("command", ["status", "prometheus"])
def test_without_a_cluster_the_exit_code_is_3(run: Run, command: str) -> None:
    more = ["--out", "out"] if command == "prometheus" else []
    assert run("telemetry", command, *more).code == 3
