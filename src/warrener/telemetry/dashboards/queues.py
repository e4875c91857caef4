"""Queues, their leaders and members, and what is in them."""

from typing import Final

from warrener.telemetry import registry as r
from warrener.telemetry.dashboards.board import (
    NONE_IS_GOOD,
    Board,
    Colour,
    Panel,
    Query,
    Row,
    number,
)
from warrener.telemetry.dashboards.promql import of, of_rabbitmq, rate, total

REPLICATED: Final = 'type=~"quorum|stream"'
BY_QUEUE: Final = "`queue_metrics` under [telemetry] gives queues metrics of their own"
TOP: Final = 10


def _rabbitmq(what: str) -> str:
    return total(rate(of_rabbitmq(f"rabbitmq_global_messages_{what}_total")))


def _top(metric: r.Metric) -> str:
    return f"topk({TOP}, {of(metric)})"


_LEADERS = of(r.NODE_LEADERS, REPLICATED)

_NOW = Row(
    "Now",
    (
        number("Queues", "Of all types.", total(of(r.QUEUES))),
        number(
            "Without a leader",
            "Nobody can publish to them or consume from them.",
            total(of(r.QUEUES_LEADERLESS)),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Lacking a member",
            "They survive fewer lost nodes than they are meant to.",
            total(of(r.QUEUES_SHORT)),
            steps=((None, Colour.GOOD), (1.0, Colour.NOTICE)),
        ),
        number(
            "At a bare majority",
            "One more node, and they have no leader. Restart and drain nothing meanwhile.",
            total(of(r.QUEUES_AT_EDGE)),
            steps=NONE_IS_GOOD,
        ),
        number(
            "With messages and no consumer",
            "Forgotten ones, or their consumers are down.",
            of(r.QUEUES_UNTENDED),
            steps=((None, Colour.GOOD), (1.0, Colour.NOTICE)),
        ),
        number("Consumers", "Of all queues.", of(r.CONSUMERS)),
    ),
)

_LEADING = Row(
    "Leaders",
    (
        Panel(
            "Leaders by node",
            "Quorum queues and streams that each node leads. `warrener leaders balance` spreads "
            "them by load.",
            (Query(total(_LEADERS, "node"), "{{node}}"),),
            stacked=True,
        ),
        Panel(
            "Skew",
            "Leaders of the node that has most of them, as a multiple of the mean. 1: spread "
            "evenly.",
            (
                Query(
                    f"max by (cluster) ({total(_LEADERS, 'node')}) / "
                    f"(avg by (cluster) ({total(_LEADERS, 'node')}) > 0)",
                    "most / mean",
                ),
            ),
            "suffix:x",
            decimals=2,
            steps=((None, Colour.GOOD), (1.5, Colour.NOTICE)),
        ),
        Panel(
            "Queues that aren't whole",
            "Over time: without a leader, lacking a member, at a bare majority.",
            (
                Query(total(of(r.QUEUES_LEADERLESS), "type"), "{{type}}, no leader"),
                Query(total(of(r.QUEUES_SHORT), "type"), "{{type}}, lacks a member"),
                Query(total(of(r.QUEUES_AT_EDGE), "type"), "{{type}}, bare majority"),
            ),
        ),
        Panel(
            "How long an entry of Raft takes to commit",
            "Of quorum queues and streams by node, as RabbitMQ tells it: disk and network of the "
            "members.",
            (Query(of_rabbitmq("rabbitmq_raft_entry_commit_latency_seconds"), "{{node}}"),),
            "s",
        ),
        Panel(
            "Queues by type",
            "How many there are; a step is a client that declares or deletes some.",
            (Query(of(r.QUEUES), "{{type}}"),),
            stacked=True,
        ),
        Panel(
            "Erlang processes",
            "Each queue, connection and channel has some.",
            (Query(of_rabbitmq("rabbitmq_erlang_processes_used"), "{{node}}"),),
        ),
    ),
)

_MESSAGES = Row(
    "Messages",
    (
        Panel(
            "Messages in queues",
            "Waiting, and given to consumers that haven't acknowledged them.",
            (
                Query(of(r.MESSAGES_READY), "wait"),
                Query(of(r.MESSAGES_UNACKED), "unacknowledged"),
            ),
            stacked=True,
        ),
        Panel(
            "In and out, as RabbitMQ counts",
            "Of all clients, also those that don't come by the balancer. Delivered without "
            "acknowledged: consumers are stuck, or acknowledge by themselves.",
            (
                Query(_rabbitmq("received"), "received"),
                Query(_rabbitmq("confirmed"), "confirmed"),
                Query(_rabbitmq("delivered"), "delivered"),
                Query(_rabbitmq("acknowledged"), "acknowledged"),
                Query(_rabbitmq("redelivered"), "delivered again"),
            ),
            "cps",
        ),
        Panel(
            "Messages that no queue takes",
            "A second. They are dropped, or returned to publishers that ask for it: look at "
            "exchanges and bindings.",
            (
                Query(_rabbitmq("unroutable_dropped"), "dropped"),
                Query(_rabbitmq("unroutable_returned"), "returned"),
            ),
            "cps",
        ),
        Panel(
            "Consumers",
            "Of all queues; a step down is a client that has gone.",
            (Query(of(r.CONSUMERS), "consumers"),),
        ),
    ),
)

_EACH = Row(
    "Single queues",
    (
        Panel(
            "Longest queues",
            f"The {TOP} with most messages that wait, of those with metrics of their own.",
            (Query(_top(r.QUEUE_READY), "{{vhost}} {{queue}}"),),
            only_when=BY_QUEUE,
        ),
        Panel(
            "Most unacknowledged",
            "Their consumers are slow, or take more at once than they can work through.",
            (Query(_top(r.QUEUE_UNACKED), "{{vhost}} {{queue}}"),),
            only_when=BY_QUEUE,
        ),
        Panel(
            "Fewest consumers",
            f"The {TOP} with the fewest.",
            (Query(f"bottomk({TOP}, {of(r.QUEUE_CONSUMERS)})", "{{vhost}} {{queue}}"),),
            only_when=BY_QUEUE,
        ),
        Panel(
            "Fewest members online",
            f"The {TOP} with the fewest.",
            (Query(f"bottomk({TOP}, {of(r.QUEUE_ONLINE)})", "{{vhost}} {{queue}}"),),
            only_when=BY_QUEUE,
        ),
        number(
            "Queues left out here",
            "Past `queue_metrics`, which counts by name.",
            of(r.QUEUES_LEFT_OUT),
            only_when=BY_QUEUE,
        ),
    ),
)

BOARD: Final = Board(
    "warrener-queues",
    "Warrener: queues and leaders",
    "Where queues are led, whether they are whole, and what is in them.",
    (_NOW, _LEADING, _MESSAGES, _EACH),
)
