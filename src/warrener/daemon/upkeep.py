"""Operations that take their time: a node drained, revived, restarted; sessions rebalanced.

    drain     is it wise? -> other nodes lead its queues -> the balancer moves all sessions off
              -> RabbitMQ's own drain
    revive    RabbitMQ's own revive -> the balancer takes the node -> until it is fit
    restart   (drain ->) the driver stops and starts it -> the balancer takes the node
              -> until it is fit and its replicas are online

Each runs in a task of its own, not in that of the control connection: other requests are answered
meanwhile, and a caller that hangs up ends only what can be ended without harm. That is the moving
of sessions: it is undone (the node takes sessions again; those that were moved stay where they
are). From RabbitMQ's own drain on an operation goes on to its end without its caller.

At one time there is one operation per node, or one rebalancing and no node's; ``close`` ends them
all, before the balancer and the nodes are stopped.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import structlog

from warrener.control.names import resolve_node
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
from warrener.daemon.prudence import Standing, replicas_missing, why_unwise
from warrener.daemon.report import DrivenNode
from warrener.daemon.steps import Steps
from warrener.facts.balance import BackendStatistics
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

_REBALANCING: Final = NodeName("")  # the key of the operation that is no node's
_DRAIN_STOPS: Final = ("quorum",)  # kinds of queues whose replicas a drain stops
_RESTART_STOPS: Final = ("quorum", "stream")

_Answer = TypeVar("_Answer", bound=msgspec.Struct)
log = structlog.get_logger(__name__)


class Upkeep:
    """The operations that run, and how each goes."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._running: dict[NodeName, tuple[str, asyncio.Task[Any]]] = {}
        self._closed = False

    async def close(self) -> None:
        """Ends what runs: no more sessions are moved, a node that is being started is stopped."""
        self._closed = True
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # -- what can be asked for

    async def drain(self, request: DrainRequest, call: Call) -> DrainAnswer:
        node = self._resolve(request.node)
        _check_timeout(request.timeout)
        return await self.perform(
            node, "drained", lambda steps: self._drain(node, request, steps), call
        )

    async def revive(self, request: ReviveRequest, call: Call) -> ReviveAnswer:
        node = self._resolve(request.node)
        _check_timeout(request.timeout)
        return await self.perform(
            node, "revived", lambda steps: self._revive(node, request, steps), call
        )

    async def restart(self, request: RestartRequest, call: Call) -> RestartAnswer:
        node = self._resolve(request.node)
        _check_timeout(request.timeout)
        return await self.perform(
            node, "restarted", lambda steps: self._restart(node, request, steps), call
        )

    async def rebalance(self, request: RebalanceRequest, call: Call) -> RebalanceAnswer:
        return await self.perform(
            _REBALANCING, "rebalanced", lambda steps: self._rebalance(request, steps), call
        )

    async def restart_as_part(
        self, node: NodeName, request: RestartRequest, steps: Steps
    ) -> RestartAnswer:
        """A restart that is a step of a longer operation, in whose task this runs."""
        self._refuse_if_busy(node)
        task = asyncio.current_task()
        assert task is not None
        self._running[node] = "restarted", task
        try:
            return await self._restart(node, request, steps)
        finally:
            del self._running[node]

    # -- one at a time

    async def perform(
        self,
        key: NodeName,
        what: str,
        work: Callable[[Steps], Coroutine[Any, Any, _Answer]],
        call: Call,
    ) -> _Answer:
        self._refuse_if_busy(key)
        steps = Steps()
        task = asyncio.create_task(work(steps), name=f"{what} {key}")
        self._running[key] = what, task

        def ended(_: "asyncio.Task[_Answer]") -> None:
            del self._running[key]
            steps.close()

        def hung_up(_: "asyncio.Future[None]") -> None:
            steps.abandoned.set()

        task.add_done_callback(ended)
        call.gone.add_done_callback(hung_up)
        try:
            await steps.forward(call.emit)
        except ConnectionError:
            steps.abandoned.set()
        finally:
            call.gone.remove_done_callback(hung_up)
        await asyncio.wait({task})
        if task.cancelled():
            raise Refused(Refusal.CALLED_OFF, "called off: the cluster is being stopped")
        try:
            return task.result()
        except DaemonError as error:
            raise Refused(Refusal.FAILED, error.message) from None

    def _refuse_if_busy(self, key: NodeName) -> None:
        if self._closed:
            raise Refused(Refusal.NOT_YET, "the cluster is being stopped")
        if key in self._running:
            what = self._running[key][0]
            whose = "sessions are" if key == _REBALANCING else f"{key} is"
            raise Refused(Refusal.BUSY, f"{whose} being {what} already; wait until that is done")
        if key != _REBALANCING and _REBALANCING in self._running:
            raise Refused(
                Refusal.BUSY,
                "sessions are being rebalanced; wait until that is done, or end it with Ctrl-C "
                "where it was started",
            )
        if key == _REBALANCING and self._running:
            node, (what, _) = next(iter(self._running.items()))
            raise Refused(Refusal.BUSY, f"{node} is being {what}; rebalance when that is done")

    def _resolve(self, typed: str) -> NodeName:
        self._balancer()
        return resolve_node(typed, [node.name for node in self._service.cluster.nodes()])

    def _balancer(self) -> Balancer:
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
        if (why := self._why_broken(node)) and not request.force:
            raise Refused(
                Refusal.UNWISE,
                f"{node} doesn't serve ({why}), so there is nothing to drain; `warrener node "
                f"restart {short_name(node)}` starts it anew. With --force I drain it all the same",
            )
        steps.say(short_name(node), "looks whether it can go")
        drained = await self._drained_nodes()
        if node in drained:
            return DrainAnswer(node=node, already=True)
        if not request.force:
            await self._refuse_unwise(node, drained, _DRAIN_STOPS, "drain it")
        result = await self._move_off(node, request.timeout, steps)
        return report.drain(await self._maintenance_on(node, result, steps))

    async def _move_off(self, node: NodeName, timeout: float, steps: Steps) -> DrainResult:
        """All sessions off the node, or everything as it was.

        Leaders first: then each channel moves once, to where its queue is led from here on.
        """
        try:
            with self._service.tell_also(_about(node, steps)):
                await self._service.cluster.hand_over_node(node)
        except DaemonError as error:  # RabbitMQ's own drain elects leaders, too, only later
            log.warning("leaders_not_handed_over", node=node, error=error.message)
        await self._service.look_now()
        balancer = self._balancer()

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

    async def _maintenance_on(
        self, node: NodeName, result: DrainResult, steps: Steps
    ) -> DrainResult:
        try:
            with self._service.tell_also(_about(node, steps)):
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
        if node not in await self._drained_nodes() and not self._why_unfit(node):
            return ReviveAnswer(node=node, already=True)
        with self._service.tell_also(_about(node, steps)):
            await self._service.cluster.revive_node(node)
        self._balancer().revive(node)
        self._service.events.record(Event("node.revived", node))
        await self._until_fit(node, request.timeout, steps)
        missing = await self._until_online(node, steps)
        return ReviveAnswer(
            node=node, not_online=missing, seconds=self._service.monotonic() - began
        )

    # -- restart

    async def _restart(
        self, node: NodeName, request: RestartRequest, steps: Steps
    ) -> RestartAnswer:
        began = self._service.monotonic()
        drained = None
        if self._row(node).state is NodeState.RUNNING and not self._why_broken(node):
            steps.say(short_name(node), "looks whether it can go")
            in_maintenance = await self._drained_nodes()
            if node in in_maintenance:
                drained = DrainAnswer(node=node, already=True) if request.drain else None
            else:
                if not request.force:
                    await self._refuse_unwise(node, in_maintenance, _RESTART_STOPS, "restart it")
                if request.drain:
                    result = await self._move_off(node, DrainRequest(node).timeout, steps)
                    drained = report.drain(await self._maintenance_on(node, result, steps))
        try:
            with self._service.tell_also(_about(node, steps)):
                await self._service.cluster.restart_node(node, request.timeout)
        finally:
            self._revive_in_balancer(node)
        pid = self._row(node).pid
        self._service.events.record(Event("node.restarted", node, detail={"pid": pid or 0}))
        await self._until_fit(node, FIT_TIMEOUT, steps)
        missing = await self._until_online(node, steps)
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

    # -- rebalance

    async def _rebalance(self, request: RebalanceRequest, steps: Steps) -> RebalanceAnswer:
        def moved(progress: MoveProgress) -> None:
            steps.count("sessions", "move", progress.done, progress.total)

        moving = asyncio.create_task(
            self._balancer().rebalance(dry_run=request.dry_run, on_progress=moved), name="rebalance"
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

    def _row(self, node: NodeName) -> DrivenNode:
        return next(row for row in self._service.cluster.nodes() if row.name == node)

    def _must_run(self, node: NodeName, advice: str) -> None:
        state = self._row(node).state
        if state is not NodeState.RUNNING:
            command = f"`warrener node restart {short_name(node)}`"
            raise Refused(Refusal.FAILED, f"{node} doesn't run ({state}), {advice.format(command)}")

    def _why_broken(self, node: NodeName) -> str:
        """Why a node whose process is there serves nobody; empty if it does, or is just drained."""
        if self._row(node).frozen:
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

    async def _drained_nodes(self) -> frozenset[NodeName]:
        """RabbitMQ's word; what the driver did itself if nobody can be asked (a minority)."""
        try:
            return await self._service.cluster.drained_nodes()
        except DaemonError as error:
            log.warning("drained_nodes_unknown", error=error.message)
            return frozenset(row.name for row in self._service.cluster.nodes() if row.drained)

    async def _refuse_unwise(
        self, node: NodeName, drained: frozenset[NodeName], kinds: Sequence[str], verb: str
    ) -> None:
        snapshot = await self._look()
        began_before = list(self._running)[: list(self._running).index(node)]
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
        why = why_unwise(node, standings, snapshot, kinds)
        if why:
            raise Refused(
                Refusal.UNWISE, f"{node} should stay: {why}. With --force I {verb} all the same"
            )

    async def _look(self) -> ClusterSnapshot | None:
        try:
            return await self._service.cluster.look()
        except ManagementError as error:
            log.warning("look_failed", error=str(error))
            return None

    async def _until_fit(self, node: NodeName, timeout: float, steps: Steps) -> None:
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

    async def _until_online(self, node: NodeName, steps: Steps) -> list[str]:
        """Until the node's replicas are; the queues of those that aren't in the end."""
        deadline = self._service.monotonic() + REPLICAS_TIMEOUT
        revived = False
        while True:
            snapshot = await self._look()
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


def _about(node: NodeName, steps: Steps) -> Callable[[Progress], None]:
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


def _check_timeout(seconds: float) -> None:
    if not 0 < seconds <= MAX_TIMEOUT:
        raise Refused(
            Refusal.BAD_ARGUMENT, f"a time-out is up to {MAX_TIMEOUT:g} s, not {seconds:g}"
        )
