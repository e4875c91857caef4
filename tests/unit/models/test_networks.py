"""Jackson networks: against textbook nets, chains solved by brute force, and what grows."""

import itertools

import numpy as np
import pytest

from warrener.models.networks import Station, jackson
from warrener.models.queueing import mm1, mmc
from warrener.models.terms import Growing, Steady, WrongInput


def steady(outcome: object) -> Steady:
    assert isinstance(outcome, Steady)
    return outcome


def test_a_row_is_one_station_after_the_other() -> None:
    net = jackson(
        [
            Station("balancer", 50.0, arrivals=8.0, then={"queue": 1.0}),
            Station("queue", 10.0, then={"consumers": 1.0}),
            Station("consumers", 3.0, servers=4),
        ]
    )
    alone = [mm1(8, 50), mm1(8, 10), mmc(8, 3, 4)]
    assert net.response_time == pytest.approx(sum(steady(one).response_time for one in alone))
    assert net.in_system == pytest.approx(sum(steady(one).in_system for one in alone))
    assert net.bottleneck == "queue"
    assert net.capacity == pytest.approx(10.0)
    assert net.visits == pytest.approx({"balancer": 1, "queue": 1, "consumers": 1})


def test_what_comes_back_visits_more_often() -> None:
    """A message that is refused one time in five is served 1.25 times on average."""
    net = jackson([Station("consumer", 10.0, arrivals=4.0, then={"consumer": 0.2})])
    assert net.visits["consumer"] == pytest.approx(1.25)
    assert net.stations["consumer"].arrival_rate == pytest.approx(5.0)
    assert net.response_time == pytest.approx(1 / (10 - 5) * 1.25)
    assert net.capacity == pytest.approx(8.0)


def test_it_is_the_chain() -> None:
    """Two stations that feed one another, all states up to 30 at each: pi Q = 0."""
    gamma, rates, routes = (0.7, 0.5), (3.0, 2.5), ((0.0, 0.6), (0.3, 0.0))
    room = 30
    number = {state: at for at, state in enumerate(itertools.product(range(room), repeat=2))}
    flow = np.zeros((len(number), len(number)))
    for (a, b), at in number.items():
        moves = [((a + 1, b), gamma[0]), ((a, b + 1), gamma[1])]
        if a:
            moves += [((a - 1, b + 1), rates[0] * routes[0][1]), ((a - 1, b), rates[0] * 0.4)]
        if b:
            moves += [((a + 1, b - 1), rates[1] * routes[1][0]), ((a, b - 1), rates[1] * 0.7)]
        for state, rate in moves:
            if state in number:
                flow[at, number[state]] += rate
    np.fill_diagonal(flow, -flow.sum(axis=1))
    system = flow.T.copy()
    system[-1] = 1.0  # one equation is superfluous; the sum takes its place
    states = np.linalg.solve(system, np.eye(len(number))[-1])
    found = [sum(states[at] * state[i] for state, at in number.items()) for i in range(2)]
    net = jackson(
        [
            Station("a", rates[0], arrivals=gamma[0], then={"b": 0.6}),
            Station("b", rates[1], arrivals=gamma[1], then={"a": 0.3}),
        ]
    )
    told = [steady(net.stations[name]).in_system for name in "ab"]
    assert told == pytest.approx(found, rel=1e-4)


def test_after_a_station_that_grows_comes_what_it_lets_through() -> None:
    net = jackson(
        [
            Station("first", 100.0, arrivals=80.0, then={"slow": 1.0}),
            Station("slow", 20.0, then={"last": 0.5}),
            Station("last", 12.0),
        ]
    )
    assert net.growing == ("slow",)
    slow = net.stations["slow"]
    assert isinstance(slow, Growing)
    assert slow.growth == pytest.approx(60.0)
    assert steady(net.stations["last"]).arrival_rate == pytest.approx(10.0)
    assert (net.in_system, net.response_time) == (None, None)
    assert (net.bottleneck, net.capacity) == ("slow", pytest.approx(20.0))


@pytest.mark.parametrize(
    ("stations", "what"),
    [
        ([], "a name of its own"),
        ([Station("a", 1.0, arrivals=1.0), Station("a", 1.0)], "a name of its own"),
        ([Station("a", 0.0, arrivals=1.0)], "the service rate of a is 0"),
        ([Station("a", 1.0)], "nothing arrives"),
        ([Station("a", 1.0, arrivals=1.0, then={"b": 1.0})], "goes on to b, which is no station"),
        (
            [
                Station("a", 1.0, arrivals=1.0, then={"b": 0.7, "a": 0.7}),
                Station("b", 1.0),
            ],
            "more than all of a",
        ),
        (
            [
                Station("a", 9.0, arrivals=1.0, then={"b": 1.0}),
                Station("b", 9.0, then={"a": 1.0}),
            ],
            "what is in a, b goes round for ever",
        ),
    ],
)
def test_what_makes_no_sense_is_told(stations: list[Station], what: str) -> None:
    with pytest.raises(WrongInput, match=what):
        jackson(stations)


def test_a_loop_that_nobody_enters_is_no_fault() -> None:
    net = jackson(
        [
            Station("a", 9.0, arrivals=1.0),
            Station("b", 9.0, then={"c": 1.0}),
            Station("c", 9.0, then={"b": 1.0}),
        ]
    )
    assert net.stations["b"].utilisation == 0
