"""What a message waits for when nothing else does: the way through the broker, one at a time.

    transit      from when a message is sent until a consumer that waits for it has it
    turnaround   from when a consumer with a prefetch of 1 acks until it has the next message, which
                 is in the queue already

Both are the medians of some hundred; the rest of a queue's response time is a model's business.

    BENCH_URL=... python -m warrener.bench.job    {"kind": "alone", "spec": {...}}
"""

import statistics
import time
from dataclasses import dataclass
from typing import Final

from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicConsume,
    BasicConsumeOk,
    BasicQos,
    BasicQosOk,
    ConfirmSelect,
    ConfirmSelectOk,
    QueuePurge,
    QueuePurgeOk,
    encode_method,
)
from warrener.bench.counting import Confirms, Deliveries
from warrener.bench.load import encode_publish
from warrener.bench.wire import CHANNEL, BenchError, Target, Wire

PAUSE: Final = 0.004
"""Seconds between two messages, in which the broker puts things away, as it can behind a consumer
that does something."""

LEAST: Final = 10
"""Messages that it takes for a figure."""


@dataclass(frozen=True, slots=True)
class AloneSpec:
    """One run on one queue, which has to exist and be nobody else's: half of ``seconds`` for each
    figure."""

    queue: str
    target: Target
    body: int
    seconds: float


@dataclass(frozen=True, slots=True)
class AloneResult:
    """Seconds, and of how many messages they are the median."""

    transit: float
    turnaround: float
    messages: int


def run_alone(spec: AloneSpec) -> AloneResult:
    """Do one run; the queue is purged first and left empty. BenchError."""
    with Wire(spec.target, name=f"bench publisher of {spec.queue}") as publisher:
        publisher.call(ConfirmSelect(), ConfirmSelectOk)
        publisher.call(QueuePurge(spec.queue), QueuePurgeOk)
        alone = _Alone(spec, publisher)
        transits = alone.transits(spec.seconds / 2)
        turnarounds = alone.turnarounds(spec.seconds / 2, len(transits))
        publisher.call(QueuePurge(spec.queue), QueuePurgeOk)
    messages = min(len(transits), len(turnarounds))
    if messages < LEAST:
        raise BenchError(f"only {messages} messages in {spec.seconds:.1f} s; {LEAST} are the least")
    return AloneResult(statistics.median(transits), statistics.median(turnarounds), messages)


class _Alone:
    def __init__(self, spec: AloneSpec, publisher: Wire) -> None:
        self._spec = spec
        self._publisher = publisher
        self._message = encode_publish(spec.queue, b"w" * spec.body, persistent=False)
        self._confirms = Confirms()
        self._published = 0

    def transits(self, seconds: float) -> list[float]:
        """Until a consumer has it, s."""
        found = []
        with self._consumer() as consumer:
            deliveries = Deliveries(self._spec.body)
            consumer.call(BasicConsume(self._spec.queue, "bench"), BasicConsumeOk)
            _receive(deliveries, consumer.rest())
            ends = time.monotonic() + seconds
            while (sent := time.monotonic()) < ends:
                self._publish(1)
                _next(deliveries, consumer)
                found.append(time.monotonic() - sent)
                _ack(consumer, deliveries.tag)
                self._await_confirms()
                time.sleep(PAUSE)
        return found

    def turnarounds(self, seconds: float, messages: int) -> list[float]:
        """From an ack until the next delivery, s; ``messages`` at most."""
        self._publish(messages + 1)
        self._await_confirms()
        found = []
        with self._consumer() as consumer:
            deliveries = Deliveries(self._spec.body)
            consumer.call(BasicConsume(self._spec.queue, "bench"), BasicConsumeOk)
            _receive(deliveries, consumer.rest())
            while deliveries.count < 1:
                _next(deliveries, consumer)
            ends = time.monotonic() + seconds
            while deliveries.count <= messages and time.monotonic() < ends:
                time.sleep(PAUSE)
                acked = time.monotonic()
                _ack(consumer, deliveries.tag)
                _next(deliveries, consumer)
                found.append(time.monotonic() - acked)
            consumer.send(BasicCancel("bench", no_wait=True))
        return found

    def _consumer(self) -> Wire:
        wire = Wire(self._spec.target, name=f"bench consumer of {self._spec.queue}")
        wire.call(BasicQos(0, 1, False), BasicQosOk)
        return wire

    def _publish(self, messages: int) -> None:
        self._published += messages
        self._publisher.sock.sendall(self._message * messages)

    def _await_confirms(self) -> None:
        while self._confirms.confirmed < self._published:
            self._confirms.feed(_read(self._publisher), self._published)


def _ack(consumer: Wire, tag: int) -> None:
    consumer.sock.sendall(encode_frame(1, CHANNEL, encode_method(BasicAck(tag, False))))


def _next(deliveries: Deliveries, consumer: Wire) -> None:
    before = deliveries.count
    while deliveries.count == before:
        _receive(deliveries, _read(consumer))


def _receive(deliveries: Deliveries, data: bytes) -> None:
    if data:
        deliveries.feed(data)


def _read(wire: Wire) -> bytes:
    try:
        data = wire.sock.recv(65_536)
    except TimeoutError:
        raise BenchError(f"{wire.target.label} said nothing in time") from None
    except OSError as error:
        raise BenchError(f"lost {wire.target.label}: {error}") from None
    if not data:
        raise BenchError(f"{wire.target.label} dropped the connection")
    return data
