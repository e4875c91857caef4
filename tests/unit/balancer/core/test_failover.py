"""Nodes that die, at every moment of a channel's life, as playbooks."""

from collections.abc import Callable

import pytest
from tests.unit.balancer.core.scene import (
    GOODBYE,
    Play,
    acks,
    content,
    deliver,
    encode,
    got,
    message,
    messages,
)

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetEmpty,
    BasicNack,
    BasicPublish,
    BasicQos,
    BasicQosOk,
    BasicReject,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionClose,
    ConnectionStartOk,
    Method,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    TxCommit,
    TxSelect,
    TxSelectOk,
)
from warrener.facts.ids import NodeName
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Lookup, LookupKind, QueuePlace
from warrener.facts.reasons import MoveReason, Placement, Unfit
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import START_OK

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")
QUIET = ConnectionStartOk({"product": "old"}, "PLAIN", b"\0guest\0secret", "en_US")
NOTIFIED = ConnectionStartOk(
    {"product": "new", "capabilities": {"consumer_cancel_notify": True}},
    "PLAIN",
    b"\0guest\0secret",
    "en_US",
)


def place(play: Play, number: int = 1) -> ChannelStatistics:
    return next(channel for channel in play.session.channels() if channel.number == number)


def one(*nodes: str, confirms: bool = False, start_ok: ConnectionStartOk = START_OK) -> Play:
    """Channel 1 on n1; nothing is known of queues."""
    play = Play.opened(*(nodes or ("n1", "n2")), start_ok=start_ok)
    return play.channel(confirms=confirms)


def crashed(play: Play) -> Play:
    """n1 dies; the link to n2 opens."""
    return play.lost("n1").gives("connect n2").joins()


def resumed(play: Play) -> Play:
    """n2 has answered everything that brings a consumer back."""
    return play.at("n2").node_answers(ChannelOpenOk(), BasicConsumeOk("c")).gives()


def dead(play: Play) -> None:
    """How the client hears that its node is gone."""
    play.lost("n1", "connection reset by peer")


# -- deliveries ----------------------------------------------------------------------------------


def test_a_consumer_goes_on_elsewhere_under_unbroken_tags() -> None:
    play = one().consumer()
    play.node_sends(deliver(1, "a"), deliver(2, "b"))
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1")
    resumed(play)
    play.node_sends(deliver(1, "a", redelivered=True)).gives(
        'client: basic.deliver c 3 again "a"/1'
    )
    there = place(play)
    assert (there.node, there.why) == (N2, Placement.FAILED_OVER)
    assert there.moves == ((MoveReason.FAILOVER, 1),)


@pytest.mark.parametrize(
    "settling",
    [
        BasicAck(2),
        BasicAck(2, multiple=True),
        BasicNack(2, multiple=True, requeue=True),
        BasicReject(1, requeue=True),
    ],
)
def test_what_the_client_settles_of_the_dead_node_is_swallowed(
    settling: BasicAck | BasicNack | BasicReject,
) -> None:
    play = one().consumer()
    play.node_sends(deliver(1), deliver(2))
    play.lost("n1")
    play.client_sends((1, settling)).gives()
    play.joins()
    play.client_sends((1, settling)).gives()
    resumed(play)
    play.client_sends((1, settling)).gives()


@pytest.mark.parametrize(
    ("settling", "said"),
    [
        (BasicAck(3), "basic.ack 1"),
        (BasicAck(4, multiple=True), "basic.ack ..2"),
        (BasicAck(0, multiple=True), "basic.ack ..0"),
        (BasicNack(4, multiple=True, requeue=False), "basic.nack ..2"),
        (BasicNack(3, multiple=False, requeue=True), "basic.nack 1 requeue"),
        (BasicReject(4, requeue=True), "basic.reject 2 requeue"),
    ],
)
def test_what_the_client_settles_of_the_new_node_has_that_nodes_numbers(
    settling: BasicAck | BasicNack | BasicReject, said: str
) -> None:
    play = one().consumer()
    play.node_sends(deliver(1), deliver(2))
    crashed(play)
    resumed(play)
    play.node_sends(deliver(1), deliver(2)).gives(
        'client: basic.deliver c 3 "m"/1 basic.deliver c 4 "m"/1'
    )
    play.client_sends((1, settling)).gives(f"n2: {said}/1")


def test_runs_of_acks_and_deliveries_are_translated_one_by_one() -> None:
    play = one().consumer()
    play.node_sends(*(deliver(tag) for tag in range(1, 4)))
    crashed(play)
    resumed(play)
    play.node_sends(*(deliver(tag) for tag in range(1, 9)))
    assert play.lines == [
        "client: " + " ".join(f'basic.deliver c {tag} "m"/1' for tag in range(4, 12))
    ]
    play.client_sends(acks(2, 4, 5), (1, BasicAck(7, multiple=True)), acks(3, 8)).gives(
        "n2: basic.ack 1/1 basic.ack 2/1 basic.ack ..4/1 basic.ack 5/1"
    )
    assert place(play).unsettled == 3


