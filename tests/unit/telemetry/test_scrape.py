"""Prometheus' configuration and targets, by its own tool."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from warrener.telemetry.scrape import CONFIG, RABBITMQ, WARRENER, Places, Target, files

PLACES = Places(
    cluster="warren",
    warrener="127.0.0.1:20005",
    nodes=(Target("127.0.0.1:20012", "n1@localhost"), Target("[::1]:20016", "n2@localhost")),
)


def written(folder: Path, places: Places = PLACES, **changes: Any) -> dict[str, Any]:
    wanted = {"interval": 15.0, "after": 0.0, "token": "s3cret", "authority": b"", **changes}
    for name, content in files(places, **wanted).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    found = yaml.safe_load((folder / CONFIG).read_text())
    assert isinstance(found, dict)
    return found


def checked(folder: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "config", CONFIG],
        cwd=folder, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.parametrize("tls", [False, True])
def test_promtool_finds_nothing_wrong(tmp_path: Path, tls: bool) -> None:
    written(tmp_path, replace(PLACES, tls=tls), authority=b"-----BEGIN CERTIFICATE-----\n")
    checked(tmp_path)


def test_the_token_is_in_its_own_file_and_nowhere_else(tmp_path: Path) -> None:
    written(tmp_path)
    holding = [p.name for p in tmp_path.rglob("*") if p.is_file() and "s3cret" in p.read_text()]
    assert holding == ["token"]


def test_nodes_and_the_cluster_are_labels_of_the_targets(tmp_path: Path) -> None:
    written(tmp_path)
    assert json.loads((tmp_path / RABBITMQ).read_text()) == [
        {
            "targets": ["127.0.0.1:20012"],
            "labels": {"cluster": "warren", "node": "n1@localhost"},
        },
        {"targets": ["[::1]:20016"], "labels": {"cluster": "warren", "node": "n2@localhost"}},
    ]
    assert json.loads((tmp_path / WARRENER).read_text()) == [
        {"targets": ["127.0.0.1:20005"], "labels": {"cluster": "warren"}}
    ]


def test_a_daemon_that_serves_no_metrics_is_no_target(tmp_path: Path) -> None:
    written(tmp_path, replace(PLACES, warrener=""))
    assert json.loads((tmp_path / WARRENER).read_text()) == []
    checked(tmp_path)


def test_nodes_with_tls_are_verified(tmp_path: Path) -> None:
    found = written(tmp_path, replace(PLACES, tls=True, server_name="mq.example"), authority=b"PEM")
    job = found["scrape_configs"][1]
    assert (job["job_name"], job["scheme"]) == ("rabbitmq", "https")
    assert job["tls_config"] == {"ca_file": "ca.pem", "server_name": "mq.example"}
    assert (tmp_path / "ca.pem").read_bytes() == b"PEM"


def test_no_scrape_may_take_longer_than_the_time_between_two(tmp_path: Path) -> None:
    found = written(tmp_path, interval=2.0)
    assert found["global"]["scrape_timeout"] == "2s"
    assert written(tmp_path, interval=60.0)["global"]["scrape_timeout"] == "10s"
