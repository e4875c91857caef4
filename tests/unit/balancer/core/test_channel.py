"""A channel on its link and its first move, as playbooks: who is asked, what waits, is said."""

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
    BasicRecover,
    BasicRecoverOk,
    BasicReject,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelectOk,
    ExchangeDeclare,
    Method,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueuePurge,
    TxCommit,
    TxCommitOk,
    TxSelect,
    TxSelectOk,
)
from warrener.balancer.core.carried import ASK_TIMEOUT
from warrener.balancer.core.commands import SendLink
from warrener.facts.ids import NodeName
from warrener.facts.moves import ChannelStatistics
from warrener.facts.places import Binding, ExchangeRoutes, Lookup, LookupKind, QueuePlace
from warrener.facts.reasons import MoveReason, Placement, Unfit
from warrener.facts.settings import BalancerSettings

N1, N2 = NodeName("n1"), NodeName("n2")


def place(play: Play, number: int = 1) -> ChannelStatistics:
    return next(channel for channel in play.session.channels() if channel.number == number)


def two(*queues: tuple[str, str], confirms: bool = False) -> Play:
    """A session at home on n1 with channel 1; where the queues are is known."""
    return Play.opened("n1", "n2").knows(*queues).channel(confirms=confirms)


# -- locality: the first method that names a queue ------------------------------------------------


def test_the_first_consume_takes_a_channel_to_its_queues_leader() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives("n2: basic.consume q c/1")
    play.node_answers(BasicConsumeOk("c")).gives("client: basic.consume-ok c/1")
    play.node_sends(deliver(1, "a")).gives('client: basic.deliver c 1 "a"/1')
    play.client_sends(acks(1)).gives("n2: basic.ack 1/1")
    there = place(play)
    assert (there.node, there.leader, there.why) == (N2, N2, Placement.LEADER)
    assert there.moves == ((MoveReason.LOCALITY, 1),)


def test_the_first_get_takes_a_channel_to_its_queues_leader() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, BasicGet("q", no_ack=False))).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives("n2: basic.get q/1")
    play.node_sends(got(1, "a")).gives('client: basic.get-ok 1 "a"/1')
    assert place(play).why is Placement.LEADER


def test_the_first_publish_takes_a_channel_to_its_queues_leader_and_keeps_the_order() -> None:
    play = two(("q", "n2"))
    play.client_sends(messages("a", "b")).gives("connect n2")
    play.client_sends(message("c")).gives()
    play.joins().gives(f"link: {GOODBYE}/1")
    play.client_sends(message("d")).gives()
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives(
        "n2: " + " ".join(f'basic.publish q "{body}"/1' for body in "abcd")
    )
    play.client_sends(message("e")).gives('n2: basic.publish q "e"/1')


def test_after_a_move_under_confirms_the_first_publish_is_tried_alone() -> None:
    play = two(("q", "n2"), confirms=True)
    play.client_sends(messages("a", "b")).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").leaves().gives("n2: channel.open/1 confirm.select/1")
    play.at("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives(
        'n2: basic.publish q "a"/1'
    )
    play.client_sends(message("c")).gives()
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1", 'n2: basic.publish q "b"/1 basic.publish q "c"/1'
    )
    play.node_answers(BasicAck(3, multiple=True)).gives("client: basic.ack ..3/1")


def test_a_channel_whose_queue_is_led_at_home_stays_and_says_so() -> None:
    play = two(("q", "n1")).consumer()
    assert place(play).why is Placement.LEADER
    play = two(("q", "n1")).client_sends(message("a")).gives('link: basic.publish q "a"/1')
    assert place(play).why is Placement.LEADER


def test_without_locality_a_channel_stays_where_the_policy_put_it() -> None:
    play = Play.opened("n1", "n2", settings=BalancerSettings(locality=False)).knows(("q", "n2"))
    play.channel().consumer()
    play.client_sends(message("a"), (1, BasicGet("q"))).gives(
        'link: basic.publish q "a"/1 basic.get q/1'
    )
    assert place(play).why is Placement.HOME
    play.ticks(5)
    assert "connect n2" not in play.lines