def test_tags_run_on_over_several_deaths() -> None:
    play = one("n1", "n2", "n3").consumer()
    play.node_sends(deliver(1))
    crashed(play)
    resumed(play)
    play.node_sends(deliver(1), deliver(2))
    play.lost("n2").gives("connect n3")
    play.joins()
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("c"))
    play.node_sends(deliver(1)).gives('client: basic.deliver c 4 "m"/1')
    play.client_sends(acks(1, 3, 4)).gives("n3: basic.ack 1/1")


def test_the_answer_to_a_get_has_the_clients_number() -> None:
    play = one().consumer()
    play.node_sends(deliver(1))
    crashed(play)
    resumed(play)
    play.client_sends((1, BasicGet("w"))).gives("n2: basic.get w/1")
    play.node_sends(got(1, "a")).gives('client: basic.get-ok 2 "a"/1')
    play.client_sends(acks(2)).gives("n2: basic.ack 1/1")


def test_part_of_a_delivery_is_not_passed_on_and_comes_again() -> None:
    play = one().consumer()
    whole = deliver(1, "x" * 9000)
    play.node_sends(whole[:5000]).gives()
    crashed(play)
    resumed(play)
    play.node_sends(deliver(1, "whole")).gives('client: basic.deliver c 1 "whole"/1')


def test_part_of_an_interleaved_delivery_is_forgotten() -> None:
    play = one().consumer().channel(2)
    play.node_sends((1, BasicDeliver("c", 1, False, "", "q")), (2, BasicQosOk()))
    crashed(play)
    play.at("n2").node_answers(ChannelOpenOk(), channel=2)
    resumed(play)
    play.node_sends(deliver(1, "whole")).gives('client: basic.deliver c 1 "whole"/1')


# -- publishes -----------------------------------------------------------------------------------


def test_unconfirmed_publishes_are_said_again_in_order_and_confirms_keep_their_numbers() -> None:
    play = one(confirms=True)
    play.client_sends(messages("a", "b", "c", "d"))
    play.node_answers(BasicAck(2)).gives("client: basic.ack 2/1")
    crashed(play).gives("n2: channel.open/1 confirm.select/1")
    play.client_sends(message("e")).gives()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1",
        'n2: basic.publish q "c"/1 basic.publish q "d"/1 basic.publish q "e"/1',
    )
    play.node_answers(BasicAck(3, multiple=True)).gives("client: basic.ack ..4/1")
    play.ticks(3)  # a refusal right after a loss might be for want of a leader
    play.node_answers(BasicNack(4)).gives("client: basic.nack 5 requeue/1")
    play.client_sends(message("f")).gives('n2: basic.publish q "f"/1')
    play.node_answers(BasicAck(5)).gives("client: basic.ack 6/1")
    assert place(play).unconfirmed == 0
    assert play.budget.replayed == 3


def test_a_dead_node_confirms_nothing_more() -> None:
    play = one(confirms=True)
    play.client_sends(message("a"))
    dead_link = play.link
    crashed(play)
    said = play.session.link_data(dead_link, encode((1, BasicAck(1))), play.now)
    assert said == []
    assert place(play).unconfirmed == 1


def test_a_second_death_while_the_unconfirmed_is_said_again() -> None:
    play = one("n1", "n2", "n3", confirms=True)
    play.client_sends(messages("a", "b", "c"))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1", 'n2: basic.publish q "b"/1 basic.publish q "c"/1'
    )
    play.node_answers(BasicAck(3)).gives("client: basic.ack 3/1")
    play.lost("n2").gives("connect n3")
    play.joins()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n3: basic.publish q "b"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1")
    play.client_sends(message("d")).gives('n3: basic.publish q "d"/1')
    play.node_answers(BasicAck(2)).gives("client: basic.ack 4/1")


def test_a_publish_refused_right_after_a_death_is_tried_again_on_a_new_channel() -> None:
    """RabbitMQ's refusal for want of a leader sticks to the channel it was given on."""
    play = one(confirms=True)
    play.client_sends(messages("a", "b"))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicNack(1)).gives()
    assert play.wakes == [pytest.approx(0.1)]
    play.after(0.1).gives(f"n2: {GOODBYE}/1")
    play.leaves().gives("n2: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'n2: basic.publish q "b"/1')
    assert place(play).moves == ((MoveReason.FAILOVER, 1),)


def test_a_node_that_dies_while_the_channel_is_opened_anew_is_one_more_failover() -> None:
    play = one("n1", "n2", "n3", confirms=True)
    play.client_sends(message("a"))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk(), BasicNack(1))
    play.after(0.1).gives(f"n2: {GOODBYE}/1")
    play.lost("n2").gives("connect n3")
    play.joins().gives("n3: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n3: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")
    assert place(play).moves == ((MoveReason.FAILOVER, 2),)


