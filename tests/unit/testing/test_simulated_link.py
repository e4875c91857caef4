from itertools import pairwise

from tests.unit.testing.peer import N2, Peer, three_nodes

from warrener.amqp.constants import FRAME_BODY, HEARTBEAT, PROTOCOL_HEADER
from warrener.amqp.methods import (
    BasicConsume,
    BasicQos,
    BasicQosOk,
    ChannelClose,
    ChannelOpen,
    ChannelOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    encode_method_frame,
)
from warrener.testing.simulated_happenings import LinkDied, PeerError
from warrener.testing.simulated_wire import FrameSplitter


def test_the_handshake_step_by_step_even_byte_by_byte() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster)
    for at in range(8):
        peer.sends(PROTOCOL_HEADER[at : at + 1])
    assert isinstance(peer.hears()[0], ConnectionStart)
    peer.says(0, ConnectionStartOk({}, "PLAIN", b"\0guest\0guest", "en_US"))
    assert isinstance(peer.hears()[0], ConnectionTune)
    data = encode_method_frame(0, ConnectionTuneOk(0, 0, 10))
    for byte in data + encode_method_frame(0, ConnectionOpen("/")):
        peer.sends(bytes([byte]))
    assert peer.hears() == [ConnectionOpenOk()]
    assert peer.link.open


def test_a_foreign_protocol_is_hung_up_on() -> None:
    cluster, log = three_nodes()
    peer = Peer(cluster)
    peer.sends(b"GET / HTTP/1.1\r\n")
    assert peer.link.dead
    assert any(isinstance(h, PeerError) for h in log)


def test_a_channel_is_opened_once() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens()
    peer.says(1, ChannelOpen(), ChannelOpen())
    first, close = peer.hears()
    assert first == ChannelOpenOk()
    assert isinstance(close, ConnectionClose)
    assert (close.reply_code, close.reply_text) == (
        504,
        "CHANNEL_ERROR - second 'channel.open' seen",
    )


def test_frames_on_a_channel_that_is_not_open_cost_the_connection() -> None:
    cluster, log = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    peer.says(1, ChannelClose(200, "done"), BasicQos(0, 1))
    _, close = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 504
    peer.says(0, ConnectionCloseOk())
    assert peer.link.dead
    assert [h.code for h in log if isinstance(h, PeerError)] == [504]


def test_a_content_for_a_closed_channel_costs_it_with_its_first_frame() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens()
    peer.publishes(9, 1)
    (close,) = peer.hears()
    assert isinstance(close, ConnectionClose)


def test_a_method_in_the_middle_of_a_content_costs_the_connection() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    peer.publishes(1, 17)
    frames = bytes.fromhex("01 0001 0000000a 003c 0028 0000 00 01 71 00 ce")
    peer.sends(frames + encode_method_frame(1, BasicQos(0, 1)))
    (close,) = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 505


def test_it_can_let_other_channels_speak_in_the_middle_of_a_content() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel(1).opens_channel(2)
    peer.link.interleaves = True
    peer.link.body_step = 30
    for number in range(1, 60):
        peer.publishes(1, number)
    peer.says(1, BasicConsume("q", "a"))
    peer.says(2, BasicConsume("q", "b"))
    peer.delivers()
    data = bytes(peer.link.output)
    frames = list(FrameSplitter().feed(data))
    mixed = [
        (one.channel, other.channel)
        for one, other in pairwise(frames)
        if other.kind == FRAME_BODY and one.channel != other.channel
    ]
    assert mixed
    said = [message for _, _, message in peer.hears_all() if message is not None]
    assert sorted(message.number for message in said) == list(range(1, 60))
    assert all(message.whole for message in said)


def test_closing_is_answered_and_ends_the_link() -> None:
    cluster, log = three_nodes()
    peer = Peer(cluster).opens()
    peer.says(0, ConnectionClose(200, "bye"))
    assert peer.hears() == [ConnectionCloseOk()]
    assert peer.link.dead
    assert LinkDied(1, "closed by the peer") in log


def test_maintenance_closes_with_320_and_takes_everything_back() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    peer.delivers()
    peer.hears()
    cluster.send_away(N2)
    (close,) = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 320
    assert [entry.redelivered for entry in cluster.queues["q"].ready] == [True]
    peer.says(1, BasicQos(0, 1))  # crossing: ignored
    assert peer.hears() == []
    peer.says(0, ConnectionClose(200, "bye"))  # crossing closes: answered
    assert peer.hears() == [ConnectionCloseOk()]
    peer.says(0, ConnectionCloseOk())
    assert peer.link.dead


def test_bytes_are_read_and_handed_over_in_portions() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    frame = encode_method_frame(1, BasicQos(0, 1))
    peer.link.input += frame
    peer.link.process(len(frame) - 1)
    assert not peer.link.output
    peer.link.process(1)
    assert peer.link.take_output(3) + peer.link.take_output(100) == encode_method_frame(
        1, BasicQosOk()
    )


def test_the_end_of_the_input_ends_the_link_once_it_is_read() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    peer.delivers()
    peer.link.input += HEARTBEAT
    peer.link.eof = True
    peer.link.process(3)
    assert not peer.link.dead
    peer.link.process(len(HEARTBEAT) - 3)
    assert peer.link.dead
    assert len(cluster.queues["q"].ready) == 1


def test_heartbeats_go_out_on_open_links_and_are_swallowed() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster)
    peer.link.beat()
    assert not peer.link.output
    peer.opens()
    peer.sends(HEARTBEAT)
    peer.link.beat()
    assert bytes(peer.link.output) == HEARTBEAT
