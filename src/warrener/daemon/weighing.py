"""Weights that follow what nodes can carry: `weights = "auto"`, `warrener balance auto-weights on`.

    every 30 s   load of the last minute, calibration if there is one -> what each node has left
                 -> at most one step towards the weights that fit -> an event for each change

What is decided is ``planner.weights``; here it is looked up, set and told. It applies to new
sessions, as any weight. What can't be looked up changes nothing, and is told once.
"""

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from warrener.control.balance_operations import AutoWeightsAnswer, AutoWeightsRequest
from warrener.control.operations import Phase, StatusAnswer
from warrener.control.wire import Refusal, Refused
from warrener.daemon.control_server import Call
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName
from warrener.facts.reasons import WeightReason
from warrener.models.terms import WrongInput
from warrener.planner import capacity
from warrener.planner.calibration_file import BrokenCalibration, read_calibration
from warrener.planner.capacity import Rooms
from warrener.planner.weights import fitting, step

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

EVERY: Final = 30.0
"""s between two looks: three samples of the history."""

WINDOW: Final = 60.0
"""s of load that are looked at: a burst of some seconds isn't a node's capacity."""

log = structlog.get_logger(__name__)


class Weighing:
    """``run`` until cancelled. ``on``: weights aren't anybody's by hand."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self.on = service.cluster.spec.balancer.auto_weights
        self._why: dict[NodeName, str] = {}
        self._trouble = ""

    async def run(self) -> None:
        """Follows while it is on."""
        while True:
            await asyncio.sleep(EVERY)
            if self.on:
                try:
                    await self.follow()
                except Exception:
                    log.exception("weights_failed")

    async def follow(self) -> None:
        """One look, and one step if there is one to take."""
        balancer = self._service.balancer
        if balancer is None:
            return
        try:
            rooms = await self._rooms()
        except (Refused, WrongInput, BrokenCalibration) as error:
            self._tell_trouble(str(error))
            return
        self._tell_trouble("")
        if not self.on or self._service.balancer is not balancer:
            return  # switched off, or stopped, meanwhile
        now = {backend.name: backend.weight for backend in balancer.statistics().backends}
        wanted = fitting(rooms)
        self._why = {room.node: f"{room.told}, fits {wanted[room.node]}" for room in rooms.nodes}
        for change in step(now, rooms):
            balancer.set_weight(change.node, change.after)
            room = rooms.of(change.node)
            self._service.events.record(
                Event(
                    "weight.followed",
                    change.node,
                    WeightReason.CAPACITY,
                    {
                        "was": change.before,
                        "is": change.after,
                        "wanted": change.wanted,
                        "cores": round(room.cores, 3),
                        "free": round(room.free, 3),
                        "why": change.why,
                    },
                )
            )

    async def _rooms(self) -> Rooms:
        load = await self._service.history.load(WINDOW)
        calibration = await asyncio.to_thread(read_calibration, self._service.folder.path)
        return await asyncio.to_thread(capacity.rooms, load, calibration)

    def _tell_trouble(self, trouble: str) -> None:
        if trouble and not self._trouble:
            self._service.events.record(Event("weights.unknown", detail={"error": trouble}))
        self._trouble = trouble

    # -- what is asked of it

    async def switch(self, request: AutoWeightsRequest, call: Call) -> AutoWeightsAnswer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        before = self.on
        self.set(request.on)
        return AutoWeightsAnswer(
            on=self.on,
            before=before,
            weights={backend.name: backend.weight for backend in balancer.statistics().backends},
        )

    def set(self, on: bool) -> None:
        """On or off. ``Refused`` where no history is kept that could be followed."""
        if on and not self._service.cluster.spec.history.enabled:
            raise Refused(
                Refusal.UNSUPPORTED,
                "weights follow the history, and none is kept: `enabled = false` under [history] "
                "in warrener.toml",
            )
        if on != self.on:
            self._service.events.record(Event("weights.auto", detail={"on": on}))
        self.on = on
        if not on:
            self._why.clear()

    def refuse_by_hand(self) -> None:
        """``Refused`` while it is on: what is set by hand would be gone in half a minute."""
        if self.on:
            raise Refused(
                Refusal.BAD_ARGUMENT,
                "weights follow what nodes can carry; `warrener balance auto-weights off` leaves "
                "them to you",
            )

    def told(self, status: StatusAnswer) -> StatusAnswer:
        """The status with what weights go by."""
        if not self.on or status.balancer is None:
            return status
        return msgspec.structs.replace(
            status,
            balancer=msgspec.structs.replace(status.balancer, auto_weights=True),
            nodes=[
                msgspec.structs.replace(node, weight_reason=self._why.get(node.name, ""))
                for node in status.nodes
            ],
        )
