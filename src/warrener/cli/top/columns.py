"""The columns of each pane, and how their figures are written. Pure.

A figure has at most six signs: rates and counts in powers of 1000 (12.3k), sizes in powers of 1024
(1.2G), as `warrener status` has them. ``-`` is what nobody knows.
"""

from typing import Final

from warrener.cli.render import size, span
from warrener.cli.top.planning import PartRow, Plan
from warrener.cli.top.rows import EventRow, NodeRow, QueueRow, SessionRow, clock, day
from warrener.cli.top.table import Column, Tone, View
from warrener.facts.ids import short_name


def rate(value: float | None) -> str:
    """1/s in at most five signs: 0, 0.4, 42, 12.3k."""
    if value is None:
        return "-"
    if 0 < value < 9.95:
        return f"{value:.1f}"
    return count(round(value))


def count(value: int | None) -> str:
    """At most six signs: 9999, 12.3k, 4.5M."""
    if value is None:
        return "-"
    if value < 10_000:
        return str(value)
    amount = float(value)
    for unit in "kMGT":
        amount /= 1000
        if amount < 999.95 or unit == "T":
            break
    return f"{amount:.1f}{unit}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def volume(value: float | None) -> str:
    """Bytes a second."""
    return size(None if value is None else round(value))


NODES: Final[tuple[Column[NodeRow], ...]] = (
    Column("NODE", 8, lambda r: r.name, lambda r: r.name, "", number=False, flexible=True),
    Column(
        "STATE",
        10,
        lambda r: r.state,
        lambda r: r.state,
        "what it does; an alarm instead, if there is one",
        number=False,
    ),
    Column(
        "FIT",
        11,
        lambda r: r.fit,
        lambda r: r.fit,
        "whether it gets new sessions, or why not",
        number=False,
    ),
    Column("MEM", 5, lambda r: r.memory, lambda r: size(r.memory), "memory that RabbitMQ uses"),
    Column(
        "MEM%",
        4,
        lambda r: r.memory_share,
        lambda r: percent(r.memory_share),
        "of the limit at which it raises its alarm",
    ),
    Column("DISK", 5, lambda r: r.disk, lambda r: size(r.disk), "free on its disk"),
    Column("LEAD", 5, lambda r: r.leaders, lambda r: count(r.leaders), "queues that it leads"),
    Column("SESS", 5, lambda r: r.sessions, lambda r: count(r.sessions), "sessions at home there"),
    Column(
        "IN/S",
        6,
        lambda r: r.messages_in,
        lambda r: rate(r.messages_in),
        "messages a second from clients, through the balancer",
    ),
    Column(
        "OUT/S",
        6,
        lambda r: r.messages_out,
        lambda r: rate(r.messages_out),
        "messages a second to clients",
    ),
    Column(
        "LOCAL",
        5,
        lambda r: r.local,
        lambda r: percent(r.local),
        "of them through the node that leads their queue",
    ),
    Column(
        "CPU",
        5,
        lambda r: r.cpu,
        lambda r: "-" if r.cpu is None else f"{r.cpu:.2f}",
        "cores, mean of the last 30 s",
        rank=1,
    ),
    Column("CHAN", 5, lambda r: r.channels, lambda r: count(r.channels), "channels there", rank=2),
    Column(
        "IN B/S",
        6,
        lambda r: r.bytes_in,
        lambda r: volume(r.bytes_in),
        "bytes from clients",
        rank=3,
    ),
    Column(
        "OUT B/S",
        7,
        lambda r: r.bytes_out,
        lambda r: volume(r.bytes_out),
        "bytes to clients",
        rank=3,
    ),
    Column("UP", 6, lambda r: r.uptime, lambda r: span(r.uptime), "since its start", rank=4),
    Column("WEIGHT", 7, lambda r: r.weight, lambda r: str(r.weight), "its share; 100", rank=5),
    Column(
        "VERSION",
        8,
        lambda r: r.version,
        lambda r: r.version or "-",
        "RabbitMQ's",
        number=False,
        rank=6,
    ),
)

