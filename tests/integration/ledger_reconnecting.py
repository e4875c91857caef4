"""Clients of a ledger test that connect again by themselves: a program that reads a job and writes
notes.

Kinds: ``pika-publisher`` and ``pika-consumer`` in the loop that pika's documentation has for it
(connect again at once; a second's pause when that fails), ``robust-publisher`` and
``robust-consumer`` with aio-pika's ``connect_robust`` as it comes. Both publishers keep what is
unconfirmed and publish it again; after a refusal on a new channel, since RabbitMQ 3.10.8 goes on
refusing on one that has met a quorum queue without a leader.
"""

import asyncio
import contextlib
import sys
import time
from typing import Any

import aio_pika
import pika
from aio_pika.abc import AbstractIncomingMessage
from pika.exceptions import AMQPError, NackError, UnroutableError

from warrener.drills.messages import MessageNumber
from warrener.drills.notes import TroubleKind
from warrener.drills.program import Job, Messages, Notebook, Pace, read_job, stop_when_told

PAUSE = 1.0  # s after an attempt to connect that failed
RETRY = 0.2  # s after a publish that was refused or cut off
ANSWER = 30.0  # s for a confirm: longer than anything that is broken on purpose
TICK = 0.01
PERSISTENT = pika.BasicProperties(delivery_mode=2)


# -- pika ------------------------------------------------------------------------------------------


class Pika:
    """One connection after the other, until told to stop."""

    def __init__(self, job: Job, book: Notebook) -> None:
        self.job = job
        self.book = book
        self.parameters = pika.URLParameters(job.url)
        self.parameters.heartbeat = job.heartbeat
        self.parameters.client_properties = {"connection_name": job.name}
        self.connection: Any = None
        self.stop = stop_when_told(self.told)

    def told(self) -> None:
        """In another thread."""

    def run(self) -> None:
        while True:
            try:
                self.connection = pika.BlockingConnection(self.parameters)
            except (AMQPError, OSError) as error:
                self.book.remark(f"no connection: {type(error).__name__}: {error}")
                time.sleep(PAUSE)
                continue
            try:
                self.work(self.connection.channel())
                self.connection.close()
                break
            except (AMQPError, OSError) as error:
                self.book.disconnected(error)
        self.book.ended()

    def work(self, channel: Any) -> None:
        raise NotImplementedError


class PikaPublisher(Pika):
    """Each publish waits for its confirm, so one at most is unconfirmed."""

    def __init__(self, job: Job, book: Notebook) -> None:
        super().__init__(job, book)
        self.messages = Messages(job)
        self.pace = Pace(job.rate, time.monotonic())
        self.unconfirmed: tuple[MessageNumber, bytes] | None = None

    def work(self, channel: Any) -> None:
        channel.confirm_delivery()
        while self.unconfirmed or not self.stop.is_set():
            if self.unconfirmed is None and not self.pace.due(time.monotonic()):
                self.connection.sleep(self.pace.wait(time.monotonic()))
                continue
            if self.unconfirmed is None:
                self.unconfirmed = self.messages.next()
                self.book.published(self.unconfirmed[0])
                self.pace.sent()
            else:
                self.book.republished(self.unconfirmed[0])
            number, body = self.unconfirmed
            try:
                channel.basic_publish("", self.job.queue, body, PERSISTENT, mandatory=True)
            except UnroutableError as error:
                self.book.returned(number, error.messages[0].method.reply_code)
            except NackError:
                self.book.refused(number)
                self.connection.sleep(RETRY)
                channel.close()
                channel = self.connection.channel()
                channel.confirm_delivery()
                continue
            self.book.confirmed(number)
            self.unconfirmed = None


class PikaConsumer(Pika):
    channel: Any = None

    def told(self) -> None:
        with contextlib.suppress(AMQPError):
            self.connection.add_callback_threadsafe(self.end)

    def end(self) -> None:
        if self.channel is not None and self.channel.is_open:
            self.channel.stop_consuming()

    def work(self, channel: Any) -> None:
        self.channel = channel
        channel.basic_qos(prefetch_count=self.job.prefetch)
        channel.basic_consume(self.job.queue, self.take)
        if not self.stop.is_set():
            channel.start_consuming()

    def take(self, channel: Any, method: Any, _: Any, body: bytes) -> None:
        number = self.book.delivered(body, method.redelivered)
        time.sleep(self.job.work)
        try:
            channel.basic_ack(method.delivery_tag)
        except (AMQPError, OSError):
            self.book.given_back(number)
            raise
        self.book.acked(number)


