"""The history, for people."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final

from rich.console import Console
from rich.markup import escape

from warrener.cli.render import new_table
from warrener.control.history_operations import (
    FigureLine,
    HistoryAnswer,
    HistoryNodeLine,
    HistoryQueueLine,
)
from warrener.control.outcomes import amount
from warrener.facts.ids import short_name

BARS: Final = "▁▂▃▄▅▆▇█"

LENGTH: Final = 15
"""Bars at most: a table has to fit."""


def show(console: Console, answer: HistoryAnswer) -> None:
    """The nodes, the queues, what passed the balancer, and what is lacking."""
    since, until = (datetime.fromtimestamp(at).astimezone() for at in (answer.since, answer.until))
    day = "%Y-%m-%d %H:%M:%S"
    source = "" if answer.source == "warrener" else f", from {answer.source}"
    console.print(
        f"{since:{day}} to {until:{day}}: {answer.samples:,} samples of {answer.seconds:,.0f} s in "
        f"all{escape(source)}. Each figure is a mean, (lowest to highest).",
        soft_wrap=True,
    )
    console.print()
    table = new_table("node", ">CPU cores", ">memory MiB", ">sessions", ">in/s", ">out/s", "CPU")
    for node in answer.nodes:
        table.add_row(*_node(node))
    console.print(table)
    for host in answer.hosts:
        others = "" if host.others is None else f", {host.others:.2f} used by others"
        clients = "" if host.clients is None else f", {host.clients:.2f} by clients"
        console.print(f"{escape(host.host)}: {host.cores:g} cores{others}{clients}")
    if (balancer := answer.balancer) is not None:
        counted = ""
        if balancer.published is not None and balancer.delivered is not None:
            counted = (
                f"{amount(balancer.published)} msg/s in, {amount(balancer.delivered)} msg/s out, "
            )
        cpu = "" if balancer.cpu is None else f", {balancer.cpu:.2f} cores"
        volume = (balancer.bytes_in + balancer.bytes_out) / 1e6
        console.print(f"balancer: {counted}{volume:.3f} MB/s{cpu}", highlight=False)
    console.print()
    _queues(console, answer)
    for warning in answer.warnings:
        console.print(f"[yellow]Note:[/] {escape(warning)}", soft_wrap=True)


def _node(node: HistoryNodeLine) -> Sequence[str]:
    memory = "-"
    if (used := node.memory_used) is not None:
        memory = figure(
            FigureLine(mean=used.mean / 2**20, min=used.min / 2**20, max=used.max / 2**20)
        )
    name = escape(node.node)
    return (
        name if node.running else f"[yellow]{name} (down)[/]",
        "-" if node.cpu is None else figure(node.cpu, digits=2),
        memory,
        figure(node.sessions),
        amount(node.published),
        amount(node.delivered),
        sparkline(node.points),
    )


def _queues(console: Console, answer: HistoryAnswer) -> None:
    if not answer.queues:
        console.print("No queues.")
        return
    vhosts = {queue.vhost for queue in answer.queues} != {"/"}
    table = new_table(
        *["vhost"] * vhosts,
        "queue",
        "leader",
        ">in/s",
        ">out/s",
        ">ready",
        ">unacked",
        ">consumers",
        ">body",
        ">takes",
        "in/s",
    )
    for queue in answer.queues:
        table.add_row(*([escape(queue.vhost)] * vhosts), *_queue(queue))
    console.print(table)
    if answer.queues_total > len(answer.queues):
        more = answer.queues_total - len(answer.queues)
        console.print(f"  and {more:,} more with less traffic (--limit)")
    if answer.rest.queues:
        rest = answer.rest
        console.print(
            f"  and {rest.queues:,} that are only kept together: {amount(rest.published)} msg/s "
            f"in, {amount(rest.delivered)} out, {rest.ready:,.0f} ready"
        )


def _queue(queue: HistoryQueueLine) -> Sequence[str]:
    prefetch = f" x {queue.prefetch}" if queue.prefetch > 0 else ""
    known = queue.body_from != "unknown"
    about = "~" if queue.body_from == "balancer" else ""
    return (
        escape(queue.name),
        escape(short_name(queue.leader)) if queue.leader else "[none]",
        figure(queue.published),
        amount(queue.delivered.mean),
        figure(queue.ready),
        figure(queue.unacked),
        f"{queue.consumers:.3g}{prefetch}",
        f"{about}{queue.body:,.0f} B" if known else "-",
        "-" if queue.service_time is None else f"{queue.service_time * 1000:,.3g} ms",
        sparkline(queue.points),
    )


def figure(line: FigureLine, digits: int = 0) -> str:
    """A mean with its spread, where there is one."""

    def shown(value: float) -> str:
        return f"{value:.{digits}f}" if digits else amount(value)

    mean, low, high = shown(line.mean), shown(line.min), shown(line.max)
    return mean if low == high else f"{mean} ({low}-{high})"


def sparkline(points: Sequence[float]) -> str:
    """A line of bars from nothing to the highest; empty if there was nothing at all."""
    if len(points) > LENGTH:
        step = len(points) / LENGTH
        cuts = [round(number * step) for number in range(LENGTH + 1)]
        parts = [points[low:high] for low, high in pairwise(cuts)]
        points = [sum(part) / len(part) for part in parts]
    top = max(points, default=0.0)
    if top <= 0:
        return ""
    return "".join(BARS[min(len(BARS) - 1, int(point / top * len(BARS)))] for point in points)