QUEUES: Final[tuple[Column[QueueRow], ...]] = (
    Column("QUEUE", 16, lambda r: r.name, lambda r: r.name, "", number=False, flexible=True),
    Column("VHOST", 8, lambda r: r.vhost, lambda r: r.vhost, "", number=False, rank=1),
    Column("TYPE", 7, lambda r: r.type, lambda r: r.type, "", number=False),
    Column(
        "LEADER",
        8,
        lambda r: r.leader,
        lambda r: r.leader or "(none)",
        "the node that its messages go through",
        number=False,
    ),
    Column(
        "MEMB",
        5,
        lambda r: (r.online - r.members, r.members),
        lambda r: f"{r.online}/{r.members}",
        "members online, of how many",
    ),
    Column("READY", 7, lambda r: r.ready, lambda r: count(r.ready), "messages that wait"),
    Column(
        "UNACK",
        6,
        lambda r: r.unacked,
        lambda r: count(r.unacked),
        "delivered, not acknowledged yet",
    ),
    Column(
        "IN/S",
        6,
        lambda r: r.messages_in,
        lambda r: rate(r.messages_in),
        "messages a second, mean of the last 30 s",
    ),
    Column("OUT/S", 6, lambda r: r.messages_out, lambda r: rate(r.messages_out), "deliveries, too"),
    Column("CONS", 5, lambda r: r.consumers, lambda r: count(r.consumers), "consumers"),
    Column("ACK/S", 6, lambda r: r.acks, lambda r: rate(r.acks), "acknowledgements", rank=2),
    Column("STATE", 8, lambda r: r.view.state, lambda r: r.view.state, "", number=False, rank=3),
    Column(
        "MEMBERS",
        20,
        lambda r: r.view.members,
        lambda r: " ".join(short_name(name) for name in r.view.members),
        "",
        number=False,
        rank=4,
    ),
)

SESSIONS: Final[tuple[Column[SessionRow], ...]] = (
    Column("ID", 6, lambda r: r.id, lambda r: str(r.id), "for `warrener explain ID`"),
    Column(
        "NAME",
        10,
        lambda r: r.name,
        lambda r: r.name,
        "the connection's name, or its user",
        number=False,
        flexible=True,
    ),
    Column("CLIENT", 21, lambda r: r.client, lambda r: r.client, "its address", number=False),
    Column(
        "NODE",
        8,
        lambda r: r.node,
        lambda r: f"{r.node or '-'}{f'+{r.links - 1}' if r.links > 1 else ''}",
        "its home; +1: it has a link to one node more",
        number=False,
    ),
    Column("CHAN", 4, lambda r: r.channels, lambda r: count(r.channels), "its channels"),
    Column(
        "IN/S",
        6,
        lambda r: r.messages_in,
        lambda r: rate(r.messages_in),
        "messages a second from it",
    ),
    Column(
        "OUT/S",
        6,
        lambda r: r.messages_out,
        lambda r: rate(r.messages_out),
        "messages a second to it",
    ),
    Column(
        "LOCAL",
        5,
        lambda r: r.local,
        lambda r: percent(r.local),
        "of them through the node that leads their queue",
    ),
    Column("OPEN", 6, lambda r: r.age, lambda r: span(r.age), "for how long"),
    Column("USER", 10, lambda r: r.user, lambda r: r.user, "", number=False, rank=1),
    Column("VHOST", 8, lambda r: r.vhost, lambda r: r.vhost, "", number=False, rank=2),
    Column(
        "IN B/S", 6, lambda r: r.bytes_in, lambda r: volume(r.bytes_in), "bytes from it", rank=3
    ),
    Column(
        "OUT B/S", 7, lambda r: r.bytes_out, lambda r: volume(r.bytes_out), "bytes to it", rank=3
    ),
    Column(
        "MOVES",
        6,
        lambda r: r.line.moves,
        lambda r: count(r.line.moves),
        "moves of its channels so far",
        rank=4,
    ),
)

EVENTS: Final[tuple[Column[EventRow], ...]] = (
    Column("TIME", 8, lambda r: r.number, lambda r: clock(r.at), "", number=False),
    Column("EVENT", 20, lambda r: r.kind, lambda r: r.kind, "what happened", number=False),
    Column("ABOUT", 14, lambda r: r.subject, lambda r: r.subject, "whom", number=False),
    Column("REASON", 13, lambda r: r.reason, lambda r: r.reason or "-", "why", number=False),
    Column("DETAIL", 16, lambda r: r.detail, lambda r: r.detail, "", number=False, flexible=True),
)

