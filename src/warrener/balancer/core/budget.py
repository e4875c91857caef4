"""What the sessions of a balancer have in common: a budget of memory, and a tally."""

from collections import Counter
from collections.abc import Callable

from warrener.balancer.core.tally import LATENCIES, NodeTally, Observations
from warrener.balancer.core.worktime import WorkBook
from warrener.facts.ids import NodeName
from warrener.facts.reasons import MoveReason


class Budget:
    """Bytes that all sessions' journals keep, of at most ``limit``; and what became of moves.

    ``used`` follows the journals by half a second. ``clock`` is a finer one than the shell's, for
    what takes less than a millisecond; None: there is none.
    """

    __slots__ = (
        "clock",
        "confirms",
        "forced",
        "handshakes",
        "limit",
        "moves",
        "moves_failed",
        "nodes",
        "replayed",
        "used",
        "work",
    )

    def __init__(self, limit: int, clock: Callable[[], float] | None = None) -> None:
        self.limit = limit
        self.used = 0
        self.moves: Counter[MoveReason] = Counter()  # channels moved
        self.moves_failed = 0  # planned ones that came to nothing
        self.forced = 0  # drained although the client hadn't settled everything
        self.replayed = 0  # publishes sent again
        self.nodes: dict[NodeName, NodeTally] = {}
        self.handshakes = Observations(LATENCIES)
        self.confirms = Observations(LATENCIES)
        self.clock = clock
        self.work = WorkBook()  # what consumers did

    @property
    def exceeded(self) -> bool:
        """Whether sessions with more than a little must wait."""
        return self.used > self.limit

    def tally(self, node: NodeName) -> NodeTally:
        """What goes through links to a node is added to this."""
        found = self.nodes.get(node)
        if found is None:
            found = self.nodes[node] = NodeTally()
        return found

    def change(self, by: int) -> None:
        """A journal grew, or shrank."""
        self.used += by
