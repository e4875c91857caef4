"""Percentiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.bench.latency import percentile
from warrener.bench.wire import BenchError


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0), (0.001, 1.0)]
)
def test_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_that_share_of_the_samples_is_not_above_it_and_no_smaller_sample_has_that(
    samples: list[float], share: float
) -> None:
    ordered = sorted(samples)
    found = percentile(ordered, share)
    assert sum(s <= found for s in ordered) >= share * len(ordered) - 1e-9
    assert sum(s < found for s in ordered) < share * len(ordered) + 1e-9


def test_nothing_measured_is_an_error_not_a_zero() -> None:
    with pytest.raises(BenchError, match="no message"):
        percentile([], 0.5)
