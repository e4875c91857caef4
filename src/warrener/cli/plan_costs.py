"""What messages cost, for `warrener plan show`, `what-if` and `advise`: as it was measured, or else
by the history."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

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
    from warrener.planner import by_history as told

    try:
        return told.by_history(answer, command)
    except told.NotTold as error:
        raise CliError(f"{_unknown(command)}. The history doesn't tell it: {error}") from None
