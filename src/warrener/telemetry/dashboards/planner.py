"""What the planner predicts beside what is measured."""

from typing import Final

from warrener.telemetry import registry as r
from warrener.telemetry.dashboards.board import Board, Colour, Panel, Query, Row, number
from warrener.telemetry.dashboards.promql import of

PLANNED: Final = "`warrener plan calibrate` was run, and there is some history and load"
PLANNED_BY_QUEUE: Final = f"{PLANNED}; and `queue_metrics` under [telemetry]"

BUSY: Final = ((None, Colour.GOOD), (0.7, Colour.NOTICE), (0.9, Colour.BAD))
ROOM: Final = ((None, Colour.BAD), (1.2, Colour.NOTICE), (2.0, Colour.GOOD))

_NOW = Row(
    "Now",
    (
        number(
            "Load",
            "Messages that come in, a second.",
            of(r.LOAD),
            unit="cps",
            only_when=PLANNED,
        ),
        number(
            "Capacity",
            "Messages that may come in a second until the first part breaks, the load being made "
            "up as it is.",
            of(r.CAPACITY),
            unit="cps",
            only_when=PLANNED,
        ),
        number(
            "Headroom",
            "Times the present load at which the first part breaks.",
            of(r.HEADROOM),
            unit="suffix:x",
            decimals=1,
            steps=ROOM,
            only_when=PLANNED,
        ),
        number(
            "Headroom with a node gone",
            "The same with the node gone that would be missed most. Below 1: no node can be "
            "spared.",
            f"min by (cluster) ({of(r.HEADROOM_WITHOUT)})",
            unit="suffix:x",
            decimals=1,
            steps=((None, Colour.BAD), (1.0, Colour.NOTICE), (1.5, Colour.GOOD)),
            only_when=PLANNED,
        ),
        number(
            "Queues that grow",
            "They get more than is taken from them: `warrener plan advise`.",
            of(r.GROWING),
            steps=((None, Colour.GOOD), (1.0, Colour.NOTICE)),
            only_when=PLANNED,
        ),
        number(
            "Worked out",
            "How long ago. It is worked out at most twice a minute.",
            f"time() - {of(r.PLANNED_AT)}",
            unit="s",
            steps=((None, Colour.GOOD), (300.0, Colour.NOTICE)),
            only_when=PLANNED,
        ),
    ),
)

_BESIDE = Row(
    "Predicted beside measured",
    (
        Panel(
            "R: from published to acknowledged",
            "Mean by load. Measured by Little's law from what is in queues and what comes in.",
            (
                Query(of(r.PREDICTED_TIME), "predicted"),
                Query(of(r.MEASURED_TIME), "measured"),
            ),
            "s",
            only_when=PLANNED,
        ),
        Panel(
            "L: messages in queues",
            "Of all queues that don't grow.",
            (
                Query(of(r.PREDICTED_LENGTH), "predicted"),
                Query(of(r.MEASURED_LENGTH), "measured"),
            ),
            only_when=PLANNED,
        ),
        Panel(
            "Predicted / measured",
            "1: as predicted. docs/planner.md says how close predictions were where that was "
            "measured.",
            (
                Query(f"{of(r.PREDICTED_TIME)} / {of(r.MEASURED_TIME)}", "R"),
                Query(f"{of(r.PREDICTED_LENGTH)} / {of(r.MEASURED_LENGTH)}", "L"),
            ),
            "suffix:x",
            decimals=2,
            only_when=PLANNED,
        ),
        Panel(
            "Load and capacity",
            "Messages a second.",
            (Query(of(r.LOAD), "load"), Query(of(r.CAPACITY), "capacity")),
            "cps",
            only_when=PLANNED,
        ),
    ),
)

_PARTS = Row(
    "What is busy",
    (
        Panel(
            "Busiest part of each kind",
            "rho: 0 idle, 1 at its limit. What is near 1 breaks first.",
            (Query(of(r.RHO), "{{part}}"),),
            "percentunit",
            steps=BUSY,
            only_when=PLANNED,
        ),
        Panel(
            "Nodes",
            "rho of each node, predicted.",
            (Query(of(r.NODE_RHO), "{{node}}"),),
            "percentunit",
            steps=BUSY,
            only_when=PLANNED,
        ),
        Panel(
            "Headroom with a node gone",
            "Times the present load that the others would carry. Below 1: they couldn't.",
            (Query(of(r.HEADROOM_WITHOUT), "without {{node}}"),),
            "suffix:x",
            decimals=1,
            only_when=PLANNED,
        ),
        Panel(
            "Time until memory is full",
            "Until the first queue that grows fills its node's memory.",
            (Query(of(r.MEMORY_ALARM_IN), "until the alarm"),),
            "s",
            only_when=f"{PLANNED}; and a queue grows",
        ),
    ),
)

_EACH = Row(
    "Single queues",
    (
        Panel(
            "Busiest",
            "The queue itself or its consumers, whichever is busier; the first ten.",
            (Query(f"topk(10, {of(r.QUEUE_RHO)})", "{{vhost}} {{queue}}"),),
            "percentunit",
            steps=BUSY,
            only_when=PLANNED_BY_QUEUE,
        ),
        Panel(
            "Slowest",
            "R, predicted; the first ten.",
            (Query(f"topk(10, {of(r.QUEUE_PREDICTED_TIME)})", "{{vhost}} {{queue}}"),),
            "s",
            only_when=PLANNED_BY_QUEUE,
        ),
        Panel(
            "Length: predicted beside what is there",
            "Messages that wait or are unacknowledged; the ten that are predicted to be longest.",
            (
                Query(
                    f"topk(10, {of(r.QUEUE_PREDICTED_LENGTH)})", "{{vhost}} {{queue}}, predicted"
                ),
                Query(
                    f"({of(r.QUEUE_READY)} + on (cluster, vhost, queue) {of(r.QUEUE_UNACKED)}) "
                    f"and on (cluster, vhost, queue) topk(10, {of(r.QUEUE_PREDICTED_LENGTH)})",
                    "{{vhost}} {{queue}}, now",
                ),
            ),
            width=24,
            only_when=PLANNED_BY_QUEUE,
        ),
    ),
)

BOARD: Final = Board(
    "warrener-planner",
    "Warrener: planner",
    "What Warrener's models predict beside what is measured, and how much more the cluster "
    "carries.",
    (_NOW, _BESIDE, _PARTS, _EACH),
    span="now-3h",
)
