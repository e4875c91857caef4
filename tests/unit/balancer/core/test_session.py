"""Open sessions, as playbooks: forwarding, heartbeats, closes, lost nodes, violations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.amqp.constants import HEARTBEAT
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionStartOk,
    ConnectionTuneOk,
    ConnectionUnblocked,
    QueueDeclare,
)
from warrener.balancer.core.commands import SendClient, SendLink
from warrener.balancer.core.states import ClientState
from warrener.facts.ids import NodeName
from warrener.facts.reasons import Unfit
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import Playbook, encode, publish

BYE = ConnectionClose(200, "bye")


def with_channel(*nodes: str, settings: BalancerSettings | None = None) -> Playbook:
    """An open session with channel 1."""
    play = Playbook.opened(*(nodes or ("n1",)), settings=settings)
    play.client_sends((1, ChannelOpen()))
    play.node_sends((1, ChannelOpenOk())).gives("client: channel.open-ok/1")
    return play


def deliver(tag: int, body: bytes) -> bytes:
    return (
        encode((1, BasicDeliver("c", tag, False, "", "q")))
        + publish(1, body)[len(publish(1, b"")) - len(encode_frame(2, 1, b"\0" * 14)) :]
    )


def test_a_chunk_without_a_decision_is_one_write_of_the_same_bytes() -> None:
    play = with_channel()
    chunk = publish(1, b"x" * 100) * 50
    for round_ in (1, 2):
        play.client_sends(chunk)
        assert len(play.commands) == 1
        assert play.sent_to(SendLink) == chunk
        assert play.session.published == 50 * round_


def test_channel_methods_do_not_split_a_write() -> None:
    play = Playbook.opened()
    play.client_sends((1, ChannelOpen()), (1, QueueDeclare("q")), publish(1, b"x")).gives(
        "link: channel.open/1 queue.declare/1 basic.publish/1 header/1 body 1/1"
    )


@given(data=st.data())
def test_any_split_of_the_clients_bytes_gives_the_same_bytes(data: st.DataObject) -> None:
    play = Playbook.opened("n1")
    stream = encode((1, ChannelOpen()), publish(1, b"a" * 300, frame_max=128))
    stream += encode(HEARTBEAT, (1, BasicAck(3, True)), publish(1, b""), HEARTBEAT)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += play.client_sends(stream[start:end]).sent_to(SendLink)
    assert got == stream.replace(HEARTBEAT, b"")
    assert play.session.published == 2


@given(data=st.data())
def test_any_split_of_the_nodes_bytes_gives_the_same_bytes(data: st.DataObject) -> None:
    play = Playbook.opened("n1")
    play.client_sends((1, ChannelOpen()), (1, BasicConsume("q", "c")))
    stream = encode((1, ChannelOpenOk()), (1, BasicConsumeOk("c")), deliver(1, b"b" * 200))
    stream += encode(HEARTBEAT) + deliver(2, b"") + encode(ConnectionBlocked("low on memory"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += play.node_sends(stream[start:end]).sent_to(SendClient)
    assert got == stream.replace(HEARTBEAT, b"")
    assert play.session.delivered == 2
    assert play.session.statistics().state == "blocked"


def test_frames_are_forwarded_whole_never_in_part() -> None:
    play = Playbook.opened()
    frame = encode_frame(3, 1, b"y" * 1000)
    play.client_sends(frame + frame[:500]).gives("link: body 1000/1")
    play.client_sends(frame[500:999]).gives()
    play.client_sends(frame[999:]).gives("link: body 1000/1")


def test_blocked_and_unblocked_are_passed_on_and_noted() -> None:
    play = Playbook.opened()
    play.node_sends(ConnectionBlocked("low on memory")).gives("client: connection.blocked")
    assert play.session.statistics().state == "blocked"
    play.node_sends(ConnectionUnblocked()).gives("client: connection.unblocked")
    assert play.session.statistics().state == "open"


def test_a_channel_error_closes_only_the_channel() -> None:
    play = Playbook.opened()
    play.client_sends((1, ChannelOpen()), (2, ChannelOpen()))
    play.node_sends((1, ChannelOpenOk()), (2, ChannelOpenOk()))
    assert play.session.statistics().channels == 2
    play.node_sends((1, ChannelClose(404, "NOT_FOUND - no queue"))).gives(
        "link: channel.close-ok/1", "client: channel.close 404 NOT_FOUND - no queue/1"
    )
    play.client_sends((1, BasicAck(1)), (1, ChannelCloseOk())).gives()
    assert play.session.statistics().channels == 1
    assert play.session.state is ClientState.OPEN


# -- heartbeats ---------------------------------------------------------------------------------


def test_each_hop_gets_heartbeats_of_its_own() -> None:
    play = Playbook.opened("n1", settings=BalancerSettings(link_heartbeat=10))
    for _ in range(8):
        play.after(0.5).gives()
    play.after(0.5).gives("link: heartbeat")


def test_any_traffic_counts_as_a_heartbeat() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 4))
    for _ in range(40):
        play.after(0.5)
        play.client_sends((1, BasicAck(1)))
        play.node_sends(HEARTBEAT)
        assert "finished" not in " ".join(play.lines)
    assert play.session.state is ClientState.OPEN


def test_a_quiet_consumer_is_not_dropped_while_it_sends_heartbeats() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 4))
    for _ in range(30):
        play.client_sends(HEARTBEAT).gives()
        play.node_sends(HEARTBEAT).gives()
        play.after(2)
    assert play.session.state is ClientState.OPEN


def test_a_client_that_is_silent_for_two_intervals_is_dropped() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 4))
    for _ in range(16):
        play.node_sends(HEARTBEAT)
        play.after(0.5)
    play.after(0.5).gives("close link", "abort client", "finished client_silent: silent for 8 s")


def test_a_client_without_heartbeats_is_never_dropped_for_silence() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 0))
    for _ in range(1000):
        play.node_sends(HEARTBEAT)
        play.after(5)
    assert play.session.state is ClientState.OPEN


def test_a_client_that_is_not_read_is_not_blamed_for_its_silence() -> None:
    """Back-pressure: the node doesn't take bytes, so nobody reads the client's heartbeats."""
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 4))
    play.session.set_link_writable(play.link, False, play.now)
    for _ in range(100):
        play.node_sends(HEARTBEAT)
        play.after(1)
    assert play.session.state is ClientState.OPEN


def test_a_node_that_is_not_read_is_not_blamed_for_its_silence() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 131072, 60))
    play.session.set_client_writable(False, play.now)
    for _ in range(30):
        play.client_sends(HEARTBEAT)
        play.after(1)
    assert play.session.state is ClientState.OPEN


# -- lost nodes ---------------------------------------------------------------------------------


def test_a_lost_home_is_replaced_and_the_client_hears_nothing() -> None:
    play = Playbook.opened("n1@localhost", "n2@localhost")
    play.link_breaks("connection reset by peer").gives("connect n2@localhost")
    play.joins().gives()
    assert play.session.node == "n2@localhost"
    assert [node.sessions for node in play.table.statistics()] == [0, 1]


def test_a_link_that_cannot_be_opened_again_ends_the_session_with_its_node() -> None:
    """EXTERNAL belongs to one TLS session: nobody can say it again to another node."""
    external = ConnectionStartOk({}, "EXTERNAL", b"", "en_US")
    play = Playbook.opened("n1@localhost", "n2@localhost", start_ok=external)
    play.link_breaks("connection reset by peer").gives(
        "client: connection.close 320 CONNECTION_FORCED - node n1@localhost was lost "
        "(connection reset by peer); connect again to reach another node"
    )
    play.client_sends(publish(1, b"late"), ConnectionCloseOk()).gives(
        "close client",
        "finished node_lost: CONNECTION_FORCED - node n1@localhost was lost "
        "(connection reset by peer); connect again to reach another node",
    )
    assert play.table.statistics()[0].sessions == 0


def test_a_silent_node_is_left_after_two_heartbeats() -> None:
    play = Playbook.opened("n1", "n2", settings=BalancerSettings(link_heartbeat=4))
    play.after(7.5).gives("link: heartbeat")
    play.after(1).gives("abort link", "connect n2")


def test_a_silent_node_that_fails_its_probes_is_left_sooner() -> None:
    play = Playbook.opened("n1", "n2", settings=BalancerSettings(link_heartbeat=10))
    play.after(4)
    for _ in range(2):
        play.table.probed(NodeName("n1"), Unfit.HANGS, "no answer within 2 s")
    play.after(2).gives("link: heartbeat")
    play.after(1).gives("abort link", "connect n2")


def test_a_node_that_hangs_for_probes_but_still_sends_keeps_its_sessions() -> None:
    play = Playbook.opened("n1", settings=BalancerSettings(link_heartbeat=10))
    for _ in range(2):
        play.table.probed(NodeName("n1"), Unfit.HANGS, "no answer within 2 s")
    for _ in range(20):
        play.node_sends(HEARTBEAT)
        play.after(5)
    assert play.session.state is ClientState.OPEN


def test_a_node_lost_in_the_middle_of_a_message_leaves_no_part_of_it() -> None:
    """So that the message can come again from another node."""
    play = with_channel()
    whole = deliver(1, b"z" * 1000)
    play.node_sends(whole[:-300]).gives()
    play.link_breaks().gives()


def test_a_client_that_never_answers_a_close_is_cut_off() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(501, "FRAME_ERROR - so the broker says"))
    play.after(4).gives()
    play.after(2).gives("abort client", "finished broker_closed: *")


# -- closes -------------------------------------------------------------------------------------


def test_the_clients_close_is_relayed_and_ends_both_sides() -> None:
    play = with_channel()
    play.client_sends(BYE).gives("link: connection.close 200 bye")
    play.node_sends(deliver(1, b"late"), ConnectionCloseOk()).gives(
        "client: basic.deliver/1 header/1 body 4/1",
        "close link",
        "client: connection.close-ok",
        "close client",
        "finished client_closed",
    )


def test_a_close_meant_for_the_client_is_relayed_and_ends_both_sides() -> None:
    play = Playbook.opened("n1", "n2")
    forced = ConnectionClose(320, "CONNECTION_FORCED - Closed via management plugin")
    play.node_sends(forced).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close 320 CONNECTION_FORCED - Closed via management plugin",
    )
    play.client_sends(publish(1, b"late"), ConnectionCloseOk()).gives(
        "close client", "finished broker_closed: the broker closed the connection"
    )
    assert [node.sessions for node in play.table.statistics()] == [0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "CONNECTION_FORCED - Node was put into maintenance mode",
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
    ],
)
def test_a_node_that_says_goodbye_is_left_unseen(text: str) -> None:
    play = Playbook.opened("n1", "n2")
    play.node_sends(ConnectionClose(320, text)).gives(
        "link: connection.close-ok", "close link", "connect n2"
    )


def test_after_the_brokers_close_a_lost_link_is_no_second_close() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - Closed via management plugin"))
    play.link_breaks().gives()
    play.client_sends(ConnectionCloseOk()).gives("close client", "finished broker_closed: *")


def test_crossing_closes_are_both_answered() -> None:
    play = Playbook.opened("n1")
    play.client_sends(BYE).gives("link: connection.close 200 bye")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - shutdown")).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close-ok",
        "close client",
        "finished client_closed",
    )
    play.node_sends(ConnectionCloseOk()).gives()


def test_crossing_closes_seen_by_the_client_first_are_both_answered() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - Closed via management plugin"))
    play.client_sends(BYE).gives(
        "client: connection.close-ok", "close client", "finished broker_closed: *"
    )


def test_a_close_while_there_is_no_node_is_answered_at_once() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - shutdown"))
    play.client_sends(BYE).gives(
        "client: connection.close-ok", "close client", "finished client_closed"
    )


def test_a_node_lost_while_the_client_closes_is_no_error() -> None:
    play = Playbook.opened("n1", "n2")
    play.client_sends(BYE)
    play.link_breaks().gives(
        "client: connection.close-ok", "close client", "finished client_closed"
    )


def test_a_late_close_ok_of_the_broker_is_given_for_it() -> None:
    """And what the node has not yet taken is still written to it."""
    play = with_channel()
    play.client_sends(publish(1, b"last words"), BYE)
    play.after(5.1).gives(
        "client: connection.close-ok", "close link", "close client", "finished client_closed: *"
    )


def test_what_a_client_published_before_it_left_still_reaches_the_node() -> None:
    play = Playbook.opened("n1")
    play.client_sends(publish(1, b"last words"))
    play.client_leaves().gives("close link", "finished client_lost: *")


def test_a_shutdown_says_so() -> None:
    play = Playbook.opened("n1")
    play.shuts_down().gives(
        "link: connection.close 200 the balancer needs this connection no more",
        "close link",
        "client: connection.close 320 CONNECTION_FORCED - the balancer is shutting down",
    )
    play.shuts_down().gives()
    play.client_sends(ConnectionCloseOk()).gives("close client", "finished shutdown: *")


# -- violations ---------------------------------------------------------------------------------


def test_a_frame_over_the_agreed_size_gets_a_501() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 4096, 0))
    play.client_sends(encode_frame(3, 1, b"x" * 4088)).gives("link: body 4088/1")
    play.client_sends(encode_frame(3, 1, b"x" * 4089)).gives(
        "link: connection.close 200 *",
        "close link",
        "client: connection.close 501 FRAME_ERROR - *4089 bytes is over the limit of 4088",
    )


def test_an_announced_size_over_the_limit_is_refused_before_it_arrives() -> None:
    play = Playbook.opened("n1")
    play.client_sends(b"\x03\x00\x01\x7f\xff\xff\xff" + b"x" * 10).gives(
        "link: *", "close link", "client: connection.close 501 FRAME_ERROR - *"
    )


def test_a_bad_frame_end_gets_a_501_after_what_was_good() -> None:
    play = with_channel()
    bad = encode_frame(3, 1, b"xyz")[:-1] + b"\x00"
    play.client_sends(publish(1, b"good") + bad).gives(
        "link: basic.publish/1 header/1 body 4/1 connection.close 200 *",
        "close link",
        "client: connection.close 501 FRAME_ERROR - *frame end should be 0xce, is 0x0",
    )


def test_a_node_that_breaks_the_protocol_is_a_lost_node() -> None:
    play = Playbook.opened("n1", "n2")
    play.node_sends(b"\x01\x00\x01\x00\x00\x00\x01xx").gives("abort link", "connect n2")


def test_a_broker_may_send_a_content_header_over_the_clients_frame_max() -> None:
    """RabbitMQ doesn't split headers, whatever the consumer agreed to."""
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 4096, 0))
    play.client_sends((1, ChannelOpen()))
    play.node_sends((1, ChannelOpenOk()))
    header = b"\x00\x3c\x00\x00" + bytes(8) + b"\x80\x00" + b"h" * 9000
    play.node_sends((1, BasicDeliver("c", 1, False, "", "q")), encode_frame(2, 1, header)).gives(
        "client: basic.deliver/1 header/1"
    )


@pytest.mark.parametrize("kind", [0, 4, 7, 9, 255])
def test_frames_of_unknown_type_are_left_to_the_broker(kind: int) -> None:
    play = Playbook.opened("n1")
    play.client_sends(encode_frame(kind, 1, b"?")).gives(f"link: frame type {kind}/1")
