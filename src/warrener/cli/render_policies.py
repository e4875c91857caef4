"""What `warrener plan advise` shows of the balancer: policies side by side, weights that fit."""

import math

from rich.console import Console
from rich.markup import escape

from warrener.cli.render import new_table
from warrener.facts.ids import short_name
from warrener.models.samples import Estimate
from warrener.planner.balancing import Balancing
from warrener.planner.policies import PolicyAdvice, PolicyLine


def balancing(console: Console, told: Balancing) -> None:
    """Both tables, and which policy is the best by how much."""
    console.print()
    if told.policies is not None:
        _policies(console, told.policies)
    else:
        console.print(f"Policies weren't tried: {escape(told.untried)}.", soft_wrap=True)
    if not told.weights:
        return
    console.print()
    table = new_table("node", ">weight", ">fits", "because it has")
    for one in told.weights:
        now = str(one.now) if one.now else "-"
        table.add_row(short_name(one.node), now, str(one.fits), escape(one.why))
    console.print(table)
    if told.follows:
        console.print('Weights follow this by themselves (`weights = "auto"`).', soft_wrap=True)


def _policies(console: Console, found: PolicyAdvice) -> None:
    table = new_table("policy", ">mean, ms", ">p99, ms", ">busiest", ">full at", ">behind", "")
    for line in found.lines:
        table.add_row(*_row(line, found))
    if found.other is not None:
        console_line = f"locality {'on' if found.other.locality else 'off'}: {found.other.policy}"
        table.add_row(console_line, *_row(found.other, found)[1:])
    console.print(table)
    console.print(
        f"  {found.trials} trials of each, seed {found.seed}; ± is a 95 % interval, of `behind` "
        f"99 %; busiest: node over the mean; full at: times today's load at which a node is",
        style="dim",
        soft_wrap=True,
    )
    console.print(f"[bold]Policy:[/] {escape(found.found)}.", soft_wrap=True)
    for command in found.commands:
        console.print(f"   `{escape(command)}`", soft_wrap=True)
    _locality(console, found)


def _row(line: PolicyLine, found: PolicyAdvice) -> tuple[str, ...]:
    marks = []
    if line.now:
        marks.append("as it is")
    if line.policy is found.best.policy and line.locality is found.best.locality:
        marks.append("[bold]best[/]" if not found.keep else "")
    if line.locality is found.best.locality and line.equal:
        marks.append("no real difference" if line.policy is not found.best.policy else "")
    if not line.sound and not line.full:
        marks.append("full sooner")
    if line.full:
        marks.append(f"[red]a node is full in {line.full:.0%}[/]")
    return (
        line.policy,
        _ms(line.response_time),
        f"{line.p99.value * 1e3:.3g}",
        f"{line.skew.value:.2f}",
        f"{line.full_at:.2f} x",
        f"{line.behind.value:+.0%} ± {line.behind.half_width:.0%}",
        ", ".join(mark for mark in marks if mark),
    )


def _locality(console: Console, found: PolicyAdvice) -> None:
    other = found.other
    if other is None or other.behind.high >= 0:
        return
    word = "on" if other.locality else "off"
    console.print(
        f"[bold]Locality:[/] switched {word}, a message would take {-other.behind.value:.0%} less "
        f"(`locality = {str(other.locality).lower()}` under \\[balancer], at the next `warrener "
        f"up`).",
        soft_wrap=True,
    )


def _ms(one: Estimate) -> str:
    value = one.value * 1e3
    half = f" ± {one.half_width * 1e3:.2g}" if math.isfinite(one.half_width) else ""
    return f"{value:.3g}{half}"
