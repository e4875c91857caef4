"""Sessions with several links, as playbooks: what goes where; homes that move; closes; limits."""

from tests.unit.balancer.core.scene import (
    GOODBYE,
    LINK_BYE,
    Play,
    apart,
    deliver,
    encode,
    message,
    messages,
)

from warrener.amqp.constants import HEARTBEAT
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    ChannelOpenOk,
    ConfirmSelectOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    QueueDeclare,
    QueueDeclareOk,
)
from warrener.balancer.core.commands import HoldClient, SendLink
from warrener.balancer.core.session import CLOSE_TIMEOUT, UNSAID_TIMEOUT
from warrener.balancer.core.switchboard import SMALL_JOURNAL
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason
from warrener.facts.settings import BalancerSettings

BYE = ConnectionClose(200, "bye")
N1, N2 = NodeName("n1"), NodeName("n2")


# -- frames of several links ---------------------------------------------------------------------


def test_a_chunk_is_cut_where_its_channels_part() -> None:
    play = apart()
    one, other = message("a"), message("b", "r", 2)
    play.client_sends(one, other)  # learn where they go
    play.client_sends(one, one, other, other, one).gives(
        'link: basic.publish q "a"/1 basic.publish q "a"/1',
        'n2: basic.publish r "b"/2 basic.publish r "b"/2',
        'link: basic.publish q "a"/1',
    )


def test_what_a_link_says_on_a_channel_that_has_left_it_is_for_nobody() -> None:
    play = apart()
    play.at("n1").node_sends(deliver(1, consumer="d", channel=2)).gives()


def test_connection_methods_of_the_client_go_to_its_home() -> None:
    play = apart()
    play.client_sends(encode(ConnectionBlocked("?"))).gives("link: connection.blocked")


def test_the_answer_to_a_frame_on_a_channel_that_is_not_open_is_for_the_client() -> None:
    play = apart()
    play.client_sends((9, BasicAck(1))).gives("link: basic.ack 1/9")
    close = ConnectionClose(504, "CHANNEL_ERROR - expected 'channel.open'", 60, 80)
    play.at("n1").node_sends(close).gives(
        "link: connection.close-ok",
        "close link",
        f"n2: {LINK_BYE}",
        "close n2",
        "client: connection.close 504 CHANNEL_ERROR - expected 'channel.open'",
    )


# -- home moves ----------------------------------------------------------------------------------


def test_a_home_moves_with_the_channels_that_nothing_keeps() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel().consumer("q", "c").channel(2)
    play._did(play.session.move_home(N2, play.now)).gives("connect n2")
    play.joins().gives(f"link: {GOODBYE}/2")
    play.at("n1").leaves(2).gives("n2: channel.open/2")
    play.at("n2").node_answers(ChannelOpenOk(), channel=2).gives()
    assert play.session.node == N2
    assert [channel.node for channel in play.session.channels()] == [N1, N2]
    assert dict(play.session.channels()[1].moves) == {MoveReason.REBALANCE: 1}
    assert [node.sessions for node in play.table.statistics()] == [0, 1]
    assert not play.session.is_at(N2)


def test_a_home_that_cannot_move_is_a_failed_move() -> None:
    play = Play.opened("n1", "n2").channel()
    play._did(play.session.move_home(N2, play.now)).gives("connect n2")
    assert play.session.goes_home_to(N2)
    play.link_breaks().gives()
    assert not play.session.goes_home_to(N2)
    assert play.session.node == N1
    assert play.budget.moves_failed == 1


def test_a_session_bound_to_its_node_is_not_free_to_move() -> None:
    play = Play.opened("n1", "n2").channel()
    assert play.session.may_move_home
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.node_answers(QueueDeclareOk("mine", 0, 0))
    assert not play.session.may_move_home


def test_a_session_whose_queues_keep_it_is_not_free_to_move() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel().consumer()
    assert not play.session.may_move_home
    plain = Play.opened("n1", "n2", settings=BalancerSettings(locality=False)).knows(("q", "n1"))
    assert plain.channel().consumer().session.may_move_home


# -- the journal's limit -------------------------------------------------------------------------


def test_a_client_whose_journal_is_full_is_not_read_until_half_of_it_is_confirmed() -> None:
    play = Play.opened("n1", "n2", settings=BalancerSettings(journal_limit=100_000)).channel(
        confirms=True
    )
    big = "x" * 10_000
    for _ in range(9):
        play.client_sends(message(big))
        assert HoldClient(True) not in play.commands
    play.client_sends(message(big))
    assert play.commands[-1] == HoldClient(True)
    for tag in range(1, 6):
        play.node_answers(BasicAck(tag)).gives(f"client: basic.ack {tag}/1")
    play.node_answers(BasicAck(6)).gives("client: basic.ack 6/1", "release client")
    assert play.session.statistics().journal_bytes < 50_000


