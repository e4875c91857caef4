"""Policies that look at how many sessions a node has: leastconn, its weighted form, and p2c.

They count sessions, not work: a session that idles weighs as much as one that publishes all day.
A node that comes back empty gets all new sessions until it has caught up, as with any balancer of
this kind; p2c softens that, since it compares two nodes taken by chance.
"""

from collections.abc import Sequence

from warrener.balancer.core.policies.api import Candidate, Randomness, pick_weighted
from warrener.balancer.core.policies.rotation import Turn
from warrener.facts.ids import NodeName


class LeastConn:
    """The node with the fewest sessions; nodes that tie take turns."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = Turn()

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        fewest = min(candidate.sessions for candidate in candidates)
        return self._turn.take([c.name for c in candidates if c.sessions == fewest])


class WeightedLeastConn:
    """The node that would have the fewest sessions per weight with this one added."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = Turn()

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        best = candidates[0]
        ties = [best.name]
        for candidate in candidates[1:]:
            # (sessions + 1) / weight, compared without division so that ties are exact
            left = (candidate.sessions + 1) * best.weight
            right = (best.sessions + 1) * candidate.weight
            if left < right:
                best, ties = candidate, [candidate.name]
            elif left == right:
                ties.append(candidate.name)
        return self._turn.take(ties)


class PowerOfTwo:
    """Two nodes by chance (in proportion to weights); the one with fewer sessions per weight.

    Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): nearly as even as
    leastconn, and several balancers that don't know of each other don't all run to the same node.
    """

    __slots__ = ("_randomness",)

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def choose(self, candidates: Sequence[Candidate], source: str) -> NodeName:
        """See ``Policy.choose``."""
        first = pick_weighted(candidates, self._randomness)
        others = [candidate for candidate in candidates if candidate.name != first.name]
        if not others:
            return first.name
        second = pick_weighted(others, self._randomness)
        if (second.sessions + 1) * first.weight < (first.sessions + 1) * second.weight:
            return second.name
        return first.name