def test_a_second_channel_uses_the_link_that_the_first_one_opened() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, BasicConsume("q", "c")))
    play.joins()
    play.at("n1").leaves()
    play.channel(2)
    play.at("n1").client_sends((2, BasicConsume("q", "d"))).gives(f"link: {GOODBYE}/2")
    play.at("n1").leaves(2).gives("n2: channel.open/2")


def test_a_leaders_node_that_refuses_a_link_leaves_the_channel_where_it_is() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.link_breaks("connection refused").gives("link: basic.consume q c/1")
    assert place(play).why is Placement.REFUSED
    assert place(play).moves == ()


def test_a_leader_that_is_not_fit_is_not_gone_to() -> None:
    play = two(("q", "n2"))
    for _ in range(2):
        play.table.probed(N2, Unfit.REFUSES, "")
    play.client_sends((1, BasicConsume("q", "c"))).gives("link: basic.consume q c/1")


def test_methods_that_take_no_messages_move_nothing() -> None:
    play = two(("q", "n2"))
    said: list[Method] = [
        QueueDeclare("q"),
        QueuePurge("q"),
        ExchangeDeclare("x", "direct"),
        QueueBind("q", "x", "k"),
        QueueDelete("q"),
    ]
    for method in said:
        play.client_sends((1, method))
        assert len(play.lines) == 1
        assert play.lines[0].startswith(f"link: {method.name()}")


def test_a_pseudo_queue_takes_a_channel_nowhere() -> None:
    play = two(("amq.rabbitmq.reply-to", "n2"))
    play.client_sends((1, BasicConsume("amq.rabbitmq.reply-to", "c", no_ack=True))).gives(
        "link: basic.consume amq.rabbitmq.reply-to c no-ack/1"
    )


# -- look-ups -------------------------------------------------------------------------------------

LOOK_UP = Lookup(LookupKind.QUEUE, "/", "q")


def unknown(*, confirms: bool = False) -> Play:
    """The cluster is known, queue q isn't."""
    return two(confirms=confirms)


def test_a_queue_that_is_not_known_is_looked_up_and_then_gone_to() -> None:
    play = unknown()
    play.client_sends((1, BasicConsume("q", "c"))).gives("look up queue q")
    play.client_sends((1, BasicAck(9)), message("a")).gives("link: basic.ack 9/1")
    play.looked_up(LOOK_UP, QueuePlace(N2, "quorum")).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/1")
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives(
        'n2: basic.consume q c/1 basic.publish q "a"/1'
    )


def test_a_queue_that_is_not_found_is_used_where_the_channel_is() -> None:
    play = unknown()
    play.client_sends((1, BasicConsume("q", "c")))
    play.looked_up(LOOK_UP, None).gives("link: basic.consume q c/1")


def test_an_answer_that_comes_too_late_is_not_waited_for_and_nor_is_the_next() -> None:
    play = unknown()
    play.client_sends(message("a")).gives("look up queue q")
    play.after(ASK_TIMEOUT / 2).gives()
    play.after(ASK_TIMEOUT).gives('link: basic.publish q "a"/1 channel.flow/1')
    play.node_answers(ChannelFlowOk(True))
    play.client_sends((1, BasicConsume("other", "c"))).gives("link: basic.consume other c/1")
    play.channel(2)
    play.client_sends((2, BasicGet("third"))).gives("look up queue third")


def test_a_late_answer_still_brings_the_channel_to_its_queue() -> None:
    play = unknown()
    play.client_sends(message("a"))
    play.after(ASK_TIMEOUT + 0.1).gives('link: basic.publish q "a"/1 channel.flow/1')
    play.node_answers(ChannelFlowOk(True))
    play.looked_up(LOOK_UP, QueuePlace(N2, "quorum")).gives()
    play.ticks(1)
    assert "connect n2" in play.lines


