"""What the way through the broker adds, and where it doesn't."""

import math
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.planner.scene import calibration, load, queue

from warrener.models.interruptions import Stalls
from warrener.models.queueing import mg1, mmc
from warrener.models.terms import Steady
from warrener.planner import words
from warrener.planner.costs import QueueType, Wait
from warrener.planner.load import QueueLoad
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
    # A message is done when it is acked; only the next one waits for what comes behind that.
    expected = own.waiting_time + 0.002 + taken.response_time - 0.003
    assert found.response_time == pytest.approx(expected)
    part = outlook(load(one), WAITS).reckoned.first
    assert part is not None
    assert part.capacity == pytest.approx(4 / 0.023)


def stalling(**changes: Any) -> QueueLoad:
    """150 messages a second, of which 2 % come in stalls of 0.4 s."""
    given: dict[str, Any] = {
        "consumers": 4,
        "prefetch": 1,
        "service_time": 0.02,
        "stalls": Stalls(0.004, 0.02),
    }
    return queue("jobs", 150, **(given | changes))


def test_stalls_make_messages_wait_and_take_the_consumers_time() -> None:
    found = outlook(load(stalling()), calibration()).queues[0]
    steady = outlook(load(stalling(stalls=None)), calibration()).queues[0]
    assert steady.stalled == 0
    takes = 0.02 / (1 - 0.02 * 0.95)  # all but the message in hand
    assert occupied(stalling(), calibration()) == pytest.approx(takes)
    assert found.consumers_rate == pytest.approx(4 / takes)
    rho = 150 * takes / 4
    assert found.stalled == pytest.approx(0.004 * (1 + 0.95**2 * rho / (1 - rho)))
    assert found.response_time is not None
    assert steady.response_time is not None
    assert found.response_time > steady.response_time + found.stalled
    assert words.stalls(found).startswith("2.0% of its messages come while its nodes confirm")
    assert words.stalls(steady) == ""


def test_consumers_that_have_more_in_hand_go_on() -> None:
    one, many = (
        outlook(load(stalling(prefetch=prefetch)), calibration()).queues[0] for prefetch in (1, 100)
    )
    assert many.stalled < one.stalled
    assert occupied(stalling(prefetch=100), calibration()) == pytest.approx(0.02, rel=0.002)
    assert occupied(stalling(prefetch=0), calibration()) == 0.02


@pytest.mark.parametrize("kind", [QueueType.CLASSIC, QueueType.STREAM])
def test_a_queue_that_does_not_wait_for_the_disk_has_none(kind: QueueType) -> None:
    found = outlook(load(stalling(type=kind)), calibration()).queues[0]
    assert found.stalled == 0
    assert occupied(stalling(type=kind), calibration()) == 0.02


def test_stalls_can_be_what_makes_it_grow() -> None:
    steady, stalled = (
        outlook(load(stalling(published=199.0, stalls=stalls)), calibration()).queues[0]
        for stalls in (None, Stalls(0.004, 0.02))
    )
    assert steady.grows == 0
    assert stalled.grows == pytest.approx(199 - 200 * (1 - 0.02 * 0.95), abs=0.1)
    assert stalled.response_time == math.inf
    assert words.stalls(stalled) == ""


def test_an_outage_is_an_answer_too() -> None:
    found = outlook(load(stalling(stalls=Stalls(300.0, 1.0))), calibration()).queues[0]
    assert found.grows > 0
