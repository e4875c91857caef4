"""A broker that does just enough for unit tests of a balancer, and fails on demand.

It speaks the handshake, opens and closes channels, and keeps messages of named queues in memory
(publish with and without confirms, get, consume, ack). Brokers that are given the same ``queues``
are a cluster. What a channel hasn't settled when it closes goes back. Faults are set while it runs:

    async with FakeBroker() as broker:
        broker.fault = Fault.HANG_AFTER_HEADER
        ...

It is no model of RabbitMQ. What RabbitMQ does is tested with RabbitMQ.
"""

import asyncio
import ssl
from collections import defaultdict, deque
from enum import Enum, auto
from typing import Final, Self, cast

from warrener.amqp.constants import (
    FRAME_BODY,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    HEARTBEAT,
    PROTOCOL_HEADER,
)
from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.frames import Reassembly, Verdict, encode_frame, payload_of, scan
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetEmpty,
    BasicGetOk,
    BasicPublish,
    BasicQos,
    BasicQosOk,
    ChannelClose,
    ChannelCloseOk,
    ChannelFlow,
    ChannelFlowOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
    QueueDeclare,
    QueueDeclareOk,
    decode_method,
    encode_method_frame,
)
from warrener.facts.balance import Backend
from warrener.facts.ids import NodeName, short_name

PASSWORD: Final = "secret"  # noqa: S105 - a fake broker's


class Fault(Enum):
    """What goes wrong with new connections (and, for HANG, with old ones as well)."""

    NONE = auto()
    CLOSE_AT_ONCE = auto()
    HANG_AFTER_HEADER = auto()
    CLOSE_AFTER_START_OK = auto()
    HANG_AFTER_START_OK = auto()
    HANG_AFTER_OPEN = auto()
    FORCE_CLOSE_AFTER_OPEN = auto()  # 320 in place of open-ok
    HANG = auto()  # says nothing any more, to anybody
    STOP_READING = auto()  # open sessions aren't read any more


_Message = tuple[bytes, bytes, bool]  # content header, body, delivered before


class Queue:
    """Messages, and who wants them."""

    def __init__(self) -> None:
        self.messages: deque[_Message] = deque()
        self.consumers: list[tuple[_Connection, int, BasicConsume]] = []

    def __len__(self) -> int:
        return len(self.messages)

    def put(self, message: _Message) -> None:
        """One more."""
        self.messages.append(message)
        self.serve()

    def put_back(self, messages: list[_Message]) -> None:
        """Given out, but not settled."""
        self.messages.extendleft((header, body, True) for header, body, _ in reversed(messages))
        self.serve()

    def serve(self) -> None:
        """Consumers take turns."""
        while self.messages and self.consumers:
            connection, channel, consume = self.consumers.pop(0)
            self.consumers.append((connection, channel, consume))
            connection.deliver(channel, consume, self.messages.popleft())

    def forget(self, connection: "_Connection", channel: int | None, tag: str | None) -> None:
        """Consumers of a channel (or a whole connection) are gone."""
        self.consumers = [
            one
            for one in self.consumers
            if one[0] is not connection
            or (channel is not None and one[1] != channel)
            or (tag is not None and one[2].consumer_tag != tag)
        ]


Queues = defaultdict[str, Queue]


