"""What RabbitMQ 3.10 does on a channel, as far as the simulation keeps it."""

import pytest
from tests.unit.testing.peer import N1, N2, N3, Peer, three_nodes

from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicNack,
    BasicQos,
    BasicQosOk,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ConnectionClose,
    Method,
    QueueDeclare,
    QueueDeclareOk,
    TxSelect,
)
from warrener.testing.simulated_cluster import SimulatedCluster
from warrener.testing.simulated_happenings import Confirmed, Enqueued, Happening, QueueLost


def setup(confirms: bool = False) -> tuple[SimulatedCluster, list[Happening], Peer]:
    cluster, log = three_nodes()
    return cluster, log, Peer(cluster).opens().opens_channel(confirms=confirms)


def deliveries(peer: Peer) -> list[tuple[int, int, bool]]:
    """Tag, message, redelivered of what was delivered since the last time."""
    peer.delivers()
    return [
        (method.delivery_tag, message.number, method.redelivered)
        for _, method, message in peer.hears_all()
        if isinstance(method, BasicDeliver) and message is not None
    ]


def test_confirms_cover_every_publish_once_and_only_what_has_entered_its_queue() -> None:
    _, log, peer = setup(confirms=True)
    for number in range(1, 40):
        peer.publishes(1, number)
    peer.confirms()
    seen: set[int] = set()
    for happening in log:
        if isinstance(happening, Enqueued):
            seen.add(happening.number)
        elif isinstance(happening, Confirmed):
            assert set(happening.numbers) <= seen
    confirmed = [n for h in log if isinstance(h, Confirmed) for n in h.numbers]
    assert sorted(confirmed) == list(range(1, 40))
    outstanding = set(range(1, 40))
    for method in peer.hears():
        assert isinstance(method, BasicAck)
        tag = method.delivery_tag
        assert tag in outstanding
        outstanding -= {n for n in outstanding if n <= tag} if method.multiple else {tag}
    assert not outstanding


def test_a_mandatory_message_to_nowhere_is_returned_before_its_confirm() -> None:
    _, _, peer = setup(confirms=True)
    peer.publishes(1, 7, "nowhere", mandatory=True)
    peer.publishes(1, 8, "nowhere")
    peer.confirms()
    first, *rest = peer.hears()
    assert first == BasicReturn(312, "NO_ROUTE", "", "nowhere")
    assert rest
    assert all(isinstance(method, BasicAck) for method in rest)


def test_a_cluster_that_refuses_nacks_what_it_has_not_kept() -> None:
    cluster, log = three_nodes()
    cluster.refuses = True
    peer = Peer(cluster).opens().opens_channel(confirms=True)
    for number in range(1, 80):
        peer.publishes(1, number)
    peer.confirms()
    refused = {n for h in log if isinstance(h, Confirmed) and not h.ack for n in h.numbers}
    kept = {h.number for h in log if isinstance(h, Enqueued)}
    assert refused
    assert refused | kept == set(range(1, 80))
    assert not refused & kept


def test_prefetch_belongs_to_the_consumers_made_after_it() -> None:
    _, _, peer = setup()
    for number in range(1, 10):
        peer.publishes(1, number)
    peer.says(1, BasicQos(0, 2), BasicConsume("q", "two"))
    assert peer.hears() == [BasicQosOk(), BasicConsumeOk("two")]
    assert deliveries(peer) == [(1, 1, False), (2, 2, False)]
    peer.says(1, BasicQos(0, 3), BasicConsume("q", "three"))
    assert len(deliveries(peer)) == 3
    peer.says(1, BasicAck(2, True))
    assert deliveries(peer) == [(6, 6, False), (7, 7, False)]


def test_a_global_prefetch_is_for_the_channel() -> None:
    _, _, peer = setup()
    for number in range(1, 10):
        peer.publishes(1, number)
    peer.says(1, BasicQos(0, 3, True), BasicConsume("q", "a"), BasicConsume("q", "b"))
    assert len(deliveries(peer)) == 3


def test_without_acks_there_is_no_prefetch_and_nothing_to_settle() -> None:
    cluster, _, peer = setup()
    for number in range(1, 10):
        peer.publishes(1, number)
    peer.says(1, BasicQos(0, 1), BasicConsume("q", "t", no_ack=True))
    assert len(deliveries(peer)) == 9
    assert not cluster.queues["q"].unsettled


