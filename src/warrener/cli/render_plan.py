"""The outlook of a cluster, for people."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape

from warrener.cli.plan_document import NodeLine, OutlookDocument, QueueLine, WhatIfDocument
from warrener.cli.render import new_table
from warrener.control.outcomes import amount
from warrener.facts.ids import short_name
from warrener.planner import words
from warrener.planner.advice import Advised
from warrener.planner.outlook import Outlook
from warrener.planner.sizing import Sizing, Wanted

PARTS_SHOWN: Final = 6

_BUSY, _FULL = 0.8, 1.0


def duration(seconds: float | None, grows: float = 0.0) -> str:
    """A response time: 0.8 ms, 42 ms, 1.3 s."""
    if grows > 0:
        return "[red]grows[/]"
    if seconds is None:
        return "-"
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def part_of(share: float | None) -> str:
    """A utilisation, coloured."""
    if share is None:
        return "-"
    text = f"{share:.0%}" if share < 10 else ">999%"
    colour = "red" if share >= _FULL else "yellow" if share >= _BUSY else ""
    return f"[{colour}]{text}[/]" if colour else text


def show(
    console: Console, outlook: Outlook, told: OutlookDocument, *, source: str, limit: int
) -> None:
    """Nodes, queues, what breaks first, what is left without each node."""
    console.print(_node_table(told.nodes))
    console.print()
    _queues(console, told.queues, limit)
    console.print()
    _parts(console, told)
    _verdict(console, outlook, told)
    _without(console, told)
    for queue in outlook.queues:
        if text := words.growth(queue):
            console.print(f"[red]{escape(queue.load.full_name)}[/] {escape(text)}", soft_wrap=True)
        if text := words.stalls(queue):
            name = escape(queue.load.full_name)
            console.print(f"[yellow]{name}[/] {escape(text)}", soft_wrap=True)
    for warning in told.warnings:
        console.print(f"[yellow]Note:[/] {escape(warning)}", soft_wrap=True)
    console.print(f"[dim]{escape(source)}[/]", soft_wrap=True)


def _node_table(nodes: Sequence[NodeLine]) -> object:
    table = new_table("node", ">leads/s", ">cores", ">measured", ">rho", "")
    for node in nodes:
        table.add_row(
            escape(node.node),
            amount(node.leads),
            _cores(node.cpu),
            _cores(node.cpu_measured),
            part_of(node.utilisation),
            "" if node.running else "[red]doesn't run[/]",
        )
    return table


def _cores(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _queues(console: Console, queues: Sequence[QueueLine], limit: int) -> None:
    active = sorted(
        (queue for queue in queues if queue.arrival_rate > 0 or queue.length_measured),
        key=lambda queue: -(queue.utilisation or 0.0),
    )
    console.print(f"[bold]Queues[/] {len(queues):,}, {len(active):,} of them active")
    if not active:
        return
    table = new_table("queue", ">lambda", ">mu", ">rho", ">R", ">measured", ">L", ">measured")
    for queue in active[:limit]:
        rates = [rate for rate in (queue.service_rate, queue.consumers_rate) if rate is not None]
        name = queue.name if queue.vhost == "/" else f"{queue.vhost}/{queue.name}"
        table.add_row(
            escape(name),
            amount(queue.arrival_rate),
            amount(min(rates)) if rates else "-",
            part_of(queue.utilisation),
            duration(queue.response_time, queue.grows),
            duration(queue.response_time_measured),
            "-" if queue.length is None else amount(queue.length),
            "-" if queue.length_measured is None else amount(queue.length_measured),
        )
    console.print(table)
    if len(active) > limit:
        console.print(f"  and {len(active) - limit:,} more that are less busy (--limit)")


def _parts(console: Console, told: OutlookDocument) -> None:
    table = new_table("part", ">capacity", ">used", ">rho", ">breaks at")
    shown = [part for part in told.parts if part.breaks_at is not None][:PARTS_SHOWN]
    for part in shown:
        more = "≥ " if part.at_least else ""
        cores = part.kind in ("host", "node", "balancer")
        unit = " cores" if cores else "/s"
        used = part.idle + part.by_load
        assert part.breaks_at is not None
        table.add_row(
            escape(part.name if part.kind == part.name else f"{part.kind} {part.name}"),
            f"{more}{part.capacity:.3g}{unit}" if cores else f"{more}{amount(part.capacity)}{unit}",
            f"{used:.2f}{unit}" if cores else f"{amount(used)}{unit}",
            part_of(part.utilisation),
            f"{part.breaks_at:.2f} x",
        )
    if shown:
        console.print(table)
        console.print()


def _verdict(console: Console, outlook: Outlook, told: OutlookDocument) -> None:
    if told.breaks_at is None or told.capacity is None:
        console.print(
            "Nothing goes through, or nothing is known of what it costs: there is no load to say "
            "what breaks at.",
            soft_wrap=True,
        )
        return
    first = outlook.reckoned.first
    sure = f" ± {first.error:.0%}" if first is not None and first.error >= 0.005 else ""
    console.print(
        f"[bold]Carries[/] {escape(words.rate(told.capacity))}{sure} in today's proportions, "
        f"{told.breaks_at:.2f} times what goes through now. [bold]First to break:[/] "
        f"{escape(told.first)}. [bold]What helps:[/] {escape(told.remedy)}.",
        soft_wrap=True,
    )
    if told.max_flow is not None and told.max_flow > 1.01 * told.capacity:
        console.print(
            f"If every queue got as much as it takes: {escape(words.rate(told.max_flow))}, "
            f"limited by {escape(_cut(told))}.",
            soft_wrap=True,
        )


def _cut(told: OutlookDocument) -> str:
    names = [edge.source if edge.kind == "consumers" else edge.target for edge in told.cut]
    kinds = [
        f"the consumers of {name.removeprefix('queue ')}" if edge.kind == "consumers" else name
        for edge, name in zip(told.cut, names, strict=True)
    ]
    return ", ".join(kinds[:4]) + (f" and {len(kinds) - 4} more" if len(kinds) > 4 else "")


def _without(console: Console, told: OutlookDocument) -> None:
    for loss in told.without:
        if loss.breaks_at is None:
            continue
        enough = loss.breaks_at >= 1
        colour = "green" if enough and not loss.stopped else "yellow" if enough else "red"
        text = (
            f"[{colour}]Without {escape(short_name(loss.node))}[/] {loss.breaks_at:.2f} times "
            f"today's load"
        )
        if loss.first:
            text += f" ({escape(loss.first)})"
        if loss.stopped:
            names = ", ".join(loss.stopped[:3])
            more = f" and {len(loss.stopped) - 3} more" if len(loss.stopped) > 3 else ""
            text += f"; nobody serves {escape(names + more)} then"
        console.print(text, soft_wrap=True)


def what_if(console: Console, told: WhatIfDocument, outlook: Outlook) -> None:
    """Both side by side."""
    before, after = told.before, told.after
    table = new_table("", ">before", ">after")

    def row(what: str, of: Callable[[OutlookDocument], str]) -> None:
        table.add_row(what, of(before), of(after))

    row("published/s", lambda one: amount(one.published))
    row("carries/s", lambda one: "-" if one.capacity is None else amount(one.capacity))
    row("breaks at", lambda one: "-" if one.breaks_at is None else f"{one.breaks_at:.2f} x")
    row("without any one node", _worst)
    row("busiest host", lambda one: part_of(_busiest(one, "host")))
    row("busiest node", lambda one: part_of(_busiest(one, "node")))
    row("balancer", lambda one: part_of(_busiest(one, "balancer")))
    console.print(table)
    console.print()
    _both_queues(console, told)
    for name, one in (("Before", before), ("After", after)):
        if one.first:
            console.print(
                f"[bold]{name}[/] the first to break is {escape(one.first)}", soft_wrap=True
            )
    if after.remedy:
        console.print(f"[bold]What helps then:[/] {escape(after.remedy)}", soft_wrap=True)
    for queue in outlook.queues:
        if text := words.growth(queue):
            console.print(f"[red]{escape(queue.load.full_name)}[/] {escape(text)}", soft_wrap=True)
    if told.stopped:
        names = ", ".join(told.stopped[:5])
        more = f" and {len(told.stopped) - 5} more" if len(told.stopped) > 5 else ""
        console.print(f"[red]Nobody serves any more:[/] {escape(names + more)}", soft_wrap=True)
    for warning in dict.fromkeys([*before.warnings, *after.warnings]):
        console.print(f"[yellow]Note:[/] {escape(warning)}", soft_wrap=True)


def size(console: Console, wanted: Wanted, answer: Sizing, warnings: Sequence[str]) -> None:
    """What a load takes, a line each with its reason."""
    table = new_table("", ">", "")
    lost = f", {answer.busy_lost:.0%} with {wanted.survive} lost" if wanted.survive else ""
    table.add_row("nodes", f"{answer.nodes}", f"the busiest {answer.busy:.0%} busy{lost}")
    table.add_row(
        "queues",
        f"{answer.queues:,}",
        f"{answer.type}, {answer.replicas} replica{'s' * (answer.replicas > 1)} each, "
        f"{answer.queue_busy:.0%} of what one gets through",
    )
    if answer.consumers is not None:
        table.add_row(
            "consumers",
            f"{answer.consumers * answer.queues:,}",
            f"{answer.consumers} for each queue",
        )
    if answer.prefetch is not None:
        table.add_row("prefetch", f"{answer.prefetch}", "so that none waits for its next message")
    table.add_row(
        "unconfirmed", f"{answer.window:,}", "messages for each queue, all its publishers together"
    )
    table.add_row("balancers", f"{answer.balancers}", "one process with one core each")
    console.print(table)
    if answer.p99 is not None:
        console.print(f"99 of 100 messages are acked within {duration(answer.p99)}, as predicted.")
    command = f"warrener init --profile {wanted.profile}"
    console.print(f"`{command}` writes a description to begin with.", soft_wrap=True)
    for note in (*answer.notes, *warnings):
        console.print(f"[yellow]Note:[/] {escape(note)}", soft_wrap=True)


def advice(console: Console, advised: Advised, warnings: Sequence[str]) -> None:
    """Each piece: what was found, what to do, what it brings."""
    if not advised.pieces:
        console.print("Nothing to change: no part is near its limit, and nothing is uneven.")
    for number, piece in enumerate(advised.pieces, 1):
        colour = "red" if piece.urgent else "yellow"
        console.print(
            f"[bold]{number}.[/] [{colour}]{escape(piece.subject)}[/]: {escape(piece.found)}.",
            soft_wrap=True,
        )
        console.print(f"   [bold]Do:[/] {escape(piece.do)}.", soft_wrap=True)
        console.print(f"   [bold]Brings:[/] {escape(piece.brings)}.", soft_wrap=True)
        if piece.command:
            console.print(f"   `{escape(piece.command)}`", soft_wrap=True)
    console.print()
    table = new_table("type", ">µs of CPU a message", ">one queue", "for", "without its node it")
    for line in advised.types:
        more = "≥ " if line.at_least else ""
        table.add_row(
            line.type,
            "not measured" if line.cost is None else f"{line.cost * 1e6:,.0f}",
            "-" if line.limit is None else f"{more}{amount(line.limit)}/s",
            line.suits,
            line.loses,
        )
    console.print(table)
    notes(console, warnings)


def notes(console: Console, warnings: Sequence[str]) -> None:
    """What is to be said of all of it."""
    for warning in warnings:
        console.print(f"[yellow]Note:[/] {escape(warning)}", soft_wrap=True)


def _worst(one: OutlookDocument) -> str:
    found = [loss.breaks_at for loss in one.without if loss.breaks_at is not None]
    return f"{min(found):.2f} x" if found else "-"


def _busiest(one: OutlookDocument, kind: str) -> float | None:
    return max((part.utilisation for part in one.parts if part.kind == kind), default=None)


def _both_queues(console: Console, told: WhatIfDocument) -> None:
    after = {(queue.vhost, queue.name): queue for queue in told.after.queues}
    rows = []
    for queue in told.before.queues:
        then = after.get((queue.vhost, queue.name))
        if then is None or (queue.arrival_rate <= 0 and then.arrival_rate <= 0):
            continue
        rows.append((queue, then))
    rows.sort(key=lambda pair: -(pair[1].utilisation or 0.0))
    if not rows:
        return
    table = new_table("queue", ">rho", ">then", ">R", ">then", ">L", ">then")
    for queue, then in rows[:10]:
        name = queue.name if queue.vhost == "/" else f"{queue.vhost}/{queue.name}"
        table.add_row(
            escape(name),
            part_of(queue.utilisation),
            part_of(then.utilisation),
            duration(queue.response_time, queue.grows),
            duration(then.response_time, then.grows),
            _length(queue),
            _length(then),
        )
    console.print(table)
    if len(rows) > 10:
        console.print(f"  and {len(rows) - 10:,} more that are less busy")
    console.print()


def _length(queue: QueueLine) -> str:
    if queue.grows > 0:
        return "[red]grows[/]"
    return "-" if queue.length is None or math.isinf(queue.length) else amount(queue.length)
