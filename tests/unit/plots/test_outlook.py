"""The figure of `plan show` and `what-if`: everything can be read, whatever the cluster."""

import math
from dataclasses import replace

import pytest
from matplotlib.figure import Figure
from tests.unit.planner.scene import queue
from tests.unit.plots.scene import (
    curves_of,
    large,
    on_one_host,
    outside,
    overlapping,
    small,
    texts_of,
    view_of,
)

from warrener.planner import changes
from warrener.planner.outlook import outlook
from warrener.plots.curves import chosen, curves, widest
from warrener.plots.flow_map import flow_map
from warrener.plots.outlook import View, figure_of
from warrener.plots.picture import Kind


def said(figure: Figure) -> str:
    return "\n".join(text.get_text() for text, _ in texts_of(figure))


def readable(figure: Figure) -> None:
    texts = texts_of(figure)
    assert overlapping(texts) == []
    assert outside(figure, texts) == []


def what_if(asked: float = 2.0, more: int = 2) -> Figure:
    load, costs = small()
    then = changes.with_nodes(changes.scaled(load, asked), more, same_host=False)
    now, after = outlook(load, costs), outlook(then, costs)
    keys, top = chosen([now, after]), widest([now, after], asked)
    return figure_of(
        View(curves(now, costs, keys, top=top), flow_map(now)),
        View(curves(after, costs, keys, top=top, factor=asked), flow_map(after)),
        asked=asked,
        title="what if",
    )


def test_a_small_cluster() -> None:
    figure = figure_of(view_of(*small()), title="warren: load of the last 5m")
    readable(figure)
    text = said(figure)
    for words in (
        "warren: load of the last 5m",
        "R: response time, from published to acked",
        "R (log scale)",
        "L, messages (log scale)",
        "load, times today's",
        "published, messages/s",
        "consumers of jobs used up, x1.88",
        "today",
        "$x_1$",  # as it is, no mathematics
        "Flow: carries 975 messages/s in today's proportions, 1,050 at most",
        "queues, at their leaders",
    ):
        assert words in text
    assert "after" not in text


def test_nine_nodes_and_two_hundred_queues() -> None:
    figure = figure_of(view_of(*large()), title="warren")
    readable(figure)
    assert "195 other queues (90 % of them)" in said(figure)


def test_sixty_nodes_and_all_on_one_host() -> None:
    made, costs = large(nodes=60, queues=500)
    readable(figure_of(view_of(made, costs), title="warren"))
    made, costs = large(nodes=5, queues=30)
    readable(figure_of(view_of(on_one_host(made), costs), title="warren"))


@pytest.mark.parametrize(("asked", "more"), [(2.0, 2), (1.0, 1), (1.9, 1), (12.0, 3)])
def test_before_and_after(asked: float, more: int) -> None:
    figure = what_if(asked, more)
    readable(figure)
    text = said(figure)
    for words in ("Before: carries", "After: carries", "predicted, after the change"):
        assert words in text
    assert ("asked for" in text) == (asked != 1.0)


def test_kinds() -> None:
    view = view_of(*small())
    response, flow = (
        said(figure_of(view, kind=kind, title="t")) for kind in (Kind.RESPONSE, Kind.FLOW)
    )
    assert "response time" in response
    assert "publishers" not in response
    assert "publishers" in flow
    assert "response time" not in flow


def test_what_cannot_be_drawn_is_said() -> None:
    load, costs = small()
    strange = view_of(replace(load, queues=(queue("strange", 50),)), costs)
    figure = figure_of(strange, title="t")
    readable(figure)
    assert "nothing is known of the consumers of the 1 queue that messages go" in said(figure)
    idle = view_of(replace(load, queues=()), costs)
    figure = figure_of(idle, title="t")
    readable(figure)
    assert "No response times to draw: no messages go through." in said(figure)
    assert "No messages go through." in said(figure)


def test_measured_points_are_within_the_axes() -> None:
    load, costs = small()
    found = curves_of(load, costs)
    line = replace(found.lines[0], measured=((0.8, 0.5, 200.0), (1.0, 0.6, 240.0)) * 5)
    view = View(replace(found, lines=(line, *found.lines[1:])), flow_map(outlook(load, costs)))
    figure = figure_of(view, title="t")
    readable(figure)
    response, length = figure.axes[0], figure.axes[2]
    assert response.get_ylim()[1] > 0.6
    assert length.get_ylim()[1] > 240
    assert "measured (history)" in said(figure)
    assert all(math.isfinite(limit) for limit in (*response.get_ylim(), *length.get_ylim()))
