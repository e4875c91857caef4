"""aio-pika as the clients of a ledger test: a program that reads a job and writes notes.

Kinds: ``publisher`` (a window of publishes side by side) and ``consumer`` (messages are worked on
side by side, so that they are acked in another order than they came). ``connect``, not
``connect_robust``: what a robust connection would mend is what the test is about.
"""

import asyncio
import sys
import time
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.exceptions import AMQPChannelError, AMQPConnectionError

from warrener.drills.messages import MessageNumber
from warrener.drills.notes import TroubleKind
from warrener.drills.program import Job, Messages, Notebook, Pace, read_job, stop_when_told

TICK = 0.01


class Client:
    """One connection, one channel, and what becomes of them."""

    def __init__(self, job: Job, book: Notebook) -> None:
        self.job = job
        self.book = book
        self.stopping = False
        self.failed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        stop_when_told(lambda: loop.call_soon_threadsafe(self.stop.set))

    async def run(self) -> None:
        url = f"{self.job.url}?heartbeat={self.job.heartbeat}"
        name = {"connection_name": self.job.name}
        connection = await aio_pika.connect(url, client_properties=name)
        connection.close_callbacks.add(self.closed)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        channel.close_callbacks.add(self.channel_closed)
        await self.work(connection, channel)
        self.stopping = True
        await connection.close()
        if self.failed.is_set():
            sys.exit(1)
        self.book.ended()

    async def work(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        raise NotImplementedError

    def closed(self, _: Any, reason: BaseException | None) -> None:
        self._failed(TroubleKind.CONNECTION_CLOSED, reason)

    def channel_closed(self, _: Any, reason: BaseException | None) -> None:
        self._failed(TroubleKind.CHANNEL_CLOSED, reason)

    def _failed(self, kind: TroubleKind, reason: BaseException | None) -> None:
        if not self.stopping:
            self.book.trouble(kind, reason or "without a reason")
            self.failed.set()


class Publisher(Client):
    async def work(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        messages = Messages(self.job)
        pace = Pace(self.job.rate, time.monotonic())
        under_way: set[asyncio.Task[None]] = set()
        while not (self.stop.is_set() or self.failed.is_set()):
            room = self.job.window - len(under_way)
            for _ in range(min(room, pace.due(time.monotonic()))):
                task = asyncio.create_task(self.publish(channel, *messages.next()))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                pace.sent()
            await asyncio.sleep(TICK)
        if under_way:
            await asyncio.wait(under_way)

    async def publish(self, channel: AbstractChannel, number: MessageNumber, body: bytes) -> None:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        self.book.published(number)
        try:
            await channel.default_exchange.publish(message, self.job.queue, mandatory=True)
        except PublishError as error:
            self.book.returned(number, 312)
            self.book.remark(repr(error))
        except DeliveryError:
            self.book.refused(number)
            return
        except Exception as error:
            self.book.trouble(TroubleKind.EXCEPTION, error)
            self.failed.set()
            return
        self.book.confirmed(number)


class Consumer(Client):
    async def work(self, connection: AbstractConnection, channel: AbstractChannel) -> None:
        await channel.set_qos(prefetch_count=self.job.prefetch)
        underlying = await channel.get_underlay_channel()
        underlying.on_consumer_cancel_callbacks.add(self.cancelled)
        queue = await channel.get_queue(self.job.queue, ensure=False)
        self.working = 0
        tag = await queue.consume(self.take)
        waits = {asyncio.create_task(self.stop.wait()), asyncio.create_task(self.failed.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not self.failed.is_set():
            await queue.cancel(tag)
            while self.working:  # noqa: ASYNC110 - has no event
                await asyncio.sleep(TICK)

    async def take(self, message: AbstractIncomingMessage) -> None:
        number = self.book.delivered(message.body, bool(message.redelivered))
        self.working += 1
        try:
            await asyncio.sleep(self.job.work * (1 + message.delivery_tag % 3))
            await message.ack()
        except Exception as error:
            self.book.trouble(TroubleKind.EXCEPTION, error)
            self.failed.set()
            return
        finally:
            self.working -= 1
        self.book.acked(number)

    def cancelled(self, *what: Any) -> None:
        self.book.trouble(TroubleKind.CONSUMER_CANCELLED, repr(what))


async def main() -> None:
    job, book = read_job(), Notebook()
    book.watch_log("aio_pika", "aiormq", "asyncio")
    try:
        await (Publisher if job.kind == "publisher" else Consumer)(job, book).run()
    except AMQPConnectionError as error:
        book.trouble(TroubleKind.CONNECTION_CLOSED, error)
        raise
    except AMQPChannelError as error:
        book.trouble(TroubleKind.CHANNEL_CLOSED, error)
        raise
    except Exception as error:
        book.trouble(TroubleKind.EXCEPTION, error)
        raise


if __name__ == "__main__":
    asyncio.run(main())
