"""What each act of the page would come to: the daemon's status, or its own dry run, in sentences
and small tables. Pure.

A ``Draft`` also has its *basis*: what of the cluster it rests on. A confirmation makes the draft
again; where the basis is another one by then, or it would be refused, or much more would be moved,
nothing is done (``changed`` says why). Counts of sessions aren't in the basis: with clients
that come and go they would never be the same twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from warrener.control import outcomes, proposals
from warrener.control.leaders_operations import LeadersBalanceRequest, LeadersPlanAnswer
from warrener.control.operation import Operation
from warrener.control.operations import (
    LEADERS_BALANCE,
    SET_POLICY,
    SET_WEIGHT,
    NodeStatus,
    RebalanceAnswer,
    SetPolicyRequest,
    SetWeightRequest,
    StatusAnswer,
)
from warrener.control.outcomes import amount, number
from warrener.control.proposals import Proposal, Ways
from warrener.dashboard.acts import ActKind, Choice, Preview, Sheet
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import Short
from warrener.facts.settings import PolicyName

ROWS: Final = 12
"""Of a table in a preview; the rest is a number."""

SLACK: Final = 10
"""Sessions by which a preview may be wrong, beside a quarter of what it said."""

WAYS: Final = Ways(
    revive="Revive", until="it is revived", rebalance="Rebalance sessions (under Nodes)"
)

AGAIN: Final = "Balance leaders (under Nodes)"

POLICIES: Final[Mapping[PolicyName, str]] = {
    PolicyName.ROUNDROBIN: "every node in turn, whatever its weight",
    PolicyName.WEIGHTED: "in turn, each node as often as its weight says",
    PolicyName.RANDOM: "by chance, in proportion to the weights",
    PolicyName.SOURCE: "the same client address always to the same node, by weight",
    PolicyName.LEASTCONN: "the node with the fewest sessions, whatever its weight",
    PolicyName.WEIGHTED_LEASTCONN: "the node with the fewest sessions for its weight",
    PolicyName.P2C: "two nodes by chance and weight, the one with fewer sessions of them",
}
"""What each does with a new session."""

_WITHOUT_WEIGHTS: Final = frozenset({PolicyName.ROUNDROBIN, PolicyName.LEASTCONN})


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be done. ``operation`` None: nothing can be confirmed. ``basis`` is what it rests
    on, in words; ``size`` how many sessions it moves."""

    act: ActKind
    title: str
    node: NodeName | None = None
    lines: Sequence[str] = ()
    refusals: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()
    button: str = ""
    doing: str = ""
    operation: Operation[Any, Any] | None = None
    request: msgspec.Struct | None = None
    basis: Mapping[str, str] = field(default_factory=dict)
    size: int = 0
    choices: Sequence[Choice] = ()
    value: int | None = None

    @property
    def can_be_confirmed(self) -> bool:
        """Whether there is something to do that won't be refused."""
        return self.operation is not None and not self.refusals

    def preview(self, id_: str) -> Preview:
        """As the page gets it."""
        return Preview(
            id=id_ if self.can_be_confirmed else "",
            act=self.act,
            node=short_name(self.node) if self.node else "",
            title=self.title,
            lines=list(self.lines),
            refusals=list(self.refusals),
            sheets=list(self.sheets),
            button=self.button,
            choices=list(self.choices),
            value=self.value,
        )


def changed(shown: Draft, now: Draft) -> str:
    """Why what was shown isn't so any more; empty if it still is."""
    if now.refusals:
        return now.refusals[0].rstrip(".")
    for what, before in shown.basis.items():
        after = now.basis.get(what, "gone")
        if after != before:
            return f"{what}: {before} when it was shown, {after} now"
    if not now.can_be_confirmed:
        return now.title
    if now.size > shown.size + shown.size // 4 + SLACK:
        return f"{number(now.size, 'session')} would be moved now, not {shown.size:,}"
    return ""


