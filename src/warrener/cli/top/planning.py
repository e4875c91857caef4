"""The plan's outlook on the screen: what breaks first, what is left, how busy each part is.

    calibration (a file) or the daemon's history of the day, every 10 min ─┐
    load of the last 5 min, asked of the daemon every 30 s ────────────────┴─► Plan

The daemon only tells what was measured; it is put into the models here, in the thread that reads.
Planner and models are imported at the first look at this pane: no other one waits for them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from warrener.cli.common import CliError, with_state
from warrener.control.operation import Operation, Request
from warrener.control.state_folder import StateFolder
from warrener.control.wire import Refused

if TYPE_CHECKING:
    from warrener.planner.costs import Calibration
    from warrener.planner.load import Load
    from warrener.planner.outlook import Outlook
    from warrener.planner.resources import Part

EVERY: Final = 30.0
"""Seconds from one reckoning to the next: the window moves on by a tenth in it."""

AGAIN: Final = 5.0
"""Seconds until it is asked again for what wasn't there."""

COSTS_EVERY: Final = 600.0
"""Seconds for which costs by the history are kept: they take the daemon a look at a day."""

WINDOW: Final = 300.0
"""Seconds of history, as `warrener plan show` has them."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Asks(Protocol):
    """The daemon."""

    def __call__(self, operation: Operation[Request, _Answer], request: Request, /) -> _Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRow:
    """Something that can be used up: ``capacity`` and ``used`` in cores, or in messages/s where
    ``is_rate``. ``breaks_at``: times the present load, None where the load costs it nothing."""

    key: str
    kind: str
    name: str
    is_rate: bool
    capacity: float
    at_least: bool
    used: float
    rho: float
    breaks_at: float | None
    error: float
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRow:
    """Without this node: times the present load, queues that nobody serves then."""

    node: str
    breaks_at: float | None
    stopped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `warrener plan show` says, as of ``at`` (s since the epoch). Rates in messages/s;
    ``breaks_at`` and ``carries`` are None where there is no load. ``costs``: where they are from.
    """

    at: float
    published: float
    carries: float | None
    breaks_at: float | None
    error: float
    first: str
    remedy: str
    parts: tuple[PartRow, ...]
    without: tuple[LossRow, ...]
    costs: str
    warnings: tuple[str, ...]


class Plans:
    """Asks and reckons when it is time. Blocking; used by one thread at a time."""

    def __init__(
        self,
        folder: StateFolder,
        ask: Asks,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._ask = ask
        self._monotonic = monotonic
        self._now = now
        self._told: tuple[Plan | None, str] = None, ""
        self._due = float("-inf")
        self._by_history: Calibration | None = None
        self._costs_due = float("-inf")

    def read(self) -> tuple[Plan | None, str]:
        """The outlook, or None and why. What the connection raises goes through."""
        at = self._monotonic()
        if at >= self._due:
            self._told = self._reckon(at)
            self._due = self._monotonic() + (EVERY if self._told[0] is not None else AGAIN)
        return self._told

    def _reckon(self, at: float) -> tuple[Plan | None, str]:
        from warrener.control.history_operations import PLAN_LOAD, PlanLoadRequest
        from warrener.models.terms import WrongInput
        from warrener.planner.load_wire import from_wire
        from warrener.planner.outlook import outlook

        try:
            costs = self._costs(at)
            answer = self._ask(PLAN_LOAD, PlanLoadRequest(WINDOW))
            load = from_wire(answer)
            found = outlook(load, costs)
        except Refused as refused:
            return None, refused.message
        except (CliError, WrongInput) as error:
            return None, str(error)
        return plan_of(found, costs, (*answer.warnings, *costs.warnings), self._now()), ""

    def _costs(self, at: float) -> "Calibration":
        """As `plan show` has them. CliError with what to do."""
        from warrener.cli import plan_costs
        from warrener.control.plan_history_operations import PLAN_WORK, PlanWorkRequest

        if (found := plan_costs.measured(self._folder)) is not None:
            self._by_history = None
            return found
        if self._by_history is None or at >= self._costs_due:
            command = with_state(self._folder, "warrener plan calibrate")
            answer = self._ask(PLAN_WORK, PlanWorkRequest())
            self._by_history = plan_costs.by_history(answer, command)
            self._costs_due = at + COSTS_EVERY
        return self._by_history


def plan_of(outlook: "Outlook", costs: "Calibration", warnings: tuple[str, ...], at: float) -> Plan:
    """The outlook as the screen has it. Pure."""
    from warrener.cli.plan_document import finite
    from warrener.facts.ids import short_name
    from warrener.planner import words

    first = outlook.reckoned.first
    unknown = tuple(f"{what} isn't known" for what in outlook.reckoned.unknown)
    return Plan(
        at=at,
        published=outlook.load.published,
        carries=finite(outlook.capacity),
        breaks_at=finite(outlook.reckoned.breaks_at),
        error=first.error if first is not None else 0.0,
        first=words.named(first) if first is not None else "",
        remedy=words.remedy(first, outlook.load) if first is not None else "",
        parts=tuple(_row(part, outlook.load) for part in outlook.reckoned.parts),
        without=tuple(
            LossRow(
                node=short_name(loss.node),
                breaks_at=finite(loss.breaks_at),
                stopped=len(loss.stopped),
            )
            for loss in outlook.losses
        ),
        costs=_from(costs),
        warnings=(*warnings, *unknown),
    )


def _row(part: "Part", load: "Load") -> PartRow:
    from warrener.cli.plan_document import finite
    from warrener.planner import words
    from warrener.planner.resources import PartKind

    return PartRow(
        key=f"{part.kind} {part.name}",
        kind=part.kind.value,
        name=part.name,
        is_rate=part.kind in (PartKind.QUEUE, PartKind.CONSUMERS),
        capacity=part.capacity,
        at_least=part.at_least,
        used=part.idle + part.by_load,
        rho=part.utilisation,
        breaks_at=finite(part.breaks_at),
        error=part.error,
        remedy=words.remedy(part, load),
    )


def _from(costs: "Calibration") -> str:
    from datetime import datetime

    from warrener.planner.costs import CostsFrom

    if costs.source is CostsFrom.HISTORY:
        return "by the history"
    taken = datetime.fromtimestamp(costs.taken_at).astimezone()
    return f"measured {taken:%Y-%m-%d %H:%M}"
