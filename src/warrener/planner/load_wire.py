"""A load on the control wire and back: ``from_wire(to_wire(load)) == load``. Pure."""

import msgspec

from warrener.control.history_operations import PlanLoadAnswer
from warrener.planner.load import Load


def to_wire(load: Load) -> PlanLoadAnswer:
    """For whoever asked the daemon."""
    return msgspec.convert(load, PlanLoadAnswer, from_attributes=True)


def from_wire(answer: PlanLoadAnswer) -> Load:
    """For whoever plans with it."""
    return msgspec.convert(answer, Load, from_attributes=True)
