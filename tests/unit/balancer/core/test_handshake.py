"""The handshake, as playbooks: relayed when all goes well, replayed on another node when not."""

import pytest

from warrener.amqp.constants import HEARTBEAT, PROTOCOL_HEADER
from warrener.amqp.methods import (
    ChannelOpen,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionSecure,
    ConnectionSecureOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    QueueDeclare,
    decode_method,
)
from warrener.balancer.core.commands import SendClient, SendLink
from warrener.balancer.core.states import ClientState
from warrener.testing.playbook import (
    OPEN,
    OPEN_OK,
    START,
    START_OK,
    TUNE,
    TUNE_OK,
    Playbook,
    encode,
)

QUIET_START_OK = ConnectionStartOk({"product": "old"}, "PLAIN", b"\0guest\0wrong", "en_US")


def test_a_handshake_is_relayed_step_by_step() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER).gives("connect n1")
    play.link_connects().gives("link: header")
    play.node_sends(START).gives("client: connection.start")
    play.client_sends(START_OK).gives("link: connection.start-ok")
    play.node_sends(TUNE).gives("client: connection.tune")
    play.client_sends(TUNE_OK).gives()
    play.client_sends(OPEN).gives("link: connection.tune-ok 2047 131072 6 connection.open")
    play.node_sends(OPEN_OK).gives("client: connection.open-ok")
    assert play.session.state is ClientState.OPEN
    assert play.session.statistics().user == "guest"


def test_start_and_tune_reach_the_client_byte_for_byte() -> None:
    play = Playbook("n1")
    play.client_sends(PROTOCOL_HEADER)
    play.link_connects()
    assert play.node_sends(START).sent_to(SendClient) == encode(START)
    play.client_sends(START_OK)
    assert play.node_sends(TUNE).sent_to(SendClient) == encode(TUNE)


def test_a_header_may_come_in_pieces() -> None:
    play = Playbook("n1")
    for octet in PROTOCOL_HEADER[:-1]:
        play.client_sends(bytes([octet])).gives()
    play.client_sends(PROTOCOL_HEADER[-1:]).gives("connect n1")


@pytest.mark.parametrize("cut", range(1, len(encode(TUNE_OK, OPEN))))
def test_handshake_frames_may_be_cut_anywhere(cut: int) -> None:
    play = Playbook.until(ConnectionTune, "n1")
    raw = encode(TUNE_OK, OPEN)
    play.client_sends(raw[:cut])
    play.client_sends(raw[cut:]).gives("link: connection.tune-ok 2047 131072 6 connection.open")


def test_what_a_client_sends_before_open_ok_is_held_and_then_goes_through() -> None:
    play = Playbook.until(ConnectionTune, "n1")
    play.client_sends(TUNE_OK, OPEN, (1, ChannelOpen())).gives(
        "link: connection.tune-ok* connection.open", "hold client"
    )
    play.client_sends((1, QueueDeclare("q"))).gives()
    play.node_sends(OPEN_OK).gives(
        "client: connection.open-ok",
        "release client",
        "link: channel.open/1 queue.declare/1",
    )


def test_a_node_that_hangs_after_connect_is_left_for_the_next_one_in_time() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER)
    play.link_connects().gives("link: header")
    play.after(2.9).gives()
    play.after(0.2).gives("abort link", "connect n2")
    play.link_connects()
    play.node_sends(START).gives("client: connection.start")


@pytest.mark.parametrize("fault", ["breaks", "hangs", "closes with 320"])
def test_a_node_lost_after_start_ok_is_replaced_unseen(fault: str) -> None:
    """The client waits for tune; the next node gets the same start-ok, the client one tune."""
    play = Playbook.until(ConnectionStart, "n1", "n2")
    first = play.client_sends(START_OK).sent_to(SendLink)
    if fault == "breaks":
        play.link_breaks("connection reset by peer").gives("connect n2")
    elif fault == "hangs":
        play.after(5.1).gives("abort link", "connect n2")
    else:
        forced = ConnectionClose(320, "CONNECTION_FORCED - shutdown")
        play.node_sends(forced).gives("link: connection.close-ok", "close link", "connect n2")
    play.link_connects().gives("link: header")
    play.node_sends(START).gives("link: connection.start-ok")
    assert play.sent_to(SendLink) == first
    play.node_sends(TUNE).gives("client: connection.tune")


