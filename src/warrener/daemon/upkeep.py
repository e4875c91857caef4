"""Operations that take their time: a node drained, revived, restarted; sessions rebalanced.

    drain     is it wise? -> other nodes lead its queues -> the balancer moves all sessions off
              -> RabbitMQ's own drain
    revive    RabbitMQ's own revive -> the balancer takes the node -> until it is fit
    restart   (drain ->) the driver stops and starts it -> the balancer takes the node
              -> until it is fit and its replicas are online

After a revive and a restart the leaders of queues are spread again (``spreading``).

What a caller that hangs up ends is the moving of sessions: it is undone (the node takes sessions
again; those that were moved stay where they are). From RabbitMQ's own drain on an operation goes on
to its end without its caller. When the cluster is stopped meanwhile, no more sessions are moved and
a node that is being started is stopped. See ``works`` for what may run beside what.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from warrener.control.names import resolve_node
from warrener.control.node_operations import (
    StartAppAnswer,
    StartAppRequest,
    StopAppAnswer,
    StopAppRequest,
)
from warrener.control.operations import (
    DrainAnswer,
    DrainRequest,
    Phase,
    RebalanceAnswer,
    RebalanceRequest,
    RestartAnswer,
    RestartRequest,
    ReviveAnswer,
    ReviveRequest,
)
from warrener.control.wire import Refusal, Refused
from warrener.daemon import report
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.parts import Balancer
from warrener.daemon.prudence import Standing, Unwise, replicas_missing, why_unwise
from warrener.daemon.report import DrivenNode
from warrener.daemon.steps import Steps
from warrener.daemon.works import Caller, Whole, Works
from warrener.facts.balance import BackendStatistics
from warrener.facts.capability import Can
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName, short_name
from warrener.facts.moves import DrainResult, MoveProgress
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

LOOK: Final = 0.5
"""Seconds between two looks at whether a node is fit; each adds up all sessions."""

REPLICAS_TIMEOUT: Final = 15.0
"""Seconds for a started node's replicas to come online by themselves. Mostly they are before the
node is fit; one that isn't after this never was (seen once on 3.10.8, after several drains in a
row), until RabbitMQ is told to revive the node."""

FIT_TIMEOUT: Final = 30.0
"""Seconds for the balancer to find a node fit that serves; its probes need one or two."""

MAX_TIMEOUT: Final = 24 * 3600.0

_DRAIN_STOPS: Final = ("quorum",)  # kinds of queues whose replicas a drain stops
_RESTART_STOPS: Final = ("quorum", "stream")

log = structlog.get_logger(__name__)


class Upkeep:
    """The operations that run, and how each goes."""

    def __init__(self, service: "Service", works: Works) -> None:
        self._service = service
        self._works = works

    # -- what can be asked for

    async def drain(self, request: DrainRequest, call: Call) -> DrainAnswer:
        node = self.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            node, "drained", lambda steps: self._drain(node, request, steps), call
        )

    async def revive(self, request: ReviveRequest, call: Call) -> ReviveAnswer:
        node = self.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            node, "revived", lambda steps: self._revive_and_spread(node, request, steps), call
        )

    async def restart(self, request: RestartRequest, call: Caller) -> RestartAnswer:
        node = self.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            node, "restarted", lambda steps: self._restart_and_spread(node, request, steps), call
        )

    async def stop_app(self, request: StopAppRequest, call: Call) -> StopAppAnswer:
        node = self.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            node, "stopped", lambda steps: self._stop_app(node, request, steps), call
        )

    async def start_app(self, request: StartAppRequest, call: Call) -> StartAppAnswer:
        node = self.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            node, "started", lambda steps: self._start_app(node, request, steps), call
        )

    async def rebalance(self, request: RebalanceRequest, call: Call) -> RebalanceAnswer:
        return await self._works.perform(
            Whole.SESSIONS, "rebalanced", lambda steps: self._rebalance(request, steps), call
        )

    async def restart_as_part(
        self, node: NodeName, request: RestartRequest, steps: Steps
    ) -> RestartAnswer:
        """A restart that is a step of a longer operation, in whose task this runs; leaders are
        spread at the end of that."""
        return await self._restart(node, request, steps)

    # -- whom it concerns

    def resolve(self, typed: str) -> NodeName:
        self.balancer()
        return resolve_node(typed, [node.name for node in self._service.cluster.nodes()])

    def balancer(self) -> Balancer:
        balancer = self._service.balancer
        if balancer is None or self._service.phase is not Phase.RUNNING:
            raise Refused(
                Refusal.NOT_YET,
                f"the cluster is {self._service.phase}; `warrener status` shows how far it is",
            )
        return balancer

    # -- drain

    async def _drain(self, node: NodeName, request: DrainRequest, steps: Steps) -> DrainAnswer:
        self._must_run(node, "so there is nothing to drain; {} starts it")
        if (why := self.why_broken(node)) and not request.force:
            raise Refused(
                Refusal.UNWISE,
                f"{node} doesn't serve ({why}), so there is nothing to drain; `warrener node "
                f"restart {short_name(node)}` starts it anew. With --force I drain it all the same",
            )
        steps.say(short_name(node), "looks whether it can go")
        drained = await self.drained_nodes()
        if node in drained:
            return DrainAnswer(node=node, already=True)
        if not request.force:
            await self.refuse_unwise(node, drained, self._drain_stops(), "drain it", steps)
        result = await self.move_off(node, request.timeout, steps)
        answer = report.drain(await self.maintenance_on(node, result, steps))
        return msgspec.structs.replace(answer, note=self.why_no_maintenance())

    async def why_no_drain(self, node: NodeName) -> Unwise | None:
        """Why a drain without force would be refused now, in a sentence; changes nothing."""
        if why := self.why_broken(node):
            return Unwise(f"{short_name(node)} doesn't serve ({why}): there is nothing to drain")
        drained = await self.drained_nodes()
        unwise = await self.why_unwise(node, drained, self._drain_stops())
        if unwise is None or node in drained:
            return None
        return Unwise(f"{short_name(node)} should stay: {unwise.why}", unwise.passes)

    def _drain_stops(self) -> Sequence[str]:
        return () if self.why_no_maintenance() else _DRAIN_STOPS

    def why_no_maintenance(self) -> str:
        """Empty if the driver puts nodes into RabbitMQ's own maintenance mode."""
        return self._service.cluster.capabilities.why_not(Can.MAINTENANCE)

    async def move_off(self, node: NodeName, timeout: float, steps: Steps) -> DrainResult:
        """All sessions off the node, or everything as it was.

        Leaders first: then each channel moves once, to where its queue is led from here on.
        """
        try:
            with self._service.tell_also(about(node, steps)):
                await self._service.cluster.hand_over_node(node)
        except DaemonError as error:  # RabbitMQ's own drain elects leaders, too, only later
            log.warning("leaders_not_handed_over", node=node, error=error.message)
        await self._service.look_now()
        balancer = self.balancer()

        def moved(progress: MoveProgress) -> None:
            failed = f", {progress.failed} couldn't be moved" if progress.failed else ""
            steps.count(short_name(node), f"moves sessions{failed}", progress.done, progress.total)

        steps.say(short_name(node), "gets no new sessions")
        moving = asyncio.create_task(
            balancer.drain(node, timeout=timeout, on_progress=moved), name=f"move off {node}"
        )
        try:
            if not await _unless_abandoned(moving, steps):
                raise Refused(
                    Refusal.CALLED_OFF,
                    f"called off: {node} takes sessions again; those that were moved off it stay "
                    f"where they are",
                )
        except BaseException:
            balancer.revive(node)
            self._service.events.record(Event("node.drain_undone", node))
            raise
        return moving.result()

    async def maintenance_on(
        self, node: NodeName, result: DrainResult, steps: Steps
    ) -> DrainResult:
        try:
            with self._service.tell_also(about(node, steps)):
                await self._service.cluster.drain_node(node)
        except BaseException:
            # What RabbitMQ did of it isn't known. A node that came to be in maintenance mode serves
            # nobody, and the balancer's probes say so.
            self._revive_in_balancer(node)
            raise
        self._service.events.record(
            Event(
                "node.drained",
                node,
                detail={"moved": result.moved, "forced": result.forced, "left": result.left},
            )
        )
        return result

    # -- revive

    async def _revive(self, node: NodeName, request: ReviveRequest, steps: Steps) -> ReviveAnswer:
        began = self._service.monotonic()
        self._must_run(node, "{} starts it, out of maintenance mode")
        if node not in await self.drained_nodes() and not self._why_unfit(node):
            return ReviveAnswer(node=node, already=True)
        with self._service.tell_also(about(node, steps)):
            await self._service.cluster.revive_node(node)
        self.balancer().revive(node)
        self._service.events.record(Event("node.revived", node))
        await self.until_fit(node, request.timeout, steps)
        missing = await self.until_online(node, steps)
        return ReviveAnswer(
            node=node, not_online=missing, seconds=self._service.monotonic() - began
        )

    async def _revive_and_spread(
        self, node: NodeName, request: ReviveRequest, steps: Steps
    ) -> ReviveAnswer:
        answer = await self._revive(node, request, steps)
        wanted = request.balance and not answer.already
        spread = await self._service.spreading.after_change(wanted, steps)
        return msgspec.structs.replace(answer, leaders=spread)

    # -- restart

    async def _restart_and_spread(
        self, node: NodeName, request: RestartRequest, steps: Steps
    ) -> RestartAnswer:
        answer = await self._restart(node, request, steps)
        spread = await self._service.spreading.after_change(request.balance, steps)
        return msgspec.structs.replace(answer, leaders=spread)

    async def _restart(
        self, node: NodeName, request: RestartRequest, steps: Steps
    ) -> RestartAnswer:
        began = self._service.monotonic()
        drained = None
        if self.row(node).state is NodeState.RUNNING and not self.why_broken(node):
            steps.say(short_name(node), "looks whether it can go")
            in_maintenance = await self.drained_nodes()
            if node in in_maintenance:
                drained = DrainAnswer(node=node, already=True) if request.drain else None
            else:
                if not request.force:
                    await self.refuse_unwise(
                        node, in_maintenance, _RESTART_STOPS, "restart it", steps
                    )
                if request.drain:
                    result = await self.move_off(node, DrainRequest(node).timeout, steps)
                    drained = report.drain(await self.maintenance_on(node, result, steps))
        try:
            with self._service.tell_also(about(node, steps)):
                await self._service.cluster.restart_node(node, request.timeout)
        finally:
            self._revive_in_balancer(node)
        pid = self.row(node).pid
        self._service.events.record(Event("node.restarted", node, detail={"pid": pid or 0}))
        await self.until_fit(node, FIT_TIMEOUT, steps)
        missing = await self.until_online(node, steps)
        return RestartAnswer(
            node=node,
            pid=pid,
            drained=drained,
            not_online=missing,
            seconds=self._service.monotonic() - began,
        )

    def _revive_in_balancer(self, node: NodeName) -> None:
        """A node that has booted is out of maintenance mode, one that hasn't fails its probes."""
        if self._service.balancer is not None:
            self._service.balancer.revive(node)

    # -- RabbitMQ inside its Erlang VM

    async def _stop_app(
        self, node: NodeName, request: StopAppRequest, steps: Steps
    ) -> StopAppAnswer:
        began = self._service.monotonic()
        self._must_run(node, "so there is nothing to stop; {} starts it")
        drained = None
        if not self.why_broken(node):
            in_maintenance = await self.drained_nodes()
            if not request.force and node not in in_maintenance:
                await self.refuse_unwise(node, in_maintenance, _RESTART_STOPS, "stop it", steps)
            drained = report.drain(await self.move_off(node, request.timeout, steps))
        try:
            with self._service.tell_also(about(node, steps)):
                await self._service.cluster.stop_app(node)
        finally:
            self._revive_in_balancer(node)
        self._service.events.record(Event("node.app_stopped", node))
        await self._service.look_now()
        return StopAppAnswer(node=node, drained=drained, seconds=self._service.monotonic() - began)

    async def _start_app(
        self, node: NodeName, request: StartAppRequest, steps: Steps
    ) -> StartAppAnswer:
        began = self._service.monotonic()
        self._must_run(node, "{} starts it")
        with self._service.tell_also(about(node, steps)):
            await self._service.cluster.start_app(node)
        self._revive_in_balancer(node)
        self._service.events.record(Event("node.app_started", node))
        await self.until_fit(node, request.timeout, steps)
        missing = await self.until_online(node, steps)
        return StartAppAnswer(
            node=node, not_online=missing, seconds=self._service.monotonic() - began
        )

    # -- rebalance

    async def _rebalance(self, request: RebalanceRequest, steps: Steps) -> RebalanceAnswer:
        def moved(progress: MoveProgress) -> None:
            steps.count("sessions", "move", progress.done, progress.total)

        moving = asyncio.create_task(
            self.balancer().rebalance(dry_run=request.dry_run, on_progress=moved), name="rebalance"
        )
        if not await _unless_abandoned(moving, steps):
            raise Refused(
                Refusal.CALLED_OFF, "called off: sessions that were moved stay where they are"
            )
        result = moving.result()
        if not request.dry_run:
            steps.say("sessions", result.stopped or "moved", done=True, failed=bool(result.stopped))
            self._service.events.record(
                Event(
                    "sessions.rebalanced",
                    detail={
                        "moved": result.moved,
                        "failed": result.failed,
                        "stopped": result.stopped,
                    },
                )
            )
        return report.rebalance(result, dry_run=request.dry_run)

    # -- how a node is

    def row(self, node: NodeName) -> DrivenNode:
        return next(row for row in self._service.cluster.nodes() if row.name == node)

    def _must_run(self, node: NodeName, advice: str) -> None:
        state = self.row(node).state
        if state is not NodeState.RUNNING:
            if self._service.cluster.capabilities.why_not(Can.RESTART_NODE):
                advice = "and whoever runs the cluster has to start it; Warrener takes it then"
            command = f"`warrener node restart {short_name(node)}`"
            raise Refused(Refusal.FAILED, f"{node} doesn't run ({state}), {advice.format(command)}")

    def why_broken(self, node: NodeName) -> str:
        """Why a node whose process is there serves nobody; empty if it does, or is just drained."""
        if self.row(node).frozen:
            return "frozen: its process is stopped"
        backend = self._backend(node)
        if backend is None or backend.unfit in (None, Unfit.DRAINED):
            return ""
        return self._why_unfit(node)

    def _why_unfit(self, node: NodeName) -> str:
        """Why the balancer gives it no new sessions; empty if it does."""
        backend = self._backend(node)
        if backend is None:
            return str(Unfit.NOT_PROBED)
        if backend.unfit is None:
            return ""
        detail = backend.unfit_detail
        return f"{backend.unfit} ({detail})" if detail not in ("", backend.unfit) else backend.unfit

    def _backend(self, node: NodeName) -> BackendStatistics | None:
        balancer = self._service.balancer
        backends = balancer.statistics().backends if balancer is not None else ()
        return next((backend for backend in backends if backend.name == node), None)

    async def drained_nodes(self) -> frozenset[NodeName]:
        """RabbitMQ's word; what the driver did itself if nobody can be asked (a minority)."""
        try:
            return await self._service.cluster.drained_nodes()
        except DaemonError as error:
            log.warning("drained_nodes_unknown", error=error.message)
            return frozenset(row.name for row in self._service.cluster.nodes() if row.drained)

    async def refuse_unwise(
        self,
        node: NodeName,
        drained: frozenset[NodeName],
        kinds: Sequence[str],
        verb: str,
        steps: Steps,
    ) -> None:
        """Replicas that aren't online yet are waited for: another node may have just started."""
        deadline = self._service.monotonic() + REPLICAS_TIMEOUT
        while unwise := await self.why_unwise(node, drained, kinds):
            if not unwise.passes or self._service.monotonic() > deadline:
                raise Refused(
                    Refusal.UNWISE,
                    f"{node} should stay: {unwise.why}. With --force I {verb} all the same",
                )
            if steps.abandoned.is_set():
                raise Refused(Refusal.CALLED_OFF, f"called off before anything was done to {node}")
            steps.say(short_name(node), "waits for replicas on other nodes")
            await asyncio.sleep(LOOK)

    async def why_unwise(
        self, node: NodeName, drained: frozenset[NodeName], kinds: Sequence[str]
    ) -> Unwise | None:
        """Why the node should stay now; ``kinds`` of queues lose their replicas with it."""
        snapshot = await self.look()
        began_before = self._works.begun_before(node)
        runs = {view.name: view.running for view in snapshot.nodes} if snapshot else {}
        standings = [
            Standing(
                name=row.name,
                runs=row.state is NodeState.RUNNING and runs.get(row.name, True),
                drained=row.name in drained,
                leaving=row.name in began_before,
                why_unfit=self._why_unfit(row.name),
            )
            for row in self._service.cluster.nodes()
        ]
        return why_unwise(node, standings, snapshot, kinds)

    async def look(self) -> ClusterSnapshot | None:
        try:
            return await self._service.cluster.look()
        except ManagementError as error:
            log.warning("look_failed", error=str(error))
            return None

    async def until_fit(self, node: NodeName, timeout: float, steps: Steps) -> None:
        steps.say(short_name(node), "waits for the balancer's probes")
        deadline = self._service.monotonic() + timeout
        while why := self._why_unfit(node):
            if self._service.monotonic() > deadline:
                raise Refused(
                    Refusal.FAILED,
                    f"{node} runs, but the balancer has not found it fit within {timeout:g} s: "
                    f"{why}",
                )
            await asyncio.sleep(LOOK)
        steps.say(short_name(node), "is fit", done=True)

    async def until_online(self, node: NodeName, steps: Steps) -> list[str]:
        """Until the node's replicas are; the queues of those that aren't in the end."""
        deadline = self._service.monotonic() + REPLICAS_TIMEOUT
        revived = False
        while True:
            snapshot = await self.look()
            missing = replicas_missing(node, snapshot.queues) if snapshot else []
            if not missing:
                steps.say(short_name(node), "is fit, all its replicas are online", done=True)
                return []
            if self._service.monotonic() > deadline:
                if revived:
                    return missing
                revived = True
                deadline = self._service.monotonic() + REPLICAS_TIMEOUT
                try:
                    await self._service.cluster.revive_node(node)
                except DaemonError as error:
                    log.warning("replicas_not_revived", node=node, error=error.message)
                    return missing
            number = len(missing)
            steps.say(short_name(node), f"waits for {number} replica{'s' * (number > 1)}")
            await asyncio.sleep(LOOK)


def about(node: NodeName, steps: Steps) -> Callable[[Progress], None]:
    """Passes on what the driver says of this node."""

    def pass_on(progress: Progress) -> None:
        if progress.subject == short_name(node):
            steps.pass_on(progress)

    return pass_on


async def _unless_abandoned(work: "asyncio.Task[Any]", steps: Steps) -> bool:
    """Waits for ``work``; whether it was done before the caller hung up. If not, it is cancelled
    and has cleaned up. What it raises is raised."""
    abandoned = asyncio.create_task(steps.abandoned.wait(), name="caller hangs up")
    try:
        await asyncio.wait({work, abandoned}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        abandoned.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
    if work.cancelled():
        return False
    work.result()
    return not steps.abandoned.is_set()


def check_timeout(seconds: float) -> None:
    if not 0 < seconds <= MAX_TIMEOUT:
        raise Refused(
            Refusal.BAD_ARGUMENT, f"a time-out is up to {MAX_TIMEOUT:g} s, not {seconds:g}"
        )