class FakeBroker:
    """An async context manager; listens on loopback, any free port."""

    def __init__(
        self,
        name: str = "n1@localhost",
        queues: Queues | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls``: what it shows to its clients, who are served with TLS alone then."""
        self.name = NodeName(name)
        self._tls = tls
        self.fault = Fault.NONE
        self.queues: Queues = defaultdict(Queue) if queues is None else queues
        self.connections: set[_Connection] = set()
        self.heartbeats = 0
        self.opened = 0
        self.start_oks: list[ConnectionStartOk] = []
        self.tune = ConnectionTune(2047, 131072, 60)
        self._server: asyncio.Server | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def listen(self) -> None:
        """Take connections, on the same port as before if there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self),
            "127.0.0.1",
            self._port,
            reuse_address=True,
            ssl=self._tls,
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Die: the port is closed and every connection is reset."""
        if self._server is not None:
            self._server.close()
            self.reset_all()
            await self._server.wait_closed()
            self._server = None

    def reset_all(self) -> None:
        """Drop every connection."""
        for connection in list(self.connections):
            connection.transport.abort()

    def say_to_all(self, data: bytes) -> None:
        """Send the same bytes on every connection."""
        for connection in list(self.connections):
            connection.transport.write(data)

    @property
    def backend(self) -> Backend:
        """Where it listens."""
        server_name = short_name(self.name) if self._tls is not None else ""
        return Backend(self.name, "127.0.0.1", self._port, server_name)


class _Connection(asyncio.Protocol):
    """One client of the fake broker."""

    transport: asyncio.Transport

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._inbox = Reassembly()
        self._header = b""
        self.channels: set[int] = set()
        self._confirms: dict[int, int] = {}
        self._unsettled: dict[int, dict[int, tuple[str, _Message]]] = defaultdict(dict)
        self._publishing: dict[int, tuple[str, bytes, bytearray, int]] = {}
        self._tags: dict[int, int] = defaultdict(int)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._broker.connections.add(self)
        if self._broker.fault is Fault.CLOSE_AT_ONCE:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._broker.connections.discard(self)
        for channel in list(self._unsettled):
            self._forget_channel(channel)
        for queue in self._broker.queues.values():
            queue.forget(self, None, None)

    def data_received(self, data: bytes) -> None:
        if self._broker.fault is Fault.HANG:
            return
        if len(self._header) < len(PROTOCOL_HEADER):
            missing = len(PROTOCOL_HEADER) - len(self._header)
            self._header += data[:missing]
            data = data[missing:]
            if len(self._header) < len(PROTOCOL_HEADER):
                return
            if not self._answer_header():
                return
        joined = self._inbox.join(data) if data else None
        if joined is not None:
            try:
                self._frames(joined)
            except ProtocolViolation as violation:
                reply = ConnectionClose(violation.code, violation.text[:200])
                self._send(0, reply)
                self.transport.close()

    def _answer_header(self) -> bool:
        if self._header != PROTOCOL_HEADER:
            self.transport.write(PROTOCOL_HEADER)
            self.transport.close()
            return False
        if self._broker.fault is not Fault.HANG_AFTER_HEADER:
            properties = {"product": "FakeBroker", "version": "0", "capabilities": {}}
            self._send(0, ConnectionStart(0, 9, properties, b"PLAIN", b"en_US"))
        return True

    def _frames(self, data: bytes) -> None:
        pos = 0
        while True:
            found = scan(data, pos, 1 << 24, ())
            self._content(data, pos, found.end)
            if found.verdict is Verdict.MORE:
                self._inbox.keep(data[found.end :], found.next_end - found.end)
                return
            pos = found.next_end
            if found.kind == FRAME_HEARTBEAT:
                self._broker.heartbeats += 1
            elif found.kind == FRAME_METHOD:
                method = decode_method(payload_of(data, found.end, found.next_end))
                self._method(found.channel, method)

    def _content(self, data: bytes, start: int, end: int) -> None:
        pos = start
        while pos < end:
            size = int.from_bytes(data[pos + 3 : pos + 7])
            self._content_frame(
                data[pos], int.from_bytes(data[pos + 1 : pos + 3]), data[pos + 7 : pos + 7 + size]
            )
            pos += size + 8

    def _content_frame(self, kind: int, channel: int, payload: bytes) -> None:
        queue, header, body, missing = self._publishing.get(channel, ("", b"", bytearray(), -1))
        if kind == FRAME_HEADER:
            header, missing = payload, int.from_bytes(payload[4:12])
        elif kind == FRAME_BODY:
            body += payload
            missing -= len(payload)
        self._publishing[channel] = queue, header, body, missing
        if missing == 0:
            del self._publishing[channel]
            self._broker.queues[queue].put((header, bytes(body), False))
            if channel in self._confirms:
                self._confirms[channel] += 1
                self._send(channel, BasicAck(self._confirms[channel]))

    def _method(self, channel: int, method: Method) -> None:
        broker = self._broker
        match method:
            case ConnectionStartOk():
                broker.start_oks.append(method)
                if broker.fault is Fault.CLOSE_AFTER_START_OK:
                    self.transport.abort()
                elif not method.response.endswith(PASSWORD.encode()):
                    self._send(0, ConnectionClose(403, "ACCESS_REFUSED - Login was refused"))
                elif broker.fault is not Fault.HANG_AFTER_START_OK:
                    self._send(0, broker.tune)
            case ConnectionTuneOk():
                if method.heartbeat:
                    self._beat(method.heartbeat / 2)
            case ConnectionOpen():
                if broker.fault is Fault.FORCE_CLOSE_AFTER_OPEN:
                    self._send(0, ConnectionClose(320, "CONNECTION_FORCED - shutdown"))
                elif broker.fault is not Fault.HANG_AFTER_OPEN:
                    broker.opened += 1
                    self._send(0, ConnectionOpenOk())
            case ConnectionClose():
                self._send(0, ConnectionCloseOk())
                self.transport.close()
            case ConnectionCloseOk():
                self.transport.close()
            case ChannelOpen():
                self.channels.add(channel)
                self._send(channel, ChannelOpenOk())
                if broker.fault is Fault.STOP_READING:
                    self.transport.pause_reading()
            case ChannelClose():
                self._forget_channel(channel)
                self._send(channel, ChannelCloseOk())
            case ChannelFlow():
                self._send(channel, ChannelFlowOk(method.active))
            case QueueDeclare():
                name = method.queue or f"amq.gen-{channel}"
                self._send(channel, QueueDeclareOk(name, len(broker.queues[name]), 0))
            case ConfirmSelect():
                self._confirms[channel] = 0
                self._send(channel, ConfirmSelectOk())
            case BasicQos():
                self._send(channel, BasicQosOk())
            case BasicPublish():
                self._publishing[channel] = method.routing_key, b"", bytearray(), -1
            case BasicGet():
                self._get(channel, method)
            case BasicConsume():
                self._send(channel, BasicConsumeOk(method.consumer_tag))
                queue = broker.queues[method.queue]
                queue.consumers.append((self, channel, method))
                queue.serve()
            case BasicCancel():
                for queue in broker.queues.values():
                    queue.forget(self, channel, method.consumer_tag)
                self._send(channel, BasicCancelOk(method.consumer_tag))
            case BasicAck():
                self._settle(channel, method)
            case _:
                pass  # what no test asks for

    def deliver(self, channel: int, consume: BasicConsume, message: _Message) -> None:
        """A consumer's next message."""
        tag = self._next_tag(channel, consume.queue, message, settled=consume.no_ack)
        method = BasicDeliver(consume.consumer_tag, tag, message[2], "", consume.queue)
        self._send_message(channel, method, message)

    def _get(self, channel: int, get: BasicGet) -> None:
        messages = self._broker.queues[get.queue].messages
        if not messages:
            self._send(channel, BasicGetEmpty())
            return
        message = messages.popleft()
        tag = self._next_tag(channel, get.queue, message, settled=get.no_ack)
        method = BasicGetOk(tag, message[2], "", get.queue, len(messages))
        self._send_message(channel, method, message)

    def _next_tag(self, channel: int, queue: str, message: _Message, *, settled: bool) -> int:
        self._tags[channel] += 1
        tag = self._tags[channel]
        if not settled:
            self._unsettled[channel][tag] = queue, message
        return tag

    def _send_message(self, channel: int, method: Method, message: _Message) -> None:
        header, body, _ = message
        step = self._broker.tune.frame_max - 8
        parts = (body[i : i + step] for i in range(0, len(body), step))
        self.transport.write(
            encode_method_frame(channel, method)
            + encode_frame(FRAME_HEADER, channel, header)
            + b"".join(encode_frame(FRAME_BODY, channel, part) for part in parts)
        )

    def _settle(self, channel: int, ack: BasicAck) -> None:
        unsettled = self._unsettled[channel]
        for tag in [tag for tag in unsettled if tag == ack.delivery_tag]:
            del unsettled[tag]
        if ack.multiple:
            for tag in [t for t in unsettled if t <= ack.delivery_tag or not ack.delivery_tag]:
                del unsettled[tag]

    def _forget_channel(self, channel: int) -> None:
        self.channels.discard(channel)
        self._confirms.pop(channel, None)
        self._tags.pop(channel, None)
        for queue in self._broker.queues.values():
            queue.forget(self, channel, None)
        back: dict[str, list[_Message]] = defaultdict(list)
        for name, message in self._unsettled.pop(channel, {}).values():
            back[name].append(message)
        for name, messages in back.items():
            self._broker.queues[name].put_back(messages)

    def _beat(self, pause: float) -> None:
        if self.transport.is_closing():
            return
        if self._broker.fault is not Fault.HANG:
            self.transport.write(HEARTBEAT)
        asyncio.get_running_loop().call_later(pause, self._beat, pause)

    def _send(self, channel: int, method: Method) -> None:
        self.transport.write(encode_method_frame(channel, method))
