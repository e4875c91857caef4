"""Queues: searched, sorted, a page at a time; what is predicted beside what is measured. Pure."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from warrener.dashboard.documents.terms import PAGE, Level, Part, Wanted, all_in, up, within
from warrener.dashboard.moment import Moment, QueueMeasure
from warrener.facts.ids import NodeName, short_name
from warrener.facts.places import AWAY
from warrener.facts.snapshot import QueueView


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. Rates in messages/s; times in s and lengths in messages, as the planner reckons
    them and as they were measured."""

    vhost: str
    name: str
    type: str
    word: str
    level: Level
    leader: str
    members: list[str]
    offline: list[str]
    ready: int
    unacked: int
    consumers: int
    published: float | None
    delivered: float | None
    rho: float | None
    predicted_time: float | None
    predicted_length: float | None
    measured_time: float | None
    measured_length: float | None
    grows: bool


def queues(moment: Moment, wanted: Wanted) -> Part:
    """Those that match, a page of them."""
    serving = up(moment.status.nodes)
    words = wanted.search.casefold().split()
    found = [queue for queue in moment.status.queues if all_in(words, text(queue))]
    measures = moment.measured.queues

    def measure(queue: QueueView) -> QueueMeasure | None:
        return measures.get((queue.vhost, queue.name))

    def of(figure: Callable[[QueueMeasure], float | None]) -> Callable[[QueueView], float]:
        """What isn't known is less than anything."""

        def value(queue: QueueView) -> float:
            known = measure(queue)
            found = figure(known) if known else None
            return -1.0 if found is None else found

        return value

    orders: Mapping[str, Callable[[QueueView], Any]] = {
        "name": lambda queue: (queue.vhost, queue.name),
        "type": lambda queue: queue.type,
        "leader": lambda queue: queue.leader or "",
        "state": lambda queue: SEVERITY[health(queue, serving)[1]],
        "ready": lambda queue: queue.messages_ready,
        "unacked": lambda queue: queue.messages_unacknowledged,
        "consumers": lambda queue: queue.consumers,
        "published": of(lambda known: known.published),
        "delivered": of(lambda known: known.delivered),
        "rho": of(lambda known: known.rho),
        "predicted_time": of(lambda known: known.predicted_time),
        "measured_time": of(lambda known: known.measured_time),
        "predicted_length": of(lambda known: known.predicted_length),
        "measured_length": of(lambda known: known.measured_length),
    }
    found.sort(key=lambda queue: (queue.vhost, queue.name))
    if wanted.sort in orders:
        found.sort(key=orders[wanted.sort], reverse=wanted.descending)
    offset = within(wanted.offset, len(found))
    return Part(
        total=len(moment.status.queues),
        matching=len(found),
        offset=offset,
        rows=[_queue(queue, serving, measure(queue)) for queue in found[offset : offset + PAGE]],
        note=moment.measured.why_not,
    )


SEVERITY: Final = {Level.BAD: 0, Level.WARN: 1, Level.OFF: 2, Level.GOOD: 3}


def text(queue: QueueView) -> str:
    """What a search looks at."""
    leader = short_name(queue.leader) if queue.leader else ""
    return f"{queue.vhost}/{queue.name} {queue.type} {leader}".casefold()


def _queue(
    queue: QueueView, serving: frozenset[NodeName], measure: QueueMeasure | None
) -> QueueRow:
    word, level = health(queue, serving)
    time = measure.predicted_time if measure else None
    length = measure.predicted_length if measure else None
    return QueueRow(
        vhost=queue.vhost,
        name=queue.name,
        type=queue.type,
        word=word,
        level=level,
        leader=short_name(queue.leader) if queue.leader and queue.leader in serving else "",
        members=[short_name(node) for node in queue.members],
        offline=[short_name(node) for node in queue.members if not _online(queue, node, serving)],
        ready=queue.messages_ready,
        unacked=queue.messages_unacknowledged,
        consumers=queue.consumers,
        published=measure.published if measure else None,
        delivered=measure.delivered if measure else None,
        rho=measure.rho if measure else None,
        predicted_time=time if time is not None and math.isfinite(time) else None,
        predicted_length=length if length is not None and math.isfinite(length) else None,
        measured_time=measure.measured_time if measure else None,
        measured_length=measure.measured_length if measure else None,
        grows=time is not None and not math.isfinite(time),
    )


def _online(queue: QueueView, node: NodeName, serving: frozenset[NodeName]) -> bool:
    return node in serving and (not queue.online or node in queue.online)


def health(queue: QueueView, serving: frozenset[NodeName]) -> tuple[str, Level]:
    """The word, and how bad it is."""
    if queue.state in AWAY:
        return queue.state, Level.BAD
    # Until another one is elected, RabbitMQ goes on naming a leader that is gone.
    if queue.leader is None or queue.leader not in serving:
        return "no leader", Level.BAD
    if len(queue.members) > 1:
        online = sum(_online(queue, node, serving) for node in queue.members)
        if 2 * online <= len(queue.members):
            return "no majority", Level.BAD
        if online < len(queue.members):
            return f"{online} of {len(queue.members)} members", Level.WARN
    if queue.messages_ready and not queue.consumers:
        return "no consumers", Level.WARN
    return queue.state or "running", Level.GOOD
