"""A session's links, as playbooks: opened, refused, avoided, lost, closed when nobody uses them."""

from tests.unit.balancer.core.scene import GOODBYE, LINK_BYE, Play, apart, message

from warrener.amqp.constants import HEARTBEAT
from warrener.amqp.methods import (
    BasicConsume,
    BasicConsumeOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionTune,
    ConnectionUnblocked,
    ConnectionUpdateSecret,
    ConnectionUpdateSecretOk,
    QueueDeclare,
    QueueDeclareOk,
    decode_method,
)
from warrener.balancer.core.commands import SendLink
from warrener.balancer.core.links import AVOID_REFUSED
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Placement, Unfit
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import START, TUNE

N1, N2 = NodeName("n1"), NodeName("n2")


def links(play: Play) -> tuple[NodeName, ...]:
    return play.session.statistics().links


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
    settings = BalancerSettings(link_heartbeat=10)
    play = Play.opened("n1", "n2", settings=settings).knows(("q", "n2")).channel()
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
