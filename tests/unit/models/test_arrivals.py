"""Streams put together and dealt out, against arrivals that are drawn."""

import numpy as np
import pytest

from warrener.models.arrivals import dealt, superposed
from warrener.models.queueing import ggc, mm1
from warrener.models.stations import completions
from warrener.models.terms import Steady, WrongInput


def test_one_stream_stays_what_it_is_and_random_ones_stay_random() -> None:
    assert superposed(0.0, 1, 0.5) == 0.0
    assert superposed(9.0, 1, 0.2) == 9.0
    assert superposed(1.0, 50, 0.3) == pytest.approx(1.0)


def test_many_look_as_at_random_but_to_a_queue_that_is_always_busy() -> None:
    assert superposed(0.0, 1_000, 0.5) == pytest.approx(1.0, abs=0.01)
    assert superposed(0.0, 1_000, 1.0) == 0.0
    assert superposed(0.0, 4, 2.0) == 0.0  # more than it can take: as if it were full
    assert 0.0 < superposed(0.0, 4, 0.8) < superposed(0.0, 4, 0.5) < 1.0


@pytest.mark.parametrize(("streams", "load"), [(1, 0.8), (2, 0.7), (4, 0.7), (4, 0.85), (12, 0.8)])
def test_waits_behind_even_publishers(streams: int, load: float) -> None:
    """One simulated server, exponential services: the model errs to the safe side, and by less than
    six tenths of what taking it all as at random does."""
    chance = np.random.default_rng(11)
    number = 400_000 // streams
    arrived = np.sort(
        np.concatenate(
            [(np.arange(number) + chance.random()) * (streams / load) for _ in range(streams)]
        )
    )
    services = chance.exponential(1.0, len(arrived))
    waits = float(np.mean(completions(arrived, services) - arrived - services))
    model = ggc(load, 1.0, 1, arrival_scv=superposed(0.0, streams, load), service_scv=1.0)
    at_random = mm1(load, 1.0)
    assert isinstance(model, Steady)
    assert isinstance(at_random, Steady)
    assert waits < 1.03 * model.waiting_time
    assert model.waiting_time - waits < 0.6 * (at_random.waiting_time - waits)


def test_dealt_out() -> None:
    chance = np.random.default_rng(2)
    gaps = chance.exponential(1.0, 300_000).reshape(-1, 3).sum(axis=1)
    assert float(np.var(gaps) / np.mean(gaps) ** 2) == pytest.approx(dealt(1.0, 3), rel=0.02)
    assert dealt(4.0, 1) == 4.0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: superposed(-1.0, 1, 0.5),
        lambda: superposed(1.0, 0, 0.5),
        lambda: superposed(1.0, float("nan"), 0.5),
        lambda: superposed(1.0, 1, -0.5),
        lambda: dealt(1.0, 0),
        lambda: dealt(-1.0, 2),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(WrongInput):
        wrong()  # type: ignore[operator]
