"""Samples -> the text that Prometheus scrapes, by the official client library.

The library's own collectors for the process (CPU, memory, descriptors, start) and Python's garbage
collector are added, under their usual names (``process_*``, ``python_*``).
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from warrener.facts.telemetry import Distribution
from warrener.telemetry.collect import Sample
from warrener.telemetry.registry import Kind
from warrener.telemetry.registry import Metric as Named

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class _Once(Collector):
    """What was read for one scrape."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        families: dict[str, _Family] = {}
        for metric, labels, value in self._samples:
            family = families.get(metric.name)
            if family is None:
                family = families[metric.name] = _family(metric)
            _add(family, [printable(label) for label in labels], value)
        yield from families.values()


class Exposition:
    """Makes the text. One for the life of the process."""

    def __init__(self) -> None:
        self._own = CollectorRegistry()
        ProcessCollector(registry=self._own)
        GCCollector(registry=self._own)

    def text(self, samples: Iterable[Sample]) -> bytes:
        """The whole answer to a scrape."""
        once = CollectorRegistry()
        once.register(_Once(samples))
        return generate_latest(once) + generate_latest(self._own)


def printable(label: str) -> str:
    """A queue's name may have bytes in it that no text has; UTF-8 is what Prometheus takes."""
    return label.encode("utf-8", "replace").decode()


def _family(metric: Named) -> _Family:
    match metric.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        case Kind.GAUGE:
            return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add(family: _Family, labels: list[str], value: float | Distribution) -> None:
    if isinstance(family, HistogramMetricFamily):
        if not isinstance(value, Distribution):
            raise AssertionError(f"{family.name} is a histogram, and was given a number")
        bounds = [*(f"{bound:g}" for bound in value.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(value.counts)), strict=True))
        family.add_metric(labels, buckets, value.total)
    elif isinstance(value, Distribution):
        raise AssertionError(f"{family.name} is a number, and was given a distribution")
    else:
        family.add_metric(labels, float(value))
