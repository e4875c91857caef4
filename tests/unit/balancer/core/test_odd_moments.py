"""Moves, losses and closes at moments that nobody plans, as playbooks.

Each was found by the runs of tests/property, which name no cause; here the cause stands alone.
"""

from tests.unit.balancer.core.scene import GOODBYE, Play, acks, deliver, got, message

from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicGet,
    BasicNack,
    BasicQos,
    BasicQosOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    QueueDeclare,
)
from warrener.facts.places import Lookup, LookupKind, QueuePlace

DONE = ChannelClose(200, "done")
AWAY = QueuePlace(None, "classic", usable=False)


def two(*queues: tuple[str, str]) -> Play:
    """A session at home on n1, channel 1 open; with ``queues``, the cluster's view is known."""
    play = Play.opened("n1", "n2")
    return (play.knows(*queues) if queues else play).channel()


def draining(play: Play) -> Play:
    """n1 is drained, and the link to n2 has just opened."""
    play.move_off("n1").gives("connect n2")
    return play.linked("n2")


# -- losses ---------------------------------------------------------------------------------------


def test_a_consume_without_an_answer_is_said_once_after_a_loss() -> None:
    play = two()
    play.client_sends((1, BasicConsume("q", "c", no_wait=True))).gives("link: basic.consume q c/1")
    play.lost("n1").gives("connect n2")
    play.linked("n2").gives("n2: channel.open/1 basic.consume q c/1")


def test_it_keeps_a_prefetch_whose_answer_had_not_come() -> None:
    play = two()
    play.client_sends((1, BasicQos(0, 5)), (1, BasicConsume("q", "c", no_wait=True)))
    play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")
    play.lost("n1")
    play.linked("n2").gives("n2: channel.open/1 basic.qos 5/1 basic.consume q c/1")


def test_a_channel_that_was_being_opened_is_opened_before_anything_else() -> None:
    play = Play.opened("n1", "n2")
    play.client_sends((1, ChannelOpen()), (1, ConfirmSelect()))
    play.lost("n1")
    play.linked("n2").gives("n2: channel.open/1 confirm.select/1 confirm.select/1")


def test_a_refusal_by_a_node_that_is_lost_says_nothing_of_the_next_one() -> None:
    play = Play.opened("n1", "n2", "n3").channel(confirms=True)
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')
    play.lost("n1").gives("connect n2")
    play.linked("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk())
    play.node_answers(BasicNack(1)).gives()  # to be tried again in a moment
    play.lost("n2").gives("connect n3")
    play.linked("n3").node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives(
        'n3: basic.publish q "a"/1'
    )
    play.after(1).gives()  # its answer is still awaited
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


# -- planned moves --------------------------------------------------------------------------------


def test_a_consumer_that_begins_while_its_channel_drains_is_stopped_like_the_others() -> None:
    play = two().consumer("q", "a")
    play.client_sends((1, BasicConsume("q", "b"))).gives("link: basic.consume q b/1")
    draining(play).gives("link: basic.cancel a/1")
    play.at("n1").node_answers(BasicConsumeOk("b")).gives(
        "link: basic.cancel b/1", "client: basic.consume-ok b/1"
    )
    play.node_answers(BasicCancelOk("a")).gives()
    play.node_answers(BasicCancelOk("b")).gives(f"link: {GOODBYE}/1")


def test_a_move_that_comes_to_nothing_keeps_a_prefetch_whose_answer_had_not_come() -> None:
    play = two().consumer()
    play.move_off("n1")
    play.client_sends((1, BasicQos(0, 2))).gives("link: basic.qos 2/1")
    play.linked("n2").gives("link: basic.cancel c/1")
    play.lost("n2").gives("link: basic.qos 0/1 basic.consume q \x01/1 basic.qos 2/1")


def test_a_channel_with_something_unsettled_does_not_wait_for_itself() -> None:
    """Its client may settle only after the answer to what would wait."""
    play = two(("q", "n1"), ("r", "n2"))
    play.client_sends((1, BasicGet("q"))).gives("link: basic.get q/1")
    play.node_sends(got(1))
    play.client_sends((1, BasicConsume("r", "c"))).gives("link: basic.consume r c/1")


def test_after_a_move_that_came_to_nothing_a_consume_stays_where_it_is() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.lost("n2").gives("link: basic.consume q c/1")


def test_a_close_ends_a_drain_instead_of_waiting_for_it() -> None:
    play = two().consumer()
    play.node_sends(deliver(1))
    draining(play).gives("link: basic.cancel c/1")
    play.client_sends(message("a"), (1, DONE)).gives(
        'link: basic.publish q "a"/1 channel.close 200 done/1'
    )
    play.at("n1").node_answers(BasicCancelOk("c"), ChannelCloseOk()).gives(
        "client: channel.close-ok/1"
    )


# -- closes that cross ----------------------------------------------------------------------------


def test_a_close_that_waits_is_answered_when_the_broker_closes_first() -> None:
    play = two(("other", "n1"))
    play.client_sends((1, QueueDeclare("x", True)), message("a"), (1, DONE)).gives(
        "link: queue.declare x/1", "look up queue q"
    )
    play.node_answers(ChannelClose(404, "NOT_FOUND")).gives(
        "link: channel.close-ok/1",
        "client: channel.close 404 NOT_FOUND/1 channel.close-ok/1",
    )
    play.client_sends((1, ChannelCloseOk())).gives()


# -- parked consumers -----------------------------------------------------------------------------


def parked() -> Play:
    """Consumer c of classic queue q, whose node is down."""
    play = two(("q", "n1")).consumer()
    play.node_answers(BasicCancel("c", True))
    return play.looked_up(Lookup(LookupKind.QUEUE, "/", "q"), AWAY).after(0.1)


def test_a_parked_consumer_that_its_client_cancels_is_not_started_again() -> None:
    play = parked()
    play.client_sends((1, BasicCancel("c"))).gives("link: basic.cancel c/1")
    play.knows(("q", "n1")).ticks(3)
    assert "basic.consume" not in play.sends_again()
    play.node_answers(BasicCancelOk("c")).gives("client: basic.cancel-ok c/1")


def test_a_parked_consumer_is_started_once_however_long_the_answer_takes() -> None:
    play = parked()
    play.knows(("q", "n1")).ticks(9)
    assert play.sends_again().count("basic.consume q \x01") == 1


def test_a_parked_consumer_that_begins_while_its_channel_drains_is_stopped() -> None:
    play = parked()
    play.knows(("q", "n1")).ticks(1)
    assert "basic.consume q \x01" in play.sends_again()
    play.move_off("n1")
    play.linked("n2").gives()
    play.at("n1").node_answers(BasicConsumeOk("\x01")).gives("link: basic.cancel \x01/1")
    play.node_answers(BasicCancelOk("\x01")).gives(f"link: {GOODBYE}/1")


def test_channels_that_wait_do_not_wake_each_other_ever_more_often() -> None:
    play = parked()
    for number in (2, 3, 4):
        play.channel(number)
        play.client_sends((number, BasicConsume("q", "c")))
        play.node_answers(BasicConsumeOk("c"), channel=number)
        play.node_answers(BasicCancel("c", True), channel=number)
    for _ in range(20):
        play.after(0.2)
        assert len(play.wakes) <= 1
    play.client_sends(acks(1)).gives("*: basic.ack 1/1")
