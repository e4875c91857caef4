"""Delivery tags in frames that are passed on: reading them, and writing others in their place."""

from struct import Struct
from typing import Final

from warrener.amqp.constants import FRAME_END, FRAME_METHOD
from warrener.amqp.methods import BasicAck

_TAG: Final = Struct(">Q")
_ACK: Final = Struct(">BHIIQBB")
_DELIVER_TAG_LENGTH: Final = 11
"""Offset, in a basic.deliver frame, of the consumer tag's length; the delivery tag follows it."""

_GET_OK_TAG: Final = 11


def ack_frame(channel: int, tag: int, multiple: bool) -> bytes:
    """A basic.ack frame."""
    return _ACK.pack(FRAME_METHOD, channel, 13, BasicAck.ID, tag, multiple, FRAME_END)


def delivery_tag(data: bytes, at: int) -> int:
    """The delivery tag of the basic.deliver frame at ``at``."""
    tag: int = _TAG.unpack_from(data, at + _DELIVER_TAG_LENGTH + 1 + data[at + 11])[0]
    return tag


def consumer_tag(data: bytes, at: int) -> bytes:
    """The consumer tag of the basic.deliver frame at ``at``."""
    start = at + _DELIVER_TAG_LENGTH + 1
    return data[start : start + data[at + _DELIVER_TAG_LENGTH]]


def get_ok_tag(data: bytes, at: int) -> int:
    """The delivery tag of the basic.get-ok frame at ``at``."""
    tag: int = _TAG.unpack_from(data, at + _GET_OK_TAG)[0]
    return tag


def retag(data: bytes, count: int, offset: int, *, get_ok: bool = False) -> bytes:
    """``count`` deliveries of one size with ``offset`` added to each tag."""
    changed = bytearray(data)
    stride = len(data) // count
    for start in range(0, len(data), stride):
        at = start + _GET_OK_TAG if get_ok else start + _DELIVER_TAG_LENGTH + 1 + data[start + 11]
        _TAG.pack_into(changed, at, _TAG.unpack_from(data, at)[0] + offset)
    return bytes(changed)
