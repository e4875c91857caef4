"""Sessions with several links, as playbooks: links come, linger and go; closes; limits."""

from tests.unit.balancer.core.scene import GOODBYE, Play, deliver, encode, message, messages

from warrener.amqp.constants import HEARTBEAT
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelectOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionTune,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    QueueDeclare,
    QueueDeclareOk,
    decode_method,
)
from warrener.balancer.core.commands import HoldClient, SendLink
from warrener.balancer.core.session import CLOSE_TIMEOUT, UNSAID_TIMEOUT
from warrener.balancer.core.switchboard import AVOID_REFUSED, SMALL_JOURNAL
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason, Placement, Unfit
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import START, TUNE

BYE = ConnectionClose(200, "bye")
LINK_BYE = "connection.close 200 the balancer needs this connection no more"
N1, N2 = NodeName("n1"), NodeName("n2")


def apart(settings: BalancerSettings | None = None) -> Play:
    """Channel 1 consumes at home on n1, channel 2 on n2."""
    play = Play.opened("n1", "n2", settings=settings).knows(("q", "n1"), ("r", "n2"))
    play.channel().consumer("q", "c")
    return second_channel(play)


def second_channel(play: Play) -> Play:
    """Channel 2 goes to n2, where its queue is."""
    play.at("n1").channel(2).client_sends((2, BasicConsume("r", "d"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves(2).gives("n2: channel.open/2")
    play.at("n2").node_answers(ChannelOpenOk(), channel=2).gives("n2: basic.consume r d/2")
    return play.node_answers(BasicConsumeOk("d"), channel=2).gives("client: basic.consume-ok d/2")


def links(play: Play) -> tuple[NodeName, ...]:
    return play.session.statistics().links


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


# -- links come and go ---------------------------------------------------------------------------


def test_a_link_without_channels_lingers_and_is_closed() -> None:
    play = apart(BalancerSettings(link_linger=5.0))
    play.client_sends((2, ChannelClose(200, "bye"))).gives("n2: channel.close 200 bye/2")
    play.node_answers(ChannelCloseOk(), channel=2)
    play.ticks(5)
    assert links(play) == (N1, N2)
    play.ticks(1)
    assert f"n2: {LINK_BYE}" in play.lines
    assert "close n2" in play.lines
    assert links(play) == (N1,)


def test_a_link_that_is_used_again_in_time_stays() -> None:
    play = apart(BalancerSettings(link_linger=5.0))
    play.client_sends((2, ChannelClose(200, "bye")))
    play.node_answers(ChannelCloseOk(), channel=2)
    play.ticks(4)
    play.at("n1").channel(3).client_sends((3, BasicConsume("r", "e"))).gives(f"link: {GOODBYE}/3")
    play.at("n1").leaves(3)
    play.at("n2").node_answers(ChannelOpenOk(), BasicConsumeOk("e"), channel=3)
    play.ticks(20)
    assert links(play) == (N1, N2)


def test_a_home_that_no_channel_uses_is_closed_and_the_other_link_is_home() -> None:
    play = apart(BalancerSettings(link_linger=5.0))
    play.client_sends((1, ChannelClose(200, "bye")))
    play.at("n1").leaves()
    play.ticks(6)
    assert f"link: {LINK_BYE}" in play.lines
    assert (links(play), play.session.node) == ((N2,), N2)
    assert [node.sessions for node in play.table.statistics()] == [0, 1]


def test_a_session_without_channels_keeps_one_link() -> None:
    play = apart(BalancerSettings(link_linger=5.0))
    for number, node in ((1, "n1"), (2, "n2")):
        play.client_sends((number, ChannelClose(200, "bye")))
        play.at(node).leaves(number)
    play.ticks(20)
    assert links(play) == (N1,)


def test_an_exclusive_queue_keeps_its_link() -> None:
    play = apart(BalancerSettings(link_linger=5.0))
    play.client_sends((1, QueueDeclare("mine", exclusive=True)))
    play.at("n1").node_answers(QueueDeclareOk("mine", 0, 0))
    play.client_sends((1, ChannelClose(200, "bye")))
    play.leaves()
    play.ticks(20)
    assert links(play) == (N1, N2)


def test_a_session_says_its_own_login_and_limits_on_every_link() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    first = {}
    play.client_sends((1, BasicConsume("q", "c")))
    play.link_connects()
    for said, name in ((START, "start-ok"), (TUNE, "tune-ok")):
        first[name] = decode_method(play.node_sends(said).sent_to(SendLink)[7:-1])
    assert first["start-ok"].response == b"\0guest\0secret"
    assert (first["tune-ok"].channel_max, first["tune-ok"].frame_max) == (2047, 131072)


def test_a_node_that_offers_less_than_was_agreed_is_no_place_for_a_channel() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.link_connects()
    play.node_sends(START)
    play.node_sends(ConnectionTune(2047, 8192, 60)).gives("abort n2", "link: basic.consume q c/1")


def test_a_link_refused_for_a_limit_is_left_alone_for_a_while() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends((1, BasicConsume("q", "c")))
    play.link_connects()
    play.node_sends(START)
    play.node_sends(TUNE)
    full = ConnectionClose(530, "NOT_ALLOWED - connection limit (1) for user 'guest' is reached")
    play.node_sends(full).gives("n2: connection.close-ok", "close n2", "link: basic.consume q c/1")
    play.at("n1").node_answers(BasicConsumeOk("c"))
    play.ticks(AVOID_REFUSED - 1)
    assert "connect n2" not in play.lines
    assert play.session.channels()[0].why is Placement.REFUSED
    play.ticks(12)
    assert "connect n2" in play.lines


def test_a_link_that_hangs_in_its_handshake_is_given_up() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends((1, BasicConsume("q", "c"))).gives("connect n2")
    play.after(2.9).gives()
    play.after(0.2).gives("abort n2", "link: basic.consume q c/1")


def test_a_link_that_this_machine_cannot_open_says_nothing_about_the_node() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends((1, BasicConsume("q", "c")))
    play._did(play.session.link_impossible(play.link, play.now, "too many open files"))
    assert "link: basic.consume q c/1" in play.lines
    assert play.table.statistics()[1].failures_total == 0


def test_heartbeats_go_over_every_link() -> None:
    play = apart(BalancerSettings(link_heartbeat=10))
    play.now += 4.5
    play._did(play.session.tick(play.now))
    play.gives("link: heartbeat", "n2: heartbeat")
    play.at("n2").node_sends(HEARTBEAT).gives()


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


# -- blocked and unblocked -----------------------------------------------------------------------


def test_a_client_is_blocked_by_the_first_link_and_unblocked_by_the_last() -> None:
    play = apart()
    low, free = ConnectionBlocked("low on memory"), ConnectionUnblocked()
    play.at("n1").node_sends(low).gives("client: connection.blocked")
    play.at("n2").node_sends(low).gives()
    play.at("n1").node_sends(free).gives()
    play.at("n2").node_sends(free).gives("client: connection.unblocked")


def test_a_client_is_unblocked_when_the_link_that_blocked_it_is_gone() -> None:
    play = apart()
    play.at("n2").node_sends(ConnectionBlocked("low on memory"))
    play.link_breaks()
    assert play.lines[0] == "client: connection.unblocked"
    assert play.session.statistics().state == "open"


# -- a new secret --------------------------------------------------------------------------------


def test_a_new_secret_goes_to_every_link_and_is_answered_once() -> None:
    play = apart()
    play.client_sends(ConnectionUpdateSecret(b"new", "expired")).gives(
        "link: connection.update-secret", "n2: connection.update-secret"
    )
    play.at("n2").node_sends(ConnectionUpdateSecretOk()).gives(
        "client: connection.update-secret-ok"
    )
    play.at("n1").node_sends(ConnectionUpdateSecretOk()).gives()


def test_a_link_opened_after_a_new_secret_logs_in_with_it() -> None:
    play = Play.opened("n1", "n2").knows(("q", "n2")).channel()
    play.client_sends(ConnectionUpdateSecret(b"new", "expired"))
    play.client_sends((1, BasicConsume("q", "c")))
    play.link_connects()
    start_ok = decode_method(play.node_sends(START).sent_to(SendLink)[7:-1])
    assert start_ok.response == b"\0guest\0new"


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


# -- a broker's close ----------------------------------------------------------------------------


def test_maintenance_of_a_node_is_a_move_and_no_failure() -> None:
    play = apart()
    close = ConnectionClose(320, "CONNECTION_FORCED - Node was put into maintenance mode")
    play.at("n2").node_sends(close).gives(
        "n2: connection.close-ok", "close n2", "link: channel.open/2 basic.consume r d/2"
    )
    play.at("n1").node_answers(ChannelOpenOk(), BasicConsumeOk("d"), channel=2).gives()
    assert play.session.channels()[1].node == N1
    assert play.directory.place("/", "r", play.now) is not None
    assert play.table.statistics()[1].failures_total == 0


def test_a_close_by_an_operator_is_for_the_client_and_ends_every_link() -> None:
    play = apart()
    close = ConnectionClose(320, "CONNECTION_FORCED - Closed via management plugin")
    play.at("n2").node_sends(close).gives(
        "n2: connection.close-ok",
        "close n2",
        f"link: {LINK_BYE}",
        "close link",
        "client: connection.close 320 CONNECTION_FORCED - Closed via management plugin",
    )


def test_a_violation_of_the_client_ends_every_link() -> None:
    play = apart()
    play.client_sends(b"\x01\x00\x01\x00\x00\x00\x01xx").gives(
        f"link: {LINK_BYE}",
        "close link",
        f"n2: {LINK_BYE}",
        "close n2",
        "client: connection.close 501 FRAME_ERROR - *",
    )


# -- nodes in trouble ----------------------------------------------------------------------------


def test_a_hanging_link_is_left_while_the_others_go_on() -> None:
    play = apart(BalancerSettings(link_heartbeat=4))
    for _ in range(17):
        play.at("n1").node_sends(HEARTBEAT)
        play.client_sends(HEARTBEAT)
        play.after(0.5)
    assert play.lines[0] == "abort n2"
    assert play.table.unfit(N2) is None, "whether it is fit is for the probes to say"
    play.client_sends(message("a")).gives('link: basic.publish q "a"/1')


def test_a_new_channel_begins_on_another_link_while_the_home_is_away() -> None:
    play = apart()
    play.client_sends((1, ChannelClose(200, "bye")))
    play.at("n1").leaves()
    play.lost("n1")
    play.client_sends((3, ChannelOpen()))
    assert "n2: channel.open/3" in play.lines
    assert play.session.node == N2


def test_a_node_that_is_unfit_is_no_refuge() -> None:
    play = Play.opened("n1", "n2", "n3").channel()
    for _ in range(2):
        play.table.probed(N2, Unfit.REFUSES, "")
    play.lost("n1").gives("connect n3")
