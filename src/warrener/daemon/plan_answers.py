"""What the planner says, as the page shows it: of the load as it is, and what if. Pure.

``Reckoning`` keeps the load and what was worked out of it, so that a question costs what is
different only. It is made in a process of its own (``plan_worker``).
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from warrener.dashboard.plan import (
    Answer,
    LossSide,
    Mark,
    NodeSide,
    PartSide,
    Plan,
    Question,
    QueueFigures,
    QueuePair,
    QueueSide,
    Side,
)
from warrener.facts.ids import NodeName, short_name
from warrener.planner import question as questions
from warrener.planner import words
from warrener.planner.costs import Calibration
from warrener.planner.load import Load
from warrener.planner.outlook import Loss, Outlook, QueueOutlook, losses_of, outlook
from warrener.planner.resources import Part, PartKind, node_cores

MOST_QUEUES: Final = 40
"""The busiest: as many as somebody reads. ``warrener plan show --limit`` has more."""

MOST_PARTS: Final = 8
MOST_NAMES: Final = 4
MOST_GROWING: Final = 8

UNKNOWN: Final = Calibration(
    taken_at=0.0,
    seconds=0.0,
    cluster="",
    version="",
    hosts={},
    cores={},
    costs={},
    limits={},
    idle={},
)
"""Nothing of what messages cost: what is left is what was measured, and consumers."""


class Reckoning:
    """One load and what messages cost (None: nobody knows), and answers about it."""

    def __init__(self, load: Load, calibration: Calibration | None, number: int) -> None:
        self._load = load
        self._costs = calibration or UNKNOWN
        self._calibrated = calibration is not None
        self._number = number
        self._now = outlook(load, self._costs, losses=False, with_worths=False)
        self._losses: tuple[Loss, ...] | None = None
        self._before = self._side(self._now, None, measured=True)

    def plan(
        self, *, at: float, window: float, why_uncalibrated: str = "", by_history: bool = False
    ) -> Plan:
        """What all views may show."""
        now = self._now
        first = now.reckoned.first
        cut = now.flow.cut if now.flow is not None else ()
        rhos: Mapping[str, float] = {}
        if self._calibrated:
            parts = (part for part in now.reckoned.parts if part.kind is PartKind.NODE)
            rhos = {part.name: part.utilisation for part in parts}
        return Plan(
            number=self._number,
            at=at,
            window=window,
            calibrated=self._calibrated,
            taken_at=self._costs.taken_at if self._calibrated else None,
            by_history=by_history,
            first=words.named(first) if first is not None else "",
            breaks_at=_finite(now.reckoned.breaks_at),
            remedy=words.remedy(first, now.load) if first is not None else "",
            carries=_finite(now.capacity),
            max_flow=_finite(now.flow.value) if now.flow is not None else None,
            cut=[words.cut(edge) for edge in cut[:MOST_NAMES]],
            cut_total=len(cut),
            marks=_marks(now),
            node_rho=rhos,
            queues=[
                QueueFigures(
                    vhost=one.load.vhost,
                    name=one.load.name,
                    rho=one.utilisation,
                    time=_finite(one.response_time),
                    length=_finite(one.length),
                    grows=one.grows > 0,
                    measured_time=one.measured_response_time,
                    measured_length=one.measured_length,
                )
                for one in now.queues
            ],
            why_uncalibrated=why_uncalibrated,
        )

    def answer(self, asked: Question) -> Answer:
        """WrongInput for queues and nodes that there aren't."""
        then, text, stopped = None, "", []
        if asked.changes:
            what = _what_if(asked)
            shared = len(self._load.hosts) == 1 and len(self._load.nodes) > 1
            load = questions.asked(self._load, what, same_host=shared)
            then = outlook(load, self._costs, losses=asked.losses, with_worths=False)
            left = {queue.full_name for queue in load.queues}
            stopped = [one.full_name for one in self._load.queues if one.full_name not in left]
            text = questions.words(what)
        losses = None
        if asked.losses:
            if self._losses is None:
                self._losses = losses_of(self._load, self._costs)
            losses = [_loss(loss) for loss in self._losses]
        pairs, active = self._pairs(then, asked.queue)
        warnings = [*self._load.warnings, *self._costs.warnings]
        if self._calibrated:
            unknown = self._now.reckoned.unknown
            unknown += then.reckoned.unknown if then is not None else ()
            warnings += dict.fromkeys(f"{what} isn't known" for what in unknown)
        return Answer(
            number=self._number,
            calibrated=self._calibrated,
            asked=text,
            before=msgspec.structs.replace(self._before, losses=losses),
            after=(
                self._side(then, then.losses if asked.losses else None, measured=False)
                if then is not None
                else None
            ),
            queues=pairs,
            queues_total=len(self._load.queues),
            queues_active=active,
            stopped=stopped[:MOST_GROWING],
            stopped_total=len(stopped),
            warnings=warnings,
        )

    def _pairs(self, then: Outlook | None, chosen: str) -> tuple[list[QueuePair], int]:
        """The busiest (after, if something changes), with the one that was chosen."""
        after = {one.load.full_name: one for one in then.queues} if then is not None else {}
        active = [
            (one, after.get(one.load.full_name))
            for one in self._now.queues
            if one.load.published > 0 or one.measured_length
        ]

        def order(pair: tuple[QueueOutlook, QueueOutlook | None]) -> tuple[bool, float, float]:
            before, later = pair
            rho = (later or before).utilisation or 0.0
            return before.load.full_name != chosen, -rho, -before.load.published

        active.sort(key=order)
        made = [
            QueuePair(
                name=before.load.full_name,
                type=before.load.type,
                before=_queue_side(before),
                after=_queue_side(later) if later is not None else None,
                time_measured=before.measured_response_time,
                length_measured=before.measured_length,
            )
            for before, later in active[:MOST_QUEUES]
        ]
        return made, len(active)

    def _side(self, found: Outlook, losses: Iterable[Loss] | None, *, measured: bool) -> Side:
        first = found.reckoned.first
        flow = found.flow
        cut = flow.cut if flow is not None else ()
        busiest: dict[str, float] = {}
        if self._calibrated:
            for part in found.reckoned.parts:
                if math.isfinite(part.utilisation):
                    busiest[part.kind] = max(busiest.get(part.kind, 0.0), part.utilisation)
        steady = [one for one in found.queues if _finite(one.response_time) is not None]
        growing = [one for one in found.queues if one.grows > 0]
        growing.sort(key=lambda one: -one.grows)
        stalling = [(one, said) for one in found.queues if (said := words.stalls(one))]
        stalling.sort(key=lambda pair: -pair[0].stalled)
        return Side(
            published=found.load.published,
            capacity=_finite(found.capacity),
            breaks_at=_finite(found.reckoned.breaks_at),
            error=first.error if first is not None else 0.0,
            first=words.named(first) if first is not None else "",
            remedy=words.remedy(first, found.load) if first is not None else "",
            max_flow=_finite(flow.value) if flow is not None else None,
            cut=[words.cut(edge) for edge in cut[:MOST_NAMES]],
            cut_total=len(cut),
            busiest=busiest,
            time=_mean_time(steady),
            length=sum(one.length or 0.0 for one in steady) if steady else None,
            nodes_running=len(found.load.running()),
            nodes=self._nodes(found, measured=measured),
            parts=[_part(part) for part in _breaking(found.reckoned.parts)],
            growing=[f"{one.load.full_name} {words.growth(one)}" for one in growing[:MOST_GROWING]],
            growing_total=len(growing),
            stalling=[f"{one.load.full_name}: {said}" for one, said in stalling[:MOST_GROWING]],
            losses=None if losses is None else [_loss(loss) for loss in losses],
        )

    def _nodes(self, found: Outlook, *, measured: bool) -> list[NodeSide]:
        led: dict[NodeName, list[QueueOutlook]] = defaultdict(list)
        for one in found.queues:
            if one.load.leader is not None:
                led[one.load.leader].append(one)
        sides = []
        for node in found.load.nodes:
            mine = led[node.name]
            arrivals = sum(one.load.published for one in mine)
            part = found.reckoned.node(node.name) if self._calibrated else None
            steady = [one for one in mine if _finite(one.response_time) is not None]
            waited = [one for one in mine if one.measured_length is not None]
            acked = sum(one.load.acked for one in waited)
            lies = sum(one.measured_length or 0.0 for one in waited)
            sides.append(
                NodeSide(
                    name=short_name(node.name),
                    host=node.host,
                    running=node.running,
                    queues=len(mine),
                    arrivals=arrivals,
                    service=_finite(arrivals * part.breaks_at) if part and arrivals else None,
                    rho=part.utilisation if part is not None else None,
                    rho_measured=(
                        node.cpu / node_cores(node, found.load)
                        if measured and node.cpu is not None
                        else None
                    ),
                    time=_mean_time(steady),
                    time_measured=lies / acked if measured and acked > 0 else None,
                    length=sum(one.length or 0.0 for one in steady) if steady else None,
                    length_measured=lies if measured else None,
                    growing=sum(one.grows > 0 for one in mine),
                )
            )
        return sides


