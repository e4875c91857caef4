"""`plan-work` and `plan-points`: what the planner takes out of the history beside the load.

The daemon picks it out of its samples; what is made of it (regression, curves) is the asker's to
reckon, in his own process.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from warrener.control.plan_history_operations import (
    PLAN_POINTS,
    PLAN_WORK,
    PlanPointsAnswer,
    PlanPointsRequest,
    PlanWorkAnswer,
    PlanWorkRequest,
)
from warrener.daemon.control_server import Call, Handler
from warrener.daemon.history import History
from warrener.planner import history_wire
from warrener.planner.points import points
from warrener.planner.work import worked

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service


class PlanHistory:
    """The operations."""

    def __init__(self, service: "Service", history: History) -> None:
        self._service = service
        self._history = history

    def table(self) -> Mapping[str, Handler]:
        """Operation name -> handler."""
        return {PLAN_WORK.name: self.work, PLAN_POINTS.name: self.points}

    async def work(self, request: PlanWorkRequest, call: Call) -> PlanWorkAnswer:
        return await self.picked(request.window)

    async def picked(self, window: float) -> PlanWorkAnswer:
        """What nodes had to do in the last ``window`` s, and what CPU that took them."""
        kept = self._service.cluster.spec.history.keep
        samples, now = await self._history.samples(min(window, kept))
        cluster, version = self._service.cluster.name, self._service.cluster.version()
        by_metrics = (
            self._service.cluster.capabilities.driver != "local"
            or self._service.cluster.spec.history.prometheus != ""
        )

        def made() -> PlanWorkAnswer:
            found = worked(samples)
            return history_wire.work_to_wire(
                found,
                samples,
                cluster=cluster,
                version=version,
                now=now,
                told_by_nodes=by_metrics,
            )

        return await self._history.in_thread(made)

    async def points(self, request: PlanPointsRequest, call: Call) -> PlanPointsAnswer:
        samples, _ = await self._history.samples(request.window)
        wanted = {(vhost, name) for vhost, name in request.queues}
        found = await self._history.in_thread(lambda: points(samples, wanted))
        return history_wire.points_to_wire(found)
