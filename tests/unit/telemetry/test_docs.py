"""docs/observability.md lists what there is."""

from pathlib import Path

import pytest

from warrener.cluster.telemetry_file import TelemetrySection
from warrener.telemetry.alerts import ALERTS
from warrener.telemetry.registry import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_there_with_its_labels_and_its_words(name: str) -> None:
    metric = METRICS[name]
    row = f"| `{name}` | {metric.kind.value} | {', '.join(metric.labels)} | {metric.help} |"
    assert row in PAGE


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_is_there_with_its_condition(alert: object) -> None:
    found = next(one for one in ALERTS if one is alert)
    escaped = found.expression.replace("|", "\\|")
    assert any(
        line.startswith(f"| {found.name}") and f"`{escaped}`" in line for line in PAGE.splitlines()
    )


@pytest.mark.parametrize("key", TelemetrySection.model_fields)
def test_every_key_is_there(key: str) -> None:
    assert f"| `{key}` |" in PAGE
