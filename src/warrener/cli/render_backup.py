"""What a restore would do and did, for people: by kind, the first few of each named."""

from itertools import groupby
from typing import TYPE_CHECKING, Final

from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from warrener.control.backup_operations import RestoreAnswer
    from warrener.control.describe_operations import StepLine

NAMED: Final = 10
"""Steps of one kind that are shown one by one; --json has all."""

_SIGNS = {"make": ("+", "green"), "change": ("~", "yellow")}


def plan(console: "Console", answer: "RestoreAnswer") -> None:
    """What would be done, and what can't be."""
    console.print(f"{answer.source[:1].upper()}{answer.source[1:]}", markup=False, soft_wrap=True)
    for note in answer.notes:
        console.print(f"  {note}", markup=False, soft_wrap=True)
    if not answer.steps:
        rest = " else" if answer.blocked else ""
        console.print(
            f"Nothing{rest} to do: {answer.same} of what is in it are there already.",
            soft_wrap=True,
            markup=False,
        )
    else:
        _groups(console, answer.steps)
        if answer.same:
            console.print(f"  {answer.same} more are there already.", markup=False)
    if answer.blocked:
        console.print("Not possible:", markup=False)
        _groups(console, answer.blocked)


def done(console: "Console", errors: "Console", answer: "RestoreAnswer") -> None:
    """What came of it; that it isn't all is told by whoever ends the command."""
    if answer.steps or answer.seconds:
        number = len(answer.steps)
        console.print(
            f"Done: {number} step{'' if number == 1 else 's'} in {answer.seconds:.1f} s.",
            markup=False,
        )
    for failed in answer.failed[:NAMED]:
        step = failed.step
        errors.print(
            f"warrener: {step.verb} {step.thing} {step.subject} failed: {failed.why}",
            markup=False,
            soft_wrap=True,
        )
    if len(answer.failed) > NAMED:
        errors.print(f"warrener: ... and {len(answer.failed) - NAMED} more; --json has them all")


def _groups(console: "Console", steps: "Sequence[StepLine]") -> None:
    for (verb, thing), group in groupby(steps, key=lambda step: (step.verb, step.thing)):
        of_kind = list(group)
        for step in of_kind[:NAMED]:
            _step(console, step)
        if len(of_kind) > NAMED:
            sign, colour = _SIGNS[verb]
            line = Text(f"  {sign}", style=colour)
            line.append(f" ... {len(of_kind) - NAMED} more of: {thing}", style="default")
            console.print(line, soft_wrap=True)


def _step(console: "Console", step: "StepLine") -> None:
    sign, colour = _SIGNS[step.verb]
    line = Text("  ")
    line.append(sign, style=colour)
    line.append(f" {step.thing} ")
    line.append(step.subject, style="bold")
    if step.danger:
        line.append(f"  ! {step.danger}", style="red")
    console.print(line, soft_wrap=True)
    for change in step.changes:
        before = f"{change.before} -> " if change.before else ""
        text = f"      {change.what}: {before}{change.after or 'none'}"
        console.print(Text(text, style="dim"), soft_wrap=True)
    if step.blocked:
        console.print(Text(f"      {step.blocked}", style="red"), soft_wrap=True)
