"""A cluster of three nodes on one host each, with costs in round numbers."""

from dataclasses import replace
from typing import Any

from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.facts.ids import NodeName
from warrener.planner.costs import Act, Calibration, Cost, Limit, QueueType
from warrener.planner.history_wire import work_to_wire
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.samples import HostSample, NodeSample, Sample
from warrener.planner.work import Stretch, Worked

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


def work_told(rates: list[float]) -> PlanWorkAnswer:
    """A history in which quorum queues that n1 leads had so many messages a second, each of which
    cost n1 100 us and the others 50."""
    stretches = [
        Stretch(
            10.0,
            {N1: 0.02 + rate * 1e-4, N2: 0.02 + rate * 5e-5, N3: 0.02 + rate * 5e-5},
            {
                N1: {QueueType.QUORUM: {Act.PUBLISH: rate, Act.DELIVER: rate}},
                **{node: {QueueType.QUORUM: {Act.REPLICATE: rate}} for node in (N2, N3)},
            },
        )
        for rate in rates
    ]
    hosts = tuple(NodeSample(node, node.partition("@")[2]) for node in NODES)
    last = Sample(1.0, 10.0, hosts, tuple(HostSample(f"h{n}", 2) for n in (1, 2, 3)))
    left_out = {"a calibration ran": 10}
    return work_to_wire(
        Worked(tuple(stretches), left_out),
        [last],
        cluster="c",
        version="",
        now=1,
        told_by_nodes=True,
    )
