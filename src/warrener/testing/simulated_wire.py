"""Frames, contents and numbered messages, as the simulated cluster and its clients read them.

A parser of its own: nothing here uses ``amqp.frames.scan`` or what the balancer builds on it, so
that a mistake there isn't made here as well. It is strict where the balancer is lenient: a frame
out of place raises.

A *numbered message* carries its publish's number in the property message-id and, once a broker
delivers it, the number of that very delivery in the property timestamp (RabbitMQ hands both on as
they are; interceptors set timestamps there, too). The body follows from the number, so that a
receiver can tell whether it is whole.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from warrener.amqp.constants import FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD
from warrener.amqp.frames import encode_frame
from warrener.amqp.methods import (
    BasicDeliver,
    BasicGetOk,
    BasicPublish,
    BasicReturn,
    Method,
    decode_method,
    encode_method_frame,
)

CARRIES_CONTENT: Final = frozenset(
    {BasicPublish.ID, BasicReturn.ID, BasicDeliver.ID, BasicGetOk.ID}
)
_CLASS_BASIC: Final = b"\x00\x3c\x00\x00"
_MESSAGE_ID_AND_TIMESTAMP: Final = (1 << 7 | 1 << 6).to_bytes(2)


class Malformed(Exception):
    """What was read is no AMQP, or AMQP out of order."""


class Frame(NamedTuple):
    """One frame as it came."""

    kind: int
    channel: int
    payload: bytes


class FrameSplitter:
    """A stream of bytes, in chunks of any size, to frames."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def rest(self) -> int:
        """Bytes of a frame that isn't complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes. Raises Malformed for a wrong end octet."""
        data = self._rest + data
        pos, stop = 0, len(data)
        while stop - pos >= 8:
            end = pos + 8 + int.from_bytes(data[pos + 3 : pos + 7])
            if end > stop:
                break
            if data[end - 1] != FRAME_END:
                raise Malformed(f"a frame ends in {data[end - 1]:#x}")
            self._rest = data[end:]
            yield Frame(data[pos], int.from_bytes(data[pos + 1 : pos + 3]), data[pos + 7 : end - 1])
            pos = end
        self._rest = data[pos:]


class Said(NamedTuple):
    """A method with all that belongs to it. ``message`` is None for methods without content."""

    channel: int
    method: Method
    message: "Message | None"


@dataclass(frozen=True, slots=True)
class Message:
    """A numbered message; ``delivery`` is 0 before a broker delivers it."""

    number: int
    delivery: int
    body: bytes

    @property
    def whole(self) -> bool:
        """Whether the body is the one that belongs to the number."""
        return self.body == body_of(self.number)


@dataclass(slots=True)
class _Unfinished:
    method: Method
    header: bytes = b""
    size: int = -1  # of the body; not known before the header
    body: bytes = b""


class ContentAssembler:
    """Frames to methods with their contents, channel by channel.

    Other channels' frames may come in the middle of a content, other frames of its own may not
    (section 4.2.6).
    """

    __slots__ = ("_unfinished",)

    def __init__(self) -> None:
        self._unfinished: dict[int, _Unfinished] = {}

    @property
    def unfinished(self) -> Mapping[int, object]:
        """Channels in the middle of a content."""
        return self._unfinished

    def drop(self, channel: int) -> None:
        """The channel is closed: what it was in the middle of will not end."""
        self._unfinished.pop(channel, None)

    def take(self, frame: Frame) -> Said | None:
        """What ``frame`` completes, if anything. Raises Malformed for a frame out of place."""
        kind, channel, payload = frame
        open_ = self._unfinished.get(channel)
        if kind == FRAME_METHOD:
            method = _decode(payload)
            if open_ is not None:
                raise Malformed(f"{method.name()} in the middle of a content of {channel}")
            if method.ID not in CARRIES_CONTENT:
                return Said(channel, method, None)
            self._unfinished[channel] = _Unfinished(method)
            return None
        if open_ is None:
            raise Malformed(f"frame type {kind} on channel {channel} belongs to no content")
        if kind == FRAME_HEADER:
            if open_.size >= 0:
                raise Malformed(f"a second header on channel {channel}")
            open_.header = payload
            open_.size = int.from_bytes(payload[4:12])
        elif kind == FRAME_BODY:
            if open_.size < 0:
                raise Malformed(f"a body before its header on channel {channel}")
            open_.body += payload
            if len(open_.body) > open_.size:
                raise Malformed(f"a body longer than its header says on channel {channel}")
        else:
            raise Malformed(f"frame type {kind} on channel {channel}")
        if len(open_.body) < open_.size:
            return None
        del self._unfinished[channel]
        return Said(channel, open_.method, _read_message(open_.header, open_.body))


@lru_cache(maxsize=4096)
def _decode(payload: bytes) -> Method:
    """Every method is read at several places, and most are alike."""
    return decode_method(payload)


def body_of(number: int) -> bytes:
    """The body of message ``number``: 0 to 60 bytes, now and then a few hundred."""
    size = number * 7919 % 61 if number % 17 else 300 + number % 200
    pattern = b"%d." % number
    return (pattern * (size // len(pattern) + 1))[:size]


def encode_message(
    channel: int, method: Method, message: Message, step: int = 1 << 16
) -> list[bytes]:
    """The frames of a method with its content, the body in pieces of at most ``step`` bytes."""
    frames = [
        encode_method_frame(channel, method),
        encode_frame(FRAME_HEADER, channel, _header(message)),
    ]
    body = message.body
    frames += [
        encode_frame(FRAME_BODY, channel, body[at : at + step]) for at in range(0, len(body), step)
    ]
    return frames


def _header(message: Message) -> bytes:
    text = b"%d" % message.number
    return b"".join(
        (
            _CLASS_BASIC,
            len(message.body).to_bytes(8),
            _MESSAGE_ID_AND_TIMESTAMP,
            bytes([len(text)]),
            text,
            message.delivery.to_bytes(8),
        )
    )


def _read_message(header: bytes, body: bytes) -> Message:
    if header[:4] != _CLASS_BASIC or header[12:14] != _MESSAGE_ID_AND_TIMESTAMP:
        raise Malformed("a content header that no numbered message has")
    end = 15 + header[14]
    return Message(int(header[15:end]), int.from_bytes(header[end : end + 8]), body)
