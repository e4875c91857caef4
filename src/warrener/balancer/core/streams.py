"""Consumers of streams go on behind the last message they were given.

A stream keeps its messages; where a consumer begins is an argument of its basic.consume. Said
again as it was, it would begin at the same place again, or ("next") leave out what came meanwhile.
Each delivery tells its offset in the header ``x-stream-offset``.
"""

from dataclasses import replace
from typing import Final

from warrener.amqp.errors import ProtocolViolation
from warrener.amqp.methods import BasicConsume
from warrener.amqp.tables import decode_table

OFFSET: Final = "x-stream-offset"

_HAS_HEADERS: Final = 1 << 13
_BEFORE_HEADERS: Final = (1 << 15, 1 << 14)  # content-type and content-encoding, short strings


def offset_of(message: bytes) -> int | None:
    """The stream offset in a whole basic.deliver message; None if it has none."""
    header = int.from_bytes(message[3:7]) + 8  # behind the method frame
    payload = message[header + 7 : header + 7 + int.from_bytes(message[header + 3 : header + 7])]
    try:
        flags = int.from_bytes(payload[12:14])
        pos = 14
        for bit in _BEFORE_HEADERS:
            if flags & bit:
                pos += 1 + payload[pos]
        if not flags & _HAS_HEADERS:
            return None
        table, _ = decode_table(payload, pos)
    except (ProtocolViolation, IndexError):
        return None
    offset = table.get(OFFSET)
    return offset if isinstance(offset, int) else None


def resumed_after(method: BasicConsume, last_message: bytes | None) -> BasicConsume:
    """The consume that goes on behind ``last_message``; ``method`` itself without one."""
    offset = offset_of(last_message) if last_message is not None else None
    if offset is None:
        return method
    return replace(method, arguments={**(method.arguments or {}), OFFSET: offset + 1})
