"""pika, the blocking and the asyncio adapter: what a client does with messages.

Each test runs straight against a node and through the balancer; what it asserts must hold for both.
"""

import asyncio
import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError
from tests.integration.support import Place, eventually

PERSISTENT = pika.BasicProperties(delivery_mode=2)


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
        yield connection.channel()


def take(channel: BlockingChannel, queue: str, number: int, **arguments: Any) -> list[Any]:
    """Consume ``number`` messages and stop; what else came goes back to the queue."""
    found: list[Any] = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=15, **arguments):
        assert method is not None, f"{len(found)} of {number} messages came"
        found.append((method, properties, body))
        if len(found) == number:
            break
    return found


def test_confirmed_messages_come_back_whole_and_in_order(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    bodies = [bytes([n % 256]) * n for n in range(0, 20_000, 97)]
    properties = pika.BasicProperties(
        content_type="application/x-test",
        headers={"n": 1, "deep": {"list": [1, "two", None, True]}, "long": "ü" * 300},
        delivery_mode=2,
        correlation_id="c",
        timestamp=1_700_000_000,
        type="t",
        app_id="a",
    )
    for body in bodies:
        channel.basic_publish("", queue, body, properties, mandatory=True)
    messages = take(channel, queue, len(bodies))
    assert [body for _, _, body in messages] == bodies
    assert [method.delivery_tag for method, _, _ in messages] == list(range(1, len(bodies) + 1))
    assert all(p.headers == properties.headers for _, p, _ in messages)
    assert messages[0][1] == properties
    channel.basic_ack(messages[-1][0].delivery_tag, multiple=True)
    channel.cancel()
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_get_ack_nack_and_reject(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    for n in range(4):
        channel.basic_publish("", queue, b"%d" % n)
    got = [channel.basic_get(queue) for _ in range(4)]
    assert [body for _, _, body in got] == [b"0", b"1", b"2", b"3"]
    assert got[0][0].message_count == 3
    channel.basic_ack(got[0][0].delivery_tag)
    channel.basic_reject(got[1][0].delivery_tag, requeue=False)
    channel.basic_nack(got[3][0].delivery_tag, multiple=True, requeue=True)  # 2 and 3
    again = [channel.basic_get(queue, auto_ack=True) for _ in range(2)]
    assert [body for _, _, body in again] == [b"2", b"3"]
    assert all(method.redelivered for method, _, _ in again)
    assert channel.basic_get(queue) == (None, None, None)


def test_prefetch_holds_deliveries_back(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=3)
    for n in range(10):
        channel.basic_publish("", queue, b"%d" % n)
    seen: list[tuple[int, bytes]] = []
    channel.basic_consume(queue, lambda _c, m, _p, body: seen.append((m.delivery_tag, body)))

    def ready() -> int:
        channel.connection.process_data_events(time_limit=0)
        return int(channel.queue_declare(queue, passive=True).method.message_count)

    eventually("three deliveries", lambda: (ready(), len(seen) == 3)[1])
    assert ready() == 7
    assert len(seen) == 3
    channel.basic_ack(seen[1][0], multiple=True)
    eventually("two more deliveries", lambda: (ready(), len(seen) == 5)[1])
    assert ready() == 5
    assert [body for _, body in seen] == [b"0", b"1", b"2", b"3", b"4"]


def test_recover_delivers_again(channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"again")
    assert not take(channel, queue, 1)[0][0].redelivered
    channel.basic_recover(requeue=True)
    assert take(channel, queue, 1)[0][0].redelivered
    channel.cancel()


def test_transactions_commit_and_roll_back(place: Place, channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    other = channel.connection.channel()
    channel.tx_select()
    channel.basic_publish("", queue, b"dropped")
    channel.tx_rollback()
    channel.basic_publish("", queue, b"kept")
    assert other.basic_get(queue) == (None, None, None)
    channel.tx_commit()
    method, _, body = channel.basic_get(queue)
    assert body == b"kept"
    channel.basic_ack(method.delivery_tag)
    channel.tx_rollback()  # the ack as well
    channel.basic_recover(requeue=True)
    method, _, body = channel.basic_get(queue)
    assert (method.redelivered, body) == (True, b"kept")
    channel.basic_ack(method.delivery_tag)
    channel.tx_commit()
    assert other.queue_declare(queue, passive=True).method.message_count == 0


def test_mandatory_message_without_a_queue_is_returned(channel: BlockingChannel) -> None:
    channel.confirm_delivery()
    with pytest.raises(UnroutableError) as caught:
        channel.basic_publish("amq.direct", "nowhere", b"back", PERSISTENT, mandatory=True)
    (returned,) = caught.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("amq.direct", "nowhere")
    assert (returned.body, returned.properties.delivery_mode) == (b"back", 2)
    channel.basic_publish("amq.direct", "nowhere", b"gone", mandatory=False)  # confirmed


def test_a_full_queue_refuses_with_nack(channel: BlockingChannel) -> None:
    limits = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = channel.queue_declare("", exclusive=True, arguments=limits).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"fits")
    with pytest.raises(NackError):
        channel.basic_publish("", queue, b"too many")
    assert channel.basic_get(queue, auto_ack=True)[2] == b"fits"


def test_expired_and_rejected_messages_are_dead_lettered(channel: BlockingChannel) -> None:
    dead = channel.queue_declare("", exclusive=True).method.queue
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"late", pika.BasicProperties(expiration="1"))
    ((method, properties, body),) = take(channel, dead, 1)
    assert (body, properties.headers["x-first-death-reason"]) == (b"late", "expired")
    channel.basic_ack(method.delivery_tag)
    channel.basic_publish("", queue, b"unwanted")
    channel.cancel()
    channel.basic_reject(take(channel, queue, 1)[0][0].delivery_tag, requeue=False)
    channel.cancel()
    _, properties, body = take(channel, dead, 1)[0]
    assert (body, properties.headers["x-death"][0]["queue"]) == (b"unwanted", queue)
    channel.cancel()


def test_two_channels_of_one_connection_work_side_by_side(place: Place) -> None:
    """An error closes its channel only; the other one goes on in the middle of its work."""
    with connected(place) as connection:
        one, two = connection.channel(), connection.channel()
        queue = one.queue_declare("", exclusive=True).method.queue
        one.confirm_delivery()
        for n in range(200):
            one.basic_publish("", queue, b"%d" % n)
        got = functools.partial(take, two, queue)
        assert [body for _, _, body in got(100)][-1] == b"99"
        with pytest.raises(ChannelClosedByBroker) as caught:
            one.queue_declare("no such queue", passive=True)
        assert caught.value.reply_code == 404
        assert [body for _, _, body in got(100)][-1] == b"199"
        assert two.is_open
        two.cancel()
        three = connection.channel()
        assert three.channel_number == one.channel_number  # the number is free again
        assert three.queue_declare(queue, passive=True).method.queue == queue


def test_each_thread_its_own_connection(place: Place) -> None:
    """Several blocking connections at once, one queue each."""
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with connected(place, "heartbeat=5") as connection:
                channel = connection.channel()
                queue = channel.queue_declare("", exclusive=True).method.queue
                channel.confirm_delivery()
                for n in range(50):
                    channel.basic_publish("", queue, b"%d/%d" % (number, n))
                bodies = [body for _, _, body in take(channel, queue, 50)]
                assert bodies == [b"%d/%d" % (number, n) for n in range(50)]
                channel.cancel()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems


@pytest.mark.parametrize("adapter", [SelectConnection, AsyncioConnection])
async def test_callback_adapters_round_trip(place: Place, adapter: type[Any]) -> None:
    """Open, declare, confirm, consume and close by callbacks alone."""
    said: list[Any] = []
    ended = asyncio.Event()
    numbers = 100

    def opened(connection: Any) -> None:
        connection.channel(on_open_callback=channel_open)

    def channel_open(channel: Any) -> None:
        channel.confirm_delivery(confirmed, callback=lambda _: declare(channel))

    def declare(channel: Any) -> None:
        fill_it = functools.partial(fill, channel)
        channel.queue_declare("", exclusive=True, callback=lambda ok: fill_it(ok.method.queue))

    def fill(channel: Any, queue: str) -> None:
        channel.basic_consume(queue, on_message_callback=delivered)
        for n in range(numbers):
            channel.basic_publish("", queue, b"%d" % n)

    def confirmed(frame: Any) -> None:
        last = frame.method.delivery_tag
        said.append(("confirmed", last))

    def delivered(channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        channel.basic_ack(method.delivery_tag)
        said.append(("delivered", body))
        maybe_close(channel)

    def maybe_close(channel: Any) -> None:
        if said.count(("delivered", b"%d" % (numbers - 1))):
            channel.connection.close()

    def closed(connection: Any, reason: BaseException) -> None:
        said.append(("closed", reason.reply_code))  # type: ignore[attr-defined]
        ended.set()
        if adapter is SelectConnection:
            connection.ioloop.stop()

    def failed(connection: Any, reason: BaseException) -> None:
        said.append(("failed", reason))
        ended.set()
        if adapter is SelectConnection:
            connection.ioloop.stop()

    connection = adapter(
        pika.URLParameters(place.url()),
        on_open_callback=opened,
        on_open_error_callback=failed,
        on_close_callback=closed,
    )
    if adapter is SelectConnection:
        await asyncio.wait_for(asyncio.to_thread(connection.ioloop.start), 30)
        connection.ioloop.close()
    else:
        async with asyncio.timeout(30):
            await ended.wait()
    assert said[-1] == ("closed", 200)
    delivered_bodies = [body for what, body in said if what == "delivered"]
    assert delivered_bodies == [b"%d" % n for n in range(numbers)]
    assert max(tag for what, tag in said if what == "confirmed") <= numbers
