"""What to change, with the evidence: from the outlook of a cluster under its load. Pure.

Each piece says what was found, what to do, what that would bring by the same models, and the
command that does it, if one does. Nothing is advised that makes no real difference: less than
``WORTH``.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from warrener.facts.ids import NodeName, short_name
from warrener.models.windows import Stop, window
from warrener.planner import words
from warrener.planner.changes import spread
from warrener.planner.costs import Act, Calibration, QueueType
from warrener.planner.load import Load
from warrener.planner.outlook import Outlook, QueueOutlook, look_at, outlook
from warrener.planner.resources import PartKind, reckon
from warrener.planner.sizing import Profile, prefetch_for

WORTH: Final = 0.1
"""The part by which a thing has to become better to be worth a change."""

UNEVEN: Final = 1.1
"""Times the mean that the busiest node does; `warrener leaders balance` begins there."""

BUSY: Final = 0.1
"""Utilisation below which it doesn't matter what is uneven."""


class About(StrEnum):
    """What a piece of advice is about."""

    LIMIT = "limit"  # what breaks first
    CONSUMERS = "consumers"
    PREFETCH = "prefetch"
    STALLS = "stalls"  # of the broker
    LEADERS = "leaders"
    LOCALITY = "locality"
    TYPE = "type"
    LOSS = "loss"  # of a node
    POLICY = "policy"  # of the balancer
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Advice:
    """``found``, ``do`` and ``brings`` in words; ``command``: what carries it out, empty if that is
    not Warrener's to do. ``urgent``: something grows or stops."""

    about: About
    subject: str
    found: str
    do: str
    brings: str
    command: str = ""
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class TypeLine:
    """A type of queue by what was measured: CPU seconds that a message of the load's mean size
    costs all nodes together, and one queue's own limit (1/s); None: not measured."""

    type: QueueType
    cost: float | None
    limit: float | None
    at_least: bool
    suits: Profile
    loses: str  # what a node's death means


@dataclass(frozen=True, slots=True)
class Advised:
    """The pieces, urgent ones first, and the types of queues side by side."""

    pieces: tuple[Advice, ...]
    types: tuple[TypeLine, ...]


def advise(
    load: Load, calibration: Calibration, profile: Profile | None = None, round_trip: float = 0.001
) -> Advised:
    """``profile``: what the messages are for, if that was said; ``round_trip``: s between clients
    and the cluster. WrongInput if the load makes no sense."""
    found = outlook(load, calibration)
    pieces = [
        *_limits(found),
        *_consumers(found),
        *_prefetches(found, round_trip),
        *_stalls(found, calibration),
        *_leaders(found, calibration),
        *_locality(found, calibration),
        *_types(found, profile),
        *_losses(found),
    ]
    pieces.sort(key=lambda piece: not piece.urgent)
    return Advised(tuple(pieces), tuple(_type_lines(load, calibration)))


# -- what breaks first


def _limits(found: Outlook) -> Iterator[Advice]:
    part = found.reckoned.first
    if part is None or part.kind is PartKind.CONSUMERS or found.reckoned.breaks_at >= 2:
        return  # consumers have a piece of their own; twice the load is room enough
    factor = found.reckoned.breaks_at
    second = next(
        (
            other.breaks_at
            for other in found.reckoned.parts
            if other.breaks_at > factor * (1 + WORTH)
        ),
        math.inf,
    )
    then = f"up to {second:.1f} times today's load" if math.isfinite(second) else "more"
    yield Advice(
        About.LIMIT,
        part.name,
        f"{words.named(part)}, is used up at {factor:.2f} times today's load",
        words.remedy(part, found.load),
        f"the rest carries {then}",
        command="warrener leaders balance" if part.kind is PartKind.NODE else "",
        urgent=factor < 1,
    )


# -- consumers


