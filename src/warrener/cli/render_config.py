"""What `warrener config` prints for people."""

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from warrener.cli.render import new_table
from warrener.control.config_operations import ConfigAnswer, ConfigRow, SetConfigAnswer
from warrener.facts.ids import NodeName, short_name

LONGEST = 28
"""Characters of a value in a table; `get` shows all of it."""


def table(console: Console, answer: ConfigAnswer) -> None:
    """One row per key."""
    rows = new_table("", "key", "in force", "file", "default", "applies")
    for row in answer.rows:
        rows.add_row(
            "[red]![/]" if row.drift else "",
            escape(row.key),
            escape(_short(in_force(row))),
            escape(_short(row.file)) + _by(row),
            f"[dim]{escape(_short(row.default))}[/]",
            "[green]live[/]" if row.applies == "live" else "restart",
        )
    console.print(rows)
    count = len(answer.rows)
    drifting = sum(bool(row.drift) for row in answer.rows)
    told = f"{count} key{'s' * (count != 1)} of RabbitMQ {answer.version}"
    if drifting:
        told += f"; {drifting} marked ! {'drift' if drifting > 1 else 'drifts'}: `config diff`"
    console.print(told + "; file: (w) Warrener's own, (t) from warrener.toml", markup=False)


def _by(row: ConfigRow) -> str:
    mark = {"warrener": "w", "warrener.toml": "t"}.get(row.source, "")
    return f" [dim]({mark})[/]" if mark else ""


def in_force(row: ConfigRow) -> str | None:
    """The value that all nodes have; where they differ, each node's."""
    if not row.in_force:
        return None
    distinct = set(row.in_force.values())
    if len(distinct) == 1:
        return distinct.pop()
    if not row.drift:  # each its own, such as ports
        return ", ".join(value or "-" for value in row.in_force.values())
    return " ".join(f"{short_name(name)}:{value}" for name, value in row.in_force.items())


def _short(value: str | None) -> str:
    if value is None:
        return "-"
    return value if len(value) <= LONGEST else value[: LONGEST - 1] + "…"


def one(console: Console, answer: ConfigAnswer) -> None:
    """Everything about one key."""
    row = answer.rows[0]
    console.print(f"[bold]{escape(row.key)}[/]", soft_wrap=True)
    if row.purpose:
        console.print(escape(row.purpose) + ".", soft_wrap=True)
    console.print()
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    source = {"set": "chosen by `config set`", "warrener": "Warrener's own"}
    come_from = source.get(row.source, row.source)
    facts.add_row("in the file", _text(row.file) + (f" ({come_from})" if row.file else ""))
    for name, value in row.in_force.items():
        facts.add_row(f"in force on {short_name(name)}", _text(value))
    if not row.in_force:
        facts.add_row("in force", "- (its counterpart is, relative or absolute)")
    facts.add_row("default", _text(row.default))
    facts.add_row("allowed", escape(row.allowed))
    if row.applies == "live":
        facts.add_row("applied", f"live: {escape(row.command)}")
        facts.add_row("effective for", escape(row.effect))
    else:
        facts.add_row("applied", "by a restart of every node, one after the other")
    if row.since:
        facts.add_row("since", f"RabbitMQ {row.since}")
    if row.note:
        facts.add_row("note", escape(row.note))
    if row.reserved:
        facts.add_row("not to be set", escape(row.reserved))
    if not row.described:
        facts.add_row("known from", "RabbitMQ's schema; Warrener's catalogue has no entry")
    if row.drift:
        facts.add_row("[red]drift[/]", f"[red]{escape(row.drift)}[/]")
    console.print(facts)


def _text(value: str | None) -> str:
    return escape(value) if value is not None else "-"


def drift(console: Console, rows: Sequence[ConfigRow], answer: ConfigAnswer) -> None:
    """Only what doesn't agree."""
    if not rows:
        asked = {name for row in answer.rows for name in row.in_force}
        nodes = f"{len(asked)} node{'s' * (len(asked) != 1)}"
        console.print(f"No drift: {nodes} have in force what their files say.", markup=False)
        return
    found = new_table("key", "file", "in force", "drift")
    for row in rows:
        found.add_row(
            escape(row.key),
            escape(_short(row.file or (f"{row.default} (default)" if row.default else None))),
            escape(in_force(row) or "-"),
            f"[red]{escape(row.drift)}[/]",
        )
    console.print(found)


def silent(console: Console, answer: ConfigAnswer) -> None:
    """The nodes that told nothing, and why."""
    for name, why in answer.silent.items():
        console.print(f"warrener: {name}: {why}", markup=False, soft_wrap=True)


def plan(answer: SetConfigAnswer) -> str:
    """What would be done."""
    lines = [_change(answer)]
    if answer.already:
        return f"{lines[0]}: already so on every node that runs; there is nothing to do."
    if not answer.nodes:
        lines.append("No node has to be touched: it has this in force already; the files get it.")
    elif answer.applies == "live":
        lines.append(f"Live on {_nodes(answer.nodes)}, effective for {_effect(answer)}.")
    else:
        lines.append(
            f"Needs a restart of {_nodes(answer.nodes)}, one by one behind the balancer: each is "
            f"drained first, and clients stay connected."
        )
    return "\n".join([*lines, *_rest(answer)])


def done(answer: SetConfigAnswer) -> str:
    """What was done."""
    if answer.already:
        return f"{_change(answer)}: already so on every node that runs."
    if not answer.nodes:
        told = "written; the nodes have it in force already"
    elif answer.applies == "live":
        told = f"in force on {_nodes(answer.nodes)} (for {_effect(answer)}), and read back"
    else:
        told = (
            f"{_nodes(answer.nodes)} restarted with it one by one in {answer.seconds:.0f} s, and "
            f"it was read back"
        )
    return "\n".join([f"{_change(answer)}: {told}.", *_rest(answer)])


def _change(answer: SetConfigAnswer) -> str:
    before = answer.before if answer.before is not None else "not set"
    if answer.after is None:
        default = f" (default: {answer.default})" if answer.default is not None else ""
        return f"{answer.key} is no longer set{default}; before: {before}"
    return f"{answer.key} = {answer.after} (before: {before})"


def _effect(answer: SetConfigAnswer) -> str:
    return "everything, at once" if answer.effect == "at once" else answer.effect


def _rest(answer: SetConfigAnswer) -> list[str]:
    lines = []
    if answer.waiting:
        get = "gets" if len(answer.waiting) == 1 else "get"
        lines.append(f"{_names(answer.waiting)} doesn't run and {get} it at the next start.")
    if answer.note:
        lines += textwrap.wrap(f"Note: {answer.note}.", 100)
    return lines


def _nodes(names: Sequence[NodeName]) -> str:
    count = len(names)
    return f"{count} node{'s' * (count != 1)} ({_names(names)})"


def _names(names: Sequence[NodeName]) -> str:
    return ", ".join(short_name(name) for name in names)
