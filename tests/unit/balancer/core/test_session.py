"""Open sessions, as playbooks: forwarding, heartbeats, closes, lost nodes, violations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warrener.amqp.constants import HEARTBEAT
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicConsumeOk,
    BasicDeliver,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionBlocked,
    ConnectionClose,
    ConnectionCloseOk,
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


def deliver(tag: int, body: bytes) -> bytes:
    return (
        encode((1, BasicDeliver("c", tag, False, "", "q")))
        + publish(1, body)[len(publish(1, b"")) - len(encode_frame(2, 1, b"\0" * 14)) :]
    )


def test_a_chunk_without_a_decision_is_one_write_of_the_same_bytes() -> None:
    play = Playbook.opened()
    chunk = publish(1, b"x" * 100) * 50
    play.client_sends(chunk)
    assert len(play.commands) == 1
    assert play.sent_to(SendLink) is not None
    assert play.sent_to(SendLink) == chunk
    assert play.session.published == 50


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
    stream = encode((1, ChannelOpenOk()), (1, BasicConsumeOk("c")), deliver(1, b"b" * 200))
    stream += encode(HEARTBEAT) + deliver(2, b"") + encode(ConnectionBlocked("low on memory"))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    got = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += play.node_sends(stream[start:end]).sent_to(SendClient)
    assert got == stream.replace(HEARTBEAT, b"")
    assert play.session.delivered == 2
    assert play.session.blocked


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
        "client: channel.close 404 NOT_FOUND - no queue/1"
    )
    play.client_sends((1, ChannelCloseOk())).gives("link: channel.close-ok/1")
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


def test_a_lost_node_is_told_with_320_and_a_text() -> None:
    play = Playbook.opened("n1@localhost", "n2@localhost")
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


def test_a_silent_node_is_told_after_two_heartbeats() -> None:
    play = Playbook.opened("n1", settings=BalancerSettings(link_heartbeat=4))
    play.after(7.5)
    play.after(1).gives(
        "abort link", "client: connection.close 320 CONNECTION_FORCED - node n1 was lost (silent*"
    )


def test_a_silent_node_that_fails_its_probes_is_told_sooner() -> None:
    play = Playbook.opened("n1", settings=BalancerSettings(link_heartbeat=10))
    play.after(4)
    for _ in range(2):
        play.table.probed(NodeName("n1"), Unfit.HANGS, "no answer within 2 s")
    play.after(2)
    assert play.session.state is ClientState.OPEN
    play.after(1).gives("abort link", "client: connection.close 320 *silent for 7 s*")


def test_a_node_that_hangs_for_probes_but_still_sends_keeps_its_sessions() -> None:
    play = Playbook.opened("n1", settings=BalancerSettings(link_heartbeat=10))
    for _ in range(2):
        play.table.probed(NodeName("n1"), Unfit.HANGS, "no answer within 2 s")
    for _ in range(20):
        play.node_sends(HEARTBEAT)
        play.after(5)
    assert play.session.state is ClientState.OPEN


def test_a_node_lost_in_the_middle_of_a_frame_leaves_no_half_frame() -> None:
    play = Playbook.opened("n1")
    whole = deliver(1, b"z" * 1000)
    play.node_sends(whole[:-300]).gives("client: basic.deliver/1 header/1")
    play.link_breaks().gives("client: connection.close 320 *")


def test_a_client_that_never_answers_a_close_is_cut_off() -> None:
    play = Playbook.opened("n1")
    play.link_breaks()
    play.after(4).gives()
    play.after(2).gives("abort client", "finished node_lost: *")


# -- closes -------------------------------------------------------------------------------------


def test_the_clients_close_is_relayed_and_ends_both_sides() -> None:
    play = Playbook.opened("n1")
    play.client_sends(BYE).gives("link: connection.close 200 bye")
    play.node_sends(deliver(1, b"late"), ConnectionCloseOk()).gives(
        "client: basic.deliver/1 header/1 body 4/1 connection.close-ok",
        "close link",
        "close client",
        "finished client_closed",
    )


def test_the_brokers_close_is_relayed_and_ends_both_sides() -> None:
    play = Playbook.opened("n1")
    forced = ConnectionClose(320, "CONNECTION_FORCED - broker forced connection closure")
    play.node_sends(forced).gives("client: connection.close 320 CONNECTION_FORCED - broker*")
    play.client_sends(publish(1, b"late"), ConnectionCloseOk()).gives(
        "link: connection.close-ok", "close link", "close client", "finished broker_closed: *"
    )


def test_after_the_brokers_close_a_lost_link_is_no_second_close() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - shutdown"))
    play.link_breaks().gives()
    play.client_sends(ConnectionCloseOk()).gives("close client", "finished broker_closed: *")


def test_crossing_closes_are_both_answered() -> None:
    play = Playbook.opened("n1")
    play.client_sends(BYE)
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - shutdown")).gives(
        "link: connection.close-ok"
    )
    play.node_sends(ConnectionCloseOk()).gives(
        "client: connection.close-ok", "close link", "close client", "finished client_closed"
    )


def test_crossing_closes_seen_by_the_client_first_are_both_answered() -> None:
    play = Playbook.opened("n1")
    play.node_sends(ConnectionClose(320, "CONNECTION_FORCED - shutdown"))
    play.client_sends(BYE).gives(
        "link: connection.close-ok",
        "client: connection.close-ok",
        "close link",
        "close client",
        "finished broker_closed: *",
    )


def test_a_node_lost_while_the_client_closes_is_no_error() -> None:
    play = Playbook.opened("n1")
    play.client_sends(BYE)
    play.link_breaks().gives(
        "client: connection.close-ok", "close client", "finished client_closed"
    )


def test_a_late_close_ok_of_the_broker_is_given_for_it() -> None:
    play = Playbook.opened("n1")
    play.client_sends(BYE)
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
        "link: connection.close 200 the client was closed by its balancer",
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
    play = Playbook.opened("n1")
    bad = encode_frame(3, 1, b"xyz")[:-1] + b"\x00"
    play.client_sends(publish(1, b"good") + bad).gives(
        "link: basic.publish/1 header/1 body 4/1",
        "link: connection.close 200 *",
        "close link",
        "client: connection.close 501 FRAME_ERROR - *frame end should be 0xce, is 0x0",
    )


def test_a_node_that_breaks_the_protocol_is_a_lost_node() -> None:
    play = Playbook.opened("n1")
    play.node_sends(b"\x01\x00\x01\x00\x00\x00\x01xx").gives(
        "abort link", "client: connection.close 320 CONNECTION_FORCED - node n1 was lost (*"
    )


def test_a_broker_may_send_a_content_header_over_the_clients_frame_max() -> None:
    """RabbitMQ doesn't split headers, whatever the consumer agreed to."""
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(2047, 4096, 0))
    play.node_sends(encode_frame(2, 1, b"h" * 9000)).gives("client: header/1")


@pytest.mark.parametrize("kind", [0, 4, 7, 9, 255])
def test_frames_of_unknown_type_are_left_to_the_broker(kind: int) -> None:
    play = Playbook.opened("n1")
    play.client_sends(encode_frame(kind, 1, b"?")).gives(f"link: frame type {kind}/1")
