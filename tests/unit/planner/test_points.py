"""How single queues did: means of equal parts of the time."""

import pytest

from warrener.facts.ids import NodeName
from warrener.planner.points import Point, points
from warrener.planner.samples import QueueSample, Sample

N1 = NodeName("n1@h")


def sample(at: float, rate: float, length: float, name: str = "q") -> Sample:
    queue = QueueSample(
        "/", name, "quorum", N1, published=rate, acked=rate, ready=length / 4, unacked=length * 0.75
    )
    other = QueueSample("/", "other", "quorum", N1, published=1.0)
    return Sample(at, 10.0, (), queues=(queue, other))


def test_few_samples_are_a_point_each() -> None:
    found = points([sample(20, 50, 4), sample(10, 100, 8)], [("/", "q")])
    assert found == {("/", "q"): (Point(100, 100, 8), Point(50, 50, 4))}
    assert found["/", "q"][0].response_time == pytest.approx(0.08)
    assert Point(1.0, 0.0, 5.0).response_time is None


def test_many_samples_are_means_of_equal_parts() -> None:
    samples = [sample(10.0 * n, float(n), 2.0) for n in range(1, 101)]
    (line,) = points(samples, [("/", "q"), ("/", "none")], 20).values()
    assert len(line) == 20
    assert sum(point.published for point in line) / 20 == pytest.approx(50.5, rel=0.02)
    assert line[0].published < line[10].published < line[19].published


def test_nothing() -> None:
    assert points([], [("/", "q")]) == {}
    assert points([sample(10, 1, 1)], []) == {}
