"""Finding frames in a stream of bytes without decoding them.

A frame is ``type octet, channel short, size long, payload, 0xCE`` (section 2.3.5). The scanner
steps from header to header and stops only at a frame that somebody has to decide about. What lies
before that frame can be forwarded as it came, in one write.

    chunk  ->  Reassembly.join  ->  scan(...)  ->  Scan(end, verdict, ...)
                                                    |  [start:end]      forward
                                                    |  [end:next_end]   decide, then scan on
                                                    |  rest             Reassembly.keep

It is used where nobody asks which message is where: in handshakes and after a close. Open sessions
are read unit by unit (``warrener.amqp.units``).

Frames are passed on whole, never in parts: a stream that is cut in the middle of a frame can't
carry anything else afterwards, and the balancer must always be able to say why it closes. The
price is a buffer of one frame per direction; the negotiated frame_max bounds it.
"""

from collections.abc import Container
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from warrener.amqp.constants import (
    FRAME_BODY,
    FRAME_END,
    FRAME_HEADER,
    FRAME_HEARTBEAT,
    FRAME_METHOD,
    FRAME_OVERHEAD,
)
from warrener.amqp.errors import FrameError

_HEAD_AND_METHOD: Final = Struct(">BHII")  # type, channel, size, first four payload octets
_HEAD: Final = Struct(">BHI")
_HEAD_SIZE: Final = 7

NO_METHOD: Final = 0


class Verdict(IntEnum):
    """Why a scan stopped."""

    MORE = 0  # the next frame is not complete
    DECIDE = 1  # the next frame is complete and somebody must look at it


class Scan(NamedTuple):
    """How far a scan came.

    ``end`` is the offset behind the last frame that passed. With ``DECIDE`` the frame from ``end``
    to ``next_end`` has ``kind``, ``channel`` and, for a method frame, ``method`` (class << 16 |
    method). With ``MORE``, ``next_end`` is the offset at which the next frame would be complete
    (or at which more can be known). ``contents`` counts the content headers that passed, which is
    the number of messages.
    """

    end: int
    verdict: Verdict
    next_end: int
    kind: int
    channel: int
    method: int
    contents: int


def scan(data: bytes, start: int, limit: int, passing: Container[int]) -> Scan:
    """Step over the frames of ``data`` from ``start``; stop at one that needs a decision.

    ``limit`` is the largest payload allowed, in bytes. Content frames and the methods in
    ``passing`` (class << 16 | method) need no decision.

    Raises FrameError for a payload over ``limit`` and for a missing end octet.
    """
    stop = len(data)
    pos = start
    contents = 0
    unpack = _HEAD_AND_METHOD.unpack_from
    last = stop - 11  # the last offset at which type, channel, size and method id can be read
    while pos <= last:
        kind, channel, size, method = unpack(data, pos)
        if size > limit:
            raise too_large(pos, kind, size, limit)
        next_pos = pos + size + 8
        if next_pos > stop:
            return Scan(pos, Verdict.MORE, next_pos, kind, channel, NO_METHOD, contents)
        if data[next_pos - 1] != FRAME_END:
            raise missing_end(pos, data[pos:next_pos])
        if kind == FRAME_HEADER:
            contents += 1
        elif kind != FRAME_BODY and (kind != FRAME_METHOD or size < 4 or method not in passing):
            id_ = method if kind == FRAME_METHOD and size >= 4 else NO_METHOD
            return Scan(pos, Verdict.DECIDE, next_pos, kind, channel, id_, contents)
        pos = next_pos
    # Fewer than 11 bytes are left: none, a beginning, or a whole frame with up to 2 payload octets.
    while True:
        if stop - pos < _HEAD_SIZE:
            return Scan(pos, Verdict.MORE, pos + FRAME_OVERHEAD, 0, 0, NO_METHOD, contents)
        kind, channel, size = _HEAD.unpack_from(data, pos)
        if size > limit:
            raise too_large(pos, kind, size, limit)
        next_pos = pos + size + FRAME_OVERHEAD
        if next_pos > stop:
            return Scan(pos, Verdict.MORE, next_pos, kind, channel, NO_METHOD, contents)
        if data[next_pos - 1] != FRAME_END:
            raise missing_end(pos, data[pos:next_pos])
        if kind not in (FRAME_BODY, FRAME_HEADER):
            return Scan(pos, Verdict.DECIDE, next_pos, kind, channel, NO_METHOD, contents)
        contents += kind == FRAME_HEADER
        pos = next_pos


def too_large(at: int, kind: int, size: int, limit: int) -> FrameError:
    """A frame over the limit."""
    text = f"type {kind}, frame payload of {size} bytes is over the limit of {limit}"
    return FrameError(text, at)


def missing_end(at: int, frame: bytes) -> FrameError:
    """A frame without its end octet."""
    kind, channel, size = _HEAD.unpack_from(frame)
    text = (
        f"type {kind} on channel {channel}, {size} bytes: "
        f"frame end should be {FRAME_END:#x}, is {frame[-1]:#x}"
    )
    return FrameError(text, at)


class Reassembly:
    """Keeps the beginning of a frame until the rest arrives.

    ``join`` gives the bytes to scan next, or None while the frame begun is known to be
    incomplete: a large frame that arrives in many chunks is then joined once, not once a chunk.
    """

    __slots__ = ("_kept", "_parts", "_wanted")

    def __init__(self) -> None:
        self._parts: list[bytes] | None = None
        self._kept = 0
        self._wanted = 0

    @property
    def kept(self) -> int:
        """Bytes that wait for more."""
        return self._kept

    def join(self, data: bytes) -> bytes | None:
        """Everything not scanned to its end, ``data`` last; None if it can't be enough yet."""
        parts = self._parts
        if parts is None:
            return data
        parts.append(data)
        self._kept += len(data)
        if self._kept < self._wanted:
            return None
        self._parts = None
        self._kept = 0
        return b"".join(parts)

    def keep(self, rest: bytes, wanted: int) -> None:
        """Keep ``rest``, the beginning of a frame of which at least ``wanted`` bytes are needed."""
        if self._parts is not None:
            raise AssertionError("keep() is called on what join() gave, once")
        if rest:
            self._parts = [rest]
            self._kept = len(rest)
            self._wanted = wanted

    def take(self) -> bytes:
        """Everything kept; nothing is kept any more."""
        parts, self._parts = self._parts, None
        self._kept = 0
        return b"".join(parts) if parts else b""


def encode_frame(kind: int, channel: int, payload: bytes) -> bytes:
    """One frame around ``payload``."""
    return _HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


def payload_of(data: bytes, start: int, end: int) -> bytes:
    """The payload of the frame that lies from ``start`` to ``end``."""
    return data[start + _HEAD_SIZE : end - 1]


def is_heartbeat(kind: int) -> bool:
    """Whether a frame is a heartbeat. Its channel and payload don't matter (section 4.2.7)."""
    return kind == FRAME_HEARTBEAT