def impossible(act: ActKind, title: str, node: NodeName | None, why: str) -> Draft:
    """It can't be done here, or not now."""
    return Draft(act, title, node, refusals=[why])


def drain(
    status: StatusAnswer,
    row: NodeStatus,
    *,
    refused: str = "",
    waits_for: str = "",
    no_maintenance: str = "",
) -> Draft:
    """``refused``: why the daemon would refuse it now; ``waits_for``: what it would wait for first,
    and refuse it if that doesn't come."""
    proposal = proposals.propose_drain(status, row, WAYS, no_maintenance=no_maintenance)
    name = short_name(row.name)
    lines = [line for line in proposal.lines if line not in proposal.refusals]
    if waits_for:
        lines.insert(0, f"First it waits for replicas to come online; as it is, {waits_for}.")
    refusals = []
    if refused and proposal.operation is not None:
        force = f"`warrener node drain {name} --force` does it all the same"
        refusals = [f"{refused}. {force}."]
    sheet = _led_by(status, row.name) if proposal.operation is not None else None
    return _of(
        ActKind.DRAIN,
        proposal,
        row.name,
        lines=lines,
        refusals=refusals,
        sheets=[sheet] if sheet and not no_maintenance else [],
        button=f"Drain {name}",
        basis={
            f"{name} is": _state(row),
            "nodes that can take its clients": ", ".join(proposals.others_fit(status, row.name)),
        },
        size=row.sessions,
    )


def _led_by(status: StatusAnswer, node: NodeName) -> Sheet | None:
    up = {row.name for row in status.nodes if row.fit}
    led = [queue for queue in status.queues if queue.leader == node and queue.type != "classic"]
    if not led:
        return None
    rows = [
        [
            queue.name if queue.vhost == "/" else f"{queue.vhost}/{queue.name}",
            ", ".join(
                short_name(member) for member in queue.online if member != node and member in up
            )
            or "nobody",
        ]
        for queue in led
    ]
    return Sheet(
        caption="Leaders that move",
        columns=["queue", "who may lead it then"],
        numbers=[],
        rows=_first(rows),
    )


def revive(status: StatusAnswer, row: NodeStatus, *, spreads: bool, maintained: bool) -> Draft:
    """``spreads``: leaders are spread again afterwards; ``maintained``: out of RabbitMQ's own
    maintenance mode."""
    proposal = proposals.propose_revive(row, WAYS, spreads=spreads)
    name = short_name(row.name)
    lines = list(proposal.lines)
    if not maintained and proposal.operation is not None:
        lines[0] = "The balancer gives it sessions again; waits up to 30 s until it is fit."
    return _of(
        ActKind.REVIVE,
        proposal,
        row.name,
        lines=lines,
        button=f"Revive {name}",
        basis={f"{name} is": _state(row)},
    )


def rebalance(status: StatusAnswer, answer: RebalanceAnswer) -> Draft:
    """``answer`` of a dry run."""
    proposal = proposals.propose_rebalance(answer, with_shares=False)
    moves = proposals.moves_of(answer)
    return _of(
        ActKind.REBALANCE,
        proposal,
        lines=proposal.lines,
        sheets=[
            Sheet(
                caption="Sessions at home on each node",
                columns=["node", "now", "then"],
                numbers=[1, 2],
                rows=[
                    [short_name(share.node), f"{share.before:,}", f"{share.wanted:,}"]
                    for share in answer.shares
                ],
            )
        ],
        button=f"Move {number(moves, 'session')}",
        doing="rebalances sessions",
        basis=_balance_basis(status),
        size=moves,
    )