def test_other_channels_do_not_wait_for_a_look_up() -> None:
    play = unknown().channel(2)
    play.client_sends((1, BasicConsume("q", "c"))).gives("look up queue q")
    play.client_sends((2, QueueDeclare("w"))).gives("link: queue.declare w/2")


def test_the_answer_to_another_channels_question_is_not_waited_for_nor_asked_about_again() -> None:
    play = unknown().channel(2)
    play.client_sends((1, BasicConsume("q", "c"))).gives("look up queue q")
    play.client_sends((2, BasicConsume("r", "d"))).gives("look up queue r")
    play.after(ASK_TIMEOUT / 2)
    play.looked_up(LOOK_UP, None).gives("link: basic.consume q c/1")
    play.after(ASK_TIMEOUT / 2).gives("link: basic.consume r d/2")


def test_while_the_view_of_the_cluster_is_away_nothing_is_asked() -> None:
    play = Play.opened("n1", "n2").channel()
    play.client_sends((1, BasicConsume("q", "c"))).gives("link: basic.consume q c/1")


def test_a_queue_declared_a_moment_ago_is_looked_up_once() -> None:
    play = unknown()
    play.client_sends((1, QueueDeclare("q")))
    play.node_answers(QueueDeclareOk("q", 0, 0)).gives("client: queue.declare-ok q/1")
    play.client_sends(message("a")).gives("look up queue q")
    play.looked_up(LOOK_UP, QueuePlace(N1, "quorum")).gives('link: basic.publish q "a"/1')
    play.client_sends(message("b")).gives('link: basic.publish q "b"/1')


# -- exchanges ------------------------------------------------------------------------------------


def to_exchange(body: str, key: str = "k") -> bytes:
    return encode((1, BasicPublish("x", key))) + content(1, body.encode())


EXCHANGE = Lookup(LookupKind.EXCHANGE, "/", "x")


def test_an_exchange_that_leads_to_one_queue_leads_to_its_leader() -> None:
    play = two(("q", "n2"))
    play.client_sends(to_exchange("a")).gives("look up exchange x")
    play.looked_up(EXCHANGE, ExchangeRoutes("direct", (Binding("q", False, "k"),))).gives(
        "connect n2"
    )


@pytest.mark.parametrize(
    "bindings",
    [
        (),
        (Binding("q", False, "k"), Binding("r", False, "k")),
    ],
)
def test_an_exchange_that_leads_to_no_one_queue_leads_nowhere(
    bindings: tuple[Binding, ...],
) -> None:
    play = two(("q", "n2"), ("r", "n2"))
    play.client_sends(to_exchange("a"))
    play.looked_up(EXCHANGE, ExchangeRoutes("direct", bindings)).gives(
        'link: basic.publish x: k "a"/1'
    )


def test_a_binding_that_passes_through_is_followed() -> None:
    play = two(("q", "n2"))
    play.client_sends(to_exchange("a"))
    play.looked_up(EXCHANGE, ExchangeRoutes("direct", ()))
    play.after(1)
    play.client_sends((1, QueueBind("q", "x", "k")))
    play.node_answers(ChannelFlowOk(True), QueueBindOk())
    play.client_sends(to_exchange("b")).gives('link: basic.publish x: k "b"/1')
    assert play.directory.stale_lookups(play.now) == (EXCHANGE,)
    play.looked_up(EXCHANGE, ExchangeRoutes("direct", (Binding("q", False, "k"),)))
    play.client_sends(to_exchange("c")).gives('link: basic.publish x: k "c"/1')
    play.after(0.5)
    assert "connect n2" in play.lines


# -- publishers that spread -----------------------------------------------------------------------


