"""Where the replicas of quorum queues and streams go when a node joins or leaves. Pure.

RabbitMQ leaves them where they were declared. After a join its own ``grow`` either gives the new
node a replica of every queue, which makes each message dearer for all of them, or nothing; before
a node is forgotten, ``shrink`` takes replicas away and puts none elsewhere. Here a queue keeps its
number of replicas, and nodes get even shares:

    join    queues with fewer than ``ENOUGH`` replicas get one on the new node; then the new node
            takes replicas over from the nodes that have most, until it has its share
    leave   each replica on the leaving node gets a successor on the node that has fewest; where
            every other node has one already, the queue is left with one less

A replica is always added before one is taken away, and a leader's own replica is only moved when
its node leaves. The order of steps is that of the queues, so that what was done is done when it is
interrupted, and the same plan made anew is the rest.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from warrener.facts.ids import NodeName
from warrener.facts.replicas import GOING, ReplicaMove, Spread
from warrener.facts.snapshot import QueueView

ENOUGH: Final = 3
"""Replicas that a queue should have where there are nodes for them: it then survives the loss of
one node. RabbitMQ declares queues with as many."""

_PASSES: Final = ("noproc", "cluster_change_not_permitted")
"""What RabbitMQ answers while a stream's writer is started anew (it is at each change of its
replicas), and while a quorum queue hasn't agreed on the change before."""

REPLICATED: Final = frozenset({"quorum", "stream"})


def plan_join(
    queues: Iterable[QueueView],
    nodes: Collection[NodeName],
    new: NodeName,
    spread: Spread = Spread.SHARE,
) -> tuple[ReplicaMove, ...]:
    """What the new node gets. ``nodes`` are those that may hold replicas, the new one included."""
    if spread is Spread.NONE:
        return ()
    replicated = _replicated(queues)
    enough = len(nodes) if spread is Spread.ALL else min(ENOUGH, len(nodes))
    moves = {}
    held: Counter[NodeName] = Counter({node: 0 for node in nodes})
    for queue in replicated:
        held.update(node for node in queue.members if node in held)
        if new not in queue.members and len(queue.members) < enough:
            moves[_key(queue)] = ReplicaMove(queue.vhost, queue.name, queue.type, to=new)
            held[new] += 1
    if spread is Spread.SHARE:
        share = sum(held.values()) // len(nodes)
        for queue in replicated:
            if held[new] >= share:
                break
            if new in queue.members or _key(queue) in moves:
                continue
            donors = [
                node
                for node in queue.members
                if node in held and node != queue.leader and held[node] > share
            ]
            if not donors:
                continue
            donor = max(donors, key=lambda node: (held[node], node))
            moves[_key(queue)] = ReplicaMove(
                queue.vhost, queue.name, queue.type, to=new, away=donor
            )
            held[new] += 1
            held[donor] -= 1
    return tuple(moves[_key(queue)] for queue in replicated if _key(queue) in moves)


def plan_leave(
    queues: Iterable[QueueView], nodes: Collection[NodeName], leaving: NodeName
) -> tuple[ReplicaMove, ...]:
    """What the leaving node hands over. ``nodes`` are those that may hold replicas afterwards."""
    others = [node for node in nodes if node != leaving]
    replicated = _replicated(queues)
    held: Counter[NodeName] = Counter({node: 0 for node in others})
    for queue in replicated:
        held.update(node for node in queue.members if node in held)
    moves = []
    for queue in replicated:
        if leaving not in queue.members:
            continue
        able = [node for node in others if node not in queue.members]
        to = min(able, key=lambda node: (held[node], node), default=None)
        if to is not None:
            held[to] += 1
        moves.append(ReplicaMove(queue.vhost, queue.name, queue.type, to=to, away=leaving))
    return tuple(moves)


def plan_restore(
    lost: Iterable[tuple[str, str, str]], queues: Iterable[QueueView], node: NodeName
) -> tuple[ReplicaMove, ...]:
    """Replicas that a node had before it was made anew: ``lost`` are (vhost, name, type). Those
    that it has, and queues that are gone, are left out."""
    there = {_key(queue): queue for queue in _replicated(queues)}
    found = []
    for vhost, name, kind in lost:
        queue = there.get((vhost, name))
        if queue is not None and queue.type == kind and node not in queue.members:
            found.append(ReplicaMove(vhost, name, kind, to=node))
    return tuple(found)


def plan_return(
    lost: Iterable[tuple[str, str, str]], queues: Iterable[QueueView], node: NodeName
) -> tuple[ReplicaMove, ...]:
    """Replicas of streams that a node had before it was made anew and is still listed with: who
    forgets a node doesn't forget those, and they come back by themselves. ``lost`` as for
    ``plan_restore``."""
    lost = set(lost)
    return tuple(
        ReplicaMove(queue.vhost, queue.name, queue.type, to=node)
        for queue in queues
        if queue.type == "stream"
        and node in queue.members
        and (queue.vhost, queue.name, queue.type) in lost
    )


def thinned(
    queues: Iterable[QueueView], moves: Iterable[ReplicaMove], at_least: int = ENOUGH
) -> list[QueueView]:
    """The queues that moves leave with fewer replicas than they have, and than ``at_least``."""
    there = {_key(queue): queue for queue in queues}
    found = []
    for move in moves:
        queue = there[move.vhost, move.queue]
        if move.to is None and move.away is not None and len(queue.members) - 1 < at_least:
            found.append(queue)
    return found


def held_alone(queues: Iterable[QueueView], node: NodeName) -> list[QueueView]:
    """What is lost with the node: classic queues that live there, and replicated ones that have no
    other replica. Exclusive queues aren't counted: they end with their connection."""
    return [
        queue
        for queue in queues
        if not queue.exclusive
        and (
            (queue.type not in REPLICATED and queue.leader == node)
            or (queue.type in REPLICATED and tuple(queue.members) == (node,))
        )
    ]


def passes(why: str) -> bool:
    """Whether a replica that wasn't added for this reason can be in a moment."""
    return why == GOING or any(word in why for word in _PASSES)


def _replicated(queues: Iterable[QueueView]) -> Sequence[QueueView]:
    return [queue for queue in queues if queue.type in REPLICATED and queue.members]


def _key(queue: QueueView) -> tuple[str, str]:
    return queue.vhost, queue.name
