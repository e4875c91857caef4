"""Playbooks in which a line says more: tags, queues and bodies, so that order can be read.

    basic.publish q "hello"/1      a whole message to queue q on channel 1
    basic.deliver c 7 "hello"/1    a delivery to consumer c with tag 7
    basic.ack 7/1   basic.ack ..7/1 (all up to 7)   basic.nack 7 requeue/1
    basic.consume q c/1   basic.cancel c/1   basic.qos 10/1   basic.qos 10 global/1

Wishes to be woken are left out of the lines (``wakes`` has them): a playbook's time is moved by
``after``.
"""

from collections.abc import Sequence
from typing import Self

from warrener.amqp.constants import FRAME_BODY, FRAME_HEADER, FRAME_METHOD, PROTOCOL_HEADER
from warrener.amqp.frames import encode_frame, payload_of
from warrener.amqp.methods import (
    BasicAck,
    BasicCancel,
    BasicCancelOk,
    BasicConsume,
    BasicConsumeOk,
    BasicDeliver,
    BasicGet,
    BasicGetOk,
    BasicNack,
    BasicPublish,
    BasicQos,
    BasicReject,
    BasicReturn,
    ChannelClose,
    ChannelCloseOk,
    ChannelOpen,
    ChannelOpenOk,
    ConfirmSelect,
    ConfirmSelectOk,
    Method,
    QueueDeclare,
    QueueDeclareOk,
    decode_method,
)
from warrener.amqp.units import CONTENT, body_size_of
from warrener.balancer.core.commands import SendClient, SendLink, Wake
from warrener.facts.settings import BalancerSettings
from warrener.testing.playbook import Playbook, Sent, describe, describe_frames, encode, publish

GOODBYE = "channel.close 200 moved by the balancer"
"""How a channel leaves a link."""

LINK_BYE = "connection.close 200 the balancer needs this connection no more"
"""How a link is closed."""


def content(channel: int, body: bytes, properties: bytes = b"\x00\x00", part: int = 4000) -> bytes:
    """Content header and body frames."""
    header = b"\x00\x3c\x00\x00" + len(body).to_bytes(8) + properties
    parts = (body[i : i + part] for i in range(0, len(body), part))
    return encode_frame(FRAME_HEADER, channel, header) + b"".join(
        encode_frame(FRAME_BODY, channel, each) for each in parts
    )


def deliver(
    tag: int, body: str = "m", consumer: str = "c", channel: int = 1, *, redelivered: bool = False
) -> bytes:
    """A whole delivery."""
    method = BasicDeliver(consumer, tag, redelivered, "", "q")
    return encode((channel, method)) + content(channel, body.encode())


def got(tag: int, body: str = "m", channel: int = 1) -> bytes:
    """The whole answer to a basic.get."""
    return encode((channel, BasicGetOk(tag, False, "", "q", 0))) + content(channel, body.encode())


def message(body: str, queue: str = "q", channel: int = 1) -> bytes:
    """A whole publish by the default exchange."""
    return publish(channel, body.encode(), queue)


def messages(*bodies: str, queue: str = "q", channel: int = 1) -> bytes:
    """Several."""
    return b"".join(message(body, queue, channel) for body in bodies)


def acks(*tags: int, channel: int = 1) -> bytes:
    """One ack after the other."""
    return encode(*((channel, BasicAck(tag)) for tag in tags))


def words(data: bytes) -> list[str]:
    """Frames in words, a whole message being one."""
    if data == PROTOCOL_HEADER:
        return ["header"]
    found: list[str] = []
    pos = 0
    while pos < len(data):
        end = pos + int.from_bytes(data[pos + 3 : pos + 7]) + 8
        channel = int.from_bytes(data[pos + 1 : pos + 3])
        if data[pos] != FRAME_METHOD or not channel:
            found += describe_frames(data[pos:end])
        else:
            method = decode_method(payload_of(data, pos, end))
            body = None
            if method.ID in CONTENT:
                body, end = _body(data, end)
            found.append(_say(method, body) + f"/{channel}")
        pos = end
    return found


def _body(data: bytes, start: int) -> tuple[bytes | None, int]:
    """The body that follows, and where it ends; None if it isn't there as a whole."""
    pos = start
    if pos >= len(data) or data[pos] != FRAME_HEADER:
        return None, start
    end = pos + int.from_bytes(data[pos + 3 : pos + 7]) + 8
    missing = body_size_of(payload_of(data, pos, end))
    parts = []
    while missing > 0:
        pos = end
        if pos >= len(data) or data[pos] != FRAME_BODY:
            return None, start
        end = pos + int.from_bytes(data[pos + 3 : pos + 7]) + 8
        parts.append(payload_of(data, pos, end))
        missing -= len(parts[-1])
    return b"".join(parts), end


