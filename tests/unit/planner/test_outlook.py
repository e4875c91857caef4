"""The whole answer: stations against the models by themselves, the cut against the first part."""

import math
from dataclasses import replace

import pytest
from tests.unit.planner.scene import N1, N2, N3, NODES, calibration, load, queue

from warrener.models.queueing import ggc, mg1, mmc
from warrener.models.terms import Growing, Steady
from warrener.planner import words
from warrener.planner.costs import Cost, QueueType
from warrener.planner.load import HostLoad, NodeLoad
from warrener.planner.outlook import OVERHEAD, outlook
from warrener.planner.resources import PartKind

CLASSIC = QueueType.CLASSIC


def test_consumers_that_ask_for_one_at_a_time_are_servers() -> None:
    one = queue("jobs", 150, consumers=4, prefetch=1, service_time=0.02)
    found = outlook(load(one), calibration()).queues[0]
    own, taken = mg1(150, 8_000, 0.0), mmc(150, 50, 4)
    assert isinstance(own, Steady)
    assert isinstance(taken, Steady)
    assert found.response_time == pytest.approx(own.response_time + taken.response_time)
    assert found.length == pytest.approx(150 * (own.response_time + taken.response_time))
    assert found.grows == 0


def test_consumers_with_a_prefetch_have_a_line_each() -> None:
    one = queue("jobs", 150, consumers=4, prefetch=50, service_time=0.02)
    found = outlook(load(one), calibration()).queues[0]
    each = ggc(150 / 4, 50, 1, arrival_scv=1 / 4, service_scv=1.0)
    assert isinstance(each, Steady)
    assert isinstance(found.consumers, Steady)
    assert found.consumers.response_time == pytest.approx(each.response_time)
    pooled = mmc(150, 50, 4)
    assert isinstance(pooled, Steady)
    assert each.response_time > pooled.response_time


def test_measured_beside_predicted() -> None:
    one = queue("jobs", 100, consumers=4, service_time=0.02, ready=1.5, unacked=2.5)
    found = outlook(load(one), calibration()).queues[0]
    assert found.measured_length == 4
    assert found.measured_response_time == pytest.approx(0.04)
    idle = outlook(load(queue("jobs", 0)), calibration()).queues[0]
    assert (idle.measured_response_time, idle.response_time) == (None, None)


def test_consumers_that_do_not_keep_up_are_an_answer() -> None:
    one = queue("jobs", 540, consumers=4, service_time=0.02)
    found = outlook(load(one), calibration()).queues[0]
    assert isinstance(found.consumers, Growing)
    assert found.grows == pytest.approx(340)
    assert found.response_time == math.inf
    assert found.memory_alarm_in == pytest.approx(2**30 / (340 * (100 + OVERHEAD[one.type])))
    assert words.growth(found) == (
        "grows by 340 messages/s, memory alarm in 40 min; 10 consumers more would keep up"
    )


def test_with_a_prefetch_the_growth_is_that_of_all_consumers() -> None:
    one = queue("jobs", 540, consumers=4, prefetch=10, service_time=0.02)
    found = outlook(load(one), calibration()).queues[0]
    assert found.grows == pytest.approx(340)


def test_a_queue_past_its_own_limit_grows_whoever_takes() -> None:
    one = queue("jobs", 9_000, consumers=1_000, service_time=0.02)
    found = outlook(load(one), calibration()).queues[0]
    assert found.grows == pytest.approx(1_000)
    assert found.response_time == math.inf


def test_a_stream_keeps_what_it_has() -> None:
    one = queue("s", 10, type=QueueType.STREAM, consumers=1, service_time=1.0)
    found = outlook(load(one), calibration()).queues[0]
    assert (found.consumers, found.response_time, found.grows) == (None, None, 0)


def test_what_lies_in_a_stream_is_no_backlog() -> None:
    one = queue("s", 10, type=QueueType.STREAM, consumers=1, acked=10, ready=5_000)
    found = outlook(load(one), calibration()).queues[0]
    assert (found.measured_length, found.measured_response_time) == (None, None)


def test_the_first_thing_that_breaks_and_at_which_load() -> None:
    found = outlook(load(queue("jobs", 4_000), queue("logs", 100, N2)), calibration())
    assert found.reckoned.breaks_at == pytest.approx(2)
    assert found.capacity == pytest.approx(8_200)
    part = found.reckoned.first
    assert part is not None
    assert words.named(part) == "queue jobs, whose own limit is 8,000 messages/s"
    assert words.remedy(part, found.load) == "split it in two: one queue is one process"


def test_the_flow_fills_every_queue_on_its_own() -> None:
    """In proportion, jobs stops everything at twice the load; logs by itself could go on."""
    found = outlook(load(queue("jobs", 4_000), queue("logs", 2_000, N2)), calibration())
    assert found.capacity == pytest.approx(12_000)
    assert found.flow is not None
    assert {(edge.what, edge.target) for edge in found.flow.cut} == {
        (PartKind.QUEUE, "queue jobs"),
        (PartKind.QUEUE, "queue logs"),
    }
    assert found.flow.value == pytest.approx(16_000)
    assert {worth.edge.target for worth in found.worths} == {"queue jobs", "queue logs"}


