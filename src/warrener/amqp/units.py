"""Reading a stream unit by unit: runs of whole messages, runs of acks, single frames.

``frames.scan`` says where somebody has to decide; a session that may move its channels has to know
more: which channel a message is on, where it begins and ends, how many there are. One call of
``next_unit`` gives the next unit of a stream:

    MESSAGES  ``count`` whole messages on one channel, each of method, header and body frames that
              follow each other, all of the same sizes
    ACKS      ``count`` basic.ack frames on one channel
    FRAME     one whole frame of any kind
    MORE      the next unit isn't complete; ``end`` is the offset at which it could be

Busy sessions send runs of messages of the same shape. Once a shape has been seen a few times it
becomes a bytes pattern in which sizes, method id, body size and end octets stand literally and the
channel is a back-reference, and one call of the ``re`` module steps over the whole run, checking
all that stepping would check (docs/decisions/0002-scanning-by-shape.md).

A message that isn't whole in the data is waited for, if it isn't larger than ``hold``. Larger ones
and those whose frames are interleaved with other channels' come frame by frame.
"""

import re
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from warrener.amqp.constants import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_METHOD,
    FRAME_OVERHEAD,
    ReplyCode,
)
from warrener.amqp.errors import FrameError
from warrener.amqp.frames import missing_end, too_large
from warrener.amqp.methods import BasicAck, BasicDeliver, BasicGetOk, BasicPublish, BasicReturn

_HEAD: Final = Struct(">BHI")
_HEAD_AND_METHOD: Final = Struct(">BHII")
_HEAD_SIZE: Final = 7
_BODY_SIZE: Final = Struct(">Q")
_BODY_SIZE_AT: Final = _HEAD_SIZE + 4  # behind class and weight
_LEAST_HEADER: Final = 14  # payload octets: class, weight, body size, property flags

CONTENT: Final = frozenset({BasicPublish.ID, BasicDeliver.ID, BasicGetOk.ID, BasicReturn.ID})
"""Methods that a content header follows."""

ACK_SIZE: Final = 21
"""Octets of a whole basic.ack frame."""

TAGS: Final = Struct(">11xQBx")
"""(delivery tag, multiple) of a whole basic.ack frame, for ``iter_unpack`` over a run."""


class What(IntEnum):
    """What a unit is."""

    MORE = 0
    FRAME = 1
    MESSAGES = 2
    ACKS = 3


class Unit(NamedTuple):
    """See the module. ``method`` is class << 16 | method of the (first) method frame, else 0."""

    what: What
    end: int
    kind: int
    channel: int
    method: int
    count: int  # type: ignore[assignment]  # nobody asks a unit how often it holds a value


class Shapes:
    """Patterns of runs of messages of one shape, learned from what passes.

    A shape is compiled (about 40 us) when ``AFTER`` messages of it come one after the other, so
    that a stream in which neighbours differ costs a dictionary look-up a message and no compiling.
    At most ``KEPT`` shapes are kept, the oldest goes first.
    """

    AFTER: Final = 4
    KEPT: Final = 256

    __slots__ = ("_known", "_last", "_times")

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int, int], re.Pattern[bytes]] = {}
        self._last = (0, 0, 0, 0)
        self._times = 0

    def run_of(self, shape: tuple[int, int, int, int]) -> re.Pattern[bytes] | None:
        """The pattern of a run of ``shape``: (method size, method id, header size, body size)."""
        pattern = self._known.get(shape)
        return pattern if pattern is not None else self._learn(shape)

    def _learn(self, shape: tuple[int, int, int, int]) -> re.Pattern[bytes] | None:
        if shape != self._last:
            self._last, self._times = shape, 1
            return None
        self._times += 1
        if self._times < self.AFTER:
            return None
        if len(self._known) >= self.KEPT:
            del self._known[next(iter(self._known))]
        method_size, method, header_size, body_size = shape
        content = b".{4}" + re.escape(body_size.to_bytes(8)) + b".{%d}" % (header_size - 12)

        def message(channel: bytes, again: bytes) -> bytes:
            rest = b".{%d}" % (method_size - 4)
            whole = _frame(FRAME_METHOD, channel, method_size, re.escape(method.to_bytes(4)) + rest)
            whole += _frame(FRAME_HEADER, again, header_size, content)
            if body_size:
                whole += _frame(FRAME_BODY, again, body_size, b".{%d}" % body_size)
            return whole

        # Possessive: a run is never given back, so nothing is remembered of it.
        pattern = self._known[shape] = re.compile(
            message(b"(..)", rb"\1") + b"(?:" + message(rb"\1", rb"\1") + b")*+", re.DOTALL
        )
        return pattern


def _frame(kind: int, channel: bytes, size: int, payload: bytes) -> bytes:
    return re.escape(bytes([kind])) + channel + re.escape(size.to_bytes(4)) + payload + b"\xce"


_ACK: Final = re.escape(b"\x00\x00\x00\x0d" + BasicAck.ID.to_bytes(4)) + b".{9}\xce"
_ACKS: Final = re.compile(b"\x01(..)" + _ACK + rb"(?:\x01\1" + _ACK + b")*+", re.DOTALL)
_SHAPES: Final = Shapes()


