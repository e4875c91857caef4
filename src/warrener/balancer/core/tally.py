"""What all sessions of a balancer add to, so that it can be told how much goes where, how long
handshakes and confirms take.

The fast path adds to plain integers of the node that its link leads to, once for a run of messages
and once for a chunk. Times are taken of a sample: a publish of each channel is timed, and the next
one at the earliest ``SAMPLE_EVERY`` publishes later, so that a busy channel doesn't drown the
others and no channel asks for the time more than that.
"""

from bisect import bisect_left
from typing import Final

from warrener.facts.ids import NodeName
from warrener.facts.telemetry import Direction, Distribution, Locality, NodeFigures

SAMPLE_EVERY: Final = 50
"""Publishes. Timing one costs a microsecond, so this is 20 ns for each; a channel with 1,000
messages a second still gives up to 20 times a second."""

LATENCIES: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Seconds. A confirm of an idle quorum queue takes some milliseconds, one across a failover half a
second, one that waits for a node ``outage_timeout``."""

LAGS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


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
