"""Routes by key, and which node gets most of a channel's messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.balancer.core.scene import content, encode

from warrener.amqp.methods import BasicPublish
from warrener.balancer.core.traffic import (
    KEYS_KEPT,
    MAJORITY,
    WINDOW,
    Route,
    Traffic,
    key_of,
    names_of,
    same_key,
)
from warrener.facts.ids import NodeName

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")
LEADERS = {"a": N1, "b": N2, "c": N2, "d": N3}


def counted(traffic: Traffic, **messages: int) -> Traffic:
    for queue, number in messages.items():
        traffic.count(Route(1, queue, LEADERS.get(queue), False), number)
    return traffic


def best(traffic: Traffic, at: NodeName | None = N1) -> NodeName | None:
    return traffic.best(at, LEADERS.get)


# -- keys -----------------------------------------------------------------------------------------


@given(st.text(max_size=60), st.text(max_size=60), st.integers(0, 30))
def test_a_key_says_exchange_and_routing_key_wherever_the_frame_lies(
    exchange: str, routing_key: str, before: int
) -> None:
    data = b"x" * before + encode((1, BasicPublish(exchange, routing_key))) + content(1, b"body")
    assert names_of(key_of(data, before)) == (exchange, routing_key)


def test_keys_of_different_splits_of_the_same_letters_differ() -> None:
    one, other = encode((1, BasicPublish("ab", "c"))), encode((1, BasicPublish("a", "bc")))
    assert key_of(one, 0) != key_of(other, 0)


def test_names_that_are_no_text_come_through() -> None:
    data = bytearray(encode((1, BasicPublish("x", "k"))))
    data[data.index(b"k")] = 0xFF
    assert names_of(key_of(bytes(data), 0)) == ("x", "\udcff")


def test_a_frame_that_is_cut_short_is_an_index_error_or_a_short_key() -> None:
    data = encode((1, BasicPublish("xyz", "key")))
    with pytest.raises(IndexError):
        key_of(data[:13], 0)
    with pytest.raises(IndexError):
        key_of(data[:16], 0)
    assert key_of(data[:19], 0) == b"\x03xyz\x03k"


@pytest.mark.parametrize(
    ("keys", "same"), [("q1 q1 q1", True), ("q1", True), ("q1 q1 q2", False), ("q2 q1 q1", False)]
)
def test_a_run_to_one_key_is_told_from_a_run_to_several(keys: str, same: bool) -> None:
    names = keys.split()
    run = b"".join(encode((1, BasicPublish("x", key))) + content(1, b"body") for key in names)
    around = b"q1" * 5
    data = around + run + encode((1, BasicPublish("x", "q1"))) * 3
    assert same_key(data, len(around), len(around) + len(run), len(names)) is same


def test_routes_are_kept_up_to_a_limit() -> None:
    traffic = Traffic()
    for number in range(3 * KEYS_KEPT):
        traffic.keep(b"%d" % number, Route(1, "q", N1, False))
        assert len(traffic.routes) <= KEYS_KEPT
    assert b"%d" % (3 * KEYS_KEPT - 1) in traffic.routes


# -- shares ---------------------------------------------------------------------------------------


def test_without_messages_a_channel_stays() -> None:
    assert best(Traffic()) is N1
    assert Traffic().main_queue() == ""


def test_a_publisher_to_one_queue_goes_to_its_leader() -> None:
    assert best(counted(Traffic(), b=1)) == N2


def test_a_publisher_to_one_queue_without_a_leader_stays() -> None:
    assert best(counted(Traffic(), nobody=5)) is N1


@pytest.mark.parametrize(("a", "b", "node"), [(50, 50, N1), (41, 59, N1), (40, 60, N2), (0, 1, N2)])
def test_a_clear_majority_is_needed(a: int, b: int, node: NodeName) -> None:
    assert MAJORITY == 0.6
    assert best(counted(Traffic(), a=a, b=b)) == node


def test_a_node_is_chosen_for_all_of_its_queues_together() -> None:
    assert best(counted(Traffic(), a=35, b=30, c=35)) == N2


def test_messages_that_lead_nowhere_count_against_every_node() -> None:
    traffic = counted(Traffic(), b=50, a=1)
    traffic.count(Route(1, "", None, False), 49)
    assert best(traffic) is N1


def test_from_either_node_a_half_is_no_reason_to_go() -> None:
    traffic = counted(Traffic(), a=50, b=50)
    assert best(traffic, N1) == N1
    assert best(traffic, N2) == N2


def test_the_past_fades() -> None:
    traffic = counted(Traffic(), a=WINDOW)
    for _ in range(4):
        counted(traffic, b=WINDOW // 2)
    assert best(traffic) == N2
    assert traffic.main_queue() == "b"


def test_a_queue_that_is_long_gone_is_forgotten() -> None:
    traffic = counted(Traffic(), a=1)
    for _ in range(20):
        counted(traffic, b=WINDOW)
    assert best(traffic) == N2
    assert list(traffic._queues) == ["b"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3000)), max_size=30))
def test_the_choice_stays_or_has_the_majority(runs: list[tuple[str, int]]) -> None:
    traffic = Traffic()
    for queue, number in runs:
        counted(traffic, **{queue: number})
    node = best(traffic)
    if node != N1 and len(traffic._queues) > 1:
        share = sum(n for queue, n in traffic._queues.items() if LEADERS[queue] == node)
        assert share >= MAJORITY * traffic._total
