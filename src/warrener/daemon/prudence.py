"""Whether a node can be taken out of service without doing harm. Pure.

Two things make it unwise: no other fit node is left for its sessions, or a replicated queue would
be left with half of its replicas or fewer, which stops it. A replica counts as there while its node
runs, is not in maintenance mode (that stops the replicas of quorum queues) and is said to be
online.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from warrener.facts.ids import NodeName, short_name
from warrener.facts.snapshot import ClusterSnapshot, QueueView

NAMED = 5
"""Queues named in a refusal; the rest is a number."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One node as the driver, the cluster and the balancer see it. ``why_unfit`` is empty if new
    sessions may go there; ``leaving``: something is being done to it that takes it out."""

    name: NodeName
    runs: bool
    drained: bool
    leaving: bool
    why_unfit: str

    @property
    def away(self) -> str:
        """Why its replicas don't count; empty if they do."""
        if not self.runs:
            return "doesn't run"
        if self.drained:
            return "is drained"
        return "is being taken out" if self.leaving else ""


@dataclass(frozen=True, slots=True)
class Unwise:
    """Why a node should stay. ``passes``: nothing is amiss but replicas that aren't online, on
    nodes that run. They come by themselves after a restart, and RabbitMQ 3.10 tells it some seconds
    late."""

    why: str
    passes: bool = False


def why_unwise(
    node: NodeName,
    standings: Sequence[Standing],
    snapshot: ClusterSnapshot | None,
    kinds: Collection[str],
) -> Unwise | None:
    """Why ``node`` should stay; None if it may go. ``kinds`` are the types of queues that lose the
    node's replicas; ``snapshot`` is None if nobody told."""
    others = [standing for standing in standings if standing.name != node]
    if not any(not other.why_unfit and not other.away for other in others):
        states = "; ".join(
            f"{short_name(other.name)} {other.away or other.why_unfit}" for other in others
        )
        return Unwise(f"no other node could take its clients ({states or 'it is the only one'})")
    if snapshot is None:
        return Unwise("the cluster doesn't tell which queues would lose their majority")
    away = {other.name for other in others if other.away}
    concerned = [queue for queue in snapshot.queues if queue.type in kinds]
    lost = [queue for queue in concerned if _loses(queue, node, away, queue.online)]
    if not lost:
        return None
    reasons = [f"{short_name(o.name)} {o.away}" for o in others if o.away]
    offline = {name for queue in lost for name in _offline(queue)} - away
    if offline:
        where = " and ".join(map(short_name, sorted(offline)))
        reasons.append(f"replicas on {where} are not online")
    because = " and ".join(reasons)
    return Unwise(
        f"{named(lost)} would lose the majority" + (f", as {because}" if because else ""),
        passes=not any(_loses(queue, node, away, ()) for queue in lost),
    )


def _loses(
    queue: QueueView, node: NodeName, away: Collection[NodeName], online: Collection[NodeName]
) -> bool:
    """Whether half of its replicas or fewer would be left. ``online``: empty if nobody tells, then
    all are taken to be."""
    if node not in queue.members:
        return False
    there = [name for name in online or queue.members if name not in away]
    return node in there and 2 * (len(there) - 1) <= len(queue.members)


def _offline(queue: QueueView) -> Sequence[NodeName]:
    return [name for name in queue.members if queue.online and name not in queue.online]


def named(queues: Sequence[QueueView]) -> str:
    """So many queues of which kinds, the first of them by name."""
    kinds = "/".join(sorted({queue.type for queue in queues}))
    names = [
        queue.name if queue.vhost == "/" else f"{queue.vhost}/{queue.name}" for queue in queues
    ]
    shown = ", ".join(names[:NAMED]) + (
        f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    )
    return f"{len(names)} {kinds} queue{'s' if len(names) > 1 else ''} ({shown})"


def replicas_missing(node: NodeName, queues: Iterable[QueueView]) -> list[str]:
    """The replicated queues that have a replica on the node which isn't online."""
    return [queue.name for queue in queues if node in _offline(queue)]
