"""Messages that can be told apart and that show damage.

A body is ``<number>/<size>;`` said again and again up to ``size`` bytes. Whoever reads it knows
which message it is and whether a byte of it is missing, doubled or another's, as would happen if a
frame were lost or put between the frames of another message.
"""

from typing import Final, NewType

MessageNumber = NewType("MessageNumber", int)
"""One message, unique over all publishers of a workload."""

LEAST_SIZE: Final = 40
"""Bytes; a number and a size always fit."""


class Damaged(Exception):
    """A body that isn't what was published."""


def body_of(number: MessageNumber, size: int) -> bytes:
    """The body of that message. Raises ValueError if ``size`` is under LEAST_SIZE."""
    if size < LEAST_SIZE:
        raise ValueError(f"a body has at least {LEAST_SIZE} bytes, not {size}")
    text = b"%d/%d;" % (number, size)
    return (text * (size // len(text) + 1))[:size]


def number_of(body: bytes) -> MessageNumber:
    """Which message this is. Raises Damaged if it isn't exactly as it was made."""
    head = body[:LEAST_SIZE].partition(b";")[0]
    number, slash, size = head.partition(b"/")
    if not (slash and number.isdigit() and size.isdigit()):
        raise Damaged(f"{len(body)} bytes that begin with {body[:LEAST_SIZE]!r}")
    found = MessageNumber(int(number))
    if int(size) != len(body):
        raise Damaged(f"message {found}: {len(body)} bytes instead of {int(size)}")
    if body != body_of(found, len(body)):
        raise Damaged(f"message {found}: {len(body)} bytes, not all of them its own")
    return found
