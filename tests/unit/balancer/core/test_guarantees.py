"""Each row of docs/guarantees.md, as a playbook: a planned move (n1 is drained), and a crash of n1.

At a planned move the queue is known to be led by n1, as it is in life. At a crash nothing is known
of queues, so that nobody waits for an election; rows about waiting say where queues are.
"""

import re
from dataclasses import replace
from pathlib import Path

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

from warrener.amqp.methods import (
    METHOD_NAMES,
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
    BasicRecoverAsync,
    BasicRecoverOk,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionStartOk,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    ExchangeBind,
    ExchangeBindOk,
    ExchangeDeclare,
    ExchangeDeclareOk,
    ExchangeDelete,
    ExchangeDeleteOk,
    ExchangeUnbind,
    ExchangeUnbindOk,
    Method,
    QueueBind,
    QueueBindOk,
    QueueDeclare,
    QueueDeclareOk,
    QueueDelete,
    QueueDeleteOk,
    QueuePurge,
    QueuePurgeOk,
    QueueUnbind,
    QueueUnbindOk,
    TxCommit,
    TxCommitOk,
    TxRollback,
    TxRollbackOk,
    TxSelect,
    TxSelectOk,
    decode_method,
)
from warrener.balancer.core.channel import HOLD_MESSAGE
from warrener.balancer.core.commands import SendLink
from warrener.balancer.core.links import CRASHES_APART
from warrener.facts.places import Binding, ExchangeRoutes, Lookup, LookupKind, QueuePlace
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import publish

TABLE = Path(__file__).parents[4] / "docs" / "guarantees.md"
BYE = ConnectionClose(200, "bye")
DONE = ChannelClose(200, "done")
LOST = "client: connection.close 320 CONNECTION_FORCED - the node of channel 1 was lost, and "
AGAIN = "; connect again"
STREAM = {"x-stream-offset": "next"}
RETURN = encode((1, BasicReturn(312, "NO_ROUTE", "", "q"))) + content(1, b"a")
LARGE = b"x" * (HOLD_MESSAGE + 1)


# -- the two things that happen -------------------------------------------------------------------


def opened(*queues: tuple[str, str], confirms: bool = False) -> Play:
    """A session at home on n1 with channel 1; where its queues are is known."""
    return Play.opened("n1", "n2").knows(*(queues or (("q", "n1"),))).channel(confirms=confirms)


def unknown(*, confirms: bool = False) -> Play:
    """The same; nothing is known of queues."""
    return Play.opened("n1", "n2").channel(confirms=confirms)


def drained(play: Play) -> Play:
    """n1 is to be left, and the link to n2 is open; what channel 1 says then is the last step."""
    play.move_off("n1").gives("connect n2")
    return play.linked("n2")


def arrived(play: Play, *answers: Method) -> Play:
    """The old link's close-ok, and what the new one answers to the journal."""
    play.at("n1").leaves()
    return play.at("n2").node_answers(ChannelOpenOk(), *answers)


def crashed(play: Play) -> Play:
    """n1 dies, and the link to n2 opens."""
    play.lost("n1").gives("connect n2")
    return play.linked("n2")


def dies(play: Play, why: str) -> None:
    """n1 dies, which ends the session for this reason."""
    play.lost("n1").gives(LOST + why + AGAIN)


# -- connection -----------------------------------------------------------------------------------


def test_a_connection_close_ends_a_planned_move() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1))
    drained(play).gives("link: basic.cancel c/1")
    play.client_sends(message("a"), BYE).gives(
        'link: basic.publish q "a"/1 connection.close 200 bye',
        "n2: connection.close 200 bye",
    )
    play.at("n1").node_sends(ConnectionCloseOk()).gives("close link")
    play.at("n2").node_sends(ConnectionCloseOk()).gives(
        "close n2", "client: connection.close-ok", "close client", "finished client_closed"
    )


def test_a_connection_close_whose_node_dies_is_answered_by_the_balancer() -> None:
    play = unknown()
    play.client_sends(BYE).gives("link: connection.close 200 bye")
    play.lost("n1").gives("client: connection.close-ok", "close client", "finished client_closed")


def test_a_connection_close_by_the_broker_is_passed_on() -> None:
    play = unknown()
    close = ConnectionClose(320, "CONNECTION_FORCED - Closed via management plugin")
    play.node_sends(close).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close 320 CONNECTION_FORCED - Closed via management plugin",
    )
    play.client_sends(ConnectionCloseOk()).gives("close client", "finished broker_closed*")


def test_a_broker_that_goes_into_maintenance_is_a_lost_node() -> None:
    play = unknown().consumer()
    close = ConnectionClose(320, "CONNECTION_FORCED - Node was put into maintenance mode")
    play.node_sends(close).gives("link: connection.close-ok", "close link", "connect n2")
    play.linked("n2").gives("n2: channel.open/1 basic.consume q c/1")


CRASH = ConnectionClose(541, "INTERNAL_ERROR", 60, 40)


def test_a_broker_that_fails_is_a_lost_node_the_first_time() -> None:
    play = unknown().consumer()
    play.node_sends(CRASH).gives("link: connection.close-ok", "close link", "connect n2")
    play.linked("n2").gives("n2: channel.open/1 basic.consume q c/1")
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("c"))
    play.at("n2").node_sends(CRASH)
    assert "client: connection.close 541 INTERNAL_ERROR" in play.lines


def test_a_broker_that_fails_again_later_is_a_lost_node_again() -> None:
    play = opened().consumer()
    play.node_sends(CRASH)
    play.linked("n2").node_answers(ChannelOpenOk())
    play.node_answers(BasicConsumeOk("c"))
    play.ticks(CRASHES_APART + 1)
    play.at("n2").node_sends(CRASH)
    assert not any("client:" in line for line in play.lines)


