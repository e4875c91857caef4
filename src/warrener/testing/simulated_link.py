"""The broker's end of one connection.

``input`` holds bytes that have reached the node and that it hasn't read, ``output`` bytes that it
has written and that haven't reached the peer. ``process`` reads; ``take_output`` hands over. So the
scheduler decides what is in flight when a node dies.
"""

from collections.abc import Sequence
from typing import Protocol

from warrener.amqp.constants import (
    FRAME_HEARTBEAT,
    HEARTBEAT,
    PROTOCOL_HEADER,
    PROTOCOL_HEADER_SIZE,
    ReplyCode,
)
from warrener.amqp.methods import (
    ChannelOpen,
    ChannelOpenOk,
    ConnectionClose,
    ConnectionCloseOk,
    ConnectionOpen,
    ConnectionOpenOk,
    ConnectionStart,
    ConnectionStartOk,
    ConnectionTune,
    ConnectionTuneOk,
    Method,
    encode_method_frame,
)
from warrener.facts.ids import NodeName
from warrener.testing.simulated_channel import Chance, HardError, SimulatedChannel
from warrener.testing.simulated_happenings import Happening, LinkDied, LinkOpened, PeerError, Place
from warrener.testing.simulated_queue import QueueKind, SimulatedQueue
from warrener.testing.simulated_wire import (
    ContentAssembler,
    Frame,
    FrameSplitter,
    Malformed,
    Message,
    Said,
    encode_message,
)

START = ConnectionStart(
    0,
    9,
    {
        "product": "RabbitMQ",
        "version": "3.10.8",
        "capabilities": {
            "publisher_confirms": True,
            "basic.nack": True,
            "consumer_cancel_notify": True,
            "per_consumer_qos": True,
            "authentication_failure_close": True,
        },
    },
    b"PLAIN AMQPLAIN",
    b"en_US",
)
TUNE = ConnectionTune(2047, 131072, 60)


class Cluster(Protocol):
    """What a link needs of its cluster."""

    chance: Chance
    refuses: bool

    def log(self, happening: Happening) -> None: ...
    def queue(self, name: str) -> SimulatedQueue | None: ...
    def routes(self, exchange: str, key: str) -> Sequence[str] | None: ...
    def declare(self, name: str, kind: QueueKind, node: NodeName) -> SimulatedQueue: ...
    def next_number(self) -> int: ...
    def is_running(self, node: NodeName) -> bool: ...


