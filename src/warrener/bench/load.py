"""How many messages a second go through: publishers with confirms, consumers with prefetch.

Each flow is one queue with one publisher and one consumer, each on a connection of its own. One
thread serves all sockets. A publisher keeps ``window`` messages unconfirmed and sends as many
as are free in one write, out of a buffer with a whole window encoded once; a consumer acks with
``multiple`` every quarter of its prefetch.

    connect all -> warm-up -> window that counts -> publishing stops -> drained and checked

What is reported is the rate of deliveries and the rate of confirms over the window; ``rate`` is
the smaller of the two, so that a queue that fills up or empties doesn't flatter the figure. A run
in which anything is lost, doubled, rejected, or stands still is an error, not a figure.

By hand, against any broker:

    BENCH_URL=amqp://user:password@127.0.0.1:5672/ python -m warrener.bench.load --queues q1
"""

import argparse
import gc
import os
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicAck,
    BasicConsume,
    BasicConsumeOk,
    BasicPublish,
    BasicQos,
    BasicQosOk,
    ConfirmSelect,
    ConfirmSelectOk,
    QueuePurge,
    QueuePurgeOk,
    encode_method,
)
from warrener.bench.counting import Confirms, Deliveries
from warrener.bench.topology import declare
from warrener.bench.wire import CHANNEL, BenchError, Target, Wire

_BUFFER: Final = 512 * 1024  # bytes read at once: ten windows of 100-byte messages
_STALL: Final = 10.0  # s without any progress before a run is given up
_BODY_OVERHEAD: Final = 8
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True, slots=True)
class Flow:
    """One queue, and where its publisher and its consumer connect. ``rate`` is messages a second
    that are published, if not as many as go."""

    queue: str
    publish: Target
    consume: Target
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One run. Times in seconds, ``body`` in bytes, ``window`` and ``prefetch`` in messages.

    ``connect_order`` gives the order in which clients connect: 2 * i is the publisher of flow i,
    2 * i + 1 its consumer. Behind a balancer that order decides who lands where. Empty: as listed.

    ``pace`` is the pause between two looks at the sockets. At 70,000 msg/s a window lasts 14 ms,
    so 2 ms cost no throughput. Without them the generator is woken for every handful of confirms
    and takes 5 to 8 us of CPU a message instead of 1.5, from a broker that needs it.

    ``moving``: leaders of the queues change during the run. A message may then be marked as
    redelivered that comes for the first time, so the counts only have to fit.

    ``publish_only``: nobody consumes. ``streams``: the queues are, which can't be purged, and are
    read from what is published from now on. ``sample_every``: s between two samples of the window
    in the result, 0: none.
    """

    flows: tuple[Flow, ...]
    body: int = 100
    window: int = 1_000
    prefetch: int = 500
    warmup: float = 0.5
    seconds: float = 5.0
    persistent: bool = False
    connect_order: tuple[int, ...] = ()
    pace: float = 0.002
    moving: bool = False
    publish_only: bool = False
    streams: bool = False
    sample_every: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadSample:
    """So far: messages confirmed and delivered, CPU s that the generator has used. ``at``: s of the
    machine's monotonic clock. ``due``: messages that should have been sent, where there is a rate.
    """

    at: float
    cpu: float
    published: int
    delivered: int
    due: int = 0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What one run gave. Rates in messages a second over the window; ``cpu`` is what the
    generator itself used, in seconds of one core per second of the window."""

    rate: float
    published_rate: float
    delivered_rate: float
    published: int  # in all, warm-up and drain included; all confirmed and delivered
    redelivered: int
    seconds: float  # the window as it was
    cpu: float
    samples: tuple[LoadSample, ...] = ()


