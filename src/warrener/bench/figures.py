"""Medians and ratios. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from warrener.bench.workloads import Route


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times ``against`` the path is: per round, then the median of the rounds."""

    workload: str
    path: Route
    against: Route
    samples: tuple[float, ...]
    median: float


RATIOS: Sequence[tuple[Route, Route]] = (
    (Route.WARRENER_PINNED, Route.HAPROXY_PINNED),
    (Route.WARRENER_PINNED, Route.DIRECT),
    (Route.WARRENER, Route.HAPROXY_ROUNDROBIN),
    (Route.WARRENER, Route.HAPROXY_LEASTCONN),
    (Route.WARRENER, Route.DIRECT),
    (Route.HAPROXY_PINNED, Route.DIRECT),
    (Route.HAPROXY_ROUNDROBIN, Route.DIRECT),
    (Route.WARRENER_OBSERVED, Route.WARRENER_UNOBSERVED),
)


def median(samples: Sequence[float]) -> float:
    """The middle sample, or the mean of the two in the middle. Raises ValueError for none."""
    if not samples:
        raise ValueError("no samples, no median")
    return statistics.median(samples)


def paired(samples: Mapping[int, float], against: Mapping[int, float]) -> tuple[float, ...]:
    """Quotients of the rounds that both have and in which ``against`` isn't 0, in order.

    Pairing by round takes out what a slow minute does to both.
    """
    rounds = sorted(samples.keys() & against.keys())
    return tuple(samples[r] / against[r] for r in rounds if against[r])


def ratios(results: Mapping[tuple[str, Route], Mapping[int, float]]) -> list[Ratio]:
    """Those of ``RATIOS`` that ``results`` (workload, path -> round -> sample) allow."""
    found = []
    for workload in dict.fromkeys(workload for workload, _ in results):
        for path, base in RATIOS:
            quotients = paired(results.get((workload, path), {}), results.get((workload, base), {}))
            if quotients:
                found.append(Ratio(workload, path, base, quotients, median(quotients)))
    return found
