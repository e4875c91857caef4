"""The turnaround told from pauses, against consumers that are simulated one by one."""

import heapq
import random

import pytest

from warrener.models.queueing import erlang_c
from warrener.planner.turnaround import OFTEN, turnaround


def pauses_of(
    arrivals: float, service: float, turn: float, consumers: int, number: int, seed: int
) -> tuple[list[float], float]:
    """Messages and services at random, a turnaround that varies by half; prefetch 1. The pauses
    from an ack to the next delivery, and the messages done a second."""
    chance = random.Random(seed)
    done_at = [0.0] * consumers  # when each has acked last
    ready_at = [(0.0, one) for one in range(consumers)]  # when the broker knows it
    heapq.heapify(ready_at)
    came, pauses, now = 0.0, [], 0.0
    for _ in range(number):
        came += chance.expovariate(arrivals)
        ready, one = heapq.heappop(ready_at)
        now = max(came, ready)
        pauses.append(now - done_at[one])
        done_at[one] = now + chance.expovariate(1 / service)
        heapq.heappush(ready_at, (done_at[one] + turn * chance.uniform(0.5, 1.5), one))
    return pauses[consumers:], number / now


@pytest.mark.parametrize("turn", [0.0008, 0.0023, 0.006])
@pytest.mark.parametrize("consumers", [1, 4, 20])
@pytest.mark.parametrize("load", [0.6, 0.8, 0.95])
def test_it_is_told_of_a_queue_that_is_busy(load: float, consumers: int, turn: float) -> None:
    arrivals = load * consumers / (0.02 + turn)
    pauses, rate = pauses_of(arrivals, 0.02, turn, consumers, 20_000, seed=3)
    found = turnaround(pauses, rate=rate, service_time=0.02, consumers=consumers)
    if found is None:  # of twenty consumers, say, that are busy for 80 % of the time
        assert erlang_c(load * consumers, consumers) < OFTEN + 0.03  # one is free mostly
    else:
        assert found == pytest.approx(turn, rel=0.25)
        assert (0.02 + found) / (0.02 + turn) == pytest.approx(1, abs=0.04)


def test_of_a_queue_that_is_never_empty_it_is_what_the_utilisation_law_leaves() -> None:
    pauses, rate = pauses_of(250, 0.02, 0.003, 4, 5_000, seed=5)
    assert rate < 180  # of the 250 that come
    found = turnaround(pauses, rate=rate, service_time=0.02, consumers=4)
    assert found is not None
    assert 0.02 + found == pytest.approx(4 / rate, rel=0.01)
    rare = [*pauses, *[0.5] * 50]  # a disk that stood still, say
    known = turnaround(rare, rate=rate, service_time=0.02, consumers=4, empty=False)
    assert known == pytest.approx(sum(rare) / len(rare))


def test_idle_consumers_tell_nothing() -> None:
    pauses, rate = pauses_of(20, 0.02, 0.003, 4, 2_000, seed=7)
    assert turnaround(pauses, rate=rate, service_time=0.02, consumers=4) is None


@pytest.mark.parametrize(
    ("pauses", "rate", "consumers"), [([], 100, 4), ([0.01] * 50, 0, 4), ([0.01] * 50, 100, 0)]
)
def test_nothing_to_go_by(pauses: list[float], rate: float, consumers: int) -> None:
    assert turnaround(pauses, rate=rate, service_time=0.02, consumers=consumers) is None
