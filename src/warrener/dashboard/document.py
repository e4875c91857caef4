"""A moment -> what one view of the page needs. Pure.

Documents are bounded, whatever the cluster's size: lists come a page at a time, searched and sorted
here. Levels (``Level``) are decided here, too, so that the page only has to draw.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from warrener.control.operations import (
    ChannelLine,
    EventLine,
    NodeStatus,
    Phase,
    SessionLine,
)
from warrener.dashboard.acts import ActsShown
from warrener.dashboard.moment import Measured, Moment, QueueMeasure
from warrener.facts.ids import NodeName, short_name
from warrener.facts.places import AWAY
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import QueueView

PAGE: Final = 100
"""Rows of a list in one document: more than fit on a screen."""

MOST_EVENTS: Final = 200
MOST_CHANNELS: Final = 100

STALE: Final = 10.0
"""Seconds after which the cluster's view of itself isn't acted on, as in the observer."""

NEAR: Final = 0.9
"""Of a memory limit: what is past this is about to raise an alarm."""


class View(StrEnum):
    """What can be looked at."""

    MAP = "map"
    NODES = "nodes"
    QUEUES = "queues"
    SESSIONS = "sessions"
    EVENTS = "events"


class Level(StrEnum):
    """How something is, for the eye. Never the only sign of it: a word stands beside it."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    OFF = "off"  # on purpose


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a viewer looks at. ``sort`` is one of the view's columns, empty: its usual order;
    ``session``: whose channels are wanted, too."""

    view: View
    search: str = ""
    offset: int = 0
    sort: str = ""
    descending: bool = False
    session: int | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every view shows above. Rates in messages/s."""

    cluster: str
    phase: Phase
    version: str
    driver: str
    state_folder: str
    uptime: float
    policy: str
    data_plane: str
    address: str
    nodes: int
    nodes_up: int
    alarms: int
    sessions: int
    queues: int
    queues_bad: int
    ready: int
    unacked: int
    published: float | None
    delivered: float | None
    remote: float | None  # part of the messages that takes a hop between nodes
    view_age: float | None
    trouble: str  # why what is shown of the cluster isn't current; empty: it is


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``word`` and ``why`` say how it is; bytes/s in and out are clients'."""

    name: NodeName
    short: str
    word: str
    level: Level
    why: str
    alarms: tuple[str, ...]
    memory_used: int | None
    memory_limit: int | None
    disk_free: int | None
    disk_limit: int | None
    cpu: float | None
    busy: float | None
    rho: float | None
    sessions: int
    leaders: int | None
    weight: int
    weight_reason: str
    version: str
    erlang: str
    uptime: float | None
    host: str
    port: int
    bytes_in: float | None
    bytes_out: float | None
    failures: int
    drained: bool


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. Rates in messages/s, ``predicted_*`` as the planner reckons (s, messages)."""

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
    grows: bool


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session. Rates are messages/s; ``remote`` the part of its messages so far that took a hop
    between nodes, None if there were none."""

    id: int
    name: str
    client: str
    user: str
    vhost: str
    node: str
    links: list[str]
    state: str
    channels: int
    moves: int
    parked: int
    age: float
    published: float | None
    delivered: float | None
    remote: float | None


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list: rows from ``offset`` on, of ``matching`` out of ``total``."""

    total: int
    matching: int
    offset: int
    rows: list[Any]
    note: str = ""
    channels: list[ChannelLine] | None = None


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


class MapBody(msgspec.Struct, frozen=True, kw_only=True):
    """The flow: clients -> balancer -> nodes -> queues' leaders -> consumers."""

    clients: list[Clients]
    more_clients: int  # sessions of users that aren't shown
    nodes: list[NodeRow]
    groups: list[Group]
    hops: list[Edge]
    cores_known: bool
    note: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent. ``at`` is when it was read, in seconds since the epoch."""

    number: int
    at: float
    view: View
    head: Head
    body: Part | MapBody
    acts: ActsShown


def document(
    moment: Moment,
    before: Moment | None,
    wanted: Wanted,
    number: int,
    channels: Sequence[ChannelLine] | None = None,
) -> Document:
    """``before`` is what rates are worked out from, some seconds older."""
    if before is not None and moment.clock - before.clock <= 0:
        before = None
    body: Part | MapBody
    match wanted.view:
        case View.NODES:
            rows = nodes(moment, before)
            body = Part(
                total=len(rows),
                matching=len(rows),
                offset=0,
                rows=list(rows),
                note=moment.measured.why_not,
            )
        case View.QUEUES:
            body = _queues(moment, wanted)
        case View.SESSIONS:
            body = _sessions(moment, before, wanted, channels)
        case View.EVENTS:
            body = _events(moment.events, wanted)
        case View.MAP:
            body = _map(moment, before)
    return Document(
        number=number,
        at=moment.at,
        view=wanted.view,
        head=head(moment, before),
        body=body,
        acts=moment.acts,
    )


# ------------------------------------------------------------------------------------ head


def head(moment: Moment, before: Moment | None) -> Head:
    """What stands above every view."""
    status = moment.status
    balancer, earlier = status.balancer, before.status.balancer if before is not None else None
    up = _up(status.nodes)
    published = delivered = remote = None
    if balancer is not None and earlier is not None and before is not None:
        seconds = moment.clock - before.clock
        published = _rate(earlier.published, balancer.published, seconds)
        delivered = _rate(earlier.delivered, balancer.delivered, seconds)
        local = _rate(earlier.messages_local, balancer.messages_local, seconds)
        far = _rate(earlier.messages_remote, balancer.messages_remote, seconds)
        if local is not None and far is not None and local + far > 0:
            remote = far / (local + far)
    return Head(
        cluster=status.cluster,
        phase=status.phase,
        version=status.version,
        driver=status.driver,
        state_folder=status.state_folder,
        uptime=status.uptime,
        policy=balancer.policy if balancer else "",
        data_plane=balancer.data_plane if balancer else "",
        address=f"{balancer.host}:{balancer.port}" if balancer else "",
        nodes=len(status.nodes),
        nodes_up=len(up),
        alarms=sum(len(node.alarms) for node in status.nodes),
        sessions=balancer.sessions if balancer else 0,
        queues=len(status.queues),
        queues_bad=sum(_health(queue, up)[1] is Level.BAD for queue in status.queues),
        ready=sum(queue.messages_ready for queue in status.queues),
        unacked=sum(queue.messages_unacknowledged for queue in status.queues),
        published=published,
        delivered=delivered,
        remote=remote,
        view_age=status.management.age,
        trouble=_trouble(moment),
    )


def _trouble(moment: Moment) -> str:
    view = moment.status.management
    if view.taken_at is None:
        return view.error or "the cluster hasn't told anything of itself yet"
    if view.error:
        return f"the cluster doesn't answer: {view.error}"
    if view.age is not None and view.age > STALE:
        return "the cluster answers slowly: what is shown of it is old"
    return ""


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return max(0, after - before) / seconds


# ----------------------------------------------------------------------------------- nodes


def nodes(moment: Moment, before: Moment | None) -> list[NodeRow]:
    """One row per member, in the driver's order."""
    earlier = {node.name: node for node in before.status.nodes} if before is not None else {}
    seconds = moment.clock - before.clock if before is not None else 1.0
    return [
        _node(node, earlier.get(node.name), seconds, moment.measured)
        for node in moment.status.nodes
    ]


