"""One station that serves several at once: a consumer that takes what is there, up to a limit, and
settles all of it with one acknowledgement; a writer that syncs to disk once for many.

What a batch takes doesn't depend on how many are in it. Who comes while one is served waits for the
next.
"""

import math
from dataclasses import dataclass

from scipy.optimize import brentq

from warrener.models.terms import Growing, check_count, check_positive


@dataclass(frozen=True, slots=True)
class Batches:
    """Such a station in equilibrium. Times in s, rates in 1/s.

    ``idle`` is the part of the time without a batch, ``mean_size`` how many there are in one.
    """

    arrival_rate: float
    batch_rate: float
    size: int
    idle: float
    waiting_time: float

    @property
    def utilisation(self) -> float:
        """rho: what is offered as a part of what full batches would carry."""
        return self.arrival_rate / (self.size * self.batch_rate)

    @property
    def response_time(self) -> float:
        """R: mean time from arrival to the end of its batch."""
        return self.waiting_time + 1.0 / self.batch_rate

    @property
    def in_system(self) -> float:
        """L = lambda R."""
        return self.arrival_rate * self.response_time

    @property
    def mean_size(self) -> float:
        """Mean number in a batch."""
        return self.arrival_rate / (self.batch_rate * (1.0 - self.idle))


def batches(arrival_rate: float, batch_rate: float, size: int) -> Batches | Growing:
    """M/M(1,b)/1: as soon as the server is free it takes what waits, 1 to ``size``, for an
    exponential time of mean 1/``batch_rate``. Exact.

    Medhi, Stochastic Models in Queueing Theory, 2nd ed., 4.3: with a batch under way, n wait with a
    probability in proportion to r ** n, where r in (0, 1) solves
    mu r^(b+1) - (lambda + mu) r + lambda = 0.
    """
    check_positive("the arrival rate", arrival_rate, zero=True)
    check_positive("the rate of batches", batch_rate)
    check_count("the size of a batch", size)
    if arrival_rate >= size * batch_rate:
        return Growing("M/M(1,b)/1", arrival_rate, size * batch_rate, 1)
    if arrival_rate == 0:
        return Batches(arrival_rate, batch_rate, size, 1.0, 0.0)
    load = arrival_rate / batch_rate
    ratio = _ratio(load, size)
    # idle * lambda = (busy, nobody waits) * mu; and all of it is 1.
    none_waits = 1.0 / (1.0 / load + 1.0 / (1.0 - ratio))
    in_queue = none_waits * ratio / (1.0 - ratio) ** 2
    return Batches(arrival_rate, batch_rate, size, none_waits / load, in_queue / arrival_rate)


def _ratio(load: float, size: int) -> float:
    """The root in (0, 1). With r = 1 divided out: r + r^2 + ... + r^b = lambda / mu."""

    def surplus(ratio: float) -> float:
        # 1 - ratio**size, without losing digits near 1
        return ratio * -math.expm1(size * math.log(ratio)) / (1.0 - ratio) - load

    return float(brentq(surplus, 1e-300, 1.0 - 1e-15, xtol=1e-16))
