"""A message whose frames come one by one: interleaved with other channels', or too large to hold.

One that is small enough is collected and then treated like any other. A larger one is passed on
frame by frame as it comes; while it is, nothing else may be said on its channel.
"""

from warrener.amqp.units import body_size_of


class Assembly:
    """From the method's frame to the last body frame. ``streams`` is None until the header tells
    the size."""

    __slots__ = ("_parts", "_remaining", "method", "streams")

    def __init__(self, method: int, frame: bytes) -> None:
        self.method = method
        self.streams: bool | None = None
        self._parts = [frame]
        self._remaining = 0

    def header(self, frame: bytes, hold: int) -> None:
        """The content header; ``hold`` is the largest body that is collected, in bytes."""
        self._remaining = body_size_of(frame[7:-1]) if len(frame) >= 22 else 0
        self.streams = self._remaining > hold
        self._parts.append(frame)

    def body(self, frame: bytes) -> None:
        """A body frame."""
        self._remaining -= len(frame) - 8
        self._parts.append(frame)

    @property
    def complete(self) -> bool:
        """Whether the last byte is there."""
        return self.streams is not None and self._remaining <= 0

    def take(self) -> bytes:
        """What has been collected since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
