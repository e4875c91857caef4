"""What a policy is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from warrener.facts.ids import NodeName


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fit node. ``weight`` is 1 to 1000, ``sessions`` how many it has now."""

    name: NodeName
    weight: int
    sessions: int


class Randomness(Protocol):
    """The part of ``random.Random`` that policies use."""

    def random(self) -> float: ...


class Policy(Protocol):
    """Chooses among candidates."""

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """One of ``candidates`` (at least one, in an order that stays the same between calls).

        ``source`` is the client's address without its port.
        """
        ...


def pick_weighted(candidates: Sequence[Candidate], randomness: Randomness) -> Candidate:
    """One candidate, by chance in proportion to the weights."""
    point = randomness.random() * sum(candidate.weight for candidate in candidates)
    for candidate in candidates:
        point -= candidate.weight
        if point < 0:
            return candidate
    return candidates[-1]  # only when rounding ate the last of the weights
