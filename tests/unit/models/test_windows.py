"""Windows: against mean value analysis, the same by exact fractions, a closed form, and the bounds
that hold for any."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.models.terms import WrongInput
from warrener.models.windows import Stop, bounds, knee, window

demands = st.floats(1e-4, 5.0)
stop_lists = st.lists(st.tuples(demands, st.integers(0, 4)), min_size=1, max_size=4).map(
    lambda drawn: [Stop(f"s{at}", *one) for at, one in enumerate(drawn)]
)


def by_fractions(stops: list[Stop], size: int, think_time: float) -> float:
    """Throughput by the normalisation constant, X(N) = G(N-1) / G(N), without any rounding."""
    constants = [Fraction(1)] + [Fraction(0)] * size
    for stop in (*stops, Stop("thinking", think_time, 0)):
        weights = [Fraction(1)]
        for number in range(1, size + 1):
            busy = min(number, stop.servers) if stop.servers else number
            weights.append(weights[-1] * Fraction(stop.demand) / busy)
        constants = [
            sum(weights[k] * constants[n - k] for k in range(n + 1)) for n in range(size + 1)
        ]
    return float(constants[size - 1] / constants[size])


@given(stop_lists, st.integers(1, 300), st.floats(0, 3))
def test_it_is_mean_value_analysis(stops: list[Stop], size: int, think_time: float) -> None:
    """The recursion, for stations of one server (or where nobody waits): R(N) = D (1 + Q(N-1))."""
    single = [Stop(stop.name, stop.demand, min(stop.servers, 1)) for stop in stops]
    inside = dict.fromkeys((stop.name for stop in single), 0.0)
    for number in range(1, size + 1):
        times = {stop.name: stop.demand * (1 + inside[stop.name] * stop.servers) for stop in single}
        throughput = number / (think_time + sum(times.values()))
        inside = {name: throughput * time for name, time in times.items()}
    told = window(single, size, think_time)
    assert told.throughput == pytest.approx(throughput, rel=1e-9)
    assert told.in_system == pytest.approx(inside, rel=1e-6, abs=1e-9)


@settings(deadline=None)
@given(stop_lists, st.integers(1, 30), st.floats(0, 3))
def test_it_is_exact_with_several_servers(stops: list[Stop], size: int, think_time: float) -> None:
    told = window(stops, size, think_time)
    assert told.throughput == pytest.approx(by_fractions(stops, size, think_time), rel=1e-9)
    inside = sum(told.in_system.values()) + told.throughput * think_time
    assert inside == pytest.approx(size)  # Little's law over all of it
    least, greatest = bounds(stops, size, think_time)
    assert least * (1 - 1e-9) <= told.throughput <= greatest * (1 + 1e-9)
    for stop in stops:
        assert told.utilisations[stop.name] <= 1 + 1e-9


@pytest.mark.parametrize("size", [1, 2, 5, 50, 1000])
def test_stations_of_one_speed_have_a_closed_form(size: int) -> None:
    stops = [Stop("a", 0.01), Stop("b", 0.01), Stop("c", 0.01)]
    assert window(stops, size).throughput == pytest.approx(size / (0.01 * (size + 2)))


def test_the_textbooks_computer() -> None:
    """Lazowska et al., ch. 6: a CPU and two disks, D = 0.605, 2.1 and 1.35 s, Z = 15 s: with three
    customers X = 0.152 1/s."""
    told = window([Stop("cpu", 0.605), Stop("disk1", 2.1), Stop("disk2", 1.35)], 3, 15.0)
    assert told.throughput == pytest.approx(0.152, abs=5e-4)
    assert told.response_time == pytest.approx(3 / told.throughput - 15.0)
    assert told.bottleneck == "disk1"


def test_a_wide_window_is_as_fast_as_the_slowest_station() -> None:
    stops = [Stop("network", 0.005, 0), Stop("queue", 0.0001), Stop("disk", 0.001, 4)]
    told = [window(stops, size) for size in (1, 2000)]
    assert told[0].throughput == pytest.approx(1 / 0.0061)
    assert told[1].throughput == pytest.approx(4000, rel=1e-3)
    assert told[1].bottleneck == "disk"
    assert told[1].response_time == pytest.approx(2000 / 4000, rel=0.01)
    assert knee(stops) == pytest.approx(0.0061 / 0.00025)


def test_many_servers_and_a_wide_window_stay_in_range() -> None:
    """Where the recursion of mean value analysis loses all its digits."""
    told = window([Stop("consumers", 0.5, 64), Stop("queue", 0.001)], 3000, 1.0)
    assert told.throughput == pytest.approx(128.0, rel=1e-3)
    assert all(map(math.isfinite, told.response_times.values()))


@pytest.mark.parametrize(
    ("stops", "size", "think_time", "what"),
    [
        ([], 1, 0, "a name of its own"),
        ([Stop("a", -1.0)], 1, 0, "the demand at a is -1"),
        ([Stop("a", 1.0, -1)], 1, 0, "the servers of a is -1"),
        ([Stop("a", 1.0)], 0, 0, "the window is 0"),
        ([Stop("a", 1.0)], 10**7, 0, "up to 1,000,000"),
        ([Stop("a", 0.0)], 1, 0, "nothing takes any time"),
        ([Stop("a", 1.0)], 1, -2, "the time between messages is -2"),
    ],
)
def test_what_makes_no_sense_is_told(
    stops: list[Stop], size: int, think_time: float, what: str
) -> None:
    with pytest.raises(WrongInput, match=what):
        window(stops, size, think_time)


def test_a_knee_needs_a_limit() -> None:
    with pytest.raises(WrongInput, match="no station has a limit"):
        knee([Stop("network", 1.0, 0)])