def test_a_broker_that_fails_with_an_exclusive_queue_is_told_in_its_own_words() -> None:
    play = unknown()
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.node_answers(QueueDeclareOk("mine", 0, 0))
    play.node_sends(CRASH)
    assert "client: connection.close 541 INTERNAL_ERROR" in play.lines


def test_blocked_and_unblocked_follow_the_links_at_a_planned_move() -> None:
    play = opened()
    play.node_sends(ConnectionBlocked("low on memory")).gives("client: connection.blocked")
    drained(play)
    play.node_sends(ConnectionBlocked("low on memory")).gives()
    play.at("n1").leaves()
    play.node_sends(ConnectionUnblocked()).gives()
    play.at("n2").node_sends(ConnectionUnblocked()).gives("client: connection.unblocked")


def test_the_loss_of_the_only_blocked_link_unblocks_its_client() -> None:
    play = unknown()
    play.node_sends(ConnectionBlocked("low on memory")).gives("client: connection.blocked")
    play.lost("n1").gives("client: connection.unblocked", "connect n2")


def test_a_new_secret_is_told_to_every_link() -> None:
    play = opened()
    drained(play)
    play.client_sends(ConnectionUpdateSecret(b"new", "expires")).gives(
        "link: connection.update-secret", "n2: connection.update-secret"
    )
    play.at("n1").node_sends(ConnectionUpdateSecretOk()).gives(
        "client: connection.update-secret-ok"
    )
    play.at("n2").node_sends(ConnectionUpdateSecretOk()).gives()


def test_a_new_secret_whose_answer_is_lost_is_told_to_the_next_node() -> None:
    play = unknown()
    play.client_sends(ConnectionUpdateSecret(b"new", "expires")).gives(
        "link: connection.update-secret"
    )
    crashed(play).gives("n2: connection.update-secret channel.open/1")
    play.node_sends(ConnectionUpdateSecretOk()).gives("client: connection.update-secret-ok")


# -- channel --------------------------------------------------------------------------------------


def test_a_channel_that_is_opened_while_its_node_is_left_moves_as_well() -> None:
    play = opened()
    drained(play).gives(f"link: {GOODBYE}/1")
    play.client_sends((2, ChannelOpen())).gives("link: channel.open/2")
    play.at("n1").node_sends((2, ChannelOpenOk())).gives("client: channel.open-ok/2")
    play.after(0.5)
    assert f"link: {GOODBYE}/2" in play.lines


def test_a_channel_open_that_was_not_answered_is_said_again() -> None:
    play = Play.opened("n1", "n2")
    play.client_sends((1, ChannelOpen())).gives("link: channel.open/1")
    crashed(play).gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives("client: channel.open-ok/1")


def test_a_channel_close_ends_a_planned_move() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1))
    drained(play).gives("link: basic.cancel c/1")
    play.client_sends((1, DONE)).gives("link: channel.close 200 done/1")
    play.at("n1").node_answers(BasicCancelOk("c"), ChannelCloseOk()).gives(
        "client: channel.close-ok/1"
    )


def test_a_channel_close_whose_node_dies_is_answered_by_the_balancer() -> None:
    play = unknown(confirms=True)
    play.client_sends(message("a"), (1, DONE))
    play.lost("n1").gives("client: channel.close-ok/1", "connect n2")


def test_a_channel_close_by_the_broker_is_passed_on() -> None:
    play = unknown()
    play.client_sends((1, QueueDeclare("x", passive=True)))
    play.node_answers(ChannelClose(404, "NOT_FOUND - no queue 'x'")).gives(
        "link: channel.close-ok/1", "client: channel.close 404 NOT_FOUND - no queue 'x'/1"
    )
    play.client_sends((1, ChannelCloseOk())).gives()
    play.lost("n1").gives("connect n2")
    play.linked("n2").gives()


def test_a_flow_from_the_broker_is_passed_on_and_answered_where_the_channel_is() -> None:
    play = opened()
    play.node_answers(ChannelFlow(False)).gives("client: channel.flow/1")
    play.client_sends((1, ChannelFlowOk(False))).gives("link: channel.flow-ok/1")


# -- requests -------------------------------------------------------------------------------------

REQUESTS: tuple[tuple[Method, Method], ...] = (
    (ChannelFlow(True), ChannelFlowOk(True)),
    (ExchangeDeclare("x"), ExchangeDeclareOk()),
    (ExchangeDelete("x"), ExchangeDeleteOk()),
    (ExchangeBind("x", "y", "k"), ExchangeBindOk()),
    (ExchangeUnbind("x", "y", "k"), ExchangeUnbindOk()),
    (QueueDeclare("q", durable=True), QueueDeclareOk("q", 0, 0)),
    (QueueDeclare("q", passive=True), QueueDeclareOk("q", 0, 0)),
    (QueueBind("q", "x", "k"), QueueBindOk()),
    (QueueUnbind("q", "x", "k"), QueueUnbindOk()),
    (QueuePurge("q"), QueuePurgeOk(7)),
    (QueueDelete("q"), QueueDeleteOk(7)),
)
EACH_REQUEST = pytest.mark.parametrize(
    ("request_", "answer"), REQUESTS, ids=[repr(request) for request, _ in REQUESTS]
)


@EACH_REQUEST
def test_a_request_is_answered_before_a_planned_move_or_said_after_it(
    request_: Method, answer: Method
) -> None:
    play = opened(("other", "n1"))
    play.client_sends((1, request_)).gives(f"link: {request_.name()}*")
    drained(play).gives()  # waits for the answer
    play.client_sends((1, request_)).gives()
    play.at("n1").node_answers(answer).gives(f"client: {answer.name()}*", f"link: {GOODBYE}/1")
    play.leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives(f"n2: {request_.name()}*")
    play.node_answers(answer).gives(f"client: {answer.name()}*")


