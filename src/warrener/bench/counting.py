"""Counting what a broker sends, fast enough that counting is never what is measured.

All deliveries of one run have the same size: one consumer tag, one routing key, one body size. So
the first delivery is read frame by frame, and from then on a chunk is taken as so many deliveries
at a fixed stride. That is proven for each of them, by slices with a stride (C speed, about 20 ns
a delivery): the type octet and the end octet of its three frames, its method and its delivery tag
one above the last. The first delivery of each chunk is compared in full, body included. A chunk
that fails the proof is read frame by frame: it may hold something else that is legal (a
heartbeat), or an error.

Confirms are frames of 21 octets; they are unpacked one by one. A confirm stands for one message,
or with ``multiple`` for all up to it.
"""

from collections.abc import Callable
from struct import Struct
from typing import Final

from warrener.amqp.methods import (
    BasicAck,
    BasicDeliver,
    ConnectionUnblocked,
    Method,
    decode_method,
)
from warrener.bench.wire import CHANNEL, BenchError, BrokerClosed, refusal

_FRAME_METHOD: Final = 1
_FRAME_HEADER: Final = 2
_FRAME_BODY: Final = 3
_FRAME_HEARTBEAT: Final = 8
_FRAME_END: Final = 0xCE

_HEAD: Final = Struct(">BHI")
_HEAD_SIZE: Final = 7
_METHOD: Final = Struct(">BHII")  # type, channel, size, class << 16 | method
_BODY_SIZE: Final = Struct(">Q")
_BODY_SIZE_AT: Final = _HEAD_SIZE + 4  # in the header frame, behind class and weight

_CONFIRM: Final = Struct(">BHIIQBB")
_CONFIRM_SIZE: Final = 21
_CYCLE: Final = bytes(range(256)) * 33  # low octets of 8,192 tags in a row, wherever they start
_MOST: Final = 8_192  # deliveries proven in one step


