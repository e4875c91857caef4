"""Medians and paired ratios."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.bench.figures import RATIOS, median, paired, ratios
from warrener.bench.workloads import Route

POSITIVE = st.floats(0.01, 1e6)


@pytest.mark.parametrize(
    ("samples", "expected"), [([3.0], 3.0), ([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5)]
)
def test_the_median_is_the_middle_or_the_mean_of_the_two(
    samples: list[float], expected: float
) -> None:
    assert median(samples) == expected


def test_no_samples_have_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median([])


def test_ratios_are_paired_by_round_before_the_median() -> None:
    """A slow round that slows both down leaves the ratio as it is; a ratio of medians wouldn't."""
    fast = {1: 100.0, 2: 10.0, 3: 60.0}
    slow = {1: 50.0, 2: 5.0, 3: 20.0}
    assert paired(fast, slow) == (2.0, 2.0, 3.0)


def test_rounds_that_one_side_lacks_or_that_are_zero_are_left_out() -> None:
    assert paired({1: 4.0, 2: 9.0, 3: 1.0}, {2: 3.0, 3: 0.0, 4: 1.0}) == (3.0,)


@given(st.dictionaries(st.integers(1, 9), POSITIVE, min_size=1))
def test_a_path_against_itself_scaled_is_the_scale(samples: dict[int, float]) -> None:
    double = {round_: 2 * value for round_, value in samples.items()}
    assert paired(double, samples) == pytest.approx([2.0] * len(samples))


def test_every_ratio_that_the_samples_allow_is_given_and_no_other() -> None:
    found = ratios(
        {
            ("setup", Route.WARRENER): {1: 50.0, 2: 60.0},
            ("setup", Route.HAPROXY_ROUNDROBIN): {1: 100.0, 2: 80.0},
            ("latency", Route.WARRENER): {1: 2.0},
        }
    )
    (ratio,) = found
    assert (ratio.workload, ratio.path, ratio.against) == (
        "setup",
        Route.WARRENER,
        Route.HAPROXY_ROUNDROBIN,
    )
    assert ratio.samples == (0.5, 0.75)
    assert ratio.median == 0.625


def test_the_ratios_that_others_rely_on_are_there() -> None:
    assert (Route.WARRENER_PINNED, Route.HAPROXY_PINNED) in RATIOS
    for against in (Route.HAPROXY_ROUNDROBIN, Route.HAPROXY_LEASTCONN, Route.DIRECT):
        assert (Route.WARRENER, against) in RATIOS
    assert (Route.WARRENER_OBSERVED, Route.WARRENER_UNOBSERVED) in RATIOS
