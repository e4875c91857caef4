"""What all sessions add to: where messages and bytes went, how long things took."""

import pytest
from tests.unit.balancer.core.scene import Play, acks, deliver, messages

from warrener.amqp.methods import (
    BasicAck,
    BasicNack,
    ChannelOpenOk,
    ConfirmSelectOk,
    ConnectionOpen,
)
from warrener.balancer.core.tally import (
    LATENCIES,
    SELDOM,
    SOON,
    STRIDES,
    Observations,
    next_stride,
)
from warrener.facts.ids import NodeName
from warrener.facts.telemetry import Direction, Distribution, Locality
from warrener.testing.playbook import OPEN_OK

STRIDE = STRIDES[0]
N1, N2 = NodeName("n1"), NodeName("n2")


def counts(play: Play, node: NodeName) -> dict[tuple[Direction, Locality], int]:
    figures = play.budget.tally(node).figures(node, 0, 0)
    return {(direction, where): count for direction, where, count in figures.messages if count}


def confirms(play: Play) -> Distribution:
    return play.budget.confirms.distribution()


def publisher() -> Play:
    return Play.opened("n1", "n2").knows(("q", "n1")).channel(confirms=True)


def test_what_is_observed_falls_below_the_first_bound_that_is_not_less() -> None:
    seen = Observations((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0, -1.0):
        seen.add(value)
    assert seen.distribution() == Distribution((1.0, 2.0), (3, 1, 1), 12.0)
    assert seen.distribution().number == 5


def test_messages_are_counted_by_node_direction_and_locality() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel().consumer()
    play.client_sends(messages("a", "b", "c"))
    play.ticks(2.5)
    play.node_sends(deliver(1) + deliver(2))
    assert counts(play, N1) == {
        (Direction.IN, Locality.LOCAL): 3,
        (Direction.OUT, Locality.LOCAL): 2,
    }
    assert counts(play, N2) == {}


def test_a_message_whose_queue_another_node_leads_is_remote_and_counts_where_it_went() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1"), ("r", "n2")).channel().consumer()
    play.client_sends(messages("a", "b"))
    play.client_sends(messages("c", queue="r"))
    play.client_sends(messages("nobody knows where", queue="s"))
    assert counts(play, N1) == {
        (Direction.IN, Locality.LOCAL): 2,
        (Direction.IN, Locality.REMOTE): 1,
        (Direction.IN, Locality.UNKNOWN): 1,
    }
    assert counts(play, N2) == {}


def test_bytes_are_those_of_the_links() -> None:
    play = publisher()
    before = play.budget.tally(N1)
    sent, heard = before.bytes_in, before.bytes_out
    data = messages("a", "b")
    play.client_sends(data)
    play.node_sends(acks(1, 2))
    assert before.bytes_in - sent == len(data)
    assert before.bytes_out - heard == len(acks(1, 2))


def test_a_handshake_is_timed_until_the_client_may_speak() -> None:
    play = Play.until(ConnectionOpen, "n1")
    play.after(0.2)
    play.node_sends(OPEN_OK).gives("client: connection.open-ok")
    seen = play.budget.handshakes.distribution()
    assert (seen.number, round(seen.total, 6)) == (1, 0.2)


def test_the_first_confirm_of_a_channel_is_timed_and_then_one_in_so_many() -> None:
    play = publisher()
    play.client_sends(messages("a"))
    play.after(0.02)
    play.node_sends((1, BasicAck(1)))
    assert confirms(play).counts[LATENCIES.index(0.025)] == 1
    for number in range(2, STRIDE + 1):
        play.client_sends(messages("b"))
        play.node_sends((1, BasicAck(number)))
    assert confirms(play).number == 1
    play.client_sends(messages("c"))
    play.after(3.0)
    play.node_sends((1, BasicAck(STRIDE + 1)))
    assert confirms(play).number == 2
    assert confirms(play).counts[LATENCIES.index(5.0)] == 1


@pytest.mark.parametrize(
    ("stride", "seconds", "then"),
    [
        (STRIDE, SOON / 2, 2 * STRIDE),
        (STRIDE, SOON, STRIDE),
        (80, SELDOM, 80),
        (80, 2 * SELDOM, 40),
        (STRIDE, 2 * SELDOM, STRIDE),
        (STRIDES[1], 0.0, STRIDES[1]),
    ],
)
def test_the_stride_follows_the_time_between_samples(
    stride: int, seconds: float, then: int
) -> None:
    assert next_stride(stride, seconds) == then


def test_a_busy_channel_gives_few_samples() -> None:
    """10,000 confirms in a second: the stride doubles until some ten of them are timed."""
    play = publisher()
    for number in range(1, 10_001):
        play.client_sends(messages("a"))
        play.after(0.0001)
        play.node_sends((1, BasicAck(number)))
    assert 5 <= confirms(play).number <= 20


def test_a_confirm_out_of_order_ends_only_its_own_time() -> None:
    play = publisher()
    play.client_sends(messages("a"))
    play.client_sends(messages("b"))
    play.after(0.1)
    play.node_sends((1, BasicAck(2)))
    assert confirms(play).number == 0
    play.after(0.1)
    play.node_sends((1, BasicAck(1)))
    assert round(confirms(play).total, 6) == 0.2


def test_a_run_is_timed_by_its_last_message() -> None:
    play = publisher()
    play.client_sends(messages("a"))
    play.node_sends((1, BasicAck(1)))
    play.client_sends(messages(*"b" * STRIDE))
    play.node_sends((1, BasicAck(STRIDE, multiple=True)))
    assert confirms(play).number == 1
    play.node_sends((1, BasicAck(STRIDE + 1)))
    assert confirms(play).number == 2


def test_a_refusal_is_no_confirm() -> None:
    play = publisher()
    play.client_sends(messages("a"))
    play.node_sends((1, BasicNack(1, requeue=False)))
    play.client_sends(messages("b"))
    play.node_sends((1, BasicAck(2)))
    assert confirms(play).number == 0


def test_a_confirm_that_waited_for_another_node_is_timed_from_the_first_publish() -> None:
    play = publisher()
    play.client_sends(messages("a"))
    play.after(1.0)
    play.lost("n1").gives("connect n2")
    play.knows(("q", "n2")).linked("n2").gives("n2: channel.open/1 confirm.select/1")
    play.after(1.0)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_sends((1, BasicAck(1))).gives("client: basic.ack 1/1")
    assert (confirms(play).number, round(confirms(play).total, 6)) == (1, 2.0)
    assert (play.budget.tally(N2).in_local, play.budget.tally(N1).in_local) == (0, 1)
