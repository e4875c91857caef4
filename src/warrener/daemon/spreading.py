"""Leaders are spread again after the cluster's nodes have changed.

Whatever stops a node gives its leaders to the others, and none of them comes back by itself; a
node that was added leads nothing. So an operation that changes nodes ends with

    measured -> planned as `leaders balance` plans -> moved as it moves, up to ``MAX_MOVES``

By load; where next to nothing goes through the queues by their number. It never makes the
operation fail, whose work is done by then: why leaders weren't moved is told instead. A caller that
hangs up ends it between two batches. The rates need no time to come back after a restart, because
they aren't RabbitMQ's averages but what its counters grow by while it is measured; but
what is measured so shortly after a change is a moment, which ``leaders balance --sample 60`` isn't.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from warrener.cluster.leaders.plan import plan
from warrener.cluster.leaders.terms import LEAST_LOAD, PlanQueue
from warrener.control.spread import LeadersSpread, SpreadBy
from warrener.control.wire import Refused
from warrener.daemon import leaders_report
from warrener.daemon.errors import DaemonError
from warrener.daemon.leaders import Leaders
from warrener.daemon.leaders_report import Measured
from warrener.daemon.steps import Steps
from warrener.daemon.works import Works
from warrener.facts.capability import Can

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

SAMPLE: Final = 3.0
"""Seconds. Somebody waits for the operation; two nodes of equal load seldom differ by a tenth after
that."""

MAX_MOVES: Final = 200
"""Ten batches, ten to twenty seconds."""

_SUBJECT: Final = "leaders"
log = structlog.get_logger(__name__)


class Spreading:
    """See the module."""

    def __init__(self, service: "Service", works: Works, leaders: Leaders) -> None:
        self._service = service
        self._works = works
        self._leaders = leaders

    async def after_change(self, wanted: bool, steps: Steps) -> LeadersSpread | None:
        """None if it isn't ``wanted``, there is one node only, or nobody waits for it any more."""
        cluster = self._service.cluster
        if not wanted or steps.abandoned.is_set() or len(cluster.nodes()) < 2:
            return None
        if cluster.capabilities.why_not(Can.MOVE_LEADERS):
            return None
        if others := self._works.others():
            told = LeadersSpread(why=f"{others} at the same time")
        else:
            try:
                told = await self._spread(steps)
            except (DaemonError, Refused) as error:
                log.warning("leaders_not_spread", error=error.message)
                told = LeadersSpread(why=error.message)
        text = f"left as they are: {told.why}" if told.why and not told.moved else _told(told)
        steps.say(_SUBJECT, text, done=True)
        return told

    async def _spread(self, steps: Steps) -> LeadersSpread:
        measured = await self._leaders.measured(SAMPLE, steps)
        if obstacles := leaders_report.obstacles(measured):
            return LeadersSpread(why="; ".join(obstacles))
        by, queues = weighed(measured)
        least = LEAST_LOAD if by is SpreadBy.LOAD else 0.0
        planned = await asyncio.to_thread(
            plan, measured.nodes, queues, max_moves=MAX_MOVES, least_load=least
        )
        told = LeadersSpread(
            by=by,
            planned=len(planned.moves),
            more=len(planned.moves) == MAX_MOVES,
            skew_before=planned.skew_before,
            skew_expected=planned.skew_after,
        )
        if not planned.moves:
            return told
        course = await self._leaders.carry_out(planned, (), steps)
        why = "called off" if course.called_off else course.stopped
        if not why and course.failed:
            why = f"{course.failed} didn't move"
        return msgspec.structs.replace(told, moved=course.moved, why=why)


def weighed(measured: Measured) -> tuple[SpreadBy, tuple[PlanQueue, ...]]:
    """The queues with the load to spread them by. By number only those that can be moved count:
    classic queues and streams stay where they are, and cost nothing while nothing goes on."""
    if sum(queue.load for queue in measured.queues) > LEAST_LOAD:
        return SpreadBy.LOAD, measured.queues
    return SpreadBy.NUMBER, tuple(
        replace(queue, load=1.0 if queue.fixed is None else 0.0, follower=0.0)
        for queue in measured.queues
    )


def _told(told: LeadersSpread) -> str:
    if not told.planned:
        return f"spread as they should be, by {told.by}"
    why = f" ({told.why})" if told.why else ""
    return f"{told.moved} of {told.planned} moved, by {told.by}{why}"