def test_a_client_on_which_nodes_hang_up_is_at_fault_itself() -> None:
    """RabbitMQ answers a start-ok it can't accept by hanging up. No node gets unfit by that."""
    play = Playbook.until(ConnectionStartOk, "n1", "n2", "n3")
    play.link_breaks("connection reset by peer").gives("connect n2")
    play.link_connects()
    play.node_sends(START)
    play.link_breaks("connection reset by peer").gives(
        "client: connection.close 320 CONNECTION_FORCED - 2 times a node hung up*n2*its log*"
    )
    assert [node.failures_total for node in play.table.statistics()] == [0, 0, 0]
    assert [node.unfit for node in play.table.statistics()] == [None, None, None]


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        (ConnectionTuneOk(2047, 4095, 60), "negotiated frame_max = 4095 is lower than*(4096)"),
        (ConnectionTuneOk(2047, 131073, 60), "negotiated frame_max = 131073 is higher*(131072)"),
        (ConnectionTuneOk(2047, 0, 60), "negotiated frame_max = 0 is higher than*(131072)"),
        (ConnectionTuneOk(2048, 131072, 60), "negotiated channel_max = 2048 is higher*(2047)"),
    ],
)
def test_limits_that_brokers_hang_up_on_are_refused(chosen: ConnectionTuneOk, text: str) -> None:
    """With 530, before a node is asked: its hanging up would look as if it had failed."""
    play = Playbook.until(ConnectionTune, "n1", "n2")
    play.client_sends(chosen, OPEN).gives(
        "abort link", f"client: connection.close 530 NOT_ALLOWED - {text}"
    )
    assert play.table.statistics()[0].failures_total == 0


def test_a_node_lost_after_open_is_replaced_unseen() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2")
    play.link_breaks("connection reset by peer").gives("connect n2")
    play.link_connects().gives("link: header")
    play.node_sends(START).gives("link: connection.start-ok")
    play.node_sends(TUNE).gives("link: connection.tune-ok 2047 131072 6 connection.open")
    play.node_sends(OPEN_OK).gives("client: connection.open-ok")
    assert play.session.node == "n2"


def test_a_node_that_offers_less_than_was_agreed_is_passed_over() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2", "n3")
    play.link_breaks()
    play.link_connects()
    play.node_sends(START)
    play.node_sends(ConnectionTune(2047, 4096, 60)).gives("abort link", "connect n3")
    assert play.table.statistics()[1].failures_total == 0


def test_a_vhost_that_is_down_on_one_node_is_tried_on_another() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2")
    down = ConnectionClose(541, "INTERNAL_ERROR - access to vhost '/' refused: vhost is down")
    play.node_sends(down).gives("link: connection.close-ok", "close link", "connect n2")
    assert play.table.statistics()[0].failures_total == 0, "other vhosts are up there"


def test_a_wrong_password_is_told_to_a_client_that_announced_it() -> None:
    play = Playbook.until(ConnectionStartOk, "n1", "n2")
    refused = ConnectionClose(403, "ACCESS_REFUSED - Login was refused")
    play.node_sends(refused).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close 403 ACCESS_REFUSED - Login was refused",
    )
    play.client_sends(ConnectionCloseOk()).gives("close client", "finished access_refused: *")


def test_a_wrong_password_closes_without_a_word_for_a_client_that_did_not() -> None:
    """As RabbitMQ does. The link announces the capability, so that no other node is tried."""
    play = Playbook.until(ConnectionStart, "n1", "n2")
    sent = play.client_sends(QUIET_START_OK).sent_to(SendLink)
    announced = decode_method(sent[7:-1])
    assert isinstance(announced, ConnectionStartOk)
    assert announced.client_properties["capabilities"] == {
        "authentication_failure_close": True,
        "consumer_cancel_notify": True,
    }
    assert announced.client_properties["warrener_client"] == "192.0.2.9:40000"
    play.node_sends(ConnectionClose(403, "ACCESS_REFUSED - Login was refused")).gives(
        "link: connection.close-ok", "close link", "close client", "finished access_refused: *"
    )


