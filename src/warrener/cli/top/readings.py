"""What is read of the daemon at one moment, over one connection that is kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from warrener.cli.top.planning import Plan, Plans
from warrener.control.client import Client
from warrener.control.history_operations import HISTORY, HistoryAnswer, HistoryRequest
from warrener.control.operation import Operation, Request
from warrener.control.operations import (
    EVENTS,
    SESSIONS,
    STATUS,
    EventLine,
    EventsRequest,
    SessionsAnswer,
    SessionsRequest,
    StatusAnswer,
    StatusRequest,
)
from warrener.control.state_folder import StateFolder
from warrener.control.traffic_operations import TRAFFIC, TrafficAnswer, TrafficRequest
from warrener.control.wire import Refused

PATIENCE: Final = 10.0
"""Seconds for an answer; the daemon has it in some milliseconds."""

SESSIONS_LIMIT: Final = 10_000

EVENTS_KEPT: Final = 1000
"""As many as the daemon has in memory."""

EVENTS_STEP: Final = 100
"""Events asked for after the first time; all of them if more have come since."""

RATES_WINDOW: Final = 30.0
RATES_EVERY: Final = 5.0
"""Seconds: queues' rates are means of the history, whose samples come every 10 s. Each look takes
the daemon some work, in a thread."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Pane(StrEnum):
    """What is looked at."""

    NODES = "nodes"
    QUEUES = "queues"
    SESSIONS = "sessions"
    EVENTS = "events"
    PLAN = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """``at`` is in seconds of a clock that never jumps, ``taken_at`` since the epoch. What wasn't
    asked for is None or empty; ``notes`` say of a pane why something isn't known."""

    at: float
    taken_at: float
    status: StatusAnswer
    panes: frozenset[Pane]
    traffic: TrafficAnswer | None = None
    history: HistoryAnswer | None = None
    sessions: SessionsAnswer | None = None
    events: tuple[EventLine, ...] = ()
    plan: Plan | None = None
    notes: tuple[tuple[Pane, str], ...] = ()

    def note(self, pane: Pane) -> str:
        """Empty if there is nothing to say."""
        return next((text for of, text in self.notes if of is pane), "")


class Source:
    """Reads one daemon. Blocking; used by one thread at a time."""

    def __init__(
        self,
        folder: StateFolder,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._monotonic = monotonic
        self._now = now
        self._client: Client | None = None
        self._history: tuple[float, HistoryAnswer | None, str] | None = None
        self._events: tuple[EventLine, ...] = ()
        self._plans = self._new_plans()

    def _new_plans(self) -> Plans:
        return Plans(self._folder, self._ask, monotonic=self._monotonic, now=self._now)

    def read(self, panes: frozenset[Pane]) -> Reading:
        """What these panes show. Raises ``NotRunning``, ``Unresponsive`` or ``BadLine``, and
        connects again the next time."""
        try:
            return self._read(panes)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hangs up."""
        if self._client is not None:
            self._client.__exit__(None, None, None)
        self._client = self._history = None
        self._events = ()
        self._plans = self._new_plans()

    def _read(self, panes: frozenset[Pane]) -> Reading:
        notes: list[tuple[Pane, str]] = []
        at, taken_at = self._monotonic(), self._now()
        status = self._ask(STATUS, StatusRequest(queues=Pane.QUEUES in panes))
        sessions = history = None
        if Pane.SESSIONS in panes:
            try:
                sessions = self._ask(SESSIONS, SessionsRequest(limit=SESSIONS_LIMIT))
            except Refused as refused:
                notes.append((Pane.SESSIONS, refused.message))
        if panes & {Pane.NODES, Pane.QUEUES}:
            history, why = self._rates(at)
            if why:
                notes.append((Pane.QUEUES, why))
        plan = None
        if Pane.PLAN in panes:
            plan, why = self._plans.read()
            if why:
                notes.append((Pane.PLAN, why))
        return Reading(
            at=at,
            taken_at=taken_at,
            status=status,
            panes=panes,
            traffic=self._traffic() if Pane.NODES in panes else None,
            history=history,
            sessions=sessions,
            events=self._follow() if Pane.EVENTS in panes else (),
            plan=plan,
            notes=tuple(notes),
        )

    def _ask(
        self,
        operation: Operation[Request, _Answer],
        request: Request,
        on_line: Callable[[EventLine], None] = lambda _: None,
    ) -> _Answer:
        if self._client is None:
            self._client = Client.connect(self._folder)
        return self._client.call(operation, request, on_line, timeout=PATIENCE)

    def _traffic(self) -> TrafficAnswer | None:
        try:
            return self._ask(TRAFFIC, TrafficRequest())
        except Refused:  # a daemon that is older than this program
            return None

    def _rates(self, at: float) -> tuple[HistoryAnswer | None, str]:
        if self._history is None or at - self._history[0] >= RATES_EVERY:
            try:
                request = HistoryRequest(window=RATES_WINDOW, limit=1_000_000)
                self._history = (at, self._ask(HISTORY, request), "")
            except Refused as refused:
                self._history = (at, None, refused.message)
        _, answer, why = self._history
        return answer, why

    def _follow(self) -> tuple[EventLine, ...]:
        def last(number: int) -> list[EventLine]:
            lines: list[EventLine] = []
            self._ask(EVENTS, EventsRequest(last=number), lines.append)
            return lines

        if self._events:
            joined = join(self._events, last(EVENTS_STEP))
            if joined is not None:
                self._events = joined
                return joined
        self._events = tuple(last(EVENTS_KEPT))
        return self._events


def join(known: Sequence[EventLine], newest: Sequence[EventLine]) -> tuple[EventLine, ...] | None:
    """Events with the newest ones behind them, as many as are kept. None if some between them are
    missing, or their numbers began anew: another daemon."""
    if not newest:
        return tuple(known)
    end = known[-1].number
    if newest[0].number > end + 1 or newest[-1].number < end:
        return None
    fresh = [line for line in newest if line.number > end]
    return (*known, *fresh)[-EVENTS_KEPT:]
