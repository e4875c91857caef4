"""The lines of a screen that don't depend on a terminal, and a whole frame as text. Pure."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from rich.cells import cell_len

from warrener.cli.render import span
from warrener.cli.top import columns, rows
from warrener.cli.top.columns import percent, rate
from warrener.cli.top.planning import PartRow
from warrener.cli.top.readings import Pane, Reading
from warrener.cli.top.rows import Totals
from warrener.cli.top.table import Line, View, fit, plain

OLD_VIEW: Final = 10.0
"""Seconds; the daemon doesn't act on a view of the cluster that is older."""

WIDE: Final = 132
"""Columns for the tables of a frame of text: a pipe has room for anything, eyes don't."""

ROWS: Final = {
    Pane.NODES: 1000,
    Pane.QUEUES: 20,
    Pane.SESSIONS: 20,
    Pane.EVENTS: 10,
    Pane.PLAN: 10,
}
"""Rows of each pane in a frame of text."""


@dataclass(slots=True)
class Panes:
    """The five tables, and the reading that is in them."""

    nodes: View[rows.NodeRow]
    queues: View[rows.QueueRow]
    sessions: View[rows.SessionRow]
    events: View[rows.EventRow]
    plan: View[PartRow]
    now: Reading | None = None
    totals: Totals | None = None
    _before: dict[Pane, Reading] | None = None

    @classmethod
    def empty(cls) -> "Panes":
        return cls(
            columns.node_view(),
            columns.queue_view(),
            columns.session_view(),
            columns.event_view(),
            columns.plan_view(),
        )

    def take(self, reading: Reading) -> None:
        """Shows a reading; each pane's rates go by the last one that had it."""
        past = self._before or {}
        before, self.now = self.now, reading
        self.totals = rows.totals(reading, before)
        self.nodes.put(rows.nodes(reading, past.get(Pane.NODES, before)))
        if Pane.QUEUES in reading.panes:
            self.queues.put(rows.queues(reading))
        if Pane.SESSIONS in reading.panes:
            self.sessions.put(rows.sessions(reading, past.get(Pane.SESSIONS)))
        if Pane.EVENTS in reading.panes:
            self.events.put(rows.events(reading))
        if Pane.PLAN in reading.panes:
            self.plan.put(reading.plan.parts if reading.plan is not None else ())
        self._before = past | {pane: reading for pane in reading.panes}

    def of(self, pane: Pane) -> View[Any]:
        """The table of a pane."""
        view: View[Any] = getattr(self, pane.value)
        return view

    def above(self, pane: Pane, width: int) -> list[Line]:
        """What stands over the table."""
        plan = self.now.plan if self.now is not None else None
        if pane is not Pane.PLAN or plan is None:
            return []
        return [*(Line(fit(text, width)) for text in columns.plan_lines(plan)), Line("")]

    def detail(self, pane: Pane) -> str:
        """The chosen row in words; empty if there is none."""
        chosen = self.of(pane).chosen
        return "" if chosen is None else _DETAILS[pane](chosen)

    def number(self, pane: Pane) -> int | None:
        """How many there are; None if nobody has asked yet."""
        if self.now is None:
            return None
        match pane:
            case Pane.NODES:
                return len(self.now.status.nodes)
            case Pane.SESSIONS:
                return self.totals.sessions if self.totals else None
            case Pane.QUEUES:
                led = [node.leaders for node in self.now.status.nodes]
                known = self._before is not None and Pane.QUEUES in self._before
                if Pane.QUEUES in self.now.panes or (known and None in led):
                    return self.queues.total
                return sum(number for number in led if number is not None) or None
            case Pane.EVENTS | Pane.PLAN:
                return None

    def empty_text(self, pane: Pane) -> str:
        """What stands where no rows are."""
        if self.now is None or pane not in self.now.panes:
            return "reading..."
        if note := self.now.note(pane):
            return note
        if self.of(pane).filter and self.of(pane).total:
            return f"none of {self.of(pane).total:,} {pane} has {self.of(pane).filter!r} in it"
        return f"no {pane}"


