"""What `warrener plan show --json` and `what-if --json` print: the outlook as plain values.

What has no bound (a load that breaks nothing, the response time of a queue that grows) is null.
"""

import math
from collections.abc import Sequence

import msgspec

from warrener.facts.ids import NodeName
from warrener.planner import words
from warrener.planner.advice import Advice, TypeLine
from warrener.planner.balancing import Balancing
from warrener.planner.costs import CostsFrom
from warrener.planner.outlook import Outlook, QueueOutlook
from warrener.planner.resources import Part, PartKind


class PartLine(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be used up: cores (host, node, balancer) or messages/s (queue,
    consumers). ``breaks_at``: times the present load."""

    kind: PartKind
    name: str
    capacity: float
    idle: float
    by_load: float
    utilisation: float
    breaks_at: float | None
    error: float
    at_least: bool


class StallLine(msgspec.Struct, frozen=True, kw_only=True):
    """Mean ``wait`` in s for the end of a stall, over all messages; ``share`` of them that come in
    one; ``adds``: s of R because of it, None where the queue grows."""

    wait: float
    share: float
    adds: float | None


class QueueLine(msgspec.Struct, frozen=True, kw_only=True):
    """One queue: lambda, mu of its own and of its consumers together, in messages/s, rho of the
    busier of the two; R in s, L in messages, each predicted and measured. ``stalls``: of its
    broker, as its publishers met them; None: not seen."""

    vhost: str
    name: str
    type: str
    leader: NodeName | None
    arrival_rate: float
    service_rate: float | None
    consumers: int
    consumers_rate: float | None
    utilisation: float | None
    response_time: float | None
    response_time_measured: float | None
    length: float | None
    length_measured: float | None
    grows: float
    memory_alarm_in: float | None
    stalls: StallLine | None = None


class NodeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One node: messages/s through the queues that it leads, cores predicted and measured."""

    node: NodeName
    host: str
    running: bool
    leads: float
    cpu: float | None
    cpu_measured: float | None
    utilisation: float | None


class LossLine(msgspec.Struct, frozen=True, kw_only=True):
    """Without this node: times the present load that the others take, the messages/s that makes,
    and the queues that stop."""

    node: NodeName
    breaks_at: float | None
    capacity: float | None
    first: str
    stopped: Sequence[str]


class CutLine(msgspec.Struct, frozen=True, kw_only=True):
    """An edge of the min-cut; ``gain``: messages/s more if only this limit weren't there."""

    kind: str
    source: str
    target: str
    capacity: float
    gain: float | None


class OutlookDocument(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``capacity``: messages/s published when the first part breaks, in today's
    proportions; ``max_flow``: if every queue got as much as it takes."""

    published: float
    capacity: float | None
    breaks_at: float | None
    first: str
    remedy: str
    max_flow: float | None
    cut: Sequence[CutLine]
    parts: Sequence[PartLine]
    nodes: Sequence[NodeLine]
    queues: Sequence[QueueLine]
    without: Sequence[LossLine]
    warnings: Sequence[str]
    costs_from: CostsFrom


class WhatIfDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Both, and the queues that nobody serves any more."""

    before: OutlookDocument
    after: OutlookDocument
    stopped: Sequence[str]


class AdviceDocument(msgspec.Struct, frozen=True):
    """What to change, urgent things first, the types of queues side by side, and the balancer's
    policies and weights."""

    pieces: Sequence[Advice]
    types: Sequence[TypeLine]
    warnings: Sequence[str]
    balancing: Balancing


def document(
    outlook: Outlook,
    warnings: Sequence[str] = (),
    costs_from: CostsFrom = CostsFrom.MEASURED,
) -> OutlookDocument:
    """The outlook as what is printed."""
    first = outlook.reckoned.first
    gains = {worth.edge[:2]: worth.gain for worth in outlook.worths}
    flow = outlook.flow
    return OutlookDocument(
        published=outlook.load.published,
        capacity=finite(outlook.capacity),
        breaks_at=finite(outlook.reckoned.breaks_at),
        first=words.named(first) if first is not None else "",
        remedy=words.remedy(first, outlook.load) if first is not None else "",
        max_flow=finite(flow.value) if flow is not None else None,
        cut=[
            CutLine(
                kind=edge.what,
                source=edge.source,
                target=edge.target,
                capacity=edge.capacity,
                gain=gains.get(edge[:2]),
            )
            for edge in (flow.cut if flow is not None else ())
        ],
        parts=[_part(part) for part in outlook.reckoned.parts],
        nodes=_nodes(outlook),
        queues=[_queue(queue) for queue in outlook.queues],
        without=[
            LossLine(
                node=loss.node,
                breaks_at=finite(loss.breaks_at),
                capacity=finite(loss.capacity),
                first=words.named(loss.first) if loss.first is not None else "",
                stopped=loss.stopped,
            )
            for loss in outlook.losses
        ],
        warnings=[*warnings, *(f"{what} isn't known" for what in outlook.reckoned.unknown)],
        costs_from=costs_from,
    )


def finite(value: float | None) -> float | None:
    """None for what has no bound."""
    return value if value is not None and math.isfinite(value) else None


def _part(part: Part) -> PartLine:
    return PartLine(
        kind=part.kind,
        name=part.name,
        capacity=part.capacity,
        idle=part.idle,
        by_load=part.by_load,
        utilisation=part.utilisation,
        breaks_at=finite(part.breaks_at),
        error=part.error,
        at_least=part.at_least,
    )


def _nodes(outlook: Outlook) -> list[NodeLine]:
    lines = []
    for node in outlook.load.nodes:
        part = outlook.reckoned.node(node.name)
        leads = sum(q.load.published for q in outlook.queues if q.load.leader == node.name)
        lines.append(
            NodeLine(
                node=node.name,
                host=node.host,
                running=node.running,
                leads=leads,
                cpu=part.idle + part.by_load if part is not None else None,
                cpu_measured=node.cpu,
                utilisation=part.utilisation if part is not None else None,
            )
        )
    return lines


def _queue(queue: QueueOutlook) -> QueueLine:
    load = queue.load
    return QueueLine(
        vhost=load.vhost,
        name=load.name,
        type=load.type,
        leader=load.leader,
        arrival_rate=load.published,
        service_rate=queue.process.service_rate if queue.process is not None else None,
        consumers=load.consumers,
        consumers_rate=queue.consumers_rate,
        utilisation=queue.utilisation,
        response_time=finite(queue.response_time),
        response_time_measured=queue.measured_response_time,
        length=finite(queue.length),
        length_measured=queue.measured_length,
        grows=queue.grows,
        memory_alarm_in=queue.memory_alarm_in,
        stalls=_stalls(queue),
    )


def _stalls(queue: QueueOutlook) -> StallLine | None:
    seen = queue.load.stalls
    if seen is None:
        return None
    return StallLine(wait=seen.wait, share=seen.share, adds=finite(queue.stalled))