PLAN: Final[tuple[Column[PartRow], ...]] = (
    Column("PART", 10, lambda r: r.kind, lambda r: r.kind, "what can be used up", number=False),
    Column("NAME", 16, lambda r: r.name, lambda r: r.name, "", number=False, flexible=True),
    Column(
        "CAPACITY",
        12,
        lambda r: (r.is_rate, r.capacity),
        lambda r: f"{'>=' if r.at_least else ''}{amount(r, r.capacity)}",
        "what it has: cores, or messages a second; >=: at least",
    ),
    Column(
        "USED",
        10,
        lambda r: (r.is_rate, r.used),
        lambda r: amount(r, r.used),
        "of it by the load of the last 5 min, reckoned",
    ),
    Column("RHO", 5, lambda r: r.rho, lambda r: busy(r.rho), "that as a share: how busy it is"),
    Column(
        "BREAKS AT",
        9,
        lambda r: r.breaks_at,
        lambda r: "-" if r.breaks_at is None else times(r.breaks_at),
        "times this load, at which it is used up",
    ),
)


def amount(row: PartRow, value: float) -> str:
    """Cores, or messages a second."""
    return f"{rate(value)}/s" if row.is_rate else f"{value:.2f} cores"


def times(factor: float) -> str:
    """Of a load, in at most nine signs: 0.98 x, 2.41 x, 788 x."""
    if factor >= 100_000:
        return ">99,999 x"
    return f"{factor:,.0f} x" if factor >= 100 else f"{factor:.2f} x"


def busy(rho: float) -> str:
    """A utilisation in at most five signs."""
    return f"{rho:.0%}" if rho < 10 else ">999%"


BUSY: Final = 0.8
"""The utilisation from which a part is worth a look: above it, what waits for it grows fast."""


def node_view() -> View[NodeRow]:
    """As they stand in the cluster."""

    def tone(row: NodeRow) -> Tone:
        if row.well:
            return Tone.PLAIN
        return Tone.ODD if row.drained and not row.status.alarms else Tone.BAD

    return View(
        NODES,
        sort_by="NODE",
        searched=lambda r: f"{r.key} {r.state} {r.fit} {r.status.host}",
        tone=tone,
    )


def queue_view() -> View[QueueRow]:
    """Those with the most messages first."""
    return View(
        QUEUES,
        sort_by="READY",
        searched=lambda r: f"{r.name} {r.vhost} {r.type} {r.view.leader or ''}",
        tone=lambda r: Tone.PLAIN if r.well else Tone.BAD,
    )


def session_view() -> View[SessionRow]:
    """The oldest first."""
    return View(
        SESSIONS,
        sort_by="OPEN",
        searched=lambda r: f"{r.id} {r.name} {r.client} {r.user} {r.vhost} {r.line.node or ''}",
        tone=lambda r: Tone.PLAIN if r.node else Tone.ODD,
    )


def event_view() -> View[EventRow]:
    """The newest last, and followed."""
    return View(
        EVENTS,
        sort_by="TIME",
        searched=lambda r: f"{r.kind} {r.subject} {r.reason} {r.detail}",
        tone=lambda r: Tone.ODD if r.kind.rpartition(".")[2] in _TROUBLE else Tone.PLAIN,
        follow=True,
        descending=False,
    )


def plan_view() -> View[PartRow]:
    """What breaks first comes first."""

    def tone(row: PartRow) -> Tone:
        return Tone.BAD if row.rho >= 1 else Tone.ODD if row.rho >= BUSY else Tone.PLAIN

    return View(
        PLAN,
        sort_by="BREAKS AT",
        searched=lambda r: r.key,
        tone=tone,
        descending=False,
    )


_TROUBLE: Final = frozenset(
    {
        *("broken", "bug", "cut_off", "data_lost", "disobeys", "down", "exited", "failed", "hangs"),
        *("killed", "lost", "not_written", "repair_failed", "repair_given_up", "silent", "unfit"),
        *("unreachable", "vanished", "view_lost"),
    }
)
"""Last words of kinds of events that somebody should look at."""


