"""What a dashboard is made of. Values only; who shows them is elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from warrener.telemetry.dashboards.promql import checked


class Look(StrEnum):
    """How a panel shows what it has."""

    GRAPH = "graph"
    BARS = "bars"
    NUMBER = "number"
    STATES = "states"  # over time, a line for each series
    TABLE = "table"


class Colour(StrEnum):
    """What a value says: Grafana's names."""

    GOOD = "green"
    NOTICE = "yellow"
    BAD = "red"
    PLAIN = "blue"
    GREY = "text"


@dataclass(frozen=True, slots=True)
class Query:
    """``legend``: what a series is called, with its labels as ``{{label}}``."""

    expression: str
    legend: str = ""

    def __post_init__(self) -> None:
        checked(self.expression)


@dataclass(frozen=True, slots=True)
class Words:
    """What is shown instead of a number."""

    value: int
    text: str
    colour: Colour


YES_NO: Final = (Words(0, "no", Colour.BAD), Words(1, "yes", Colour.GOOD))
NONE_IS_GOOD: Final = ((None, Colour.GOOD), (1.0, Colour.BAD))
PLAIN: Final = ((None, Colour.PLAIN),)

Steps = tuple[tuple[float | None, Colour], ...]
"""From which value on which colour; the first has no value."""


@dataclass(frozen=True, slots=True)
class Panel:
    """``unit``: Grafana's name for it ("short" for what is counted). ``description``: what it says
    and what to think of it. ``width`` of 24, ``height`` in Grafana's rows of some 30 pixels.

    ``only_when``: why it may have no data in a cluster that is well; empty: it always has some.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    look: Look = Look.GRAPH
    width: int = 12
    height: int = 8
    steps: Steps = PLAIN
    words: tuple[Words, ...] = ()
    stacked: bool = False
    least: float | None = 0.0
    most: float | None = None
    decimals: int | None = None
    label_as_value: bool = False
    only_when: str = ""

    @property
    def thresholds_matter(self) -> bool:
        """There is more than one colour."""
        return len(self.steps) > 1


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading; the heading can be folded."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that is marked on every graph when it happens (an annotation)."""

    name: str
    expression: str
    title: str
    text: str
    tags: str
    colour: str
    shown: bool = True
    only_when: str = ""

    def __post_init__(self) -> None:
        checked(self.expression)


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. ``uid`` is its name for good: links and bookmarks go by it."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    span: str = "now-1h"

    @property
    def panels(self) -> Iterator[Panel]:
        """All of them, in order."""
        for row in self.rows:
            yield from row.panels


def number(
    title: str,
    description: str,
    expression: str,
    *,
    legend: str = "",
    unit: str = "short",
    steps: Steps = PLAIN,
    words: tuple[Words, ...] = (),
    decimals: int | None = None,
    label_as_value: bool = False,
    only_when: str = "",
) -> Panel:
    """A panel with the newest value in large, a sixth of the width."""
    return Panel(
        title,
        description,
        (Query(expression, legend),),
        unit,
        Look.NUMBER,
        width=4,
        height=4,
        steps=steps,
        words=words,
        least=None,
        decimals=decimals,
        label_as_value=label_as_value,
        only_when=only_when,
    )
