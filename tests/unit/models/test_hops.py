"""Two stops: against closed forms, and against an event by event simulation."""

import heapq

import numpy as np
import pytest

from warrener.models.hops import two_stops
from warrener.models.queueing import mmc
from warrener.models.terms import Steady


def poisson(rate: float, number: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    chance = np.random.default_rng(seed)
    return np.cumsum(chance.exponential(1 / rate, number)), chance


@pytest.mark.parametrize("cores", [0.5, 1.0, 2.0])
def test_without_entries_a_station_is_one_fast_server(cores: float) -> None:
    rate, service = 700.0 * cores, 1e-3
    arrived, chance = poisson(rate, 200_000, 1)
    nowhere = np.zeros(len(arrived), dtype=np.intp)
    response = two_stops(
        arrived,
        nowhere,
        np.zeros(len(arrived)),
        nowhere,
        chance.exponential(service, len(arrived)),
        np.array([cores]),
    )
    fast = mmc(rate, cores / service, 1)
    assert isinstance(fast, Steady)
    longer = service * max(0.0, 1 - 1 / cores)
    assert response.mean() == pytest.approx(fast.response_time + longer, rel=0.05)


def test_two_stations_in_a_row_are_as_jackson_says() -> None:
    """Entries at one, main work at the other: M/M/1 after M/M/1, and the sum of both."""
    arrived, chance = poisson(700.0, 200_000, 2)
    ones = np.ones(len(arrived), dtype=np.intp)
    response = two_stops(
        arrived,
        0 * ones,
        chance.exponential(1e-3, len(arrived)),
        ones,
        chance.exponential(1e-3, len(arrived)),
        np.array([1.0, 1.0]),
    )
    assert response.mean() == pytest.approx(2 / 300, rel=0.06)


def test_stations_that_feed_each_other_are_as_event_by_event() -> None:
    rate, number = 1_000.0, 60_000
    arrived, chance = poisson(rate, number, 3)
    home = chance.integers(2, size=number)
    leader = 1 - home
    entry, main = chance.exponential(0.8e-3, number), chance.exponential(0.8e-3, number)
    found = two_stops(arrived, home, entry, leader, main, np.array([1.0, 1.0])).mean()
    assert found == pytest.approx(by_events(arrived, home, entry, leader, main).mean(), rel=0.03)


def by_events(arrived, home, entry, leader, main) -> np.ndarray:
    free = [0.0, 0.0]
    done = np.zeros(len(arrived))
    events = [(at, number, 0) for number, at in enumerate(arrived)]
    heapq.heapify(events)
    while events:
        at, number, stop = heapq.heappop(events)
        station = (home, leader)[stop][number]
        free[station] = max(free[station], at) + (entry, main)[stop][number]
        if stop:
            done[number] = free[station]
        else:
            heapq.heappush(events, (free[station], number, 1))
    return done - arrived


def test_what_is_led_at_home_is_served_there_once() -> None:
    arrived = np.array([0.0, 10.0])
    at = np.zeros(2, dtype=np.intp)
    response = two_stops(arrived, at, np.zeros(2), at, np.array([1.0, 2.0]), np.array([1.0]))
    assert list(response) == [1.0, 2.0]
