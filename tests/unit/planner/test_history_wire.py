"""There and back again, nothing is lost."""

from dataclasses import replace

import msgspec
from tests.unit.planner.test_work import BALANCER, NODES, queue, sample

from warrener.control.plan_history_operations import PlanPointsAnswer, PlanWorkAnswer
from warrener.planner.history_wire import (
    points_from_wire,
    points_to_wire,
    stretches_from_wire,
    work_to_wire,
)
from warrener.planner.points import Point
from warrener.planner.work import worked


def test_work() -> None:
    samples = [
        sample(queue(), queue("s", "stream")),
        sample(queue(), balancer=replace(BALANCER, published=None), at=20.0),
        sample(queue(), nodes=(replace(NODES[0], cores=0.5), *NODES[1:]), at=30.0, hosts=()),
        sample(queue("odd", "mqtt"), at=15.0),
    ]
    found = worked(samples)
    wire = work_to_wire(found, samples[:3], cluster="c", version="3.10.8", now=99.0)
    answer = msgspec.json.decode(msgspec.json.encode(wire), type=PlanWorkAnswer)
    assert answer == wire
    assert stretches_from_wire(answer) == list(found.stretches)
    assert (answer.since, answer.seconds) == (0, 30)
    assert answer.shares == {NODES[0].name: 0.5}
    assert answer.hosts == {node.name: "h" for node in NODES}
    assert answer.left_out == {"there was traffic in queues of a type that isn't known": 1}


def test_an_empty_history() -> None:
    wire = work_to_wire(worked([]), [], cluster="c", version="", now=99.0)
    assert (wire.since, wire.seconds, wire.hosts) == (99, 0, {})
    assert stretches_from_wire(wire) == []


def test_points() -> None:
    found = {("/", "q"): (Point(1.0, 2.0, 3.0), Point(4.0, 5.0, 6.0)), ("v", "r"): ()}
    wire = points_to_wire(found)
    answer = msgspec.json.decode(msgspec.json.encode(wire), type=PlanPointsAnswer)
    assert points_from_wire(answer) == found
