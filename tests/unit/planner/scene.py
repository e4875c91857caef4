"""A cluster of three nodes on one host each, with costs in round numbers."""

from dataclasses import replace
from typing import Any

from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad

N1, N2, N3 = (NodeName(f"n{number}@h{number}") for number in (1, 2, 3))
NODES = (N1, N2, N3)
US = 1e-6

COSTS = {
    QueueType.CLASSIC: {Act.PUBLISH: Cost(30 * US), Act.DELIVER: Cost(20 * US)},
    QueueType.QUORUM: {
        Act.PUBLISH: Cost(60 * US, 0.01 * US, 0.1),
        Act.DELIVER: Cost(40 * US),
        Act.REPLICATE: Cost(50 * US),
        Act.ENTER: Cost(25 * US),
        Act.LEAVE: Cost(15 * US),
    },
}


def calibration(**changes: Any) -> Calibration:
    made = Calibration(
        taken_at=0.0,
        seconds=60.0,
        cluster="warren",
        version="3.10.8",
        hosts={name: name.partition("@")[2] for name in NODES},
        cores={"h1": 2, "h2": 2, "h3": 2},
        costs=COSTS,
        limits={
            QueueType.CLASSIC: (Limit(20_000, 100), Limit(10_000, 4_100)),
            QueueType.QUORUM: (Limit(8_000, 100),),
        },
        idle=dict.fromkeys(NODES, 0.1),
    )
    return replace(made, **changes)


def queue(name: str, rate: float, leader: NodeName | None = N1, **changes: Any) -> QueueLoad:
    kind = changes.pop("type", QueueType.QUORUM)
    made = QueueLoad(
        vhost="/",
        name=name,
        type=kind,
        leader=leader,
        members=() if kind is QueueType.CLASSIC else NODES,
        published=rate,
        delivered=rate,
        acked=rate,
        body=100.0,
    )
    return replace(made, **changes)


def load(*queues: QueueLoad, **changes: Any) -> Load:
    made = Load(
        nodes=tuple(NodeLoad(name, name.partition("@")[2], mem_limit=2**30) for name in NODES),
        hosts=tuple(HostLoad(f"h{number}", 2) for number in (1, 2, 3)),
        queues=queues,
    )
    return replace(made, **changes)
