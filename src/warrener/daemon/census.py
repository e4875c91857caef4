"""Counts the balancer's sessions once a minute, and tells the planner what they do.

A count of 5,000 sessions takes 40 ms of the event loop, so it is taken seldom, and less often where
it takes long. The last ``KEPT`` are kept, in memory only: sessions don't outlive the daemon.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

import structlog

from warrener.control.balance_operations import (
    PlanSessionsAnswer,
    PlanSessionsRequest,
    SessionKindLine,
)
from warrener.control.operations import Phase
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.facts.balance import BalancerStatistics
from warrener.facts.data_plane import DataPlane, Unsupported
from warrener.planner import census
from warrener.planner.census import Count
from warrener.planner.sessions import SessionKind

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

EVERY: Final = 60.0
"""s between two counts."""

LIGHT: Final = 200
"""Times as long as a count took until the next: half a per cent of the time at most."""

KEPT: Final = 11
"""Counts: ten minutes of them."""

YOUNG: Final = 10.0
"""s that have to be between two counts for rates that say something."""

log = structlog.get_logger(__name__)


class Census:
    """``run`` until cancelled; ``plan_sessions`` answers the operation."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._counts: deque[Count] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Takes one count after the other."""
        while True:
            began = self._service.monotonic()
            try:
                self.take()
            except Exception:
                log.exception("census_failed")
            took = self._service.monotonic() - began
            await asyncio.sleep(max(EVERY, LIGHT * took))

    def take(self) -> None:
        """One count; none while there is no balancer, or one that doesn't see sessions."""
        balancer = self._service.balancer
        if balancer is None:
            return
        try:
            sessions = balancer.sessions()
        except Unsupported:
            return
        now = self._service.monotonic()
        self._counts.append(census.count(now, balancer.statistics(), sessions))

    async def plan_sessions(self, request: PlanSessionsRequest, call: Call) -> PlanSessionsAnswer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        statistics = balancer.statistics()
        try:
            sessions = balancer.sessions()
        except Unsupported:
            return self._by_numbers(statistics)
        now = self._service.monotonic()
        after = census.count(now, statistics, sessions)
        before = self._before(now, request.window)
        if before is None:  # what they did since they were opened is all there is
            before = Count(now - YOUNG, statistics.sessions_total - len(sessions))
        found = census.compare(before, after, sessions)
        return self._answer(
            statistics,
            seconds=found.seconds,
            kinds=found.kinds,
            opened=found.opened,
            lifetime=found.lifetime if found.lifetime != float("inf") else None,
            addresses=dict(found.addresses),
            local=found.local,
            remote=found.remote,
        )

    def _before(self, now: float, window: float) -> Count | None:
        """The oldest count within the window, or the newest before it."""
        old = [one for one in self._counts if one.at <= now - YOUNG]
        return next((one for one in old if one.at >= now - window), old[-1] if old else None)

    def _by_numbers(self, statistics: BalancerStatistics) -> PlanSessionsAnswer:
        """Of a data plane that passes bytes: how many sessions there are, and no more."""
        number = statistics.sessions
        return self._answer(
            statistics,
            kinds=(SessionKind(number, 0.0),) if number else (),
            warnings=(
                "HAProxy doesn't tell sessions apart: they are taken to send alike, to stay, and "
                "to come from an address each",
            ),
        )

    def _answer(
        self,
        statistics: BalancerStatistics,
        *,
        kinds: tuple[SessionKind, ...],
        seconds: float = 0.0,
        opened: float = 0.0,
        lifetime: float | None = None,
        addresses: dict[str, int] | None = None,
        local: float | None = None,
        remote: float | None = None,
        warnings: tuple[str, ...] = (),
    ) -> PlanSessionsAnswer:
        return PlanSessionsAnswer(
            seconds=seconds,
            kinds=tuple(SessionKindLine(sessions=one.sessions, rate=one.rate) for one in kinds),
            opened=opened,
            lifetime=lifetime,
            addresses=addresses or {},
            local=local,
            remote=remote,
            policy=statistics.policy,
            locality=statistics.locality,
            weights={backend.name: backend.weight for backend in statistics.backends},
            follows_capacity=self._service.weighing.on,
            can_be_placed=statistics.data_plane is DataPlane.WARRENER,
            warnings=warnings,
        )