def in_connect_order(flows: int, order: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """(flow, whether it is the consumer) for each client, in the order they connect.

    Raises BenchError if ``order`` doesn't name each of the 2 * ``flows`` clients once.
    """
    clients = range(2 * flows)
    if order and sorted(order) != list(clients):
        raise BenchError(f"connect_order has to name each of {2 * flows} clients once")
    for client in order or clients:
        yield client // 2, client % 2 == 1


class _Peer:
    """A socket taken over from a Wire, non-blocking from here on, with what waits to be sent."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.sock: socket.socket = wire.sock
        self.sock.setblocking(False)
        self.first = wire.rest()
        self._waiting: list[memoryview] = []

    def send(self, data: memoryview) -> None:
        """Send now, or keep the rest until ``flush``."""
        if not self._waiting:
            try:
                sent = self.sock.send(data)
            except _NOT_NOW:
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._waiting.append(data)

    def flush(self) -> None:
        """Send what waits."""
        while self._waiting:
            data = self._waiting[0]
            try:
                sent = self.sock.send(data)
            except _NOT_NOW:
                return
            if sent < len(data):
                self._waiting[0] = data[sent:]
                return
            del self._waiting[0]

    @property
    def waits(self) -> bool:
        """Whether something waits for the socket to take more."""
        return bool(self._waiting)


def encode_publish(queue: str, body: bytes, *, persistent: bool) -> bytes:
    """The three frames of one publish to ``queue`` through the default exchange."""
    flags, properties = (0x1000, b"\x02") if persistent else (0, b"")
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8) + flags.to_bytes(2) + properties
    return (
        encode_frame(1, CHANNEL, encode_method(BasicPublish("", queue)))
        + encode_frame(2, CHANNEL, header)
        + encode_frame(3, CHANNEL, body)
    )


class _Publisher:
    def __init__(self, spec: LoadSpec, flow: Flow) -> None:
        wire = Wire(flow.publish, name=f"bench publisher of {flow.queue}")
        if spec.body > wire.frame_max - _BODY_OVERHEAD:
            raise BenchError(
                f"a body of {spec.body} bytes needs more than one frame; "
                f"{wire.frame_max - _BODY_OVERHEAD} is the most here"
            )
        wire.call(ConfirmSelect(), ConfirmSelectOk)
        self.peer = _Peer(wire)
        one = encode_publish(flow.queue, b"w" * spec.body, persistent=spec.persistent)
        self._size = len(one)
        self._batch = memoryview(one * spec.window)
        self._window = spec.window
        self._least = max(1, spec.window // 4) if flow.rate is None else 1  # places worth a write
        self.rate = flow.rate
        self._began = 0.0
        self.confirms = Confirms()
        self.published = 0
        self.stopped = False

    def receive(self, data: bytes) -> None:
        self.confirms.feed(data, self.published)
        self.publish()

    def publish(self) -> None:
        free = self._window - (self.published - self.confirms.confirmed)
        if self.rate is not None:
            free = min(free, self.due() - self.published)
        if free < self._least or self.stopped or self.peer.waits:
            return
        self.published += free
        self.peer.send(self._batch[: free * self._size])

    def due(self) -> int:
        """Messages that its rate has come to so far."""
        assert self.rate is not None, "only a paced one is asked"
        now = time.monotonic()
        self._began = self._began or now
        return int(self.rate * (now - self._began))

    @property
    def progress(self) -> int:
        return self.confirms.confirmed


class _Consumer:
    def __init__(self, spec: LoadSpec, flow: Flow) -> None:
        wire = Wire(flow.consume, name=f"bench consumer of {flow.queue}")
        wire.call(BasicQos(0, spec.prefetch, False), BasicQosOk)
        if not spec.streams:
            wire.call(QueuePurge(flow.queue), QueuePurgeOk)
        wire.call(BasicConsume(flow.queue, "bench"), BasicConsumeOk)
        self.peer = _Peer(wire)
        self._ack_every = max(1, spec.prefetch // 4)
        self.deliveries = Deliveries(spec.body, headers=spec.streams)
        self._acked = 0

    def receive(self, data: bytes) -> None:
        self.deliveries.feed(data)
        if self.deliveries.tag - self._acked >= self._ack_every:
            self.ack()

    def ack(self) -> None:
        tag = self.deliveries.tag
        if tag > self._acked:
            self._acked = tag
            frame = encode_frame(1, CHANNEL, encode_method(BasicAck(tag, True)))
            self.peer.send(memoryview(frame))

    @property
    def progress(self) -> int:
        return self.deliveries.count


class _Run:
    """All flows of one run, between connecting and closing."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec
        self.publishers: dict[int, _Publisher] = {}  # by flow
        self.consumers: dict[int, _Consumer] = {}
        self.paced: list[_Publisher] = []
        self.buffer = bytearray(_BUFFER)
        self.view = memoryview(self.buffer)
        self.selector = selectors.DefaultSelector()

    def connect(self) -> None:
        flows = self.spec.flows
        for flow, consumes in in_connect_order(len(flows), self.spec.connect_order):
            end: _Publisher | _Consumer
            if consumes and self.spec.publish_only:
                continue
            if consumes:
                end = self.consumers[flow] = _Consumer(self.spec, flows[flow])
            else:
                end = self.publishers[flow] = _Publisher(self.spec, flows[flow])
                if end.rate is not None:
                    self.paced.append(end)
            self.selector.register(end.peer.sock, selectors.EVENT_READ, end)

    def until(self, done: Callable[[], bool], deadline: float | None = None) -> None:
        """Serve all sockets until ``done`` or the deadline.

        Raises BenchError when nothing has moved for 10 s.
        """
        pace = self.spec.pace
        moved, moved_at = -1, time.monotonic()
        while not done():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            if now - moved_at > 1.0:
                progress = self._progress()
                if progress != moved:
                    moved, moved_at = progress, now
                elif now - moved_at > _STALL:
                    raise BenchError(self._standstill())
            timeout = 0.25 if deadline is None else min(0.25, deadline - now)
            time.sleep(pace)
            for publisher in self.paced:
                publisher.publish()
                timeout = 0.0
            for key, mask in self.selector.select(timeout):
                end: _Publisher | _Consumer = key.data
                peer = end.peer
                if mask & selectors.EVENT_WRITE:
                    peer.flush()
                    if isinstance(end, _Publisher):
                        end.publish()
                if mask & selectors.EVENT_READ:
                    self._receive(end)
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.waits else 0)
                if wanted != key.events:
                    self.selector.modify(peer.sock, wanted, end)

    def _receive(self, end: "_Publisher | _Consumer") -> None:
        peer = end.peer
        size = 0
        while size < _BUFFER:  # with TLS one call gives one record, 16 KB at most
            try:
                got = peer.sock.recv_into(self.view[size:])
            except _NOT_NOW:
                break
            if got == 0:
                raise BenchError(f"{peer.wire.target.label} dropped the connection")
            size += got
            if not peer.wire.target.ca:
                break
        if size:
            end.receive(bytes(self.view[:size]))
        if peer.wire.target.ca and size == _BUFFER:
            self._receive(end)  # what TLS holds already, no selector tells of

    def _progress(self) -> int:
        return sum(p.progress for p in self.publishers.values()) + sum(
            c.progress for c in self.consumers.values()
        )

    def _standstill(self) -> str:
        published = sum(p.published for p in self.publishers.values())
        confirmed = sum(p.progress for p in self.publishers.values())
        delivered = sum(c.progress for c in self.consumers.values())
        return (
            f"nothing moved for {_STALL:.0f} s: {published} published, {confirmed} confirmed, "
            f"{delivered} delivered"
        )

    def ends(self) -> list[_Publisher | _Consumer]:
        """Publishers, then consumers."""
        return [*self.publishers.values(), *self.consumers.values()]

    def sample(self) -> LoadSample:
        return LoadSample(
            time.monotonic(),
            time.process_time(),
            sum(p.progress for p in self.publishers.values()),
            sum(c.progress for c in self.consumers.values()),
            sum(p.due() for p in self.paced),
        )

    def drained(self) -> bool:
        """Whether all that was published is confirmed and delivered, in each flow: what comes twice
        in one says nothing of another."""
        return all(
            publisher.published == publisher.progress
            and (self.spec.publish_only or publisher.published <= self.consumers[flow].progress)
            for flow, publisher in self.publishers.items()
        )

    def close(self) -> None:
        """Ack the rest and close in order."""
        for consumer in self.consumers.values():
            consumer.ack()
        for end in self.ends():
            end.peer.sock.settimeout(10.0)
            end.peer.flush()
            end.peer.wire.close()

    def drop(self) -> None:
        """Let all sockets go, whatever state they are in."""
        self.selector.close()
        for end in self.ends():
            end.peer.sock.close()


