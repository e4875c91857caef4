"""Planned moves step by step, and what becomes of one that is disturbed, as playbooks."""

import pytest
from tests.unit.balancer.core.scene import GOODBYE, Play, acks, deliver, message

from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicNack,
    BasicQos,
    BasicQosOk,
    ChannelClose,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelectOk,
    QueueDeclare,
    QueueDeclareOk,
    TxSelect,
    TxSelectOk,
)
from warrener.balancer.core.carried import RETRY_MOVE, SETTLE_FOR_COMFORT
from warrener.facts.ids import NodeName
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Lookup, LookupKind, QueuePlace
from warrener.facts.reasons import MoveReason, Placement
from warrener.facts.settings import BalancerSettings

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


def place(play: Play, number: int = 1) -> ChannelStatistics:
    return next(channel for channel in play.session.channels() if channel.number == number)


def busy(*nodes: str, settings: BalancerSettings | None = None) -> Play:
    """Channel 1 on n1: prefetch 10, confirms, a consumer of q, which n1 leads."""
    play = Play.opened(*(nodes or ("n1", "n2")), settings=settings).knows(("q", "n1"))
    play.channel(confirms=True)
    play.client_sends((1, BasicQos(0, 10)))
    play.node_answers(BasicQosOk())
    return play.consumer()


def leaving(play: Play) -> Play:
    """n1 is drained; the link to n2 is open, and the consumer's cancel is on its way."""
    return play.move_off("n1").gives("connect n2").joins().gives("link: basic.cancel c/1")


REPLAY = "n2: channel.open/1 confirm.select/1 basic.qos 10/1 basic.consume q c/1"


# -- the order of a move --------------------------------------------------------------------------


