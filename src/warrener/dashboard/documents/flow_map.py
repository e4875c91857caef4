"""The map: clients, the balancer, nodes, queues by leader and type, consumers; where the least cut
goes through; what a search finds. Pure."""

from collections import defaultdict
from typing import Final

import msgspec

from warrener.control.operations import SessionLine
from warrener.dashboard.documents import sessions
from warrener.dashboard.documents.nodes import NodeRow, nodes
from warrener.dashboard.documents.queues import SEVERITY, health, text
from warrener.dashboard.documents.terms import Level, Wanted, all_in, total, up
from warrener.dashboard.moment import Moment
from warrener.dashboard.plan import Mark
from warrener.facts.ids import NodeName, short_name
from warrener.facts.snapshot import QueueView

MOST_CLIENTS: Final = 12
MOST_BUSIEST: Final = 5
MOST_FOUND: Final = 50
"""Queues and groups of clients that are listed for a search; how many there are is said."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Queues of one type that one node leads (``leader`` empty: none does), the busiest by name."""

    leader: str
    type: str
    queues: int
    published: float
    delivered: float
    ready: int
    consumers: int
    busiest: list[str]
    level: Level


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """Messages/s that take a hop from node ``entry`` to node ``leader``."""

    entry: str
    leader: str
    rate: float


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions of one user at a virtual host, and how many of them are at home on which node."""

    user: str
    vhost: str
    sessions: int
    at: dict[str, int]
    published: float | None
    delivered: float | None


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What breaks first if today's load grows, at how many times of it (None: nothing does), and
    the least cut: where more than today's proportions would be stopped. ``carries`` and
    ``max_flow`` in messages/s; ``cut`` in words, the first few of ``cut_total``."""

    known: bool
    first: str
    breaks_at: float | None
    remedy: str
    carries: float | None
    max_flow: float | None
    cut: list[str]
    cut_total: int
    marks: list[Mark]
    why_not: str


