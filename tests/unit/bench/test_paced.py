"""The paced load's own reckoning; the load itself runs on a real cluster."""

import random

import pytest

from warrener.bench.paced import _Done, _ideal, times_of
from warrener.models.queueing import mmc
from warrener.models.terms import Steady


def test_first_come_first_served_by_two() -> None:
    done = [_Done(0.0, 9.0, 3.0), _Done(1.0, 9.0, 1.0), _Done(1.5, 9.0, 1.0), _Done(8.0, 9.0, 0.5)]
    assert _ideal(done, 2) == [3.0, 1.0, 1.5, 0.5]


def test_at_random_it_is_the_models_response_time() -> None:
    chance, due, done = random.Random(1), 0.0, []
    for _ in range(400_000):
        due += chance.expovariate(140.0)
        done.append(_Done(due, 0.0, chance.expovariate(50.0)))
    found = _ideal(done, 4)
    station = mmc(140, 50, 4)
    assert isinstance(station, Steady)
    assert sum(found) / len(found) == pytest.approx(station.response_time, rel=0.03)


def test_each_consumer_has_a_line_of_its_own() -> None:
    done = [_Done(0.0, 9.0, 3.0), _Done(1.0, 9.0, 1.0), _Done(1.5, 9.0, 1.0), _Done(2.0, 9.0, 0.5)]
    assert _ideal(done, 2, pooled=False) == [3.0, 1.0, 2.5, 0.5]


@pytest.mark.parametrize("scv", [0.0, 0.25, 1.0, 4.0])
def test_times_are_as_irregular_as_told(scv: float) -> None:
    draw = times_of(0.02, scv, random.Random(1))
    times = [draw() for _ in range(200_000)]
    mean = sum(times) / len(times)
    assert mean == pytest.approx(0.02, rel=0.02)
    variance = sum((time - mean) ** 2 for time in times) / len(times)
    assert variance / mean**2 == pytest.approx(scv, rel=0.05)