def _consumers(found: Outlook) -> Iterator[Advice]:
    for queue in found.queues:
        missing = words.consumers_missing(queue.load)
        if not missing or queue.consumers is None:
            continue
        number = queue.load.consumers + missing
        then = _with(queue, found, number)
        yield Advice(
            About.CONSUMERS,
            queue.load.full_name,
            words.growth(queue)
            or f"its {queue.load.consumers} consumers are {queue.consumers.utilisation:.0%} busy",
            f"{missing} consumer{'s' * (missing > 1)} more",
            f"{then.consumers.utilisation if then.consumers else 0:.0%} busy; {_response(queue)} "
            f"becomes {_response(then)}",
            urgent=queue.grows > 0,
        )


def _prefetches(found: Outlook, round_trip: float) -> Iterator[Advice]:
    for queue in found.queues:
        load = queue.load
        if load.service_time is None or queue.consumers is None or not load.consumers:
            continue
        wanted = prefetch_for(load.service_time, round_trip)
        if 0 < load.prefetch < wanted:
            stops = [Stop("consumer", load.service_time)]
            possible = window(stops, load.prefetch, round_trip).throughput * load.service_time
            if possible > 1 - WORTH or queue.consumers.utilisation < 0.5:
                continue
            yield Advice(
                About.PREFETCH,
                load.full_name,
                f"with a prefetch of {load.prefetch} a consumer that takes "
                f"{_time(load.service_time)} waits {1 - possible:.0%} of its time for the next "
                f"message",
                f"a prefetch of {wanted} (basic.qos)",
                f"each consumer does up to {1 / possible:.1f} times as much",
            )
        elif load.consumers > 1 and (load.prefetch == 0 or load.prefetch > 10 * wanted):
            # With so few, nobody waits behind another for more than a message: taken as 1.
            then = _with(queue, found, load.consumers, prefetch=1)
            now, later = queue.response_time, then.response_time
            if now is None or later is None or not math.isfinite(now) or now < later * (1 + WORTH):
                continue
            limit = f"a prefetch of {load.prefetch}" if load.prefetch else "no limit (prefetch 0)"
            yield Advice(
                About.PREFETCH,
                load.full_name,
                f"with {limit} messages wait behind a busy consumer while another is idle",
                f"a prefetch of {wanted} (basic.qos)",
                f"{_response(queue)} becomes about {_response(then)}",
            )


def _stalls(found: Outlook, calibration: Calibration) -> Iterator[Advice]:
    for queue in found.queues:
        said = words.stalls(queue)
        if not said:
            continue
        then = look_at(replace(queue.load, stalls=None), found.load, calibration)
        yield Advice(
            About.STALLS,
            queue.load.full_name,
            said,
            "a disk for its nodes' data that syncs steadily (not shared, or quicker); where "
            "messages needn't survive a node, a classic queue",
            f"{_response(queue)} becomes about {_response(then)}",
        )


def _with(
    queue: QueueOutlook, found: Outlook, consumers: int, prefetch: int | None = None
) -> QueueOutlook:
    """The same queue with so many consumers (and another prefetch), by the outlook's reckoning."""
    load = queue.load
    changed = replace(
        load,
        consumers=consumers,
        prefetch=load.prefetch if prefetch is None else prefetch,
    )
    nothing = Calibration(0.0, 0.0, "", "", {}, {}, {}, {}, {})
    then = outlook(replace(found.load, queues=(changed,)), nothing).queues[0]
    return replace(then, process=queue.process)


def _response(queue: QueueOutlook) -> str:
    time = queue.response_time
    if time is None or not math.isfinite(time):
        return "a response time without end"
    return f"R of {_time(time)}"


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


# -- nodes


def _leaders(found: Outlook, calibration: Calibration) -> Iterator[Advice]:
    nodes = [part for part in found.reckoned.parts if part.kind is PartKind.NODE]
    if len(nodes) < 2:
        return
    mean = sum(part.utilisation for part in nodes) / len(nodes)
    worst = max(nodes, key=lambda part: part.utilisation)
    if worst.utilisation < BUSY or worst.utilisation < UNEVEN * mean:
        return
    then = reckon(spread(found.load), calibration)
    even = max(part.utilisation for part in then.parts if part.kind is PartKind.NODE)
    if worst.utilisation < even * (1 + WORTH):
        return
    yield Advice(
        About.LEADERS,
        worst.name,
        f"{worst.name} is {worst.utilisation:.0%} busy, {worst.utilisation / mean:.2f} times the "
        f"mean of the nodes",
        "spread the leaders of queues by load",
        f"the busiest node would be {even:.0%} busy, if every queue could be led anywhere",
        command="warrener leaders balance",
    )


