"""PromQL from the registry's metrics: a selector can only be made of a metric that exists, with
labels that it has. What is written around selectors is checked as well (``checked``).

Grafana puts values in place of ``$cluster``, ``$node`` and ``$__rate_interval`` when it asks;
``filled`` does the same for whoever asks Prometheus without Grafana.
"""

import re
from collections.abc import Iterable
from typing import Final

from warrener.telemetry.queries import names_in
from warrener.telemetry.registry import OF_DAEMON, OF_RABBITMQ, Kind, Metric, unknown

WINDOW: Final = "$__rate_interval"
"""Grafana's own: four scrapes at least, and no less than a step of the graph."""

CLUSTER: Final = 'cluster="$cluster"'
NODE: Final = 'node=~"$node"'

FIRING: Final = 'alertstate="firing"'
"""Of ``alerts``: not only pending."""

_MATCHER: Final = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"[^"]*"')


def of(metric: Metric, *matchers: str, part: str = "") -> str:
    """A selector of ``metric`` in the cluster and the nodes that are chosen. ``matchers``: such as
    ``type="quorum"``. ``part`` of a histogram: bucket, count, sum."""
    name = f"{metric.name}_{part}" if part else metric.name
    assert name in metric.series, f"{metric.name} is a {metric.kind}: {part!r} of it isn't a series"
    labels = (*metric.labels, *(("le",) if metric.kind is Kind.HISTOGRAM else ()))
    for matcher in matchers:
        found = _MATCHER.fullmatch(matcher)
        assert found is not None, f"not a matcher: {matcher}"
        assert found[1] in labels, f"{metric.name} has no label {found[1]}"
    return _selector(name, [NODE] if "node" in metric.labels else [], matchers)


def of_rabbitmq(name: str, *matchers: str) -> str:
    """A selector of one of RabbitMQ's own metrics, which each node has for itself."""
    assert name in OF_RABBITMQ, f"{name} isn't in the registry's list of RabbitMQ's metrics"
    return _selector(name, [NODE], matchers)


def of_daemon(name: str) -> str:
    """A selector of what Prometheus' client library tells of the daemon's process."""
    assert name in OF_DAEMON, f"{name} isn't in the registry's list of the daemon's metrics"
    return _selector(name, ['job="warrener"'], ())


def alerts(*matchers: str) -> str:
    """A selector of alerts, as Prometheus tells them."""
    return _selector("ALERTS", [], matchers)


def rate(selector: str) -> str:
    """Per second."""
    return f"rate({selector}[{WINDOW}])"


def total(expression: str, *by: str) -> str:
    """The sum by cluster and ``by``."""
    return f"sum by ({', '.join(('cluster', *by))}) ({expression})"


def quantile(share: float, metric: Metric) -> str:
    """Of a histogram, over the window."""
    buckets = total(rate(of(metric, part="bucket")), "le")
    return f"histogram_quantile({share:g}, {buckets})"


def happened(metric: Metric, *by: str) -> str:
    """How often within the window, where that is more than never. A counter whose first value is
    1, because it is made when something happens first, has no increase then: that is the second
    part."""
    counter = of(metric)
    return (
        f"({total(f'increase({counter}[{WINDOW}])', *by)} > 0) "
        f"or ({total(f'{counter} unless {counter} offset {WINDOW}', *by)} > 0)"
    )


def filled(
    expression: str, *, window: str = "1m", cluster: str = "warren", node: str = ".*"
) -> str:
    """With values for Grafana's variables."""
    values = {
        "$__rate_interval": window,
        "$__interval": window,
        "$__range": "1h",
        "$cluster": cluster,
        "$node": node,
    }
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, f"a variable that isn't known: {expression}"
    return expression


def checked(expression: str) -> str:
    """The same; AssertionError if it asks for a series that nobody exports."""
    missing = unknown(names_in(filled(expression)))
    assert not missing, f"nobody exports {', '.join(missing)}: {expression}"
    return expression


def _selector(name: str, first: Iterable[str], matchers: Iterable[str]) -> str:
    return f"{name}{{{','.join((CLUSTER, *first, *matchers))}}}"
