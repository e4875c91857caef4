"""An open workload with consumers of known service time: what a model of queues is held against.

Messages are due at random (exponential gaps, a Poisson stream) or as irregularly as told, whatever
became of the ones before. Consumers work on one message at a time, each for an exponential time (or
one as irregular as told) of known mean, and ack it when it is done. A message's response time is
from when it was due until it was acked. One thread does it all on one clock: the services are
timers, so a hundred consumers cost no CPU while they "work".

    BENCH_URL=... python -m warrener.bench.job    {"kind": "paced", "spec": {...}}
"""

import gc
import heapq
import random
import selectors
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
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

_STAMP: Final = struct.Struct(">d")
_STALL: Final = 60.0  # s for the last messages to be done


@dataclass(frozen=True, slots=True)
class PacedSpec:
    """One run on one queue, which has to exist. ``rate`` in messages a second, ``service_time``
    the mean in s, ``body`` in bytes. What is due after ``warmup`` s, for ``seconds`` s, counts; for
    ``after`` s more it goes on, for others to look at. The scv are the squared coefficients of
    variation of gaps and services (gamma): 1 at random, 0 always the same."""

    queue: str
    target: Target
    rate: float
    consumers: int
    service_time: float
    prefetch: int = 1
    body: int = 100
    warmup: float = 5.0
    seconds: float = 30.0
    seed: int = 1
    after: float = 0.0
    arrival_scv: float = 1.0
    service_scv: float = 1.0


@dataclass(frozen=True, slots=True)
class PacedResult:
    """Of the messages that count: their response times, s, in the order in which they were due, and
    the mean service time that they had. ``rate``: what was published, in all; ``done``: what was
    acked while they were due, both a second.

    ``ideal``: the mean response time that the very same messages would have had, due when they were
    and served as long as they were, in a queue that costs no time. What a model misses is this
    compared with the model; what the cluster adds is the measured mean compared with this. With a
    prefetch above 1 each consumer has a line of its own there, dealt to in turn.
    """

    responses: tuple[float, ...]
    service_time: float
    ideal: float
    rate: float
    done: float
    cpu: float  # the generator's own, in cores


@dataclass(slots=True)
class _Done:
    due: float
    response: float
    service: float


class _Consumer:
    """Takes one message after the other, each for its time."""

    def __init__(self, spec: PacedSpec, chance: random.Random, done: list[_Done]) -> None:
        self.wire = Wire(spec.target, name=f"bench consumer of {spec.queue}")
        self.wire.call(BasicQos(0, spec.prefetch, False), BasicQosOk)
        self.wire.call(BasicConsume(spec.queue, "bench"), BasicConsumeOk)
        self._deliveries = Deliveries(spec.body, self._take)
        self._chance = times_of(spec.service_time, spec.service_scv, chance)
        self._done = done
        self._waiting: deque[float] = deque()  # when they were due
        self._tag = 0
        self._service = 0.0
        self.ends = 0.0  # when it is done with its message; 0: it has none

    def receive(self, data: bytes) -> None:
        self._deliveries.feed(data)

    def _take(self, body: bytes) -> None:
        (due,) = _STAMP.unpack_from(body)
        self._waiting.append(due)

    def begin(self, now: float) -> bool:
        """Whether it begins with the next message now."""
        if self.ends or not self._waiting:
            return False
        self._service = self._chance()
        self.ends = now + self._service
        return True

    def finish(self, now: float) -> None:
        self._tag += 1
        ack = encode_method(BasicAck(self._tag, False))
        self.wire.sock.sendall(encode_frame(1, CHANNEL, ack))
        due = self._waiting.popleft()
        self._done.append(_Done(due, now - due, self._service))
        self.ends = 0.0


class _Publisher:
    def __init__(self, spec: PacedSpec) -> None:
        self.wire = Wire(spec.target, name=f"bench publisher of {spec.queue}")
        self.wire.call(ConfirmSelect(), ConfirmSelectOk)
        self.wire.call(QueuePurge(spec.queue), QueuePurgeOk)
        self._frames = bytearray(encode_publish(spec.queue, b"w" * spec.body, persistent=False))
        self._stamp_at = len(self._frames) - 1 - spec.body
        self._confirms = Confirms()
        self.published = 0

    def publish(self, due: float) -> None:
        _STAMP.pack_into(self._frames, self._stamp_at, due)
        self.published += 1
        self.wire.sock.sendall(self._frames)

    def receive(self, data: bytes) -> None:
        self._confirms.feed(data, self.published)


