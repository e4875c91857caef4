"""A calibration as a table."""

import time
from collections.abc import Iterator

from rich.console import Console

from warrener.cli.render import new_table, span
from warrener.facts.ids import short_name
from warrener.planner.costs import Act, Calibration, Cost

_NODES_DO = {
    Act.PUBLISH: "publish",
    Act.DELIVER: "deliver",
    Act.REPLICATE: "replicate, each follower",
    Act.ENTER: "enter by another node",
    Act.LEAVE: "leave by another node",
}


def calibration(console: Console, found: Calibration, now: float | None = None) -> None:
    """``now``: s since the epoch."""
    bodies = sorted({limit.body for limits in found.limits.values() for limit in limits})
    bodies = bodies or [0.0]
    table = new_table("TYPE", "WHAT", *(f"µs at {body:,.0f} B" for body in bodies), "ERROR")
    for kind, what, cost in _costs(found):
        times = (f"{cost.at(body) * 1e6:,.1f}" for body in bodies)
        table.add_row(kind, what, *times, f"±{cost.error:.0%}" if cost.error else "")
    console.print(table)
    console.print()
    limits = new_table("LIMIT OF ONE QUEUE", *(f"msg/s at {body:,.0f} B" for body in bodies))
    for kind, of_kind in found.limits.items():
        rates = {limit.body: limit for limit in of_kind}
        row = []
        for body in bodies:
            limit = rates.get(body)
            least = "at least " if limit is not None and limit.at_least else ""
            row.append("" if limit is None else f"{least}{limit.rate:,.0f}")
        limits.add_row(kind, *row)
    console.print(limits)
    console.print()
    idle = ", ".join(f"{short_name(node)} {cores:.2f}" for node, cores in found.idle.items())
    cores = ", ".join(f"{host} {count:g}" for host, count in found.cores.items())
    _line(console, f"Cores used by nodes without load: {idle}. Cores there are: {cores}.")
    for kind, wait in found.waits.items():
        _line(
            console,
            f"One message alone, {kind}: {wait.transit * 1e3:.2f} ms to a consumer that waits for "
            f"it; with a prefetch of 1, {wait.turnaround * 1e3:.2f} ms from an ack to the next.",
        )
    age = (time.time() if now is None else now) - found.taken_at
    _line(
        console,
        f"Measured {span(max(0.0, age))} ago over {found.seconds:.0f} s on {found.cluster}, "
        f"RabbitMQ {found.version}.",
    )
    for warning in found.warnings:
        _line(console, f"! {warning}")


def _costs(found: Calibration) -> Iterator[tuple[str, str, Cost]]:
    for kind, acts in found.costs.items():
        for act, cost in acts.items():
            yield kind, _NODES_DO[act], cost
    for act, cost in found.client.items():
        yield "clients", _NODES_DO[act], cost
    if found.balancer is not None:
        yield "balancer", "each way", found.balancer


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
