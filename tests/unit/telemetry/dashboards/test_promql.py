"""Selectors can only name what exists."""

import pytest

from warrener.telemetry import registry as r
from warrener.telemetry.dashboards.promql import (
    alerts,
    checked,
    filled,
    happened,
    of,
    of_daemon,
    of_rabbitmq,
    quantile,
    rate,
    total,
)


def test_a_metric_of_nodes_follows_both_variables() -> None:
    assert of(r.NODE_RUNNING) == 'warrener_node_running{cluster="$cluster",node=~"$node"}'
    assert of(r.SESSIONS) == 'warrener_balancer_sessions{cluster="$cluster"}'
    assert of(r.MESSAGES, 'direction="in"').endswith('node=~"$node",direction="in"}')
    assert of_rabbitmq("rabbitmq_connections").endswith('{cluster="$cluster",node=~"$node"}')


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: of(r.SESSIONS, 'reason="x"'),
        lambda: of(r.MESSAGES, "direction=in"),
        lambda: of(r.CONFIRM),
        lambda: of(r.SESSIONS, part="bucket"),
        lambda: of_rabbitmq("rabbitmq_no_such"),
        lambda: of_daemon("process_no_such"),
        lambda: checked("warrener_no_such"),
        lambda: checked(f"rate(rabbitmq_no_such[5m]) + {of(r.SESSIONS)}"),
        lambda: filled("up[$__unknown]"),
    ],
)
def test_what_doesnt_exist_is_refused(wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(AssertionError):
        wrong()


def test_all_variables_are_filled_in() -> None:
    expression = total(rate(of(r.MESSAGES)), "node")
    assert filled(expression, window="10s", cluster="c", node="n1@h") == (
        'sum by (cluster, node) (rate(warrener_balancer_messages_total{cluster="c",node=~"n1@h"}'
        "[10s]))"
    )
    for one in (quantile(0.99, r.CONFIRM), happened(r.EVENTS, "kind"), alerts()):
        assert "$" not in filled(one)
        assert checked(one) == one
