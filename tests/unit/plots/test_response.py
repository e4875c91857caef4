"""R and L against load, drawn: what is where."""

import math

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.unit.plots.scene import curves_of, large, small

from warrener.plots import response
from warrener.plots.style import LINES, RED


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def test_lines_are_the_curves(axes: Axes) -> None:
    found = curves_of(*small())
    response.draw(axes, "response", found, None, 1.0)
    drawn = [line for line in axes.lines if len(line.get_xdata()) == len(found.loads)]
    assert [line.get_color() for line in drawn] == list(LINES[:3])
    for line, curve in zip(drawn, found.lines, strict=True):
        assert list(line.get_ydata()) == pytest.approx(list(curve.response), nan_ok=True)
    (limit,) = (line for line in axes.lines if line.get_color() == RED)
    assert limit.get_xdata()[0] == pytest.approx(found.breaks_at)
    low, high = axes.get_ylim()
    now = [curve.response[len(found.loads) // 2] for curve in found.lines]
    assert low < min(now)
    assert max(now) < high


def test_colours_are_told_apart_and_so_are_markers() -> None:
    handles, labels = response.legend_of(curves_of(*large()), None)
    lines = handles[:5]
    assert len({line.get_color() for line in lines}) == 5
    assert len({line.get_marker() for line in lines}) == 5
    assert len(set(labels)) == len(labels)


def test_an_axis_of_nothing_but_curves_without_end_is_finite(axes: Axes) -> None:
    found = curves_of(*large())
    response.draw(axes, "length", found, found, 1.5)
    assert all(math.isfinite(limit) and limit > 0 for limit in axes.get_ylim())
