"""One station and what is offered to it: M/M/1, M/M/c, M/M/1/K, M/G/1, G/G/c.

In Kendall's notation: how arrivals come (M: at random, a Poisson process; G: in any way), how long
a service takes (M: exponentially distributed; G: in any way), how many serve, and how many there is
room for. Variability is given as a squared coefficient of variation (variance over the square of
the mean): 0 for clockwork, 1 for M, more for bursts.

What a station is in RabbitMQ: a queue's process, a node, a pool of consumers. Published at random
moments by many clients and served one by one, a queue is near to M/G/1 with a variability of
service well below 1; M/M/1 is the careful assumption.
"""

import math
from typing import Final

from warrener.models.terms import (
    Growing,
    Outcome,
    Steady,
    WrongInput,
    check_count,
    check_positive,
)
from warrener.models.times import Exponential, Service, Stages, WaitThenService

_RANDOM = "arrivals at random (Poisson)"
_EXPONENTIAL = "exponential service times"
_FIFO = "first come, first served"
_NO_LIMIT = "room for any number"


def mm1(arrival_rate: float, service_rate: float) -> Outcome:
    """M/M/1: R = 1/(mu - lambda), L = lambda R. Exact.

    Kleinrock, Queueing Systems I, 3.2. WrongInput for rates that aren't positive (an arrival rate
    may be 0).
    """
    _check_rates(arrival_rate, service_rate)
    if arrival_rate >= service_rate:
        return Growing("M/M/1", arrival_rate, service_rate, 1)
    response_time = 1.0 / (service_rate - arrival_rate)
    return Steady(
        model="M/M/1",
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        servers=1,
        waiting_time=response_time * arrival_rate / service_rate,
        times=Exponential(service_rate - arrival_rate),
        assumes=(_RANDOM, _EXPONENTIAL, _FIFO, _NO_LIMIT),
    )


def erlang_b(offered: float, servers: int) -> float:
    """Share of arrivals that find all ``servers`` busy where nobody waits; ``offered`` is
    lambda/mu. Exact, by the recursion, which doesn't overflow (Gross et al., 2.5)."""
    check_positive("the offered load", offered, zero=True)
    check_count("the number of servers", servers)
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked


def erlang_c(offered: float, servers: int) -> float:
    """Share of arrivals that have to wait; ``offered`` is lambda/mu, below ``servers``. Exact
    (Gross et al., 2.4)."""
    blocked = erlang_b(offered, servers)
    if offered >= servers:
        raise WrongInput(
            f"the offered load is {offered}; with {servers} servers it has to be below {servers}"
        )
    utilisation = offered / servers
    return blocked / (1.0 - utilisation * (1.0 - blocked))


def mmc(arrival_rate: float, service_rate: float, servers: int) -> Outcome:
    """M/M/c: one line before ``servers`` equal ones; ``service_rate`` is one's. Exact.

    Gross et al., Fundamentals of Queueing Theory, 2.4 (Erlang C), with the response time's
    distribution.
    """
    _check_rates(arrival_rate, service_rate)
    check_count("the number of servers", servers)
    capacity = servers * service_rate
    if arrival_rate >= capacity:
        return Growing("M/M/c", arrival_rate, service_rate, servers)
    waits = erlang_c(arrival_rate / service_rate, servers)
    wait_rate = capacity - arrival_rate
    return Steady(
        model="M/M/c",
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        servers=servers,
        waiting_time=waits / wait_rate,
        times=WaitThenService(waits, wait_rate, Service(1.0 / service_rate)),
        assumes=(_RANDOM, _EXPONENTIAL, _FIFO, _NO_LIMIT, "servers of one speed"),
    )


def mm1k(arrival_rate: float, service_rate: float, room: int) -> Steady:
    """M/M/1/K: there is room for ``room`` (the one in service included), who comes then is lost.
    Always in equilibrium. Exact.

    A queue with ``max-length``, where messages are rejected (``overflow = reject-publish``): the
    waiting time is that of those who get in. With ``drop-head`` the share that is lost is the
    same, but it is the oldest that go, and those that get through are younger.

    Gross et al., 2.5. Times: who gets in finds n before him, and takes n + 1 services.
    """
    _check_rates(arrival_rate, service_rate)
    check_count("the room", room)
    states = _occupancy(arrival_rate / service_rate, room)
    accepted = math.fsum(states[:-1])
    shares = tuple(state / accepted for state in states[:-1])
    in_queue_before = math.fsum(n * share for n, share in enumerate(shares))
    return Steady(
        model="M/M/1/K",
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        servers=1,
        waiting_time=in_queue_before / service_rate,
        times=Stages(service_rate, shares),
        lost=states[-1],
        assumes=(_RANDOM, _EXPONENTIAL, _FIFO, f"room for {room}"),
    )


