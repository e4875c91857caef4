"""How much a load takes: what is found is enough, and one less isn't."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.planner.scene import NODES, US, calibration

from warrener.models.queueing import mg1, mmc
from warrener.models.terms import Steady, WrongInput
from warrener.models.windows import Stop, window
from warrener.planner import sizing
from warrener.planner.costs import Act, Cost, Limit, QueueType
from warrener.planner.sizing import Profile, Wanted, size


def wanted(**changes: Any) -> Wanted:
    values = {"rate": 40_000.0, "body": 100.0, "profile": Profile.ORDERS, **changes}
    return Wanted(**values)


def test_orders_survive_a_node() -> None:
    found = size(wanted(), calibration())
    assert (found.type, found.replicas) == (QueueType.QUORUM, 3)
    # 40,000 at 70 % of 8,000 each.
    assert found.queues >= math.ceil(40_000 / (0.7 * 8_000)) == 8
    assert found.nodes >= 3
    assert found.busy <= sizing.NODE_BUSY
    assert found.busy_lost <= sizing.LOST_BUSY
    assert found.busy_lost > found.busy


def test_nodes_by_hand() -> None:
    """Every message costs 101 us at its leader and 50 at each of two followers: 201 us of CPU,
    for 40,000 a second 8.04 cores, which are spread evenly; 0.1 a node idle."""
    found = size(wanted(), calibration())
    even = 8.04 / found.nodes / 2 + 0.05
    assert found.busy == pytest.approx(even, rel=0.25)  # queues don't divide evenly
    fewer = 8.04 / (found.nodes - 1) / 2 + 0.05
    lost = (8.04 - 40_000 * 50 * US / (found.nodes - 1)) / (found.nodes - 2) / 2 + 0.05
    assert fewer > sizing.NODE_BUSY or lost > 0.8 * sizing.LOST_BUSY


def test_two_nodes_lost_take_five_replicas() -> None:
    found = size(wanted(rate=1_000, survive=2), calibration())
    assert (found.nodes, found.replicas) == (5, 5)


def test_latency_alone_takes_one_copy() -> None:
    found = size(wanted(rate=1_000, profile=Profile.REALTIME, survive=0), calibration())
    assert (found.type, found.nodes, found.replicas, found.queues) == (QueueType.CLASSIC, 1, 1, 1)
    assert size(wanted(profile=Profile.REALTIME), calibration()).type is QueueType.QUORUM


def test_more_cores_take_fewer_nodes() -> None:
    assert size(wanted(cores=16), calibration()).nodes < size(wanted(cores=2), calibration()).nodes


@pytest.mark.parametrize("p99", [0.1, 0.05])
def test_consumers_keep_to_half_of_the_time(p99: float) -> None:
    found = size(wanted(rate=2_000, p99=p99, service_time=0.005), calibration())
    each = 2_000 / found.queues
    assert found.consumers is not None
    enough = mmc(each, 200, found.consumers)
    fewer = mmc(each, 200, found.consumers - 1)
    assert isinstance(enough, Steady)
    assert enough.percentile(0.99) <= p99 / 2
    assert not isinstance(fewer, Steady) or fewer.percentile(0.99) > p99 / 2
    own = mg1(each, 8_000, 0.0)
    assert isinstance(own, Steady)
    assert found.p99 == pytest.approx(own.percentile(0.99) + enough.percentile(0.99))
    assert found.p99 <= p99


def test_without_a_time_consumers_are_four_fifths_busy() -> None:
    found = size(wanted(rate=1_000, service_time=0.01), calibration())
    each = 1_000 / found.queues
    assert found.consumers == math.ceil(each * 0.01 / 0.8)


def test_a_prefetch_keeps_a_consumer_busy() -> None:
    found = size(wanted(rate=100, service_time=0.002, round_trip=0.01), calibration())
    assert found.prefetch is not None
    stops = [Stop("consumer", 0.002)]
    assert window(stops, found.prefetch, 0.01).throughput >= 0.99 / 0.002
    assert window(stops, found.prefetch - 1, 0.01).throughput < 0.99 / 0.002


@given(st.floats(10, 100_000), st.floats(0.0001, 0.1))
def test_a_window_of_confirms_carries_the_rate(rate: float, round_trip: float) -> None:
    found = size(wanted(rate=rate, round_trip=round_trip, cores=64), calibration())
    each = rate / found.queues
    stops = [Stop("queue", 1 / 8_000)]
    assert window(stops, found.window, round_trip).throughput >= each
    assert found.window * 2 > each * round_trip  # Little's law, and no more than it takes


def test_balancers_by_their_cost() -> None:
    found = size(wanted(), calibration(balancer=Cost(20 * US)))
    assert found.balancers == math.ceil(2 * 40_000 * 20 * US / 0.7)
    assert any("balancer" in note for note in size(wanted(), calibration()).notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rate": 0}, "the rate is 0"),
        ({"rate": -5}, "the rate is -5"),
        ({"body": math.nan}, "the size of bodies is nan"),
        ({"p99": 0}, "the time for 99 of 100 is 0"),
        ({"survive": -1}, "may be lost is -1"),
        ({"service_time": 0}, "a consumer's time is 0"),
        ({"cores": 0}, "the number of cores is 0"),
        ({"profile": Profile.LOGS}, "`warrener plan calibrate --types stream` does"),
        ({"p99": 0.02, "service_time": 0.005}, "however many consumers there are"),
        ({"p99": 0.0001}, "can't be done within 0.0001 s"),
        ({"rate": 1e9}, "take more than 5,000 queues"),
        ({"rate": 1e7}, "take more than 60 nodes of 2 cores"),
    ],
)
def test_what_nothing_answers_is_told_with_its_reason(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        size(wanted(**changes), calibration())


def test_streams_are_read_by_whoever_likes() -> None:
    kinds = calibration(
        costs={
            QueueType.STREAM: {
                Act.PUBLISH: Cost(10 * US), Act.DELIVER: Cost(5 * US), Act.REPLICATE: Cost(8 * US)
            }
        },
        limits={QueueType.STREAM: (Limit(100_000, 100, at_least=True),)},
    )  # fmt: skip
    found = size(wanted(profile=Profile.LOGS, service_time=0.001), kinds)
    assert (found.type, found.consumers, found.prefetch) == (QueueType.STREAM, None, None)
    assert any("at least 100,000 messages/s" in note for note in found.notes)


@given(st.integers(1, 2_000), st.integers(1, 50), st.integers(1, 3_000))
def test_the_least_that_is_enough(threshold: int, least: int, most: int) -> None:
    most = max(least, most)
    found = sizing._least(lambda number: number >= threshold, least, most)
    expected = max(threshold, least)
    assert found == (expected if expected <= most else None)


def test_nodes_are_as_large_as_the_share_of_those_that_were_calibrated() -> None:
    shared = calibration(shares={NODES[0]: 0.5, NODES[1]: 8.0})
    assert shared.node_cores() == 0.5
    assert calibration().node_cores() == 2
    assert calibration(cores={}, hosts={}).node_cores() is None
    assert size(wanted(), shared).nodes > size(wanted(), calibration()).nodes
    assert size(wanted(cores=2), shared).nodes == size(wanted(), calibration()).nodes