def test_a_message_that_had_come_in_part_is_said_as_a_whole() -> None:
    play = one(confirms=True).channel(2)
    body = encode_frame(FRAME_BODY, 1, b"whole")
    header = encode_frame(FRAME_HEADER, 1, b"\0\x3c\0\0" + (5).to_bytes(8) + b"\0\0")
    play.client_sends((1, BasicPublish("", "q")), (2, QueueDeclare("w")), header).gives(
        "link: queue.declare w/2"
    )
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk())
    play.client_sends(body)
    assert 'n2: basic.publish q "whole"/1' in play.sends_again()


# -- requests ------------------------------------------------------------------------------------


def test_requests_without_an_answer_are_said_again_and_answered_once() -> None:
    play = one()
    play.client_sends((1, QueueDeclare("w")), (1, BasicQos(0, 5)))
    play.node_answers(QueueDeclareOk("w", 0, 0)).gives("client: queue.declare-ok w/1")
    crashed(play).gives("n2: channel.open/1 basic.qos 5/1")
    play.node_answers(ChannelOpenOk()).gives()
    play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")


def test_a_channel_whose_opening_was_not_answered_is_opened_and_answered_once() -> None:
    play = Play.opened("n1", "n2")
    play.client_sends((1, ChannelOpen()), (1, ConfirmSelect()))
    crashed(play)
    play.node_answers(ChannelOpenOk())
    said = play.lines
    play.node_answers(ConfirmSelectOk())
    said += play.lines
    assert "".join(said).count("channel.open-ok") == 1


def test_a_channel_closed_by_the_client_is_closed_when_its_node_dies() -> None:
    play = one().consumer()
    play.client_sends((1, ChannelClose(200, "bye")))
    play.lost("n1").gives("client: channel.close-ok/1", "connect n2")
    assert play.session.channels() == ()


def test_a_channel_that_the_broker_closed_stays_closed() -> None:
    play = one()
    play.node_answers(ChannelClose(404, "NOT_FOUND - x"))
    crashed(play).gives()
    play.client_sends((1, ChannelCloseOk())).gives()
    assert play.session.channels() == ()


# -- what can't be carried -----------------------------------------------------------------------


def in_transaction(play: Play) -> None:
    play.client_sends((1, TxSelect()))
    play.node_answers(TxSelectOk())
    play.client_sends(message("a"))


def committing(play: Play) -> None:
    in_transaction(play)
    play.client_sends((1, TxCommit()))


def unproven(play: Play) -> None:
    play.client_sends(messages("a", "b"))


def awaiting_reply(play: Play) -> None:
    play.client_sends((1, BasicConsume("amq.rabbitmq.reply-to", "r", no_ack=True)))
    play.node_answers(BasicConsumeOk("r"), ConfirmSelectOk())
    properties = b"\x02\x00" + b"\x15amq.rabbitmq.reply-to"
    play.client_sends((1, ConfirmSelect()))
    play.node_answers(ConfirmSelectOk())
    play.client_sends(encode((1, BasicPublish("", "rpc"))) + content(1, b"ask", properties))
    play.node_answers(BasicAck(1))


def large(play: Play) -> bytes:
    return encode((1, BasicPublish("", "q"))) + content(1, bytes(1_100_000), part=100_000)


def large_half_sent(play: Play) -> None:
    play.client_sends((1, ConfirmSelect()))
    play.node_answers(ConfirmSelectOk())
    play.client_sends(large(play)[:500_000])


def large_unconfirmed(play: Play) -> None:
    play.client_sends((1, ConfirmSelect()))
    play.node_answers(ConfirmSelectOk())
    play.client_sends(large(play))


def large_half_delivered(play: Play) -> None:
    play.consumer()
    method = encode((1, BasicDeliver("c", 1, False, "", "q")))
    play.node_sends((method + content(1, bytes(1_100_000), part=100_000))[:500_000])


def exclusive(play: Play) -> None:
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.node_answers(QueueDeclareOk("mine", 0, 0))


@pytest.mark.parametrize(
    ("doing", "why"),
    [
        (in_transaction, "a transaction was open"),
        (committing, "a transaction was open"),
        (unproven, "2 messages published without confirms may not have arrived"),
        (awaiting_reply, "a direct reply was due"),
        (large_half_sent, "an unconfirmed message was too large for the journal"),
        (large_unconfirmed, "an unconfirmed message was too large for the journal"),
        (large_half_delivered, "a large message was half delivered"),
        (exclusive, "exclusive queue 'mine' with it"),
    ],
)
def test_what_cannot_be_carried_is_said_with_320(doing: Callable[[Play], None], why: str) -> None:
    play = one()
    doing(play)
    play.lost("n1")
    assert play.lines[-1].startswith("client: connection.close 320 CONNECTION_FORCED - ")
    assert why in play.lines[-1]
    assert play.lines[-1].endswith("connect again")
    assert len(play.lines) == 1


