"""The text that Prometheus scrapes, judged by Prometheus' own tool."""

import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.telemetry.scene import N1, queue, snapshot, values

from warrener.facts.telemetry import Distribution
from warrener.telemetry import registry as r
from warrener.telemetry.collect import Sample, collect
from warrener.telemetry.exposition import Exposition


def test_promtool_finds_nothing_wrong() -> None:
    text = Exposition().text(collect(values()))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_is_written_reads_back() -> None:
    text = Exposition().text(collect(values())).decode()
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["warrener_balancer_sessions", ()] == 4
    assert found["warrener_node_sessions", (("node", N1),)] == 2
    assert found["warrener_balancer_channel_moves_total", (("reason", "failover"),)] == 3
    assert found["warrener_balancer_confirm_seconds_bucket", (("le", "0.1"),)] == 2
    assert found["warrener_balancer_confirm_seconds_bucket", (("le", "+Inf"),)] == 3
    assert found["warrener_balancer_confirm_seconds_count", ()] == 3
    assert found["warrener_balancer_confirm_seconds_sum", ()] == 0.9
    assert any(name == "process_resident_memory_bytes" for name, _ in found)


def test_any_name_of_a_queue_can_be_a_label() -> None:
    name = 'a"b\\c\nd\udce9'
    told = values(snapshot=snapshot(queue(name)))
    text = Exposition().text(collect(told)).decode()
    labels = [
        sample.labels["queue"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "warrener_queue_consumers"
    ]
    assert labels == ['a"b\\c\nd?']


def test_a_kind_of_value_that_does_not_fit_its_metric_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="is a histogram"):
        Exposition().text([Sample(r.CONFIRM, (), 1.0)])
    with pytest.raises(AssertionError, match="is a number"):
        Exposition().text([Sample(r.SESSIONS, (), Distribution((), (0,), 0.0))])
