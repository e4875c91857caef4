"""What all sessions of a balancer add to, so that it can be told how much goes where, how long
handshakes and confirms take.

The fast path adds to plain integers of the node that its link leads to, once for a run of messages
and once for a chunk. Confirms are timed of a sample: one publish of a channel at a time, and the
next one a *stride* of publishes later. The stride doubles while samples come fast and halves while
they come slowly, so that each channel, busy or not, gives some few a second at most: timing one
costs two microseconds, and no channel drowns the others.
"""

from bisect import bisect_left
from typing import Final

from warrener.facts.ids import NodeName
from warrener.facts.telemetry import Direction, Distribution, Locality, NodeFigures

STRIDES: Final = (10, 20_000)
"""Publishes from one that is timed to the next: at the least, which is also the first, and at the
most."""

SOON: Final = 0.1
SELDOM: Final = 1.0
"""Seconds from one sample to the next under which the stride doubles, over which it halves."""

LATENCIES: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Seconds. A confirm of an idle quorum queue takes some milliseconds, one across a failover half a
second, one that waits for a node ``outage_timeout``."""

LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def next_stride(stride: int, seconds: float) -> int:
    """After a sample that came so long after the one before."""
    least, most = STRIDES
    if seconds < SOON:
        return min(2 * stride, most)
    return max(stride // 2, least) if seconds > SELDOM else stride


class Observations:
    """A distribution that grows."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, value: float) -> None:
        """Something was observed. A clock that jumped back counts as no time."""
        value = max(value, 0.0)
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def distribution(self) -> Distribution:
        """A frozen view."""
        return Distribution(self._bounds, tuple(self._counts), self._total)


class NodeTally:
    """What went through the links to one node. ``in_*`` and ``out_*`` are messages."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "in_local",
        "in_remote",
        "in_unknown",
        "out_local",
        "out_remote",
        "out_unknown",
    )

    def __init__(self) -> None:
        self.bytes_in = self.bytes_out = 0
        self.in_local = self.in_remote = self.in_unknown = 0
        self.out_local = self.out_remote = self.out_unknown = 0

    def figures(self, node: NodeName, channels: int, links: int) -> NodeFigures:
        """A frozen view."""
        return NodeFigures(
            node=node,
            channels=channels,
            links=links,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            messages=(
                (Direction.IN, Locality.LOCAL, self.in_local),
                (Direction.IN, Locality.REMOTE, self.in_remote),
                (Direction.IN, Locality.UNKNOWN, self.in_unknown),
                (Direction.OUT, Locality.LOCAL, self.out_local),
                (Direction.OUT, Locality.REMOTE, self.out_remote),
                (Direction.OUT, Locality.UNKNOWN, self.out_unknown),
            ),
        )
