"""pika as the clients of a ledger test: a program that reads a job and writes notes.

Kinds: ``blocking-publisher`` (BlockingConnection; each publish waits for its confirm),
``select-publisher`` (SelectConnection; a window of them), ``blocking-consumer`` (acks one by one),
``select-consumer`` (acks with ``multiple``).
"""

import functools
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.exceptions import (
    AMQPChannelError,
    AMQPConnectionError,
    AMQPError,
    NackError,
    UnroutableError,
)

from warrener.drills.messages import MessageNumber
from warrener.drills.notes import TroubleKind
from warrener.drills.program import Job, Messages, Notebook, Pace, read_job, stop_when_told

PERSISTENT = pika.BasicProperties(delivery_mode=2)
TICK = 0.01
ACK_EVERY = 20
ACK_AFTER = 0.1  # s; what is less than ACK_EVERY is acked then


def parameters(job: Job) -> pika.URLParameters:
    found = pika.URLParameters(job.url)
    found.heartbeat = job.heartbeat
    found.client_properties = {"connection_name": job.name}
    return found


def trouble_of(error: BaseException) -> TroubleKind:
    if isinstance(error, AMQPConnectionError):
        return TroubleKind.CONNECTION_CLOSED
    if isinstance(error, AMQPChannelError):
        return TroubleKind.CHANNEL_CLOSED
    return TroubleKind.EXCEPTION


# -- blocking ---------------------------------------------------------------------------------


def blocking(job: Job, book: Notebook, work: Callable[[Job, Notebook, Any, Any], None]) -> None:
    try:
        connection = pika.BlockingConnection(parameters(job))
        connection.add_on_connection_blocked_callback(lambda _c, _f: book.remark("blocked"))
        connection.add_on_connection_unblocked_callback(lambda _c, _f: book.remark("unblocked"))
        work(job, book, connection, connection.channel())
        connection.close()
        book.ended()
    except AMQPError as error:
        book.trouble(trouble_of(error), error)
        sys.exit(1)


def blocking_publisher(job: Job, book: Notebook, connection: Any, channel: Any) -> None:
    stop = stop_when_told()
    channel.confirm_delivery()
    messages = Messages(job)
    pace = Pace(job.rate, time.monotonic())
    while not stop.is_set():
        for _ in range(pace.due(time.monotonic())):
            number, body = messages.next()
            book.published(number)
            pace.sent()
            try:
                channel.basic_publish("", job.queue, body, PERSISTENT, mandatory=True)
            except UnroutableError as error:
                book.returned(number, error.messages[0].method.reply_code)
            except NackError:
                book.refused(number)
                continue
            book.confirmed(number)
        connection.sleep(pace.wait(time.monotonic()))


def blocking_consumer(job: Job, book: Notebook, connection: Any, channel: Any) -> None:
    def stop() -> None:
        connection.add_callback_threadsafe(channel.stop_consuming)

    def take(_: Any, method: Any, __: Any, body: bytes) -> None:
        number = book.delivered(body, method.redelivered)
        time.sleep(job.work)
        channel.basic_ack(method.delivery_tag)
        book.acked(number)

    def cancelled(_: Any) -> None:
        book.trouble(TroubleKind.CONSUMER_CANCELLED, job.queue)

    told = stop_when_told(stop)
    channel.add_on_cancel_callback(cancelled)
    channel.basic_qos(prefetch_count=job.prefetch)
    channel.basic_consume(job.queue, take)
    channel.start_consuming()
    if not told.is_set():
        book.trouble(TroubleKind.EXCEPTION, "consuming ended by itself")


# -- on an event loop -------------------------------------------------------------------------


class Select:
    """What a publisher and a consumer have in common: one connection, one channel, an end."""

    def __init__(self, job: Job, book: Notebook) -> None:
        self.job = job
        self.book = book
        self.channel: Any = None
        self.stopping = False
        self.failed = False
        self.stop = stop_when_told()
        self.connection = SelectConnection(
            parameters(job),
            on_open_callback=self.opened,
            on_open_error_callback=self.closed,
            on_close_callback=self.closed,
        )
        self.connection.add_on_connection_blocked_callback(lambda _c, _f: book.remark("blocked"))
        self.connection.add_on_connection_unblocked_callback(
            lambda _c, _f: book.remark("unblocked")
        )

    def run(self) -> None:
        self.connection.ioloop.start()
        if self.failed:
            sys.exit(1)
        self.book.ended()

    def opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self.channel_opened)

    def channel_opened(self, channel: Any) -> None:
        self.channel = channel
        channel.add_on_close_callback(self.channel_closed)
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def channel_closed(self, _: Any, reason: BaseException) -> None:
        if not self.stopping:
            self.failed = True
            self.book.trouble(TroubleKind.CHANNEL_CLOSED, reason)
            if self.connection.is_open:
                self.connection.close()

    def closed(self, _: Any, reason: BaseException) -> None:
        if not self.stopping:
            self.failed = True
            self.book.trouble(TroubleKind.CONNECTION_CLOSED, reason)
        self.connection.ioloop.stop()

    def end(self) -> None:
        self.stopping = True
        self.connection.close()


