"""aiormq and aio-pika: round trips, and what each is special at."""

import asyncio
from collections.abc import AsyncIterator

import aio_pika
import aiormq
import pytest
from aio_pika.patterns import RPC
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from tests.integration.support import Place

REFUSED = (
    aiormq.exceptions.AuthenticationError,
    aiormq.exceptions.ProbableAuthenticationError,
)


async def test_aiormq_round_trip(place: Place) -> None:
    """Confirms, consume, ack, and a channel that is closed by an error while another goes on."""
    connection = await aiormq.connect(place.url())
    channel = await connection.channel(publisher_confirms=True)
    queue = (await channel.queue_declare(exclusive=True)).queue
    assert queue is not None
    got: asyncio.Queue[DeliveredMessage] = asyncio.Queue()
    await channel.basic_qos(prefetch_count=50)
    await channel.basic_consume(queue, got.put)
    confirms = await asyncio.gather(
        *(channel.basic_publish(b"%d" % n, routing_key=queue) for n in range(200))
    )
    assert all(isinstance(confirm, Basic.Ack) for confirm in confirms)
    bodies = []
    async with asyncio.timeout(15):
        while len(bodies) < 200:
            message = await got.get()
            bodies.append(message.body)
            assert message.delivery_tag is not None
            await channel.basic_ack(message.delivery_tag)
    assert bodies == [b"%d" % n for n in range(200)]
    broken = await connection.channel()
    with pytest.raises(aiormq.exceptions.ChannelNotFoundEntity):
        await broken.queue_declare("no such queue", passive=True)
    assert (await channel.queue_declare(queue, passive=True)).message_count == 0
    await connection.close()


async def test_aiormq_says_who_it_is_refused(place: Place) -> None:
    with pytest.raises(REFUSED):
        await aiormq.connect(place.with_(password="wrong").url())
    with pytest.raises(aiormq.exceptions.InvalidFrameError, match="Connection"):
        await aiormq.connect(place.with_(vhost="nowhere").url())


@pytest.fixture
async def connection(place: Place) -> AsyncIterator[aio_pika.abc.AbstractConnection]:
    connection = await aio_pika.connect_robust(place.url())
    async with connection:
        yield connection


async def test_aio_pika_round_trip(connection: aio_pika.abc.AbstractConnection) -> None:
    async with connection.channel(on_return_raises=True) as channel:
        await channel.set_qos(prefetch_count=10)
        queue = await channel.declare_queue(exclusive=True)
        exchange = await channel.declare_exchange("test-aio-pika", auto_delete=True)
        await queue.bind(exchange, "key")
        for n in range(50):
            message = aio_pika.Message(b"%d" % n, headers={"n": n}, delivery_mode=2)
            await exchange.publish(message, "key")
        seen = []
        async with asyncio.timeout(15), queue.iterator() as messages:
            async for got in messages:
                async with got.process():
                    seen.append((got.body, got.headers["n"]))
                if len(seen) == 50:
                    break
        assert seen == [(b"%d" % n, n) for n in range(50)]
        with pytest.raises(aio_pika.exceptions.DeliveryError):
            await exchange.publish(aio_pika.Message(b"back"), "other key", mandatory=True)


async def test_aio_pika_transactions(connection: aio_pika.abc.AbstractConnection) -> None:
    async with connection.channel(publisher_confirms=False) as channel:
        queue = await channel.declare_queue(exclusive=True)
        async with channel.transaction():
            await channel.default_exchange.publish(aio_pika.Message(b"kept"), queue.name)
        transaction = channel.transaction()
        await transaction.select()
        await channel.default_exchange.publish(aio_pika.Message(b"dropped"), queue.name)
        await transaction.rollback()
        got = await queue.get()
        assert got.body == b"kept"
        await got.ack()
        assert await queue.get(fail=False) is None


async def test_aio_pika_rpc(connection: aio_pika.abc.AbstractConnection) -> None:
    """Its RPC pattern uses mandatory publishes, expiration, headers and dead-lettering."""

    async def multiply(*, x: int, y: int) -> int:
        return x * y

    async with connection.channel() as channel:
        rpc = await RPC.create(channel)
        await rpc.register("test-multiply", multiply, auto_delete=True)
        async with asyncio.timeout(15):
            assert await asyncio.gather(
                *(rpc.call("test-multiply", {"x": n, "y": 3}) for n in range(20))
            ) == [n * 3 for n in range(20)]
        await rpc.close()


async def test_aio_pika_many_channels(connection: aio_pika.abc.AbstractConnection) -> None:
    """A hundred channels of one connection at the same time, each with its own queue."""

    async def work(number: int) -> bytes:
        async with connection.channel() as channel:
            queue = await channel.declare_queue(exclusive=True)
            body = b"%d" % number * 1000
            await channel.default_exchange.publish(aio_pika.Message(body), queue.name)
            async with asyncio.timeout(15), queue.iterator(no_ack=True) as messages:
                async for got in messages:
                    return got.body
        raise AssertionError("no message")

    bodies = await asyncio.gather(*(work(n) for n in range(100)))
    assert bodies == [b"%d" % n * 1000 for n in range(100)]