def test_a_publisher_follows_the_majority_of_its_messages_and_not_less() -> None:
    play = two(("q", "n1"), ("r", "n2"))
    play.client_sends(messages(*["m"] * 50))
    play.client_sends(messages(*["m"] * 60, queue="r"))
    play.ticks(3)
    assert "connect n2" not in play.lines, "55 % are no clear majority"
    play.client_sends(messages(*["m"] * 40, queue="r"))
    play.ticks(3)
    assert "connect n2" in play.lines, "67 % are"


def test_a_publisher_that_moved_does_not_go_back_for_a_half() -> None:
    play = two(("q", "n1"), ("r", "n2"))
    play.client_sends(messages(*["m"] * 10))
    play.client_sends(messages(*["m"] * 90, queue="r"))
    play.ticks(3)
    play.linked("n2")
    play.at("n1").node_answers(ChannelFlowOk(True)).leaves()
    play.at("n2").node_answers(ChannelOpenOk())
    assert place(play).node == N2
    play.client_sends(messages(*["m"] * 80))
    play.ticks(3)
    assert place(play).node == N2
    assert place(play).state == "settled"
    assert GOODBYE not in play.sends_again()


def test_messages_are_counted_as_local_or_remote() -> None:
    play = two(("q", "n1"), ("r", "n2")).consumer()
    play.client_sends(messages("a", "b"))
    play.client_sends(message("c", queue="r"))
    play.client_sends(message("nobody knows where", queue="s"))
    play.ticks(0.5)
    play.node_sends(deliver(1), deliver(2))
    there = place(play)
    assert (there.messages_local, there.messages_remote) == (4, 1)
    statistics = play.session.statistics()
    assert (statistics.messages_local, statistics.messages_remote) == (4, 1)


# -- requests and their answers -------------------------------------------------------------------


def test_answers_go_to_the_client_in_the_order_of_its_requests() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, QueueDeclare("q")), (1, BasicQos(0, 10)), (1, BasicGet("q"))).gives(
        "link: queue.declare q/1 basic.qos 10/1 basic.get q/1"
    )
    play.node_answers(QueueDeclareOk("q", 0, 0), BasicQosOk(), BasicGetEmpty()).gives(
        "client: queue.declare-ok q/1 basic.qos-ok/1 basic.get-empty/1"
    )


def test_an_answer_of_our_own_request_is_not_for_the_client() -> None:
    """Publishes without confirms are proven by a channel.flow that changes nothing."""
    play = two(("q", "n1"))
    play.client_sends(message("a"))
    play.after(0.5).gives("link: channel.flow/1")
    play.after(0.5).gives()
    play.node_answers(ChannelFlowOk(True)).gives()
    play.after(0.5).gives()


def test_any_answer_proves_the_publishes_before_its_request() -> None:
    play = two(("q", "n1"))
    play.client_sends(message("a"), (1, QueueDeclare("q")))
    play.node_answers(QueueDeclareOk("q", 1, 0)).gives("client: queue.declare-ok q/1")
    play.after(0.5).gives()


def test_a_request_without_answer_is_done_when_a_later_one_is_answered() -> None:
    play = two(("w", "n1"))
    play.client_sends((1, QueueDeclare("w", no_wait=True)), (1, BasicQos(0, 5)))
    play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")
    play.client_sends((1, BasicConsume("", "c")))
    assert place(play).consumers == 0
    play.node_answers(BasicConsumeOk("c"))
    assert (place(play).consumers, place(play).queue) == (1, "w")


def test_a_consumer_that_the_broker_names_is_known_by_that_name() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, BasicConsume("q", "")))
    play.node_answers(BasicConsumeOk("amq.ctag-x")).gives("client: basic.consume-ok amq.ctag-x/1")
    play.client_sends((1, BasicCancel("amq.ctag-x")))
    play.node_answers(BasicCancelOk("amq.ctag-x")).gives("client: basic.cancel-ok amq.ctag-x/1")
    assert place(play).consumers == 0


