"""The verdict on an advice, and how a response time is read off a run."""

import pytest

from warrener.bench.load import LoadResult, LoadSample
from warrener.bench.policies import QUEUES, Run, _response_time, _verdict, workloads
from warrener.facts.settings import PolicyName


def test_three_different_workloads() -> None:
    equal, few, unequal = workloads()
    for one in (equal, few, unequal):
        assert len(one.shares) == QUEUES
        assert sum(one.shares) == pytest.approx(1)
        assert sum(one.cores) == pytest.approx(1.2)
    assert max(few.shares) == pytest.approx(10 * min(few.shares))
    assert unequal.cores[0] == 2 * unequal.cores[1]


def test_the_response_time_is_littles_law() -> None:
    samples = tuple(LoadSample(at / 50, 0.0, 0, 10 * at, due=10 * at + 5) for at in range(100))
    result = LoadResult(500.0, 500.0, 500.0, 0, 0, 2.0, 0.1, samples)
    assert _response_time(result) == pytest.approx(5 / 500)


@pytest.mark.parametrize(("advised", "holds"), [("p2c", True), ("random", True), ("source", False)])
def test_the_verdict_is_by_medians(advised: str, holds: bool) -> None:
    rates = {PolicyName.SOURCE: 600.0, PolicyName.RANDOM: 975.0}
    runs = [
        Run("equal", policy, number, rates.get(policy, 1000.0) * noise, 0.001 / noise)
        for policy in PolicyName
        for number, noise in enumerate((1.0, 0.5, 1.01))
    ]
    verdict = _verdict(workloads()[0], advised, runs, 1000.0, "said so")
    assert verdict.rate == pytest.approx(rates.get(PolicyName(advised), 1000.0) / 1000)
    assert verdict.holds is holds
    assert verdict.response_time == pytest.approx(1.0)
