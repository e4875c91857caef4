"""Counters read twice become messages a second of each queue, and operations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.cluster.leaders.rates import CLASSIC, FOLLOWER, cost, counters, rates
from warrener.facts.leaders import QueueRates

P = "rabbitmq_detailed_"
PUBLISHED = P + "queue_messages_published_total"
DELIVERED = P + "channel_messages_delivered_ack_total"
ACKED = P + "channel_messages_acked_total"
GET = P + "channel_get_total"


def published(queue: str, number: float, channel: str = "<0.1.0>", vhost: str = "/") -> str:
    labels = f'channel="{channel}",queue_vhost="{vhost}",queue="{queue}"'
    return f'{PUBLISHED}{{{labels},exchange_vhost="/",exchange=""}} {number}'


def used(name: str, queue: str, number: float, channel: str = "<0.2.0>") -> str:
    return f'{name}{{channel="{channel}",vhost="/",queue="{queue}"}} {number}'


def text(*lines: str) -> bytes:
    head = (
        f"# TYPE {PUBLISHED} counter",
        f"# HELP {PUBLISHED} Total number of messages published to queues",
        'rabbitmq_build_info{rabbitmq_version="3.10.8"} 1',
    )
    return "\n".join((*head, *lines, "")).encode()


def test_increases_become_rates() -> None:
    before = counters(text(published("q", 100), used(DELIVERED, "q", 50), used(ACKED, "q", 40)))
    after = counters(text(published("q", 300), used(DELIVERED, "q", 250), used(ACKED, "q", 140)))
    assert rates([(before, after, 2.0)]) == {("/", "q"): QueueRates(100.0, 100.0, 50.0)}


def test_channels_and_nodes_add_up_and_each_node_has_its_own_time() -> None:
    one = (counters(text()), counters(text(published("q", 10), published("q", 30, "<0.9.0>"))), 1.0)
    other = (counters(text()), counters(text(published("q", 30))), 2.0)
    assert rates([one, other])["/", "q"].published == 40 + 15


def test_all_ways_out_count_as_deliveries_and_redeliveries_do_not_twice() -> None:
    names = ("channel_get_ack", "channel_get", "channel_messages_delivered_ack")
    lines = [used(f"{P}{name}_total", "q", 1) for name in (*names, "channel_messages_delivered")]
    lines += [used(f"{P}channel_messages_redelivered_total", "q", 7)]
    lines += [used(f"{P}channel_get_empty_total", "q", 7)]
    assert rates([(counters(b""), counters(text(*lines)), 1.0)]) == {
        ("/", "q"): QueueRates(0, 4.0, 0)
    }


def test_a_channel_that_ended_or_began_in_between() -> None:
    before = counters(text(published("q", 1000, "<0.1.0>")))
    after = counters(text(published("q", 30, "<0.2.0>")))
    assert rates([(before, after, 1.0)]) == {("/", "q"): QueueRates(30.0, 0, 0)}


def test_a_number_that_was_given_to_another_channel_is_not_negative() -> None:
    before, after = counters(text(published("q", 1000))), counters(text(published("q", 5)))
    assert rates([(before, after, 1.0)])["/", "q"].published == 5


def test_idle_queues_are_not_in_it() -> None:
    same = counters(text(published("q", 10)))
    assert rates([(same, same, 1.0)]) == {}
    assert rates([(counters(b""), same, 0.0)]) == {}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plain", "plain"),
        (r"a\"b", 'a"b'),
        (r"a\\b", "a\\b"),
        (r"a\nb", "a\nb"),
        ("ü,} {", "ü,} {"),
        ('we"ird\\ {queue}, ü', 'we"ird\\ {queue}, ü'),  # as 3.10.8 writes it
        ('"', '"'),
    ],
)
def test_names_are_read_escaped_or_not(written: str, meant: str) -> None:
    lines = (published(written, 1, vhost=r"v\"h"), used(DELIVERED, written, 1))
    found = rates([({}, counters(text(*lines)), 1.0)])
    assert list(found) == [('v"h', meant), ("/", meant)]


@pytest.mark.parametrize("line", ["x 1", f"{PUBLISHED} 1", f"{PUBLISHED}{{}} 1", f"{P}x{{}} NaN?"])
def test_what_is_not_ours_is_passed_over(line: str) -> None:
    assert rates([({}, counters(text(line, published("q", 2))), 1.0)]) == {
        ("/", "q"): QueueRates(2.0, 0, 0)
    }


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes_are_survived(one: bytes, other: bytes) -> None:
    prefix = b"rabbitmq_detailed_"
    rates([(counters(prefix + one), counters(prefix + other + b"\n" + prefix + one), 1.0)])


def test_what_queues_cost() -> None:
    told = QueueRates(100, 90, 80)
    assert cost("quorum", told) == (270, FOLLOWER * 180)
    assert cost("classic", told) == (CLASSIC * 270, 0)
    assert cost("quorum", QueueRates()) == (0, 0)