@EACH_REQUEST
def test_a_request_that_was_not_answered_is_said_again_after_a_crash(
    request_: Method, answer: Method
) -> None:
    play = unknown()
    play.client_sends((1, request_), (1, request_))
    play.node_answers(answer).gives(f"client: {answer.name()}*")
    said = crashed(play).sends_again() + play.node_answers(ChannelOpenOk()).sends_again()
    assert said.count(request_.name()) == 1
    play.node_answers(answer).gives(f"client: {answer.name()}*")


def test_a_queue_named_by_the_server_is_meant_after_a_planned_move() -> None:
    play = opened()
    play.client_sends((1, QueueDeclare("")))
    play.node_answers(QueueDeclareOk("amq.gen-1", 0, 0))
    drained(play)
    arrived(play)
    play.client_sends((1, QueueBind("", "x"))).gives("n2: queue.bind amq.gen-1/1")


def test_a_queue_to_be_named_by_the_server_is_declared_again_after_a_crash() -> None:
    play = unknown()
    play.client_sends((1, QueueDeclare(""))).gives("link: queue.declare /1")
    crashed(play).gives("n2: channel.open/1 queue.declare /1")
    play.node_answers(ChannelOpenOk(), QueueDeclareOk("amq.gen-2", 0, 0)).gives(
        "client: queue.declare-ok amq.gen-2/1"
    )


def exclusive(play: Play) -> Play:
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    return play.node_answers(QueueDeclareOk("mine", 0, 0)).consumer("mine")


def test_an_exclusive_queue_keeps_its_consumers_where_it_is() -> None:
    play = exclusive(opened())
    play.move_off("n1").gives("connect n2")
    play.linked("n2").gives()
    play.after(0.5).gives()


def test_an_exclusive_queue_dies_with_its_node() -> None:
    exclusive(unknown()).lost("n1", "reset").gives(
        "client: connection.close 320 CONNECTION_FORCED - node n1 was lost (reset), and exclusive "
        "queue 'mine' with it; connect again"
    )


def auto_delete(play: Play) -> Play:
    play.client_sends((1, QueueDeclare("news", auto_delete=True)))
    return play.node_answers(QueueDeclareOk("news", 0, 0)).consumer("news")


def test_an_auto_delete_queue_keeps_its_consumers_where_they_are() -> None:
    play = auto_delete(opened(("news", "n1")))
    play.move_off("n1").gives("connect n2")
    play.linked("n2").gives()


def test_a_queue_that_went_with_its_node_or_its_consumer_ends_the_session() -> None:
    play = auto_delete(unknown())
    crashed(play).gives("n2: channel.open/1 basic.consume news c/1")
    gone = ChannelClose(404, "NOT_FOUND - no queue 'news' in vhost '/'", 60, 20)
    play.node_answers(ChannelOpenOk(), gone).gives(
        "n2: channel.close-ok/1 connection.close 200*",
        "close n2",
        f"{LOST}queue 'news' with it{AGAIN}",
    )


# -- consumers ------------------------------------------------------------------------------------


def test_a_consumer_moves_when_all_is_settled_and_nothing_comes_twice() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1, "a"), deliver(2, "b"))
    drained(play).gives("link: basic.cancel c/1")
    play.at("n1").node_sends(deliver(3, "c"), (1, BasicCancelOk("c"))).gives(
        'client: basic.deliver c 3 "c"/1'
    )
    play.client_sends(acks(1), (1, BasicAck(3, multiple=True))).gives(
        f"link: basic.ack 1/1 basic.ack ..3/1 {GOODBYE}/1"
    )
    play.leaves().gives("n2: channel.open/1 basic.consume q c/1")
    play.at("n2").node_answers(ChannelOpenOk(), BasicConsumeOk("c")).gives()
    play.node_sends(deliver(1, "d")).gives('client: basic.deliver c 4 "d"/1')
    play.client_sends(acks(4)).gives("n2: basic.ack 1/1")


def test_a_consumer_that_settles_late_is_moved_by_a_drain_alone() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1, "a"))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.ticks(10)
    assert f"link: {GOODBYE}/1" in play.sends_again()
    arrived(play, BasicConsumeOk("c"))
    play.client_sends(acks(1)).gives()  # too late: the broker has it back
    play.node_sends(deliver(1, "a", redelivered=True)).gives(
        'client: basic.deliver c 2 again "a"/1'
    )


def test_what_a_client_says_before_it_settles_is_said_before_a_planned_move() -> None:
    play = opened(("q", "n1"), ("out", "n1"), confirms=True).consumer()
    play.node_sends(deliver(1))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends(message("result", "out"), (1, QueueBind("q", "x"))).gives(
        'link: basic.publish out "result"/1 queue.bind q/1'
    )
    play.node_answers(QueueBindOk(), BasicAck(1)).gives("client: queue.bind-ok/1 basic.ack 1/1")
    play.client_sends(acks(1)).gives(f"link: basic.ack 1/1 {GOODBYE}/1")


def test_what_was_unsettled_comes_again_after_a_crash_and_late_acks_are_swallowed() -> None:
    play = unknown().consumer()
    play.node_sends(deliver(1, "a"), deliver(2, "b"))
    play.client_sends(acks(1)).gives("link: basic.ack 1/1")
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1")
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("c"))
    play.client_sends(
        acks(2), (1, BasicNack(2, requeue=False)), (1, BasicReject(2, requeue=False))
    ).gives()
    play.node_sends(deliver(1, "b", redelivered=True)).gives(
        'client: basic.deliver c 3 again "b"/1'
    )
    play.client_sends((1, BasicNack(3, requeue=False))).gives("n2: basic.nack 1/1")


def test_a_no_ack_consumer_gets_all_that_was_on_its_way_before_a_planned_move() -> None:
    play = opened().consumer(no_ack=True)
    drained(play).gives("link: basic.cancel c/1")
    play.at("n1").node_sends(deliver(1, "a"), (1, BasicCancelOk("c"))).gives(
        'client: basic.deliver c 1 "a"/1', f"link: {GOODBYE}/1"
    )
    play.leaves().gives("n2: channel.open/1 basic.consume q c no-ack/1")