def node_detail(row: NodeRow) -> str:
    """All that is known of the chosen node and has no room in its row."""
    node = row.status
    parts = [str(node.name)]
    if node.amqp_port:
        parts.append(f"AMQP at {node.host}:{node.amqp_port}")
    if node.pid:
        parts.append(f"process {node.pid}")
    if node.version:
        parts.append(f"RabbitMQ {node.version}")
    parts.append(f"up {span(node.uptime)}, weight {node.weight}")
    if node.memory_used and node.memory_limit:
        parts.append(f"memory {size(node.memory_used)} of {size(node.memory_limit)}")
    if not node.fit:
        detail = f" ({node.unfit_detail})" if node.unfit_detail else ""
        parts.insert(1, f"no new sessions: {row.fit}{detail}")
    if node.alarms:
        parts.insert(1, f"alarms: {', '.join(node.alarms)}")
    return "; ".join(parts)


def queue_detail(row: QueueRow) -> str:
    view = row.view
    members = ", ".join(short_name(name) for name in view.members) or "-"
    away = [short_name(name) for name in view.members if name not in view.online]
    offline = f" (not online: {', '.join(away)})" if away else ""
    return (
        f"{row.name} in {row.vhost}: {row.type}, {view.state or 'state unknown'}, led by "
        f"{view.leader or 'no node'}, members {members}{offline}; {view.messages:,} messages"
    )


def session_detail(row: SessionRow) -> str:
    line = row.line
    links = ", ".join(short_name(name) for name in line.links) or "-"
    parked = f"; {line.parked} consumers wait for their queue" if line.parked else ""
    name = f' "{line.name}"' if line.name else ""
    return (
        f"session {row.id}{name} of {row.user} on {row.vhost}, {line.state}, since "
        f"{day(row.opened_at)}; links to {links}; {count(line.published)} messages in, "
        f"{count(line.delivered)} out, {size(line.bytes_in)} and {size(line.bytes_out)}{parked}"
    )


def event_detail(row: EventRow) -> str:
    words = (day(row.at), row.kind, row.subject, row.reason, row.detail)
    return " ".join(word for word in words if word)


def part_detail(row: PartRow) -> str:
    sure = f", give or take {row.error:.0%}" if row.error >= 0.005 else ""
    used = f"{amount(row, row.used)} of {amount(row, row.capacity)} used{sure}"
    what = row.name if row.kind == row.name else row.key
    return f"{what}: {used}; what would help: {row.remedy}"


def plan_lines(plan: Plan) -> list[str]:
    """The outlook in some lines, the most important first."""
    when = f"costs {plan.costs}, reckoned {clock(plan.at)}"
    if plan.breaks_at is None or plan.carries is None:
        return [
            "Nothing goes through, or nothing is known of what it costs: no load to say what "
            "breaks at",
            _busy_nodes(plan),
            *_notes(plan, when),
        ]
    sure = f" (give or take {plan.error:.0%})" if plan.error >= 0.005 else ""
    lines = [
        f"Carries {rate(plan.carries)}/s{sure}, {plan.breaks_at:.2f} times the "
        f"{rate(plan.published)}/s of the last 5 min",
        f"First to break: {plan.first}",
        f"What helps: {plan.remedy}",
        _busy_nodes(plan),
    ]
    left = [
        f"{loss.node} {times(loss.breaks_at)}{_stops(loss.stopped)}"
        for loss in plan.without
        if loss.breaks_at is not None
    ]
    if left:
        lines.append(f"Left of it without {', '.join(left)}")
    return [*lines, *_notes(plan, when)]


def _stops(queues: int) -> str:
    if not queues:
        return ""
    return f" ({queues} queue{'s stop' if queues > 1 else ' stops'})"


def _busy_nodes(plan: Plan) -> str:
    """Hosts as well, where nodes share one: that is what is used up first then."""
    nodes = [f"{row.name} {busy(row.rho)}" for row in plan.parts if row.kind == "node"]
    hosts = [f"host {row.name} {busy(row.rho)}" for row in plan.parts if row.kind == "host"]
    shares = nodes + (hosts if len(hosts) < len(nodes) else [])
    return f"Busy (rho): {', '.join(shares) or 'not known'}"


def _notes(plan: Plan, when: str) -> list[str]:
    """One line; `warrener plan show` has all."""
    if not plan.warnings:
        return [when]
    more = f" (and {len(plan.warnings) - 1} more)" if len(plan.warnings) > 1 else ""
    return [when, f"Note{more}: {plan.warnings[0]}"]