class Deliveries:
    """Counts deliveries of one size on channel 1.

    ``count`` is the number of complete messages, ``tag`` the last one's delivery tag. ``feed``
    takes bytes as they come, split anywhere. With ``on_body`` each body is passed on, which takes
    the slow way for all. ``headers``: they differ from one message to the next, though not in their
    size (a stream's offset), and aren't compared.

    Raises BrokerClosed when the broker closes or cancels, BenchError for what may not come.
    """

    def __init__(
        self,
        body: int,
        on_body: Callable[[bytes], None] | None = None,
        *,
        headers: bool = False,
    ) -> None:
        self.count = 0
        self.tag = 0
        self.redelivered = 0
        self._body = body
        self._on_body = on_body
        self._headers = headers
        self._unlike = (0, 0)  # where deliveries differ from the sample, beside the tag
        self._kept = b""
        self._sample = b""  # the last delivery that was read frame by frame
        self._stride = 0
        self._tag_at = 0
        self._columns: tuple[tuple[int, bytes], ...] = ()

    def feed(self, data: bytes) -> int:
        """Count; returns how many messages became complete with this chunk."""
        if self._kept:
            data = self._kept + data
        before = self.count
        pos = 0
        size = len(data)
        while pos < size:
            if self._stride:
                pos = self._step_many(data, pos)
                if pos >= size:
                    break
            end = self._step_one(data, pos)
            if end == pos:
                break
            pos = end
        self._kept = data[pos:]
        return self.count - before

    def _step_many(self, data: bytes, pos: int) -> int:
        """Take all whole deliveries from ``pos`` if they are proven, else none."""
        stride = self._stride
        while (n := min((len(data) - pos) // stride, _MOST)) > 0:
            end = pos + n * stride
            tag_at = self._tag_at
            low = (self.tag + 1) & 0xFF
            if data[pos + tag_at + 7 : end : stride] != _CYCLE[low : low + n]:
                return pos
            for column, expected in self._columns:
                if data[pos + column : end : stride] != expected[:n]:
                    return pos
            first_tag = (self.tag + 1).to_bytes(8)
            sample = self._sample
            unlike, like = self._unlike
            if not (
                data.startswith(sample[:tag_at], pos)
                and data.startswith(first_tag, pos + tag_at)
                and data.startswith(sample[tag_at + 8 : unlike], pos + tag_at + 8)
                and data.startswith(sample[like:], pos + like)
            ):
                return pos
            self.count += n
            self.tag += n
            pos = end
        return pos

    def _step_one(self, data: bytes, pos: int) -> int:
        """Read one delivery (or another frame) at ``pos``; returns ``pos`` if it isn't complete."""
        end = _frame_end(data, pos)
        if end is None:
            return pos
        kind, channel, _ = _HEAD.unpack_from(data, pos)
        if kind == _FRAME_HEARTBEAT:
            return end
        if kind != _FRAME_METHOD:
            raise BenchError(f"a frame of type {kind} came where a delivery begins")
        method = decode_method(data[pos + _HEAD_SIZE : end - 1])
        if not isinstance(method, BasicDeliver) or channel != CHANNEL:
            _other(method)
            return end
        header_end = _frame_end(data, end)
        if header_end is None:
            return pos
        body_end = _frame_end(data, header_end)
        if body_end is None:
            return pos
        if data[end] != _FRAME_HEADER or data[header_end] != _FRAME_BODY:
            raise BenchError("a delivery is not followed by its header and its body")
        (length,) = _BODY_SIZE.unpack_from(data, end + _BODY_SIZE_AT)
        if length != self._body or body_end - header_end - 8 != length:
            raise BenchError(f"a body of {length} bytes was delivered; {self._body} were published")
        if method.delivery_tag != self.tag + 1:
            raise BenchError(f"delivery {method.delivery_tag} follows delivery {self.tag}")
        self.tag += 1
        self.count += 1
        self.redelivered += method.redelivered
        if self._on_body is not None:
            self._on_body(data[header_end + _HEAD_SIZE : body_end - 1])
        elif not method.redelivered:
            self._learn(data[pos:body_end], end - pos, header_end - pos, method.consumer_tag)
        return body_end

    def _learn(self, sample: bytes, header: int, body: int, consumer_tag: str) -> None:
        """Take ``sample`` as the form of the deliveries to come."""
        stride = len(sample)
        if stride == self._stride:
            return
        self._sample = sample
        self._stride = stride
        self._tag_at = _HEAD_SIZE + 4 + 1 + len(consumer_tag.encode())
        properties = header + _BODY_SIZE_AT + _BODY_SIZE.size
        self._unlike = (properties, body - 1) if self._headers else (stride, stride)
        columns = {
            0,  # types
            header,
            body,
            _HEAD_SIZE + 1,  # class
            _HEAD_SIZE + 3,  # method
            self._tag_at + 8,  # redelivered
            header - 1,  # end octets
            body - 1,
            stride - 1,
        }
        self._columns = tuple((c, sample[c : c + 1] * _MOST) for c in sorted(columns))


class Confirms:
    """Counts confirms on channel 1.

    ``confirmed`` is the number of messages confirmed; ``contiguous`` the number up to which all
    are. ``feed`` takes bytes as they come, split anywhere, with the number published so far.

    Raises BrokerClosed when the broker closes, rejects or blocks; BenchError for a confirm of
    something never published or confirmed before.
    """

    def __init__(self) -> None:
        self.contiguous = 0
        self._early: set[int] = set()  # confirmed out of order, all above ``contiguous``
        self._kept = b""

    @property
    def confirmed(self) -> int:
        """Messages confirmed."""
        return self.contiguous + len(self._early)

    def feed(self, data: bytes, published: int) -> int:
        """Count; returns how many messages were confirmed by this chunk."""
        if self._kept:
            data = self._kept + data
        before = self.confirmed
        pos = 0
        stop = len(data) - _CONFIRM_SIZE
        unpack = _CONFIRM.unpack_from
        contiguous = self.contiguous
        ack = BasicAck.ID
        while pos <= stop:
            kind, channel, size, method, tag, multiple, end = unpack(data, pos)
            if (
                method != ack
                or end != _FRAME_END
                or kind != _FRAME_METHOD
                or channel != CHANNEL
                or size != _CONFIRM_SIZE - 8
            ):
                after = self._other(data, pos)
                if after == pos:
                    break
                pos = after
                continue
            pos += _CONFIRM_SIZE
            if tag > published:
                raise BenchError(f"confirm {tag} came after {published} publishes")
            if tag == contiguous + 1 or (multiple and tag > contiguous):
                contiguous = tag
                if self._early:
                    contiguous = self._close_gap(contiguous)
            elif multiple or tag <= contiguous or tag in self._early:
                raise BenchError(f"confirm {tag} came twice (all up to {contiguous} are confirmed)")
            else:
                self._early.add(tag)
        while pos < len(data):  # less than a confirm: a heartbeat, or the beginning of something
            after = self._other(data, pos)
            if after == pos:
                break
            pos = after
        self.contiguous = contiguous
        self._kept = data[pos:]
        return self.confirmed - before

    def _close_gap(self, contiguous: int) -> int:
        early = self._early
        early.difference_update([tag for tag in early if tag <= contiguous])
        while contiguous + 1 in early:
            contiguous += 1
            early.remove(contiguous)
        return contiguous

    @staticmethod
    def _other(data: bytes, pos: int) -> int:
        """Pass over a frame that is no confirm; returns ``pos`` if it isn't complete."""
        end = _frame_end(data, pos)
        if end is None:
            return pos
        kind, _, _ = _HEAD.unpack_from(data, pos)
        if kind == _FRAME_HEARTBEAT:
            return end
        if kind != _FRAME_METHOD:
            raise BenchError(f"a frame of type {kind} came where a confirm was due")
        _other(decode_method(data[pos + _HEAD_SIZE : end - 1]))
        return end


def _frame_end(data: bytes, pos: int) -> int | None:
    """The offset behind the frame at ``pos``, None if it isn't complete."""
    if len(data) - pos < _HEAD_SIZE:
        return None
    end: int = pos + _HEAD.unpack_from(data, pos)[2] + 8
    if end > len(data):
        return None
    if data[end - 1] != _FRAME_END:
        raise BenchError(f"a frame ends in {data[end - 1]:#x}, not in {_FRAME_END:#x}")
    return end


def _other(method: Method) -> None:
    """Raise what a method stands for that is neither a delivery nor a confirm."""
    if isinstance(method, ConnectionUnblocked):
        return
    error = refusal(method)
    if error is not None:
        raise error
    raise BrokerClosed(f"the broker sent {method.name()}")