def test_a_no_ack_consumer_goes_on_after_a_crash_without_what_was_on_its_way() -> None:
    play = unknown().consumer(no_ack=True)
    play.node_sends(deliver(1, "a"), deliver(2, "b")[:-9])
    crashed(play).gives("n2: channel.open/1 basic.consume q c no-ack/1")
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("c"))
    play.node_sends(deliver(1, "c")).gives('client: basic.deliver c 2 "c"/1')


def sent_again(play: Play) -> BasicConsume:
    """The consume that the last step said to the new link."""
    data = play.sent_to(SendLink)
    while data:
        end = int.from_bytes(data[3:7]) + 8
        method = decode_method(data[7 : end - 1])
        if isinstance(method, BasicConsume):
            return method
        data = data[end:]
    raise AssertionError("nothing is consumed")


KINDS = pytest.mark.parametrize(
    "consume",
    [
        BasicConsume("q", "c", exclusive=True),
        BasicConsume("q", "c", arguments={"x-priority": 5}),
        BasicConsume("q", "c", no_local=True, no_ack=True),
        BasicConsume("q", "c"),
    ],
    ids=["exclusive", "priority", "no-local", "of a queue with a single active consumer"],
)


@KINDS
def test_a_consumer_is_the_same_after_a_planned_move(consume: BasicConsume) -> None:
    play = opened()
    play.client_sends((1, consume))
    play.node_answers(BasicConsumeOk("c"))
    drained(play).gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")
    play.leaves()
    assert sent_again(play) == replaced(consume)


@KINDS
def test_a_consumer_is_the_same_after_a_crash(consume: BasicConsume) -> None:
    play = unknown()
    play.client_sends((1, consume))
    play.node_answers(BasicConsumeOk("c"))
    crashed(play)
    assert sent_again(play) == replaced(consume)


def replaced(consume: BasicConsume) -> BasicConsume:
    """As it is read: a table that isn't there is an empty one."""
    return replace(consume, arguments=consume.arguments or {})


def test_an_exclusive_consumer_waits_until_the_broker_has_noticed_the_crash() -> None:
    play = unknown()
    play.client_sends((1, BasicConsume("q", "c", exclusive=True)))
    play.node_answers(BasicConsumeOk("c"))
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1")
    used = ChannelClose(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", 60, 20)
    play.node_answers(ChannelOpenOk(), used).gives("n2: channel.close-ok/1", "n2: channel.open/1")
    play.node_answers(ChannelOpenOk())
    play.ticks(1)
    assert "basic.consume q c" in play.sends_again()


def test_the_tag_that_a_broker_chose_stays() -> None:
    play = unknown()
    play.client_sends((1, BasicConsume("q"))).gives("link: basic.consume q /1")
    play.node_answers(BasicConsumeOk("amq.ctag-1"))
    crashed(play).gives("n2: channel.open/1 basic.consume q amq.ctag-1/1")


def test_a_consume_that_was_not_answered_is_said_again_after_a_crash() -> None:
    play = unknown()
    play.client_sends((1, BasicConsume("q", "c")), (1, BasicConsume("q", "d", no_wait=True)))
    crashed(play)
    said = play.sends_again()
    assert said.count("basic.consume q c") == said.count("basic.consume q d") == 1
    play.node_answers(ChannelOpenOk(), BasicConsumeOk("d")).gives()
    play.node_answers(BasicConsumeOk("c")).gives("client: basic.consume-ok c/1")


def test_a_consume_during_a_planned_move_is_said_after_it() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends((1, BasicConsume("q", "d"))).gives()
    play.client_sends(acks(1))
    arrived(play, BasicConsumeOk("c")).gives("n2: basic.consume q d/1")


def test_a_consumer_waits_for_its_quorum_queues_leader() -> None:
    play = opened().consumer()
    crashed(play).gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk())
    play.after(0.5)
    assert "consume" not in play.sends_again()
    play.knows(("q", "n2")).after(0.5).gives("n2: basic.consume q c/1")


def parked(play: Play) -> Play:
    """Consumer c of a classic queue whose node is down; channel 1 is on n2."""
    play.consumer()
    crashed(play).gives("n2: channel.open/1")
    play.knows(("q", "down n1", "classic")).at("n2").node_answers(ChannelOpenOk()).gives()
    return play


def test_a_consumer_of_a_classic_queue_waits_for_its_node() -> None:
    play = parked(opened())
    play.ticks(30)
    assert "consume" not in play.sends_again()
    play.knows(("q", "n2", "classic")).after(0.5).gives("n2: basic.consume q c/1")


def test_a_consumer_that_has_waited_too_long_is_cancelled() -> None:
    capable = ConnectionStartOk(
        {"capabilities": {"consumer_cancel_notify": True}}, "PLAIN", b"\0guest\0secret", "en_US"
    )
    play = Play.opened("n1", "n2", start_ok=capable).knows(("q", "n1", "classic")).channel()
    parked(play).ticks(61)
    assert play.sends_again().count("client: basic.cancel c/1") == 1


def test_a_consumer_that_has_waited_too_long_closes_the_channel_of_other_clients() -> None:
    play = parked(opened())
    play.ticks(61)
    text = "NOT_FOUND - consumer 'c' was cancelled: its queue was away for 6? s"
    assert re.search("channel.close 404 " + text.replace("?", "."), play.sends_again())


def stream(play: Play) -> Play:
    play.client_sends((1, BasicQos(0, 10)), (1, BasicConsume("q", "c", arguments=STREAM)))
    play.node_answers(BasicQosOk(), BasicConsumeOk("c"))
    return play.node_sends(from_stream(1, 41), from_stream(2, 42))


def from_stream(tag: int, offset: int) -> bytes:
    """A delivery from a stream, which says its offset in a header."""
    table = b"\x0fx-stream-offset" + b"l" + offset.to_bytes(8)
    properties = (1 << 13).to_bytes(2) + len(table).to_bytes(4) + table
    return encode((1, BasicDeliver("c", tag, False, "", "q"))) + content(1, b"m", properties)


