"""The document a run gives (``--json``; DESIGN.md section 8) and the tables for people."""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table

from warrener import __version__
from warrener.bench.figures import Ratio, median
from warrener.bench.workloads import Route


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. ``load_before`` is the load average of the minute before the run: a
    machine that was busy says little."""

    cores: int
    model: str
    memory_mib: int
    kernel: str
    load_before: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. Times in seconds."""

    rounds: int
    seconds: float
    seed: int
    idle_sessions: int
    started_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of one workload on one path: a sample a round. ``generator_cores`` is what the
    load generator itself used, per sample."""

    workload: str
    path: Route
    unit: str
    samples: tuple[float, ...]
    median: float
    generator_cores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A measurement that gave no figure; the path isn't tried again for that workload."""

    workload: str
    path: Route
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole run."""

    machine: Machine
    versions: Mapping[str, str]
    settings: Settings
    results: tuple[Result, ...]
    ratios: tuple[Ratio, ...]
    failures: tuple[Failure, ...] = field(default=())


def this_machine() -> Machine:
    """As Linux describes it."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        model=model,
        memory_mib=pages * page // 2**20,
        kernel=platform.release(),
        load_before=round(os.getloadavg()[0], 2),
    )


def versions(*, rabbitmq: str, erlang: str, haproxy: str) -> dict[str, str]:
    """Of everything that has a part in the figures; empty where it took none."""
    try:
        uvloop = version("uvloop")
    except PackageNotFoundError:
        uvloop = ""
    return {
        "warrener": __version__,
        "python": platform.python_version(),
        "uvloop": uvloop,
        "rabbitmq": rabbitmq,
        "erlang": erlang,
        "haproxy": haproxy,
    }


def encode(report: Report) -> bytes:
    """The JSON document."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def tables(report: Report) -> RenderableType:
    """What people read: figures by workload, then ratios."""
    return Group(_figures(report), _ratios(report))


def _figures(report: Report) -> Table:
    table = _table("workload", "path", "median", "lowest", "highest", "unit")
    for workload, results in groupby(report.results, key=lambda result: result.workload):
        name = workload
        for result in results:
            figures = (result.median, min(result.samples), max(result.samples))
            table.add_row(name, result.path, *(_shown(f) for f in figures), result.unit)
            name = ""
        table.add_section()
    return table


def _ratios(report: Report) -> Table:
    table = _table("workload", "path", "median", "lowest", "highest", "times")
    for workload, found in groupby(report.ratios, key=lambda ratio: ratio.workload):
        name = workload
        for ratio in found:
            figures = (ratio.median, min(ratio.samples), max(ratio.samples))
            table.add_row(name, ratio.path, *(f"{f:.2f}" for f in figures), ratio.against)
            name = ""
        table.add_section()
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False)
    for column in columns:
        numeric = column in ("median", "lowest", "highest")
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    return table


def _shown(figure: float) -> str:
    """Enough digits to compare, not more."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.2f}"


def results(
    samples: Mapping[tuple[str, Route], Mapping[int, float]],
    units: Mapping[str, str],
    cores: Mapping[tuple[str, Route], Mapping[int, float]],
) -> Iterator[Result]:
    """The rows of a report, from figure and path -> round -> sample."""
    for (figure, path), by_round in samples.items():
        values = tuple(by_round[r] for r in sorted(by_round))
        used: Mapping[int, Any] = cores.get((figure, path), {})
        generator = tuple(round(used[r], 3) for r in sorted(used))
        yield Result(figure, path, units[figure], values, median(values), generator)
