"""A load and sessions on the control wire and back: ``from_wire(to_wire(load)) == load``. Pure."""

import math

import msgspec

from warrener.control.balance_operations import PlanSessionsAnswer
from warrener.control.history_operations import PlanLoadAnswer
from warrener.planner.load import Load
from warrener.planner.sessions import SessionKind, Sessions


def to_wire(load: Load) -> PlanLoadAnswer:
    """For whoever asked the daemon."""
    return msgspec.convert(load, PlanLoadAnswer, from_attributes=True)


def from_wire(answer: PlanLoadAnswer) -> Load:
    """For whoever plans with it."""
    return msgspec.convert(answer, Load, from_attributes=True)


def sessions_from_wire(answer: PlanSessionsAnswer, load: Load) -> Sessions:
    """For whoever plans with it. Where the data plane doesn't tell what a session does, each does
    the same part of what goes through the balancer."""
    number = sum(kind.sessions for kind in answer.kinds)
    rates = [kind.rate for kind in answer.kinds]
    if number and not any(rates):
        rates = [load.through_balancer / number] * len(rates)
    counted = (answer.local or 0.0) + (answer.remote or 0.0)
    return Sessions(
        kinds=tuple(
            SessionKind(kind.sessions, rate) for kind, rate in zip(answer.kinds, rates, strict=True)
        ),
        policy=answer.policy,
        locality=answer.locality,
        weights=answer.weights,
        lifetime=math.inf if answer.lifetime is None else answer.lifetime,
        addresses=answer.addresses,
        local=answer.local / counted if answer.local is not None and counted > 0 else None,
        follows_capacity=answer.follows_capacity,
        can_be_placed=answer.can_be_placed,
        warnings=answer.warnings,
    )