def test_a_stream_goes_on_behind_the_last_message_after_a_planned_move() -> None:
    play = stream(opened())
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends(acks(1, 2))
    play.leaves().gives("n2: channel.open/1 basic.qos 10/1 basic.consume q c/1")
    assert sent_again(play).arguments == {"x-stream-offset": 43}


def test_a_stream_goes_on_behind_the_last_message_after_a_crash() -> None:
    play = stream(unknown())
    crashed(play).gives("n2: channel.open/1 basic.qos 10/1 basic.consume q c/1")
    assert sent_again(play).arguments == {"x-stream-offset": 43}


def test_a_cancel_is_answered_before_or_after_a_planned_move() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1))
    drained(play).gives("link: basic.cancel c/1")
    play.client_sends((1, BasicCancel("c"))).gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives()
    play.node_answers(BasicCancelOk("c")).gives("client: basic.cancel-ok c/1")
    play.client_sends(acks(1)).gives(f"link: basic.ack 1/1 {GOODBYE}/1")
    play.leaves().gives("n2: channel.open/1")


def test_a_cancel_that_was_not_answered_is_said_again_after_a_crash() -> None:
    play = unknown().consumer()
    play.client_sends((1, BasicCancel("c")))
    crashed(play).gives("n2: channel.open/1 basic.cancel c/1")
    play.node_answers(ChannelOpenOk(), BasicCancelOk("c")).gives("client: basic.cancel-ok c/1")


def test_a_cancel_by_the_broker_is_passed_on_when_the_queue_is_gone() -> None:
    capable = ConnectionStartOk(
        {"capabilities": {"consumer_cancel_notify": True}}, "PLAIN", b"\0guest\0secret", "en_US"
    )
    play = Play.opened("n1", "n2", start_ok=capable).knows(("q", "n1")).channel().consumer()
    play.node_answers(BasicCancel("c", no_wait=True)).gives("look up queue q")
    play.looked_up(Lookup(LookupKind.QUEUE, "/", "q"), None).gives("client: basic.cancel c/1")


def test_a_cancel_by_the_broker_of_a_queue_whose_node_died_parks_the_consumer() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2", "classic"), ("p", "n1"))
    play.channel().consumer("p", "first").consumer("q", "c")
    play.node_answers(BasicCancel("c", no_wait=True)).gives("look up queue q")
    away = QueuePlace(None, "classic", usable=False)
    play.looked_up(Lookup(LookupKind.QUEUE, "/", "q"), away).gives()
    play.after(0.5).gives()
    play.knows(("q", "n2", "classic"), ("p", "n1")).after(0.5).gives("link: basic.consume q \x01/1")


def test_a_prefetch_is_in_force_for_the_same_consumers_after_a_planned_move() -> None:
    play = opened()
    prefetches(play)
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("a"), BasicCancelOk("b"))
    play.leaves().gives(
        "n2: channel.open/1 basic.qos 100 global/1 basic.qos 5/1 basic.consume q a/1 "
        "basic.qos 9/1 basic.consume q b/1"
    )


def test_a_prefetch_is_in_force_for_the_same_consumers_after_a_crash() -> None:
    play = unknown()
    prefetches(play)
    crashed(play).gives(
        "n2: channel.open/1 basic.qos 100 global/1 basic.qos 5/1 basic.consume q a/1 "
        "basic.qos 9/1 basic.consume q b/1"
    )


def prefetches(play: Play) -> None:
    for qos in (BasicQos(0, 100, True), BasicQos(0, 5)):
        play.client_sends((1, qos))
        play.node_answers(BasicQosOk()).gives("client: basic.qos-ok/1")
    play.consumer("q", "a")
    play.client_sends((1, BasicQos(0, 9)))
    play.node_answers(BasicQosOk())
    play.consumer("q", "b")


def test_a_large_delivery_is_finished_before_a_planned_move() -> None:
    play = opened().consumer(no_ack=True)
    whole = deliver_large(1)
    play.node_sends(whole[:-50])
    drained(play).gives("link: basic.cancel c/1")
    play.at("n1").node_sends(whole[-50:]).gives("client: body 65/1")
    play.node_answers(BasicCancelOk("c")).gives(f"link: {GOODBYE}/1")


def test_a_large_delivery_cut_off_by_a_crash_ends_the_session() -> None:
    play = unknown().consumer(no_ack=True)
    play.node_sends(deliver_large(1)[:-50])
    dies(play, "a large message was half delivered")


def deliver_large(tag: int) -> bytes:
    return encode((1, BasicDeliver("c", tag, False, "", "q"))) + content(1, LARGE, part=131064)


def test_a_recover_returns_all_before_a_planned_move() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1), deliver(2))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends((1, BasicRecover(True))).gives("link: basic.recover/1")
    play.node_answers(BasicRecoverOk()).gives("client: basic.recover-ok/1", f"link: {GOODBYE}/1")


def test_a_recover_without_answer_returns_all_before_a_planned_move() -> None:
    play = opened().consumer()
    play.node_sends(deliver(1), deliver(2))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends((1, BasicRecoverAsync(True))).gives(
        f"link: basic.recover-async/1 {GOODBYE}/1"
    )


def test_a_recover_that_was_not_answered_is_said_again_after_a_crash() -> None:
    play = unknown().consumer()
    play.node_sends(deliver(1))
    play.client_sends((1, BasicRecover(True)))
    crashed(play).gives("n2: channel.open/1 basic.consume q c/1 basic.recover/1")