def run_paced(spec: PacedSpec) -> PacedResult:
    """Do one run; the queue is purged first and left empty. BenchError for anything that makes the
    figure worthless."""
    if spec.body < _STAMP.size:
        raise BenchError(f"a body needs {_STAMP.size} bytes for its time stamp")
    # The same run again, not a secret; apart, so that arrivals don't depend on who is served when.
    chance = random.Random(spec.seed)  # noqa: S311
    services = random.Random(spec.seed + 1_000_000)  # noqa: S311
    done: list[_Done] = []
    publisher = _Publisher(spec)
    consumers: list[_Consumer] = []
    selector = selectors.SelectSelector()
    gc.disable()
    try:
        selector.register(publisher.wire.sock, selectors.EVENT_READ, publisher)
        for _ in range(spec.consumers):
            consumers.append(_Consumer(spec, services, done))
            selector.register(consumers[-1].wire.sock, selectors.EVENT_READ, consumers[-1])
        cpu = time.process_time()
        start = time.monotonic()
        _work(spec, publisher, consumers, selector, chance, start)
        took = time.monotonic() - start
        cpu = time.process_time() - cpu
        for wire in (publisher.wire, *(consumer.wire for consumer in consumers)):
            wire.close()
    finally:
        gc.enable()
        selector.close()
        for wire in (publisher.wire, *(consumer.wire for consumer in consumers)):
            wire.sock.close()
    rate = publisher.published / (spec.warmup + spec.seconds + spec.after)
    return _result(spec, done, rate, start, cpu / took)


def _work(
    spec: PacedSpec,
    publisher: _Publisher,
    consumers: list[_Consumer],
    selector: selectors.BaseSelector,
    chance: random.Random,
    start: float,
) -> None:
    """Until the last message is acked."""
    closes = start + spec.warmup + spec.seconds + spec.after
    gap = times_of(1.0 / spec.rate, spec.arrival_scv, chance)
    due = start + gap()
    busy: list[tuple[float, int]] = []  # when which consumer is done
    acked = 0
    while due < closes or acked < publisher.published:
        now = time.monotonic()
        if now > closes + _STALL:
            raise BenchError(
                f"{publisher.published} published, {acked} acked {_STALL:.0f} s after the last"
            )
        while busy and busy[0][0] <= now:
            _, number = heapq.heappop(busy)
            consumers[number].finish(now)
            acked += 1
            if consumers[number].begin(now):
                heapq.heappush(busy, (consumers[number].ends, number))
        while due <= now and due < closes:
            publisher.publish(due)
            due += gap()
        wakes = [due] if due < closes else []
        wakes += [busy[0][0]] if busy else []
        wait = max(0.0, min(wakes, default=now + 0.1) - time.monotonic())
        for key, _ in selector.select(wait):
            end: _Publisher | _Consumer = key.data
            data = end.wire.sock.recv(65_536)
            if not data:
                raise BenchError(f"{end.wire.target.label} dropped the connection")
            end.receive(data)
        now = time.monotonic()
        for number, consumer in enumerate(consumers):
            if consumer.begin(now):
                heapq.heappush(busy, (consumer.ends, number))


def _result(
    spec: PacedSpec, done: list[_Done], rate: float, start: float, cpu: float
) -> PacedResult:
    opens = start + spec.warmup
    closes = opens + spec.seconds
    finished = sum(opens <= one.due + one.response < closes for one in done)
    done = sorted((one for one in done if one.due < closes), key=lambda one: one.due)
    ideal = _ideal(done, spec.consumers, pooled=spec.prefetch == 1)
    counted = [one for one in done if one.due >= opens]
    if len(counted) < 100:
        raise BenchError(f"only {len(counted)} messages counted; 100 are the least")
    return PacedResult(
        responses=tuple(one.response for one in counted),
        service_time=sum(one.service for one in counted) / len(counted),
        ideal=sum(ideal[-len(counted) :]) / len(counted),
        rate=rate,
        done=finished / spec.seconds,
        cpu=cpu,
    )


def times_of(mean: float, scv: float, chance: random.Random) -> Callable[[], float]:
    """Times of that mean and squared coefficient of variation (a gamma distribution)."""
    if scv == 1.0:
        return lambda: chance.expovariate(1.0 / mean)
    if scv == 0.0:
        return lambda: mean
    return lambda: chance.gammavariate(1.0 / scv, mean * scv)


def _ideal(done: Sequence[_Done], consumers: int, *, pooled: bool = True) -> list[float]:
    """The response time of each, in the order in which they were due: first come, first served, in
    one line (``pooled``) or in one for each consumer."""
    if not pooled:
        responses = [0.0] * len(done)
        for line in range(consumers):
            responses[line::consumers] = _ideal(done[line::consumers], 1)
        return responses
    free = [0.0] * consumers
    responses = []
    for one in done:
        begins = max(one.due, heapq.heappop(free))
        heapq.heappush(free, begins + one.service)
        responses.append(begins + one.service - one.due)
    return responses
