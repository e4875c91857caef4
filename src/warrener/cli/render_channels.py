"""What `warrener explain` shows: a table of channels, or one session with all about each."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape

from warrener.cli.render import add_column, counts, locality, new_table, size, span
from warrener.control.operations import ChannelLine, ExplainAnswer
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import Placement

CHANNELS_SHOWN: Final = 50

_WHY: Final = {
    Placement.HOME: "where the policy put its session",
    Placement.LEADER: "its queue is led there",
    Placement.TIED: "bound to that connection (exclusive queue, transaction, direct reply-to)",
    Placement.FAILED_OVER: "its node was lost, and no leader is known",
    Placement.REFUSED: "the leader's node refused a connection",
    Placement.DRAINED: "its node was drained",
    Placement.REBALANCED: "sessions were spread evenly",
    Placement.UNSETTLED: "its client doesn't settle in time for a move to the leader",
    Placement.MOVING: "on its way to another node",
    Placement.WAITING: "waits for a node, or for its queue to come back",
}
"""Each reason in words; the table has no room for them."""


def table(console: Console, answer: ExplainAnswer) -> None:
    """Channels of many sessions, a line each."""
    names = _names(answer.channels)
    rows = new_table(">session", ">ch", "node", "queue", "leader", "why", ">since", ">moves")
    for header in (">cons", ">unack", ">unconf"):
        add_column(rows, header)
    for line in answer.channels[:CHANNELS_SHOWN]:
        rows.add_row(
            str(line.session),
            str(line.channel),
            _node(line.node, names),
            escape(line.queue or "-"),
            _node(line.leader, names),
            _why(line),
            span(line.age),
            str(sum(line.moves.values())),
            f"{line.consumers}[yellow]({line.parked})[/]" if line.parked else str(line.consumers),
            str(line.unsettled),
            str(line.unconfirmed),
        )
    console.print(rows)
    shown = min(len(answer.channels), CHANNELS_SHOWN)
    if answer.total > shown:
        console.print(f"and {answer.total - shown} more (--queue, --node, --json)")
    console.print(f"[dim]{locality(answer.locality, answer.locality_error)}[/]", soft_wrap=True)


def session(console: Console, answer: ExplainAnswer) -> None:
    """One session: the client, its links, and each channel in full."""
    one = answer.session
    assert one is not None, "only for an answer about one session"
    name = f" ({escape(one.name)})" if one.name else ""
    console.print(
        f"[bold]Session {one.id}[/] from {escape(one.client)}{name}: {escape(one.user)} on vhost "
        f"{escape(one.vhost)}, {one.state} for {span(one.age)}",
        soft_wrap=True,
    )
    links = ", ".join(escape(link) for link in one.links) or "none"
    console.print(f"  home {escape(one.node or '-')}; links to {links}", soft_wrap=True)
    console.print(
        f"  messages: {one.published:,} in, {one.delivered:,} out, {one.messages_local:,} local, "
        f"{one.messages_remote:,} remote; {one.moves} moves; journal {size(one.journal_bytes)}",
        soft_wrap=True,
    )
    console.print(f"  {locality(answer.locality, answer.locality_error)}", soft_wrap=True)
    for line in answer.channels[:CHANNELS_SHOWN]:
        _channel(console, line)
    left = answer.total - min(len(answer.channels), CHANNELS_SHOWN)
    if left:
        console.print(f"and {left} more channels (--queue, --node, --json)")
    if not answer.total:
        console.print("  no channels" if not one.channels else "  no such channels")


def _channel(console: Console, line: ChannelLine) -> None:
    console.print()
    node = escape(line.node or "no node")
    console.print(
        f"[bold]Channel {line.channel}[/] on {node} for {span(line.age)}: {_why(line)}, "
        f"{_WHY[line.why]}",
        soft_wrap=True,
    )
    if line.queue:
        leader = f"led by {escape(line.leader)}" if line.leader else "its leader isn't known"
        console.print(f"  queue {escape(line.queue)}, {leader}", soft_wrap=True)
    parked = f", {line.parked} of them wait for their queue" if line.parked else ""
    console.print(
        f"  {line.consumers} consumers{parked}; {line.unsettled} deliveries unsettled, "
        f"{line.unconfirmed} publishes unconfirmed ({size(line.journal_bytes)} kept)",
        soft_wrap=True,
    )
    console.print(
        f"  messages: {line.messages_local:,} local, {line.messages_remote:,} remote; moves: "
        f"{counts(line.moves)}; state {escape(line.state)}",
        soft_wrap=True,
    )


def _why(line: ChannelLine) -> str:
    style = {
        Placement.LEADER: "green",
        Placement.MOVING: "yellow",
        Placement.REFUSED: "yellow",
        Placement.WAITING: "yellow",
    }.get(line.why)
    return f"[{style}]{line.why}[/]" if style else str(line.why)


def _names(lines: Sequence[ChannelLine]) -> dict[NodeName, str]:
    """Each node as short as can be without two being called the same."""
    nodes = {node for line in lines for node in (line.node, line.leader) if node}
    short = [short_name(node) for node in nodes]
    return {
        node: short_name(node) if short.count(short_name(node)) == 1 else str(node)
        for node in nodes
    }


def _node(node: NodeName | None, names: dict[NodeName, str]) -> str:
    return escape(names[node]) if node else "-"