def test_a_get_is_answered_and_settled_before_a_planned_move() -> None:
    play = opened()
    play.client_sends((1, BasicGet("q"))).gives("link: basic.get q/1")
    drained(play).gives()
    play.at("n1").node_sends(got(1, "a")).gives('client: basic.get-ok 1 "a"/1')
    play.client_sends((1, BasicGet("q"))).gives()
    play.client_sends(acks(1)).gives(f"link: basic.ack 1/1 {GOODBYE}/1")
    arrived(play).gives("n2: basic.get q/1")
    play.node_sends(got(1, "b")).gives('client: basic.get-ok 2 "b"/1')


def test_a_get_that_was_not_answered_is_said_again_after_a_crash() -> None:
    play = unknown()
    play.client_sends((1, BasicGet("q", no_ack=True)))
    crashed(play).gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives("n2: basic.get q/1")
    play.node_answers(BasicGetEmpty()).gives("client: basic.get-empty/1")


def test_a_get_waits_for_its_quorum_queues_leader() -> None:
    play = opened()
    play.client_sends((1, BasicGet("q")), (1, QueueBind("q", "x")))
    crashed(play).gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives()
    play.knows(("q", "n2")).after(0.5).gives("n2: basic.get q/1 queue.bind q/1")


def test_a_get_that_was_said_to_a_queue_without_a_leader_is_said_again() -> None:
    play = unknown()
    play.client_sends((1, BasicGet("q"))).gives("link: basic.get q/1")
    why = "INTERNAL_ERROR - Cannot get a message from queue 'queue 'q' in vhost '/'': nodedown"
    play.node_sends(ConnectionClose(541, why, 60, 70)).gives(
        "link: connection.close-ok", "close link", "connect n2"
    )
    play.linked("n2").gives("n2: channel.open/1")
    play.node_answers(ChannelOpenOk()).gives("n2: basic.get q/1")


def test_a_get_that_waits_for_its_queue_too_long_closes_the_channel() -> None:
    play = opened()
    play.client_sends((1, BasicGet("q")))
    crashed(play)
    play.node_answers(ChannelOpenOk())
    play.ticks(61)
    assert "client: channel.close 404 NOT_FOUND - queue 'q' has been down" in play.sends_again()


# -- direct reply-to ------------------------------------------------------------------------------

REPLY_TO = "amq.rabbitmq.reply-to"


def asks(play: Play) -> Play:
    """A request with a direct reply address, which nobody has answered yet."""
    play.consumer(REPLY_TO, "r", no_ack=True)
    play.client_sends((1, ConfirmSelect()))
    play.node_answers(ConfirmSelectOk())
    flags = (1 << 9).to_bytes(2)
    properties = flags + bytes([len(REPLY_TO)]) + REPLY_TO.encode()
    play.client_sends(
        encode((1, BasicPublish(routing_key="q"))) + content(1, b"ask", properties)
    ).gives('link: basic.publish q "ask"/1')
    return play.node_answers(BasicAck(1))


def test_a_direct_reply_is_waited_for_before_a_planned_move() -> None:
    play = asks(opened())
    play.move_off("n1").gives("connect n2")
    play.linked("n2").gives()
    play.at("n1").node_sends(deliver(1, "reply", "r")).gives('client: basic.deliver r 1 "reply"/1')
    play.after(0.5).gives("link: basic.cancel r/1")
    play.node_answers(BasicCancelOk("r")).gives(f"link: {GOODBYE}/1")
    play.leaves().gives(f"n2: channel.open/1 confirm.select/1 basic.consume {REPLY_TO} r no-ack/1")


def test_a_direct_reply_that_was_due_ends_the_session() -> None:
    dies(asks(unknown()), "a direct reply was due")


def test_a_client_without_a_reply_due_survives_a_crash() -> None:
    play = asks(unknown())
    play.node_sends(deliver(1, "reply", "r"))
    crashed(play).gives(f"n2: channel.open/1 confirm.select/1 basic.consume {REPLY_TO} r no-ack/1")


def test_a_server_sends_its_direct_replies_from_wherever_it_is() -> None:
    play = opened(confirms=True).consumer()
    play.node_sends(deliver(1, "ask"))
    drained(play)
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends(message("reply", f"{REPLY_TO}.token"), acks(1)).gives(
        f'link: basic.publish {REPLY_TO}.token "reply"/1 basic.ack 1/1'
    )
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", f"link: {GOODBYE}/1")


def test_a_server_repeats_a_direct_reply_that_was_not_confirmed() -> None:
    play = unknown(confirms=True)
    play.client_sends(message("reply", f"{REPLY_TO}.token"))
    crashed(play).gives("n2: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives(
        f'n2: basic.publish {REPLY_TO}.token "reply"/1'
    )


# -- publishes ------------------------------------------------------------------------------------


