"""A cluster's limits as a network of flows; see ``models.flow``. Pure.

    publishers -> balancer -> host -> node -> queue -> consumers -> acked

Each part lets through as much as it would if what goes through it now grew until it is used up. A
message that comes in at another node than its queue's leader's costs CPU at both; the network has
it at the leader's, with what it costs the others in their limits.
"""

import math
from collections.abc import Sequence
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.models.flow import Edge
from warrener.planner.load import Load
from warrener.planner.resources import PartKind, Reckoned

SOURCE: Final = "publishers"
SINK: Final = "acked"


def network(load: Load, reckoned: Reckoned) -> Sequence[Edge]:
    """Empty without traffic.
    ``what`` of an edge is the ``PartKind``."""
    edges: list[Edge] = []
    nodes = {node.name: node for node in load.running()}
    carrying = [queue for queue in load.queues if queue.published > 0 and queue.leader in nodes]
    if not carrying:
        return edges

    parts = {(part.kind, part.name): part for part in reckoned.parts}

    def limited(kind: PartKind, name: str, flow: float) -> float:
        part = parts.get((kind, name))
        return flow * part.breaks_at if part is not None else math.inf

    total = sum(queue.published for queue in carrying)
    edges.append(
        Edge(SOURCE, "balancer", limited(PartKind.BALANCER, "balancer", total), PartKind.BALANCER)
    )
    led: dict[NodeName, float] = dict.fromkeys(nodes, 0.0)
    for queue in carrying:
        assert queue.leader is not None
        led[queue.leader] += queue.published
    for host in load.hosts:
        there = [node for node in nodes.values() if node.host == host.name]
        flow = sum(led[node.name] for node in there)
        if flow <= 0:
            continue
        edges.append(
            Edge(
                "balancer",
                f"host {host.name}",
                limited(PartKind.HOST, host.name, flow),
                PartKind.HOST,
            )
        )
        for one in there:
            if led[one.name] <= 0:
                continue  # nothing goes that way, and the load may cost it nothing either
            capacity = limited(PartKind.NODE, short_name(one.name), led[one.name])
            edges.append(Edge(f"host {host.name}", f"node {one.name}", capacity, PartKind.NODE))
    for queue in carrying:
        name = queue.full_name
        own = limited(PartKind.QUEUE, name, queue.published)
        taken = limited(PartKind.CONSUMERS, name, queue.published)
        edges.append(Edge(f"node {queue.leader}", f"queue {name}", own, PartKind.QUEUE))
        edges.append(Edge(f"queue {name}", SINK, taken, PartKind.CONSUMERS))
    return edges
