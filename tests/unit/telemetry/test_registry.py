"""Names are Prometheus', and told once."""

import re

import pytest

from warrener.telemetry.registry import METRICS, Kind, Metric, unknown


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_says_type_and_unit(metric: Metric) -> None:
    assert re.fullmatch(r"warrener_[a-z0-9_]+", metric.name)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    if metric.unit:
        assert f"_{metric.unit}" in metric.name
    assert metric.help.endswith(".")
    assert "le" not in metric.labels


def test_names_that_nobody_exports_are_found() -> None:
    asked = ["warrener_balancer_sessions", "warrener_balancer_confirm_seconds_bucket", "up"]
    assert unknown(asked) == []
    assert unknown([*asked, "warrener_balancer_confirm_seconds", "rabbitmq_nonsense"]) == [
        "rabbitmq_nonsense",
        "warrener_balancer_confirm_seconds",
    ]
