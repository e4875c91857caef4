"""Leaders and their load, for people."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warrener.cli.common import with_state
from warrener.cli.render import new_table
from warrener.control.leaders_operations import (
    LeaderQueueLine,
    LeadersBalanceAnswer,
    LeaderShareLine,
    LeadersPlanAnswer,
    LeadersShowAnswer,
)
from warrener.control.outcomes import SHORT, amount, leaders_moved
from warrener.control.state_folder import StateFolder
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import Short

MOVES_SHOWN: Final = 30


def show(console: Console, answer: LeadersShowAnswer, folder: StateFolder) -> None:
    """The nodes, then the hottest queues."""
    kinds = sorted({kind for node in answer.nodes for kind in node.leaders})
    headers = [f">{kind}" for kind in kinds]
    table = new_table("node", *headers, ">in/s", ">out/s", ">load", ">share", ">of mean", "")
    for node in answer.nodes:
        table.add_row(
            escape(node.node),
            *(f"{node.leaders.get(kind, 0):,}" for kind in kinds),
            amount(node.published),
            amount(node.delivered),
            amount(node.load),
            f"{node.share:.0%}",
            f"{node.skew:.2f}",
            f"[yellow]{escape(node.why_not)}[/]" if node.why_not else "",
        )
    console.print(table)
    console.print()
    console.print(
        f"Measured for {answer.seconds:.1f} s. The busiest node carries {answer.skew:.2f} times "
        f"the mean. {_what_balance_would_do(answer, folder)}",
        soft_wrap=True,
    )
    if answer.missing:
        names = ", ".join(short_name(name) for name in answer.missing)
        console.print(
            f"[yellow]{names} didn't tell:[/] what clients do there isn't in it", soft_wrap=True
        )
    _short(console, answer.short, answer.short_node, answer.short_queue)
    console.print()
    _queues(console, answer)


def _what_balance_would_do(answer: LeadersShowAnswer, folder: StateFolder) -> str:
    command = with_state(folder, "warrener leaders balance")
    if not answer.moves:
        return f"`{command}` would move nothing."
    moves = f"{answer.moves:,} leader{'s' * (answer.moves > 1)}"
    return f"`{command}` would move {moves}; then it would be {answer.skew_after:.2f}."


def _queues(console: Console, answer: LeadersShowAnswer) -> None:
    active = [queue for queue in answer.queues if queue.load > 0]
    console.print(
        f"[bold]Queues[/] {answer.queues_total:,}, {answer.queues_active:,} of them active"
    )
    if not active:
        return
    console.print(_queue_table(active))
    if answer.queues_active > len(active):
        more = answer.queues_active - len(active)
        console.print(f"  and {more:,} more with less load (--limit)")


def _queue_table(queues: Sequence[LeaderQueueLine]) -> Table:
    vhosts = {queue.vhost for queue in queues} != {"/"}
    headers = ["vhost"] * vhosts
    table = new_table(*headers, "queue", "type", "leader", "members", ">in/s", ">out/s", ">load")
    for queue in queues:
        members = ", ".join(
            short_name(name) if name in queue.online else f"({short_name(name)})"
            for name in queue.members
        )
        table.add_row(
            *([escape(queue.vhost)] * vhosts),
            escape(queue.name),
            queue.type,
            escape(short_name(queue.leader) if queue.leader else "[none]"),
            escape(members or "-"),
            amount(queue.published),
            amount(queue.delivered),
            amount(queue.load),
        )
    return table


def plan(console: Console, answer: LeadersPlanAnswer, *, dry_run: bool) -> None:
    """The moves, and what each node is expected to carry."""
    if answer.moves:
        table = new_table("queue", "from", "to", ">load", ">takes along", "why")
        for move in answer.moves[:MOVES_SHOWN]:
            name = move.name if move.vhost == "/" else f"{move.vhost}/{move.name}"
            table.add_row(
                escape(name),
                escape(short_name(move.source)),
                escape(short_name(move.target)),
                amount(move.load),
                amount(move.shift),
                move.reason,
            )
        console.print(table)
        if len(answer.moves) > MOVES_SHOWN:
            console.print(f"  and {len(answer.moves) - MOVES_SHOWN:,} more (--json)")
        console.print()
    _shares(console, answer.nodes, measured=False)
    moves = len(answer.moves)
    told = (
        f"{moves:,} move{'s' * (moves > 1)}: the busiest node carries {answer.skew_before:.2f} "
        f"times the mean, then {answer.skew_expected:.2f}."
        if moves
        else f"Nothing to move: the busiest node carries {answer.skew_before:.2f} times the mean."
    )
    dry = " Nothing was moved." if dry_run and moves else ""
    console.print(f"{told} Measured for {answer.seconds:.1f} s.{dry}", soft_wrap=True)
    _short(console, answer.short, answer.short_node, answer.short_queue)
    if dry_run:
        for obstacle in answer.obstacles:
            console.print(f"[yellow]Not now:[/] {escape(obstacle)}", soft_wrap=True)


def balanced(console: Console, answer: LeadersBalanceAnswer) -> None:
    """What came of it."""
    _shares(console, answer.nodes, measured=answer.skew_after is not None)
    console.print(f"{leaders_moved(answer)}.", soft_wrap=True)


def _shares(console: Console, nodes: Sequence[LeaderShareLine], *, measured: bool) -> None:
    after = [">load after", ">leaders after"] if measured else []
    table = new_table("node", ">load", ">wanted", ">expected", ">leaders", ">expected", *after)
    for node in nodes:
        cells = [
            escape(node.node),
            amount(node.before),
            amount(node.wanted),
            amount(node.expected),
            f"{node.leaders_before:,}",
            f"{node.leaders_expected:,}",
        ]
        if measured:
            cells.append("-" if node.after is None else amount(node.after))
            cells.append("-" if node.leaders_after is None else f"{node.leaders_after:,}")
        table.add_row(*cells)
    console.print(table)
    console.print()


def _short(console: Console, short: Short | None, node: NodeName | None, queue: str) -> None:
    if short is not None and node is not None:
        why = SHORT[short].format(queue=queue)
        console.print(
            f"[yellow]{escape(short_name(node))} stays more than a tenth over the mean:[/] "
            f"{escape(why)}",
            soft_wrap=True,
        )