def _node(
    node: NodeStatus, earlier: NodeStatus | None, seconds: float, measured: Measured
) -> NodeRow:
    word, level, why = _how(node)
    measure = measured.nodes.get(node.name)
    runs = node.state is NodeState.RUNNING
    return NodeRow(
        name=node.name,
        short=short_name(node.name),
        word=word,
        level=level,
        why=why,
        alarms=node.alarms,
        memory_used=node.memory_used,
        memory_limit=node.memory_limit,
        disk_free=node.disk_free,
        disk_limit=node.disk_free_limit,
        cpu=measure.cpu if measure and runs else None,
        busy=measure.busy if measure and runs else None,
        rho=measure.rho if measure and runs else None,
        sessions=node.sessions,
        leaders=node.leaders,
        weight=node.weight,
        weight_reason=node.weight_reason,
        version=node.version,
        erlang=node.erlang_version,
        uptime=node.uptime,
        host=node.host,
        port=node.amqp_port,
        bytes_in=_rate(earlier.bytes_in, node.bytes_in, seconds) if earlier else None,
        bytes_out=_rate(earlier.bytes_out, node.bytes_out, seconds) if earlier else None,
        failures=node.failures_total,
        drained=node.being_drained,
    )


def _how(node: NodeStatus) -> tuple[str, Level, str]:
    """The word, how bad it is, and what there is to say of it; the worst comes first."""
    detail = node.unfit_detail or (node.unfit_reason.value if node.unfit_reason else "")
    match node.state:
        case NodeState.DOWN:
            return "down", Level.BAD, "its process ended by itself"
        case NodeState.LOST:
            return "lost", Level.BAD, "its data is gone: it has to be replaced"
        case NodeState.UNREACHABLE:
            return "unreachable", Level.BAD, detail or "its host can't be asked"
        case NodeState.STOPPED:
            return "stopped", Level.OFF, "it was stopped on purpose"
        case NodeState.STARTING | NodeState.STOPPING:
            return node.state.value, Level.WARN, ""
        case NodeState.RUNNING:
            pass
    if node.running is False:
        return "not running", Level.BAD, "its process is there, RabbitMQ in it doesn't run"
    if node.alarms:
        return "alarm", Level.BAD, f"{' and '.join(node.alarms)}: publishers are blocked"
    if node.being_drained:
        return "drained", Level.OFF, "in maintenance: it gets no sessions and leads no queues"
    if not node.fit:
        return "unfit", Level.BAD, detail
    if node.memory_used and node.memory_limit and node.memory_used > NEAR * node.memory_limit:
        return "running", Level.WARN, "its memory is nearly at the limit"
    return "running", Level.GOOD, ""


