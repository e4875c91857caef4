"""Stations that stall, against the same message by message."""

import heapq
import math
import random
from bisect import bisect_right

import pytest

from warrener.models.interruptions import Stalls, available, delay, lost
from warrener.models.queueing import ggc
from warrener.models.terms import Steady, WrongInput

SERVERS, SERVICE, TURN = 4, 0.02, 0.0015


def simulated(
    load: float, every: float, lasts: float, *, random_length: bool
) -> tuple[float, Stalls]:
    """Mean R, and the stalls as arrivals met them: nothing gets to a server during one."""
    chance = random.Random(f"{load} {every} {lasts}")
    rate, number = load * SERVERS / SERVICE, 150_000
    begins, ends, at = [], [], 0.0
    while at < number / rate:
        at += chance.expovariate(1 / every)
        begins.append(at)
        at += chance.expovariate(1 / lasts) if random_length else lasts
        ends.append(at)

    def out(moment: float) -> float:
        found = bisect_right(begins, moment) - 1
        return max(moment, ends[found]) if found >= 0 else moment

    free = [0.0] * SERVERS
    due = responses = waits = 0.0
    stalled = 0
    for _ in range(number):
        due += chance.expovariate(rate)
        there = out(due)
        waits += there - due
        stalled += there > due
        done = max(there, heapq.heappop(free)) + chance.expovariate(1 / SERVICE)
        heapq.heappush(free, out(done + TURN))
        responses += done - due
    return responses / number, Stalls(waits / number, stalled / number)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.85])
@pytest.mark.parametrize(
    ("every", "lasts", "random_length"),
    [(16.0, 0.1, True), (40.0, 0.6, False), (2.0, 0.03, False), (0.5, 0.01, False)],
)
def test_near_to_what_happens(load: float, every: float, lasts: float, random_length: bool) -> None:
    happened, stalls = simulated(load, every, lasts, random_length=random_length)
    takes = (SERVICE + TURN) / available(stalls, SERVICE)
    rate = load * SERVERS / SERVICE
    station = ggc(rate, 1 / takes, SERVERS, arrival_scv=1.0, service_scv=(SERVICE / takes) ** 2)
    assert isinstance(station, Steady)
    told = station.waiting_time + SERVICE + delay(stalls, SERVICE, station.utilisation)
    assert told == pytest.approx(happened, rel=0.08)
    if lasts * load > 0.4:  # and it isn't so without them
        assert station.response_time < 0.9 * happened


def test_of_a_short_stall_little_is_lost() -> None:
    assert lost(Stalls(0.0001, 0.02), 0.02) == pytest.approx(0.213, abs=0.001)
    assert lost(Stalls(0.01, 0.02), 0.02) == pytest.approx(0.98, abs=0.001)
    assert lost(Stalls(0.01, 0.02), 0.0) == 1.0
    assert available(Stalls(0.01, 0.02), 0.0) == pytest.approx(0.98)


def test_one_server_that_stops_at_once_is_exact() -> None:
    stalls = Stalls(0.003, 0.01)
    assert stalls.length == pytest.approx(0.6)
    assert delay(stalls, 0.0, 0.75) == pytest.approx(4 * 0.003)  # e / (1 - rho)


def test_no_stalls_add_nothing() -> None:
    assert delay(Stalls(0.0, 0.0), 0.02, 0.9) == 0.0
    assert available(Stalls(0.0, 0.0), 0.02) == 1.0


def test_at_the_limit_it_is_without_end() -> None:
    assert delay(Stalls(0.003, 0.01), 0.02, 1.0) == math.inf


@pytest.mark.parametrize("stalls", [Stalls(-1.0, 0.1), Stalls(0.1, 1.1), Stalls(math.nan, 0.1)])
def test_what_makes_no_sense(stalls: Stalls) -> None:
    with pytest.raises(WrongInput):
        lost(stalls, 0.02)
