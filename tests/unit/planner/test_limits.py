"""The network of a cluster: only what something goes through is in it."""

import pytest
from tests.unit.planner.scene import N1, calibration, load, queue

from warrener.models.flow import max_flow
from warrener.planner.costs import QueueType
from warrener.planner.limits import SINK, SOURCE, network
from warrener.planner.load import HostLoad, NodeLoad
from warrener.planner.outlook import outlook
from warrener.planner.resources import reckon


def test_a_node_that_nothing_goes_through_is_no_edge() -> None:
    """One classic queue on a host with three nodes: the load costs two of them nothing at all."""
    one = load(
        queue("jobs", 100, type=QueueType.CLASSIC),
        nodes=tuple(NodeLoad(name, "h") for name in calibration().hosts),
        hosts=(HostLoad("h", 2),),
    )
    edges = network(one, reckon(one, calibration()))
    assert {edge.target for edge in edges if edge.target.startswith("node ")} == {f"node {N1}"}
    flow = max_flow(edges, SOURCE, SINK)
    assert flow.value == pytest.approx(outlook(one, calibration()).capacity)


def test_without_traffic_there_is_no_network() -> None:
    idle = load(queue("jobs", 0))
    assert network(idle, reckon(idle, calibration())) == []
