"""What an operation would come to, said before it is asked for: by the daemon's status, or by its
own dry run. Pure.

`warrener top` and the page both propose; each has its own word for what undoes it (``Ways``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from warrener.control.operation import Operation
from warrener.control.operations import (
    DRAIN,
    REBALANCE,
    REVIVE,
    DrainRequest,
    NodeStatus,
    RebalanceAnswer,
    RebalanceRequest,
    ReviveRequest,
    StatusAnswer,
)
from warrener.control.outcomes import number, some
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState


@dataclass(frozen=True, slots=True)
class Ways:
    """How who proposes says it: what takes a node into service again, until when it is out of it,
    what spreads sessions."""

    revive: str
    until: str
    rebalance: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What would be done. ``operation`` is None if there is nothing to do; ``doing`` names it while
    it goes on. ``refusals`` are those of ``lines`` that say why it will be refused."""

    title: str
    lines: tuple[str, ...]
    doing: str
    operation: Operation[Any, Any] | None
    request: msgspec.Struct | None = None
    refusals: tuple[str, ...] = ()


def row_of(status: StatusAnswer, node: NodeName) -> NodeStatus | None:
    """The node's; None if it is no node of the cluster any more."""
    return next((row for row in status.nodes if row.name == node), None)


def others_fit(status: StatusAnswer, node: NodeName) -> list[str]:
    """Short names of the nodes that could take its sessions."""
    return [short_name(other.name) for other in status.nodes if other.fit and other.name != node]


def propose_drain(
    status: StatusAnswer, row: NodeStatus, ways: Ways, *, no_maintenance: str = ""
) -> Proposal:
    """A node out of service. ``status`` with its queues; ``no_maintenance``: why the driver doesn't
    put it into RabbitMQ's own maintenance mode, mostly empty."""
    name = short_name(row.name)
    others = others_fit(status, row.name)
    if row.being_drained:
        text = f"{ways.revive} takes it into service again."
        return Proposal(f"{name} is drained already", (text,), "", None)
    if row.state is not NodeState.RUNNING:
        text = f"It is {row.state}, so there is nothing to drain."
        return Proposal(f"{name} doesn't run", (text,), "", None)
    lines = [_sessions_move(status, row.sessions, others)]
    if not no_maintenance:
        lines += _leaders_move(status, row)
    refusals = _drain_refusals(status, row.name, others)
    last = no_maintenance or (
        f"Then RabbitMQ's maintenance mode: no clients, no leaders there, until {ways.until}."
    )
    return Proposal(
        f"Drain {row.name}?",
        (*lines, *refusals, last),
        f"drains {name}",
        DRAIN,
        DrainRequest(str(row.name)),
        tuple(refusals),
    )


def _sessions_move(status: StatusAnswer, sessions: int, others: Sequence[str]) -> str:
    if not sessions:
        return "No session is on it."
    where = f" to {some(list(others))}" if others else ""
    if status.balancer is not None and status.balancer.data_plane is DataPlane.HAPROXY:
        return f"{number(sessions, 'session')} are disconnected and connect again{where}."
    return f"{number(sessions, 'session')} on it: channels move{where}, clients stay connected."


def _leaders_move(status: StatusAnswer, row: NodeStatus) -> list[str]:
    """Those of classic queues don't: each has one copy, which goes on running there."""
    classic = [
        queue.name
        for queue in status.queues
        if queue.type == "classic" and queue.leader == row.name
    ]
    lines = []
    if (leaders := (row.leaders or 0) - len(classic)) > 0:
        get = "gets" if leaders == 1 else "get"
        lines.append(f"{number(leaders, 'queue')} that it leads {get} another leader first.")
    if classic:
        lines.append(
            f"{number(len(classic), 'classic queue')} ({some(classic)}) "
            f"{'stays' if len(classic) == 1 else 'stay'} on it, reached through the other nodes."
        )
    return lines


def _drain_refusals(status: StatusAnswer, node: NodeName, others: Sequence[str]) -> list[str]:
    found = []
    if hurt := without_majority(status, node):
        found.append(
            f"{number(len(hurt), 'quorum queue')} would lose the majority ({some(hurt)}): this "
            "will be refused."
        )
    if not others:
        found.append("No other node is fit to take the clients: this will be refused.")
    return found


def without_majority(status: StatusAnswer, node: NodeName) -> list[str]:
    """Quorum queues that would be left with half of their replicas or fewer."""
    found = []
    for queue in status.queues:
        there = queue.type == "quorum" and node in queue.online
        if there and len(queue.online) - 1 < len(queue.members) // 2 + 1:
            found.append(queue.name)
    return found


def propose_revive(row: NodeStatus, ways: Ways, *, spreads: bool = True) -> Proposal:
    """A node back into service. ``spreads``: leaders of queues are spread again afterwards."""
    name = short_name(row.name)
    if not row.being_drained:
        text = "It is fit." if row.fit else f"It isn't fit: {row.unfit_reason}."
        return Proposal(f"{name} is not drained", (text,), "", None)
    lines = [
        "Out of maintenance mode; waits up to 30 s until it gets new sessions.",
        f"Sessions that were moved off stay where they are: {ways.rebalance} spreads them again.",
    ]
    if spreads:
        lines.append("Leaders of queues are spread over the nodes again, by load.")
    return Proposal(
        f"Revive {row.name}?",
        tuple(lines),
        f"revives {name}",
        REVIVE,
        ReviveRequest(str(row.name)),
    )


def moves_of(answer: RebalanceAnswer) -> int:
    """Sessions that a dry run would move."""
    return sum(max(0, share.before - share.wanted) for share in answer.shares)


def propose_rebalance(answer: RebalanceAnswer, *, with_shares: bool = True) -> Proposal:
    """Open sessions spread again; ``answer`` of a dry run. ``with_shares``: a line for each."""
    moves = moves_of(answer)
    if not moves:
        text = "Sessions are spread as evenly as they can be; nothing would be moved."
        return Proposal("Nothing to rebalance", (text,), "", None)
    width = max(len(short_name(share.node)) for share in answer.shares)
    shares = [
        f"{short_name(share.node):<{width}}  {share.before:>6} -> {share.wanted}"
        for share in answer.shares
        if with_shares
    ]
    return Proposal(
        "Rebalance sessions?",
        (
            *shares,
            f"{number(moves, 'session')} moved, at a measured pace; none is disconnected.",
            f"The largest share is {answer.skew_before:.2f} times the mean, "
            f"{answer.skew_after:.2f} then.",
        ),
        "rebalances",
        REBALANCE,
        RebalanceRequest(),
    )