def next_unit(data: bytes, pos: int, limit: int, hold: int, shapes: Shapes = _SHAPES) -> Unit:
    """The unit that begins at ``pos``.

    ``limit`` is the largest payload of a frame, ``hold`` the largest message that is waited for,
    in bytes. ``shapes`` remembers what runs look like; it changes nothing but how many messages
    come at once.

    Raises FrameError for a payload over ``limit``, a missing end octet, and a body that is larger
    than its header says.
    """
    left = len(data) - pos
    if left < 11:
        return _short(data, pos, left, limit)
    kind, channel, size, method = _HEAD_AND_METHOD.unpack_from(data, pos)
    if size > limit:
        raise too_large(pos, kind, size, limit)
    end = pos + size + FRAME_OVERHEAD
    if end > pos + left:
        return Unit(What.MORE, end, kind, channel, 0, 0)
    if data[end - 1] != FRAME_END:
        raise missing_end(pos, data[pos:end])
    if kind != FRAME_METHOD or size < 4:
        return Unit(What.FRAME, end, kind, channel, 0, 0)
    if method in CONTENT:
        return _message(data, pos, end, channel, size, method, limit, hold, shapes)
    if method == BasicAck.ID:
        run = _ACKS.match(data, pos)
        if run is not None:
            end = run.end()
            return Unit(What.ACKS, end, kind, channel, method, (end - pos) // ACK_SIZE)
    return Unit(What.FRAME, end, kind, channel, method, 0)


def _short(data: bytes, pos: int, left: int, limit: int) -> Unit:
    """Fewer than 11 bytes are left: a beginning, or a frame with up to 2 payload octets."""
    if left < _HEAD_SIZE:
        return Unit(What.MORE, pos + FRAME_OVERHEAD, 0, 0, 0, 0)
    kind, channel, size = _HEAD.unpack_from(data, pos)
    if size > limit:
        raise too_large(pos, kind, size, limit)
    end = pos + size + FRAME_OVERHEAD
    if end > pos + left:
        return Unit(What.MORE, end, kind, channel, 0, 0)
    if data[end - 1] != FRAME_END:
        raise missing_end(pos, data[pos:end])
    return Unit(What.FRAME, end, kind, channel, 0, 0)


def _message(
    data: bytes,
    start: int,
    method_end: int,
    channel: int,
    method_size: int,
    method: int,
    limit: int,
    hold: int,
    shapes: Shapes,
) -> Unit:
    """A method that carries content, with its header and body if they follow it directly."""
    stop = len(data)
    apart = Unit(What.FRAME, method_end, FRAME_METHOD, channel, method, 0)
    if stop - method_end < _HEAD_SIZE:
        return Unit(What.MORE, method_end + FRAME_OVERHEAD, FRAME_METHOD, channel, method, 0)
    kind, number, header_size = _HEAD.unpack_from(data, method_end)
    if kind != FRAME_HEADER or number != channel or header_size < _LEAST_HEADER:
        return apart
    if header_size > limit:
        raise too_large(method_end, kind, header_size, limit)
    pos = method_end + header_size + FRAME_OVERHEAD
    if pos > stop:
        return Unit(What.MORE, pos, FRAME_METHOD, channel, method, 0)
    if data[pos - 1] != FRAME_END:
        raise missing_end(method_end, data[method_end:pos])
    body_size = remaining = _BODY_SIZE.unpack_from(data, method_end + _BODY_SIZE_AT)[0]
    if body_size > hold:
        return apart
    size = 0
    while remaining:
        if stop - pos < _HEAD_SIZE:
            return Unit(What.MORE, pos + FRAME_OVERHEAD, FRAME_METHOD, channel, method, 0)
        kind, number, size = _HEAD.unpack_from(data, pos)
        if kind != FRAME_BODY or number != channel or size == 0:
            return apart
        if size > limit:
            raise too_large(pos, kind, size, limit)
        if size > remaining:
            raise body_too_large(pos, size - remaining)
        end = pos + size + FRAME_OVERHEAD
        if end > stop:
            return Unit(What.MORE, end, FRAME_METHOD, channel, method, 0)
        if data[end - 1] != FRAME_END:
            raise missing_end(pos, data[pos:end])
        pos = end
        remaining -= size
    count = 1
    if size == body_size and pos < stop:  # one body frame, or none: the shape of a run
        pattern = shapes.run_of((method_size, method, header_size, body_size))
        run = pattern.match(data, start) if pattern is not None else None
        if run is not None:
            count = (run.end() - start) // (pos - start)
            pos = run.end()
    return Unit(What.MESSAGES, pos, FRAME_METHOD, channel, method, count)


def body_too_large(at: int, surplus: int) -> FrameError:
    """A body frame that brings ``surplus`` bytes more than its header promised."""
    return FrameError(
        f"a body is {surplus} bytes longer than its header says", at, ReplyCode.UNEXPECTED_FRAME
    )


def body_size_of(payload: bytes) -> int:
    """The body size in the payload of a content header frame."""
    size: int = _BODY_SIZE.unpack_from(payload, 4)[0]
    return size