def test_publishes_are_confirmed_before_a_planned_move_and_the_rest_goes_after_it() -> None:
    play = opened(confirms=True)
    play.client_sends(messages("a", "b"))
    drained(play).gives()
    play.client_sends(message("c")).gives()
    play.at("n1").node_answers(BasicAck(2, multiple=True)).gives(
        "client: basic.ack ..2/1", f"link: {GOODBYE}/1"
    )
    arrived(play, ConfirmSelectOk()).gives('n2: basic.publish q "c"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 3/1")


def test_unconfirmed_publishes_are_repeated_in_order_after_a_crash() -> None:
    play = unknown(confirms=True)
    play.client_sends(messages("a", "b", "c"))
    play.node_answers(BasicAck(2)).gives("client: basic.ack 2/1")
    crashed(play).gives("n2: channel.open/1 confirm.select/1")
    play.client_sends(message("d")).gives()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives(
        "client: basic.ack 1/1", 'n2: basic.publish q "c"/1 basic.publish q "d"/1'
    )
    play.node_answers(BasicAck(3, multiple=True)).gives("client: basic.ack ..4/1")


def test_a_publish_that_a_leaderless_queue_refuses_is_tried_again() -> None:
    play = unknown(confirms=True)
    play.client_sends(message("a"))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicNack(1, multiple=True)).gives()
    play.after(0.2).gives(f"n2: {GOODBYE}/1")
    play.leaves().gives("n2: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


def test_a_publish_of_a_new_channel_that_a_leaderless_queue_refuses_is_tried_again() -> None:
    play = Play.opened("n1", "n2", "n3").knows(("q", "down n3")).channel(confirms=True)
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicNack(1)).gives()
    play.knows(("q", "n1"))
    play.after(0.1).gives(f"link: {GOODBYE}/1")
    play.leaves().gives("link: channel.open/1 confirm.select/1")
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('link: basic.publish q "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1")


def test_a_nack_for_a_publish_is_passed_on() -> None:
    play = opened(confirms=True)
    play.client_sends(message("a"))
    play.node_answers(BasicNack(1)).gives("client: basic.nack 1 requeue/1")


def to_exchange(body: str, *, mandatory: bool = False, exchange: str = "x") -> bytes:
    return encode((1, BasicPublish(exchange, "k", mandatory))) + content(1, body.encode())


def bound(play: Play, *queues: str) -> Play:
    """Exchange x leads to these queues."""
    bindings = tuple(Binding(queue, False, "k") for queue in queues)
    lookup = Lookup(LookupKind.EXCHANGE, "/", "x")
    play.looked_up(lookup, ExchangeRoutes("direct", bindings))
    return play


def test_an_exchange_that_leads_to_one_queue_takes_its_publisher_there() -> None:
    play = opened(("q", "n2"), confirms=True)
    play.client_sends(to_exchange("a")).gives("look up exchange x")
    bound(play, "q").gives("connect n2")
    play.linked("n2").gives(f"link: {GOODBYE}/1")
    arrived(play, ConfirmSelectOk()).gives('n2: basic.publish x: k "a"/1')


def test_a_publisher_to_several_queues_moves_and_fails_over_as_any_other() -> None:
    play = opened(("q", "n1"), ("r", "n2"), confirms=True)
    play.client_sends(to_exchange("a")).gives("look up exchange x")
    bound(play, "q", "r").gives('link: basic.publish x: k "a"/1')
    play.client_sends(to_exchange("b"))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish x: k "a"/1')
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'n2: basic.publish x: k "b"/1')


def test_a_publish_to_a_classic_queue_whose_node_is_down_waits_for_it() -> None:
    play = Play.opened("n1", "n2").knows(("q", "down n2", "classic")).channel(confirms=True)
    play.client_sends(message("a")).gives()
    play.ticks(30)
    assert "basic.publish" not in play.sends_again()
    play.knows(("q", "n1", "classic")).after(0.5).gives('link: basic.publish q "a"/1')


def test_a_publish_that_waits_for_its_queue_too_long_closes_the_channel() -> None:
    play = Play.opened("n1", "n2").knows(("q", "down n2", "classic")).channel(confirms=True)
    play.client_sends(message("a")).gives()
    play.ticks(61)
    assert "client: channel.close 404 NOT_FOUND - queue 'q' has been down" in play.sends_again()


def test_a_message_to_several_queues_is_not_kept_for_one_whose_node_is_down() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1"), ("r", "down n2", "classic"))
    play.channel(confirms=True)
    play.client_sends(to_exchange("a")).gives("look up exchange x")
    bound(play, "q", "r").gives('link: basic.publish x: k "a"/1')


def test_a_returned_message_is_passed_on_before_a_planned_move() -> None:
    play = opened()
    play.client_sends(to_exchange("a", mandatory=True, exchange=""))
    drained(play).gives(f"link: {GOODBYE}/1")
    play.at("n1").node_sends(RETURN).gives('client: basic.return 312 q "a"/1')
    play.leaves().gives("n2: channel.open/1")


def test_a_mandatory_message_may_be_returned_twice_after_a_crash() -> None:
    play = unknown(confirms=True)
    play.client_sends(to_exchange("a", mandatory=True, exchange=""))
    play.node_sends(RETURN).gives('client: basic.return 312 q "a"/1')
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives('n2: basic.publish k "a"/1')
    play.node_sends(RETURN, (1, BasicAck(1))).gives(
        'client: basic.return 312 q "a"/1 basic.ack 1/1'
    )


def test_without_confirms_the_old_links_close_ok_is_waited_for() -> None:
    play = opened()
    play.client_sends(messages("a", "b"))
    drained(play).gives(f"link: {GOODBYE}/1")
    play.client_sends(message("c")).gives()
    arrived(play).gives('n2: basic.publish q "c"/1')


def test_without_confirms_a_crash_ends_the_session() -> None:
    play = unknown()
    play.client_sends(messages("a", "b"))
    dies(play, "2 messages published without confirms may not have arrived")


def test_without_confirms_what_the_broker_has_shown_to_have_is_no_reason_to_end() -> None:
    play = unknown()
    play.client_sends(messages("a", "b"))
    play.after(0.5).gives("link: channel.flow/1")
    play.node_answers(ChannelFlowOk(True)).gives()
    crashed(play).gives("n2: channel.open/1")


def large(size: int = len(LARGE)) -> bytes:
    return publish(1, b"x" * size)


def test_a_large_message_is_finished_and_confirmed_before_a_planned_move() -> None:
    play = opened(confirms=True)
    data = large()
    play.client_sends(data[:-50])
    drained(play).gives()
    play.client_sends(data[-50:]).gives("link: body*/1")
    play.at("n1").node_answers(BasicAck(1)).gives("client: basic.ack 1/1", f"link: {GOODBYE}/1")


def test_a_large_message_half_sent_ends_the_session_at_a_crash() -> None:
    play = unknown(confirms=True)
    play.client_sends(large()[:-50])
    dies(play, "an unconfirmed message was too large for the journal")


def test_a_large_message_without_a_confirm_ends_the_session_at_a_crash() -> None:
    play = unknown(confirms=True)
    play.client_sends(large())
    dies(play, "an unconfirmed message was too large for the journal")