def _occupancy(load: float, room: int) -> list[float]:
    """How probable it is that n are there, n from 0 to ``room``: in proportion to load ** n,
    worked out from the end where that is at most 1."""
    if load <= 1.0:
        weights = [load**n for n in range(room + 1)]
    else:
        weights = [load ** (n - room) for n in range(room + 1)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def mg1(arrival_rate: float, service_rate: float, service_scv: float) -> Outcome:
    """M/G/1: Wq = rho (1 + Cs^2) / 2 / (mu - lambda). The means are exact (Pollaczek-Khinchine;
    Kleinrock I, 5.6), percentiles approximate (``times``).

    ``service_scv``: the squared coefficient of variation of the service time.
    """
    _check_rates(arrival_rate, service_rate)
    check_positive("the service's variability", service_scv, zero=True)
    if arrival_rate >= service_rate:
        return Growing("M/G/1", arrival_rate, service_rate, 1)
    load = arrival_rate / service_rate
    waiting_time = load * (1.0 + service_scv) / 2.0 / (service_rate - arrival_rate)
    return Steady(
        model="M/G/1",
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        servers=1,
        waiting_time=waiting_time,
        times=_times(load, waiting_time, Service(1.0 / service_rate, service_scv)),
        assumes=(_RANDOM, _FIFO, _NO_LIMIT, "percentiles: waits taken as exponential"),
    )


def ggc(
    arrival_rate: float,
    service_rate: float,
    servers: int,
    *,
    arrival_scv: float,
    service_scv: float,
) -> Outcome:
    """G/G/c by Kimura: between the waits of M/M/c, M/D/c and D/M/c by how variable both are. An
    approximation: exact for M/M/c and M/G/1; of arrivals that are more variable than at random the
    wait of M/G/c times (Ca^2 + Cs^2) / (1 + Cs^2), which is good for a load above 0.5.

    Kimura, Management Science 32 (1986), with the waits of M/D/c and D/M/c by Cosmetatos, Page,
    Kraemer and Langenbach-Belz as in Whitt, Approximations for the GI/G/m queue, Production and
    Operations Management 2 (1993).
    """
    _check_rates(arrival_rate, service_rate)
    check_count("the number of servers", servers)
    check_positive("the arrivals' variability", arrival_scv, zero=True)
    check_positive("the service's variability", service_scv, zero=True)
    capacity = servers * service_rate
    if arrival_rate >= capacity:
        return Growing("G/G/c", arrival_rate, service_rate, servers)
    waits = erlang_c(arrival_rate / service_rate, servers)
    at_random = waits / (capacity - arrival_rate)
    load = arrival_rate / capacity
    waiting_time = at_random * _by_variability(load, servers, arrival_scv, service_scv)
    return Steady(
        model="G/G/c",
        arrival_rate=arrival_rate,
        service_rate=service_rate,
        servers=servers,
        waiting_time=waiting_time,
        times=_times(waits, waiting_time, Service(1.0 / service_rate, service_scv)),
        exact=False,
        assumes=(
            "arrivals that don't depend on one another, as variable as given",
            _FIFO,
            _NO_LIMIT,
            "servers of one speed",
        ),
    )


_MOST_OF_IT: Final = 0.24
"""Of the correction for several servers at light loads."""


def _by_variability(load: float, servers: int, arrival_scv: float, service_scv: float) -> float:
    """Times the wait of M/M/c."""
    if load <= 0.0:
        return 0.0
    if arrival_scv > 1.0:
        factor = _by_variability(load, servers, 1.0, service_scv)
        return factor * (arrival_scv + service_scv) / (1.0 + service_scv)
    idle = 1.0 - load
    many = (servers - 1) * (math.sqrt(4.0 + 5.0 * servers) - 2.0) / (16.0 * servers)
    several = min(_MOST_OF_IT, idle / load * many)
    even_services = 0.5 * (1.0 + several)
    even_arrivals = (0.5 - 2.0 * several) * math.exp(-2.0 * idle / (3.0 * load))
    both = arrival_scv + service_scv
    if even_arrivals <= 0.0:  # of a load near 0
        return 0.0 if arrival_scv < 1.0 else both / 2.0
    return both / (
        (1.0 - arrival_scv) / even_arrivals
        + (1.0 - service_scv) / even_services
        + 2.0 * (both - 1.0)
    )


def _times(waits: float, waiting_time: float, service: Service) -> WaitThenService:
    """``waiting_time`` is the mean of all, those included who don't wait."""
    if waits <= 0 or waiting_time <= 0:
        return WaitThenService(0.0, 1.0, service)
    return WaitThenService(waits, waits / waiting_time, service)


def _check_rates(arrival_rate: float, service_rate: float) -> None:
    check_positive("the arrival rate", arrival_rate, zero=True)
    check_positive("the service rate", service_rate)
