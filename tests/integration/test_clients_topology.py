"""Exchanges, bindings and queues of every kind, and the errors that close one channel only."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pamqp import commands
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker
from tests.integration.raw import Raw
from tests.integration.support import PATIENCE, Cluster, Place, eventually, management


def fresh(kind: str) -> str:
    """A name nobody else uses."""
    return f"test-{kind}-{uuid.uuid4().hex[:8]}"


@contextlib.contextmanager
def connected(place: Place, query: str = "") -> Iterator[pika.BlockingConnection]:
    connection = pika.BlockingConnection(pika.URLParameters(place.url(query)))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


@pytest.fixture
def channel(place: Place) -> Iterator[BlockingChannel]:
    with connected(place) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


@pytest.fixture
def exchange(channel: BlockingChannel) -> str:
    """A topic exchange that goes when its last binding does."""
    name = fresh("exchange")
    channel.exchange_declare(name, "topic", auto_delete=True)
    return name


def bodies(channel: BlockingChannel, queue: str) -> list[bytes]:
    """All that is in the queue now."""
    found = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return found
        found.append(body)


def test_bindings_come_and_go(channel: BlockingChannel, exchange: str) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "a.*")
    channel.queue_bind(queue, exchange, "b.#")
    channel.basic_publish(exchange, "a.x", b"1")
    channel.basic_publish(exchange, "b.x.y", b"2")
    channel.queue_unbind(queue, exchange, "a.*")
    channel.basic_publish(exchange, "a.x", b"3")
    channel.basic_publish(exchange, "b", b"4")
    assert bodies(channel, queue) == [b"1", b"2", b"4"]


def test_exchanges_bound_to_exchanges(channel: BlockingChannel, exchange: str) -> None:
    inner = fresh("exchange")
    channel.exchange_declare(inner, "headers", auto_delete=True)
    channel.exchange_bind(inner, exchange, "#")
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, inner, arguments={"x-match": "all", "kind": "good"})
    for kind in ("good", "bad"):
        properties = pika.BasicProperties(headers={"kind": kind})
        channel.basic_publish(exchange, "any", kind.encode(), properties)
    assert bodies(channel, queue) == [b"good"]
    channel.exchange_unbind(inner, exchange, "#")
    with pytest.raises(ChannelClosedByBroker) as caught:  # auto-delete took the outer one away
        channel.exchange_declare(exchange, passive=True)
    assert caught.value.reply_code == 404


def test_alternate_exchange_takes_what_has_no_queue(channel: BlockingChannel) -> None:
    rest, main = fresh("exchange"), fresh("exchange")
    channel.exchange_declare(rest, "fanout", auto_delete=True)
    channel.exchange_declare(main, "direct", arguments={"alternate-exchange": rest})
    try:
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, rest)
        channel.basic_publish(main, "nobody", b"saved", mandatory=True)
        assert bodies(channel, queue) == [b"saved"]
    finally:
        channel.exchange_delete(main)


def test_purge_and_delete_tell_how_many(channel: BlockingChannel) -> None:
    queue = channel.queue_declare(fresh("queue")).method.queue
    for _ in range(3):
        channel.basic_publish("", queue, b"x")
    assert channel.queue_purge(queue).method.message_count == 3
    channel.basic_publish("", queue, b"x")
    other = channel.connection.channel()
    with pytest.raises(ChannelClosedByBroker) as caught:
        other.queue_delete(queue, if_empty=True)
    assert caught.value.reply_code == 406
    assert channel.queue_delete(queue).method.message_count == 1


def test_server_named_queues_differ_and_go_with_their_connection(place: Place) -> None:
    with connected(place) as one, connected(place) as two:
        first = one.channel().queue_declare("", exclusive=True).method.queue
        channel = one.channel()
        second = channel.queue_declare("", exclusive=True).method.queue
        assert first.startswith("amq.gen-")
        assert first != second
        with pytest.raises(ChannelClosedByBroker) as caught:
            two.channel().queue_declare(first, passive=True)
        assert caught.value.reply_code == 405
        assert "RESOURCE_LOCKED" in caught.value.reply_text
        with pytest.raises(ChannelClosedByBroker) as caught:
            two.channel().basic_consume(first, lambda *_: None)
        assert caught.value.reply_code == 405
        one.close()

        def gone() -> bool:
            with pytest.raises(ChannelClosedByBroker) as caught:
                two.channel().queue_declare(first, passive=True)
            return bool(caught.value.reply_code == 404)

        eventually("the exclusive queue is gone", gone)


def test_an_exclusive_queue_can_be_taken_again_after_a_lost_socket(place: Place) -> None:
    """When a client's socket dies without a close, its exclusive queue is free soon."""
    queue = fresh("queue")
    with Raw(place).open() as first:
        first.channel()
        first.send(commands.Queue.Declare(queue=queue, exclusive=True), channel=1)
        first.expect(commands.Queue.DeclareOk)
    with connected(place) as second:
        refusals = []

        def mine() -> bool:
            try:
                second.channel().queue_declare(queue, exclusive=True)
            except ChannelClosedByBroker as closed:
                refusals.append(closed.reply_code)
                return False
            return True

        eventually("the queue is free", mine)
        assert set(refusals) <= {405}


