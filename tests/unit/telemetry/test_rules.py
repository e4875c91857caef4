"""The rule file and the example of routes, by Prometheus' own tool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from warrener.telemetry.alerts import ALERTS, RECORDINGS
from warrener.telemetry.rules import alertmanager_example, duration, rules


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(rules())
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", "rules.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS) + len(RECORDINGS)} rules found" in done.stdout


def test_waiting_can_be_cut_short_and_is_never_made_longer() -> None:
    waits = {
        rule["alert"]: rule.get("for")
        for group in yaml.safe_load(rules(after=90.0))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert waits["LeaderSkew"] == "90s"
    assert waits["NodeDown"] == "1m"
    assert waits["MemoryAlarm"] is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (15, "15s"), (60, "1m"), (90, "90s"), (7200, "2h"), (86_400, "1d"), (0.2, "0s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_example_of_routes_sends_what_is_critical_to_the_pager() -> None:
    found = yaml.safe_load(alertmanager_example())
    receivers = {one["name"] for one in found["receivers"]}
    routes = found["route"]["routes"]
    assert {route["receiver"] for route in routes} | {found["route"]["receiver"]} == receivers
    assert routes[0] == {
        "matchers": ['severity="critical"'],
        "receiver": "pager",
        "repeat_interval": "30m",
    }
    assert all(rule["equal"] == ["cluster"] for rule in found["inhibit_rules"])