# -- aio-pika --------------------------------------------------------------------------------------


class Robust:
    """One robust connection, one channel."""

    def __init__(self, job: Job, book: Notebook) -> None:
        self.job = job
        self.book = book
        self.stopping = False
        self.stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop_when_told(lambda: loop.call_soon_threadsafe(self.stop.set))

    async def run(self) -> None:
        url = f"{self.job.url}?heartbeat={self.job.heartbeat}"
        name = {"connection_name": self.job.name}
        connection = await aio_pika.connect_robust(url, client_properties=name)
        connection.close_callbacks.add(self.lost)
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        await self.work(channel)
        self.stopping = True
        await connection.close()
        self.book.ended()

    def lost(self, _: Any, why: BaseException | None) -> None:
        if not self.stopping:
            self.book.disconnected(why)

    async def work(self, channel: Any) -> None:
        raise NotImplementedError


class RobustPublisher(Robust):
    anew = 0  # channels opened anew after a refusal

    async def work(self, channel: Any) -> None:
        messages = Messages(self.job)
        pace = Pace(self.job.rate, time.monotonic())
        under_way: set[asyncio.Task[None]] = set()
        while not self.stop.is_set():
            room = self.job.window - len(under_way)
            for _ in range(min(room, pace.due(time.monotonic()))):
                task = asyncio.create_task(self.publish(channel, *messages.next()))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                pace.sent()
            await asyncio.sleep(TICK)
        if under_way:
            await asyncio.wait(under_way)

    async def publish(self, channel: Any, number: MessageNumber, body: bytes) -> None:
        self.book.published(number)
        while not await self.confirmed(channel, number, body):
            await channel.ready()
            self.book.republished(number)

    async def refused(self, channel: Any, anew: int) -> None:
        """One of those that were refused on the same channel opens it anew."""
        await asyncio.sleep(RETRY)
        if self.anew == anew:
            self.anew += 1
            try:
                await channel.reopen()
            except (aio_pika.exceptions.AMQPError, OSError) as error:
                self.book.remark(f"not opened anew: {type(error).__name__}: {error}")

    async def confirmed(self, channel: Any, number: MessageNumber, body: bytes) -> bool:
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        anew = self.anew
        try:
            async with asyncio.timeout(ANSWER):
                await channel.default_exchange.publish(message, self.job.queue, mandatory=True)
        except aio_pika.exceptions.PublishError as error:
            self.book.returned(number, 312)
            self.book.remark(repr(error))
        except aio_pika.exceptions.DeliveryError:
            self.book.refused(number)
            await self.refused(channel, anew)
            return False
        except (Exception, asyncio.CancelledError) as error:
            # aiormq cancels what waits for an answer when the connection goes.
            self.book.remark(f"not confirmed: {type(error).__name__}: {error}")
            await asyncio.sleep(RETRY)
            return False
        self.book.confirmed(number)
        return True


class RobustConsumer(Robust):
    async def work(self, channel: Any) -> None:
        await channel.set_qos(prefetch_count=self.job.prefetch)
        queue = await channel.declare_queue(self.job.queue, passive=True)
        self.working = 0
        tag = await queue.consume(self.take)
        await self.stop.wait()
        await queue.cancel(tag)
        while self.working:  # noqa: ASYNC110 - has no event
            await asyncio.sleep(TICK)

    async def take(self, message: AbstractIncomingMessage) -> None:
        number = self.book.delivered(message.body, bool(message.redelivered))
        self.working += 1
        try:
            await asyncio.sleep(self.job.work)
            await message.ack()
        except (Exception, asyncio.CancelledError):
            self.book.given_back(number)
            return
        finally:
            self.working -= 1
        self.book.acked(number)


PIKA = {"pika-publisher": PikaPublisher, "pika-consumer": PikaConsumer}
ROBUST = {"robust-publisher": RobustPublisher, "robust-consumer": RobustConsumer}


async def robust(job: Job, book: Notebook) -> None:
    await ROBUST[job.kind](job, book).run()


def main() -> None:
    job, book = read_job(), Notebook()
    try:
        if job.kind in PIKA:
            PIKA[job.kind](job, book).run()
        else:
            asyncio.run(robust(job, book))
    except Exception as error:
        book.trouble(TroubleKind.EXCEPTION, error)
        sys.exit(1)


if __name__ == "__main__":
    main()
