"""R and L of queues against load: what is drawn, as numbers. Pure.

Loads are in times today's: each queue's traffic grows in proportion, as the planner reckons with.
A curve ends where its queue, or its consumers, get more than they take.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from warrener.planner import changes
from warrener.planner.costs import Calibration
from warrener.planner.load import Load, QueueLoad
from warrener.planner.outlook import Outlook, look_at
from warrener.planner.points import Point
from warrener.planner.resources import Part, PartKind
from warrener.planner.samples import Key

MOST_LINES: Final = 5
"""Queues with a curve of their own: as many as there are colours."""

MOST_OTHERS: Final = 60
"""Queues that are looked at for where the others are."""

STEPS: Final = 80
_HIGH: Final = 1e9
"""Of a band: those that grow are beyond any axis."""

WIDEST: Final = 20.0
"""Times today's load, at most."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """One queue. ``response`` (s) and ``length`` at each of the curves' ``loads``, NaN beyond its
    end; ``measured``: load, R and L, each a mean over a part of the history."""

    name: str
    response: tuple[float, ...]
    length: tuple[float, ...]
    measured: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """Where the other queues are: from the 5th to the 95th of 100, NaN where these
    grow."""

    queues: int
    response: tuple[tuple[float, float], ...]
    length: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of one outlook. ``loads`` in times today's; ``breaks_at`` is where the first
    part is used up, by the name ``first`` (infinite: none); ``unknown``: queues with traffic whose
    R can't be told, as nothing is known of their consumers."""

    loads: tuple[float, ...]
    published: float  # messages/s today
    lines: tuple[Line, ...]
    others: Band | None
    breaks_at: float
    first: str
    unknown: int


def chosen(outlooks: Sequence[Outlook], most: int = MOST_LINES) -> list[Key]:
    """The queues that are worth a curve: the busiest in any of the outlooks, of those with one."""
    busiest: dict[Key, float] = {}
    for outlook in outlooks:
        for queue in outlook.queues:
            stations = [one for one in (queue.process, queue.consumers) if one is not None]
            if queue.consumers is None or not stations:
                continue
            key = queue.load.vhost, queue.load.name
            busy = max(station.utilisation for station in stations)
            busiest[key] = max(busy, busiest.get(key, 0.0))
    return sorted(busiest, key=lambda key: (-busiest[key], key))[:most]


def widest(outlooks: Sequence[Outlook], asked: float = 1.0) -> float:
    """How far the axis of loads goes: to just behind where something breaks, and what was asked
    for."""
    breaks = [one.reckoned.breaks_at for one in outlooks if math.isfinite(one.reckoned.breaks_at)]
    return min(WIDEST, max([1.5, 1.3 * asked, *(1.15 * at for at in breaks)]))


def curves(
    outlook: Outlook,
    calibration: Calibration,
    keys: Sequence[Key],
    *,
    top: float,
    factor: float = 1.0,
    points: Mapping[Key, Sequence[Point]] | None = None,
    now: Load | None = None,
) -> Curves:
    """``factor``: the outlook is of so many times today's load; ``points`` of the history, and the
    load ``now`` that they are compared with."""
    loads = np.linspace(top / STEPS, top, STEPS)
    load = outlook.load
    by_key = {(queue.vhost, queue.name): queue for queue in load.queues}
    lines = []
    for key in keys:
        if (queue := by_key.get(key)) is None:
            continue
        response, length = _curve(queue, load, loads / factor, calibration)
        lines.append(Line(queue.full_name, response, length, _measured(key, points, now)))
    known = [
        queue.load
        for queue in outlook.queues
        if queue.consumers is not None and (queue.load.vhost, queue.load.name) not in keys
    ]
    first = outlook.reckoned.first
    return Curves(
        loads=tuple(float(x) for x in loads),
        published=load.published / factor,
        lines=tuple(lines),
        others=_band(known, load, loads / factor, calibration),
        breaks_at=outlook.reckoned.breaks_at * factor,
        first="" if first is None else _named(first),
        unknown=sum(
            queue.consumers is None and queue.load.published > 0 for queue in outlook.queues
        ),
    )


def _named(part: Part) -> str:
    match part.kind:
        case PartKind.CONSUMERS:
            return f"consumers of {part.name}"
        case PartKind.BALANCER:
            return "the balancer"
        case _:
            return f"{part.kind} {part.name}"


def _curve(
    queue: QueueLoad, load: Load, factors: Floats, calibration: Calibration
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """By itself: a queue's stations don't depend on what the others do."""
    response, length = [], []
    for factor in factors:
        (then,) = changes.scaled(replace(load, queues=(queue,)), float(factor)).queues
        time = look_at(then, load, calibration).response_time
        known = time is not None and math.isfinite(time)
        response.append(time if known and time is not None else math.nan)
        length.append(response[-1] * then.published)
    return tuple(response), tuple(length)


def _measured(
    key: Key, points: Mapping[Key, Sequence[Point]] | None, now: Load | None
) -> tuple[tuple[float, float, float], ...]:
    if points is None or now is None:
        return ()
    today = next((q.published for q in now.queues if (q.vhost, q.name) == key), 0.0)
    if today <= 0:
        return ()
    return tuple(
        (point.published / today, time, point.length)
        for point in points.get(key, ())
        if (time := point.response_time) is not None and time > 0
    )


def _band(
    queues: Sequence[QueueLoad],
    load: Load,
    factors: Floats,
    calibration: Calibration,
) -> Band | None:
    """Of many queues every second, third, ... is looked at."""
    if len(queues) < 2:
        return None
    step = -(-len(queues) // MOST_OTHERS)
    every = 4  # a band needs no more than a point in four
    some = np.append(factors[:-1:every], factors[-1])
    found = [_curve(queue, load, some, calibration) for queue in queues[::step]]

    def edges(which: int) -> tuple[tuple[float, float], ...]:
        values = np.array([one[which] for one in found])
        values[~np.isfinite(values)] = math.inf  # it grows
        low, high = np.quantile(values, (0.05, 0.95), axis=0, method="nearest")
        high = np.minimum(high, _HIGH)
        low[~np.isfinite(low)] = math.nan
        both = zip(np.interp(factors, some, low), np.interp(factors, some, high), strict=True)
        return tuple((float(one), float(other)) for one, other in both)

    return Band(len(queues), edges(0), edges(1))