_DETAILS: Final[dict[Pane, Callable[[Any], str]]] = {
    Pane.NODES: columns.node_detail,
    Pane.QUEUES: columns.queue_detail,
    Pane.SESSIONS: columns.session_detail,
    Pane.EVENTS: columns.event_detail,
    Pane.PLAN: columns.part_detail,
}


def title(now: Reading, totals: Totals, width: int) -> str:
    """The cluster in one line: what has no room at its end is left out."""
    status, balancer = now.status, now.status.balancer
    parts = [f"{status.cluster}: {status.phase}, up {span(status.uptime)}"]
    parts.append(f"{totals.fit} of {totals.nodes} fit")
    if view := _view(now):
        parts.append(view)
    if balancer is not None:
        parts.append(f"{totals.sessions} session{'' if totals.sessions == 1 else 's'}")
        if totals.messages_in is not None or totals.messages_out is not None:
            parts.append(f"in {rate(totals.messages_in)}/s out {rate(totals.messages_out)}/s")
        if totals.local is not None:
            parts.append(f"{percent(totals.local)} local")
        parts.append(balancer.policy.value)
        if balancer.auto_weights:
            parts.append("automatic weights")
    shown = parts[0]
    for part in parts[1:]:
        if cell_len(shown) + 2 + cell_len(part) <= width:
            shown = f"{shown}  {part}"
    return fit(shown, width)


def _view(now: Reading) -> str:
    """Empty while what RabbitMQ says of itself is young enough."""
    management = now.status.management
    if management.source is None:
        return "cluster's own view not known"
    age = management.age or 0.0
    return f"cluster's own view {span(age)} old" if age > OLD_VIEW else ""


def text(panes: Panes, width: int) -> list[str]:
    """All panes, one after the other, with their first rows."""
    now, sums = panes.now, panes.totals
    if now is None or sums is None:
        raise AssertionError("a frame is drawn of a reading")
    lines = [title(now, sums, width)]
    for pane in Pane:
        view = panes.of(pane)
        lines += ["", f"{pane.value.capitalize()} {view.total:,}"]
        lines += [line.text for line in panes.above(pane, width)]
        if not view.found:
            lines += _paragraph(panes.empty_text(pane), width)
            continue
        if pane is Pane.EVENTS:
            view.move(view.found)  # the newest are the last ones
        room = width if pane is Pane.EVENTS else min(width, WIDE)
        lines += [line.text.rstrip() for line in view.lines(room, 1 + ROWS[pane])]
        if (more := view.found - ROWS[pane]) > 0:
            what = "earlier" if pane is Pane.EVENTS else "more"
            lines.append(f"  and {more:,} {what}")
        if pane is Pane.QUEUES and (note := now.note(pane)):
            lines.append(f"  rates: {note}")
    return lines


def _paragraph(text: str, width: int) -> list[str]:
    return textwrap.wrap(plain(text), max(20, width), initial_indent="  ", subsequent_indent="  ")


def document(panes: Panes, seconds: float) -> dict[str, Any]:
    """The same for programs: figures, not texts; all rows. Rates are over ``seconds``."""
    now, sums = panes.now, panes.totals
    if now is None or sums is None:
        raise AssertionError("a document is made of a reading")
    return {
        "at": now.taken_at,
        "seconds": seconds,
        "cluster": now.status.cluster,
        "phase": now.status.phase,
        "totals": asdict(sums),
        **{pane.value: _figures(panes.of(pane).visible()) for pane in Pane},
        "plan": _plan(now),  # more than is in its table
    }


def _plan(now: Reading) -> dict[str, Any]:
    """The outlook with its parts; ``why_not`` says why there is none."""
    if now.plan is None:
        return {"why_not": now.note(Pane.PLAN)}
    return asdict(now.plan)


_RAW: Final = {"key", "status", "view", "line"}
"""Fields that a row has for its texts."""


def _figures(found: Sequence[Any]) -> list[dict[str, Any]]:
    names = [field.name for field in fields(found[0]) if field.name not in _RAW] if found else []
    return [
        {name: getattr(row, name) for name in names}
        | ({"node": row.key} if isinstance(row, rows.NodeRow) else {})
        for row in found
    ]
