"""py-amqp, kombu and amqpstorm: round trips, and what each is special at."""

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import amqp
import amqpstorm
import kombu
import kombu.pools
import pytest
from tests.integration.support import PATIENCE, Place

# -- py-amqp ------------------------------------------------------------------------------------


def py_amqp(place: Place, **options: Any) -> amqp.Connection:
    return amqp.Connection(
        f"{place.host}:{place.port}",
        userid=place.user,
        password=place.password,
        virtual_host=place.vhost,
        **options,
    )


@pytest.mark.parametrize("method", ["AMQPLAIN", "PLAIN"])
def test_py_amqp_round_trip(place: Place, method: str) -> None:
    with py_amqp(place, login_method=method, confirm_publish=True, heartbeat=10) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True, auto_delete=False).queue
        for n in range(50):
            channel.basic_publish(amqp.Message(f"{n}"), routing_key=queue)
        seen: list[Any] = []
        channel.basic_qos(0, 10, False)

        def take(message: Any) -> None:
            seen.append(message.body)
            channel.basic_ack(message.delivery_tag)

        tag = channel.basic_consume(queue, callback=take)
        while len(seen) < 50:
            connection.drain_events(timeout=PATIENCE)
        assert seen == [str(n) for n in range(50)]
        channel.basic_cancel(tag)
        with pytest.raises(amqp.NotFound):
            channel.queue_declare("no such queue", passive=True)
        assert connection.channel().queue_declare(queue, passive=True).message_count == 0
        connection.send_heartbeat()


def test_py_amqp_tells_refusals_apart(place: Place) -> None:
    with pytest.raises(amqp.AccessRefused), py_amqp(place.with_(password="wrong")):
        pass
    with pytest.raises(amqp.NotAllowed), py_amqp(place.with_(vhost="nowhere")):
        pass


# -- kombu --------------------------------------------------------------------------------------


@pytest.fixture
def kombu_connection(place: Place) -> Iterator[kombu.Connection]:
    options = {"confirm_publish": True}
    with kombu.Connection(place.url(), transport_options=options, heartbeat=10) as connection:
        yield connection


def test_kombu_round_trip(kombu_connection: kombu.Connection) -> None:
    exchange = kombu.Exchange("test-kombu", "topic", auto_delete=True)
    queue = kombu.Queue("", exchange, routing_key="a.#", exclusive=True)
    channel = kombu_connection.channel()
    bound = queue(channel)
    bound.declare()
    seen: list[Any] = []

    def take(body: Any, message: Any) -> None:
        seen.append((body, message.headers["n"]))
        message.ack()

    with (
        kombu.Producer(channel, exchange, serializer="json") as producer,
        kombu.Consumer(channel, bound, callbacks=[take], prefetch_count=5, auto_declare=False),
    ):
        for n in range(30):
            producer.publish({"n": n}, routing_key=f"a.{n}", headers={"n": n}, retry=True)
        while len(seen) < 30:
            kombu_connection.drain_events(timeout=PATIENCE)
    assert seen == [({"n": n}, n) for n in range(30)]
    kombu_connection.heartbeat_check()


def test_kombu_ensure_reconnects_by_itself(kombu_connection: kombu.Connection) -> None:
    """A publish with ``retry`` survives the loss of its socket."""
    queue = kombu_connection.SimpleQueue("test-kombu-retry", queue_opts={"auto_delete": True})
    channel = kombu_connection.default_channel
    producer = kombu.Producer(channel)
    with kombu.Connection(kombu_connection.as_uri(include_password=True)) as other:
        kept = other.SimpleQueue("test-kombu-retry", queue_opts={"auto_delete": True})
        kombu_connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        policy = {"max_retries": 5, "interval_start": 0.05}
        producer.publish("again", routing_key=queue.queue.name, retry=True, retry_policy=policy)
        message = kept.get(timeout=PATIENCE)
        assert message.payload == "again"
        message.ack()
        kept.close()


def test_kombu_pool_hands_connections_out(place: Place) -> None:
    pool = kombu.Connection(place.url()).Pool(limit=3)
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(pool.acquire(block=True)) for _ in range(3)]
        assert len({id(connection) for connection in taken}) == 3
        for connection in taken:
            connection.ensure_connection(max_retries=1)
            assert connection.connected
    pool.force_close_all()


# -- amqpstorm ----------------------------------------------------------------------------------


def storm(place: Place, **options: Any) -> amqpstorm.Connection:
    return amqpstorm.Connection(
        place.host,
        place.user,
        place.password,
        port=place.port,
        virtual_host=place.vhost,
        **options,
    )


def test_amqpstorm_round_trip(place: Place) -> None:
    with storm(place, heartbeat=2) as connection, connection.channel() as channel:
        queue = channel.queue.declare(exclusive=True)["queue"]
        channel.confirm_deliveries()
        for n in range(50):
            assert channel.basic.publish(f"{n}", queue, mandatory=True) is True
        channel.basic.qos(10)
        channel.basic.consume(queue=queue)
        seen = []
        for message in channel.build_inbound_messages(break_on_empty=False):
            seen.append(message.body)
            message.ack()
            if len(seen) == 50:
                break
        assert seen == [str(n) for n in range(50)]


def test_amqpstorm_hears_of_channel_errors_and_returns(place: Place) -> None:
    with storm(place) as connection:
        channel = connection.channel()
        with pytest.raises(amqpstorm.AMQPChannelError) as caught:
            channel.queue.declare("no such queue", passive=True)
        assert caught.value.error_code == 404
        channel = connection.channel()
        channel.confirm_deliveries()
        with pytest.raises(amqpstorm.AMQPMessageError, match="NO_ROUTE"):
            channel.basic.publish("back", "nowhere", exchange="amq.direct", mandatory=True)
        assert connection.is_open


def test_amqpstorm_keeps_an_idle_connection(place: Place) -> None:
    """Its heartbeats come from a timer; after more than three intervals the channel still works."""
    with storm(place, heartbeat=1) as connection, connection.channel() as channel:
        queue = channel.queue.declare(exclusive=True)["queue"]
        time.sleep(3.5)  # the promise is about time passing
        connection.check_for_errors()
        assert channel.queue.declare(queue, passive=True)["message_count"] == 0
