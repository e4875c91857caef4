"""How long a message takes from when it was due to be published until its consumer has it.

An open loop: message k is due at ``start + k / rate`` whatever became of the ones before, goes to
the flows in turn, and carries that time in its body. A publisher that is held up sends late, and
the wait counts (Gil Tene's coordinated omission). One thread does it all on one clock; consumers
ack what one read brought.
"""

import gc
import selectors
import struct
import time
from collections.abc import Sequence
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
from warrener.bench.load import Flow, encode_publish, in_connect_order
from warrener.bench.wire import CHANNEL, BenchError, Wire

_STAMP: Final = struct.Struct(">d")  # the due time on the monotonic clock, s
_STALL: Final = 10.0  # s for the last messages to arrive


@dataclass(frozen=True, slots=True)
class LatencySpec:
    """One run. ``rate`` is messages a second over all flows. Times in seconds, sizes in bytes."""

    flows: tuple[Flow, ...]
    rate: float = 1_000.0
    body: int = 100
    prefetch: int = 500
    warmup: float = 0.5
    seconds: float = 5.0
    connect_order: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Latencies of the messages due in the window, in ms. ``rate`` is what was in fact sent."""

    p50: float
    p99: float
    max: float
    messages: int
    rate: float
    cpu: float  # the generator's own, in cores


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of an ascending sequence; ``share`` from 0 to 1."""
    if not ordered:
        raise BenchError("no message was measured")
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


class _Publisher:
    def __init__(self, spec: LatencySpec, flow: Flow) -> None:
        self.wire = Wire(flow.publish, name=f"bench publisher of {flow.queue}")
        self.wire.call(ConfirmSelect(), ConfirmSelectOk)
        self._frames = bytearray(encode_publish(flow.queue, b"w" * spec.body, persistent=False))
        self._stamp_at = len(self._frames) - 1 - spec.body
        self._confirms = Confirms()
        self.published = 0

    @property
    def settled(self) -> bool:
        return self._confirms.confirmed == self.published

    def publish(self, due: float) -> None:
        _STAMP.pack_into(self._frames, self._stamp_at, due)
        self.published += 1
        self.wire.sock.sendall(self._frames)

    def receive(self, data: bytes) -> None:
        self._confirms.feed(data, self.published)


class _Consumer:
    def __init__(self, spec: LatencySpec, flow: Flow, latencies: dict[float, float]) -> None:
        self.wire = Wire(flow.consume, name=f"bench consumer of {flow.queue}")
        self.wire.call(BasicQos(0, spec.prefetch, False), BasicQosOk)
        self.wire.call(QueuePurge(flow.queue), QueuePurgeOk)
        self.wire.call(BasicConsume(flow.queue, "bench"), BasicConsumeOk)
        self._latencies = latencies
        self._deliveries = Deliveries(spec.body, self._take)
        self._now = 0.0

    def receive(self, data: bytes) -> None:
        self._now = time.monotonic()
        if self._deliveries.feed(data):
            ack = encode_method(BasicAck(self._deliveries.tag, True))
            self.wire.sock.sendall(encode_frame(1, CHANNEL, ack))

    def _take(self, body: bytes) -> None:
        (due,) = _STAMP.unpack_from(body)
        if due in self._latencies:
            raise BenchError("a message was delivered twice")
        self._latencies[due] = (self._now - due) * 1e3


def run_latency(spec: LatencySpec) -> LatencyResult:
    """Do one run; the queues have to exist. They are purged first and left empty.

    Raises BenchError for anything that makes the figure worthless, such as a generator that
    couldn't keep the rate by itself.
    """
    if spec.body < _STAMP.size:
        raise BenchError(f"a body needs {_STAMP.size} bytes for its time stamp")
    latencies: dict[float, float] = {}
    publishers: list[_Publisher] = []
    ends: list[_Publisher | _Consumer] = []
    # select() has microseconds; epoll's milliseconds would be part of every latency.
    selector = selectors.SelectSelector()
    gc.disable()
    try:
        for flow, consumes in in_connect_order(len(spec.flows), spec.connect_order):
            if consumes:
                ends.append(_Consumer(spec, spec.flows[flow], latencies))
            else:
                publishers.append(_Publisher(spec, spec.flows[flow]))
                ends.append(publishers[-1])
            selector.register(ends[-1].wire.sock, selectors.EVENT_READ, ends[-1])
        for end in ends:
            if early := end.wire.rest():
                end.receive(early)
        start = time.monotonic()
        opens = start + spec.warmup
        closes = opens + spec.seconds
        cpu = time.process_time()
        sent_all_at = _send(spec, publishers, selector, start, closes)
        _drain(publishers, latencies, selector)
        cpu = time.process_time() - cpu
        counted = sorted(ms for due, ms in latencies.items() if opens <= due < closes)
        published = sum(p.published for p in publishers)
        for end in ends:
            end.wire.close()
    finally:
        gc.enable()
        selector.close()
        for end in ends:
            end.wire.sock.close()
    return LatencyResult(
        p50=percentile(counted, 0.50),
        p99=percentile(counted, 0.99),
        max=counted[-1],
        messages=len(counted),
        rate=published / (sent_all_at - start),
        cpu=cpu / (sent_all_at - start),
    )


def _send(
    spec: LatencySpec,
    publishers: Sequence[_Publisher],
    selector: selectors.BaseSelector,
    start: float,
    closes: float,
) -> float:
    """Publish on schedule until ``closes``; returns when the last one was sent."""
    k = 0
    due = start
    while due < closes:
        now = time.monotonic()
        if now < due:
            _serve(selector, due - now)
            continue
        publishers[k % len(publishers)].publish(due)
        k += 1
        due = start + k / spec.rate
        if k % 32 == 0:  # far behind, replies still have to be read
            _serve(selector, 0.0)
    return max(time.monotonic(), closes)


def _drain(
    publishers: Sequence[_Publisher],
    latencies: dict[float, float],
    selector: selectors.BaseSelector,
) -> None:
    published = sum(p.published for p in publishers)
    deadline = time.monotonic() + _STALL
    while len(latencies) < published or not all(p.settled for p in publishers):
        if time.monotonic() > deadline:
            raise BenchError(
                f"{published} published, {len(latencies)} delivered {_STALL:.0f} s after the last"
            )
        _serve(selector, 0.1)


def _serve(selector: selectors.BaseSelector, timeout: float) -> None:
    for key, _ in selector.select(timeout):
        end: _Publisher | _Consumer = key.data
        data = end.wire.sock.recv(65_536)
        if not data:
            raise BenchError(f"{end.wire.target.label} dropped the connection")
        end.receive(data)
