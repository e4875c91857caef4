"""What a long series of measurements says: mean and percentiles, each with how sure it is.

Messages that follow one another aren't independent (a long queue makes many of them wait), so that
the usual formula makes an interval too small by far. Batch means: the series is cut into a few
long batches; their means are nearly independent (Law, Simulation Modeling and Analysis, 9.5.3).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from warrener.models.terms import WrongInput, check_share

BATCHES: Final = 20
"""Few and long: more would narrow the interval by no more than a twentieth (Schmeiser 1982)."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and half the width of its 95 % interval; infinite if there is too little to tell."""

    value: float
    half_width: float

    @property
    def low(self) -> float:
        return self.value - self.half_width

    @property
    def high(self) -> float:
        return self.value + self.half_width

    def differs_from(self, other: "Estimate") -> bool:
        """Whether the two intervals don't meet: a difference that chance hardly explains."""
        return self.low > other.high or other.low > self.high


def mean_of(series: Array) -> Estimate:
    """The mean of a series in the order in which it came. WrongInput for an empty one."""
    return _by_batches(series, lambda part: float(part.mean()))


def percentile_of(series: Array, share: float) -> Estimate:
    """The value that ``share`` of the series don't exceed. WrongInput for an empty one."""
    check_share("the percentile", share)
    return _by_batches(series, lambda part: float(np.quantile(part, share)))


def interval_of(values: Array, confidence: float = 0.95) -> Estimate:
    """The mean of independent values (of runs with other chances), with Student's interval.
    WrongInput without any."""
    check_share("the confidence", confidence)
    if not len(values):
        raise WrongInput("nothing was measured: there are no values")
    if len(values) < 2:
        return Estimate(float(values.mean()), math.inf)
    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(
        float(values.mean()), float(student.ppf((1 + confidence) / 2, len(values) - 1)) * spread
    )


def _by_batches(series: Array, of: Callable[[Array], float]) -> Estimate:
    if not len(series):
        raise WrongInput("nothing was measured: the series is empty")
    value = of(series)
    if len(series) < 2 * BATCHES:
        return Estimate(value, math.inf)
    values = [of(part) for part in np.array_split(series, BATCHES)]
    spread = float(np.std(values, ddof=1)) / math.sqrt(BATCHES)
    return Estimate(value, float(student.ppf(0.975, BATCHES - 1)) * spread)
