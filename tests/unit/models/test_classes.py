"""Priorities: against a simulation in so many words, the conservation law, and one class."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.models.classes import Priority, priorities
from warrener.models.queueing import mg1
from warrener.models.terms import Growing, Steady, WrongInput

classes = st.builds(Priority, st.floats(0.01, 3.0), st.floats(0.01, 0.3), st.floats(0.0, 4.0))


def steady(outcome: object) -> Steady:
    assert isinstance(outcome, Steady)
    return outcome


def test_one_class_is_mg1() -> None:
    (one,) = map(steady, priorities([Priority(8.0, 0.1, 0.5)]))
    alone = steady(mg1(8.0, 10.0, 0.5))
    assert one.waiting_time == pytest.approx(alone.waiting_time)
    assert one.percentile(0.99) == pytest.approx(alone.percentile(0.99))


@given(st.lists(classes, min_size=1, max_size=5))
def test_who_goes_first_takes_from_the_others(given_classes: list[Priority]) -> None:
    """Kleinrock's conservation law: the sum of rho W is the same in any order."""
    if sum(one.arrival_rate * one.service_time for one in given_classes) >= 0.99:
        return
    there = [steady(one) for one in priorities(given_classes)]
    back = [steady(one) for one in priorities(given_classes[::-1])][::-1]
    for answers in (there, back):
        total = sum(one.utilisation * one.waiting_time for one in answers)
        load = sum(one.utilisation for one in answers)
        residual = sum(
            one.arrival_rate * one.service_time**2 * (1 + one.service_scv) / 2
            for one in given_classes
        )
        assert total == pytest.approx(load * residual / (1 - load))
    waits = [one.waiting_time for one in there]
    assert waits == sorted(waits)


def simulated(first: Priority, second: Priority, number: int) -> list[float]:
    """Mean waits of two classes with exponential services, event by event."""
    rng = random.Random(7)
    waiting: list[tuple[int, float]] = []
    arrivals = []
    for rank, one in enumerate((first, second)):
        now = 0.0
        for _ in range(int(number * one.arrival_rate)):
            now += rng.expovariate(one.arrival_rate)
            arrivals.append((now, rank))
    arrivals.sort()
    sums, counts, free, at = [0.0, 0.0], [0, 0], 0.0, 0
    while at < len(arrivals) or waiting:
        if not waiting:
            free = max(free, arrivals[at][0])
        while at < len(arrivals) and arrivals[at][0] <= free:
            heapq.heappush(waiting, (arrivals[at][1], arrivals[at][0]))
            at += 1
        rank, came = heapq.heappop(waiting)
        sums[rank] += free - came
        counts[rank] += 1
        free += rng.expovariate(1.0 / (first, second)[rank].service_time)
    return [total / count for total, count in zip(sums, counts, strict=True)]


def test_it_is_what_happens() -> None:
    first, second = Priority(3.0, 0.1), Priority(2.0, 0.25)
    found = simulated(first, second, 40_000)
    told = [steady(one).waiting_time for one in priorities([first, second])]
    assert found == pytest.approx(told, rel=0.05)


def test_the_first_that_does_not_get_all_grows_and_those_below_get_nothing() -> None:
    high, middle, low = priorities([Priority(5.0, 0.1), Priority(8.0, 0.1), Priority(1.0, 0.1)])
    # The server is never free: who is before the middle class waits for its services to end.
    assert steady(high).waiting_time == pytest.approx(0.1 / (1 - 0.5))
    assert isinstance(middle, Growing)
    assert middle.capacity == pytest.approx(5.0)
    assert middle.growth == pytest.approx(3.0)
    assert isinstance(low, Growing)
    assert low.growth == pytest.approx(1.0)


def test_what_makes_no_sense_is_told() -> None:
    with pytest.raises(WrongInput, match="the service time is 0"):
        priorities([Priority(1.0, 0.0)])