def _what_if(asked: Question) -> questions.WhatIf:
    consumers: tuple[tuple[str, str], ...] = ()
    if asked.queue and asked.consumers is not None:
        consumers = ((asked.queue, str(asked.consumers)),)
    return questions.WhatIf(
        load=asked.load, nodes=asked.nodes, kill=asked.kill, consumers=consumers
    )


def _breaking(parts: Iterable[Part]) -> list[Part]:
    """Those that the load uses up if it grows, the first few."""
    return [part for part in parts if math.isfinite(part.breaks_at)][:MOST_PARTS]


def _part(part: Part) -> PartSide:
    cores = part.kind in (PartKind.HOST, PartKind.NODE, PartKind.BALANCER)
    return PartSide(
        kind=part.kind,
        name=part.name,
        words=words.named(part),
        unit="cores" if cores else "messages/s",
        capacity=part.capacity,
        used=part.idle + part.by_load,
        rho=_finite(part.utilisation),
        breaks_at=_finite(part.breaks_at),
        at_least=part.at_least,
    )


def _loss(loss: Loss) -> LossSide:
    return LossSide(
        node=short_name(loss.node),
        breaks_at=_finite(loss.breaks_at),
        capacity=_finite(loss.capacity),
        first=words.named(loss.first) if loss.first is not None else "",
        stopped=loss.stopped[:MOST_NAMES],
        stopped_total=len(loss.stopped),
    )