class FoundQueue(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that matches; ``leader`` and ``type`` say in which group it is."""

    vhost: str
    name: str
    type: str
    leader: str
    word: str
    level: Level
    published: float | None
    ready: int


class FoundGroup(msgspec.Struct, frozen=True, kw_only=True):
    """How many queues of a group match."""

    leader: str
    type: str
    queues: int


class FoundClients(msgspec.Struct, frozen=True, kw_only=True):
    """How many sessions of a user at a virtual host match."""

    user: str
    vhost: str
    sessions: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a search finds. ``listed``: the first queues by name."""

    queues: int
    of_queues: int
    groups: list[FoundGroup]
    listed: list[FoundQueue]
    nodes: list[str]
    sessions: int
    clients: list[FoundClients]


class MapBody(msgspec.Struct, frozen=True, kw_only=True):
    """The flow: clients -> balancer -> nodes -> queues' leaders -> consumers."""

    clients: list[Clients]
    more_clients: int  # sessions of users that aren't shown
    nodes: list[NodeRow]
    groups: list[Group]
    hops: list[Edge]
    cores_known: bool
    clients_known: bool  # the data plane tells sessions apart
    note: str
    cut: Cut
    found: Found | None  # None: nothing was searched for


def flow_map(moment: Moment, before: Moment | None, wanted: Wanted) -> MapBody:
    """All of it; of queues and clients as much as fits."""
    rows = nodes(moment, before)
    shown, more = _clients(moment, before)
    return MapBody(
        clients=shown,
        more_clients=more,
        nodes=rows,
        groups=_groups(moment),
        hops=[
            Edge(entry=short_name(hop.entry), leader=short_name(hop.leader), rate=hop.rate)
            for hop in moment.measured.hops
        ],
        clients_known=moment.sessions is not None,
        cores_known=any(row.cpu is not None for row in rows),
        note=moment.sessions_why_not or moment.measured.why_not,
        cut=_cut(moment),
        found=_found(moment, wanted.search),
    )


def _cut(moment: Moment) -> Cut:
    plan = moment.plan
    return Cut(
        known=plan.number > 0 and plan.calibrated,
        first=plan.first,
        breaks_at=plan.breaks_at,
        remedy=plan.remedy,
        carries=plan.carries,
        max_flow=plan.max_flow,
        cut=list(plan.cut),
        cut_total=plan.cut_total,
        marks=list(plan.marks),
        why_not=plan.why_not or plan.why_uncalibrated,
    )


def _found(moment: Moment, search: str) -> Found | None:
    words = search.casefold().split()
    if not words:
        return None
    serving = up(moment.status.nodes)
    groups: dict[tuple[str, str], int] = defaultdict(int)
    listed: list[FoundQueue] = []
    matching = 0
    for queue in sorted(moment.status.queues, key=lambda queue: (queue.vhost, queue.name)):
        if not all_in(words, text(queue)):
            continue
        matching += 1
        leader = _leader(queue, serving)
        groups[leader, queue.type] += 1
        if len(listed) < MOST_FOUND:
            measure = moment.measured.queues.get((queue.vhost, queue.name))
            word, level = health(queue, serving)
            listed.append(
                FoundQueue(
                    vhost=queue.vhost,
                    name=queue.name,
                    type=queue.type,
                    leader=leader,
                    word=word,
                    level=level,
                    published=measure.published if measure else None,
                    ready=queue.messages_ready,
                )
            )
    clients: dict[tuple[str, str], int] = defaultdict(int)
    for one in moment.sessions or ():
        if all_in(words, sessions.text(one)):
            clients[one.user, one.vhost] += 1
    return Found(
        queues=matching,
        of_queues=len(moment.status.queues),
        groups=[
            FoundGroup(leader=leader, type=type_, queues=number)
            for (leader, type_), number in sorted(groups.items())
        ],
        listed=listed,
        nodes=[
            short_name(node.name)
            for node in moment.status.nodes
            if all_in(words, f"{node.name} {node.host}".casefold())
        ],
        sessions=sum(clients.values()),
        clients=[
            FoundClients(user=user, vhost=vhost, sessions=number)
            for (user, vhost), number in sorted(clients.items())[:MOST_FOUND]
        ],
    )


def _leader(queue: QueueView, serving: frozenset[NodeName]) -> str:
    return short_name(queue.leader) if queue.leader and queue.leader in serving else ""


def _clients(moment: Moment, before: Moment | None) -> tuple[list[Clients], int]:
    by: dict[tuple[str, str], list[SessionLine]] = defaultdict(list)
    for one in moment.sessions or ():
        by[one.user, one.vhost].append(one)
    earlier: dict[int, SessionLine] = {}
    if before is not None and before.sessions is not None:
        earlier = {one.id: one for one in before.sessions}
    seconds = moment.clock - before.clock if before is not None else 1.0
    largest = sorted(by.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = []
    for (user, vhost), found in largest[:MOST_CLIENTS]:
        at: dict[str, int] = defaultdict(int)
        for one in found:
            at[short_name(one.node) if one.node else ""] += 1
        rows = [sessions.row(one, earlier.get(one.id), seconds) for one in found]
        shown.append(
            Clients(
                user=user,
                vhost=vhost,
                sessions=len(found),
                at=dict(at),
                published=total(row.published for row in rows),
                delivered=total(row.delivered for row in rows),
            )
        )
    return shown, sum(len(found) for _, found in largest[MOST_CLIENTS:])


def _groups(moment: Moment) -> list[Group]:
    serving = up(moment.status.nodes)
    by: dict[tuple[str, str], list[QueueView]] = defaultdict(list)
    for queue in moment.status.queues:
        by[_leader(queue, serving), queue.type].append(queue)
    groups = []
    for (leader, type_), queues in sorted(by.items()):
        measured = [
            (moment.measured.queues.get((queue.vhost, queue.name)), queue) for queue in queues
        ]
        known = [(one, queue) for one, queue in measured if one is not None]
        known.sort(key=lambda pair: (-(pair[0].published + pair[0].delivered), pair[1].name))
        levels = [health(queue, serving)[1] for queue in queues]
        groups.append(
            Group(
                leader=leader,
                type=type_,
                queues=len(queues),
                published=sum(one.published for one, _ in known),
                delivered=sum(one.delivered for one, _ in known),
                ready=sum(queue.messages_ready for queue in queues),
                consumers=sum(queue.consumers for queue in queues),
                busiest=[
                    queue.name
                    for one, queue in known[:MOST_BUSIEST]
                    if one.published + one.delivered > 0
                ],
                level=min(levels, key=SEVERITY.__getitem__),
            )
        )
    return groups
