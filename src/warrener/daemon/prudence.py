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


def why_unwise(
    node: NodeName,
    standings: Sequence[Standing],
    snapshot: ClusterSnapshot | None,
    kinds: Collection[str],
) -> str:
    """Why ``node`` should stay; empty if it may go. ``kinds`` are the types of queues that lose the
    node's replicas; ``snapshot`` is None if nobody told."""
    others = [standing for standing in standings if standing.name != node]
    if not any(not other.why_unfit and not other.away for other in others):
        states = "; ".join(
            f"{short_name(other.name)} {other.away or other.why_unfit}" for other in others
        )
        return f"no other node could take its clients ({states or 'it is the only one'})"
    if snapshot is None:
        return "the cluster doesn't tell which queues would lose their majority"
    away = {other.name for other in others if other.away}
    lost = [queue for queue in snapshot.queues if queue.type in kinds and _loses(queue, node, away)]
    if not lost:
        return ""
    because = " and ".join(f"{short_name(o.name)} {o.away}" for o in others if o.away)
    return f"{named(lost)} would lose the majority" + (f", as {because}" if because else "")


def _loses(queue: QueueView, node: NodeName, away: Collection[NodeName]) -> bool:
    """Whether half of its replicas or fewer would be left."""
    if node not in queue.members:
        return False
    there = [name for name in queue.online or queue.members if name not in away]
    return node in there and 2 * (len(there) - 1) <= len(queue.members)


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
    return [
        queue.name
        for queue in queues
        if node in queue.members and queue.online and node not in queue.online
    ]
