"""How sessions should be spread over nodes, and which have to move for it."""

from collections.abc import Mapping

from warrener.facts.ids import NodeName


def skew(counts: Mapping[NodeName, int]) -> float:
    """The fullest node's sessions over the mean; 1 is even, and so is nothing at all."""
    total = sum(counts.values())
    return max(counts.values()) * len(counts) / total if total else 1.0


def even_shares(fixed: Mapping[NodeName, int], free: int) -> dict[NodeName, int]:
    """Sessions per node when ``free`` ones are added to ``fixed`` so that the fullest node has as
    few as possible. Nodes that come first get the remainder.

    Fixed sessions can't be moved; a node that has more of them than its share gets nothing.
    """
    shares = dict(fixed)
    left = free
    while left:
        least = min(shares.values())
        lowest = [node for node, number in shares.items() if number == least]
        above = min((number for number in shares.values() if number > least), default=None)
        room = len(lowest) * (above - least) if above is not None else left
        each, rest = divmod(min(left, room), len(lowest))
        for place, node in enumerate(lowest):
            shares[node] += each + (place < rest)
        left -= min(left, room)
    return shares


def transfers(
    now: Mapping[NodeName, int], wanted: Mapping[NodeName, int]
) -> list[tuple[NodeName, NodeName]]:
    """One (from, to) for each session that has to move, taken in turn from the fullest nodes."""
    surplus = {node: number - wanted[node] for node, number in now.items()}
    moves: list[tuple[NodeName, NodeName]] = []
    while True:
        giver = max(surplus, key=surplus.__getitem__, default=None)
        taker = min(surplus, key=surplus.__getitem__, default=None)
        if giver is None or taker is None or surplus[giver] <= 0 or surplus[taker] >= 0:
            return moves
        moves.append((giver, taker))
        surplus[giver] -= 1
        surplus[taker] += 1
