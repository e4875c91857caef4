"""Stations with a window around them: a publisher that lets only so many messages be unconfirmed, a
consumer with a prefetch. Whatever is slow fills the window, and the rest waits for it: such a
system never grows without end, it is as fast as its slowest station and its round trip allow.

    X(N) = N / (Z + R(N))        throughput, with a window of N (Little's law)

The answers are those of mean value analysis (Reiser and Lavenberg 1980): exact where services are
exponential and come in order of arrival. They are worked out by Buzen's convolution (1973), because
the recursion loses all its digits where a station has many servers: with 64 of them and a window of
3,000 it gave 52 messages/s in place of 128. Here only positive numbers are added and multiplied.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.signal import fftconvolve

from warrener.models.terms import WrongInput, check_count, check_positive

MAX_WINDOW: Final = 1_000_000
_FEW: Final = 256  # terms up to which a plain convolution is faster than a transform


@dataclass(frozen=True, slots=True)
class Stop:
    """A station that every message visits: ``demand`` (s) is how long one of ``servers`` works for
    a message, all visits together. 0 servers: as many as there are messages, nobody waits (a
    network's delay)."""

    name: str
    demand: float
    servers: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """What a window of ``size`` gives. Times in s, by station."""

    size: int
    throughput: float  # 1/s
    response_times: Mapping[str, float]
    in_system: Mapping[str, float]
    utilisations: Mapping[str, float]
    think_time: float

    @property
    def response_time(self) -> float:
        """R of all stations: a message's round trip, without the thinking."""
        return sum(self.response_times.values())

    @property
    def bottleneck(self) -> str:
        """The station that is busiest; the name of one where nobody waits if there are no
        others."""
        return max(self.utilisations, key=lambda name: self.utilisations[name])


def window(stops: Sequence[Stop], size: int, think_time: float = 0.0) -> Window:
    """What a window of ``size`` messages gives. Exact for exponential services (Lazowska et al.,
    Quantitative System Performance, ch. 6 and 8).

    ``think_time`` (s): between a message's return and the next one's start. O(stops * size *
    log(size)): 1 ms for a window of 1,000 and four stations.
    """
    _check(stops, size, think_time)
    _, rate = bounds(stops, size, think_time)  # no throughput is greater: see _weights
    everybody = [*stops, Stop("thinking", think_time, 0)]
    weights = [_weights(stop, rate, size) for stop in everybody]
    before = [_NOBODY]
    for one in weights:
        before.append(_convolved(before[-1], one, size))
    after = [_NOBODY]
    for one in reversed(weights):
        after.append(_convolved(one, after[-1], size))
    whole = before[-1]
    throughput = rate * float(whole[size - 1] / whole[size])
    inside = []
    for at, stop in enumerate(stops):
        if stop.servers == 0:
            inside.append(throughput * stop.demand)
            continue
        others = _convolved(before[at], after[len(weights) - 1 - at], size)
        shares = _padded(weights[at], size) * _padded(others, size)[::-1]
        inside.append(float(np.arange(size + 1) @ shares / shares.sum()))
    names = [stop.name for stop in stops]
    return Window(
        size=size,
        throughput=throughput,
        response_times={
            name: number / throughput for name, number in zip(names, inside, strict=True)
        },
        in_system=dict(zip(names, inside, strict=True)),
        utilisations={
            stop.name: throughput * stop.demand / stop.servers if stop.servers else 0.0
            for stop in stops
        },
        think_time=think_time,
    )


def bounds(stops: Sequence[Stop], size: int, think_time: float = 0.0) -> tuple[float, float]:
    """Least and greatest throughput that any such system can have (asymptotic bounds; Lazowska et
    al., ch. 5). ``size`` where the greatest changes its reason is ``knee``."""
    _check(stops, size, think_time)
    total = sum(stop.demand for stop in stops)
    least = size / (think_time + sum(size * s.demand if s.servers else s.demand for s in stops))
    greatest = size / (think_time + total)
    for stop in stops:
        if stop.servers and stop.demand:
            greatest = min(greatest, stop.servers / stop.demand)
    return least, greatest


def knee(stops: Sequence[Stop], think_time: float = 0.0) -> float:
    """The window from which on the slowest station, and no longer the round trip, says how fast it
    goes: (Z + D) / D_max. Below it a bigger window pays; above it, messages only wait."""
    _check(stops, 1, think_time)
    slowest = max((stop.demand / stop.servers for stop in stops if stop.servers), default=0.0)
    if slowest == 0:
        raise WrongInput("no station has a limit: a bigger window always pays")
    return (think_time + sum(stop.demand for stop in stops)) / slowest


Array = npt.NDArray[np.float64]

_NOBODY: Final = np.ones(1)


def _weights(stop: Stop, rate: float, size: int) -> Array:
    """How probable each number is at a station that is offered ``rate`` alone, up to a factor.

    ``rate`` only scales, and any would do if numbers had no limits. With one that no throughput
    exceeds, what is most probable in all is a window that is full; so what is too small to be kept
    is small in the answer, and what a transform (absolute errors) gives for the full one is right.
    """
    weights = np.zeros(size + 1)
    weights[0] = 1.0
    if stop.demand * rate > 0:
        numbers = np.arange(1, size + 1)
        busy = np.minimum(numbers, stop.servers) if stop.servers else numbers
        logs = np.cumsum(np.log(stop.demand * rate / busy))
        highest = max(0.0, float(logs.max()))
        weights[0] = math.exp(-highest)
        weights[1:] = np.exp(logs - highest)
    last = int(np.flatnonzero(weights)[-1])
    return weights[: last + 1]


def _convolved(one: Array, other: Array, size: int) -> Array:
    """As far as ``size``, the highest 1."""
    if min(len(one), len(other)) <= _FEW:
        found = np.convolve(one, other)[: size + 1]
    else:
        found = np.maximum(fftconvolve(one, other)[: size + 1], 0.0)
    return np.asarray(found / found.max(), dtype=np.float64)


def _padded(weights: Array, size: int) -> Array:
    return np.pad(weights, (0, size + 1 - len(weights)))


def _check(stops: Sequence[Stop], size: int, think_time: float) -> None:
    names = [stop.name for stop in stops]
    if not names or len(set(names)) != len(names):
        raise WrongInput(f"each station needs a name of its own; there are {names}")
    for stop in stops:
        check_positive(f"the demand at {stop.name}", stop.demand, zero=True)
        check_count(f"the servers of {stop.name}", stop.servers, 0)
    check_positive("the time between messages", think_time, zero=True)
    check_count("the window", size)
    if size > MAX_WINDOW:
        raise WrongInput(f"the window is {size}; up to {MAX_WINDOW:,} can be worked out")
    if think_time == 0 and not any(stop.demand for stop in stops):
        raise WrongInput("nothing takes any time: there is no throughput to tell")
