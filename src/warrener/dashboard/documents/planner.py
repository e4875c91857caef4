"""The planner's view: whether there is something to plan with, and if not, what to do. Pure.

What it says is asked for by itself (``dashboard.plan``), as what is asked differs from one viewer
to the next.
"""

import msgspec

from warrener.dashboard.moment import Moment
from warrener.facts.ids import short_name


class PlannerBody(msgspec.Struct, frozen=True, kw_only=True):
    """``number`` of the load that answers are about just now: another one means that there are
    other answers; 0: none yet, and ``why_not`` says why. ``calibrated``: it is known what messages
    cost; if not, ``why_uncalibrated`` says why. ``at`` and ``taken_at``: when the load was read and
    the costs were measured, in seconds since the epoch (``by_history``: since when the history is
    that tells them); ``window``: what it is a mean over, s."""

    number: int
    at: float | None
    window: float
    calibrated: bool
    taken_at: float | None
    by_history: bool
    why_not: str
    why_uncalibrated: str
    nodes: list[str]


def planner(moment: Moment) -> PlannerBody:
    """What there is."""
    plan = moment.plan
    return PlannerBody(
        number=plan.number,
        at=plan.at,
        window=plan.window,
        calibrated=plan.calibrated,
        taken_at=plan.taken_at,
        by_history=plan.by_history,
        why_not=plan.why_not,
        why_uncalibrated=plan.why_uncalibrated,
        nodes=[short_name(node.name) for node in moment.status.nodes],
    )
