"""A flow map, drawn: the cut is red, texts stay in their boxes."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from tests.unit.plots.scene import large, small

from warrener.planner.outlook import outlook
from warrener.plots import flow
from warrener.plots.flow_map import FlowMap, flow_map
from warrener.plots.style import RED, WIDTH, style


def drawn(found: FlowMap) -> Figure:
    with style():
        figure = Figure(figsize=(WIDTH, flow.height(found)))
        flow.draw(figure.add_axes((0.01, 0.01, 0.98, 0.9)), found, "Flow")
        FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize("found", [flow_map(outlook(*small())), flow_map(outlook(*large()))])
def test_what_limits_it_is_red_and_thick_and_nothing_else_is(found: FlowMap) -> None:
    figure = drawn(found)
    boxes = figure.findobj(FancyBboxPatch)
    red = [box for box in boxes if to_hex(box.get_edgecolor()).upper() == RED]
    assert len(red) == sum(box.cut for box in found.boxes) > 0
    assert {box.get_linewidth() for box in red} == {2.2}
    assert {box.get_linewidth() for box in boxes if box not in red} == {0.8}
    links = [one for one in figure.findobj(PathPatch) if one.get_linewidth() > 0.6]
    reds = [one for one in links if to_hex(one.get_edgecolor()).upper() == RED]
    assert len(reds) == sum(link.cut for link in found.links)


@pytest.mark.parametrize("found", [flow_map(outlook(*small())), flow_map(outlook(*large()))])
def test_texts_stay_in_their_boxes(found: FlowMap) -> None:
    figure = drawn(found)
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in figure.findobj(FancyBboxPatch)]
    inside = [text.get_window_extent() for text in axes.texts if text.get_zorder() == 4]
    assert len(inside) >= len(boxes)
    for extent in inside:
        assert any(
            box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 <= box.y1
            for box in boxes
        )
