"""Numbers of AMQP 0-9-1 (specification sections 2.3.5, 4.2.2 and 1.2)."""

from enum import IntEnum
from typing import Final

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
PROTOCOL_HEADER_SIZE: Final = 8

FRAME_METHOD: Final = 1
FRAME_HEADER: Final = 2
FRAME_BODY: Final = 3
FRAME_HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE

FRAME_OVERHEAD: Final = 8
"""Bytes of a frame beside its payload: type, channel, size and the end octet."""

FRAME_MIN_SIZE: Final = 4096
"""What each side must take before limits are agreed (section 4.2.3)."""

HEARTBEAT: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class ReplyCode(IntEnum):
    """Reply codes (section 1.2)."""

    SUCCESS = 200
    CONTENT_TOO_LARGE = 311
    NO_ROUTE = 312
    NO_CONSUMERS = 313
    CONNECTION_FORCED = 320
    INVALID_PATH = 402
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541
