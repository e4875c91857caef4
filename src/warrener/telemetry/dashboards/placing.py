"""Where each panel is on Grafana's grid, 24 wide. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from warrener.telemetry.dashboards.board import Panel, Row

WIDTH: Final = 24


@dataclass(frozen=True, slots=True)
class Place:
    """Upper left corner and size; ``number`` is unique in its dashboard."""

    number: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """The place of its heading, and of each of its panels."""

    row: Row
    place: Place
    panels: tuple[tuple[Panel, Place], ...]


def placed(rows: Sequence[Row]) -> list[PlacedRow]:
    """From left to right, then below the highest one of the line."""
    found = []
    number, y = 0, 0
    for row in rows:
        number += 1
        heading = Place(number, 0, y, WIDTH, 1)
        y += 1
        x = line = 0
        panels = []
        for panel in row.panels:
            assert 0 < panel.width <= WIDTH, f"{panel.title}: {panel.width} wide"
            if x + panel.width > WIDTH:
                x, y, line = 0, y + line, 0
            number += 1
            panels.append((panel, Place(number, x, y, panel.width, panel.height)))
            x += panel.width
            line = max(line, panel.height)
        y += line
        found.append(PlacedRow(row, heading, tuple(panels)))
    return found