def _queue_side(one: QueueOutlook) -> QueueSide:
    return QueueSide(
        leader=short_name(one.load.leader) if one.load.leader is not None else "",
        arrivals=one.load.published,
        service=one.service_rate,
        consumers=one.load.consumers,
        rho=one.utilisation,
        time=_finite(one.response_time),
        length=_finite(one.length),
        grows=one.grows,
        memory_alarm_in=one.memory_alarm_in,
    )


def _marks(found: Outlook) -> list[Mark]:
    """The least cut and what breaks first, as far as the map has it."""
    flow, first = found.flow, found.reckoned.first
    by_name = {queue.full_name: queue for queue in found.load.queues}
    parts: dict[tuple[str, str], list[bool]] = {}  # kind, name -> in the cut, first
    for edge in flow.cut if flow is not None else ():
        consumers = edge.what == PartKind.CONSUMERS
        name = (edge.source if consumers else edge.target).partition(" ")[2] or "balancer"
        if edge.what == PartKind.NODE:
            name = short_name(NodeName(name))
        parts.setdefault((edge.what, name), [True, False])
    if first is not None:
        parts.setdefault((first.kind, first.name), [False, True])[1] = True
    marks = []
    groups: dict[tuple[str, str, str], list[tuple[str, list[bool]]]] = defaultdict(list)
    for (kind, name), how in parts.items():
        if kind in (PartKind.QUEUE, PartKind.CONSUMERS):
            queue = by_name[name]
            leader = short_name(queue.leader) if queue.leader is not None else ""
            groups[kind, leader, queue.type].append((name, how))
            continue
        nodes: Sequence[str] = ()
        if kind == PartKind.NODE:
            nodes = [name]
        elif kind == PartKind.HOST:
            nodes = [short_name(node.name) for node in found.load.running() if node.host == name]
        marks.append(Mark(kind=kind, cut=how[0], first=how[1], nodes=nodes, names=[name]))
    for (kind, leader, type_), members in sorted(groups.items()):
        members.sort(key=lambda member: (not member[1][1], -by_name[member[0]].published))
        marks.append(
            Mark(
                kind=kind,
                cut=any(how[0] for _, how in members),
                first=any(how[1] for _, how in members),
                leader=leader,
                type=type_,
                queues=len(members),
                names=[name for name, _ in members[:MOST_NAMES]],
            )
        )
    return marks


def _mean_time(steady: Iterable[QueueOutlook]) -> float | None:
    """R over all of them, by what comes in."""
    pairs = [(one.load.published, one.response_time or 0.0) for one in steady]
    arrivals = sum(rate for rate, _ in pairs)
    return sum(rate * time for rate, time in pairs) / arrivals if arrivals > 0 else None


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
