"""Is all well, and if not, where to look."""

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
    Words,
    number,
)
from warrener.telemetry.dashboards.promql import (
    FIRING,
    alerts,
    of,
    of_rabbitmq,
    quantile,
    rate,
    total,
)

FILLING: Final = ((None, Colour.GOOD), (0.7, Colour.NOTICE), (0.9, Colour.BAD))

_NOW = Row(
    "Now",
    (
        number(
            "Nodes that run",
            "Members of the cluster that RabbitMQ runs on, as a part of all. Below 100 %: "
            "`warrener status` says which one is missing.",
            f"{total(of(r.NODE_RUNNING))} / {total(of(r.CLUSTER_MEMBERS))}",
            unit="percentunit",
            steps=((None, Colour.BAD), (0.5001, Colour.NOTICE), (1.0, Colour.GOOD)),
        ),
        number(
            "Majority",
            "Whether more than half of the members run. Without, quorum queues have no leaders.",
            of(r.CLUSTER_MAJORITY),
            words=YES_NO,
        ),
        number(
            "Alerts that fire",
            "Warrener's and RabbitMQ's rules; `warrener telemetry alerts` says what to do about "
            "each.",
            f"count({alerts(FIRING)}) or vector(0)",
            steps=NONE_IS_GOOD,
        ),
        number(
            "Queues without a leader",
            "Nobody can publish to them or consume from them.",
            total(of(r.QUEUES_LEADERLESS)),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Memory and disk alarms",
            "While there is one, RabbitMQ takes no messages from anybody, on any node.",
            total(of(r.NODE_ALARM)),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Headroom",
            "Times the present load at which the first part breaks, as the planner predicts it.",
            of(r.HEADROOM),
            unit="suffix:x",
            decimals=1,
            steps=((None, Colour.BAD), (1.2, Colour.NOTICE), (2.0, Colour.GOOD)),
            only_when="`warrener plan calibrate` was run, and there is some history",
        ),
        number(
            "Sessions",
            "Client connections that are open at the balancer.",
            total(of(r.SESSIONS)),
        ),
        number(
            "Messages in",
            "What clients publish through the balancer, a second.",
            total(rate(of(r.MESSAGES, 'direction="in"'))),
            unit="cps",
        ),
        number(
            "Messages that wait",
            "In all queues, not yet given to a consumer.",
            total(of(r.MESSAGES_READY)),
        ),
        number(
            "Age of the view",
            "How old what Warrener knows of the cluster is. It looks every few seconds.",
            of(r.CLUSTER_VIEW_AGE),
            unit="s",
            steps=((None, Colour.GOOD), (30.0, Colour.BAD)),
        ),
        number(
            "Drift",
            "Steps from the cluster as it is to what warrener.toml describes: `warrener diff`.",
            of(r.DRIFT),
            steps=((None, Colour.GOOD), (1.0, Colour.NOTICE)),
            only_when="the cluster is described by a file",
        ),
        number(
            "RabbitMQ",
            "Its version on the nodes.",
            of(r.INFO),
            legend="{{rabbitmq}}",
            label_as_value=True,
        ),
    ),
)

_TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Messages through the balancer",
            "In: published by clients. Out: delivered to them. With HAProxy as the data plane "
            "there is nothing here: it passes bytes.",
            (Query(total(rate(of(r.MESSAGES)), "direction"), "{{direction}}"),),
            "cps",
        ),
        Panel(
            "How long confirms take",
            "From a publish at the balancer until its confirm goes back to the client, of a "
            "sample. Half, 19 of 20, and 99 of 100 take no longer.",
            tuple(
                Query(quantile(share, r.CONFIRM), f"p{share * 100:g}")
                for share in (0.5, 0.95, 0.99)
            ),
            "s",
        ),
        Panel(
            "Messages in queues",
            "Waiting, and given to consumers that haven't acknowledged them. What grows steadily "
            "has too few consumers.",
            (
                Query(total(of(r.MESSAGES_READY)), "wait"),
                Query(total(of(r.MESSAGES_UNACKED)), "unacknowledged"),
            ),
        ),
        Panel(
            "Sessions by home",
            "Sessions that have their home on each node. They should go with the weights.",
            (Query(of(r.NODE_SESSIONS), "{{node}}"),),
            stacked=True,
        ),
    ),
)

_NODES = Row(
    "Nodes",
    (
        Panel(
            "Running",
            "When RabbitMQ ran on each node.",
            (Query(of(r.NODE_RUNNING), "{{node}}"),),
            look=Look.STATES,
            words=(Words(0, "down", Colour.BAD), Words(1, "runs", Colour.GOOD)),
        ),
        Panel(
            "Gets new sessions",
            "A node that isn't fit (down, drained, an alarm, no answer) gets none.",
            (Query(of(r.NODE_FIT), "{{node}}"),),
            look=Look.STATES,
            words=(Words(0, "unfit", Colour.NOTICE), Words(1, "fit", Colour.GOOD)),
        ),
        Panel(
            "Memory, as a part of the limit",
            "At 100 % there is a memory alarm, and publishers are blocked.",
            (
                Query(
                    f"{of(r.NODE_MEMORY)} / on (cluster, node) {of(r.NODE_MEMORY_LIMIT)}",
                    "{{node}}",
                ),
            ),
            "percentunit",
            steps=FILLING,
            most=1.0,
        ),
        Panel(
            "Free disk, above the limit",
            "At 0 there is a disk alarm, and publishers are blocked.",
            (Query(f"{of(r.NODE_DISK)} - on (cluster, node) {of(r.NODE_DISK_LIMIT)}", "{{node}}"),),
            "bytes",
        ),
        Panel(
            "File descriptors, as a part of the limit",
            "At 100 % a node takes no connections.",
            (
                Query(
                    f"{of(r.NODE_FILES)} / on (cluster, node) {of(r.NODE_FILES_LIMIT)}", "{{node}}"
                ),
            ),
            "percentunit",
            steps=FILLING,
            most=1.0,
        ),
        Panel(
            "Erlang processes that wait for a CPU",
            "A run queue that stays above the number of cores: the node is short of CPU.",
            (Query(of_rabbitmq("rabbitmq_erlang_scheduler_run_queue"), "{{node}}"),),
        ),
    ),
)

BOARD: Final = Board(
    "warrener-overview",
    "Warrener: cluster overview",
    "Whether all is well with a RabbitMQ cluster that Warrener runs, and where to look if not.",
    (_NOW, _TRAFFIC, _NODES),
)