def policy(status: StatusAnswer, wanted: PolicyName | None) -> Draft:
    """None: which there are."""
    balancer = status.balancer
    if balancer is None:
        return impossible(ActKind.POLICY, "Set the policy", None, "the balancer doesn't run yet")
    now = balancer.policy
    lines = []
    if wanted is not None and wanted is not now:
        lines.append(f"New sessions go by {wanted} instead of {now}: {POLICIES[wanted]}.")
    lines += [_stay(status), _lasts()]
    set_it = wanted is not None and wanted is not now
    return Draft(
        ActKind.POLICY,
        "Set the balancing policy",
        lines=lines,
        sheets=[_spread(status)],
        button=f"Set {wanted}" if set_it else "Set",
        doing=f"sets the policy to {wanted}",
        operation=SET_POLICY if set_it else None,
        request=SetPolicyRequest(wanted) if wanted is not None and set_it else None,
        basis={"the policy": now},
        choices=[Choice(value=one, hint=hint, now=one is now) for one, hint in POLICIES.items()],
    )


def weight(status: StatusAnswer, row: NodeStatus, wanted: int | None) -> Draft:
    """None: which it has."""
    name = short_name(row.name)
    balancer = status.balancer
    if balancer is None:
        return impossible(
            ActKind.WEIGHT, f"Set the weight of {name}", row.name, "the balancer doesn't run yet"
        )
    set_it = wanted is not None and wanted != row.weight
    then = row.weight if wanted is None else wanted
    lines = []
    if balancer.policy in _WITHOUT_WEIGHTS:
        lines.append(f"The policy is {balancer.policy}, which doesn't go by weights, but for 0.")
    if then == 0:
        lines.append(f"With 0, {name} gets sessions only if no other node is fit.")
    lines += [_stay(status), _lasts()]
    return Draft(
        ActKind.WEIGHT,
        f"Set the weight of {row.name}",
        row.name,
        lines=lines,
        sheets=[_weights(status, row.name, then)],
        button=f"Set {then}" if set_it else "Set",
        doing=f"sets the weight of {name} to {then}",
        operation=SET_WEIGHT if set_it else None,
        request=SetWeightRequest(str(row.name), then) if set_it else None,
        basis={"the policy": balancer.policy, f"the weight of {name}": str(row.weight)},
        value=row.weight,
    )


_SHORT: Final = {
    **outcomes.SHORT,
    Short.MAX_MOVES: "it would take more moves than are made at once",
}


def leaders(status: StatusAnswer, plan: LeadersPlanAnswer) -> Draft:
    """``plan`` as the daemon has just made it; it is carried out as it is shown, or not at all."""
    moves = len(plan.moves)
    name = f"{moves:,} leader{'s' * (moves > 1)}"
    busiest = f"The busiest node carries {plan.skew_before:.2f} times the mean"
    lines = [
        f"Measured for {plan.seconds:.0f} s. {busiest}"
        + (f", then {plan.skew_expected:.2f}." if moves else ".")
    ]
    if moves:
        lines.append("A few at a time, until something goes wrong; clients stay connected.")
    if plan.short is not None and plan.short_node is not None:
        why = _SHORT[plan.short].format(queue=plan.short_queue)
        lines.append(f"{short_name(plan.short_node)} stays more than a tenth over the mean: {why}.")
    loads = Sheet(
        caption="Load of each node, in operations a second",
        columns=["node", "load", "then", "leads", "then"],
        numbers=[1, 2, 3, 4],
        rows=[
            [
                short_name(line.node),
                amount(line.before),
                amount(line.expected),
                f"{line.leaders_before:,}",
                f"{line.leaders_expected:,}",
            ]
            for line in plan.nodes
        ],
    )
    moved = Sheet(
        caption="Leaders that move",
        columns=["queue", "from", "to", "load", "why"],
        numbers=[3],
        rows=_first(
            [
                [
                    move.name if move.vhost == "/" else f"{move.vhost}/{move.name}",
                    short_name(move.source),
                    short_name(move.target),
                    amount(move.load),
                    move.reason.value,
                ]
                for move in plan.moves
            ]
        ),
    )
    return Draft(
        ActKind.LEADERS,
        "Balance the leaders of queues?" if moves else "Leaders are spread as they should be",
        lines=lines,
        refusals=[f"Not now: {obstacle}." for obstacle in plan.obstacles if moves],
        sheets=[moved, loads] if moves else [loads],
        button=f"Move {name}",
        doing="balances leaders",
        operation=LEADERS_BALANCE if moves else None,
        request=LeadersBalanceRequest(plan.plan),
        basis=fitness(status),
    )