def test_a_planned_move_step_by_step() -> None:
    """Deliveries stop, acks and confirms come in, the close is the barrier, the journal is played,
    and only then does the client's next word go on."""
    play = busy()
    play.node_sends(deliver(1, "a"), deliver(2, "b"))
    play.client_sends(message("x"))
    leaving(play)
    play.at("n1").node_sends(deliver(3, "c")).gives('client: basic.deliver c 3 "c"/1')
    play.node_answers(BasicCancelOk("c")).gives()
    play.client_sends(acks(1)).gives("link: basic.ack 1/1")
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")
    play.client_sends(acks(2)).gives("link: basic.ack 2/1")
    play.client_sends((1, BasicAck(3))).gives(f"link: basic.ack 3/1 {GOODBYE}/1")
    play.client_sends(message("y"), (1, QueueDeclare("w"))).gives()
    play.leaves().gives(REPLAY)
    play.at("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk(), BasicQosOk()).gives()
    play.node_answers(BasicConsumeOk("c")).gives('n2: basic.publish q "y"/1')
    play.node_sends(deliver(1, "d")).gives('client: basic.deliver c 4 "d"/1')
    play.client_sends(acks(4)).gives("n2: basic.ack 1/1")
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1", "n2: queue.declare w/1")
    play.node_answers(QueueDeclareOk("w", 0, 0)).gives("client: queue.declare-ok w/1")
    there = place(play)
    assert (there.node, there.why, there.state) == (N2, Placement.DRAINED, "settled")
    assert there.moves == ((MoveReason.DRAIN, 1),)
    play.after(0.5)
    assert "close link" in play.lines, "a node that is left keeps no link"


def test_a_move_waits_for_answers() -> None:
    play = Play.opened("n1", "n2").channel()
    play.client_sends((1, QueueDeclare("w")))
    play.move_off("n1").gives("connect n2")
    play.joins().gives()
    play.at("n1").node_answers(QueueDeclareOk("w", 0, 0)).gives(
        "client: queue.declare-ok w/1", f"link: {GOODBYE}/1"
    )


def test_a_consumer_that_its_client_is_cancelling_is_cancelled_once() -> None:
    play = busy()
    play.client_sends((1, BasicCancel("c"))).gives("link: basic.cancel c/1")
    play.move_off("n1").gives("connect n2")
    play.joins().gives()
    play.at("n1").node_answers(BasicCancelOk("c")).gives(
        "client: basic.cancel-ok c/1", f"link: {GOODBYE}/1"
    )
    play.leaves().gives("n2: channel.open/1 confirm.select/1 basic.qos 10/1")


def test_consumers_begin_again_in_their_order_each_under_its_own_prefetch() -> None:
    play = Play.opened("n1", "n2").channel()
    for prefetch, tag in ((5, "a"), (20, "b"), (20, "c")):
        play.client_sends((1, BasicQos(0, prefetch)))
        play.node_answers(BasicQosOk())
        play.consumer("q", tag)
    play.client_sends((1, BasicQos(0, 7)), (1, BasicQos(0, 100, global_=True)))
    play.node_answers(BasicQosOk(), BasicQosOk())
    play.move_off("n1")
    play.joins()
    play.at("n1").node_answers(*map(BasicCancelOk, "abc"))
    play.leaves().gives(
        "n2: channel.open/1 basic.qos 100 global/1 basic.qos 5/1 basic.consume q a/1 "
        "basic.qos 20/1 basic.consume q b/1 basic.consume q c/1 basic.qos 7/1"
    )


def test_a_transactional_channel_is_one_again() -> None:
    play = Play.opened("n1", "n2").channel()
    play.client_sends((1, TxSelect()))
    play.node_answers(TxSelectOk())
    play.move_off("n1")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").leaves().gives("n2: channel.open/1 tx.select/1")
    play.at("n2").node_answers(ChannelOpenOk(), TxSelectOk()).gives()
    assert place(play).state == "settled"


def test_a_nack_of_the_client_settles_as_an_ack_does() -> None:
    play = busy()
    play.node_sends(deliver(1), deliver(2))
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends((1, BasicNack(2, multiple=True, requeue=True))).gives(
        f"link: basic.nack ..2 requeue/1 {GOODBYE}/1"
    )


def test_every_channel_of_a_drained_node_moves_by_itself() -> None:
    play = Play.opened("n1", "n2").channel().channel(2).channel(3).consumer("q", "c", 2)
    play.node_sends(deliver(1, channel=2))
    play.move_off("n1").gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1 basic.cancel c/2 {GOODBYE}/3")
    play.at("n1").leaves(3).gives("n2: channel.open/3")
    play.at("n2").node_answers(ChannelOpenOk(), channel=3)
    play.client_sends((3, QueueDeclare("w"))).gives("n2: queue.declare w/3")
    play.client_sends((1, QueueDeclare("w"))).gives()


def test_a_channel_may_be_opened_on_a_node_that_is_being_left_and_goes_too() -> None:
    play = Play.opened("n1", "n2").channel()
    play.move_off("n1").gives("connect n2")
    play.client_sends((2, ChannelOpen())).gives("link: channel.open/2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").node_answers(ChannelOpenOk(), channel=2).gives("client: channel.open-ok/2")
    play.ticks(1)
    play.at("n1").leaves(1)
    play.leaves(2)
    play.ticks(1)
    assert [channel.node for channel in play.session.channels()] == [N2, N2]


# -- a leader that changes ------------------------------------------------------------------------


def test_a_channel_follows_its_queues_leader() -> None:
    play = busy()
    play.knows(("q", "n2"))
    play.after(0.5).gives("connect n2")
    play.joins().gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")
    play.leaves().gives(REPLAY)


def test_a_client_that_does_not_settle_keeps_its_channel_where_it_is() -> None:
    """For comfort alone nothing is given out twice."""
    play = busy()
    play.node_sends(deliver(1, "a"))
    play.knows(("q", "n2"))
    play.after(0.5).gives("connect n2")
    play.joins().gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives()
    play.client_sends((1, BasicConsume("q", "d"))).gives()
    play.ticks(SETTLE_FOR_COMFORT + 0.5)
    assert "link: basic.consume q \x01/1" in play.lines
    play.at("n1").node_answers(BasicConsumeOk("\x01")).gives("link: basic.consume q d/1")
    assert place(play).node == N1
    assert play.budget.moves_failed == 1
    play.client_sends(acks(1)).gives("link: basic.ack 1/1")


def test_a_move_that_came_to_nothing_is_tried_again_later() -> None:
    play = busy()
    play.node_sends(deliver(1, "a"))
    play.knows(("q", "n2"))
    play.after(0.5)
    play.joins()
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.ticks(SETTLE_FOR_COMFORT + 0.5)
    play.at("n1").node_answers(BasicConsumeOk("\x01"))
    play.client_sends(acks(1))
    play.ticks(RETRY_MOVE - 1)
    assert "close n2" in play.lines, "nothing uses it"
    assert "connect n2" not in play.lines
    play.ticks(2.5)
    assert "connect n2" in play.lines


# -- drained by force -----------------------------------------------------------------------------


def test_a_drain_takes_a_channel_along_whose_client_does_not_settle() -> None:
    play = busy(settings=BalancerSettings(settle_timeout=3.0))
    play.node_sends(deliver(1, "a"), deliver(2, "b"))
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.ticks(3.5)
    assert f"link: {GOODBYE}/1" in play.lines
    play.client_sends(acks(1)).gives()
    play.at("n1").leaves().gives(REPLAY)
    play.at("n2").node_answers(
        ChannelOpenOk(), ConfirmSelectOk(), BasicQosOk(), BasicConsumeOk("c")
    )
    play.node_sends(deliver(1, "a", redelivered=True), deliver(2, "b", redelivered=True)).gives(
        'client: basic.deliver c 3 again "a"/1 basic.deliver c 4 again "b"/1'
    )
    play.client_sends(acks(2)).gives()
    play.client_sends((1, BasicAck(3, multiple=True))).gives("n2: basic.ack ..1/1")
    assert play.budget.forced == 1


def test_a_transaction_is_never_moved_by_force() -> None:
    play = Play.opened("n1", "n2", settings=BalancerSettings(settle_timeout=3.0)).channel()
    play.client_sends((1, TxSelect()))
    play.node_answers(TxSelectOk())
    play.move_off("n1")
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')
    play.joins().gives()
    play.ticks(10)
    assert place(play).node == N1
    assert play.budget.forced == 0


# -- targets that fail ----------------------------------------------------------------------------


def test_a_target_that_refuses_leaves_a_channel_undisturbed() -> None:
    play = busy()
    play.knows(("q", "n2"))
    play.after(0.5).gives("connect n2")
    play.link_breaks("connection refused").gives()
    play.at("n1").node_sends(deliver(1)).gives('client: basic.deliver c 1 "m"/1')
    assert place(play).state == "settled"


def test_a_target_lost_while_the_channel_drains_has_its_consumers_started_again() -> None:
    play = busy()
    play.node_sends(deliver(1))
    leaving(play)
    play.lost("n2").gives("link: basic.consume q \x01/1")
    play.at("n1").node_answers(BasicCancelOk("c"), BasicConsumeOk("\x01")).gives()
    play.node_sends(deliver(2)).gives('client: basic.deliver c 2 "m"/1')
    assert (place(play).node, place(play).state) == (N1, "settled")


def test_a_target_lost_while_the_channel_leaves_is_replaced() -> None:
    play = busy("n1", "n2", "n3")
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")
    play.lost("n2")
    play.at("n1").leaves()
    assert "connect n3" in play.lines
    play.linked("n3").gives(
        "n3: channel.open/1 confirm.select/1 basic.qos 10/1 basic.consume q c/1"
    )


def test_a_target_lost_while_the_journal_is_played_is_replaced() -> None:
    play = busy("n1", "n2", "n3")
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends(message("x")).gives()
    play.leaves().gives(REPLAY)
    play.lost("n2")
    play.knows(("q", "n1"))
    assert "connect n3" in play.lines
    play.linked("n3")
    play.at("n3").node_answers(
        ChannelOpenOk(), ConfirmSelectOk(), BasicQosOk(), BasicConsumeOk("c")
    )
    assert 'n3: basic.publish q "x"/1' in play.sends_again()


def test_the_old_link_lost_while_the_channel_drains_makes_the_move_a_failover() -> None:
    play = busy()
    play.node_sends(deliver(1))
    play.client_sends(message("x"))
    leaving(play)
    play.lost("n1").gives("n2: channel.open/1 confirm.select/1", "n2: basic.qos 10/1")
    play.client_sends(acks(1)).gives()
    assert place(play).unconfirmed == 1


def test_the_old_link_lost_while_its_close_ok_is_due_is_no_loss() -> None:
    play = busy()
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")
    play.lost("n1")
    assert play.lines[0].startswith("n2: channel.open/1")


def test_a_channel_that_is_bound_by_the_time_its_link_opens_stays() -> None:
    """A move would delete its auto-delete queue."""
    play = Play.opened("n1", "n2").channel()
    play.client_sends((1, QueueDeclare("w", auto_delete=True)))
    play.node_answers(QueueDeclareOk("w", 0, 0))
    play.move_off("n1").gives("connect n2")
    play.at("n1").consumer("w")
    play.linked("n2").gives()
    assert (place(play).state, place(play).why) == ("settled", Placement.TIED)


@pytest.mark.parametrize("parked", [False, True])
def test_a_move_that_finds_its_channel_busy_when_the_link_opens_goes_on_later(
    parked: bool,
) -> None:
    """While the link was on its way, the channel began to wait for something else."""
    play = Play.opened("n1", "n2").knows(("q", "n1"), ("w", "down n3", "classic"))
    play.channel()
    play.client_sends(message("a"))
    play.after(0.5).gives("link: channel.flow/1")
    play.node_answers(ChannelFlowOk(True))
    play.move_off("n1").gives("connect n2")
    if parked:
        play.client_sends(message("b", "w")).gives()
    else:
        play.client_sends((1, BasicConsume("nobody-knows", "c"))).gives(
            "look up queue nobody-knows"
        )
    play.joins().gives()
    if parked:
        play.knows(("q", "n1"), ("w", "n2", "classic"))
        play.ticks(0.5)
    else:
        found = QueuePlace(N1, "quorum")
        play.looked_up(Lookup(LookupKind.QUEUE, "/", "nobody-knows"), found)
        play.at("n1").node_answers(BasicConsumeOk("c"))
    play.ticks(3)
    assert place(play).state != "settled", "it is on its way"


# -- ends of a move -------------------------------------------------------------------------------


def test_a_client_that_closes_its_channel_ends_the_move() -> None:
    play = busy()
    play.node_sends(deliver(1))
    leaving(play)
    play.client_sends((1, ChannelClose(200, "bye"))).gives("link: channel.close 200 bye/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives()
    play.leaves().gives("client: channel.close-ok/1")


def test_a_broker_that_closes_the_channel_while_it_drains_is_heard() -> None:
    play = busy()
    play.node_sends(deliver(1))
    leaving(play)
    error = ChannelClose(406, "PRECONDITION_FAILED - delivery acknowledgement timed out")
    play.at("n1").node_answers(error).gives(
        "link: channel.close-ok/1", f"client: channel.close 406 {error.reply_text}/1"
    )


def test_a_broker_that_closes_the_channel_while_it_leaves_is_answered_and_left() -> None:
    play = busy()
    leaving(play)
    play.at("n1").node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")
    play.node_answers(ChannelClose(404, "NOT_FOUND")).gives("link: channel.close-ok/1")
    play.leaves().gives(REPLAY)


def test_a_number_that_is_closing_on_a_link_is_not_opened_there_before() -> None:
    """channel.open before the old channel's close-ok would be a 504 for the whole link."""
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.lost("n2")
    assert play.lines == []
    play.at("n1").leaves()
    assert play.lines[0].startswith("link: channel.open/1")


def test_a_node_that_comes_back_is_used_again() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel()
    play.move_off("n1")
    play.joins()
    play.at("n1").leaves()
    play.at("n2").node_answers(ChannelOpenOk())
    play.client_sends((1, BasicConsume("q", "c"))).gives("n2: basic.consume q c/1")
    play.node_answers(BasicConsumeOk("c"))
    play.ticks(5)
    assert place(play).node == N2
    play.session.come_back(N1)
    play.ticks(3)
    assert "connect n1" in play.lines
