"""What the sessions of a balancer have in common: a budget of memory, and a tally."""

from collections import Counter

from warrener.balancer.core.worktime import WorkBook
from warrener.facts.reasons import MoveReason


class Budget:
    """Bytes that all sessions' journals keep, of at most ``limit``; and what became of moves.

    ``used`` follows the journals by half a second.
    """

    __slots__ = ("forced", "limit", "moves", "moves_failed", "replayed", "used", "work")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.moves: Counter[MoveReason] = Counter()  # channels moved
        self.moves_failed = 0  # planned ones that came to nothing
        self.forced = 0  # drained although the client hadn't settled everything
        self.replayed = 0  # publishes sent again
        self.work = WorkBook()  # what consumers did

    @property
    def exceeded(self) -> bool:
        """Whether sessions with more than a little must wait."""
        return self.used > self.limit

    def change(self, by: int) -> None:
        """A journal grew, or shrank."""
        self.used += by
