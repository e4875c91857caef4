"""A client for the simulated cluster: several channels, numbered messages, and a will of chance.

``act`` does one thing that a correct client may do in the state it is in, and puts the bytes into
``output``; ``take`` reads what it is sent. Nothing else happens. What it heard is kept only as far
as it needs it to go on (tags to settle, requests under way): whether all of it was right is for an
oracle to say, from the transcript.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from warrener.amqp.constants import FRAME_HEARTBEAT, FRAME_METHOD, PROTOCOL_HEADER
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
    BasicNack,
    BasicPublish,
    BasicQos,
    BasicQosOk,
    BasicReject,
    ChannelClose,
    ChannelCloseOk,
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
    encode_method_frame,
)
from warrener.testing.simulated_channel import Chance
from warrener.testing.simulated_wire import (
    ContentAssembler,
    FrameSplitter,
    Message,
    body_of,
    encode_message,
)

WINDOW = 12
"""Publishes without their confirm after which a client waits, as sensible ones do."""


class ChannelPhase(Enum):
    """How far a client's channel is."""

    CLOSED = auto()
    OPENING = auto()
    OPEN = auto()
    CLOSING = auto()


_DONE = ChannelClose(200, "done")
_UNDER_WAY = frozenset({ChannelPhase.OPENING, ChannelPhase.CLOSING})


@dataclass(frozen=True, slots=True)
class Habits:
    """What a client does. ``exchanges`` other than the default one are used now and then."""

    channels: int = 2
    queues: Sequence[str] = ("q",)
    exchanges: Sequence[str] = ("",)
    publishes: bool = True
    plain: bool = False  # publishes on channels without confirms, too
    consumes: bool = True
    no_ack: bool = False
    gets: bool = True
    requeues: bool = True
    mandatory: bool = True
    closes: bool = True  # closes channels and opens them again
    pipelines: bool = False  # sends a request while another is under way
    interleaves: bool = False  # frames of other channels in the middle of a content
    clumsy: bool = False  # settles what it has settled before


@dataclass(slots=True)
class _Channel:
    number: int
    phase: ChannelPhase = ChannelPhase.CLOSED
    requests: deque[Method] = field(default_factory=deque)
    confirms: bool = False
    published: int = 0  # under confirms
    unconfirmed: set[int] = field(default_factory=set)
    consumers: dict[str, bool] = field(default_factory=dict)  # tag -> no_ack
    unsettled: list[int] = field(default_factory=list)
    last_tag: int = 0
    box: deque[bytes] = field(default_factory=deque)  # frames that aren't in the output yet


