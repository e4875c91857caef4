"""``[telemetry]`` of warrener.toml."""

import pytest

from warrener.cluster.spec import ClusterSpec, SpecError, parse_spec
from warrener.cluster.topology import plan
from warrener.facts.telemetry import TelemetrySettings


def test_metrics_are_served_without_being_asked_for_and_nothing_else_is() -> None:
    settings = parse_spec("").telemetry
    assert settings == TelemetrySettings()
    assert (settings.enabled, settings.prometheus, settings.queue_metrics) == (True, False, 0)


def test_every_key() -> None:
    spec = parse_spec(
        '[telemetry]\nenabled = "off"\nport = 9419\nqueue_metrics = 100\nprometheus = true\n'
        'scrape_interval = "5s"\nretention = "30d"\nalert_after = "1m"\n'
    )
    assert spec.telemetry == TelemetrySettings(False, 9419, 100, True, 5.0, 30 * 86_400.0, 60.0)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("port = 0", "port: 0 is out of range; allowed: a port from 1 to 65535"),
        ("queue_metrics = 9999", "queue_metrics: 9999 is out of range; allowed: 0 to 5000 queues"),
        ("queue_metrics = true", "queue_metrics"),
        ('prometheus = "yes"', 'prometheus: "yes" can\'t be used'),
        ('scrape_interval = "0.1s"', "1 second to 5 minutes"),
        ("retention = 5", "10 minutes to 366 days"),
        ('alert_after = "2d"', "up to a day"),
        ("ports = 1", "ports: unknown key"),
    ],
)
def test_mistakes(line: str, words: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_spec(f"[telemetry]\n{line}\n")
    assert words in str(error.value)


def test_a_change_counts_at_the_next_up() -> None:
    from tests.unit.cluster.test_topology import EMPTY

    wanted = ClusterSpec(telemetry=TelemetrySettings(queue_metrics=7))
    later = plan(wanted, EMPTY, {}).later
    assert [(one.change.what, one.change.before, one.change.after) for one in later] == [
        ("telemetry.queue_metrics", "0", "7")
    ]
