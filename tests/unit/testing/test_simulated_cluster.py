from tests.unit.testing.peer import N1, N2, N3, Dice, Peer, three_nodes

from warrener.amqp.methods import BasicConsume, BasicDeliver, BasicGet, BasicGetEmpty, BasicPublish
from warrener.testing.simulated_cluster import SimulatedCluster
from warrener.testing.simulated_happenings import Happening
from warrener.testing.simulated_wire import Message, body_of, encode_message


def test_a_killed_node_drops_its_links_and_its_messages_come_again_elsewhere() -> None:
    cluster, _ = three_nodes()
    peer, other = Peer(cluster, N1).opens().opens_channel(), Peer(cluster, N2).opens()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    peer.delivers()
    cluster.crash(N1)
    assert peer.link.dead
    assert cluster.connect(9, N1) is None
    other.opens_channel().says(1, BasicConsume("q", "t"))
    other.delivers()
    deliver = other.hears()[-1]
    assert isinstance(deliver, BasicDeliver)
    assert deliver.redelivered
    assert deliver.delivery_tag == 1


def test_a_quorum_queue_gets_another_leader_while_there_is_a_majority() -> None:
    cluster, _ = three_nodes()
    queue = cluster.queues["q"]
    cluster.crash(N1)
    assert queue.up
    assert queue.node in (N2, N3)
    cluster.crash(N2)
    assert not queue.up
    assert queue.node is None
    cluster.start(N1)
    assert queue.up
    cluster.elect("q", N2)  # down: nobody votes for it
    assert queue.node in (N1, N3)
    cluster.elect("q", N1)
    assert queue.node == N1


def test_a_vote_can_take_its_time() -> None:
    cluster, _ = three_nodes()
    cluster.votes_at_once = False
    queue = cluster.queues["q"]
    cluster.crash(N3)
    assert queue.node == N1
    cluster.crash(N1)
    cluster.start(N3)
    assert queue.node is None
    assert not queue.up
    cluster.elect("q", N2)
    assert not queue.up
    cluster.vote()
    assert queue.node in (N2, N3)
    assert queue.up


def test_a_frozen_node_takes_connections_and_says_nothing() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster, N1).opens().opens_channel()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    cluster.freeze(N1)
    assert cluster.connect(9, N1) is not None
    assert not cluster.deliverable()
    assert cluster.queues["q"].node != N1
    assert cluster.queues["c"].hangs
    cluster.thaw(N1)
    assert cluster.deliverable()
    assert not cluster.queues["c"].hangs


def test_a_request_for_a_queue_that_hangs_waits_for_it() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster, N2).opens().opens_channel()
    cluster.freeze(N1)
    peer.says(1, BasicGet("c"))
    assert peer.hears() == []
    cluster.thaw(N1)
    assert peer.hears() == [BasicGetEmpty()]


def test_exchanges_route() -> None:
    cluster, _ = three_nodes()
    peer = Peer(cluster).opens().opens_channel()
    for exchange, number in (("direct", 1), ("fanout", 2), ("", 3)):
        message = Message(number, 0, body_of(number))
        peer.sends(b"".join(encode_message(1, BasicPublish(exchange, "c"), message)))
    assert [entry.number for entry in cluster.queues["q"].ready] == [2]
    assert [entry.number for entry in cluster.queues["c"].ready] == [1, 2, 3]
    assert cluster.routes("nope", "q") is None


def test_the_same_calls_give_the_same_bytes() -> None:
    def once() -> tuple[bytes, list[Happening]]:
        cluster, log = three_nodes()
        peer = Peer(cluster).opens().opens_channel(confirms=True)
        for number in range(1, 30):
            peer.publishes(1, number)
        peer.says(1, BasicConsume("q", "t"))
        peer.delivers()
        peer.confirms()
        cluster.crash(N1)
        return bytes(peer.link.output), log

    assert once() == once()


def test_numbers_are_given_once() -> None:
    cluster = SimulatedCluster((N1,), Dice(), lambda happening: None)
    assert len({cluster.next_number() for _ in range(50)}) == 50