def test_a_message_in_frames_that_can_be_kept_survives_a_crash() -> None:
    play = unknown(confirms=True)
    play.client_sends(large(HOLD_MESSAGE)[:-50]).gives()
    crashed(play).gives("n2: channel.open/1 confirm.select/1")
    play.client_sends(large(HOLD_MESSAGE)[-50:]).gives()
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk())
    assert "basic.publish q" in play.sends_again()


# -- confirms and transactions --------------------------------------------------------------------


def test_confirm_mode_and_its_numbers_are_kept_at_a_planned_move() -> None:
    play = opened(confirms=True)
    play.client_sends(message("a"))
    play.node_answers(BasicAck(1))
    drained(play)
    play.at("n1").leaves().gives("n2: channel.open/1 confirm.select/1")
    play.at("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives()
    play.client_sends(message("b"))
    play.node_answers(BasicAck(1)).gives("client: basic.ack 2/1")


def test_a_confirm_select_that_was_not_answered_is_said_again_after_a_crash() -> None:
    play = unknown()
    play.client_sends((1, ConfirmSelect()))
    crashed(play)
    play.node_answers(ChannelOpenOk(), ConfirmSelectOk(), ConfirmSelectOk()).gives(
        "client: confirm.select-ok/1"
    )


def transactional(play: Play) -> Play:
    play.client_sends((1, TxSelect())).gives("link: tx.select/1")
    return play.node_answers(TxSelectOk()).gives("client: tx.select-ok/1")


@pytest.mark.parametrize(
    ("end", "answer"), [(TxCommit(), TxCommitOk()), (TxRollback(), TxRollbackOk())], ids=repr
)
def test_a_transaction_is_waited_for_before_a_planned_move(end: Method, answer: Method) -> None:
    play = transactional(opened())
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')
    play.move_off("n1").gives("connect n2")
    play.linked("n2").gives()
    play.at("n1").client_sends((1, end)).gives(f"link: {end.name()}/1")
    play.node_answers(answer).gives(f"client: {answer.name()}/1")
    play.after(0.5).gives(f"link: {GOODBYE}/1")
    play.leaves().gives("n2: channel.open/1 tx.select/1")


def test_a_consumer_commits_its_acks_before_a_planned_move() -> None:
    play = transactional(opened()).consumer()
    play.node_sends(deliver(1))
    drained(play).gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c"))
    play.client_sends(acks(1), (1, TxCommit())).gives("link: basic.ack 1/1 tx.commit/1")
    play.node_answers(TxCommitOk()).gives("client: tx.commit-ok/1", f"link: {GOODBYE}/1")


@pytest.mark.parametrize("end", [None, TxCommit(), TxRollback()], ids=repr)
def test_an_open_transaction_ends_the_session_at_a_crash(end: Method | None) -> None:
    play = transactional(unknown())
    play.client_sends(message("a"))
    if end is not None:
        play.client_sends((1, end))
    dies(play, "a transaction was open")


def test_a_transactional_channel_between_transactions_survives_a_crash() -> None:
    play = transactional(unknown())
    play.client_sends(message("a"), (1, TxCommit()))
    play.node_answers(TxCommitOk())
    crashed(play).gives("n2: channel.open/1 tx.select/1")
    play.node_answers(ChannelOpenOk(), TxSelectOk()).gives()


# -- everything at once ---------------------------------------------------------------------------


def test_without_any_node_a_session_waits_and_is_then_closed() -> None:
    play = unknown()
    play.lost("n1")
    play.at("n2").link_breaks()
    play.ticks(31)
    said = play.sends_again()
    assert "client: connection.close 320 CONNECTION_FORCED - no node could be reached for" in said


def test_over_its_journals_limit_a_client_is_not_read() -> None:
    play = Play.opened("n1", "n2", settings=BalancerSettings(journal_limit=1000))
    play.channel(confirms=True)
    play.client_sends(message("x" * 1100)).gives("link: basic.publish*", "hold client")
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", "release client")


def test_a_login_that_cannot_be_repeated_stays_on_its_node() -> None:
    start_ok = ConnectionStartOk({}, "EXTERNAL", b"", "en_US")
    play = Play.opened("n1", "n2", start_ok=start_ok).knows(("q", "n2")).channel()
    play.consumer()
    play.move_off("n1").gives()
    play.lost("n1", "reset").gives(
        "client: connection.close 320 CONNECTION_FORCED - node n1 was lost (reset); connect again "
        "to reach another node"
    )


# -- the table itself -----------------------------------------------------------------------------

HANDSHAKE = {
    f"connection.{step}{ok}" for step in ("start", "secure", "tune", "open") for ok in ("", "-ok")
}
"""Methods that can't come on an open connection."""


def rows() -> list[list[str]]:
    """The cells of each row: operation, planned move, crash, test."""
    text = TABLE.read_text().partition("## Behind HAProxy")[0]  # where none of it holds
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in found if row[0] not in ("operation", "---")]


def named_in(row: list[str]) -> list[str]:
    return re.findall(r"`(test_\w+)`", row[-1])


def guarantees() -> set[str]:
    """Names of the tests above."""
    source = Path(__file__).read_text().partition("# -- the table itself ---")[0]
    return set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))


def test_each_row_of_the_table_names_tests_that_exist() -> None:
    assert rows()
    for row in rows():
        assert len(row) == 4, row
        assert named_in(row), f"no test: {row[0]}"
        assert set(named_in(row)) <= guarantees(), f"no such test: {row}"


def test_each_test_is_in_a_row_of_the_table() -> None:
    assert guarantees() - {name for row in rows() for name in named_in(row)} == set()


def test_each_method_of_an_open_connection_is_in_a_row_of_the_table() -> None:
    said = {name for row in rows() for name in re.findall(r"`([a-z.-]+)`", row[0])}
    assert set(METHOD_NAMES.values()) - HANDSHAKE - said == set()
    assert said <= set(METHOD_NAMES.values())
