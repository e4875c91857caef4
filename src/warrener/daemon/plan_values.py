"""The planner's outlook as values for metrics; worked out at most every half a minute, and only
while somebody scrapes."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from warrener.control.wire import Refused
from warrener.facts.ids import short_name
from warrener.models.terms import WrongInput
from warrener.planner.calibration_file import BrokenCalibration, read_calibration
from warrener.planner.load import Load
from warrener.planner.outlook import Outlook, QueueOutlook, outlook
from warrener.planner.resources import PartKind
from warrener.telemetry.values import PlanValues, QueuePlan

WINDOW: Final = 300.0
"""Seconds of history that it goes by, as `warrener plan show` does."""

SELDOM: Final = 30.0
"""Seconds from one outlook to the next at the least."""

LIGHT: Final = 50
"""Times as long as it took until it is worked out again: 2 % of the time at most. An outlook of
10,000 queues takes two seconds."""

OLD: Final = 600.0
"""Seconds after which what was worked out isn't told any more."""

log = structlog.get_logger(__name__)


class Planned:
    """``current`` is what is known; asking for it has it worked out anew when it is due."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[float], Awaitable[Load]],
        *,
        now: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._load = load
        self._now = now
        self._monotonic = monotonic
        self._values: PlanValues | None = None
        self._due = -math.inf
        self._work: asyncio.Task[None] | None = None

    def current(self) -> PlanValues | None:
        """The newest, if it isn't old; None without calibration, history or load."""
        if self._monotonic() >= self._due and (self._work is None or self._work.done()):
            self._work = asyncio.create_task(self.work_out(), name="plan for metrics")
        values = self._values
        return values if values is not None and self._now() - values.at <= OLD else None

    async def work_out(self) -> None:
        """Now, whether it is due or not."""
        began = self._monotonic()
        try:
            self._values = await self._made()
        except (Refused, BrokenCalibration, WrongInput) as error:
            log.info("plan_unknown", why=str(error))
        except Exception:
            log.exception("plan_failed")
        took = self._monotonic() - began
        self._due = began + max(SELDOM, LIGHT * took)

    async def _made(self) -> PlanValues | None:
        calibration = await asyncio.to_thread(read_calibration, self._folder)
        if calibration is None:
            return None
        load = await self._load(WINDOW)
        return await asyncio.to_thread(
            lambda: plan_values(outlook(load, calibration, with_worths=False), self._now())
        )

    async def close(self) -> None:
        """Nothing is worked out any more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)


def plan_values(found: Outlook, at: float) -> PlanValues:
    """An outlook in figures. Pure."""
    rho: dict[str, float] = {}
    for part in found.reckoned.parts:
        rho[part.kind.value] = max(rho.get(part.kind.value, 0.0), part.utilisation)
    names = {short_name(node.name): node.name for node in found.load.running()}
    measured = [(one, one.measured_response_time) for one in found.queues]
    alarms = [one.memory_alarm_in for one in found.queues if one.memory_alarm_in is not None]
    steady = [one for one in found.queues if one.length is not None and math.isfinite(one.length)]
    return PlanValues(
        at=at,
        load=found.load.published,
        capacity=found.capacity,
        headroom=found.reckoned.breaks_at,
        headroom_without={loss.node: loss.breaks_at for loss in found.losses},
        rho=rho,
        node_rho={
            names[part.name]: part.utilisation
            for part in found.reckoned.parts
            if part.kind is PartKind.NODE and part.name in names
        },
        predicted_time=_mean([(one.load.published, one.response_time) for one in found.queues]),
        measured_time=_mean([(one.load.acked, time) for one, time in measured]),
        predicted_length=sum(one.length or 0.0 for one in steady),
        measured_length=sum(one.measured_length or 0.0 for one in found.queues),
        growing=sum(one.grows > 0 for one in found.queues),
        memory_alarm_in=min(alarms, default=None),
        queues={(one.load.vhost, one.load.name): _queue(one) for one in found.queues},
    )


def _mean(weighted: list[tuple[float, float | None]]) -> float | None:
    """Of what is known and finite, by weight; None if nothing is."""
    known = [
        (weight, value)
        for weight, value in weighted
        if value is not None and math.isfinite(value) and weight > 0
    ]
    total = sum(weight for weight, _ in known)
    return sum(weight * value for weight, value in known) / total if total > 0 else None


def _queue(one: QueueOutlook) -> QueuePlan:
    return QueuePlan(one.utilisation, one.response_time, one.length)