@pytest.mark.parametrize(
    "wrong",
    [BasicAck(3), BasicAck(0), BasicNack(9, True), BasicReject(1)],
    ids=["not given", "zero", "multiple", "twice"],
)
def test_an_unknown_tag_closes_the_channel(wrong: Method) -> None:
    cluster, _, peer = setup()
    peer.publishes(1, 1)
    peer.publishes(1, 2)
    peer.says(1, BasicConsume("q", "t"))
    deliveries(peer)
    peer.says(1, BasicAck(1), wrong)
    (close,) = peer.hears()
    assert isinstance(close, ChannelClose)
    tag = getattr(wrong, "delivery_tag", None)
    assert (close.reply_code, close.reply_text) == (
        406,
        f"PRECONDITION_FAILED - unknown delivery tag {tag}",
    )
    assert [entry.number for entry in cluster.queues["q"].ready] == [2]  # back, as redelivered


def test_zero_and_multiple_settle_all_even_when_there_is_nothing() -> None:
    cluster, _, peer = setup()
    peer.says(1, BasicAck(0, True))
    for number in (1, 2):
        peer.publishes(1, number)
    peer.says(1, BasicConsume("q", "t"))
    deliveries(peer)
    peer.says(1, BasicAck(0, True))
    assert not cluster.queues["q"].unsettled
    assert not cluster.queues["q"].ready


def test_rejected_messages_are_dropped_or_come_again_in_their_place() -> None:
    _, _, peer = setup()
    for number in (1, 2, 3):
        peer.publishes(1, number)
    peer.says(1, BasicConsume("q", "t"))
    deliveries(peer)
    peer.says(1, BasicReject(3, False), BasicNack(2, True, True))
    assert deliveries(peer) == [(4, 1, True), (5, 2, True)]


def test_what_a_closed_channel_held_comes_again_to_somebody_else() -> None:
    cluster, _, peer = setup()
    other = Peer(cluster, N3).opens().opens_channel()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    deliveries(peer)
    peer.says(1, ChannelClose(200, "done"))
    assert peer.hears() == [ChannelCloseOk()]
    other.says(1, BasicConsume("q", "u"))
    assert deliveries(other) == [(1, 1, True)]


def test_get_gives_one_or_says_that_there_is_none() -> None:
    cluster, _, peer = setup()
    peer.publishes(1, 1)
    peer.publishes(1, 2)
    peer.says(1, BasicGet("q"), BasicGet("q", True), BasicGet("q"))
    assert peer.hears() == [
        BasicGetOk(1, False, "", "q", 1),
        BasicGetOk(2, False, "", "q", 0),
        BasicGetEmpty(),
    ]
    assert len(cluster.queues["q"].unsettled) == 1


def test_after_cancel_ok_nothing_is_delivered() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("q", "t"))
    peer.says(1, BasicCancel("t"))
    assert peer.hears() == [BasicConsumeOk("t"), BasicCancelOk("t")]
    peer.publishes(1, 1)
    assert deliveries(peer) == []


def test_a_consume_and_a_cancel_are_answered_behind_what_was_asked_in_the_same_breath() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("q", "t"), BasicQos(0, 1))
    assert peer.hears() == [BasicQosOk(), BasicConsumeOk("t")]
    peer.says(1, BasicCancel("t"), BasicQos(0, 2), BasicCancel("u"))
    assert peer.hears() == [BasicQosOk(), BasicCancelOk("u"), BasicCancelOk("t")]


def test_a_cancel_before_the_consumes_answer_crashes_the_channel() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("q", "t"), BasicCancel("t"))
    (close,) = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 541


def test_of_a_consume_in_front_of_one_that_fails_nothing_is_heard() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("q", "t"), BasicConsume("nowhere", "u"))
    (close,) = peer.hears()
    assert isinstance(close, ChannelClose)
    assert "no queue 'nowhere'" in close.reply_text


def test_a_consumer_tag_used_twice_costs_the_connection() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("q", "t"))
    peer.says(1, BasicConsume("q", "t"))
    _, close = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_text == "NOT_ALLOWED - attempt to reuse consumer tag 't'"


def test_a_tag_of_a_cancelled_consumer_with_unsettled_deliveries_crashes_the_channel() -> None:
    _, _, peer = setup()
    peer.publishes(1, 1)
    peer.says(1, BasicConsume("q", "t"))
    deliveries(peer)
    peer.says(1, BasicCancel("t"), BasicConsume("q", "u"), BasicConsume("q", "t"))
    peer.says(1, BasicCancel("u"))
    peer.publishes(1, 2)
    peer.delivers()
    close = peer.hears()[-1]
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 541


def test_a_queue_that_is_not_there() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("nope"))
    (close,) = peer.hears()
    assert close == ChannelClose(404, "NOT_FOUND - no queue 'nope' in vhost '/'", 60, 20)