def test_a_client_that_is_not_read_is_not_blamed_for_its_silence() -> None:
    play = Play.opened("n1", settings=BalancerSettings(journal_limit=1_000)).channel(confirms=True)
    play.client_sends(message("x" * 2_000))
    assert play.commands[-1] == HoldClient(True)
    for _ in range(600):
        play.node_sends(HEARTBEAT)
        play.after(0.5)
    assert play.session.is_open


def test_what_waits_for_a_channel_to_settle_counts_too() -> None:
    play = Play.opened("n1", "n2", settings=BalancerSettings(journal_limit=50_000))
    play.knows(("q", "n2")).channel()
    play.client_sends(message("x" * 40_000)).gives("connect n2")
    play.client_sends(message("x" * 40_000)).gives("hold client")
    play.joins()
    play.at("n1").leaves()
    play.at("n2").node_answers(ChannelOpenOk())
    assert play.lines[-1] == "release client"


def test_all_sessions_together_hold_back_the_ones_that_keep_more_than_a_little() -> None:
    settings = BalancerSettings(journal_total=100_000)
    play = Play.opened("n1", "n2", settings=settings).channel(confirms=True)
    play.budget.change(100_001)  # other sessions'
    play.client_sends(message("x" * (SMALL_JOURNAL // 2)))
    assert HoldClient(True) not in play.commands
    play.client_sends(message("x" * SMALL_JOURNAL))
    assert play.commands[-1] == HoldClient(True)
    play.budget.change(-100_001)
    play.after(0.5)
    assert HoldClient(True) not in play.commands


def test_a_session_that_ends_gives_its_part_of_the_budget_back() -> None:
    play = Play.opened("n1", settings=BalancerSettings(journal_limit=1_000)).channel(confirms=True)
    play.client_sends(message("x" * 2_000))
    assert play.budget.used > 2_000
    play.client_leaves()
    assert play.budget.used == 0


# -- closing while something is unsaid -----------------------------------------------------------


def moving(confirms: bool = True) -> Play:
    """Channel 1 is on its way from n1 to n2; a publish waits for that."""
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel(confirms=confirms)
    return play.client_sends(message("a")).gives("connect n2")


def closed_at(play: Play, *nodes: str) -> Play:
    """Every link answers the client's close."""
    for node in nodes:
        play.at(node).node_sends(ConnectionCloseOk())
    assert play.lines[-3:] == [
        "client: connection.close-ok",
        "close client",
        "finished client_closed",
    ]
    return play


def test_a_clients_close_goes_to_every_link_and_waits_for_all() -> None:
    play = apart()
    play.client_sends(BYE).gives("link: connection.close 200 bye", "n2: connection.close 200 bye")
    play.at("n1").node_sends(ConnectionCloseOk()).gives("close link")
    play.at("n2").node_sends(ConnectionCloseOk()).gives(
        "close n2", "client: connection.close-ok", "close client", "finished client_closed"
    )


def test_a_link_that_breaks_while_the_client_closes_is_not_waited_for() -> None:
    play = apart()
    play.client_sends(BYE)
    play.lost("n2").gives()
    closed_at(play, "n1")


def test_a_close_while_a_publish_waits_for_a_link_says_it_where_the_channel_is() -> None:
    play = moving()
    play.client_sends(BYE).gives('link: basic.publish q "a"/1 connection.close 200 bye', "abort n2")
    closed_at(play, "n1")


def test_a_close_while_a_publish_waits_for_a_look_up_says_it_where_the_channel_is() -> None:
    play = Play.opened("n1", "n2").knows().channel()
    play.client_sends(message("a")).gives("look up queue q")
    play.client_sends(BYE).gives('link: basic.publish q "a"/1 connection.close 200 bye')


def test_a_close_while_a_move_waits_for_acks_waits_for_nothing() -> None:
    """The client settles no more; its node gives the deliveries to somebody else."""
    play = Play.opened("n1", "n2").knows(("q", "n1")).channel().consumer()
    play.node_sends(deliver(1))
    play.move_off("n1").gives("connect n2")
    play.joins().gives("link: basic.cancel c/1")
    play.at("n1").node_answers(BasicCancelOk("c")).gives()
    play.client_sends(message("a"), (1, BasicConsume("q", "d")), BYE)
    said = play.sent_to(SendLink)
    assert play.lines[-1] == "n2: connection.close 200 bye"
    assert said.index(b"\x00\x3c\x00\x28") < said.index(encode(BYE)), "the publish is said first"
    closed_at(play, "n1", "n2")


def test_a_close_while_a_channel_changes_links_waits_until_all_is_said() -> None:
    play = moving()
    play.joins().gives(f"link: {GOODBYE}/1")
    play.client_sends(message("b"), BYE).gives()
    play.at("n1").leaves().gives("n2: channel.open/1 confirm.select/1")
    play.after(0.5).gives()
    play.at("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives(
        'n2: basic.publish q "a"/1'
    )
    play.after(0.5).gives()
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'n2: basic.publish q "b"/1')
    play.after(0.5).gives("link: connection.close 200 bye", "n2: connection.close 200 bye")
    closed_at(play, "n1", "n2")


def test_a_close_after_a_crash_waits_until_the_unconfirmed_is_said_again() -> None:
    play = Play.opened("n1", "n2").channel(confirms=True)
    play.client_sends(messages("a", "b"))
    play.lost("n1").gives("connect n2")
    play.client_sends(BYE).gives()
    play.joins().gives("n2: channel.open/1 confirm.select/1")
    play.at("n2").node_answers(ChannelOpenOk(), ConfirmSelectOk()).gives(
        'n2: basic.publish q "a"/1'
    )
    play.node_answers(BasicAck(1)).gives("client: basic.ack 1/1", 'n2: basic.publish q "b"/1')
    play.after(0.5).gives("n2: connection.close 200 bye")
    closed_at(play, "n2")


def test_a_close_whose_publishes_find_no_node_is_answered_in_the_end() -> None:
    play = Play.opened("n1").channel(confirms=True)
    play.client_sends(message("a"))
    play.lost("n1").gives()
    play.client_sends(BYE).gives()
    play.after(UNSAID_TIMEOUT + 0.1)
    assert "client: connection.close-ok" in play.lines
    assert play.session.finished


def test_a_client_that_vanishes_has_its_unsaid_publishes_said() -> None:
    play = moving(confirms=False)
    play.joins().gives(f"link: {GOODBYE}/1")
    play.client_leaves().gives()
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives('n2: basic.publish q "a"/1')
    play.after(0.5)
    assert any(line.startswith("link: connection.close") for line in play.lines)
    play.at("n1").node_sends(ConnectionCloseOk())
    play.at("n2").node_sends(ConnectionCloseOk())
    assert play.lines[-1] == "finished client_lost: the client closed its connection"


def test_a_client_that_closes_and_does_not_wait_has_its_unsaid_publishes_said() -> None:
    play = moving(confirms=False)
    play.joins()
    play.client_sends(BYE).gives()
    play.client_leaves().gives()
    play.at("n1").leaves().gives("n2: channel.open/1")
    play.at("n2").node_answers(ChannelOpenOk()).gives('n2: basic.publish q "a"/1')


def test_a_client_that_vanishes_with_nothing_unsaid_is_gone_at_once() -> None:
    play = apart()
    play.client_leaves().gives(
        "close link", "close n2", "finished client_lost: the client closed its connection"
    )


def test_a_close_that_one_link_never_answers_is_answered_after_a_while() -> None:
    play = apart()
    play.client_sends(BYE)
    play.at("n1").node_sends(ConnectionCloseOk()).gives("close link")
    play.after(CLOSE_TIMEOUT + 0.1).gives(
        "client: connection.close-ok",
        "close n2",
        "close client",
        "finished client_closed: the broker's close-ok was late",
    )


def test_nothing_is_said_on_a_link_after_the_clients_close() -> None:
    play = apart()
    play.client_sends(message("a"), BYE).gives(
        'link: basic.publish q "a"/1 connection.close 200 bye', "n2: connection.close 200 bye"
    )
    play.at("n1").node_answers(BasicCancel("c"))
    play.after(0.5).gives()


# -- a client that breaks the protocol ---------------------------------------------------------


def test_a_violation_of_the_client_ends_every_link() -> None:
    play = apart()
    play.client_sends(b"\x01\x00\x01\x00\x00\x00\x01xx").gives(
        f"link: {LINK_BYE}",
        "close link",
        f"n2: {LINK_BYE}",
        "close n2",
        "client: connection.close 501 FRAME_ERROR - *",
    )
