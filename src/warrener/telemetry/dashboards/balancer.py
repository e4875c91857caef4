"""Who is connected where, what goes through, who was moved and why."""

from typing import Final

from warrener.telemetry import registry as r
from warrener.telemetry.dashboards.board import (
    NONE_IS_GOOD,
    YES_NO,
    Board,
    Colour,
    Look,
    Panel,
    Query,
    Row,
    number,
)
from warrener.telemetry.dashboards.promql import WINDOW, of, of_daemon, quantile, rate, total

QUANTILES: Final = (0.5, 0.95, 0.99)


def _quantiles(metric: r.Metric) -> tuple[Query, ...]:
    return tuple(Query(quantile(share, metric), f"p{share * 100:g}") for share in QUANTILES)


def _within(metric: r.Metric, *by: str) -> str:
    return total(f"increase({of(metric)}[{WINDOW}])", *by)


_NOW = Row(
    "Now",
    (
        number("Sessions", "Client connections that are open.", total(of(r.SESSIONS))),
        number("Channels", "Channels that are open, on all nodes.", total(of(r.CHANNELS))),
        number(
            "Policy",
            "What chooses nodes for sessions: `warrener balance show`.",
            f"{of(r.POLICY)} == 1",
            legend="{{policy}}",
            label_as_value=True,
        ),
        number(
            "Follows leaders",
            "Whether channels go to the node that leads their queue (`locality`).",
            of(r.LOCALITY),
            words=YES_NO,
        ),
        number(
            "Knows where leaders are",
            "If not, channels stay at their home until it does.",
            of(r.LEADERS_KNOWN),
            words=YES_NO,
        ),
        number(
            "Consumers that wait for their queue",
            "Of queues whose nodes are down: they go on when the queue is back.",
            total(of(r.PARKED)),
            steps=NONE_IS_GOOD,
        ),
    ),
)

_SESSIONS = Row(
    "Sessions",
    (
        Panel(
            "Sessions by home",
            "They should go with the weights: `warrener balance rebalance` spreads them.",
            (Query(of(r.NODE_SESSIONS), "{{node}}"),),
            stacked=True,
        ),
        Panel(
            "Opened and ended",
            "A second. Clients that come and go all the time should keep their connections.",
            (
                Query(total(rate(of(r.SESSIONS_OPENED))), "opened"),
                Query(total(rate(of(r.SESSIONS_ENDED)), "reason"), "ended: {{reason}}"),
            ),
            "cps",
        ),
        Panel(
            "How long handshakes take",
            "From a client's connect until it may speak; TLS, login and the node's own part in it.",
            _quantiles(r.HANDSHAKE),
            "s",
        ),
        Panel(
            "Clients that got no session",
            "By reason, within the window. limit: there are as many as are allowed; no_fit_node: "
            "no node takes any.",
            (Query(_within(r.REJECTED, "reason"), "{{reason}}"),),
            look=Look.BARS,
            stacked=True,
        ),
        Panel(
            "Weights",
            "Of the nodes, for the weighted policies.",
            (Query(of(r.NODE_WEIGHT), "{{node}}"),),
        ),
        Panel(
            "Connects and handshakes that failed",
            "With a node, a second. Such a client is given to another one.",
            (Query(rate(of(r.NODE_FAILURES)), "{{node}}"),),
            "cps",
        ),
    ),
)

_LOCAL = of(r.MESSAGES, 'locality="local"')
_KNOWN = of(r.MESSAGES, 'locality=~"local|remote"')

