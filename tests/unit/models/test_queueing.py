"""Each formula against a textbook's figures, and against the Markov chain it stands for, solved by
brute force."""

import heapq
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.models.queueing import erlang_b, erlang_c, ggc, mg1, mm1, mm1k, mmc
from warrener.models.terms import Growing, Steady, WrongInput

loads = st.floats(0.01, 0.97)
rates = st.floats(0.1, 1e5)


def steady(outcome: object) -> Steady:
    assert isinstance(outcome, Steady)
    return outcome


def birth_death(birth: float, death: list[float]) -> np.ndarray:
    """How probable each number is in a chain with one rate of births, and a rate of deaths from
    each state but 0."""
    weights = np.cumprod([1.0, *(birth / rate for rate in death)])
    return weights / weights.sum()


# -- M/M/1


def test_mm1_is_the_formula() -> None:
    one = steady(mm1(8.0, 10.0))
    assert one.response_time == pytest.approx(0.5)  # 1 / (mu - lambda)
    assert one.in_system == pytest.approx(4.0)  # lambda R
    assert one.waiting_time == pytest.approx(0.4)
    assert one.in_queue == pytest.approx(3.2)
    assert one.utilisation == pytest.approx(0.8)
    assert one.headroom == pytest.approx(2.0)
    assert one.percentile(0.5) == pytest.approx(0.5 * math.log(2))
    assert one.percentile(0.99) == pytest.approx(0.5 * math.log(100))


@given(rates, loads)
def test_mm1_is_the_chain(service_rate: float, load: float) -> None:
    one = steady(mm1(load * service_rate, service_rate))
    states = birth_death(load, [1.0] * 2000)
    assert one.in_system == pytest.approx(float(np.arange(2001) @ states), rel=1e-6)
    assert one.times.mean == pytest.approx(one.response_time)


def test_nothing_that_arrives_waits_for_nothing() -> None:
    for outcome in (mm1(0, 10), mmc(0, 10, 3), mm1k(0, 10, 5), mg1(0, 10, 2), mm1k(0, 10, 1)):
        one = steady(outcome)
        assert (one.in_system, one.waiting_time, one.utilisation) == (0, 0, 0)
        assert one.response_time == pytest.approx(0.1)
    ggc_one = steady(ggc(0, 10, 2, arrival_scv=1, service_scv=1))
    assert ggc_one.percentile(0.5) == pytest.approx(0.1 * math.log(2))


def test_too_much_is_an_answer() -> None:
    for outcome in (
        mm1(1340, 1000),
        mmc(1340, 500, 2),
        mg1(1340, 1000, 0.5),
        ggc(1340, 250, 4, arrival_scv=1, service_scv=2),
    ):
        assert isinstance(outcome, Growing)
        assert outcome.utilisation == pytest.approx(1.34)
        assert outcome.growth == pytest.approx(340)
        assert outcome.capacity == pytest.approx(1000)
        assert outcome.seconds_until(340 * 60 * 12) == pytest.approx(720)
    at_capacity = mm1(10, 10)
    assert isinstance(at_capacity, Growing)
    assert at_capacity.seconds_until(1) == math.inf


# -- M/M/c


@pytest.mark.parametrize(
    ("offered", "servers", "waits"),
    # Erlang C; M/M/2: 2 rho^2 / (1 + rho), M/M/1: rho; the rest from a table of Erlang's.
    [
        (0.8, 1, 0.8), (1.0, 2, 1 / 3), (1.5, 2, 2 * 0.75**2 / 1.75), (2.0, 3, 4 / 9),
        (4.0, 5, 0.5541), (8.0, 10, 0.4092), (16.0, 20, 0.2561),
    ],
)  # fmt: skip
def test_erlang_c_is_the_table(offered: float, servers: int, waits: float) -> None:
    assert erlang_c(offered, servers) == pytest.approx(waits, abs=5e-5)


@pytest.mark.parametrize(
    ("offered", "servers", "blocked"),
    [(1.0, 1, 0.5), (2.0, 2, 0.4), (3.0, 5, 0.1101), (10.0, 10, 0.2146), (100.0, 100, 0.0757)],
)
def test_erlang_b_is_the_table(offered: float, servers: int, blocked: float) -> None:
    assert erlang_b(offered, servers) == pytest.approx(blocked, abs=5e-5)


def test_mmc_is_the_textbooks_clinic() -> None:
    """Gross et al., example 2.2 (an eye clinic): 6 arrive in an hour, 3 doctors, 20 minutes each;
    Lq = 8/9, L = 26/9, W = 26/54 h."""
    one = steady(mmc(6, 3, 3))
    assert one.in_queue == pytest.approx(8 / 9)
    assert one.in_system == pytest.approx(26 / 9)
    assert one.response_time == pytest.approx(26 / 54)


