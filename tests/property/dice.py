"""Chance that can be had again: every step of a run has its own seed.

A run is a list of seeds. Taking some of them out gives a shorter run in which the other steps still
make the same choices, so a failure is made smaller by leaving steps out.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
_MASK = (1 << 64) - 1


class Dice:
    """A small generator (Knuth's MMIX): ``random.Random`` takes longer to seed than a step runs."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start again."""
        self._state = (seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & _MASK

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _MASK
        return (self._state >> 33) % limit

    def one_in(self, number: int) -> bool:
        """True once in ``number`` times."""
        return self.below(number) == 0

    def choose(self, options: Sequence[T]) -> T:
        """One of ``options``."""
        return options[self.below(len(options))]


def smallest(
    steps: list[int], fails: Callable[[list[int]], bool], *, seconds: float = 20.0
) -> list[int]:
    """Fewer steps of ``steps`` (which fail) that still fail."""
    until = monotonic() + seconds
    size = len(steps) // 2
    while size:
        at = 0
        while at < len(steps):
            shorter = steps[:at] + steps[at + size :]
            if monotonic() > until:
                return steps
            if fails(shorter):
                steps = shorter
            else:
                at += size
        size //= 2
    return steps
