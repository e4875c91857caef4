"""What the panes show: rows made of a reading, with rates by the one before. Pure.

A rate is the difference of two counters over the time between the readings, in 1/s. It is None
where there is no reading before, none young enough, or a counter that began anew.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from warrener.cli.top.readings import Reading
from warrener.control.operations import BalancerStatus, EventLine, NodeStatus, SessionLine
from warrener.control.traffic_operations import TrafficLine
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.facts.snapshot import QueueView

OLD: Final = 15.0
"""Seconds between two readings above which their difference tells nothing of now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node. ``name`` is short where that is clear; ``local`` is a share from 0 to 1 of the
    messages of which it can be told; ``memory`` bytes, and ``memory_share`` of its limit."""

    key: str
    name: str
    state: str
    fit: str
    well: bool
    drained: bool
    memory: int | None
    memory_share: float | None
    disk: int | None
    cpu: float | None
    leaders: int | None
    sessions: int
    channels: int | None
    messages_in: float | None
    messages_out: float | None
    local: float | None
    bytes_in: float | None
    bytes_out: float | None
    uptime: float | None
    weight: int
    version: str
    status: NodeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One queue. Rates are means of the history's last half minute; None where it isn't kept."""

    key: str
    name: str
    vhost: str
    type: str
    leader: str
    online: int
    members: int
    ready: int
    unacked: int
    messages_in: float | None
    messages_out: float | None
    acks: float | None
    consumers: int
    view: QueueView

    @property
    def well(self) -> bool:
        """It has a leader, and all its members are online."""
        return bool(self.leader) and self.online >= self.members


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One client's connection. ``opened_at`` is since the epoch, ``age`` in seconds."""

    key: str
    id: int
    name: str
    client: str
    user: str
    vhost: str
    node: str
    links: int
    channels: int
    messages_in: float | None
    messages_out: float | None
    local: float | None
    bytes_in: float | None
    bytes_out: float | None
    age: float
    opened_at: float
    line: SessionLine


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; ``detail`` is one text of all its keys."""

    key: str
    number: int
    at: float
    kind: str
    subject: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The cluster in a line. ``local``: share of messages since the reading before."""

    nodes: int
    fit: int
    sessions: int
    messages_in: float | None
    messages_out: float | None
    local: float | None


class Rates:
    """Differences between two readings of one daemon."""

    def __init__(self, now: Reading, before: Reading | None) -> None:
        same = before is not None and before.status.pid == now.status.pid
        seconds = now.at - before.at if before is not None and same else 0.0
        self.seconds = seconds if 0 < seconds <= OLD else 0.0

    def of(self, now: int | None, before: int | None) -> float | None:
        """1/s."""
        if not self.seconds or now is None or before is None or now < before:
            return None
        return (now - before) / self.seconds


def share(local: float | None, remote: float | None) -> float | None:
    """Of both, 0 to 1; None if there is nothing."""
    if local is None or remote is None or local + remote <= 0:
        return None
    return local / (local + remote)


def shorten(names: Sequence[NodeName]) -> dict[NodeName, str]:
    """Each node's short name, or its full one where two would be the same."""
    count = Counter(short_name(name) for name in names)
    return {name: short_name(name) if count[short_name(name)] == 1 else name for name in names}


def totals(now: Reading, before: Reading | None) -> Totals:
    """Of the balancer as a whole."""
    rates = Rates(now, before)
    new, old = now.status.balancer, before.status.balancer if before else None

    def rate(name: str) -> float | None:
        return rates.of(getattr(new, name, None), getattr(old, name, None))

    return Totals(
        nodes=len(now.status.nodes),
        fit=sum(node.fit for node in now.status.nodes),
        sessions=new.sessions if isinstance(new, BalancerStatus) else 0,
        messages_in=rate("published"),
        messages_out=rate("delivered"),
        local=share(rate("messages_local"), rate("messages_remote")),
    )


def nodes(now: Reading, before: Reading | None) -> list[NodeRow]:
    """In the order of the cluster."""
    rates = Rates(now, before)
    short = shorten([node.name for node in now.status.nodes])
    traffic, past = _traffic(now), _traffic(before)
    olds = {node.name: node for node in before.status.nodes} if before else {}
    history = now.history.nodes if now.history else []
    cpu = {node.node: node.cpu.mean for node in history if node.cpu is not None}
    return [
        _node(
            node,
            short[node.name],
            rates,
            olds.get(node.name),
            (traffic.get(node.name), past.get(node.name)),
            cpu.get(node.name),
        )
        for node in now.status.nodes
    ]


def _traffic(reading: Reading | None) -> dict[NodeName, TrafficLine]:
    if reading is None or reading.traffic is None:
        return {}
    return {line.node: line for line in reading.traffic.nodes or []}