def test_an_unknown_vhost_is_told_and_no_other_node_is_asked() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2")
    play.node_sends(ConnectionClose(530, "NOT_ALLOWED - vhost x not found", 10, 40)).gives(
        "link: connection.close-ok",
        "close link",
        "client: connection.close 530 NOT_ALLOWED - vhost x not found",
    )


def test_a_node_at_its_connection_limit_is_passed_over() -> None:
    play = Playbook.until(ConnectionOpen, "n1", "n2")
    full = "NOT_ALLOWED - connection refused: node connection limit (5) is reached"
    play.node_sends(ConnectionClose(530, full)).gives(
        "link: connection.close-ok", "close link", "connect n2"
    )


def test_a_challenge_is_relayed_and_binds_the_session_to_its_node() -> None:
    play = Playbook.until(ConnectionStart, "n1", "n2")
    play.client_sends(ConnectionStartOk({}, "RABBIT-CR-DEMO", b"guest", "en_US"))
    play.node_sends(ConnectionSecure(b"Please tell me your password")).gives(
        "client: connection.secure"
    )
    play.client_sends(ConnectionSecureOk(b"My password is guest")).gives(
        "link: connection.secure-ok"
    )
    play.link_breaks("connection reset by peer").gives(
        "client: connection.close 320 CONNECTION_FORCED - node n1 ended this handshake (*"
    )


def test_a_client_that_dawdles_is_dropped() -> None:
    play = Playbook("n1")
    play.after(9.9).gives()
    play.after(0.2).gives("close client", "finished client_slow_handshake: await_header*")


def test_a_client_that_stops_half_way_is_dropped_with_its_link() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    play.after(10.1).gives("close link", "close client", "finished client_slow_handshake: *")


def test_a_client_that_leaves_in_the_handshake_leaves_nothing() -> None:
    play = Playbook("n1")
    play.client_sends(PROTOCOL_HEADER)
    play.client_leaves().gives("abort link", "finished client_lost: *")
    assert play.table.statistics()[0].sessions == 0


def test_frames_that_have_no_place_in_a_handshake_get_a_503() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    play.client_sends(OPEN).gives(
        "abort link",
        "client: connection.close 503 COMMAND_INVALID - connection.open may not come*",
    )


def test_content_before_open_gets_a_505() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    play.client_sends((1, QueueDeclare("q"))).gives(
        "abort link", "client: connection.close 505 UNEXPECTED_FRAME - *"
    )


def test_a_bad_frame_end_in_the_handshake_gets_a_501() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    play.client_sends(encode(START_OK)[:-1] + b"\x00").gives(
        "abort link", "client: connection.close 501 FRAME_ERROR - *"
    )


def test_heartbeats_in_the_handshake_are_swallowed() -> None:
    play = Playbook.until(ConnectionStart, "n1")
    play.client_sends(HEARTBEAT, START_OK).gives("link: connection.start-ok")
    play.node_sends(HEARTBEAT, TUNE).gives("client: connection.tune")


def test_a_node_that_speaks_another_version_is_unfit() -> None:
    play = Playbook("n1", "n2")
    play.client_sends(PROTOCOL_HEADER)
    play.link_connects()
    play.node_sends(b"AMQP\x00\x01\x00\x00").gives("abort link", "connect n2")


def test_limits_agreed_are_the_clients_and_the_heartbeat_is_the_links_own() -> None:
    play = Playbook.opened("n1", tune_ok=ConnectionTuneOk(5, 8192, 2))
    assert play.session.statistics().state == "open"
    play.after(0.6).gives("client: heartbeat")  # half of the client's 2 s, less a tick


def test_text_of_a_client_that_is_not_utf8_is_fit_for_json() -> None:
    play = Playbook.until(ConnectionTune, "n1")
    vhost = "\udcff\x1b[31m"
    play.client_sends(TUNE_OK, ConnectionOpen(vhost))
    assert play.session.statistics().vhost == "\ufffd\ufffd[31m"
    play.node_sends(ConnectionClose(530, f"NOT_ALLOWED - vhost {vhost} not found"))
    play.client_sends(ConnectionCloseOk())
    assert play.lines[-1].startswith("finished access_refused: NOT_ALLOWED")
    assert play.lines[-1].isprintable()
