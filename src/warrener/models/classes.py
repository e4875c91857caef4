"""One station and several priorities: a queue with ``x-max-priority``.

Whoever is served is served to the end; then the highest priority that waits is next. A consumer's
prefetch weakens this: what it holds already comes before anything that arrives later. With a
prefetch that isn't small beside the backlog, take the station without priorities.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from warrener.models.terms import Growing, Outcome, Steady, check_positive
from warrener.models.times import Service, WaitThenService


@dataclass(frozen=True, slots=True)
class Priority:
    """What arrives with one priority: rate (1/s), mean service time (s), and its squared
    coefficient of variation."""

    arrival_rate: float
    service_time: float
    service_scv: float = 1.0


def priorities(classes: Sequence[Priority]) -> list[Outcome]:
    """M/G/1 with priorities that don't interrupt, the highest first: an answer for each class.

    The means are exact (Cobham 1954; Kleinrock, Queueing Systems II, 3.6), percentiles approximate:
    the wait of those who wait is taken as exponential. Of classes that get too much together, the
    first that doesn't get all it needs grows, and those below it aren't served at all.
    """
    for one in classes:
        check_positive("the arrival rate", one.arrival_rate, zero=True)
        check_positive("the service time", one.service_time)
        check_positive("the service's variability", one.service_scv, zero=True)
    shares = _shares(classes)
    total = math.fsum(shares)
    # What is left of the service that an arrival finds under way; whoever is served counts.
    residual = math.fsum(
        share * one.service_time * (1.0 + one.service_scv) / 2.0
        for share, one in zip(shares, classes, strict=True)
    )
    outcomes: list[Outcome] = []
    above = 0.0
    for share, one in zip(shares, classes, strict=True):
        wanted = one.arrival_rate * one.service_time
        if above + wanted >= 1.0:
            left = max(0.0, 1.0 - above)
            outcomes.append(_starved(one, left))
        else:
            waiting_time = residual / (1.0 - above) / (1.0 - above - wanted)
            outcomes.append(_steady(one, waiting_time, total))
        above += share
    return outcomes


def _shares(classes: Sequence[Priority]) -> list[float]:
    """The part of the server's time that each class gets."""
    left = 1.0
    shares = []
    for one in classes:
        share = min(left, one.arrival_rate * one.service_time)
        shares.append(share)
        left -= share
    return shares


def _steady(one: Priority, waiting_time: float, busy: float) -> Steady:
    service = Service(one.service_time, one.service_scv)
    times = WaitThenService(0.0, 1.0, service)
    if waiting_time > 0:
        times = WaitThenService(busy, busy / waiting_time, service)
    return Steady(
        model="M/G/1 with priorities",
        arrival_rate=one.arrival_rate,
        service_rate=1.0 / one.service_time,
        servers=1,
        waiting_time=waiting_time,
        times=times,
        assumes=(
            "arrivals at random (Poisson)",
            "a service is never interrupted",
            "first come, first served within a priority",
            "percentiles: waits taken as exponential",
        ),
    )


def _starved(one: Priority, left: float) -> Growing:
    """``left``: the part of the server's time that those above leave it."""
    return Growing("M/G/1 with priorities", one.arrival_rate, left / one.service_time, 1)