def test_recover_gives_everything_back() -> None:
    play = two(("q", "n1")).consumer()
    play.node_sends(deliver(1), deliver(2))
    assert place(play).unsettled == 2
    play.client_sends((1, BasicRecover(True)))
    play.node_answers(BasicRecoverOk()).gives("client: basic.recover-ok/1")
    assert place(play).unsettled == 0


def test_the_client_closes_a_channel_and_may_open_it_again_at_once() -> None:
    play = two(("q", "n1")).consumer()
    play.client_sends((1, ChannelClose(200, "bye")), (1, ChannelOpen())).gives(
        "link: channel.close 200 bye/1"
    )
    play.node_sends(deliver(1, "late")).gives('client: basic.deliver c 1 "late"/1')
    play.node_answers(ChannelCloseOk()).gives("client: channel.close-ok/1", "link: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives("client: channel.open-ok/1")
    assert place(play).consumers == 0


def test_a_brokers_channel_error_is_answered_here_and_passed_on() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, QueueDeclare("w", passive=True)))
    play.node_answers(ChannelClose(404, "NOT_FOUND - no queue 'w'", 50, 10)).gives(
        "link: channel.close-ok/1", "client: channel.close 404 NOT_FOUND - no queue 'w'/1"
    )
    play.client_sends(message("late"), (1, BasicAck(1))).gives()
    play.client_sends((1, ChannelCloseOk())).gives()
    play.channel()


def test_crossing_channel_closes_are_each_answered_once() -> None:
    """A second close of a channel would be a 504 for the whole connection."""
    play = two(("q", "n1"))
    play.client_sends((1, ChannelClose(200, "bye"))).gives("link: channel.close 200 bye/1")
    play.node_answers(ChannelClose(406, "PRECONDITION_FAILED - x")).gives(
        "link: channel.close-ok/1",
        "client: channel.close 406 PRECONDITION_FAILED - x/1 channel.close-ok/1",
    )
    play.node_answers(ChannelCloseOk()).gives()
    play.client_sends((1, ChannelCloseOk())).gives()
    play.channel()


def test_a_client_may_open_the_channel_anew_once_its_own_close_is_answered() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, ChannelClose(200, "bye")))
    play.node_answers(ChannelClose(406, "PRECONDITION_FAILED - x"), ChannelCloseOk())
    play.channel()


def test_crossing_channel_closes_seen_by_the_client_first_are_each_answered_once() -> None:
    play = two(("q", "n1"))
    play.node_answers(ChannelClose(406, "PRECONDITION_FAILED - x")).gives(
        "link: channel.close-ok/1", "client: channel.close 406 PRECONDITION_FAILED - x/1"
    )
    play.client_sends((1, ChannelClose(200, "bye"))).gives("client: channel.close-ok/1")
    play.client_sends((1, ChannelCloseOk())).gives()
    play.channel()


# -- queues by name, or by none -------------------------------------------------------------------


def moved_after_declare(declared: str, answered: str) -> Play:
    """Channel 1 declared a queue on n1, and was then taken to n2 by a consumer of q."""
    play = two(("q", "n2"))
    play.client_sends((1, QueueDeclare(declared)))
    play.node_answers(QueueDeclareOk(answered, 0, 0))
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves()
    play.at("n2").node_answers(ChannelOpenOk())
    return play.node_answers(BasicConsumeOk("c"))


@pytest.mark.parametrize(("declared", "answered"), [("", "amq.gen-1"), ("w", "w")])
def test_an_empty_queue_name_is_written_out_after_a_move(declared: str, answered: str) -> None:
    """The new channel has declared nothing, so the broker there wouldn't know what is meant."""
    play = moved_after_declare(declared, answered)
    play.client_sends((1, QueuePurge(""))).gives(f"n2: queue.purge {answered}/1")
    play.client_sends((1, BasicGet("")))
    assert play.lines == [f"n2: basic.get {answered}/1"]
    sent = play.client_sends((1, QueueBind("", "x", ""))).sent_to(SendLink)
    assert sent == encode((1, QueueBind(answered, "x", answered)))
    play.client_sends((1, QueueDeclare(""))).gives("n2: queue.declare /1")
    play.client_sends((1, QueueDeclare("", passive=True)))
    play.gives(f"n2: queue.declare {answered}/1")