def _locality(found: Outlook, calibration: Calibration) -> Iterator[Advice]:
    extra = 0.0
    remote = total = 0.0
    for queue in found.load.queues:
        total += queue.published + queue.delivered
        for act, rate, parts in (
            (Act.ENTER, queue.published, queue.entering),
            (Act.LEAVE, queue.delivered, queue.leaving),
        ):
            cost = calibration.cost(queue.type, act, queue.body) or 0.0
            remote += rate * sum(part for _, part in parts)
            extra += rate * sum(part for _, part in parts) * cost
    used = sum(part.by_load for part in found.reckoned.parts if part.kind is PartKind.NODE)
    if not total or not used or extra < WORTH * used:
        return
    yield Advice(
        About.LOCALITY,
        "clients",
        f"{remote / total:.0%} of all messages come or go through a node that doesn't lead their "
        f"queue, which costs {extra:.2f} cores, {extra / used:.0%} of all",
        "connect clients to the balancer's port and leave `locality` on; queues are declared and "
        "used on channels of their own",
        f"up to {extra:.2f} cores are free for other messages",
        command="warrener explain",
    )


# -- types of queues

_SUITS: Final = {
    QueueType.CLASSIC: (Profile.REALTIME, "stops until its node is back"),
    QueueType.QUORUM: (Profile.ORDERS, "goes on in half a second, nothing confirmed is lost"),
    QueueType.STREAM: (Profile.LOGS, "goes on, nothing confirmed is lost"),
}


def _type_lines(load: Load, calibration: Calibration) -> Iterator[TypeLine]:
    passed = sum(queue.published for queue in load.queues)
    body = sum(q.published * q.body for q in load.queues) / passed if passed > 0 else 100.0
    followers = min(2, max(0, len(load.nodes) - 1))
    for kind, (suits, loses) in _SUITS.items():
        acts = [Act.PUBLISH, Act.DELIVER]
        acts += [Act.REPLICATE] * followers if kind is not QueueType.CLASSIC else []
        costs = [calibration.cost(kind, act, body) for act in acts]
        known = [cost for cost in costs if cost is not None]
        limit = calibration.limit(kind, body)
        yield TypeLine(
            type=kind,
            cost=sum(known) if len(known) == len(costs) else None,
            limit=limit.rate if limit is not None else None,
            at_least=limit is not None and limit.at_least,
            suits=suits,
            loses=loses,
        )


def _types(found: Outlook, profile: Profile | None) -> Iterator[Advice]:
    if profile is not Profile.ORDERS:
        return
    replicated = len(found.load.running()) >= 3
    for queue in found.load.queues:
        if queue.type is QueueType.CLASSIC and queue.published > 0:
            yield Advice(
                About.TYPE,
                queue.full_name,
                "a classic queue has one copy: what it holds is not to be had while its node is "
                "away, and is lost with the node's disk",
                "declare it anew as a quorum queue" + ("" if replicated else ", on three nodes"),
                "survives any one node with its messages"
                if replicated
                else "survives any one node of three",
                command=f"warrener plan what-if --queue-type '{queue.full_name}=quorum'",
            )


def _losses(found: Outlook) -> Iterator[Advice]:
    for loss in found.losses:
        if loss.breaks_at >= 1 or found.reckoned.breaks_at < 1 or not found.load.published:
            continue
        reason = words.named(loss.first) if loss.first is not None else "no node would be left"
        yield Advice(
            About.LOSS,
            short_name(NodeName(loss.node)),
            f"without {short_name(loss.node)} the others can't carry today's load: {reason}, "
            f"{loss.breaks_at:.2f} times",
            "another node, or less to do for those that are there",
            "the load goes on when a node is lost",
            command="warrener plan what-if --nodes +1",
        )
