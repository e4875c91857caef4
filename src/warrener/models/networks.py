"""Stations in a net, fed from outside: publishers, a balancer, nodes, queues, consumers.

What leaves one station goes on to others with fixed probabilities, or leaves the net. Under
Jackson's assumptions each station behaves as if it were alone (product form): at random in, any
number of equal servers, exponential service, first come, first served.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from warrener.models.queueing import mmc
from warrener.models.terms import Growing, Outcome, WrongInput, check_count, check_positive


@dataclass(frozen=True, slots=True)
class Station:
    """``service_rate`` (1/s) is that of one of ``servers``; ``arrivals`` (1/s) come from outside;
    ``then``: the probability to go on to each other station, the rest leaves."""

    name: str
    service_rate: float
    servers: int = 1
    arrivals: float = 0.0
    then: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """The answer: each station's, by name, and the whole's."""

    stations: Mapping[str, Outcome]
    visits: Mapping[str, float]  # how often each is visited by one that comes from outside
    arrival_rate: float

    @property
    def growing(self) -> tuple[str, ...]:
        """Stations that get more than they serve, the worst first; empty in equilibrium."""
        over = [name for name, one in self.stations.items() if isinstance(one, Growing)]
        return tuple(sorted(over, key=lambda name: -self.stations[name].utilisation))

    @property
    def bottleneck(self) -> str:
        """The station that is busiest, and the first to be too busy when all grows."""
        return max(self.stations, key=lambda name: self.stations[name].utilisation)

    @property
    def capacity(self) -> float:
        """What could come from outside in this mix, 1/s: where the bottleneck's rho is 1."""
        return self.arrival_rate / self.stations[self.bottleneck].utilisation

    @property
    def in_system(self) -> float | None:
        """L of all stations; None if one grows."""
        total = 0.0
        for one in self.stations.values():
            if isinstance(one, Growing):
                return None
            total += one.in_system
        return total

    @property
    def response_time(self) -> float | None:
        """Mean time in the net, s (Little's law over all of it); None if a station grows."""
        inside = self.in_system
        return None if inside is None else inside / self.arrival_rate


def jackson(stations: Sequence[Station]) -> Network:
    """An open Jackson network. Exact (Jackson 1957; Gross et al., 4.2).

    Arrivals at each station solve lambda = gamma + P' lambda. Stations after one that grows get
    what that one lets through, not what it is offered. WrongInput if names aren't distinct,
    probabilities don't fit, nothing arrives, or what has come in can never leave.
    """
    _check(stations)
    offered, visits = _traffic(stations)
    outcomes = {
        one.name: mmc(float(rate), one.service_rate, one.servers)
        for one, rate in zip(stations, offered, strict=True)
    }
    arrival_rate = sum(one.arrivals for one in stations)
    named = {one.name: float(count) for one, count in zip(stations, visits, strict=True)}
    return Network(outcomes, named, arrival_rate)


def _check(stations: Sequence[Station]) -> None:
    names = [one.name for one in stations]
    if len(set(names)) != len(names) or not names:
        raise WrongInput(f"each station needs a name of its own; there are {names}")
    for one in stations:
        check_positive(f"the service rate of {one.name}", one.service_rate)
        check_positive(f"what arrives at {one.name}", one.arrivals, zero=True)
        check_count(f"the servers of {one.name}", one.servers)
        then = one.then or {}
        for name, share in then.items():
            if name not in names:
                raise WrongInput(f"{one.name} goes on to {name}, which is no station")
            check_positive(f"the share of {one.name} that goes on to {name}", share, zero=True)
        if sum(then.values()) > 1.0 + 1e-9:
            raise WrongInput(f"more than all of {one.name} goes on: {dict(then)}")
    if not any(one.arrivals for one in stations):
        raise WrongInput("nothing arrives from outside at any station")


def _traffic(stations: Sequence[Station]) -> tuple[np.ndarray, np.ndarray]:
    """What each is offered (1/s), and how often each is visited."""
    number = {one.name: at for at, one in enumerate(stations)}
    size = len(stations)
    routes = np.zeros((size, size))
    for at, one in enumerate(stations):
        for name, share in (one.then or {}).items():
            routes[at, number[name]] += share
    outside = np.array([one.arrivals for one in stations])
    reached = _reached(routes, outside)
    system = np.eye(size) - np.where(reached[:, None], routes, 0.0).T
    if np.linalg.matrix_rank(system) < size:
        kept = [one.name for one, is_reached in zip(stations, reached, strict=True) if is_reached]
        raise WrongInput(f"what is in {', '.join(kept)} goes round for ever: nothing leaves")
    rates = np.linalg.solve(system, outside)
    visits = rates / outside.sum()
    capacities = np.array([one.servers * one.service_rate for one in stations])
    if (rates > capacities).any():
        rates = _throttled(routes, outside, capacities, rates)
    return rates, visits


def _throttled(
    routes: np.ndarray, outside: np.ndarray, capacities: np.ndarray, rates: np.ndarray
) -> np.ndarray:
    """What each is offered when no station passes on more than it serves: the fixed point of
    lambda = gamma + P' min(lambda, capacity), from above (Goodman and Massey 1984)."""
    for _ in range(10_000):
        after = outside + routes.T @ np.minimum(rates, capacities)
        if np.allclose(after, rates, rtol=1e-12, atol=0.0):
            break
        rates = after
    return rates


def _reached(routes: np.ndarray, outside: np.ndarray) -> np.ndarray:
    reached = outside > 0
    for _ in range(len(outside)):
        reached = reached | ((routes > 0) & reached[:, None]).any(axis=0)
    return reached