class SimulatedClient:
    """See the module."""

    def __init__(self, habits: Habits, chance: Chance) -> None:
        self.habits = habits
        self.output = bytearray(PROTOCOL_HEADER)
        self.open = False
        self.closing = False  # said connection.close
        self.closed = False  # nothing more is said
        self.told: ConnectionClose | None = None  # the other side's connection.close
        self._chance = chance
        self._splitter = FrameSplitter()
        self._contents = ContentAssembler()
        self._channels = {n: _Channel(n) for n in range(1, habits.channels + 1)}
        self._number = 0
        self._tag = 0

    # -- what it hears --------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Bytes from the other side. Raises Malformed."""
        for frame in self._splitter.feed(data):
            if frame.kind == FRAME_HEARTBEAT or self.closed:
                continue
            said = self._contents.take(frame)
            if said is None:
                continue
            if said.channel == 0:
                self._connection(said.method)
            else:
                self._channel(self._channels[said.channel], said.method)

    def _connection(self, method: Method) -> None:
        match method:
            case ConnectionStart():
                capabilities = {
                    "consumer_cancel_notify": True,
                    "basic.nack": True,
                    "authentication_failure_close": True,
                }
                properties = {"product": "simulated", "capabilities": capabilities}
                self._say(ConnectionStartOk(properties, "PLAIN", b"\0guest\0guest", "en_US"))
            case ConnectionTune(channels, frame_max, _):
                self._say(ConnectionTuneOk(channels, frame_max, 0))
                self._say(ConnectionOpen("/"))
            case ConnectionOpenOk():
                self.open = True
            case ConnectionClose():
                self.told = method
                self.closed = True
                self._say(ConnectionCloseOk())
            case ConnectionCloseOk():
                self.closed = True

    def _channel(self, channel: _Channel, method: Method) -> None:
        match method:
            case ChannelClose():
                closes = encode_method_frame(channel.number, _DONE)
                crossed = channel.phase is ChannelPhase.CLOSING and closes not in channel.box
                begun = []  # the rest of a content of which a part was said
                while channel.box and channel.box[0][0] != FRAME_METHOD:
                    begun.append(channel.box.popleft())
                channel.box.clear()
                channel.box.extend(begun)
                channel.box.append(encode_method_frame(channel.number, ChannelCloseOk()))
                self._forget(channel, ChannelPhase.CLOSING if crossed else ChannelPhase.CLOSED)
                self._flush(channel, len(channel.box))
            case ChannelCloseOk():
                self._forget(channel, ChannelPhase.CLOSED)
            case ChannelOpenOk():
                if channel.phase is ChannelPhase.OPENING:
                    channel.phase = ChannelPhase.OPEN
                self._answered(channel, method)
            case BasicDeliver(tag, delivery_tag):
                channel.last_tag = delivery_tag
                if not channel.consumers.get(tag, False):
                    channel.unsettled.append(delivery_tag)
            case BasicGetOk(delivery_tag):
                channel.last_tag = delivery_tag
                request = self._answered(channel, method)
                if not (isinstance(request, BasicGet) and request.no_ack):
                    channel.unsettled.append(delivery_tag)
            case BasicConsumeOk(tag):
                request = self._answered(channel, method)
                if isinstance(request, BasicConsume):
                    channel.consumers[tag] = request.no_ack
            case BasicCancelOk(tag):
                channel.consumers.pop(tag, None)
                self._answered(channel, method)
            case BasicCancel(tag):
                channel.consumers.pop(tag, None)
            case BasicAck(tag, multiple) | BasicNack(tag, multiple):
                channel.unconfirmed = {
                    n for n in channel.unconfirmed if (n > tag if multiple else n != tag)
                }
            case BasicQosOk() | ConfirmSelectOk() | QueueDeclareOk() | BasicGetEmpty():
                self._answered(channel, method)

    def _answered(self, channel: _Channel, answer: Method) -> Method | None:
        """The first request that this can be the answer to: consumes and cancels are answered
        behind what was asked meanwhile."""
        name = "BasicGetOk" if isinstance(answer, BasicGetEmpty) else type(answer).__name__
        for request in channel.requests:
            if f"{type(request).__name__}Ok" == name:
                channel.requests.remove(request)
                return request
        return None

    def _forget(self, channel: _Channel, phase: ChannelPhase) -> None:
        channel.phase = phase
        channel.requests.clear()
        channel.confirms = False
        channel.published = 0
        channel.unconfirmed.clear()
        channel.consumers.clear()
        channel.unsettled.clear()
        channel.last_tag = 0

    # -- what it is up to -----------------------------------------------------------------------

    def waits_for(self) -> list[str]:
        """What it waits for, or still has to say: answers, confirms, tags to settle. In words."""
        return [
            f"channel {c.number} {c.phase.name}: requests {list(c.requests)}, "
            f"unconfirmed {sorted(c.unconfirmed)}, unsettled {c.unsettled}, unsaid {len(c.box)}"
            for c in self._channels.values()
            if c.requests or c.unconfirmed or c.unsettled or c.box or c.phase in _UNDER_WAY
        ]

    def consumers(self) -> list[tuple[int, str]]:
        """Channel and tag of each consumer it believes in."""
        return [(c.number, tag) for c in self._channels.values() for tag in c.consumers]

    def settle(self) -> None:
        """Ack all it has, and say what is unsaid."""
        for channel in self._channels.values():
            if channel.phase is ChannelPhase.OPEN:
                for tag in channel.unsettled:
                    self._put(channel, BasicAck(tag))
                channel.unsettled.clear()
            self._flush(channel, len(channel.box))

    def close(self) -> None:
        """Close the connection in order."""
        self.settle()
        self.closing = True
        self._say(ConnectionClose(200, "bye"))

    def act(self) -> None:
        """One thing, or nothing."""
        if not self.open or self.closed or self.closing:
            return
        chance = self._chance
        channels = list(self._channels.values())
        channel = channels[chance.below(len(channels))]
        match channel.phase:
            case ChannelPhase.CLOSED:
                if not channel.box:
                    channel.phase = ChannelPhase.OPENING
                    self._ask(channel, ChannelOpen())
            case ChannelPhase.OPENING if self.habits.pipelines:
                self._act_on(channel)
            case ChannelPhase.OPEN:
                self._act_on(channel)
            case _:
                pass
        if self.habits.interleaves and chance.below(3):
            other = channels[chance.below(len(channels))]
            self._flush(other, chance.below(len(other.box) + 1))
        else:
            self._flush(channel, len(channel.box))

    def _act_on(self, channel: _Channel) -> None:
        habits, chance = self.habits, self._chance
        may_ask = habits.pipelines or not channel.requests
        what = chance.below(100)
        if what < 30:
            if habits.publishes:
                self._publish(channel, may_ask)
        elif what < 58:
            if channel.unsettled:
                self._settle_some(channel)
            elif habits.clumsy and channel.last_tag and chance.below(8) == 0:
                self._put(channel, BasicAck(1 + chance.below(channel.last_tag)))
        elif what < 73:
            if habits.consumes and may_ask and len(channel.consumers) < 3:
                self._consume(channel)
        elif what < 83:
            if habits.gets and may_ask:
                no_ack = habits.no_ack and chance.below(3) == 0
                self._ask(channel, BasicGet(self._a_queue(), no_ack))
        elif what < 88:
            if may_ask:
                everyone = chance.below(12) == 0
                self._ask(channel, BasicQos(0, (0, 1, 2, 5)[chance.below(4)], everyone))
        elif what < 92:
            if channel.consumers and may_ask:
                tags = list(channel.consumers)
                self._ask(channel, BasicCancel(tags[chance.below(len(tags))]))
        elif what < 96:
            if may_ask:
                self._ask(channel, QueueDeclare(self._a_queue(), True))
        elif habits.closes and (what >= 98 or not channel.consumers):
            channel.phase = ChannelPhase.CLOSING
            self._ask(channel, _DONE)

    def _publish(self, channel: _Channel, may_ask: bool) -> None:
        habits, chance = self.habits, self._chance
        if not channel.confirms and not (habits.plain and chance.below(2)):
            if may_ask:
                channel.confirms = True
                self._ask(channel, ConfirmSelect())
            return
        for _ in range(chance.below(3) + 1):
            if len(channel.unconfirmed) >= WINDOW:
                return
            self._number += 1
            exchange = habits.exchanges[chance.below(len(habits.exchanges))]
            mandatory = habits.mandatory and chance.below(3) == 0
            key = "nowhere" if mandatory and chance.below(3) == 0 else self._a_queue()
            message = Message(self._number, 0, body_of(self._number))
            step = (1 << 16, 1 << 16, 40, 7)[chance.below(4)]
            method = BasicPublish(exchange, key, mandatory)
            channel.box.extend(encode_message(channel.number, method, message, step))
            if channel.confirms:
                channel.published += 1
                channel.unconfirmed.add(channel.published)

    def _settle_some(self, channel: _Channel) -> None:
        chance = self._chance
        at = chance.below(len(channel.unsettled))
        tag = channel.unsettled[at]
        multiple = chance.below(3) == 0
        requeue = self.habits.requeues and chance.below(2) == 0
        how = chance.below(10)
        if how == 0:
            # "All there are" takes in what is on its way here, so it is said only by clients that
            # don't consume at the moment.
            if channel.consumers or channel.requests:
                return
            channel.unsettled.clear()
            self._put(channel, BasicAck(0, True))
        elif how == 1:
            del channel.unsettled[at]
            self._put(channel, BasicReject(tag, requeue))
        else:
            if multiple:
                del channel.unsettled[: at + 1]
            else:
                del channel.unsettled[at]
            settle = BasicNack(tag, multiple, requeue) if how == 2 else BasicAck(tag, multiple)
            self._put(channel, settle)

    def _consume(self, channel: _Channel) -> None:
        habits, chance = self.habits, self._chance
        no_ack = habits.no_ack and chance.below(3) == 0
        no_wait = chance.below(8) == 0
        tag = ""
        if no_wait or chance.below(2):
            self._tag += 1
            tag = f"c{self._tag}"
        arguments = {"x-priority": chance.below(9)} if chance.below(4) == 0 else None
        method = BasicConsume(self._a_queue(), tag, False, no_ack, False, no_wait, arguments or {})
        if no_wait:
            channel.consumers[tag] = no_ack
            self._put(channel, method)
        else:
            self._ask(channel, method)

    def _a_queue(self) -> str:
        return self.habits.queues[self._chance.below(len(self.habits.queues))]

    # -- bytes ----------------------------------------------------------------------------------

    def _ask(self, channel: _Channel, method: Method) -> None:
        channel.requests.append(method)
        self._put(channel, method)

    def _put(self, channel: _Channel, method: Method) -> None:
        channel.box.append(encode_method_frame(channel.number, method))

    def _flush(self, channel: _Channel, frames: int) -> None:
        for _ in range(frames):
            self.output += channel.box.popleft()

    def _say(self, method: Method) -> None:
        self.output += encode_method_frame(0, method)
