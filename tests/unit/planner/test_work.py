"""What a history is good for: what each node did, and which samples tell nothing."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.planner.scene import N1, N2, N3, calibration, load
from tests.unit.planner.scene import queue as queue_load

from warrener.planner.costs import Act, QueueType
from warrener.planner.resources import PartKind, reckon
from warrener.planner.samples import (
    BalancerSample,
    HostSample,
    NodeSample,
    QueueSample,
    RestSample,
    Sample,
)
from warrener.planner.work import CALIBRATED, acts, worked

NODES = tuple(NodeSample(name, "h", cpu=0.5) for name in (N1, N2, N3))
BALANCER = BalancerSample("h", 0, 0, 100.0, 100.0, 0.2)


def queue(name: str = "q", kind: str = "quorum", **more: Any) -> QueueSample:
    fields = {"members": (N1, N2, N3), "published": 100.0, "delivered": 80.0, **more}
    return QueueSample(fields.pop("vhost", "/"), name, kind, N1, **fields)


def sample(*queues: QueueSample, **more: Any) -> Sample:
    made = Sample(10.0, 10.0, NODES, (HostSample("h", 2, 0.1, 0.3),), queues, balancer=BALANCER)
    return replace(made, **more)


def test_what_each_node_did() -> None:
    stream = queue("s", "stream", entering={N2: 50.0}, leaving={N3: 20.0})
    (found,) = worked([sample(queue(), queue("c", "classic"), stream)]).stretches
    assert found.seconds == 10
    assert found.cpu == {N1: 0.5, N2: 0.5, N3: 0.5}
    assert found.rates[N1] == {
        QueueType.QUORUM: {Act.PUBLISH: 100, Act.DELIVER: 80},
        QueueType.CLASSIC: {Act.PUBLISH: 100, Act.DELIVER: 80},
        QueueType.STREAM: {Act.PUBLISH: 100, Act.DELIVER: pytest.approx(60)},
    }
    assert found.rates[N2][QueueType.STREAM] == {Act.REPLICATE: 100, Act.ENTER: 50}
    assert found.rates[N3][QueueType.STREAM] == {
        Act.REPLICATE: 100,
        Act.DELIVER: pytest.approx(20),
        Act.LEAVE: pytest.approx(20),
    }
    assert found.rates[N2][QueueType.QUORUM] == {Act.REPLICATE: 100}
    assert (found.passed, found.balanced, found.balancer) == (540, 200, 0.2)
    assert found.clients == 0.3


def test_it_is_what_the_planner_reckons_with() -> None:
    """The same acts, times what they cost, are the planner's cores of each node."""
    one = queue_load("jobs", 1_000, entering=((N2, 0.5),), leaving=((N3, 0.25),))
    costs = calibration()
    by_node = dict.fromkeys((N1, N2, N3), 0.0)
    for node, act, rate in acts(one, by_node):
        by_node[node] += rate * (costs.cost(one.type, act, one.body) or 0.0)
    reckoned = [p for p in reckon(load(one), costs).parts if p.kind is PartKind.NODE]
    assert {part.name: part.by_load for part in reckoned} == pytest.approx(
        {name.partition("@")[0]: cores for name, cores in by_node.items()}
    )
    assert list(acts(one, (N2, N3))) == []  # its leader doesn't run


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (sample(queue(vhost="warrener-calibration-ab")), "a calibration ran"),
        (sample(queue(), missing=(N2,)), "nodes didn't tell what clients do there"),
        (
            sample(queue(), rest=RestSample(9, published=20.0)),
            "there are more queues than are kept singly",
        ),
        (
            sample(queue(kind="mqtt")),
            "there was traffic in queues of a type that isn't known",
        ),
        (
            sample(queue(published=70.0)),
            "messages went through channels that live for seconds only",
        ),
        (
            sample(queue(), nodes=tuple(replace(node, cpu=None) for node in NODES)),
            "nobody told how much CPU nodes used",
        ),
    ],
)
def test_what_tells_nothing_is_left_out_and_counted(made: Sample, why: str) -> None:
    idle = sample(balancer=None)
    found = worked([sample(queue()), made, replace(made, merged=3), idle, sample(queue())])
    after = why == CALIBRATED  # the sample in which it ends has none of its queues any more
    assert len(found.stretches) == (2 if after else 3)
    assert found.left_out == {why: 5 if after else 4}


def test_what_is_not_told_is_no_zero() -> None:
    (found,) = worked(
        [
            sample(
                queue(),
                nodes=(replace(NODES[0], cpu=None), *NODES[1:]),
                hosts=(HostSample("h", 2),),
                balancer=replace(BALANCER, published=None, cpu=None),
            )
        ]
    ).stretches
    assert found.cpu == {N2: 0.5, N3: 0.5}
    assert (found.balanced, found.balancer, found.clients) == (None, None, None)
