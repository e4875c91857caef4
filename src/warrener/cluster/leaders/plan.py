"""Which leaders to move, so that the load is spread and few are moved. Pure.

Words
    load      what a queue costs the node that leads it, in operations a second (see ``rates``)
    follower  what it costs each other node that has a replica; it stays when the leader moves
    shift     load - follower: what moves with the leader
    base      what a node carries whoever leads: followers, and queues that can't be moved
    share     what a node should carry. Base is a given, so the shifts are poured over the nodes
              like water over an uneven floor (by weight); a queue that alone is more than what
              fits anywhere counts as base of its node
    limit     share + tolerance * mean; a node over it is busy

Nothing is done while no node is more than ``TOLERANCE`` over its share. If one is, the fewest moves
that bring all within ``TOLERANCE`` are looked for, and those that bring them within ``AIM``; the
latter are taken where that costs one move more, or half as many: a plan that ends exactly at the
limit would be followed by another one as soon as the rates change a little.

To find the fewest moves is bin packing, so ``search`` is a search, not a proof. Held against brute
force by property tests: for a handful of queues the fewest but for the price of the margin. The
numbers of leaders only decide between moves that are equal by load; idle queues are never moved.

Nodes that may not receive (down, drained, alarmed, unfit) are left alone: they don't count in the
mean, they get nothing, and what they lead stays.
"""

from collections.abc import Sequence
from typing import Final

from warrener.cluster.leaders.problem import Problem
from warrener.cluster.leaders.search import few_moves
from warrener.cluster.leaders.terms import (
    AIM,
    LEAST_LOAD,
    MAX_MOVES,
    TOLERANCE,
    Plan,
    PlanNode,
    PlanQueue,
)

_ROUNDS: Final = 4
"""Searches one after the other, until one finds nothing more; mostly the second."""


def plan(
    nodes: Sequence[PlanNode],
    queues: Sequence[PlanQueue],
    *,
    max_moves: int = MAX_MOVES,
    least_load: float = LEAST_LOAD,
) -> Plan:
    """The moves to make, the most useful first; each prefix of them leaves no node busier than the
    busiest was. 5,000 queues on 9 nodes take 0.01 to
    0.5 s, by how many have to move."""
    problem = Problem(nodes, queues, least_load)
    leaders = problem.leaders
    for _ in range(_ROUNDS):
        start = problem.under(leaders)
        if not start.busy(leaders, TOLERANCE):
            break
        found = _fewest(start)
        if found == leaders:
            break
        leaders = found
    moves = problem.in_order(leaders)
    capped = len(moves) > max_moves
    moves = problem.not_worse(moves[:max_moves])
    return problem.told(moves, capped=capped)


def _fewest(problem: Problem) -> list[int]:
    """Who leads what after the moves."""
    found = few_moves(problem, TOLERANCE)
    if problem.busy(found, TOLERANCE):
        # As far as it goes. The narrower aim may have gone further.
        further = few_moves(problem, AIM)
        return min((found, further), key=lambda one: problem.excess(one, TOLERANCE))
    few = problem.number(found)
    closer = few_moves(problem, AIM)
    affordable = problem.number(closer) <= few + max(1, few // 2)
    return closer if affordable and not problem.busy(closer, AIM) else found
