"""Draws a flow map: boxes in columns, links as wide as what goes through them, the min-cut red."""

import math
from typing import Final

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from warrener.plots.flow_map import Box, Column, FlowMap, Link, Places, places
from warrener.plots.style import (
    BOX,
    FLOW,
    FONT,
    GREY,
    INK,
    RED,
    RED_LIGHT,
    WIDTH,
    distinct,
    number,
    short,
)

ROW: Final = 0.42
"""Inches from one box to the next below it."""

_BOX_WIDTH: Final = 0.74
_BOX_HEIGHT: Final = 0.80
"""Of a column, and of a row."""

_NAME: Final = 28
"""Letters of a queue's name."""

_WIDEST: Final = 9.0
"""Points, of a link that everything goes through."""

_HEADINGS: Final = {
    Column.PUBLISHERS: "clients",
    Column.BALANCER: "balancer",
    Column.HOST: "hosts",
    Column.NODE: "nodes",
    Column.QUEUE: "queues, at their leaders",
    Column.CONSUMERS: "consumers",
}


def height(found: FlowMap) -> float:
    """Inches that it takes, with its title."""
    return ROW * max(3, found.rows) + 0.85


def draw(axes: Axes, found: FlowMap, title: str) -> None:
    """All of it. ``title`` is followed by what it carries."""
    axes.axis("off")
    axes.set_title(f"{title}{_carries(found)}", loc="left", pad=6)
    if not found.boxes:
        axes.text(0.5, 0.5, "No messages go through.", ha="center", transform=axes.transAxes)
        return
    rows, columns = max(3, found.rows), found.columns
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(rows - 0.4, -1.3)  # downwards; the headings are above row 0
    shift = (rows - found.rows) / 2
    at = {key: (x, y + shift) for key, (x, y) in places(found).items()}
    for x, column in enumerate(columns):
        axes.text(x, -0.85, _HEADINGS[column], ha="center", va="center", color=GREY, fontsize=8)
    total = max(box.flow for box in found.boxes) or 1.0
    for link in sorted(found.links, key=lambda one: one.cut):
        _link(axes, link, at, total)
    queues = [box.title for box in found.column(Column.QUEUE) if not box.many]
    names = distinct(queues, _NAME)
    width = _BOX_WIDTH * 72 * WIDTH / len(columns) - 8
    for box in found.boxes:
        _box(axes, box, at[box.key], names.get(box.title, short(box.title, _NAME)), width)


def _carries(found: FlowMap) -> str:
    parts = []
    if math.isfinite(found.capacity):
        parts.append(f"carries {number(found.capacity)} messages/s in today's proportions")
    if math.isfinite(found.max_flow):
        parts.append(f"{number(found.max_flow)} at most, limited by what is red (min-cut)")
    return "".join(f"{', ' if at else ': '}{part}" for at, part in enumerate(parts))


def _box(axes: Axes, box: Box, at: tuple[float, float], title: str, room: float) -> None:
    """``room``: points that a text may be wide."""
    x, y = at
    width, height_ = _BOX_WIDTH, _BOX_HEIGHT
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height_ / 2),
            width,
            height_,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=RED_LIGHT if box.cut else BOX,
            edgecolor=RED if box.cut else GREY,
            linewidth=2.2 if box.cut else 0.8,
            linestyle="--" if box.many else "-",
            zorder=3,
        )
    )
    two = bool(box.text)
    axes.text(
        x,
        y - (0.17 if two else 0.0),
        title,
        ha="center",
        va="center",
        fontproperties=_fitting(title, 7.5, room, bold=box.cut),
        color=INK,
        zorder=4,
    )
    if two:
        axes.text(
            x,
            y + 0.19,
            box.text,
            ha="center",
            va="center",
            fontproperties=_fitting(box.text, 6.5, room, bold=False),
            color=INK,
            zorder=4,
        )


def _fitting(text: str, size: float, room: float, *, bold: bool) -> FontProperties:
    """A font that leaves a text within its box."""
    font = FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    wide, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    if wide > room:
        font.set_size(size * room / wide)
    return font


def _link(axes: Axes, link: Link, at: Places, total: float) -> None:
    (x0, y0), (x1, y1) = at[link.source], at[link.target]
    x0, x1 = x0 + _BOX_WIDTH / 2, x1 - _BOX_WIDTH / 2
    middle = (x0 + x1) / 2
    path = Path(
        [(x0, y0), (middle, y0), (middle, y1), (x1, y1)],
        [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    wide = 0.7 + (_WIDEST - 0.7) * math.sqrt(min(1.0, max(0.0, link.flow / total)))
    axes.add_patch(
        PathPatch(
            path,
            facecolor="none",
            edgecolor=RED if link.cut else FLOW,
            linewidth=max(wide, 2.0) if link.cut else wide,
            alpha=0.85 if link.cut else 0.6,
            capstyle="butt",
            zorder=2 if link.cut else 1,
        )
    )
