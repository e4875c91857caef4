"""Draws balancing policies beside each other: mean response time with its interval, and the 99th
percentile."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from warrener.plots.style import GREY, INK, LINES, RED, seconds, short, style

_WIDTH: Final = 8.5
_ROW: Final = 0.36
_WIDE: Final = 8.0
"""Largest over smallest value from which the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy. Times in s; ``low`` and ``high``: the 95 % interval of the mean; ``chosen``: the
    one in use; ``note`` in words, as "best"."""

    name: str
    mean: float
    p99: float
    low: float
    high: float
    chosen: bool = False
    note: str = ""


def figure_of(rows: Sequence[PolicyRow], *, title: str) -> Figure:
    """The quickest at the top. ValueError without rows."""
    if not rows:
        raise ValueError("no policies to draw")
    order = sorted(rows, key=lambda row: (row.mean, row.name))
    with style():
        tall = 1.55 + _ROW * len(order)
        figure = Figure(figsize=(_WIDTH, tall))
        axes = figure.add_axes((2.1 / _WIDTH, 0.85 / tall, (_WIDTH - 2.4) / _WIDTH, 1 - 1.4 / tall))
        for at, row in enumerate(order):
            colour = RED if row.chosen else LINES[0]
            axes.plot([row.mean, row.p99], [at, at], color=colour, lw=0.8, alpha=0.5, zorder=2)
            axes.plot(
                [row.low, row.high], [at, at], color=colour, lw=5, alpha=0.35, zorder=3,
                solid_capstyle="butt",
            )  # fmt: skip
            axes.plot(row.mean, at, color=colour, marker="o", ms=6, ls="", zorder=4)
            axes.plot(row.p99, at, color=colour, marker="D", ms=5, mfc="white", ls="", zorder=4)
        values = [value for row in order for value in (row.low, row.mean, row.p99) if value > 0]
        if values and max(values) > _WIDE * min(values):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_yticks(range(len(order)), [_label(row) for row in order])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("response time: ● mean with its 95 % interval, ◇ 99th percentile")
        figure.text(0.15 / _WIDTH, 1 - 0.25 / tall, title, va="center", fontsize=11, weight="bold")
        if any(row.chosen for row in order):
            text = "red: the policy in use"
            figure.text(0.15 / _WIDTH, 0.15 / tall, text, color=GREY, fontsize=7.5)
        for row, label in zip(order, axes.get_yticklabels(), strict=True):
            label.set_color(RED if row.chosen else INK)
            label.set_fontweight("bold" if row.chosen else "normal")
        return figure


def _label(row: PolicyRow) -> str:
    name = short(row.name, 24)
    return f"{name} ({row.note})" if row.note else name