def _up(found: Iterable[NodeStatus]) -> frozenset[NodeName]:
    return frozenset(
        node.name
        for node in found
        if node.state in (NodeState.RUNNING, NodeState.UNREACHABLE) and node.running is not False
    )


# ---------------------------------------------------------------------------------- queues


def _queues(moment: Moment, wanted: Wanted) -> Part:
    up = _up(moment.status.nodes)
    words = wanted.search.casefold().split()
    found = [queue for queue in moment.status.queues if _all_in(words, _queue_text(queue))]
    measures = moment.measured.queues

    def measure(queue: QueueView) -> QueueMeasure | None:
        return measures.get((queue.vhost, queue.name))

    def published(queue: QueueView) -> float:
        known = measure(queue)
        return known.published if known else 0.0

    def delivered(queue: QueueView) -> float:
        known = measure(queue)
        return known.delivered if known else 0.0

    orders: Mapping[str, Callable[[QueueView], Any]] = {
        "name": lambda queue: (queue.vhost, queue.name),
        "type": lambda queue: queue.type,
        "leader": lambda queue: queue.leader or "",
        "state": lambda queue: _SEVERITY[_health(queue, up)[1]],
        "ready": lambda queue: queue.messages_ready,
        "unacked": lambda queue: queue.messages_unacknowledged,
        "consumers": lambda queue: queue.consumers,
        "published": published,
        "delivered": delivered,
    }
    found.sort(key=lambda queue: (queue.vhost, queue.name))
    if wanted.sort in orders:
        found.sort(key=orders[wanted.sort], reverse=wanted.descending)
    offset = _within(wanted.offset, len(found))
    return Part(
        total=len(moment.status.queues),
        matching=len(found),
        offset=offset,
        rows=[_queue(queue, up, measure(queue)) for queue in found[offset : offset + PAGE]],
        note=moment.measured.why_not,
    )


_SEVERITY: Final = {Level.BAD: 0, Level.WARN: 1, Level.OFF: 2, Level.GOOD: 3}


def _queue_text(queue: QueueView) -> str:
    leader = short_name(queue.leader) if queue.leader else ""
    return f"{queue.vhost}/{queue.name} {queue.type} {leader}".casefold()


def _queue(queue: QueueView, up: frozenset[NodeName], measure: QueueMeasure | None) -> QueueRow:
    word, level = _health(queue, up)
    time = measure.predicted_time if measure else None
    length = measure.predicted_length if measure else None
    return QueueRow(
        vhost=queue.vhost,
        name=queue.name,
        type=queue.type,
        word=word,
        level=level,
        leader=short_name(queue.leader) if queue.leader and queue.leader in up else "",
        members=[short_name(node) for node in queue.members],
        offline=[short_name(node) for node in queue.members if not _online(queue, node, up)],
        ready=queue.messages_ready,
        unacked=queue.messages_unacknowledged,
        consumers=queue.consumers,
        published=measure.published if measure else None,
        delivered=measure.delivered if measure else None,
        rho=measure.rho if measure else None,
        predicted_time=time if time is not None and math.isfinite(time) else None,
        predicted_length=length if length is not None and math.isfinite(length) else None,
        grows=time is not None and not math.isfinite(time),
    )


def _online(queue: QueueView, node: NodeName, up: frozenset[NodeName]) -> bool:
    return node in up and (not queue.online or node in queue.online)


def _health(queue: QueueView, up: frozenset[NodeName]) -> tuple[str, Level]:
    if queue.state in AWAY:
        return queue.state, Level.BAD
    # Until another one is elected, RabbitMQ goes on naming a leader that is gone.
    if queue.leader is None or queue.leader not in up:
        return "no leader", Level.BAD
    if len(queue.members) > 1:
        online = sum(_online(queue, node, up) for node in queue.members)
        if 2 * online <= len(queue.members):
            return "no majority", Level.BAD
        if online < len(queue.members):
            return f"{online} of {len(queue.members)} members", Level.WARN
    if queue.messages_ready and not queue.consumers:
        return "no consumers", Level.WARN
    return queue.state or "running", Level.GOOD


# -------------------------------------------------------------------------------- sessions