def test_an_empty_queue_name_means_what_was_declared_since_the_move() -> None:
    play = moved_after_declare("w", "w")
    play.client_sends((1, QueueDeclare("v")))
    play.node_answers(QueueDeclareOk("v", 0, 0))
    play.client_sends((1, QueuePurge(""))).gives("n2: queue.purge /1")


def test_an_empty_queue_name_finds_its_leader_too() -> None:
    play = two(("w", "n2"))
    play.client_sends((1, QueueDeclare("w")))
    play.node_answers(QueueDeclareOk("w", 0, 0))
    play.client_sends((1, BasicConsume("", "c"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves()
    play.at("n2").node_answers(ChannelOpenOk()).gives("n2: basic.consume w c/1")


# -- exclusive queues tie -------------------------------------------------------------------------


def test_a_channel_that_names_an_exclusive_queue_goes_to_the_link_that_owns_it() -> None:
    """Another connection of the same client would get 405 RESOURCE_LOCKED."""
    play = two(("q", "n2"))
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.node_answers(QueueDeclareOk("mine", 0, 0))
    play.channel(2).client_sends((2, BasicConsume("q", "c"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves(2)
    play.at("n2").node_answers(ChannelOpenOk(), channel=2)
    play.node_answers(BasicConsumeOk("c"), channel=2)
    play.client_sends((2, QueueBind("mine", "x", "k"))).gives("n2: basic.cancel c/2")
    play.node_answers(BasicCancelOk("c"), channel=2).gives(f"n2: {GOODBYE}/2")
    play.leaves(2).gives("link: channel.open/2 basic.consume q c/2")
    play.at("n1").node_answers(ChannelOpenOk(), channel=2)
    play.node_answers(BasicConsumeOk("c"), channel=2).gives("link: queue.bind mine/2")
    assert dict(place(play, 2).moves)[MoveReason.TIE] == 1


def test_a_consumer_of_an_exclusive_queue_binds_its_channel() -> None:
    play = two(("q", "n2"))
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.node_answers(QueueDeclareOk("mine", 0, 0))
    play.client_sends((1, BasicConsume("mine", "c"))).gives("link: basic.consume mine c/1")
    play.node_answers(BasicConsumeOk("c"))
    assert place(play).why is Placement.TIED
    play.move_off("n1").gives("connect n2")
    play.joins().gives()
    play.ticks(3)
    assert place(play).node == N1


# -- settling -------------------------------------------------------------------------------------


def test_acks_nacks_and_rejects_pass_as_they_come() -> None:
    play = two(("q", "n1")).consumer()
    play.node_sends(*(deliver(tag) for tag in range(1, 8)))
    play.client_sends(
        acks(1),
        (1, BasicNack(3, True, True)),
        (1, BasicReject(4, True)),
        (1, BasicNack(5, False, False)),
    ).gives("link: basic.ack 1/1 basic.nack ..3 requeue/1 basic.reject 4 requeue/1 basic.nack 5/1")
    assert place(play).unsettled == 2
    play.client_sends((1, BasicAck(0, True))).gives("link: basic.ack ..0/1")
    assert place(play).unsettled == 0


def test_deliveries_without_ack_leave_nothing_to_settle() -> None:
    play = two(("q", "n1")).consumer(no_ack=True)
    play.node_sends(deliver(1), deliver(2))
    assert place(play).unsettled == 0


def test_a_channel_with_both_kinds_of_consumers_tells_them_apart() -> None:
    play = two(("q", "n1")).consumer(no_ack=True).consumer(tag="d")
    play.node_sends(deliver(1), deliver(2, consumer="d"), deliver(3))
    assert place(play).unsettled == 1


def test_a_message_got_without_ack_leaves_nothing_to_settle() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, BasicGet("q", no_ack=True)), (1, BasicGet("q")))
    play.node_sends(got(1), got(2))
    assert place(play).unsettled == 1


# -- transactions ---------------------------------------------------------------------------------


def test_a_transaction_passes_and_binds_until_it_is_committed() -> None:
    play = two(("q", "n1"))
    play.client_sends((1, TxSelect())).gives("link: tx.select/1")
    play.node_answers(TxSelectOk()).gives("client: tx.select-ok/1")
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')
    assert place(play).why is Placement.TIED
    play.client_sends((1, TxCommit())).gives("link: tx.commit/1")
    assert place(play).why is Placement.TIED
    play.node_answers(TxCommitOk()).gives("client: tx.commit-ok/1")
    assert place(play).why is not Placement.TIED


# -- messages in parts ----------------------------------------------------------------------------


def frames(body: bytes, channel: int = 1) -> list[bytes]:
    """The frames of a publish to q, one by one."""
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8) + b"\x00\x00"
    parts = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
    return [
        encode((channel, BasicPublish("", "q"))),
        encode_frame(FRAME_HEADER, channel, header),
        *(encode_frame(FRAME_BODY, channel, part) for part in parts),
    ]


def test_a_message_interleaved_with_another_channels_arrives_whole() -> None:
    play = two(("q", "n1")).channel(2)
    one, other = frames(b"one"), frames(b"other", 2)
    play.client_sends(*(frame for pair in zip(one, other, strict=True) for frame in pair)).gives(
        'link: basic.publish q "one"/1 basic.publish q "other"/2'
    )
    assert play.session.published == 2


def test_a_message_too_large_to_hold_goes_through_frame_by_frame() -> None:
    play = two(("q", "n1"), confirms=True)
    body = bytes(1_200_000)
    method, header, *parts = frames(body)
    play.client_sends(method, header).gives("link: basic.publish q/1 header/1")
    for part in parts:
        assert play.client_sends(part).sent_to(SendLink) == part
    assert play.session.published == 1
    assert place(play).unconfirmed == 1
    assert place(play).journal_bytes == 0
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")
    assert place(play).unconfirmed == 0


def test_the_first_message_takes_a_channel_to_its_leader_even_in_parts() -> None:
    play = two(("q", "n2")).channel(2)
    one, other = frames(b"one"), frames(b"other", 2)
    play.client_sends(*(frame for pair in zip(one, other, strict=True) for frame in pair)).gives(
        "connect n2"
    )
    play.joins().gives(f"link: {GOODBYE}/1 {GOODBYE}/2")


def test_a_large_first_message_also_finds_its_leader_or_stays_but_is_never_torn() -> None:
    play = two(("q", "n2"))
    method, header, *parts = frames(bytes(1_200_000))
    sent = play.client_sends(method, header, *parts).sent_to(SendLink)
    assert sent == b"".join([method, header, *parts])


def test_a_delivery_interleaved_with_another_channels_arrives_whole() -> None:
    play = two(("q", "n1")).consumer().channel(2).consumer(tag="d", channel=2)
    one = [encode((1, BasicDeliver("c", 1, False, "", "q"))), *frames(b"one")[1:]]
    other = [encode((2, BasicDeliver("d", 1, False, "", "q"))), *frames(b"other", 2)[1:]]
    play.node_sends(*(frame for pair in zip(one, other, strict=True) for frame in pair)).gives(
        'client: basic.deliver c 1 "one"/1 basic.deliver d 1 "other"/2'
    )
    assert (place(play).unsettled, place(play, 2).unsettled) == (1, 1)