class SelectPublisher(Select):
    def begin(self) -> None:
        self.messages = Messages(self.job)
        self.unconfirmed: deque[tuple[int, MessageNumber]] = deque()
        self.tag = 0
        self.channel.add_on_return_callback(self.returned)
        self.channel.confirm_delivery(self.answered, callback=self.start)

    def start(self, _: Any) -> None:
        self.pace = Pace(self.job.rate, time.monotonic())
        self.tick()

    def tick(self) -> None:
        if not self.channel.is_open:
            return
        if self.stop.is_set():
            if not self.unconfirmed:
                self.end()
                return
        else:
            room = self.job.window - len(self.unconfirmed)
            for _ in range(min(room, self.pace.due(time.monotonic()))):
                self.publish()
        self.connection.ioloop.call_later(TICK, self.tick)

    def publish(self) -> None:
        number, body = self.messages.next()
        self.tag += 1
        self.unconfirmed.append((self.tag, number))
        self.book.published(number)
        self.pace.sent()
        self.channel.basic_publish("", self.job.queue, body, PERSISTENT, mandatory=True)

    def answered(self, frame: Any) -> None:
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        ack = isinstance(frame.method, pika.spec.Basic.Ack)
        chosen = [one for one in self.unconfirmed if one[0] == tag or (multiple and one[0] < tag)]
        if not chosen:
            self.book.trouble(TroubleKind.COMPLAINT, f"{frame.method} for nothing")
        for one in chosen:
            self.unconfirmed.remove(one)
            (self.book.confirmed if ack else self.book.refused)(one[1])

    def returned(self, _: Any, method: Any, __: Any, body: bytes) -> None:
        self.book.returned(MessageNumber(int(body.partition(b"/")[0])), method.reply_code)


class SelectConsumer(Select):
    def begin(self) -> None:
        self.taken: list[tuple[int, MessageNumber | None]] = []
        self.last_tag = 0
        self.channel.add_on_cancel_callback(self.cancelled)
        self.channel.basic_qos(prefetch_count=self.job.prefetch, callback=self.consume)

    def consume(self, _: Any) -> None:
        self.channel.basic_consume(self.job.queue, self.take)
        self.tick()

    def take(self, _: Any, method: Any, __: Any, body: bytes) -> None:
        if method.delivery_tag <= self.last_tag:
            text = f"delivery tag {method.delivery_tag} after {self.last_tag}"
            self.book.trouble(TroubleKind.COMPLAINT, text)
        self.last_tag = method.delivery_tag
        self.taken.append((method.delivery_tag, self.book.delivered(body, method.redelivered)))
        if len(self.taken) >= ACK_EVERY:
            self.ack()

    def ack(self) -> None:
        if self.taken:
            self.channel.basic_ack(self.taken[-1][0], multiple=True)
            for _, number in self.taken:
                self.book.acked(number)
            self.taken.clear()

    def tick(self) -> None:
        if not self.channel.is_open:
            return
        self.ack()
        if self.stop.is_set():
            self.end()
            return
        self.connection.ioloop.call_later(ACK_AFTER, self.tick)

    def cancelled(self, _: Any) -> None:
        self.book.trouble(TroubleKind.CONSUMER_CANCELLED, self.job.queue)


KINDS: dict[str, Callable[[Job, Notebook], None]] = {
    "blocking-publisher": functools.partial(blocking, work=blocking_publisher),
    "blocking-consumer": functools.partial(blocking, work=blocking_consumer),
    "select-publisher": lambda job, book: SelectPublisher(job, book).run(),
    "select-consumer": lambda job, book: SelectConsumer(job, book).run(),
}


def main() -> None:
    job, book = read_job(), Notebook()
    book.watch_log("pika")
    try:
        KINDS[job.kind](job, book)
    except Exception as error:
        book.trouble(TroubleKind.EXCEPTION, error)
        raise


if __name__ == "__main__":
    main()