def _sessions(
    moment: Moment,
    before: Moment | None,
    wanted: Wanted,
    channels: Sequence[ChannelLine] | None,
) -> Part:
    everybody = moment.sessions or ()
    words = wanted.search.casefold().split()
    found = [one for one in everybody if _all_in(words, _session_text(one))]
    earlier: dict[int, SessionLine] = {}
    if before is not None and before.sessions is not None:
        earlier = {one.id: one for one in before.sessions}
    seconds = moment.clock - before.clock if before is not None else 1.0
    orders: Mapping[str, Callable[[SessionLine], Any]] = {
        "name": lambda one: (one.name, one.client),
        "user": lambda one: one.user,
        "node": lambda one: one.node or "",
        "channels": lambda one: one.channels,
        "moves": lambda one: one.moves,
        "age": lambda one: one.age,
    }
    if wanted.sort in orders:
        found.sort(key=orders[wanted.sort], reverse=wanted.descending)
    offset = _within(wanted.offset, len(found))
    return Part(
        total=len(everybody),
        matching=len(found),
        offset=offset,
        rows=[_session(one, earlier.get(one.id), seconds) for one in found[offset : offset + PAGE]],
        note=moment.sessions_why_not,
        channels=None if channels is None else list(channels[:MOST_CHANNELS]),
    )


def _session_text(one: SessionLine) -> str:
    node = short_name(one.node) if one.node else ""
    return f"{one.name} {one.client} {one.user} {one.vhost} {node} {one.state}".casefold()


def _session(one: SessionLine, earlier: SessionLine | None, seconds: float) -> SessionRow:
    passed = one.messages_local + one.messages_remote
    return SessionRow(
        id=one.id,
        name=one.name,
        client=one.client,
        user=one.user,
        vhost=one.vhost,
        node=short_name(one.node) if one.node else "",
        links=[short_name(node) for node in one.links],
        state=one.state,
        channels=one.channels,
        moves=one.moves,
        parked=one.parked,
        age=one.age,
        published=_rate(earlier.published, one.published, seconds) if earlier else None,
        delivered=_rate(earlier.delivered, one.delivered, seconds) if earlier else None,
        remote=one.messages_remote / passed if passed else None,
    )


# ---------------------------------------------------------------------------------- events


def _events(events: Sequence[EventLine], wanted: Wanted) -> Part:
    """The newest first."""
    words = wanted.search.casefold().split()
    found = [line for line in events if _all_in(words, _event_text(line))]
    return Part(
        total=len(events),
        matching=len(found),
        offset=0,
        rows=list(reversed(found[-MOST_EVENTS:])),
    )


def _event_text(line: EventLine) -> str:
    details = " ".join(f"{key} {value}" for key, value in line.detail.items())
    return f"{line.kind} {line.subject} {line.reason} {details}".casefold()


# ------------------------------------------------------------------------------------- map

MOST_CLIENTS: Final = 12
MOST_BUSIEST: Final = 5


def _map(moment: Moment, before: Moment | None) -> MapBody:
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
        cores_known=any(row.cpu is not None for row in rows),
        note=moment.sessions_why_not or moment.measured.why_not,
    )


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
        rows = [_session(one, earlier.get(one.id), seconds) for one in found]
        shown.append(
            Clients(
                user=user,
                vhost=vhost,
                sessions=len(found),
                at=dict(at),
                published=_sum(row.published for row in rows),
                delivered=_sum(row.delivered for row in rows),
            )
        )
    return shown, sum(len(found) for _, found in largest[MOST_CLIENTS:])


def _groups(moment: Moment) -> list[Group]:
    up = _up(moment.status.nodes)
    by: dict[tuple[str, str], list[QueueView]] = defaultdict(list)
    for queue in moment.status.queues:
        leader = short_name(queue.leader) if queue.leader and queue.leader in up else ""
        by[leader, queue.type].append(queue)
    groups = []
    for (leader, type_), queues in sorted(by.items()):
        measured = [
            (moment.measured.queues.get((queue.vhost, queue.name)), queue) for queue in queues
        ]
        known = [(one, queue) for one, queue in measured if one is not None]
        known.sort(key=lambda pair: (-(pair[0].published + pair[0].delivered), pair[1].name))
        levels = [_health(queue, up)[1] for queue in queues]
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
                level=min(levels, key=_SEVERITY.__getitem__),
            )
        )
    return groups


def _sum(found: Iterable[float | None]) -> float | None:
    known = [value for value in found if value is not None]
    return sum(known) if known else None


def _all_in(words: Sequence[str], text: str) -> bool:
    return all(word in text for word in words)


def _within(offset: int, number: int) -> int:
    """Where a page begins: the last one, if the list has become shorter."""
    return min(offset, max(0, (number - 1) // PAGE * PAGE))