class SimulatedLink:
    """See the module. ``body_step`` is the size of the pieces in which it sends bodies.

    With ``interleaves`` it lets other channels speak in the middle of a content. RabbitMQ doesn't,
    the protocol allows it (section 4.2.6), and other brokers do.
    """

    def __init__(self, cluster: Cluster, number: int, node: NodeName) -> None:
        self.number = number
        self.node = node
        self.chance = cluster.chance
        self.refuses = cluster.refuses
        self.input = bytearray()
        self.output = bytearray()
        self.eof = False  # the peer closed its side behind ``input``
        self.dead = False  # this side is closed
        self.open = False
        self.closing = False  # the broker said connection.close
        self.body_step = 1 << 16
        self.interleaves = False
        self.channels: dict[int, SimulatedChannel] = {}
        self._cluster = cluster
        self._greeted = b""
        self._splitter = FrameSplitter()
        self._contents = ContentAssembler()
        self._openings: dict[int, int] = {}
        self._unsaid: dict[int, list[bytes]] = {}  # the rest of contents, by channel

    def __repr__(self) -> str:
        return f"<link {self.number} to {self.node} open={self.open} dead={self.dead}>"

    # -- the network ----------------------------------------------------------------------------

    def process(self, size: int) -> None:
        """Read ``size`` bytes of the input, and the end behind them."""
        data = bytes(self.input[:size])
        del self.input[:size]
        if self.dead:
            return
        try:
            self._read(data)
        except HardError as error:
            self.fail(error)
        except Malformed as problem:
            self.fail(HardError(ReplyCode.UNEXPECTED_FRAME, str(problem), 0))
        self._answer_late()
        if self.eof and not self.input:
            self.die("the peer closed")

    def take_output(self, size: int) -> bytes:
        """The next ``size`` bytes for the peer."""
        data = bytes(self.output[:size])
        del self.output[:size]
        if not self.output:
            self._say_the_rest(*self._unsaid)
        return data

    def die(self, why: str) -> None:
        """The connection is gone; what was written stays in ``output``."""
        if self.dead:
            return
        self.dead = True
        self.open = False
        self._unsaid.clear()
        self.input.clear()
        for channel in list(self.channels.values()):
            channel.die()
        self.channels.clear()
        self._cluster.log(LinkDied(self.number, why))

    def beat(self) -> None:
        """Write a heartbeat."""
        if self.open:
            self.output += HEARTBEAT

    def force_close(self, text: str) -> None:
        """The broker closes the connection with 320, as at shutdown or maintenance."""
        if self.open and not self.closing:
            self._close(ConnectionClose(ReplyCode.CONNECTION_FORCED, text))

    # -- reading --------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        missing = PROTOCOL_HEADER_SIZE - len(self._greeted)
        if missing:
            self._greeted += data[:missing]
            data = data[missing:]
            if len(self._greeted) < PROTOCOL_HEADER_SIZE:
                return
            if self._greeted != PROTOCOL_HEADER:
                raise Malformed("no protocol header of AMQP 0-9-1")
            self.say(0, START)
        for frame in self._splitter.feed(data):
            if frame.kind == FRAME_HEARTBEAT:
                continue
            self._take_frame(frame)
            if self.dead:
                return

    def _take_frame(self, frame: Frame) -> None:
        said = self._contents.take(frame)
        if said is None:
            if not self.closing and frame.channel not in self.channels:
                raise HardError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", 0)
            return
        if self.closing:
            if isinstance(said.method, ConnectionCloseOk):
                self.die("closed by the broker")
            elif isinstance(said.method, ConnectionClose):
                self.say(0, ConnectionCloseOk())
            return
        if said.channel == 0:
            self._take_connection_method(said.method)
        else:
            self._take_channel_method(said)

    def _take_connection_method(self, method: Method) -> None:
        match method:
            case ConnectionStartOk():
                self.say(0, TUNE)
            case ConnectionTuneOk():
                pass
            case ConnectionOpen():
                self.open = True
                self._cluster.log(LinkOpened(self.number, self.node))
                self.say(0, ConnectionOpenOk())
            case ConnectionClose():
                self.say(0, ConnectionCloseOk())
                self.die("closed by the peer")
            case _:
                raise HardError(
                    ReplyCode.COMMAND_INVALID, f"{method.name()} on channel 0", method.ID
                )

    def _take_channel_method(self, said: Said) -> None:
        number, method, _ = said
        channel = self.channels.get(number)
        if not self.open:
            raise HardError(ReplyCode.CHANNEL_ERROR, "the connection isn't open", method.ID)
        if isinstance(method, ChannelOpen):
            if channel is not None and not channel.closing:
                raise HardError(ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen", method.ID)
            if channel is None:  # RabbitMQ ignores it on a channel that is closing
                opening = self._openings[number] = self._openings.get(number, 0) + 1
                self.channels[number] = SimulatedChannel(self, Place(self.number, number, opening))
                self.say(number, ChannelOpenOk())
            return
        if channel is None:
            raise HardError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", method.ID)
        channel.take(said)
        self._bury(channel)

    def go_on(self) -> None:
        """Queues have changed: channels that waited go on."""
        for channel in list(self.channels.values()):
            if self.dead or not self.running:
                return
            try:
                channel.go_on()
            except HardError as error:
                self.fail(error)
                return
            self._bury(channel)
        self._answer_late()

    def _answer_late(self) -> None:
        for channel in list(self.channels.values()):
            channel.answer_late()

    def _bury(self, channel: SimulatedChannel) -> None:
        if channel.gone and not self.dead:
            number = channel.place.channel
            self.channels.pop(number, None)
            self._contents.drop(number)

    def fail(self, error: HardError) -> None:
        """The peer has made a mistake that costs it the connection, or RabbitMQ has."""
        self._cluster.log(PeerError(self.number, 0, error.code, error.text))
        if not self.open:
            self.die(error.text)
        elif not self.closing:
            close = ConnectionClose(
                error.code, error.text, error.method >> 16, error.method & 0xFFFF
            )
            self._close(close)

    def _close(self, close: ConnectionClose) -> None:
        for channel in self.channels.values():
            channel.die()
        self.channels.clear()
        self.say(0, close)
        self.closing = True

    # -- what a channel needs -------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the node does anything at present."""
        return not self.dead and self._cluster.is_running(self.node)

    def say(self, channel: int, method: Method, message: Message | None = None) -> None:
        """Write a method, and its content."""
        if self._unsaid:
            done = [n for n in self._unsaid if n == channel or not channel or self.chance.below(2)]
            self._say_the_rest(*done)
        if message is None:
            self.output += encode_method_frame(channel, method)
            return
        frames = encode_message(channel, method, message, self.body_step)
        if self.interleaves and len(frames) > 1 and self.chance.below(2):
            at = 1 + self.chance.below(len(frames) - 1)
            self._unsaid[channel] = frames[at:]
            frames = frames[:at]
        self.output += b"".join(frames)

    def _say_the_rest(self, *channels: int) -> None:
        for channel in channels:
            self.output += b"".join(self._unsaid.pop(channel))

    def log(self, happening: Happening) -> None:
        """Write down what happened."""
        self._cluster.log(happening)

    def queue(self, name: str) -> SimulatedQueue | None:
        """A queue by name."""
        return self._cluster.queue(name)

    def routes(self, exchange: str, key: str) -> Sequence[str] | None:
        """The queues a message goes to; None if there is no such exchange."""
        return self._cluster.routes(exchange, key)

    def declare(self, name: str, kind: QueueKind) -> SimulatedQueue:
        """A new queue."""
        return self._cluster.declare(name, kind, self.node)

    def next_number(self) -> int:
        """A number nobody else has."""
        return self._cluster.next_number()
