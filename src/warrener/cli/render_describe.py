"""Descriptions, differences and what came of them, for people."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from warrener.cluster.mistakes import Mistake
    from warrener.cluster.spec import ClusterSpec
    from warrener.control.describe_operations import ApplyAnswer, ChangeLine, DiffAnswer, StepLine

QUEUES_SHOWN = 20
"""New queues in a row; a file may describe thousands, and what isn't a queue is to be seen."""

_SIGNS = {"make": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}


def mistake(found: "Mistake") -> dict[str, Any]:
    """For --json."""
    return {
        "key": found.key,
        "text": found.text,
        "allowed": found.allowed,
        "nearest": found.nearest,
        "line": found.place.line if found.place else None,
        "column": found.place.column if found.place else None,
    }


def summary(console: "Console", spec: "ClusterSpec", source: str) -> None:
    """What a description without mistakes describes."""
    wanted = spec.wanted
    operators = sum(policy.id.operator for policy in wanted.policies)
    counted = [
        _many(spec.nodes, "node"),
        _many(len(wanted.vhosts), "virtual host"),
        _many(len(wanted.users), "user"),
        _many(len(wanted.policies) - operators, "policy", "policies"),
        _many(operators, "operator policy", "operator policies"),
        _many(len(wanted.queues), "queue"),
        _many(len(spec.config), "setting"),
    ]
    told = ", ".join(part for part in counted if not part.startswith("0 "))
    console.print(f"{source} is valid: {spec.name}, {told}", markup=False, soft_wrap=True)


def plan(console: "Console", answer: "DiffAnswer") -> None:
    """The steps in their order, then what is taken later."""
    todo = [step for step in answer.steps if not step.blocked]
    blocked = [step for step in answer.steps if step.blocked]
    if not todo:
        rest = " else" if blocked or answer.later else ""
        console.print(f"Nothing{rest} to do: the cluster is as the file says.", soft_wrap=True)
    width = len(str(len(todo)))
    queues = 0  # new ones, one after the other
    for number, step in enumerate(todo, start=1):
        queues = queues + 1 if (step.verb, step.thing) == ("make", "queue") else 0
        if queues <= QUEUES_SHOWN:
            _step(console, step, f"{number:>{width}}")
        elif number == len(todo) or todo[number].thing != "queue":
            more = _many(queues - QUEUES_SHOWN, "more queue")
            console.print(f"{'':>{width}} + {more} (--json)", markup=False, soft_wrap=True)
    if blocked:
        console.print()
        console.print("Not possible:")
        for step in blocked:
            _step(console, step, " " * width)
    if answer.later:
        console.print()
        console.print("At the next `warrener up`:", markup=False)
        for one in answer.later:
            arrow = _arrow(one.what, one.before, one.after)
            console.print(f"  {one.thing}: {arrow}", markup=False, soft_wrap=True)


def applied(console: "Console", answer: "ApplyAnswer") -> None:
    """What came of it; a failure is told by whoever ends the command."""
    if answer.failed is None and not answer.called_off:
        number = len(answer.done)
        console.print(f"Done: {number} step{'' if number == 1 else 's'} in {answer.seconds:.1f} s.")


def _step(console: "Console", step: "StepLine", number: str) -> None:
    from rich.text import Text

    sign, colour = _SIGNS[step.verb]
    line = Text(f"{number} ")
    line.append(sign, style=colour)
    line.append(f" {step.thing} ")
    line.append(step.subject, style="bold")
    if step.danger:
        line.append(f"  ! {step.danger}", style="red")
    console.print(line, soft_wrap=True)
    indent = " " * (len(number) + 3)
    for change in step.changes:
        console.print(Text(f"{indent}  {_change(change)}", style="dim"), soft_wrap=True)
    if step.blocked:
        console.print(Text(f"{indent}  {step.blocked}", style="red"), soft_wrap=True)


def _change(change: "ChangeLine") -> str:
    return _arrow(change.what, change.before, change.after)


def _arrow(what: str, before: str, after: str) -> str:
    if not before:
        return f"{what}: {after}"
    return f"{what}: {before} -> {after or 'none'}"


def _many(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