def test_only_the_channels_of_the_dead_node_are_asked_about() -> None:
    """A transaction on another link goes on."""
    play = Play.opened("n1", "n2").knows(("q", "n1"), ("r", "n2")).channel().channel(2)
    play.client_sends((2, BasicConsume("r", "d"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves(2)
    play.at("n2").node_answers(ChannelOpenOk(), channel=2)
    play.node_answers(BasicConsumeOk("d"), channel=2)
    play.client_sends((1, TxSelect()), message("a"))
    play.lost("n2")
    assert not any("connection.close" in line for line in play.lines)


# -- several links -------------------------------------------------------------------------------


def test_channels_of_a_dead_node_join_those_of_the_living_one() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1"), ("r", "n2")).channel().consumer()
    play.channel(2).client_sends((2, BasicConsume("r", "d"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves(2)
    play.at("n2").node_answers(ChannelOpenOk(), channel=2)
    play.node_answers(BasicConsumeOk("d"), channel=2)
    play.at("n2").node_sends(deliver(1, consumer="d", channel=2))
    play.at("n1").node_sends(deliver(1))
    play.lost("n2").gives("link: channel.open/2")
    play.knows(("q", "n1"), ("r", "n1"))
    play.at("n1").node_answers(ChannelOpenOk(), channel=2)
    play.after(0.5)
    assert "link: basic.consume r d/2" in play.lines
    play.node_answers(BasicConsumeOk("d"), channel=2)
    play.node_sends(deliver(1, consumer="d", channel=2), deliver(2)).gives(
        'client: basic.deliver d 2 "m"/2 basic.deliver c 2 "m"/1'
    )
    play.client_sends(acks(1, channel=2), acks(1)).gives("link: basic.ack 1/1")


def test_every_channel_of_a_dead_node_is_carried() -> None:
    play = Play.opened("n1", "n2")
    for number in (1, 2, 3):
        play.channel(number)
    crashed(play).gives("n2: channel.open/1 channel.open/2 channel.open/3")
    assert [node.sessions for node in play.table.statistics()] == [0, 1]


# -- no node at all ------------------------------------------------------------------------------


def test_while_no_node_is_there_the_client_hears_heartbeats_and_is_then_closed() -> None:
    play = Play.opened("n1", settings=BalancerSettings(outage_timeout=30.0)).channel()
    play.lost("n1")
    for _ in range(2):
        play.table.probed(N1, Unfit.REFUSES, "")
    heard = 0
    for _ in range(59):
        play.client_sends(b"\x08\0\0\0\0\0\0\xce")
        play.after(0.5)
        heard += play.lines.count("client: heartbeat")
        assert play.session.is_open
    assert heard == 1, "one every 30 s, as agreed"
    play.after(0.6)
    assert play.lines[-1].startswith(
        "client: connection.close 320 CONNECTION_FORCED - no node could be reached for 30 s"
    )


def test_a_node_that_comes_in_time_takes_the_session() -> None:
    play = one(confirms=True)
    play.client_sends(message("a"))
    for node in (N1, N2):
        for _ in range(2):
            play.table.probed(node, Unfit.REFUSES, "")
    play.lost("n1").gives()
    play.ticks(20)
    assert place(play).why is Placement.WAITING
    for _ in range(2):
        play.table.probed(N2, None)
    play.after(0.5).gives("connect n2")
    play.joins().gives("n2: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')


def test_a_node_that_refuses_the_link_is_not_the_last_word() -> None:
    play = one("n1", "n2", "n3")
    play.lost("n1").gives("connect n2")
    play.link_breaks("connection refused").gives("connect n3")
    play.joins().gives("n3: channel.open/1")


def test_a_channel_may_be_opened_while_there_is_no_node() -> None:
    play = Play.opened("n1", "n2")
    play.lost("n1").gives("connect n2")
    play.client_sends((1, ChannelOpen()), (1, QueueDeclare("w"))).gives()
    play.joins().gives("n2: channel.open/1 queue.declare w/1")
    play.node_answers(ChannelOpenOk()).gives("client: channel.open-ok/1")
    play.node_answers(QueueDeclareOk("w", 0, 0)).gives("client: queue.declare-ok w/1")


# -- consumers whose queue is away ---------------------------------------------------------------

Q = Lookup(LookupKind.QUEUE, "/", "q")


def parked(start_ok: ConnectionStartOk = NOTIFIED) -> Play:
    """The node of classic queue q has died; its consumer waits on n2."""
    play = Play.opened("n1", "n2", start_ok=start_ok).knows(("q", "n1", "classic"))
    play.channel().consumer()
    crashed(play).gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives()
    assert (place(play).parked, play.session.statistics().parked) == (1, 1)
    return play


def test_a_parked_consumer_begins_again_when_its_queue_is_back() -> None:
    play = parked()
    play.knows(("q", "down n1", "classic"))
    play.ticks(5)
    assert place(play).parked == 1
    play.knows(("q", "n2", "classic"))
    play.ticks(0.5)
    assert "n2: basic.consume q c/1" in play.lines
    play.node_answers(BasicConsumeOk("c")).gives()
    assert place(play).parked == 0
    play.node_sends(deliver(1, "a")).gives('client: basic.deliver c 1 "a"/1')


def test_a_consumer_parked_for_too_long_is_cancelled_as_rabbitmq_does() -> None:
    play = parked()
    play.ticks(59)
    assert not any("client: basic.cancel" in line for line in play.lines)
    play.ticks(2)
    assert "client: basic.cancel c/1" in play.lines
    assert place(play).consumers == 0


def test_a_client_without_cancels_gets_a_channel_error_instead() -> None:
    play = parked(QUIET)
    play.ticks(61)
    close = next(line for line in play.lines if line.startswith("client: channel.close"))
    assert close.startswith("client: channel.close 404 NOT_FOUND - consumer 'c' was cancelled: ")
    assert "away for 60 s" in close
    play.client_sends((1, ChannelCloseOk())).gives()


def test_other_consumers_of_the_channel_do_not_wait() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1", "classic"), ("r", "n2"))
    play.channel().consumer().consumer("r", "d")
    crashed(play).gives("n2: channel.open/1", "n2: basic.consume r d/1")
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("d"))
    play.node_sends(deliver(1, consumer="d")).gives('client: basic.deliver d 1 "m"/1')
    assert place(play).parked == 1


def test_a_consumer_whose_restart_is_refused_for_its_queue_waits() -> None:
    play = Play.opened("n1", "n2").channel().consumer().consumer("r", "d")
    crashed(play)
    text = "NOT_FOUND - queue 'q' in vhost '/' is stopped, down or inaccessible"
    play.node_answers(ChannelOpenOk(), ChannelClose(404, text, 60, 20)).gives(
        "n2: channel.close-ok/1", "n2: channel.open/1 basic.consume r d/1"
    )
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("d")).gives()
    assert place(play).parked == 1
    assert place(play).moves == ((MoveReason.FAILOVER, 1),)


def test_the_consumer_that_is_refused_is_the_one_whose_queue_the_broker_names() -> None:
    """Those before it were started and not answered yet: RabbitMQ says no more of them then."""
    play = Play.opened("n1", "n2").channel().consumer().consumer("r", "d").consumer("s", "e")
    crashed(play)
    gone = "NOT_FOUND - queue 'r' in vhost '/' is stopped, down or inaccessible"
    play.node_answers(ChannelOpenOk(), ChannelClose(404, gone, 60, 20)).gives(
        "n2: channel.close-ok/1", "n2: channel.open/1 basic.consume q c/1 basic.consume s e/1"
    )


@pytest.mark.parametrize(
    "late", [BasicConsumeOk("c"), BasicCancelOk("c")], ids=["consume", "cancel"]
)
def test_queues_answer_behind_what_was_asked_meanwhile(late: Method) -> None:
    """The answers to consumes and cancels are the queue's; RabbitMQ's channel gets them later than
    what it answers itself."""
    play = one()
    if isinstance(late, BasicCancelOk):
        play.consumer().client_sends((1, BasicCancel("c")))
    else:
        play.client_sends((1, BasicConsume("q", "c")))
    play.client_sends((1, BasicQos(0, 5)), (1, QueueDeclare("w")))
    play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")
    play.node_answers(QueueDeclareOk("w", 0, 0)).gives("client: queue.declare-ok w/1")
    play.node_answers(late)
    assert place(play).consumers == isinstance(late, BasicConsumeOk)
    crashed(play)
    assert "queue.declare" not in play.sends_again()


def test_a_cancel_waits_for_the_consume_that_the_balancer_says_again() -> None:
    """RabbitMQ's channel crashes otherwise."""
    play = parked()
    play.knows(("q", "n2", "classic"))
    play.ticks(0.5)
    assert "n2: basic.consume q c/1" in play.sends_again()
    play.client_sends((1, BasicCancel("c")), (1, QueueDeclare("w"))).gives()
    play.node_answers(BasicConsumeOk("c")).gives("n2: basic.cancel c/1 queue.declare w/1")
    play.node_answers(QueueDeclareOk("w", 0, 0), BasicCancelOk("c")).gives(
        "client: queue.declare-ok w/1 basic.cancel-ok c/1"
    )
    assert place(play).consumers == 0


def test_a_cancel_waits_for_the_clients_own_consume() -> None:
    play = one().client_sends((1, BasicConsume("q", "c")), (1, BasicCancel("c")))
    play.gives("link: basic.consume q c/1")
    play.node_answers(BasicConsumeOk("c")).gives(
        "client: basic.consume-ok c/1", "link: basic.cancel c/1"
    )


def test_an_answer_that_nobody_asked_for_is_dropped() -> None:
    """RabbitMQ answers a cancel twice when a quorum queue's leader is lost meanwhile."""
    play = one().consumer().consumer("r", "d")
    play.client_sends((1, BasicCancel("c"))).gives("link: basic.cancel c/1")
    play.node_answers(BasicCancelOk("c")).gives("client: basic.cancel-ok c/1")
    play.client_sends((1, BasicCancel("d"))).gives("link: basic.cancel d/1")
    play.node_answers(BasicCancelOk("c")).gives()
    play.node_answers(BasicCancelOk("d")).gives("client: basic.cancel-ok d/1")
    play.client_sends((1, BasicConsume("q", "e")))
    play.node_answers(BasicCancelOk("d"), BasicConsumeOk("c"), QueueDeclareOk("q", 0, 0)).gives()
    play.node_answers(BasicConsumeOk("e")).gives("client: basic.consume-ok e/1")


def test_a_cancel_does_not_wait_for_a_consume_that_wants_no_answer() -> None:
    unanswered = BasicConsume("q", "c", no_wait=True)
    one().client_sends((1, unanswered), (1, BasicCancel("c"))).gives(
        "link: basic.consume q c/1 basic.cancel c/1"
    )


def test_the_client_never_hears_the_balancers_own_answers_in_whatever_order_they_come() -> None:
    """The prefetch was changed behind the consume, so it is said again behind it."""
    play = one().consumer().client_sends((1, BasicQos(0, 5)))
    play.node_answers(BasicQosOk())
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1 basic.qos 5/1")
    play.node_answers(ChannelOpenOk()).gives()
    play.node_answers(BasicQosOk()).gives()
    play.node_answers(BasicConsumeOk("c")).gives()
    assert place(play).state == "settled"


def test_a_consume_has_the_prefetch_that_it_was_said_under() -> None:
    """Also when the answer to the prefetch after it comes first, and the node dies then."""
    play = one("n1", "n2", "n3").client_sends((1, BasicConsume("q", "c")), (1, BasicQos(0, 5)))
    play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")
    crashed(play).gives(
        "n2: channel.open/1 basic.qos 5/1 basic.qos 0/1 basic.consume q c/1 basic.qos 5/1"
    )
    play.node_answers(ChannelOpenOk(), BasicQosOk(), BasicQosOk(), BasicQosOk()).gives()
    play.node_answers(BasicConsumeOk("c")).gives("client: basic.consume-ok c/1")
    play.lost("n2").gives("connect n3").joins()
    play.gives("n3: channel.open/1 basic.consume q c/1 basic.qos 5/1")


def test_a_channel_opened_again_where_it_is_has_not_moved() -> None:
    play = parked()
    play.knows(("q", "n2", "classic"))
    play.ticks(0.5)
    text = "NOT_FOUND - queue 'q' in vhost '/' process is stopped, down or inaccessible"
    play.node_answers(ChannelClose(404, text, 60, 20)).gives(
        "n2: channel.close-ok/1 channel.open/1"
    )
    play.node_answers(ChannelOpenOk()).gives()
    assert (place(play).parked, place(play).state) == (1, "settled")
    assert place(play).moves == ((MoveReason.FAILOVER, 1),)


def test_what_was_published_behind_a_consume_that_is_refused_is_not_lost_silently() -> None:
    """The broker has thrown it away with the channel."""
    play = parked()
    play.client_sends(message("a", "w")).gives('n2: basic.publish w "a"/1')
    play.knows(("q", "n2", "classic"))
    play.ticks(0.5)
    assert "n2: basic.consume q c/1" in play.sends_again()
    text = "NOT_FOUND - queue 'q' in vhost '/' is stopped, down or inaccessible"
    play.client_sends(message("b", "w")).gives('n2: basic.publish w "b"/1')
    play.node_answers(ChannelClose(404, text, 60, 20))
    assert "1 messages published without confirms may not have arrived" in play.lines[-1]


def test_what_was_published_before_a_consume_that_is_refused_has_arrived() -> None:
    play = parked()
    play.client_sends(message("a", "w")).gives('n2: basic.publish w "a"/1')
    play.knows(("q", "n2", "classic"))
    play.ticks(0.5)
    text = "NOT_FOUND - queue 'q' in vhost '/' is stopped, down or inaccessible"
    play.node_answers(ChannelClose(404, text, 60, 20)).gives(
        "n2: channel.close-ok/1 channel.open/1"
    )


def test_an_exclusive_consumer_waits_until_its_dead_connection_is_noticed() -> None:
    play = one().consumer()
    crashed(play)
    text = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"
    play.node_answers(ChannelOpenOk(), ChannelClose(403, text, 60, 20))
    play.gives("n2: channel.close-ok/1", "n2: channel.open/1")
    play.node_answers(ChannelOpenOk())
    play.ticks(1)
    assert "n2: basic.consume q c/1" in play.lines


def test_an_error_of_the_clients_own_consume_is_for_the_client() -> None:
    play = one()
    play.client_sends((1, BasicConsume("nowhere", "c")))
    play.node_answers(ChannelClose(404, "NOT_FOUND - no queue 'nowhere'", 60, 20)).gives(
        "link: channel.close-ok/1", "client: channel.close 404 NOT_FOUND - no queue 'nowhere'/1"
    )


# -- cancelled by the broker ---------------------------------------------------------------------


def cancelled(*, trouble: bool, start_ok: ConnectionStartOk = NOTIFIED) -> Play:
    play = Play.opened("n1", "n2", start_ok=start_ok).knows(("q", "n1")).channel().consumer()
    if trouble:
        for _ in range(2):
            play.table.probed(N2, Unfit.REFUSES, "")
    return play.node_answers(BasicCancel("c", no_wait=True)).gives("look up queue q")


def test_a_cancel_of_a_queue_that_is_gone_is_passed_on() -> None:
    play = cancelled(trouble=False)
    play.looked_up(Q, None).gives("client: basic.cancel c/1")
    assert place(play).consumers == 0


def with_a_queue_about_to_be_deleted() -> Play:
    play = Play.opened("n1", "n2", start_ok=NOTIFIED).knows(("q", "n1")).channel().consumer()
    return play.channel(2).client_sends((2, QueueDelete("q"))).gives("link: queue.delete q/2")


def test_a_cancel_for_a_queue_that_the_client_has_deleted_waits_for_no_look_up() -> None:
    play = with_a_queue_about_to_be_deleted()
    play.node_answers(QueueDeleteOk(0), channel=2).gives("client: queue.delete-ok/2")
    play.node_answers(BasicCancel("c", no_wait=True)).gives("client: basic.cancel c/1")


def test_such_a_cancel_that_comes_before_the_delete_ok_waits_for_that() -> None:
    play = with_a_queue_about_to_be_deleted()
    play.node_answers(BasicCancel("c", no_wait=True)).gives("look up queue q")
    play.node_answers(QueueDeleteOk(0), channel=2).gives(
        "client: basic.cancel c/1 queue.delete-ok/2"
    )
    play.looked_up(Q, None).after(0.2).gives()


def test_a_cancel_for_a_queue_that_was_declared_again_is_looked_into() -> None:
    play = with_a_queue_about_to_be_deleted()
    play.node_answers(QueueDeleteOk(0), channel=2)
    play.client_sends((2, QueueDeclare("q"))).node_answers(QueueDeclareOk("q", 0, 0), channel=2)
    play.node_answers(BasicCancel("c", no_wait=True)).gives("look up queue q")


def test_a_client_without_cancels_hears_nothing_of_it_as_from_rabbitmq() -> None:
    play = cancelled(trouble=False, start_ok=QUIET).looked_up(Q, None).gives()
    assert place(play).consumers == 0
    play.client_sends((1, BasicQos(0, 5))).gives("link: basic.qos 5/1")


def test_a_cancel_of_a_queue_that_is_still_there_is_undone_under_another_tag() -> None:
    """RabbitMQ's channel would crash on the old one; the client hears the one it knows."""
    play = cancelled(trouble=False)
    play.looked_up(Q, QueuePlace(N1, "quorum")).gives("link: basic.consume q \x01/1")
    play.node_answers(BasicConsumeOk("\x01")).gives()
    play.node_sends(deliver(1, "a", "\x01"), deliver(2, "b", "\x01")).gives(
        'client: basic.deliver c 1 "a"/1 basic.deliver c 2 "b"/1'
    )
    play.client_sends((1, BasicCancel("c"))).gives("link: basic.cancel \x01/1")
    play.node_answers(BasicCancelOk("\x01")).gives("client: basic.cancel-ok c/1")
    assert place(play).consumers == 0


def test_a_cancel_of_a_queue_whose_node_is_down_waits_for_it() -> None:
    play = cancelled(trouble=True)
    play.looked_up(Q, QueuePlace(None, "classic", usable=False)).gives()
    assert place(play).parked == 1
    play.ticks(10)
    assert place(play).consumers == 1


def test_a_cancel_that_crosses_the_clients_own_is_no_question() -> None:
    play = Play.opened("n1", start_ok=NOTIFIED).knows(("q", "n1")).channel().consumer()
    play.client_sends((1, BasicCancel("c")))
    play.node_answers(BasicCancel("c", no_wait=True)).gives("client: basic.cancel c/1")
    play.node_answers(BasicCancelOk("c")).gives("client: basic.cancel-ok c/1")


# -- publishes whose queue is away ---------------------------------------------------------------


def waiting() -> Play:
    """The node of classic queue q is down; publishes to it wait."""
    play = Play.opened("n1", "n2").knows(("q", "down n3", "classic")).channel(confirms=True)
    play.client_sends(message("a")).gives()
    assert (place(play).state, place(play).why) == ("parked", Placement.WAITING)
    return play


def test_publishes_to_a_queue_that_is_down_wait_for_it_in_order() -> None:
    play = waiting()
    play.client_sends(message("b"), (1, QueueDeclare("w"))).gives()
    play.ticks(5)
    play.knows(("q", "n1", "classic"))
    play.ticks(0.5)
    said = play.sends_again()
    assert said.index('"a"') < said.index('"b"') < said.index("queue.declare w")


def test_in_a_run_to_several_queues_only_what_comes_before_the_one_that_is_down_goes_on() -> None:
    """Runs go on as a whole, once their shape is known; a broker would drop what can't be taken."""
    play = Play.opened("n1", "n2").knows(("q1", "n1", "classic"), ("q2", "down n3", "classic"))
    play.channel(confirms=True)
    play.client_sends(message("-", "q1") * 8)
    run = "".join(("a1", "b1", "c2", "d1", "e2", "f1"))
    pairs = [(run[at], f"q{run[at + 1]}") for at in range(0, len(run), 2)]
    play.client_sends(b"".join(message(body, queue) for body, queue in pairs)).gives(
        'link: basic.publish q1 "a"/1 basic.publish q1 "b"/1'
    )
    play.client_sends(message("g", "q1")).gives()
    play.node_answers(BasicAck(10, multiple=True)).gives("client: basic.ack ..10/1")
    play.knows(("q1", "n1", "classic"), ("q2", "n1", "classic"))
    play.after(0.2).gives(
        'link: basic.publish q2 "c"/1 basic.publish q1 "d"/1 basic.publish q2 "e"/1 '
        'basic.publish q1 "f"/1 basic.publish q1 "g"/1'
    )
    play.node_answers(BasicAck(15, multiple=True)).gives("client: basic.ack ..15/1")
    assert place(play).journal_bytes == 0


def test_publishes_that_wait_too_long_close_the_channel() -> None:
    play = waiting()
    play.ticks(59)
    assert not any("channel.close" in line for line in play.lines)
    play.ticks(2)
    close = next(line for line in play.lines if line.startswith("client: channel.close"))
    assert "404 NOT_FOUND - queue 'q' has been down for 60 s" in close
    assert place(play).journal_bytes == 0


def test_publishes_that_wait_hold_the_client_at_the_journals_limit() -> None:
    settings = BalancerSettings(journal_limit=1_000)
    play = Play.opened("n1", settings=settings).knows(("q", "down n3", "classic")).channel()
    play.client_sends(message("x" * 2_000)).gives("hold client")


def test_the_close_of_a_parked_channel_is_said_when_its_turn_comes() -> None:
    play = waiting()
    play.client_sends((1, ChannelClose(200, "bye"))).gives()
    play.knows(("q", "n1", "classic"))
    play.ticks(0.5)
    said = play.sends_again()
    assert said.index('"a"') < said.index("channel.close 200 bye")


# -- other deaths --------------------------------------------------------------------------------


def test_a_quorum_queue_without_a_leader_for_too_long_is_a_parked_consumer() -> None:
    """RabbitMQ closes the whole connection with 541 then."""
    play = one().consumer()
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1")
    play.node_answers(ChannelOpenOk())
    close = ConnectionClose(541, "INTERNAL_ERROR - timeout", 60, 20)
    play.node_sends(close)
    assert not any("client:" in line for line in play.lines)
    assert place(play).parked == 1


def test_a_node_that_sends_nonsense_is_a_dead_one() -> None:
    play = one().consumer()
    play.node_sends(b"\x01\x00\x01\x00\x00\x00\x04\xff\xff\xff\xff\xce").gives(
        "abort link", "connect n2"
    )


def test_an_empty_get_after_a_death_is_the_answer_of_the_new_node() -> None:
    play = one()
    play.client_sends((1, BasicGet("q")))
    crashed(play)
    play.node_answers(ChannelOpenOk())
    assert "basic.get q/1" in play.sends_again()
    play.node_answers(BasicGetEmpty()).gives("client: basic.get-empty/1")
    play.client_sends(message("a")).gives('n2: basic.publish q "a"/1')
    play.after(0.5).gives("n2: channel.flow/1")
    play.node_answers(ChannelFlowOk(True)).gives()