def run_load(spec: LoadSpec, stop: Callable[[], bool] | None = None) -> LoadResult:
    """Do one run; the queues have to exist. They are purged first and left empty. The window ends
    early once ``stop`` says so.

    Raises BenchError for anything that makes the figure worthless.
    """
    run = _Run(spec)
    gc_was_on = gc.isenabled()
    gc.disable()
    try:
        run.connect()
        for end in run.ends():
            if end.peer.first:
                end.receive(end.peer.first)
        for publisher in run.publishers.values():
            publisher.publish()
            if publisher.peer.waits:
                run.selector.modify(
                    publisher.peer.sock,
                    selectors.EVENT_READ | selectors.EVENT_WRITE,
                    publisher,
                )
        start = time.monotonic()
        run.until(_never, start + spec.warmup)
        samples = [before := run.sample()]
        end_at = before.at + spec.seconds
        while spec.sample_every and samples[-1].at + 1.5 * spec.sample_every < end_at:
            if stop is not None and stop():
                break
            run.until(stop or _never, samples[-1].at + spec.sample_every)
            samples.append(run.sample())
        run.until(stop or _never, end_at)
        samples.append(after := run.sample())
        for publisher in run.publishers.values():
            publisher.stopped = True
        run.until(run.drained)
        for flow, publisher in run.publishers.items():
            if not spec.publish_only:
                _check(publisher, run.consumers[flow], moving=spec.moving)
        run.close()
    finally:
        run.drop()
        if gc_was_on:
            gc.enable()
    seconds = after.at - before.at
    published_rate = (after.published - before.published) / seconds
    delivered_rate = (after.delivered - before.delivered) / seconds
    return LoadResult(
        rate=published_rate if spec.publish_only else min(published_rate, delivered_rate),
        published_rate=published_rate,
        delivered_rate=delivered_rate,
        published=sum(p.published for p in run.publishers.values()),
        redelivered=sum(c.deliveries.redelivered for c in run.consumers.values()),
        seconds=seconds,
        cpu=(after.cpu - before.cpu) / seconds,
        samples=tuple(samples) if spec.sample_every else (),
    )


