"""Intervals hold the truth as often as they claim, also where values hang together."""

import math

import numpy as np
import pytest

from warrener.models.queueing import mm1
from warrener.models.samples import Estimate, mean_of, percentile_of
from warrener.models.stations import completions
from warrener.models.terms import Steady, WrongInput


def waits(seed: int) -> np.ndarray:
    chance = np.random.default_rng(seed)
    arrived = np.cumsum(chance.exponential(1 / 0.7, 100_000))
    service = chance.exponential(1.0, 100_000)
    return np.asarray(completions(arrived, service) - arrived)[5_000:]


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """M/M/1 at rho = 0.7, where neighbours are far from independent: about 95 of 100. The usual
    formula would hold it in fewer than half of all runs."""
    truth = mm1(0.7, 1.0)
    assert isinstance(truth, Steady)
    runs = [waits(seed) for seed in range(100)]
    held = sum(mean_of(run).low <= truth.response_time <= mean_of(run).high for run in runs)
    assert 86 <= held <= 100
    high = sum(
        percentile_of(run, 0.9).low <= truth.percentile(0.9) <= percentile_of(run, 0.9).high
        for run in runs
    )
    assert 86 <= high <= 100
    naive = sum(
        abs(run.mean() - truth.response_time) <= 1.96 * run.std() / math.sqrt(len(run))
        for run in runs
    )
    assert naive < 60


def test_too_little_says_nothing_and_nothing_is_an_error() -> None:
    assert mean_of(np.array([1.0, 2.0])) == Estimate(1.5, math.inf)
    with pytest.raises(WrongInput, match="nothing was measured"):
        mean_of(np.zeros(0))


def test_two_differ_if_their_intervals_do_not_meet() -> None:
    assert Estimate(1.0, 0.1).differs_from(Estimate(1.3, 0.1))
    assert not Estimate(1.0, 0.2).differs_from(Estimate(1.3, 0.2))
    assert not Estimate(1.0, math.inf).differs_from(Estimate(9.0, 0.1))
