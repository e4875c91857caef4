"""What a message costs, a queue's limit between two sizes that were measured."""

import pytest
from tests.unit.planner.scene import US, calibration

from warrener.planner.costs import Act, Cost, Limit, QueueType


def test_a_cost_grows_with_the_body() -> None:
    assert Cost(50 * US, 0.01 * US).at(1000) == pytest.approx(60 * US)


def test_what_was_not_measured_is_none() -> None:
    assert calibration().cost(QueueType.STREAM, Act.PUBLISH, 100) is None
    assert calibration().cost(QueueType.CLASSIC, Act.LEAVE, 100) is None
    assert calibration().limit(QueueType.STREAM, 100) is None


@pytest.mark.parametrize(
    ("body", "rate"), [(0, 20_000), (100, 20_000), (4_100, 10_000), (10_000, 10_000)]
)
def test_a_limit_outside_of_what_was_measured_is_the_nearest(body: float, rate: float) -> None:
    found = calibration().limit(QueueType.CLASSIC, body)
    assert found is not None
    assert found.rate == rate


def test_a_limit_in_between_goes_by_the_time_of_a_message() -> None:
    limits = (Limit(20_000, 100, 0.1), Limit(10_000, 4_100, 0.2, at_least=True))
    found = calibration(limits={QueueType.CLASSIC: limits}).limit(QueueType.CLASSIC, 2_100)
    assert found is not None
    assert 1 / found.rate == pytest.approx((1 / 20_000 + 1 / 10_000) / 2)
    assert (found.error, found.at_least, found.body) == (0.2, True, 2_100)