def _never() -> bool:
    return False


def _check(publisher: _Publisher, consumer: _Consumer, *, moving: bool) -> None:
    published = publisher.published
    confirmed = publisher.confirms.contiguous
    delivered = consumer.deliveries.count - consumer.deliveries.redelivered
    if moving and published == confirmed and delivered <= published <= consumer.deliveries.count:
        return
    if not published == confirmed == delivered:
        raise BenchError(
            f"published {published}, confirmed {confirmed}, delivered {delivered}: these have to "
            "be equal"
        )


def main() -> None:
    """The generator by hand,."""
    parser = argparse.ArgumentParser(
        prog="python -m warrener.bench.load",
        description="Publish with confirms and consume with acks; prints messages a second.",
        epilog="The URL may hold a password: give it in BENCH_URL, or on stdin with --url -. "
        "Queues that don't exist are declared (durable, classic, led by the node of the URL).",
    )
    parser.add_argument("--url", help="amqp://user:password@host:port/vhost; default: $BENCH_URL")
    parser.add_argument("--consume-url", help="for the consumers, if not the same; - as for --url")
    parser.add_argument("--queues", default="bench-1", help="names, separated by commas")
    parser.add_argument("--quorum", action="store_true", help="declare quorum queues")
    parser.add_argument("--body", type=int, default=100, help="bytes (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="default %(default)s")
    parser.add_argument("--runs", type=int, default=1, help="default %(default)s")
    parser.add_argument("--window", type=int, default=1_000, help="unconfirmed publishes")
    parser.add_argument("--prefetch", type=int, default=500, help="unacked deliveries")
    parser.add_argument("--pace", type=float, default=0.002, help="s between looks at the sockets")
    parser.add_argument("--persistent", action="store_true", help="delivery mode 2")
    args = parser.parse_args()
    try:
        publish = _target(args.url or os.environ.get("BENCH_URL"))
        consume = _target(args.consume_url) if args.consume_url else publish
        queues = args.queues.split(",")
        for queue in queues:
            declare(publish, queue, quorum=args.quorum)
        spec = LoadSpec(
            flows=tuple(Flow(queue, publish, consume) for queue in queues),
            body=args.body,
            window=args.window,
            prefetch=args.prefetch,
            seconds=args.seconds,
            persistent=args.persistent,
            pace=args.pace,
        )
        for _ in range(args.runs):
            result = run_load(spec)
            sys.stdout.write(
                f"{result.rate:9,.0f} msg/s  confirmed {result.published_rate:9,.0f}/s  "
                f"delivered {result.delivered_rate:9,.0f}/s  "
                f"generator {result.cpu:.2f} cores, {result.cpu / result.rate * 1e6:.1f} us/msg\n"
            )
            sys.stdout.flush()
    except (BenchError, ProtocolViolation, OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")


def _target(given: str | None) -> Target:
    """The URL from the command line, from stdin where it says ``-``."""
    if not given:
        raise ValueError("no URL: set BENCH_URL, or give --url (- reads it from stdin)")
    return Target.from_url(sys.stdin.readline().strip() if given == "-" else given)


if __name__ == "__main__":
    main()