def fitness(status: StatusAnswer) -> dict[str, str]:
    """What a plan of leaders rests on, beside itself."""
    return {"nodes that are fit": _fit(status)}


# ----------------------------------------------------------------------------- parts of them


def _of(act: ActKind, proposal: Proposal, node: NodeName | None = None, **changes: Any) -> Draft:
    values: dict[str, Any] = {"doing": proposal.doing} | changes
    return Draft(
        act,
        proposal.title,
        node,
        operation=proposal.operation,
        request=proposal.request,
        **values,
    )


def _state(row: NodeStatus) -> str:
    if row.being_drained:
        return "drained"
    return f"{row.state}, {'fit' if row.fit else 'unfit'}"


def _fit(status: StatusAnswer) -> str:
    return ", ".join(short_name(row.name) for row in status.nodes if row.fit) or "none"


def _balance_basis(status: StatusAnswer) -> dict[str, str]:
    balancer = status.balancer
    weights = ", ".join(f"{short_name(row.name)} {row.weight}" for row in status.nodes)
    return {
        **fitness(status),
        "the policy": balancer.policy if balancer else "none",
        "weights": weights,
    }


def _stay(status: StatusAnswer) -> str:
    """What becomes of open sessions."""
    if status.balancer is not None and status.balancer.data_plane is DataPlane.HAPROXY:
        return "Open sessions stay where they are until their clients connect again."
    return f"Open sessions stay where they are; {WAYS.rebalance} moves them."


def _lasts() -> str:
    return "It lasts until the next `warrener up`; written into warrener.toml it is kept."


def _spread(status: StatusAnswer) -> Sheet:
    """How sessions are spread now."""
    total = sum(row.sessions for row in status.nodes)
    return Sheet(
        caption="Sessions now",
        columns=["node", "sessions", "share", "weight"],
        numbers=[1, 2, 3],
        rows=[
            [
                _named(row),
                f"{row.sessions:,}",
                _percent(row.sessions, total),
                str(row.weight),
            ]
            for row in status.nodes
        ],
    )


def _weights(status: StatusAnswer, node: NodeName, then: int) -> Sheet:
    """What share of new sessions weights come to, where the policy goes by them."""
    now = {row.name: row.weight for row in status.nodes if row.fit}
    after = {name: then if name == node else value for name, value in now.items()}
    return Sheet(
        caption="Sessions now, and what part of the new ones each node gets, now and then",
        columns=["node", "sessions", "weight", "part", "then", "part"],
        numbers=[1, 2, 3, 4, 5],
        rows=[
            [
                _named(row),
                f"{row.sessions:,}",
                str(row.weight),
                _share(status, now, row),
                str(then if row.name == node else row.weight),
                _share(status, after, row),
            ]
            for row in status.nodes
        ],
    )


def _share(status: StatusAnswer, weights: Mapping[NodeName, int], row: NodeStatus) -> str:
    """Of nodes of weight 0 there is one only if all have it; then they count alike."""
    if row.name not in weights:
        return "0 %"
    chosen = {name: value for name, value in weights.items() if value} or dict.fromkeys(weights, 1)
    if status.balancer is not None and status.balancer.policy in _WITHOUT_WEIGHTS:
        chosen = dict.fromkeys(chosen, 1)
    return _percent(chosen.get(row.name, 0), sum(chosen.values()))


def _named(row: NodeStatus) -> str:
    return short_name(row.name) + ("" if row.fit else " (unfit)")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _first(rows: list[list[str]]) -> list[list[str]]:
    if len(rows) <= ROWS:
        return rows
    more = f"and {len(rows) - ROWS + 1:,} more"
    return [*rows[: ROWS - 1], [more, *[""] * (len(rows[0]) - 1)]]
