"""What messages cost, told by the history that the daemon has picked out. Pure."""

from typing import Final

from warrener.control.plan_history_operations import PlanWorkAnswer
from warrener.planner.costs import Calibration
from warrener.planner.fit import Surroundings
from warrener.planner.history import span
from warrener.planner.history_wire import stretches_from_wire
from warrener.planner.passive import passive

LEFT_OUT: Final = 0.1
"""Of the samples, the part from which it is said that they were left out."""


class NotTold(Exception):
    """The history doesn't tell it; the text says why."""


def by_history(answer: PlanWorkAnswer, command: str) -> Calibration:
    """``command`` measures it, which is said. ``NotTold`` if there is nothing to go by."""
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
        raise NotTold("; ".join(found.warnings))
    return found


def _left_out(answer: PlanWorkAnswer) -> list[str]:
    left_out = sum(answer.left_out.values())
    total = left_out + len(answer.stretches)
    if left_out <= LEFT_OUT * total:
        return []
    reasons = sorted(answer.left_out.items(), key=lambda reason: -reason[1])
    why = ", ".join(f"{reason} ({number})" for reason, number in reasons)
    return [f"{left_out} of {total} samples of the history are left out: {why}"]