def _say(method: Method, body: bytes | None) -> str:
    name = method.name()
    match method:
        case BasicAck(tag, multiple):
            name += f" {'..' * multiple}{tag}"
        case BasicNack(tag, multiple, requeue):
            name += f" {'..' * multiple}{tag}" + " requeue" * requeue
        case BasicReject(tag, requeue):
            name += f" {tag}" + " requeue" * requeue
        case BasicDeliver():
            name += f" {method.consumer_tag} {method.delivery_tag}" + " again" * method.redelivered
        case BasicGetOk():
            name += f" {method.delivery_tag}"
        case BasicPublish():
            name += f" {method.exchange}:" * bool(method.exchange) + f" {method.routing_key}"
        case BasicReturn():
            name += f" {method.reply_code} {method.routing_key}"
        case BasicConsume():
            name += f" {method.queue} {method.consumer_tag}" + " no-ack" * method.no_ack
        case BasicConsumeOk() | BasicCancel() | BasicCancelOk():
            name += f" {method.consumer_tag}"
        case BasicQos():
            name += f" {method.prefetch_count}" + " global" * method.global_
        case BasicGet() | QueueDeclare() | QueueDeclareOk():
            name += f" {method.queue}"
        case ChannelClose():
            name += f" {method.reply_code} {method.reply_text}"
        case _ if hasattr(method, "queue"):
            name += f" {method.queue}"
    return name + (f' "{body.decode()}"' if body is not None else "")


class Play(Playbook):
    """See the module."""

    @property
    def lines(self) -> list[str]:
        """The last event's commands in words."""
        said = []
        for command in self.commands:
            match command:
                case SendClient(data):
                    said.append("client: " + " ".join(words(data)))
                case SendLink(link, data):
                    said.append(f"{self._names.get(link, 'link')}: " + " ".join(words(data)))
                case Wake():
                    pass
                case _:
                    said.append(describe(command, self._names))
        return said

    @property
    def wakes(self) -> list[float]:
        """Seconds after which the last event wants a tick."""
        return [command.after for command in self.commands if isinstance(command, Wake)]

    # -- ready-made beginnings ------------------------------------------------------------------

    def channel(self, number: int = 1, *, confirms: bool = False) -> Self:
        """The client opens a channel, which the node at hand grants."""
        self.client_sends((number, ChannelOpen())).gives(f"*: channel.open/{number}")
        self.node_sends((number, ChannelOpenOk())).gives(f"client: channel.open-ok/{number}")
        if confirms:
            self.client_sends((number, ConfirmSelect()))
            self.node_sends((number, ConfirmSelectOk()))
        return self

    def consumer(
        self, queue: str = "q", tag: str = "c", channel: int = 1, *, no_ack: bool = False
    ) -> Self:
        """The client consumes from a queue, where the channel is."""
        self.client_sends((channel, BasicConsume(queue, tag, no_ack=no_ack))).gives(
            f"*: basic.consume {queue} {tag}{' no-ack' * no_ack}/{channel}"
        )
        return self.node_sends((channel, BasicConsumeOk(tag)))

    def node_answers(self, *methods: Method, channel: int = 1) -> Self:
        """The node at hand says methods on a channel."""
        return self.node_sends(*((channel, method) for method in methods))

    def linked(self, node: str) -> Self:
        """The link to a node opens: ``joins``, at that node."""
        return self.at(node).joins()

    def leaves(self, channel: int = 1) -> Self:
        """The old link's close-ok for a channel that moves."""
        return self.node_sends((channel, ChannelCloseOk()))

    def lost(self, node: str, detail: str = "connection reset by peer") -> Self:
        """The link to a node breaks."""
        return self.at(node).link_breaks(detail)

    def ticks(self, seconds: float, step: float = 0.5) -> Self:
        """Time passes as in life: a tick every half second, heartbeats from all sides."""
        said = []
        for _ in range(round(seconds / step)):
            for link in self.open_links():
                self.session.link_data(link, HEARTBEAT_BYTES, self.now)
            self.session.client_data(HEARTBEAT_BYTES, self.now)
            self.after(step)
            said += self.commands
        self.commands = said
        return self

    def open_links(self) -> Sequence[int]:
        """Numbers of the links that the session has."""
        board = self.session.board
        return [number for number in range(1, 50) if board is not None and board.link(number)]

    def sends_again(self) -> str:
        """All that the last event said, as one text."""
        return "\n".join(self.lines)


def apart(settings: BalancerSettings | None = None) -> Play:
    """Channel 1 consumes at home on n1, channel 2 on n2."""
    play = Play.opened("n1", "n2", settings=settings).knows(("q", "n1"), ("r", "n2"))
    play.channel().consumer("q", "c")
    return second_channel(play)


def second_channel(play: Play) -> Play:
    """Channel 2 goes to n2, where its queue is."""
    play.at("n1").channel(2).client_sends((2, BasicConsume("r", "d"))).gives("connect n2")
    play.joins()
    play.at("n1").leaves(2).gives("n2: channel.open/2")
    play.at("n2").node_answers(ChannelOpenOk(), channel=2).gives("n2: basic.consume r d/2")
    return play.node_answers(BasicConsumeOk("d"), channel=2).gives("client: basic.consume-ok d/2")


HEARTBEAT_BYTES = b"\x08\x00\x00\x00\x00\x00\x00\xce"

__all__ = [
    "GOODBYE",
    "LINK_BYE",
    "Play",
    "Sent",
    "acks",
    "apart",
    "content",
    "deliver",
    "encode",
    "got",
    "message",
    "messages",
    "second_channel",
    "words",
]