ERRORS = [
    ("404 queue", 404, lambda c: c.queue_declare("no such queue", passive=True)),
    ("404 exchange", 404, lambda c: c.exchange_declare("no such exchange", passive=True)),
    ("404 bind", 404, lambda c: c.queue_bind("no such queue", "amq.direct", "x")),
    ("403 reserved", 403, lambda c: c.queue_declare("amq.mine")),
    ("403 default exchange", 403, lambda c: c.exchange_delete("")),
    ("406 type", 406, lambda c: c.exchange_declare("amq.direct", "fanout", durable=True)),
    ("406 argument", 406, lambda c: c.queue_declare("", arguments={"x-max-length": -1})),
    ("406 tx on confirms", 406, lambda c: c.tx_select()),
]


@pytest.mark.parametrize(("code", "act"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_channel_errors_close_the_channel_only(
    channel: BlockingChannel, code: int, act: Any
) -> None:
    connection = channel.connection
    bystander = connection.channel()
    with pytest.raises(ChannelClosedByBroker) as caught:
        act(channel)
    assert caught.value.reply_code == code
    assert connection.is_open
    queue = bystander.queue_declare("", exclusive=True).method.queue
    bystander.basic_publish("", queue, b"fine")
    assert eventually("the message", lambda: bodies(bystander, queue)) == [b"fine"]
    again = connection.channel()
    assert again.channel_number == channel.channel_number
    assert again.queue_declare(queue, passive=True).method.queue == queue


def test_an_unknown_delivery_tag_closes_the_channel(channel: BlockingChannel) -> None:
    connection = channel.connection
    channel.basic_ack(99)
    with pytest.raises(ChannelClosedByBroker) as caught:
        channel.queue_declare("", exclusive=True)
    assert caught.value.reply_code == 406
    assert "unknown delivery tag 99" in caught.value.reply_text
    assert connection.channel().is_open


def test_connection_errors_close_the_connection(place: Place) -> None:
    """A method on a channel that isn't open is the connection's end: 504."""
    with connected(place) as connection:
        connection.channel()
        impl = connection._impl
        impl._send_method(77, pika.spec.Basic.Qos(0, 1, False))
        with pytest.raises(ConnectionClosedByBroker) as caught:
            connection.process_data_events(time_limit=PATIENCE)
        assert caught.value.reply_code == 504


def test_a_return_comes_before_its_confirm(place: Place) -> None:
    """In the order in which things happened, also when many are under way at once."""
    with Raw(place).open() as raw:
        raw.channel()
        raw.send(commands.Confirm.Select(), channel=1)
        raw.expect(commands.Confirm.SelectOk)
        publish = commands.Basic.Publish(exchange="", routing_key="nowhere", mandatory=True)
        for n in range(100):
            body = b"%d" % n
            raw.send(publish, raw.content_header(len(body)), raw.body(body), channel=1)
        returned, confirmed = [], 0
        while confirmed < 100:
            _, found = raw.receive()
            if isinstance(found, commands.Basic.Ack):
                confirmed = found.delivery_tag
                assert len(returned) >= confirmed
            else:
                assert isinstance(found, commands.Basic.Return)
                assert found.reply_code == 312
                raw.receive()
                returned.append(raw.receive()[1].value)
        assert returned == [b"%d" % n for n in range(100)]
        raw.close()


# -- consumers ----------------------------------------------------------------------------------


def test_consumer_is_told_when_its_queue_is_deleted(place: Place) -> None:
    with connected(place) as connection, connected(place) as other:
        channel = connection.channel()
        queue = channel.queue_declare(fresh("queue")).method.queue
        cancelled: list[str] = []
        channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
        tag = channel.basic_consume(queue, lambda *_: None)
        other.channel().queue_delete(queue)

        def told() -> bool:
            connection.process_data_events(time_limit=0.1)
            return bool(cancelled)

        eventually("basic.cancel", told)
        assert cancelled == [tag]
        assert channel.is_open


def test_consumer_priorities_and_arguments_pass(channel: BlockingChannel) -> None:
    """The higher priority gets everything while it has room."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    got: list[str] = []
    for name, priority in (("low", 1), ("high", 9)):

        def take(*_: Any, who: str = name) -> None:
            got.append(who)

        arguments = {"x-priority": priority}
        channel.basic_consume(queue, take, auto_ack=True, consumer_tag=name, arguments=arguments)
    for _ in range(10):
        channel.basic_publish("", queue, b"x")

    def all_here() -> bool:
        channel.connection.process_data_events(time_limit=0.05)
        return len(got) == 10

    eventually("ten deliveries", all_here)
    assert got == ["high"] * 10


def test_exclusive_consumer_keeps_others_out(channel: BlockingChannel, place: Place) -> None:
    queue = channel.queue_declare(fresh("queue"), auto_delete=True).method.queue
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    with connected(place) as other, pytest.raises(ChannelClosedByBroker) as caught:
        other.channel().basic_consume(queue, lambda *_: None)
    assert caught.value.reply_code == 403


def test_direct_reply_to(place: Place) -> None:
    """Request and answer without a reply queue."""
    with connected(place) as asking, connected(place) as answering:
        server = answering.channel()
        queue = server.queue_declare("", exclusive=False, auto_delete=True).method.queue

        def serve(channel: Any, method: Any, properties: Any, body: bytes) -> None:
            reply = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish("", properties.reply_to, body.upper(), reply)
            channel.basic_ack(method.delivery_tag)

        server.basic_consume(queue, serve)
        client = asking.channel()
        answers: dict[str, bytes] = {}
        client.basic_consume(
            "amq.rabbitmq.reply-to",
            lambda _c, _m, properties, body: answers.update({properties.correlation_id: body}),
            auto_ack=True,
        )
        for n in range(20):
            properties = pika.BasicProperties(
                reply_to="amq.rabbitmq.reply-to", correlation_id=str(n)
            )
            client.basic_publish("", queue, b"question %d" % n, properties)

        def answered() -> bool:
            answering.process_data_events(time_limit=0.01)
            asking.process_data_events(time_limit=0.01)
            return len(answers) == 20

        eventually("twenty answers", answered)
        assert answers == {str(n): b"QUESTION %d" % n for n in range(20)}


def test_quorum_queue_counts_deliveries(channel: BlockingChannel) -> None:
    arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1}
    queue = channel.queue_declare(fresh("quorum"), durable=True, arguments=arguments).method.queue
    try:
        channel.basic_qos(prefetch_count=1)
        channel.basic_publish("", queue, b"poison")
        counts = []
        for method, properties, _ in channel.consume(queue, inactivity_timeout=5):
            assert method is not None
            counts.append((properties.headers or {}).get("x-delivery-count", 0))
            channel.basic_nack(method.delivery_tag, requeue=True)
            if len(counts) == 2:
                break
        channel.cancel()
        assert counts == [0, 1]

        assert channel.basic_get(queue)[0] is None  # the limit took it away
    finally:
        channel.queue_delete(queue)


@pytest.mark.parametrize("offset", ["first", "last", 7])
def test_stream_is_read_from_an_offset(channel: BlockingChannel, offset: str | int) -> None:
    stream = fresh("stream")
    channel.queue_declare(stream, durable=True, arguments={"x-queue-type": "stream"})
    try:
        for n in range(10):
            channel.basic_publish("", stream, b"%d" % n)
        channel.basic_qos(prefetch_count=5)
        seen: list[tuple[int, bytes]] = []

        def take(_c: Any, method: Any, properties: Any, body: bytes) -> None:
            seen.append((properties.headers["x-stream-offset"], body))
            channel.basic_ack(method.delivery_tag)

        channel.basic_consume(stream, take, arguments={"x-stream-offset": offset})

        def at_the_end() -> bool:
            channel.connection.process_data_events(time_limit=0.05)
            return bool(seen) and seen[-1][1] == b"9"

        eventually("the last message", at_the_end)
        assert seen == [(n, b"%d" % n) for n in range(seen[0][0], 10)]
        if offset != "last":  # that one starts with the last chunk, however big it is
            assert seen[0][0] == (0 if offset == "first" else offset)
    finally:
        channel.queue_delete(stream)


def test_connection_name_shows_in_the_management_api(
    both: tuple[Place, Place], cluster: Cluster
) -> None:
    """Under the client's own name and with its own properties, as without a balancer."""
    api, name = management(cluster), fresh("name")

    def found() -> Any:
        rows = api.get("/connections")
        rows = [row for row in rows if row.get("user_provided_name") == name]
        return len(rows) == 2 and rows

    with contextlib.ExitStack() as stack:
        for place in both:
            parameters = pika.URLParameters(place.url())
            parameters.client_properties = {"connection_name": name, "product": "named"}
            connection = pika.BlockingConnection(parameters)
            stack.enter_context(contextlib.closing(connection))
            assert connection.is_open
        for row in eventually("both connections in the list", found):
            assert (row["user"], row["vhost"], row["protocol"]) == (place.user, "/", "AMQP 0-9-1")
            assert row["client_properties"]["product"] == "named"
            assert row["client_properties"]["capabilities"]["publisher_confirms"] is True
