"""Each alert fires when it should and doesn't when it shouldn't, by Prometheus' own tool."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.telemetry.alert_cases import CASES, Case, Series

from warrener.telemetry.alerts import ALERTS, RECORDINGS, Alert
from warrener.telemetry.queries import names_in
from warrener.telemetry.registry import unknown
from warrener.telemetry.rules import rules, to_yaml

OFFICIAL = {
    "MemoryAlarm", "DiskAlarm", "FileDescriptorsNearLimit", "HighConnectionChurn",
    "InsufficientEstablishedErlangDistributionLinks", "LowDiskWatermarkPredicted",
    "NoMajorityOfNodesReady", "UnroutableMessages", "QueueHasNoConsumers", "QueueIsGrowing",
    "NodeRestarted",
}  # fmt: skip

BY_NAME = {alert.name: alert for alert in ALERTS}


def group(series: Series, alert: Alert, at: int, expected: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": f"{at}m",
                "alertname": alert.name,
                "exp_alerts": [{"exp_labels": labels} for labels in expected],
            }
        ],
    }


def judged(folder: Path, *groups: dict[str, Any]) -> tuple[int, str]:
    """What ``promtool test rules`` says. Texts of alerts aren't compared here."""
    plain = "\n".join(line for line in rules().splitlines() if not line.startswith("#"))
    document = __import__("yaml").safe_load(plain)
    for rule_group in document["groups"]:
        for rule in rule_group["rules"]:
            rule.pop("annotations", None)
    (folder / "rules.yml").write_text(to_yaml(document))
    (folder / "test.yml").write_text(
        to_yaml({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": list(groups)})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yml"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_every_alert_has_its_case() -> None:
    assert set(CASES) == set(BY_NAME)
    assert len(BY_NAME) == len(ALERTS)


def test_the_official_list_is_there() -> None:
    assert {alert.name for alert in ALERTS if alert.official} == OFFICIAL


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_it_fires_and_it_does_not(tmp_path: Path, name: str, case: Case) -> None:
    alert = BY_NAME[name]
    labels = {"severity": alert.severity.value, **case.labels}
    code, said = judged(
        tmp_path,
        group(case.fires, alert, case.at, [labels]),
        group(case.quiet, alert, case.at, []),
    )
    assert code == 0, said


@pytest.mark.parametrize("name", [name for name, alert in BY_NAME.items() if alert.after])
def test_it_waits(tmp_path: Path, name: str) -> None:
    """At the first look the condition may hold, but hasn't for long enough."""
    code, said = judged(tmp_path, group(CASES[name].fires, BY_NAME[name], 0, []))
    assert code == 0, said


def test_the_test_itself_can_fail(tmp_path: Path) -> None:
    case, alert = CASES["NodeDown"], BY_NAME["NodeDown"]
    code, said = judged(tmp_path, group(case.quiet, alert, case.at, [case.labels]))
    assert code != 0
    assert "NodeDown" in said


def test_a_queue_that_grows_is_named_where_queues_have_metrics(tmp_path: Path) -> None:
    series = {'warrener_queue_messages_ready{cluster="w",vhost="/",queue="jobs"}': "0+10x40"}
    labels = {"severity": "warning", "cluster": "w", "vhost": "/", "queue": "jobs"}
    code, said = judged(tmp_path, group(series, BY_NAME["QueueIsGrowing"], 35, [labels]))
    assert code == 0, said


@pytest.mark.parametrize("state", ["all", "none"])
def test_nodes_without_any_link_to_one_another_are_told(tmp_path: Path, state: str) -> None:
    """The count of links that stand is nothing then, not 0."""
    series = {
        f'rabbitmq_build_info{{cluster="w",node="n{number}"}}': "1x30" for number in (1, 2, 3)
    }
    alert = BY_NAME["InsufficientEstablishedErlangDistributionLinks"]
    expected = [{"severity": "critical", "cluster": "w"}]
    if state == "all":  # one node alone has nobody to be linked with
        series, expected = dict(list(series.items())[:1]), []
    code, said = judged(tmp_path, group(series, alert, 15, expected))
    assert code == 0, said


def test_no_rule_asks_for_a_series_that_nobody_exports() -> None:
    recorded = {one.name for one in RECORDINGS}
    for one in (*RECORDINGS, *ALERTS):
        asked = names_in(one.expression)
        assert asked, one.name
        assert unknown(asked - recorded) == [], one.name


def test_texts_name_labels_that_the_alert_has() -> None:
    for alert in ALERTS:
        for label in ("node", "whose", "what", "reason"):
            if f"$labels.{label} " in alert.summary:
                assert label in CASES[alert.name].labels, alert.name