def test_frames_on_a_closing_channel_are_ignored_and_a_second_close_is_answered() -> None:
    _, _, peer = setup()
    peer.says(1, BasicConsume("nope"), BasicQos(0, 1))
    assert len(peer.hears()) == 1
    peer.says(1, BasicQos(0, 1), ChannelClose(200, "done"))
    assert peer.hears() == [ChannelCloseOk()]
    peer.says(1, ChannelCloseOk())
    peer.opens_channel()
    peer.says(1, BasicQos(0, 1))
    assert peer.hears() == [BasicQosOk()]


def test_queues_are_declared_with_a_name_or_without() -> None:
    cluster, _, peer = setup()
    quorum = {"x-queue-type": "quorum"}
    peer.says(1, QueueDeclare("q", True), QueueDeclare("new", arguments=quorum), QueueDeclare())
    _, _, third = peer.hears()
    assert isinstance(third, QueueDeclareOk)
    assert third.queue.startswith("amq.gen-")
    assert cluster.queues["new"].kind == "quorum"
    assert cluster.queues[third.queue].node == N2
    peer.says(1, QueueDeclare("nope", True))
    (close,) = peer.hears()
    assert isinstance(close, ChannelClose)


def test_a_classic_queue_is_away_with_its_node() -> None:
    cluster, log, peer = setup(confirms=True)
    peer.publishes(1, 1, "c")
    peer.says(1, BasicConsume("c", "t"))
    assert deliveries(peer) == [(1, 1, False)]
    peer.publishes(1, 2, "c")
    cluster.crash(N1)
    heard = peer.hears()
    assert BasicCancel("t", True) in heard
    assert [m for m in heard if isinstance(m, BasicNack)] == [
        BasicNack(1, False, False),
        BasicNack(2, False, False),
    ]
    assert any(isinstance(h, QueueLost) and len(h.deliveries) == 1 for h in log)
    peer.says(1, BasicAck(1))  # settles nothing, and is no mistake
    peer.publishes(1, 3, "c", mandatory=True)  # not routable meanwhile
    assert isinstance(peer.hears()[0], BasicReturn)
    peer.says(1, BasicConsume("c", "t"))
    (close,) = peer.hears()
    assert isinstance(close, ChannelClose)
    assert close.reply_text == (
        "NOT_FOUND - home node 'n1@localhost' of durable queue 'c' in vhost '/' is down or "
        "inaccessible"
    )
    cluster.start(N1)
    peer.says(1, ChannelCloseOk())
    peer.opens_channel()
    peer.says(1, BasicConsume("c", "t"))
    assert deliveries(peer) == [(1, 1, True), (2, 2, False)]


def test_without_a_majority_publishes_wait_unconfirmed_and_requests_wait_unanswered() -> None:
    cluster, log, peer = setup(confirms=True)
    peer.publishes(1, 1)
    peer.confirms()
    peer.hears()
    cluster.crash(N1)
    cluster.crash(N3)
    peer.publishes(1, 2)
    peer.says(1, BasicGet("q"), BasicQos(0, 1))
    peer.confirms()
    assert peer.hears() == []
    assert [h.number for h in log if isinstance(h, Enqueued)] == [1]
    cluster.start(N3)
    peer.confirms()
    get, qos, ack = peer.hears()
    assert isinstance(get, BasicGetOk)
    assert qos == BasicQosOk()
    assert isinstance(ack, BasicAck)


def test_a_channel_that_meets_a_queue_without_a_leader_is_refused_for_good() -> None:
    cluster, log, peer = setup(confirms=True)
    cluster.votes_at_once = False
    cluster.crash(N1)
    peer.publishes(1, 1)
    peer.confirms()
    (nack,) = peer.hears()
    assert isinstance(nack, BasicNack)
    assert not [h for h in log if isinstance(h, Enqueued)]
    cluster.vote()
    peer.publishes(1, 2)
    peer.opens_channel(2, confirms=True)
    peer.publishes(2, 3)
    peer.confirms()
    assert [type(method) for method in peer.hears()] == [BasicNack, BasicAck]
    assert [h.number for h in log if isinstance(h, Enqueued)] == [3]


def test_flow_is_answered() -> None:
    _, _, peer = setup()
    peer.says(1, ChannelFlow(True))
    assert peer.hears() == [ChannelFlowOk(True)]


def test_what_is_not_simulated_says_so() -> None:
    _, _, peer = setup()
    peer.says(1, TxSelect())
    (close,) = peer.hears()
    assert isinstance(close, ConnectionClose)
    assert close.reply_code == 540