@given(st.integers(1, 40), rates, loads)
def test_mmc_is_the_chain(servers: int, service_rate: float, load: float) -> None:
    one = steady(mmc(load * servers * service_rate, service_rate, servers))
    deaths = [float(min(n, servers)) for n in range(1, 3000)]
    states = birth_death(load * servers, deaths)
    numbers = np.arange(3000)
    assert one.in_system == pytest.approx(float(numbers @ states), rel=1e-6)
    # Who arrives sees the chain (PASTA): waits if all are busy, for one departure of many each.
    times = [0.3 / service_rate, 1.0 / service_rate, 4.0 / service_rate]
    for time in times:
        assert one.times.survival(time) == pytest.approx(
            response_tail(states, servers, service_rate, load, time), abs=1e-6
        )


def response_tail(states: np.ndarray, servers: int, rate: float, load: float, time: float) -> float:
    """P(T > t), by integrating over the own service. Who finds all busy waits first, for a
    geometric number of departures: an exponential time."""
    service = np.linspace(0.0, time, 4001)
    density = rate * np.exp(-rate * service)
    wait_rate = servers * rate * (1.0 - load)
    later = float(np.trapezoid(density * np.exp(-wait_rate * (time - service)), service))
    return math.exp(-rate * time) + float(states[servers:].sum()) * later


def test_one_server_is_mm1() -> None:
    many, one = steady(mmc(7, 10, 1)), steady(mm1(7, 10))
    assert many.response_time == pytest.approx(one.response_time)
    assert many.percentile(0.99) == pytest.approx(one.percentile(0.99))


# -- M/M/1/K


@given(st.floats(0.0, 5.0), st.integers(1, 60))
def test_mm1k_is_the_chain(load: float, room: int) -> None:
    one = mm1k(load * 20.0, 20.0, room)
    states = birth_death(load, [1.0] * room)
    assert one.lost == pytest.approx(states[-1])
    assert one.in_system == pytest.approx(float(np.arange(room + 1) @ states), abs=1e-9)
    assert one.utilisation == pytest.approx(1.0 - states[0], abs=1e-9)
    assert one.times.mean == pytest.approx(one.response_time)


def test_mm1k_with_much_room_is_mm1_and_overloaded_loses_the_surplus() -> None:
    assert mm1k(8, 10, 500).percentile(0.99) == pytest.approx(steady(mm1(8, 10)).percentile(0.99))
    flooded = mm1k(30_000, 10_000, 100_000)
    assert flooded.lost == pytest.approx(2 / 3)
    assert flooded.response_time == pytest.approx(10.0, rel=1e-3)  # 100,000 before one, at 10,000/s
    assert flooded.percentile(0.5) == pytest.approx(10.0, rel=1e-3)


# -- M/G/1 and G/G/c


@given(rates, loads)
def test_mg1_is_mm1_and_half_its_wait_for_clockwork(service_rate: float, load: float) -> None:
    arrivals = load * service_rate
    random = steady(mm1(arrivals, service_rate))
    same = steady(mg1(arrivals, service_rate, 1.0))
    assert same.waiting_time == pytest.approx(random.waiting_time)
    assert same.percentile(0.95) == pytest.approx(random.percentile(0.95), rel=1e-6)
    clockwork = steady(mg1(arrivals, service_rate, 0.0))
    assert clockwork.waiting_time == pytest.approx(random.waiting_time / 2)
    assert clockwork.percentile(0.01) >= 1.0 / service_rate


def test_mg1_is_the_embedded_chain() -> None:
    """Two kinds of service, 0.05 s and 0.35 s, at departures: pi = pi P with Poisson arrivals."""
    arrivals, times, shares = 5.0, [0.05, 0.35], [0.8, 0.2]
    mean = sum(s * t for s, t in zip(shares, times, strict=True))
    scv = sum(s * t * t for s, t in zip(shares, times, strict=True)) / mean**2 - 1
    size = 400
    arrive = np.zeros(size)
    for time, share in zip(times, shares, strict=True):
        probability = share * math.exp(-arrivals * time)
        for n in range(size):
            arrive[n] += probability
            probability *= arrivals * time / (n + 1)
    chain = np.zeros((size, size))
    for n in range(size):
        start = max(0, n - 1)
        chain[n, start:] = arrive[: size - start]
    states = np.linalg.matrix_power(chain / chain.sum(axis=1, keepdims=True), 4096)[0]
    one = steady(mg1(arrivals, 1 / mean, scv))
    assert one.in_system == pytest.approx(float(np.arange(size) @ states), rel=1e-6)


@given(st.integers(1, 20), rates, loads, st.floats(0, 3))
def test_ggc_reduces_to_what_it_generalises(
    servers: int, rate: float, load: float, scv: float
) -> None:
    arrivals = load * servers * rate
    both = steady(ggc(arrivals, rate, servers, arrival_scv=1.0, service_scv=1.0))
    assert both.waiting_time == pytest.approx(steady(mmc(arrivals, rate, servers)).waiting_time)
    single = steady(ggc(load * rate, rate, 1, arrival_scv=1.0, service_scv=scv))
    assert single.waiting_time == pytest.approx(steady(mg1(load * rate, rate, scv)).waiting_time)


