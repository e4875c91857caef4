"""A report as a run gives it."""

import pytest

from warrener.bench.figures import Ratio
from warrener.bench.report import Failure, Machine, Report, Result, Settings, versions
from warrener.bench.workloads import Route


@pytest.fixture
def report() -> Report:
    """Two figures, a ratio and a failure."""
    return Report(
        machine=Machine(2, "EPYC", 24_000, "6.1", 0.1),
        versions=versions(rabbitmq="3.10.8", erlang="25.2.3", haproxy="2.6.12"),
        settings=Settings(3, 2.0, 1, 2_000, "2026-01-02T03:04:05+00:00"),
        results=(
            Result("classic-1", Route.WARRENER, "msg/s", (61_234.0, 60_000.0, 62_000.0), 61_234.0),
            Result("latency", Route.DIRECT, "ms", (0.512, 0.6, 0.4), 0.512, (0.2, 0.2, 0.2)),
        ),
        ratios=(Ratio("classic-1", Route.WARRENER, Route.DIRECT, (0.8, 0.9, 1.0), 0.9),),
        failures=(Failure("setup", Route.DIRECT, 2, "it broke"),),
    )
