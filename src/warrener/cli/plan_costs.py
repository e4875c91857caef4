"""What messages cost, for `warrener plan show`, `what-if` and `advise`: as it was measured, or else
by the history."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from warrener.cli.common import CliError, with_state
from warrener.cli.long import ask
from warrener.control.state_folder import StateFolder

if TYPE_CHECKING:
    from warrener.control.plan_history_operations import PlanWorkAnswer
    from warrener.planner.costs import Calibration


class CostsChoice(StrEnum):
    """Whose word is taken."""

    AUTO = "auto"
    MEASURED = "measured"
    HISTORY = "history"


CalibrationOption = Annotated[
    CostsChoice,
    typer.Option(
        "--calibration",
        metavar="FROM",
        help="measured (plan calibrate), history (regression over the last day), or auto: the "
        "first that there is.",
    ),
]

LEFT_OUT: Final = 0.1
"""Of the samples, the part from which it is said that they were left out."""


def costs_of(folder: StateFolder, choice: CostsChoice = CostsChoice.AUTO) -> "Calibration":
    """CliError with what to do if nobody knows."""
    if choice is not CostsChoice.HISTORY:
        found = measured(folder)
        if found is not None:
            return found
    command = with_state(folder, "warrener plan calibrate")
    if choice is CostsChoice.MEASURED:
        raise CliError(_unknown(command))
    from warrener.control.plan_history_operations import PLAN_WORK, PlanWorkRequest

    return by_history(ask(folder, PLAN_WORK, PlanWorkRequest()), command)


def measured(folder: StateFolder) -> "Calibration | None":
    """What is kept in the state folder. CliError if it can't be read."""
    from warrener.planner.calibration_file import BrokenCalibration, read_calibration

    try:
        return read_calibration(folder.path)
    except BrokenCalibration as error:
        raise CliError(str(error)) from None


def _unknown(command: str) -> str:
    return (
        f"nobody has measured what a message costs here; `{command}` does, in a minute and a half"
    )


def by_history(answer: "PlanWorkAnswer", command: str) -> "Calibration":
    """What the daemon's history tells; ``command`` measures it. CliError if it doesn't tell."""
    from warrener.planner.fit import Surroundings
    from warrener.planner.history import span
    from warrener.planner.history_wire import stretches_from_wire
    from warrener.planner.passive import passive

    around = Surroundings(
        taken_at=answer.since,
        seconds=answer.seconds,
        cluster=answer.cluster,
        version=answer.version,
        hosts=answer.hosts,
        cores=answer.cores,
        shares=answer.shares,
    )
    warnings = [
        f"what messages cost is told by {span(answer.seconds)} of history; `{command}` measures it",
        *_left_out(answer),
    ]
    if answer.told_by_nodes:
        warnings.append(
            "nodes' CPU is by their own metrics, which leave out what the kernel does for them: a "
            "fifth to a half comes on top"
        )
    found = passive(stretches_from_wire(answer), around=around, warnings=warnings)
    if not found.costs:
        why = "; ".join(found.warnings)
        raise CliError(f"{_unknown(command)}. The history doesn't tell it: {why}")
    return found


def _left_out(answer: "PlanWorkAnswer") -> list[str]:
    left_out = sum(answer.left_out.values())
    total = left_out + len(answer.stretches)
    if left_out <= LEFT_OUT * total:
        return []
    reasons = sorted(answer.left_out.items(), key=lambda reason: -reason[1])
    why = ", ".join(f"{reason} ({number})" for reason, number in reasons)
    return [f"{left_out} of {total} samples of the history are left out: {why}"]
