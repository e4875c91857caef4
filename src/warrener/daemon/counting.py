"""`leaders balance --by-count`: RabbitMQ's own rebalancing, asked for by the management API.

RabbitMQ moves leaders of quorum queues from nodes that lead more than their share to those that
lead less, by number. It says nothing of how that goes, so it is watched: done is when leaders have
stayed where they are for a while.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from warrener.control.count_operations import (
    CountLine,
    LeadersSpreadAnswer,
    LeadersSpreadRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.daemon.steps import Steps
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management import listeners as api
from warrener.management.client import ManagementError, TimedOut, Unreachable

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

LOOK: Final = 0.5

SETTLED: Final = 2.0
"""Seconds without a leader that moves: RabbitMQ moves one after the other, each in tens of ms."""

PATIENCE: Final = 120.0
"""Seconds until it is told as still going on."""

_SUBJECT: Final = "leaders"

Leaders = Mapping[tuple[str, str], NodeName]


class Counting:
    """The operation."""

    def __init__(self, service: "Service", works: Works) -> None:
        self._service = service
        self._works = works

    async def spread(self, request: LeadersSpreadRequest, call: Call) -> LeadersSpreadAnswer:
        if self._service.balancer is None:
            raise Refused(Refusal.NOT_YET, f"the cluster is {self._service.phase}")
        return await self._works.perform(Whole.LEADERS, "spread", self._spread, call)

    async def _spread(self, steps: Steps) -> LeadersSpreadAnswer:
        monotonic = self._service.monotonic
        began = monotonic()
        view = await self._service.look_now()
        if view is None:
            raise Refused(Refusal.FAILED, "the cluster doesn't tell how it is; nothing was moved")
        before = _leaders(view)
        steps.say(_SUBJECT, "RabbitMQ is asked to spread them")
        await self._ask()
        now, moved_at = before, monotonic()
        while monotonic() - began < PATIENCE and not steps.abandoned.is_set():
            await asyncio.sleep(LOOK)
            seen = await self._service.look_now()
            if seen is None:
                continue
            leaders = _leaders(seen)
            if leaders != now or any(queue not in leaders for queue in before):
                now, moved_at = leaders, monotonic()
                steps.say(_SUBJECT, f"{_moved(before, now)} moved so far")
            elif monotonic() - moved_at >= SETTLED:
                break
        settled = monotonic() - moved_at >= SETTLED
        moved = _moved(before, now)
        steps.say(_SUBJECT, f"{moved} moved", done=settled, failed=not settled)
        self._service.events.record(Event("leaders.spread", detail={"moved": moved}))
        counts = Counter(before.values()), Counter(now.values())
        return LeadersSpreadAnswer(
            nodes=[
                CountLine(node=node.name, before=counts[0][node.name], after=counts[1][node.name])
                for node in view.nodes
            ],
            moved=moved,
            settled=settled,
            seconds=monotonic() - began,
        )

    async def _ask(self) -> None:
        why = "no node runs"
        for client in self._service.cluster.management():
            try:
                await api.rebalance_by_count(client)
            except TimedOut:
                return  # it was asked, and is slow: the leaders are watched
            except Unreachable as error:
                why = str(error)
            except ManagementError as error:
                raise Refused(Refusal.FAILED, str(error)) from None
            else:
                return
        raise Refused(Refusal.FAILED, f"no node answers ({why}); `warrener status` shows them")


def _leaders(view: ClusterSnapshot) -> Leaders:
    return {
        (queue.vhost, queue.name): queue.leader
        for queue in view.queues
        if queue.type == "quorum" and queue.leader is not None
    }


def _moved(before: Leaders, after: Leaders) -> int:
    return sum(after.get(queue, leader) != leader for queue, leader in before.items())
