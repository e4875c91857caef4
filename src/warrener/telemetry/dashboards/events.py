"""What happened, and what it did to clients: for looking back at a drill or an incident. The marks
are on every dashboard."""

from typing import Final

from warrener.telemetry import registry as r
from warrener.telemetry.dashboards.board import (
    NONE_IS_GOOD,
    PLAIN,
    Board,
    Colour,
    Look,
    Mark,
    Panel,
    Query,
    Row,
    Words,
    number,
)
from warrener.telemetry.dashboards.promql import (
    FIRING,
    WINDOW,
    alerts,
    happened,
    of,
    of_rabbitmq,
    quantile,
    rate,
    total,
)

MARKS: Final = (
    Mark(
        "Nodes down",
        f"{of(r.NODE_RUNNING)} == 0",
        "{{node}} is down",
        "RabbitMQ doesn't run on it.",
        "node",
        "red",
        only_when="a node was down",
    ),
    Mark(
        "Nodes restarted",
        f"resets({of_rabbitmq('rabbitmq_erlang_uptime_seconds')}[{WINDOW}]) > 0",
        "{{node}} was restarted",
        "`warrener events` tells who did it, or that it died.",
        "node",
        "orange",
        only_when="a node was restarted",
    ),
    Mark(
        "Alerts",
        alerts(FIRING),
        "{{alertname}}",
        "{{node}} {{severity}}",
        "severity",
        "red",
        only_when="an alert fires",
    ),
    Mark(
        "Channels moved",
        happened(r.MOVES, "reason"),
        "Channels moved",
        "{{reason}}",
        "reason",
        "blue",
        shown=False,
        only_when="channels were moved",
    ),
    Mark(
        "Events",
        happened(r.EVENTS, "kind"),
        "{{kind}}",
        "`warrener events` has the details.",
        "kind",
        "purple",
        shown=False,
        only_when="something happened",
    ),
)
"""On every dashboard, each with a switch of its own; moves and events start switched off."""


def _within(metric: r.Metric, *by: str) -> str:
    return total(f"increase({of(metric)}[{WINDOW}])", *by)


_NOW = Row(
    "Now",
    (
        number(
            "Alerts that fire",
            "`warrener telemetry alerts` says what to do about each.",
            f"count({alerts(FIRING)}) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        number(
            "Nodes that run",
            "As a part of all members.",
            f"{total(of(r.NODE_RUNNING))} / {total(of(r.CLUSTER_MEMBERS))}",
            unit="percentunit",
            steps=((None, Colour.BAD), (0.5001, Colour.NOTICE), (1.0, Colour.GOOD)),
        ),
        number("Nodes drained", "For maintenance, on purpose.", total(of(r.NODE_DRAINED))),
        number(
            "Youngest node",
            "How long ago a node started last.",
            f"min by (cluster) ({of(r.NODE_UPTIME)})",
            unit="s",
        ),
        number(
            "Nodes cut off",
            "From others, as they say themselves: docs/partitions.md.",
            f"sum by (cluster) ({of(r.NODE_PARTITIONS)} > bool 0)",
            steps=NONE_IS_GOOD,
        ),
        number(
            "First certificate ends in",
            "Warrener renews what it made by itself.",
            f"min by (cluster) ({of(r.CERTIFICATE)}) - time()",
            unit="s",
            steps=((None, Colour.BAD), (14 * 86_400.0, Colour.GOOD)),
            only_when="the cluster has TLS",
        ),
    ),
)

_LINES = Row(
    "What happened",
    (
        Panel(
            "Running",
            "When RabbitMQ ran on each node.",
            (Query(of(r.NODE_RUNNING), "{{node}}"),),
            look=Look.STATES,
            words=(Words(0, "down", Colour.BAD), Words(1, "runs", Colour.GOOD)),
        ),
        Panel(
            "Drained",
            "When a node was drained.",
            (Query(of(r.NODE_DRAINED), "{{node}}"),),
            look=Look.STATES,
            words=(Words(0, "no", Colour.GREY), Words(1, "drained", Colour.NOTICE)),
        ),
        Panel(
            "Why a node got no new sessions",
            "By node and reason.",
            (Query(of(r.NODE_UNFIT), "{{node}}: {{reason}}"),),
            look=Look.STATES,
            words=(Words(1, "unfit", Colour.NOTICE),),
            only_when="a node isn't fit",
        ),
        Panel(
            "Alerts",
            "Those that fire, by what they are about.",
            (Query(alerts(FIRING), "{{alertname}} {{node}}"),),
            look=Look.STATES,
            words=(Words(1, "fires", Colour.BAD),),
            only_when="an alert fires",
        ),
        Panel(
            "Events",
            "How many were recorded within the window, by kind: `warrener events` has the details.",
            (Query(happened(r.EVENTS, "kind"), "{{kind}}"),),
            look=Look.BARS,
            stacked=True,
            width=16,
            only_when="something happened within the window",
        ),
        Panel(
            "Events in all",
            "Since the daemon started, by kind.",
            (Query(f"sort_desc({total(of(r.EVENTS), 'kind')})", "{{kind}}"),),
            look=Look.TABLE,
            width=8,
            steps=PLAIN,
        ),
    ),
)

_CLIENTS = Row(
    "What clients noticed",
    (
        Panel(
            "Channels moved",
            "To another node, by reason, within the window.",
            (
                Query(_within(r.MOVES, "reason"), "{{reason}}"),
                Query(_within(r.MOVES_FAILED), "failed"),
            ),
            look=Look.BARS,
            stacked=True,
        ),
        Panel(
            "Sessions that ended",
            "By reason, within the window. client_closed is the client's own wish.",
            (Query(_within(r.SESSIONS_ENDED, "reason"), "{{reason}}"),),
            look=Look.BARS,
            stacked=True,
        ),
        Panel(
            "Messages through the balancer",
            "A gap is what an outage cost.",
            (Query(total(rate(of(r.MESSAGES)), "direction"), "{{direction}}"),),
            "cps",
        ),
        Panel(
            "How long confirms take",
            "99 of 100 take no longer, failovers included.",
            (Query(quantile(0.99, r.CONFIRM), "p99"),),
            "s",
        ),
        Panel(
            "Publishes sent again",
            "Unconfirmed ones, on another node, within the window.",
            (Query(_within(r.REPLAYED), "sent again"),),
            look=Look.BARS,
        ),
        Panel(
            "Queues without a leader",
            "Nobody could publish to them or consume from them.",
            (Query(total(of(r.QUEUES_LEADERLESS)), "no leader"),),
        ),
    ),
)

BOARD: Final = Board(
    "warrener-events",
    "Warrener: drills and events",
    "What happened to a cluster, and what clients noticed of it.",
    (_NOW, _LINES, _CLIENTS),
)