_MESSAGES = Row(
    "Messages",
    (
        Panel(
            "Messages by node",
            "Between the balancer and each node; in: from clients.",
            (Query(total(rate(of(r.MESSAGES)), "node", "direction"), "{{node}} {{direction}}"),),
            "cps",
            stacked=True,
        ),
        Panel(
            "At their queue's leader",
            "Messages that went straight to the node that leads their queue, as a part of those "
            "where that is known. The others take one more hop.",
            (
                Query(
                    f"{total(rate(_LOCAL))} / {total(rate(_KNOWN))}",
                    "local",
                ),
            ),
            "percentunit",
            most=1.0,
            steps=((None, Colour.NOTICE), (0.9, Colour.GOOD)),
        ),
        Panel(
            "How long confirms take",
            "From a publish at the balancer until its confirm goes back, of a sample.",
            _quantiles(r.CONFIRM),
            "s",
        ),
        Panel(
            "Bytes",
            "Between clients and the balancer, a second; in: from clients.",
            (Query(total(rate(of(r.CLIENT_BYTES)), "direction"), "clients, {{direction}}"),),
            "Bps",
        ),
        Panel(
            "Bytes by node",
            "Between the balancer and each node, a second; in: from clients.",
            (Query(total(rate(of(r.BYTES)), "node", "direction"), "{{node}} {{direction}}"),),
            "Bps",
            stacked=True,
        ),
        Panel(
            "Unconfirmed publishes that are kept",
            "To be sent again if their node dies, as a part of the most that is kept. At 100 % "
            "clients are slowed down.",
            (Query(f"{total(of(r.JOURNAL))} / {total(of(r.JOURNAL_LIMIT))}", "of the limit"),),
            "percentunit",
            most=1.0,
            steps=((None, Colour.GOOD), (0.8, Colour.BAD)),
        ),
    ),
)

_MOVES = Row(
    "Decisions and moves",
    (
        Panel(
            "Choices of a node",
            "By the policy that made them, a second; retry: after a node that refused.",
            (
                Query(
                    total(rate(of(r.DECISIONS)), "policy", "choice", "node"),
                    "{{node}}: {{policy}}, {{choice}}",
                ),
            ),
            "cps",
        ),
        Panel(
            "Channels by node",
            "Where channels are, which isn't where their session has its home if they follow a "
            "leader.",
            (Query(of(r.CHANNELS), "{{node}}"),),
            stacked=True,
        ),
        Panel(
            "Channels moved",
            "To another node within the window, by reason: their node died (failover), the leader "
            "of their queue is elsewhere (locality), or a drain or rebalance.",
            (
                Query(_within(r.MOVES, "reason"), "{{reason}}"),
                Query(_within(r.MOVES_FAILED), "failed"),
            ),
            look=Look.BARS,
            stacked=True,
        ),
        Panel(
            "Publishes sent again",
            "Unconfirmed ones, on another node, within the window. A consumer may see such a "
            "message twice.",
            (Query(_within(r.REPLAYED), "sent again"),),
            look=Look.BARS,
        ),
        Panel(
            "Connections to nodes",
            "That sessions have; one with channels on two nodes has two.",
            (Query(of(r.LINKS), "{{node}}"),),
            stacked=True,
        ),
        Panel(
            "Probes that failed",
            "Of a node, a second. Some in a row make it unfit.",
            (Query(rate(of(r.NODE_PROBES, 'outcome="failed"')), "{{node}}"),),
            "cps",
        ),
    ),
)

_DAEMON = Row(
    "Warrener itself",
    (
        Panel(
            "Event loop lag",
            "How much later than asked for the event loop woke. All sessions wait that long.",
            _quantiles(r.LOOP_LAG),
            "s",
            width=8,
        ),
        Panel(
            "CPU",
            "Cores that the daemon uses; the balancer can't use more than one.",
            (Query(rate(of_daemon("process_cpu_seconds_total")), "cores"),),
            width=8,
        ),
        Panel(
            "Memory",
            "Of the daemon.",
            (Query(of_daemon("process_resident_memory_bytes"), "resident"),),
            "bytes",
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    "warrener-balancer",
    "Warrener: balancer and sessions",
    "What goes through Warrener's balancer, how long that takes, and who was moved.",
    (_NOW, _SESSIONS, _MESSAGES, _MOVES, _DAEMON),
)
