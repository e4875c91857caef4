"""What is drawn of queues against load: the outlook's own figures."""

import math
from dataclasses import replace

import pytest
from tests.unit.planner.scene import queue
from tests.unit.plots.scene import curves_of, large, small

from warrener.planner import changes
from warrener.planner.costs import QueueType
from warrener.planner.outlook import outlook
from warrener.planner.points import Point
from warrener.plots.curves import MOST_LINES, WIDEST, chosen, curves, widest


def test_a_curve_is_what_the_planner_says_at_each_load() -> None:
    load, costs = small()
    found = curves_of(load, costs)
    for at in (10, 30, 50):
        then = outlook(changes.scaled(load, found.loads[at]), costs)
        for line in found.lines:
            (queue_,) = (q for q in then.queues if q.load.full_name == line.name)
            assert line.response[at] == pytest.approx(queue_.response_time)
            assert line.length[at] == pytest.approx(queue_.length)


def test_a_curve_ends_where_its_queue_grows() -> None:
    load, costs = small()
    found = curves_of(load, costs)
    jobs = found.lines[0]
    assert jobs.name == "jobs"
    assert found.first == "consumers of jobs"
    assert found.breaks_at == pytest.approx(750 / 400)
    for x, response in zip(found.loads, jobs.response, strict=True):
        assert math.isnan(response) == (x >= 750 / 400)
    assert found.loads[-1] == pytest.approx(1.15 * 750 / 400)
    assert found.published == 520


def test_the_busiest_have_lines_and_the_others_a_band() -> None:
    load, costs = large()
    found = curves_of(load, costs)
    assert len(found.lines) == MOST_LINES
    assert found.others is not None
    assert found.others.queues == 195
    for edges in (found.others.response, found.others.length):
        assert len(edges) == len(found.loads)
        for low, high in edges:
            assert math.isnan(low) or 0 <= low <= high
    small_ones = curves_of(*small())
    assert small_ones.others is None


def test_measured_points_are_at_the_load_that_there_was() -> None:
    load, costs = small()
    now = outlook(load, costs)
    points = {("/", "jobs"): [Point(200, 200, 1.0), Point(400, 0.0, 3.0), Point(0.0, 10.0, 0.0)]}
    found = curves(now, costs, chosen([now]), top=2.0, points=points, now=load)
    assert found.lines[0].measured == ((0.5, pytest.approx(0.005), 1.0),)
    assert found.lines[1].measured == ()


def test_after_a_change_loads_are_still_times_todays() -> None:
    """Twice the load: the curve is the same, as far as it has to be in the same place."""
    load, costs = small()
    now, then = outlook(load, costs), outlook(changes.scaled(load, 2), costs)
    keys = chosen([now, then])
    one = curves(now, costs, keys, top=3.0)
    two = curves(then, costs, keys, top=3.0, factor=2.0)
    assert two.published == pytest.approx(one.published)
    assert two.breaks_at == pytest.approx(one.breaks_at)
    for before, after in zip(one.lines, two.lines, strict=True):
        assert after.response == pytest.approx(before.response, nan_ok=True)
        assert after.length == pytest.approx(before.length, nan_ok=True)


def test_queues_of_whose_consumers_nothing_is_known_have_no_curve() -> None:
    load, costs = small()
    strange = queue("strange", 50)
    stream = queue("log", 10, type=QueueType.STREAM, consumers=1, service_time=0.1)
    idle = queue("idle", 0.0)
    found = curves_of(replace(load, queues=(*load.queues, strange, stream, idle)), costs)
    assert found.unknown == 2
    assert len(found.lines) == 3
    nothing = curves_of(replace(load, queues=(strange,)), costs)
    assert (nothing.lines, nothing.others, nothing.unknown) == ((), None, 1)


def test_a_queue_that_is_gone_after_a_change_has_no_line_then() -> None:
    load, costs = small()
    now = outlook(load, costs)
    left, _ = changes.without_node(load, load.nodes[2].name)
    then = curves(outlook(left, costs), costs, chosen([now]), top=2.0)
    assert {line.name for line in then.lines} == {"jobs", "shop/billing"}


def test_the_axis_goes_to_what_is_asked_for_and_no_further_than_makes_sense() -> None:
    load, costs = small()
    now = outlook(load, costs)
    assert widest([now], 4.0) == pytest.approx(5.2)
    assert widest([outlook(changes.scaled(load, 1e-3), costs)]) == WIDEST
    assert widest([outlook(replace(load, queues=(), through_balancer=0.0), costs)]) == 1.5
