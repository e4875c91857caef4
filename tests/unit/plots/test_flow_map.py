"""Boxes and links: nothing is lost, the cut is the planner's, and there are never too many."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.planner.scene import N1, calibration, load, queue
from tests.unit.plots.scene import large, on_one_host, small

from warrener.planner.costs import QueueType
from warrener.planner.outlook import outlook
from warrener.plots.flow_map import ALL_UP_TO, MOST_NODES, MOST_QUEUES, Column, flow_map, places


def titles(found, column: Column) -> list[str]:
    return [box.title for box in found.column(column)]


def test_a_small_cluster_is_drawn_whole() -> None:
    found = flow_map(outlook(*small()))
    assert found.columns == [
        Column.PUBLISHERS, Column.BALANCER, Column.NODE, Column.QUEUE, Column.CONSUMERS,
    ]  # fmt: skip
    assert titles(found, Column.NODE) == ["n1", "n2", "n3"]
    assert titles(found, Column.QUEUE) == ["jobs", "shop/billing", "$x_1$"]
    assert titles(found, Column.CONSUMERS) == ["3 consumers", "4 consumers", "1 consumer"]
    cut = {box.key for box in found.boxes if box.cut}
    assert cut == {"consumers jobs", "consumers shop/billing", "consumers $x_1$"}
    texts = {box.key: box.text for box in found.boxes}
    assert texts["queue jobs"] == "400/s of 8,000/s"
    assert texts["consumers jobs"] == "400/s of 750/s"
    assert texts["node n1@h1"] == "0.14 of 2 cores"
    assert texts["publishers"] == "520/s"
    assert found.capacity == pytest.approx(520 * 750 / 400)
    assert found.max_flow == pytest.approx(750 + 200 + 100)


def test_hosts_are_drawn_where_nodes_share_them() -> None:
    made, costs = small()
    found = flow_map(outlook(on_one_host(made), costs))
    assert titles(found, Column.HOST) == ["host h1"]
    assert {(link.source, link.target) for link in found.links if "host" in link.target} == {
        ("balancer", "host h1")
    }


def test_a_balancer_that_nothing_passes_is_not_drawn() -> None:
    made, costs = small()
    found = flow_map(outlook(replace(made, through_balancer=0.0), costs))
    assert Column.BALANCER not in found.columns
    assert {link.source for link in found.links if link.target.startswith("node")} == {"publishers"}


def test_a_host_that_is_the_limit_makes_its_node_red() -> None:
    """With one node each, the host has no box of its own."""
    made = load(queue("jobs", 6_000, consumers=1_000, service_time=0.001))
    found = flow_map(outlook(made, calibration(limits={})))
    assert [box.key for box in found.boxes if box.cut] == ["node n1@h1"]
    assert [link.target for link in found.links if link.cut] == ["node n1@h1"]


def test_of_many_queues_the_busiest_have_boxes_and_the_rest_one_for_each_node() -> None:
    made, costs = large()
    found = flow_map(outlook(made, costs))
    queues = found.column(Column.QUEUE)
    assert len(queues) <= MOST_QUEUES + 9
    assert sum(not box.many for box in queues) == MOST_QUEUES
    assert sum(box.flow for box in queues) == pytest.approx(made.published)
    several = [box for box in queues if box.many]
    number = sum(int(box.title.split()[0]) for box in several)
    assert number == 200 - MOST_QUEUES
    cut_many = [box for box in found.column(Column.CONSUMERS) if box.many and box.cut]
    assert all("in the min-cut" in box.text for box in cut_many)


def test_of_many_nodes_too() -> None:
    made, costs = large(nodes=60)
    found = flow_map(outlook(made, costs))
    nodes = found.column(Column.NODE)
    assert len(nodes) == MOST_NODES
    assert nodes[-1].title == "41 other nodes"
    assert sum(box.flow for box in nodes) == pytest.approx(made.published)


def test_where_nothing_goes_through_there_is_nothing() -> None:
    made, costs = small()
    found = flow_map(outlook(replace(made, queues=()), costs))
    assert (found.boxes, found.rows) == ((), 0)
    assert math.isinf(found.capacity)
    assert places(found) == {}


def test_a_queue_without_consumers_says_so() -> None:
    made = load(queue("jobs", 10, N1, type=QueueType.CLASSIC))
    found = flow_map(outlook(made, calibration()))
    assert titles(found, Column.CONSUMERS) == ["no consumers"]


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.integers(3, 25),
    queues=st.integers(1, 120),
    seed=st.integers(0, 1000),
    shared=st.booleans(),
)
def test_every_box_is_reached_and_none_lies_on_another(
    nodes: int, queues: int, seed: int, shared: bool
) -> None:
    made, costs = large(nodes, queues, seed)
    found = flow_map(outlook(on_one_host(made) if shared else made, costs))
    assert len({box.key for box in found.boxes}) == len(found.boxes)
    into: dict[str, float] = defaultdict(float)
    for link in found.links:
        into[link.target] += link.flow
    for box in found.boxes:
        if box.column is not Column.PUBLISHERS:
            assert into[box.key] == pytest.approx(box.flow)
    at = places(found)
    for column in found.columns:
        ys = [at[box.key][1] for box in found.column(column)]
        assert all(-1e-9 <= y <= found.rows - 1 + 1e-9 for y in ys)
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(ys))
    if queues <= ALL_UP_TO:
        assert not any(box.many for box in found.column(Column.QUEUE))