def test_ggc_is_close_to_what_happens() -> None:
    """D/M/1 has an exact answer: the wait is sigma / (mu (1 - sigma)), where
    sigma = exp(-mu (1 - sigma) / lambda)."""
    for load in (0.5, 0.7, 0.9):
        sigma = 0.5
        for _ in range(500):
            sigma = math.exp(-(1 - sigma) / load)
        exact = sigma / (1 - sigma)
        told = steady(ggc(load, 1.0, 1, arrival_scv=0.0, service_scv=1.0)).waiting_time
        assert told == pytest.approx(exact, rel=0.05)


def simulated_wait(
    servers: int, load: float, arrival_scv: float, service_scv: float, number: int = 150_000
) -> float:
    """Mean wait of so many who come at ``load`` times as many as are served, in service times."""
    chance = random.Random(f"{servers} {load} {arrival_scv} {service_scv}")

    def drawn(mean: float, scv: float) -> float:
        return mean if scv == 0 else chance.gammavariate(1 / scv, mean * scv)

    free = [0.0] * servers
    now = waited = 0.0
    for _ in range(number):
        now += drawn(1 / (load * servers), arrival_scv)
        begins = max(now, heapq.heappop(free))
        waited += begins - now
        heapq.heappush(free, begins + drawn(1.0, service_scv))
    return waited / number


@pytest.mark.parametrize("load", [0.7, 0.85])
@pytest.mark.parametrize(
    ("arrival_scv", "service_scv"),
    [(0.0, 1.0), (1.0, 0.0), (0.25, 0.25), (0.0, 0.25), (1.0, 3.0), (0.5, 2.0), (2.0, 1.0)],
)
def test_several_servers_and_clients_of_all_kinds(
    load: float, arrival_scv: float, service_scv: float
) -> None:
    """R within 6 % where both are as at random or less variable, else within 12; what is waited
    within a quarter, or it is hardly anything."""
    near = 0.06 if max(arrival_scv, service_scv) <= 1 else 0.12
    for servers in (2, 4, 12):
        waits = simulated_wait(servers, load, arrival_scv, service_scv)
        told = steady(
            ggc(
                load * servers,
                1.0,
                servers,
                arrival_scv=arrival_scv,
                service_scv=service_scv,
            )
        ).waiting_time
        assert 1 + told == pytest.approx(1 + waits, rel=near)
        assert told == pytest.approx(waits, rel=0.25, abs=0.05)


def test_clockwork_never_waits() -> None:
    assert steady(ggc(3.6, 1.0, 4, arrival_scv=0.0, service_scv=0.0)).waiting_time == 0.0


# -- what they have in common


@given(
    rates, loads, st.floats(0, 20), st.integers(1, 8),
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=6),
)  # fmt: skip
def test_percentiles_rise_and_undo_the_survival(
    rate: float, load: float, scv: float, servers: int, shares: list[float]
) -> None:
    for one in (
        steady(mmc(load * servers * rate, rate, servers)),
        steady(mg1(load * rate, rate, scv)),
        mm1k(load * rate, rate, servers),
    ):
        found = [one.percentile(share) for share in sorted(shares)]
        assert found == sorted(found)
        for share, time in zip(sorted(shares), found, strict=True):
            if time > 0 and (scv > 1e-3 or one.model != "M/G/1"):
                assert one.times.survival(time) == pytest.approx(1 - share, abs=1e-6)


@given(rates, loads, st.floats(0.05, 4))
def test_the_times_have_the_mean_that_is_told(rate: float, load: float, scv: float) -> None:
    one = steady(mg1(load * rate, rate, scv))
    assert one.times.mean == pytest.approx(one.response_time)
    ends = np.concatenate([np.linspace(0, 3, 400), np.geomspace(3.01, 3000, 600)]) * (
        one.response_time
    )
    tails = [one.times.survival(float(end)) for end in ends]
    assert float(np.trapezoid(tails, ends)) == pytest.approx(one.response_time, rel=0.02)


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda: mm1(-1, 10), "the arrival rate is -1; it has to be 0 or more"),
        (lambda: mm1(1, 0), "the service rate is 0; it has to be more than 0"),
        (lambda: mm1(math.nan, 1), "the arrival rate is nan"),
        (lambda: mmc(1, 1, 0), "the number of servers is 0; it has to be a whole number, 1 or"),
        (lambda: mmc(1, 1, 1.5), "the number of servers is 1.5"),  # type: ignore[arg-type]
        (lambda: mm1k(1, 1, 0), "the room is 0"),
        (lambda: mg1(1, 2, -0.1), "the service's variability is -0.1"),
        (lambda: ggc(1, 2, 1, arrival_scv=-1, service_scv=0), "the arrivals' variability"),
        (lambda: erlang_c(3, 3), "with 3 servers it has to be below 3"),
        (lambda: steady(mm1(1, 2)).percentile(99), "the percentile is 99; it has to be between"),
        (lambda: Growing("x", 2, 1, 1).seconds_until(-1), "the backlog is -1"),
    ],
)
def test_what_makes_no_sense_is_told(ask: object, what: str) -> None:
    assert callable(ask)
    with pytest.raises(WrongInput, match=what):
        ask()
