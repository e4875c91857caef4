"""How long a response takes: distributions of a time, with mean, survival and percentiles.

What is exact where: the response time of an M/M/1 station is exponential; that of M/M/c a mixture
of a service, and a wait that is exponential with a probability (Gross et al., Fundamentals of
Queueing Theory, 4th ed., 2.4). For other stations the wait of those who wait is taken as
exponential, which is right in heavy traffic (Kingman) and near enough below, and the service as a
gamma distribution with the right mean and variance.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc, gammaln, hyp1f1
from scipy.stats import gamma as gamma_distribution

_TINY: Final = 1e-12
_LEAST: Final = 1e-30  # of the mean: nothing, for whoever measures
_OVERFLOWS: Final = 600.0
_FIXED: Final = 1e-6  # a squared coefficient of variation below which a service is called constant


class ResponseTime(Protocol):
    """A time in s."""

    @property
    def mean(self) -> float: ...

    def survival(self, time: float) -> float:
        """The share that takes longer than ``time``."""

    def quantile(self, share: float) -> float:
        """The time that ``share`` (0 to 1, excluded) don't exceed."""


@dataclass(frozen=True, slots=True)
class Exponential:
    """With ``rate`` in 1/s."""

    rate: float

    @property
    def mean(self) -> float:
        return 1.0 / self.rate

    def survival(self, time: float) -> float:
        return math.exp(-self.rate * time) if time > 0 else 1.0

    def quantile(self, share: float) -> float:
        return -math.log1p(-share) / self.rate


@dataclass(frozen=True, slots=True)
class Service:
    """A time of service, by its mean (s) and its squared coefficient of variation (variance over
    the mean's square: 0 constant, 1 exponential), as a gamma distribution."""

    mean: float
    scv: float = 1.0

    @property
    def is_fixed(self) -> bool:
        return self.scv < _FIXED

    def survival(self, time: float) -> float:
        if time <= 0:
            return 1.0
        if self.is_fixed:
            return 1.0 if time < self.mean else 0.0
        return float(gammaincc(1.0 / self.scv, time / (self.scv * self.mean)))

    def quantile(self, share: float) -> float:
        if self.is_fixed:
            return self.mean
        return float(gamma_distribution.ppf(share, 1.0 / self.scv, scale=self.scv * self.mean))

    def with_wait(self, rate: float, time: float) -> float:
        """The share of those who wait for an exponential time of ``rate`` first, and then take
        longer than ``time`` in all."""
        if time <= 0:
            return 1.0
        if self.is_fixed:
            return 1.0 if time < self.mean else math.exp(-rate * (time - self.mean))
        shape, scale = 1.0 / self.scv, self.scv * self.mean
        if rate * scale < 1.0 - 1e-9:
            # The integral over the service of exp(-rate * rest) is a gamma distribution's again.
            power = -shape * math.log1p(-rate * scale) - rate * time
            if power < _OVERFLOWS:
                inside = float(gammainc(shape, time * (1.0 / scale - rate)))
                return self.survival(time) + math.exp(power) * inside

        # The same integral where the wait is the shorter of the two: Kummer's function.
        many = time / scale
        power = shape * math.log(many) - float(gammaln(shape + 1.0)) - many
        later = math.exp(power) * float(hyp1f1(1.0, shape + 1.0, many - rate * time))
        return min(1.0, self.survival(time) + later)


@dataclass(frozen=True, slots=True)
class WaitThenService:
    """A wait that is exponential with ``wait_rate`` for the share ``waits``, none for the others;
    then a service."""

    waits: float
    wait_rate: float
    service: Service

    @property
    def mean(self) -> float:
        return self.waits / self.wait_rate + self.service.mean

    def survival(self, time: float) -> float:
        at_once = (1.0 - self.waits) * self.service.survival(time)
        if self.waits <= 0:
            return at_once
        return at_once + self.waits * self.service.with_wait(self.wait_rate, time)

    def quantile(self, share: float) -> float:
        if self.service.is_fixed:
            waits = max(1.0, self.waits / (1.0 - share))
            return self.service.mean + math.log(waits) / self.wait_rate
        return invert(self.survival, share, self.mean)


@dataclass(frozen=True, slots=True)
class Stages:
    """A number of exponential stages of one ``rate`` after the other: ``shares[n]`` of all take
    ``n`` + 1 of them (Erlang mixtures)."""

    rate: float
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(share * (n + 1) for n, share in enumerate(self.shares)) / self.rate

    def survival(self, time: float) -> float:
        if time <= 0:
            return 1.0
        stages = np.arange(1, len(self.shares) + 1)
        return float(np.dot(self.shares, gammaincc(stages, self.rate * time)))

    def quantile(self, share: float) -> float:
        return invert(self.survival, share, self.mean)


def invert(survival: Callable[[float], float], share: float, scale: float) -> float:
    """The time at which ``survival`` has fallen to 1 - ``share``; ``scale`` (s): about where."""
    wanted = 1.0 - share
    low = high = max(scale, _TINY)
    while survival(high) > wanted:
        high *= 2.0
    while survival(low) <= wanted:
        if low < _LEAST * scale:
            return 0.0
        low /= 2.0
    return float(brentq(lambda time: survival(time) - wanted, low, high, xtol=low * 1e-12))
