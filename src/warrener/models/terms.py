"""What the models share: the kinds of answer, and what is no question.

``Steady`` is a station in equilibrium, ``Growing`` one that gets more than it can serve: its
backlog has no end, and what can be said is how fast it grows.
"""

import math
from dataclasses import dataclass, field

from warrener.models.times import ResponseTime


class WrongInput(ValueError):
    """A question that makes no sense; the text says which value, and what it has to be."""


@dataclass(frozen=True, slots=True)
class Steady:
    """A station in equilibrium.

    ``arrival_rate`` is what is offered, ``service_rate`` what one of the ``servers`` does,
    ``waiting_time`` the mean until service begins, of those that get in; ``lost`` is the share that
    doesn't (0 where nothing is turned away). ``exact``: the formula is, under its assumptions;
    otherwise it is an approximation.
    """

    model: str
    arrival_rate: float
    service_rate: float
    servers: int
    waiting_time: float
    times: ResponseTime = field(repr=False)
    lost: float = 0.0
    exact: bool = True
    assumes: tuple[str, ...] = ()

    @property
    def throughput(self) -> float:
        """What gets through, 1/s."""
        return self.arrival_rate * (1.0 - self.lost)

    @property
    def utilisation(self) -> float:
        """rho: the part of the time that a server is busy, on average."""
        return self.throughput / (self.servers * self.service_rate)

    @property
    def response_time(self) -> float:
        """R: mean time from arrival to the end of service."""
        return self.waiting_time + 1.0 / self.service_rate

    @property
    def in_queue(self) -> float:
        """Lq: mean number that waits (Little's law)."""
        return self.throughput * self.waiting_time

    @property
    def in_system(self) -> float:
        """L = lambda R: mean number that waits or is served (Little's law)."""
        return self.throughput * self.response_time

    @property
    def headroom(self) -> float:
        """How much more could be offered before there is no equilibrium, 1/s."""
        return self.servers * self.service_rate - self.arrival_rate

    def percentile(self, share: float) -> float:
        """The response time that ``share`` of all don't exceed: 0.99 for p99. In s."""
        check_share("the percentile", share)
        return self.times.quantile(share)


@dataclass(frozen=True, slots=True)
class Growing:
    """A station that is offered more than it serves: rho >= 1."""

    model: str
    arrival_rate: float
    service_rate: float
    servers: int

    @property
    def capacity(self) -> float:
        """What it gets through, 1/s."""
        return self.servers * self.service_rate

    @property
    def utilisation(self) -> float:
        """rho, 1 or more: what is offered as a part of the capacity."""
        return self.arrival_rate / self.capacity

    @property
    def growth(self) -> float:
        """How fast the backlog grows, 1/s; 0 exactly at capacity, where it grows without a rate
        (with the square root of the time)."""
        return self.arrival_rate - self.capacity

    def seconds_until(self, messages: float) -> float:
        """How long until the backlog has grown by so many; infinite at capacity."""
        check_positive("the backlog", messages, zero=True)
        return messages / self.growth if self.growth > 0 else math.inf


Outcome = Steady | Growing


def check_positive(what: str, value: float, *, zero: bool = False) -> None:
    """``WrongInput`` unless it is a number above 0 (with ``zero``: not below)."""
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise WrongInput(f"{what} is {value}; it has to be {least}")


def check_count(what: str, value: int, least: int = 1) -> None:
    """``WrongInput`` unless it is a whole number of at least ``least``."""
    if value != int(value) or value < least:
        raise WrongInput(f"{what} is {value}; it has to be a whole number, {least} or more")


def check_share(what: str, value: float) -> None:
    """``WrongInput`` unless it is between 0 and 1, both excluded."""
    if not 0.0 < value < 1.0:
        raise WrongInput(f"{what} is {value}; it has to be between 0 and 1, such as 0.99")