def _node(
    node: NodeStatus,
    name: str,
    rates: Rates,
    before: NodeStatus | None,
    traffic: tuple[TrafficLine | None, TrafficLine | None],
    cpu: float | None,
) -> NodeRow:
    new, old = traffic

    def messages(*kinds: str) -> float | None:
        if new is None or old is None:
            return None
        return rates.of(*(sum(getattr(line, kind) for kind in kinds) for line in (new, old)))

    def volume(name: str) -> float | None:
        """Of whoever counts them: HAProxy in the status, Warrener's own balancer beside it."""
        if getattr(node, name) is None:
            return messages(name)
        return rates.of(getattr(node, name), getattr(before, name, None))

    limit = node.memory_limit
    return NodeRow(
        key=node.name,
        name=name,
        state=_state(node),
        fit="yes" if node.fit else str(node.unfit_reason or "unknown"),
        well=node.fit and not node.alarms and node.state is NodeState.RUNNING,
        drained=node.being_drained,
        memory=node.memory_used,
        memory_share=node.memory_used / limit if node.memory_used and limit else None,
        disk=node.disk_free,
        cpu=cpu,
        leaders=node.leaders,
        sessions=node.sessions,
        channels=new.channels if new else None,
        messages_in=messages("in_local", "in_remote", "in_unknown"),
        messages_out=messages("out_local", "out_remote", "out_unknown"),
        local=share(messages("in_local", "out_local"), messages("in_remote", "out_remote")),
        bytes_in=volume("bytes_in"),
        bytes_out=volume("bytes_out"),
        uptime=node.uptime,
        weight=node.weight,
        version=node.version,
        status=node,
    )


_ALARMS: Final = {"memory": "mem alarm", "disk": "disk alarm", "partition": "partition"}


def _state(node: NodeStatus) -> str:
    """The one word that matters most."""
    if node.being_drained and node.state is NodeState.RUNNING:
        return "drained"
    if node.alarms and node.state is NodeState.RUNNING:
        return _ALARMS.get(node.alarms[0], node.alarms[0])
    return node.state.value


def queues(now: Reading) -> list[QueueRow]:
    """In the order of their names."""
    history = now.history.queues if now.history else []
    by_key = {(line.vhost, line.name): line for line in history}
    short = shorten([node.name for node in now.status.nodes])
    found = []
    for view in sorted(now.status.queues, key=lambda queue: (queue.vhost, queue.name)):
        line = by_key.get((view.vhost, view.name))
        members = len(view.members) or 1
        found.append(
            QueueRow(
                key=f"{view.vhost}\0{view.name}",
                name=view.name,
                vhost=view.vhost,
                type=view.type,
                leader=short.get(view.leader, view.leader) if view.leader else "",
                online=len(view.online) if view.members else members,
                members=members,
                ready=view.messages_ready,
                unacked=view.messages_unacknowledged,
                messages_in=line.published.mean if line else None,
                messages_out=line.delivered.mean if line else None,
                acks=line.acked.mean if line else None,
                consumers=view.consumers,
                view=view,
            )
        )
    return found


def sessions(now: Reading, before: Reading | None) -> list[SessionRow]:
    """Oldest first."""
    if now.sessions is None:
        return []
    rates = Rates(now, before)
    past = before.sessions.sessions if before and before.sessions else []
    olds = {line.id: line for line in past}
    short = shorten([node.name for node in now.status.nodes])
    found = []
    for line in now.sessions.sessions:
        old = olds.get(line.id)

        def rate(name: str, new: SessionLine = line, old: SessionLine | None = old) -> float | None:
            return rates.of(getattr(new, name), getattr(old, name) if old else None)

        found.append(
            SessionRow(
                key=str(line.id),
                id=line.id,
                name=line.name or line.user,
                client=line.client,
                user=line.user,
                vhost=line.vhost,
                node=short.get(line.node, line.node) if line.node else "",
                links=len(line.links),
                channels=line.channels,
                messages_in=rate("published"),
                messages_out=rate("delivered"),
                local=share(rate("messages_local"), rate("messages_remote")),
                bytes_in=rate("bytes_in"),
                bytes_out=rate("bytes_out"),
                age=line.age,
                opened_at=now.taken_at - line.age,
                line=line,
            )
        )
    return found


def events(now: Reading) -> list[EventRow]:
    """Oldest first."""
    return [event(line) for line in now.events]


def event(line: EventLine) -> EventRow:
    """One event."""
    return EventRow(
        key=str(line.number),
        number=line.number,
        at=line.at,
        kind=line.kind,
        subject=line.subject,
        reason=line.reason,
        detail=" ".join(f"{key}={value}" for key, value in line.detail.items()),
    )


def clock(at: float) -> str:
    """Seconds since the epoch as the time here: 12:03:44."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def day(at: float) -> str:
    """With the day: 2026-11-27 12:03:44."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
