"""Flows: against networkx on random networks, and the properties that make a cut a least one."""

import math
import time

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warrener.models.flow import Edge, each_lost, max_flow, without, worths
from warrener.models.terms import WrongInput

places = st.sampled_from("sabcdefgt")
capacities = st.one_of(
    st.integers(0, 50).map(float), st.floats(0.1, 1e6), st.just(math.inf), st.just(0.0)
)


@st.composite
def networks(draw: st.DrawFn) -> list[Edge]:
    drawn = draw(st.lists(st.tuples(places, places, capacities), min_size=1, max_size=30))
    edges = [Edge(*one) for one in drawn if one[0] != one[1]]
    return [*edges, Edge("s", "a", draw(capacities)), Edge("d", "t", draw(capacities))]


def by_networkx(edges: list[Edge]) -> float:
    graph = networkx.DiGraph()
    for edge in edges:
        before = graph.get_edge_data(edge.source, edge.target, {"capacity": 0.0})["capacity"]
        graph.add_edge(edge.source, edge.target, capacity=before + edge.capacity)
    try:
        return float(networkx.maximum_flow_value(graph, "s", "t"))
    except networkx.NetworkXUnbounded:
        return math.inf


@settings(max_examples=150, deadline=None)
@given(networks())
def test_it_is_networkx_and_the_cut_is_as_large(edges: list[Edge]) -> None:
    found = max_flow(edges, "s", "t")
    assert found.value == pytest.approx(by_networkx(edges), rel=1e-6, abs=1e-6)
    if found.is_unlimited:
        return
    assert sum(edge.capacity for edge in found.cut) == pytest.approx(
        found.value, rel=1e-6, abs=1e-6
    )
    cut = [edge._replace(capacity=0.0) if edge in found.cut else edge for edge in edges]
    assert max_flow(cut, "s", "t").value == pytest.approx(0.0, abs=1e-6)
    inside = dict.fromkeys("sabcdefgt", 0.0)
    for edge, flow in zip(edges, found.flows, strict=True):
        assert 0 <= flow <= edge.capacity
        inside[edge.source] -= flow
        inside[edge.target] += flow
    tolerance = 1e-7 * sum(edge.capacity for edge in edges if math.isfinite(edge.capacity)) + 1e-9
    assert inside.pop("t") == pytest.approx(found.value, abs=tolerance)
    assert inside.pop("s") == pytest.approx(-found.value, abs=tolerance)
    assert all(abs(left) <= tolerance for left in inside.values())


@settings(max_examples=100, deadline=None)
@given(networks())
def test_what_an_edge_is_worth_is_what_it_brings(edges: list[Edge]) -> None:
    before = max_flow(edges, "s", "t").value
    if math.isinf(before):
        assert worths(edges, "s", "t") == []
        return
    told = {worth.edge: worth.gain for worth in worths(edges, "s", "t")}
    for at, edge in enumerate(edges):
        if math.isinf(edge.capacity):
            continue
        more = [*edges[:at], edge._replace(capacity=edge.capacity + 1.0), *edges[at + 1 :]]
        brings = max_flow(more, "s", "t").value - before
        gain = told.get(edge, 0.0)
        assert brings == pytest.approx(min(1.0, gain), abs=2e-6 * max(1.0, before))


CLUSTER = [
    Edge("source", "shops", math.inf),
    Edge("shops", "balancer", 40_000.0, "clients"),
    Edge("balancer", "n1", 60_000.0),
    Edge("balancer", "n2", 60_000.0),
    Edge("n1", "orders.eu", 25_000.0),
    Edge("n2", "orders.us", 25_000.0),
    Edge("orders.eu", "billing", 19_400.0, "queue orders.eu"),
    Edge("orders.us", "billing", 19_400.0, "queue orders.us"),
    Edge("billing", "sink", 30_000.0, "consumers of billing"),
]


def test_the_bottleneck_is_named_and_what_it_is_worth() -> None:
    found = max_flow(CLUSTER, "source", "sink")
    assert found.value == pytest.approx(30_000)
    assert [edge.what for edge in found.cut] == ["consumers of billing"]
    (worth,) = worths(CLUSTER, "source", "sink")
    assert (worth.edge.what, worth.gain) == ("consumers of billing", pytest.approx(8_800))
    wide = [e._replace(capacity=90_000.0) if e.target == "sink" else e for e in CLUSTER]
    assert {edge.what for edge in max_flow(wide, "source", "sink").cut} == {
        "queue orders.eu", "queue orders.us",
    }  # fmt: skip
    # Each queue brings the little that its clients have left.
    assert [round(one.gain) for one in worths(wide, "source", "sink")] == [1_200, 1_200]


def test_each_node_lost_in_turn() -> None:
    lost = each_lost(CLUSTER, {"n1": ["n1", "orders.eu"], "n2": ["n2"]}, "source", "sink")
    assert [round(flow.value) for flow in lost.values()] == [19_400, 19_400]
    assert without(CLUSTER, ["n1", "n2"], "source", "sink").value == 0


def test_ten_thousand_queues_on_nine_nodes() -> None:
    """Not timed here (`make validate-models` does): that it is solved, and right."""
    edges = [Edge("source", f"n{node}", 50_000.0) for node in range(9)]
    for node in range(9):
        edges += [Edge(f"n{node}", f"lead{to}", 20_000.0) for to in range(9) if to != node]
        edges.append(Edge(f"n{node}", f"lead{node}", 80_000.0))
    for queue in range(10_000):
        edges.append(Edge(f"lead{queue % 9}", f"q{queue}", 100.0))
        edges.append(Edge(f"q{queue}", "sink", 30.0 + queue % 7))
    began = time.perf_counter()
    found = max_flow(edges, "source", "sink")
    print(f"{len(edges)} edges in {time.perf_counter() - began:.2f} s")
    total = sum(30.0 + queue % 7 for queue in range(10_000))
    assert found.value == pytest.approx(total, rel=1e-6)
    assert len(found.cut) == 10_000


@pytest.mark.parametrize(
    ("edges", "source", "what"),
    [
        ([Edge("s", "t", -1.0)], "s", "the capacity from s to t is -1.0"),
        ([Edge("s", "t", math.nan)], "s", "the capacity from s to t is nan"),
        ([Edge("s", "t", 1.0)], "x", "no edge begins or ends at x"),
        ([Edge("s", "t", 1.0)], "t", "both source and sink"),
    ],
)
def test_what_makes_no_sense_is_told(edges: list[Edge], source: str, what: str) -> None:
    with pytest.raises(WrongInput, match=what):
        max_flow(edges, source, "t")
