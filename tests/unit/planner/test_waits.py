"""What the way through the broker adds, and where it doesn't."""

from dataclasses import replace

import pytest
from tests.unit.planner.scene import calibration, load, queue

from warrener.models.queueing import mg1, mmc
from warrener.models.terms import Steady
from warrener.planner.costs import QueueType, Wait
from warrener.planner.outlook import outlook
from warrener.planner.waits import occupied

WAITS = calibration(waits={QueueType.QUORUM: Wait(0.002, 0.003)})


@pytest.mark.parametrize(
    ("prefetch", "seen_here", "takes"), [(1, True, 0.023), (1, False, 0.02), (50, True, 0.02)]
)
def test_a_prefetch_of_one_waits_for_the_next(prefetch: int, seen_here: bool, takes: float) -> None:
    one = queue("jobs", 100, consumers=4, prefetch=prefetch, service_time=0.02, seen_here=seen_here)
    assert occupied(one, WAITS) == pytest.approx(takes)
    assert occupied(one, calibration()) == 0.02  # nothing was measured


def test_what_was_seen_goes_before_what_was_calibrated() -> None:
    one = queue(
        "jobs",
        100,
        consumers=4,
        prefetch=1,
        service_time=0.02,
        seen_here=True,
        turnaround=0.004,
    )
    assert occupied(one, WAITS) == pytest.approx(0.024)
    assert occupied(one, calibration()) == pytest.approx(0.024)
    assert occupied(replace(one, prefetch=10), WAITS) == 0.02


def test_nobody_knows() -> None:
    assert occupied(queue("jobs", 100, prefetch=1, seen_here=True), WAITS) is None


def test_the_response_time_has_both() -> None:
    one = queue("jobs", 150, consumers=4, prefetch=1, service_time=0.02, seen_here=True)
    found = outlook(load(one), WAITS).queues[0]
    own, taken = mg1(150, 8_000, 0.0), mmc(150, 1 / 0.023, 4)
    assert isinstance(own, Steady)
    assert isinstance(taken, Steady)
    expected = own.waiting_time + 0.002 + taken.response_time
    assert found.response_time == pytest.approx(expected)
    part = outlook(load(one), WAITS).reckoned.first
    assert part is not None
    assert part.capacity == pytest.approx(4 / 0.023)
