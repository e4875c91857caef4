"""What an outlook says, in words: the part that breaks first, what would help. Pure."""

import math
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.models.flow import Edge
from warrener.planner.load import Load, NodeLoad, QueueLoad
from warrener.planner.outlook import QueueOutlook
from warrener.planner.resources import Part, PartKind, node_cores

BUSY: Final = 0.8
"""The utilisation that consumers are proposed for: above it a queue gets long fast, as
L = rho / (1 - rho)."""

NOTED: Final = 0.1
"""The part of R from which it is said that it comes from stalls."""


def rate(value: float) -> str:
    """Messages a second, as exact as it is worth saying."""
    if not math.isfinite(value):
        return "any number of messages/s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} messages/s"


def span(seconds: float) -> str:
    """A time to come: 40 s, 12 min, 3 h, 5 days."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def cores(number: float) -> str:
    """1 core, 2 cores, 0.5 cores."""
    return f"{number:.3g} core{'' if number == 1 else 's'}"


def named(part: Part) -> str:
    """What it is."""
    match part.kind:
        case PartKind.HOST:
            return f"the CPU of host {part.name} ({cores(part.capacity)})"
        case PartKind.NODE:
            return f"the CPU of node {part.name} ({cores(part.capacity)})"
        case PartKind.BALANCER:
            return "the balancer (one process, one core)"
        case PartKind.QUEUE:
            more = "at least " if part.at_least else ""
            return f"queue {part.name}, whose own limit is {more}{rate(part.capacity)}"
        case PartKind.CONSUMERS:
            return f"the consumers of {part.name} ({rate(part.capacity)} together)"


def cut(edge: Edge) -> str:
    """An edge of the least cut of ``limits.network``."""
    match edge.what:
        case PartKind.BALANCER:
            return "the balancer"
        case PartKind.HOST:
            return f"the CPU of {edge.target}"
        case PartKind.NODE:
            return f"the CPU of node {short_name(NodeName(edge.target.removeprefix('node ')))}"
        case PartKind.CONSUMERS:
            return f"the consumers of {edge.source.removeprefix('queue ')}"
        case _:
            return edge.target


def remedy(part: Part, load: Load) -> str:
    """What would raise this limit."""
    match part.kind:
        case PartKind.HOST:
            there = [node for node in load.running() if node.host == part.name]
            also = [
                what
                for what, host in (
                    ("the balancer", load.balancer_host),
                    ("clients", load.clients_on),
                )
                if host == part.name
            ]
            beside = f" beside {' and '.join(also)}" if also else ""
            if len(there) > 1 or also:
                return (
                    f"more cores, or fewer of those that share it ({len(there)} "
                    f"node{'s' if len(there) > 1 else ''}{beside})"
                )
            return "more cores, or another node on another host"
        case PartKind.NODE:
            node = next((one for one in load.nodes if short_name(one.name) == part.name), None)
            if node is not None and _is_limited(node, load):
                return (
                    "more of its host's cores (its share is limited, as a container's is), leaders "
                    "spread (`warrener leaders balance`), or another node"
                )
            return "spread the leaders (`warrener leaders balance`) or add a node"
        case PartKind.BALANCER:
            return "a second balancer (`warrener up --attach`), with clients on both"
        case PartKind.QUEUE:
            return "split it in two: one queue is one process"
        case PartKind.CONSUMERS:
            queue = next(queue for queue in load.queues if queue.full_name == part.name)
            more = consumers_missing(queue)
            if more > 0:
                return f"{more} consumer{'s' if more > 1 else ''} more"
            return "more consumers, or faster ones"


def _is_limited(node: NodeLoad, load: Load) -> bool:
    return any(
        host.name == node.host and node_cores(node, load) < host.cores for host in load.hosts
    )


def consumers_missing(queue: QueueLoad, factor: float = 1.0) -> int:
    """How many more it takes to be ``BUSY`` at so many times the load; 0 if there are enough or
    nobody knows how long they take."""
    if not queue.service_time:
        return 0
    wanted = math.ceil(queue.published * factor * queue.service_time / BUSY - 1e-9)
    return max(0, wanted - queue.consumers)


def stalls(queue: QueueOutlook) -> str:
    """What a broker that stalls does to a queue; empty if that makes less than ``NOTED`` of R."""
    seen, time = queue.load.stalls, queue.response_time
    if seen is None or time is None or not queue.stalled or queue.stalled < NOTED * time:
        return ""
    if not math.isfinite(time):
        return ""
    return (
        f"{seen.share:.1%} of its messages come while its nodes confirm nothing, for "
        f"{_seconds(seen.length)} at a time: {_seconds(queue.stalled)} of R"
    )


def _seconds(value: float) -> str:
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def growth(queue: QueueOutlook) -> str:
    """How a queue that gets more than is taken goes on; empty if it doesn't grow."""
    if queue.grows <= 0:
        return ""
    text = f"grows by {rate(queue.grows)}"
    if queue.memory_alarm_in is not None:
        text += f", memory alarm in {span(queue.memory_alarm_in)}"
    missing = consumers_missing(queue.load)
    if missing:
        text += f"; {missing} consumer{'s' if missing > 1 else ''} more would keep up"
    return text
