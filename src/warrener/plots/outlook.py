"""The figure of `plan show` and `plan what-if`: R and L against load, and the flow map."""

from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from warrener.plots import flow, response
from warrener.plots.curves import Curves
from warrener.plots.flow_map import FlowMap
from warrener.plots.picture import Kind
from warrener.plots.style import WIDTH, style

_LEFT, _RIGHT, _TOP, _BOTTOM = 0.75, 0.25, 0.35, 0.1
_RESPONSE: Final = 3.1
_ABOVE, _BELOW = 0.75, 0.55  # of the drawings of R and L: titles and labels
_GAP: Final = 0.3
_LEGEND: Final = 2.35


@dataclass(frozen=True, slots=True)
class View:
    """What is drawn of one outlook."""

    curves: Curves
    flow: FlowMap


def figure_of(
    now: View, then: View | None = None, *, kind: Kind = Kind.ALL, asked: float = 1.0, title: str
) -> Figure:
    """``then``: after a change, which is about ``asked`` times the load."""
    with style():
        views = [("Flow", now)] if then is None else [("Before", now), ("After", then)]
        maps = views if kind is not Kind.RESPONSE else []
        with_response = kind is not Kind.FLOW
        tall = _TOP + _BOTTOM + (_ABOVE + _RESPONSE + _BELOW) * with_response
        tall += sum(flow.height(view.flow) + _GAP for _, view in maps)
        figure = Figure(figsize=(WIDTH, tall))
        figure.text(
            _LEFT / WIDTH,
            1 - 0.16 / tall,
            title,
            ha="left",
            va="center",
            fontsize=11,
            weight="bold",
        )
        top = tall - _TOP
        if with_response:
            _responses(figure, now.curves, then.curves if then else None, asked, top)
            top -= _ABOVE + _RESPONSE + _BELOW
        for name, view in maps:
            high = flow.height(view.flow)
            axes = _axes(figure, 0.15, top - high, WIDTH - 0.3, high - 0.35)
            flow.draw(axes, view.flow, name)
            top -= high + _GAP
        return figure


def _responses(figure: Figure, now: Curves, then: Curves | None, asked: float, top: float) -> None:
    bottom = top - _ABOVE - _RESPONSE
    if not now.lines and not (then and then.lines):
        response.nothing(_axes(figure, _LEFT, bottom, WIDTH - 2 * _LEFT, _RESPONSE), now)
        return
    wide = (WIDTH - 2 * _LEFT - _LEGEND - _RIGHT) / 2
    whats: tuple[tuple[response.What, float], ...] = (
        ("response", _LEFT),
        ("length", 2 * _LEFT + wide),
    )
    for what, left in whats:
        response.draw(_axes(figure, left, bottom, wide, _RESPONSE), what, now, then, asked)
    handles, labels = response.legend_of(now, then)
    whole = figure.get_figheight()
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=((WIDTH - _LEGEND - 0.1) / WIDTH, (bottom + _RESPONSE + 0.1) / whole),
        fontsize=8,
    )
    if now.unknown:
        text = f"{now.unknown:,} more without a line: nothing is known\nof their consumers"
        figure.text(
            (WIDTH - _LEGEND) / WIDTH, (bottom + 0.1) / whole, text, fontsize=7, va="bottom"
        )


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """By inches."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))
