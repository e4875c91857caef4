"""Policies that take turns or throw dice: round robin, smooth weighted round robin, random."""

from collections.abc import Sequence

from warrener.balancer.core.policies.api import Candidate, Randomness, pick_weighted
from warrener.facts.ids import NodeName


class Turn:
    """Whose turn it is, when nodes come and go.

    Remembers when each node was last chosen and prefers the one that has waited longest. With a
    fixed set of nodes this is plain round robin; a node that was away comes in at once, and the
    others keep their order.
    """

    __slots__ = ("_clock", "_last")

    def __init__(self) -> None:
        self._clock = 0
        self._last: dict[NodeName, int] = {}

    def take(self, names: Sequence[NodeName]) -> NodeName:
        """The name among ``names`` that has waited longest; its turn is over then."""
        chosen = min(names, key=lambda name: self._last.get(name, 0))
        self._clock += 1
        self._last[chosen] = self._clock
        return chosen


class RoundRobin:
    """Every node in turn, whatever its weight."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = Turn()

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        return self._turn.take([candidate.name for candidate in candidates])


class SmoothWeighted:
    """Round robin in proportion to the weights, without bursts.

    At each choice every node's credit grows by its weight; the richest is chosen and pays the sum
    of all weights. With weights 5, 1, 1 the order is a a b a c a a, not a a a a a b c. The
    algorithm is the one nginx made known (Igor Sysoev, 2012). After k choices from a fixed set no
    node is off its share by 1 or more when there are two nodes, by n - 1 in general.

    A node that isn't a candidate neither gains nor pays; one that comes back starts at zero, so
    that it isn't flooded with what it missed.
    """

    __slots__ = ("_credit",)

    def __init__(self) -> None:
        self._credit: dict[NodeName, int] = {}

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        old = self._credit
        credit = {c.name: old.get(c.name, 0) + c.weight for c in candidates}
        chosen = max(candidates, key=lambda candidate: credit[candidate.name]).name
        credit[chosen] -= sum(candidate.weight for candidate in candidates)
        self._credit = credit
        return chosen


class RandomChoice:
    """By chance, in proportion to the weights."""

    __slots__ = ("_randomness",)

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        return pick_weighted(candidates, self._randomness).name