def test_what_one_limit_is_worth() -> None:
    one = queue("jobs", 100, consumers=4, service_time=0.02)
    found = outlook(load(one), calibration())
    assert found.flow is not None
    assert found.flow.value == pytest.approx(200)
    assert [(worth.edge.what, worth.edge.source) for worth in found.worths] == [
        (PartKind.CONSUMERS, "queue jobs")
    ]
    assert found.worths[0].gain == pytest.approx(7_800)  # until the queue's own limit


def test_without_traffic_there_is_no_flow() -> None:
    found = outlook(load(queue("jobs", 0)), calibration())
    assert (found.flow, found.worths, found.capacity) == (None, (), math.inf)


def test_a_shared_host_limits_all_that_is_on_it() -> None:
    one = load(
        *[queue(f"q{number}", 1_000, node) for number, node in enumerate(NODES)],
        nodes=tuple(NodeLoad(name, "h1") for name in NODES),
        hosts=(HostLoad("h1", 2),),
        balancer_host="h1",
        through_balancer=6_000,
    )
    found = outlook(one, calibration(balancer=Cost(5e-6)))
    part = found.reckoned.first
    assert part is not None
    assert (part.kind, part.name) == (PartKind.HOST, "h1")
    assert part.by_load == pytest.approx(3 * 0.201 + 0.03)
    assert found.flow is not None
    assert [edge.what for edge in found.flow.cut] == [PartKind.HOST]
    assert found.flow.value == pytest.approx(found.capacity)
    assert words.remedy(part, one) == (
        "more cores, or fewer of those that share it (3 nodes beside the balancer)"
    )


def test_each_node_gone_in_turn() -> None:
    found = outlook(
        load(queue("a", 1_000, N1), queue("b", 1_000, N2), queue("c", 500, N3, type=CLASSIC)),
        calibration(),
    )
    by_node = {loss.node: loss for loss in found.losses}
    assert {name: loss.stopped for name, loss in by_node.items()} == {N1: (), N2: (), N3: ("c",)}
    # Without n2, one follower fewer is fed; a queue's own limit stays what it is.
    assert by_node[N2].breaks_at == pytest.approx(8)


def test_the_last_node_gone_leaves_nothing() -> None:
    one = load(
        queue("c", 500, N1, type=CLASSIC), nodes=(NodeLoad(N1, "h1"),), hosts=(HostLoad("h1", 2),)
    )
    (loss,) = outlook(one, calibration()).losses
    assert (loss.breaks_at, loss.first, loss.stopped) == (0.0, None, ("c",))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (119, "119 s"), (720, "12 min"), (3 * 3600, "3 h"), (5 * 86400, "5 days")],
)
def test_a_time_to_come(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (19_400.4, "19,400 messages/s"),
        (34.25, "34.2 messages/s"),
        (0.5, "0.50 messages/s"),
        (math.inf, "any number of messages/s"),
    ],
)
def test_a_rate(value: float, text: str) -> None:
    assert words.rate(value) == text


def test_consumers_that_are_missing() -> None:
    one = queue("billing", 100, consumers=4, service_time=0.04)
    assert words.consumers_missing(one) == 1
    assert words.consumers_missing(one, 2) == 6
    assert words.consumers_missing(queue("billing", 100)) == 0


def test_nodes_that_lead_nothing_may_share_a_host_with_one_that_does() -> None:
    """One classic queue, three nodes on this machine: the others have nothing to do at all."""
    one = load(queue("logs", 100, N1, type=QueueType.CLASSIC))
    nodes = tuple(replace(node, host="h1") for node in one.nodes)
    found = outlook(replace(one, nodes=nodes), calibration())
    assert found.flow is not None
    assert found.flow.value == pytest.approx(20_000)


def test_what_takes_longest_may_be_left_out() -> None:
    now = load(queue("a", 100, consumers=1, service_time=0.005), queue("b", 100))
    whole = outlook(now, calibration())
    quick = outlook(now, calibration(), losses=False, with_worths=False)
    assert whole.worths
    assert len(whole.losses) == 3
    assert quick == replace(whole, losses=(), worths=())


def test_the_cut_in_words() -> None:
    slow = queue("jobs", 100, consumers=1, service_time=0.009)
    found = outlook(load(slow, through_balancer=200.0), calibration())
    assert found.flow is not None
    assert [words.cut(edge) for edge in found.flow.cut] == ["the consumers of jobs"]
    busy = outlook(load(queue("a", 100), queue("b", 100, N2)), calibration())
    assert busy.flow is not None
    told = {words.cut(edge) for edge in busy.flow.cut}
    assert told <= {
        *(f"the CPU of node n{number}" for number in (1, 2)),
        *(f"the CPU of host h{number}" for number in (1, 2)),
        "queue a",
        "queue b",
    }
