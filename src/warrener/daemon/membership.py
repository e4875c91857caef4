"""The nodes that a cluster is made of: one more, one less, one made anew. No client notices.

    add      a node boots and joins -> the balancer takes it -> until it is fit
             -> replicas: those that are missing, and an even share of the others'
    remove   is it wise? -> other nodes lead its queues -> the balancer moves all sessions off
             -> each replica gets a successor, in sync, before it goes
             -> stopped, forgotten by the others, its data removed
    replace  (its sessions are moved off ->) stopped, forgotten, its data removed, joined anew
             -> until it is fit -> the replicas that it had

All three can be said again after whatever interrupted them: each looks at what is there and does
the rest. Replicas are moved in batches; a caller that hangs up ends that between two of them,
with every queue having as many replicas as before, or one more. At the end of each the leaders of
queues are spread again (``spreading``).
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from warrener.cluster.members import HOST
from warrener.cluster.replicas import (
    held_alone,
    plan_join,
    plan_leave,
    plan_restore,
    plan_return,
    thinned,
)
from warrener.control.node_operations import (
    AddNodeAnswer,
    AddNodeRequest,
    RemoveNodeAnswer,
    RemoveNodeRequest,
    ReplaceNodeAnswer,
    ReplaceNodeRequest,
)
from warrener.control.operations import DrainAnswer
from warrener.control.wire import Refusal, Refused
from warrener.daemon import report
from warrener.daemon.control_server import Call
from warrener.daemon.errors import DaemonError
from warrener.daemon.prudence import named
from warrener.daemon.replica_moves import ReplicaMoves, held_by, must_look
from warrener.daemon.steps import Steps
from warrener.daemon.upkeep import FIT_TIMEOUT, Upkeep, check_timeout
from warrener.daemon.works import Whole, Works
from warrener.facts.happenings import Event
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.facts.replicas import Spread
from warrener.facts.snapshot import QueueView

if TYPE_CHECKING:  # the service makes this
    from warrener.daemon.service import Service

_CHANGED: Final = "changed"
_Answer = TypeVar("_Answer", AddNodeAnswer, RemoveNodeAnswer, ReplaceNodeAnswer)


class Membership:
    """See the module."""

    def __init__(self, service: "Service", works: Works, upkeep: Upkeep) -> None:
        self._service = service
        self._works = works
        self._upkeep = upkeep

    # -- what can be asked for

    async def add(self, request: AddNodeRequest, call: Call) -> AddNodeAnswer:
        self._upkeep.balancer()
        check_timeout(request.timeout)
        return await self._works.perform(
            Whole.NODES,
            _CHANGED,
            lambda steps: self._to_its_end(
                lambda moving: self._add(request, steps, moving), request, steps
            ),
            call,
        )

    async def remove(self, request: RemoveNodeRequest, call: Call) -> RemoveNodeAnswer:
        node = self._upkeep.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            Whole.NODES,
            _CHANGED,
            lambda steps: self._to_its_end(
                lambda moving: self._remove(node, request, steps, moving), request, steps
            ),
            call,
        )

    async def replace(self, request: ReplaceNodeRequest, call: Call) -> ReplaceNodeAnswer:
        node = self._upkeep.resolve(request.node)
        check_timeout(request.timeout)
        return await self._works.perform(
            Whole.NODES,
            _CHANGED,
            lambda steps: self._to_its_end(
                lambda moving: self._replace(node, request, steps, moving), request, steps
            ),
            call,
        )

    async def _to_its_end(
        self,
        work: Callable[[ReplicaMoves], Coroutine[Any, Any, _Answer]],
        request: AddNodeRequest | RemoveNodeRequest | ReplaceNodeRequest,
        steps: Steps,
    ) -> _Answer:
        """Its answer, with what became of the leaders afterwards. That takes some seconds; then it
        is seen whether the new replicas are still there."""
        began = self._service.monotonic()
        moving = ReplicaMoves(self._service, steps)
        answer = await work(moving)
        seconds = self._service.monotonic() - began
        spread = await self._service.spreading.after_change(request.balance, steps)
        answer = await self._looked_again(answer, moving)
        return msgspec.structs.replace(answer, leaders=spread, seconds=seconds)

    async def _looked_again(self, answer: _Answer, moving: ReplicaMoves) -> _Answer:
        return msgspec.structs.replace(answer, **await self._found(answer, moving))

    async def _found(
        self, answer: AddNodeAnswer | RemoveNodeAnswer | ReplaceNodeAnswer, moving: ReplicaMoves
    ) -> dict[str, Any]:
        """What an answer has to say once its new replicas have been looked at again."""
        if isinstance(answer, RemoveNodeAnswer):
            gone = (await moving.look_again())[1] if moving.added else {}
            return {"thinned": [*answer.thinned, *gone]}
        view, gone = await moving.look_again()
        failed = answer.failed | gone
        stopped = isinstance(answer, AddNodeAnswer) and answer.stopped
        if not failed and not stopped:
            self._service.cluster.spread(answer.node)
        return {"replicas": len(held_by(answer.node, view)), "failed": failed}

    # -- as a part of something that has the whole cluster for itself already

    async def add_within(self, request: AddNodeRequest, steps: Steps) -> AddNodeAnswer:
        """``DaemonError`` also if the node has joined and replicas couldn't be moved to it."""
        moving = ReplicaMoves(self._service, steps)
        answer = await self._looked_again(await self._add(request, steps, moving), moving)
        if answer.failed:
            raise DaemonError(f"{answer.node} has joined, but {_told(answer.failed)}")
        return answer

    async def remove_within(
        self, node: NodeName, request: RemoveNodeRequest, steps: Steps
    ) -> RemoveNodeAnswer:
        moving = ReplicaMoves(self._service, steps)
        return await self._looked_again(await self._remove(node, request, steps, moving), moving)

    # -- add

    async def _add(
        self, request: AddNodeRequest, steps: Steps, moving: ReplicaMoves
    ) -> AddNodeAnswer:
        if not request.force:
            self._refuse_if_others_are_down(None, "a node that joins now could not reach them")
        cluster = self._service.cluster
        wanted = _full_name(request.node) if request.node else None
        if wanted is not None and wanted in cluster.unspread():
            node = wanted  # it has joined, and what ended that run left its replicas to do
        else:
            with self._service.tell_also(steps.pass_on):
                node = await cluster.add_node(wanted, request.timeout)
            self._service.events.record(Event("node.added", node))
            self._upkeep.balancer().set_backends(cluster.backends())
        await self._upkeep.until_fit(node, FIT_TIMEOUT, steps)
        view = await must_look(self._service)
        able = [one.name for one in view.nodes if one.running]
        moves = plan_join(view.queues, able, node, request.replicas)
        failed, stopped = await moving.move(moves)
        return AddNodeAnswer(
            node=node,
            pid=self._upkeep.row(node).pid,
            nodes=len(cluster.nodes()),
            failed=failed,
            stopped=stopped,
        )

    # -- remove

    async def _remove(
        self, node: NodeName, request: RemoveNodeRequest, steps: Steps, moving: ReplicaMoves
    ) -> RemoveNodeAnswer:
        cluster = self._service.cluster
        if len(cluster.nodes()) == 1:
            raise Refused(
                Refusal.FAILED,
                f"{node} is the only node; `warrener down --purge` removes the cluster",
            )
        serves = self._serves(node)
        steps.say(short_name(node), "looks what it holds")
        view = await must_look(self._service)
        able = [one.name for one in view.nodes if one.running and one.name != node]
        moves = plan_leave(view.queues, able, node)
        alone = held_alone(view.queues, node)
        if not request.force:
            self._refuse_if_others_are_down(node, "queues might lose their majority")
            self._refuse_losing(node, alone, "remove")
            self._refuse_thinning(node, thinned(view.queues, moves))
        drained = None
        if serves:
            drained = await self._move_sessions_off(node, request.timeout, steps)
        failed, stopped = await moving.move(moves, about=node)
        if stopped or (failed and not request.force):
            self._take_back(node, serves)
            if stopped:
                raise Refused(
                    Refusal.CALLED_OFF,
                    f"called off: {node} takes sessions again; replicas that were moved off it "
                    f"stay where they are",
                )
            raise Refused(
                Refusal.FAILED,
                f"{node} stays: {_told(failed)}; with --force it goes all the same",
            )
        with self._service.tell_also(steps.pass_on):
            await cluster.remove_node(node)
        self._upkeep.balancer().set_backends(cluster.backends())
        self._service.events.record(Event("node.removed", node))
        await self._service.look_now()
        return RemoveNodeAnswer(
            node=node,
            nodes=len(cluster.nodes()),
            drained=drained,
            moved=sum(1 for move in moves if move.to is not None) - len(failed),
            thinned=[_name(queue) for queue in thinned(view.queues, moves, at_least=10)],
            lost=[_name(queue) for queue in alone],
        )

    def _refuse_losing(self, node: NodeName, alone: Sequence[QueueView], verb: str) -> None:
        filled = [queue for queue in alone if queue.messages]
        if not alone:
            return
        messages = sum(queue.messages for queue in filled)
        what = f", {messages:,} messages in them" if messages else ", empty at the moment"
        raise Refused(
            Refusal.UNWISE,
            f"{node} should stay: {named(alone)} live{'s' if len(alone) == 1 else ''} on it alone"
            f"{what}; use quorum queues, or let consumers empty and then delete them. With --force "
            f"I {verb} the node and them",
        )

    def _refuse_thinning(self, node: NodeName, queues: Sequence[QueueView]) -> None:
        if not queues:
            return
        raise Refused(
            Refusal.UNWISE,
            f"{node} should stay: {named(queues)} would be left with "
            f"{_replicas(len(queues[0].members) - 1)}, and no node for another one: the loss of "
            f"one node more would stop them. Add a node first (`warrener node add`). With --force "
            f"I remove it all the same",
        )

    # -- replace

    async def _replace(
        self, node: NodeName, request: ReplaceNodeRequest, steps: Steps, moving: ReplicaMoves
    ) -> ReplaceNodeAnswer:
        cluster = self._service.cluster
        serves = self._serves(node)
        view = await must_look(self._service)
        alone = held_alone(view.queues, node)
        if not request.force:
            self._refuse_if_others_are_down(node, "queues might lose their majority")
            if serves:
                raise Refused(
                    Refusal.UNWISE,
                    f"{node} serves, and all that is stored on it would be removed; if it is to be "
                    f"made anew all the same, say --force: its sessions are moved off first, and "
                    f"its replicas are copied from the others afterwards",
                )
            if self._upkeep.row(node).state is not NodeState.LOST:  # else it is lost already
                self._refuse_losing(node, alone, "replace")
        had = [(q.vhost, q.name, q.type) for q in held_by(node, view)]
        if serves:
            await self._move_sessions_off(node, 60.0, steps)
        try:
            with self._service.tell_also(steps.pass_on):
                await cluster.replace_node(node, request.timeout)
        finally:
            self._upkeep.balancer().revive(node)
        self._service.events.record(Event("node.replaced", node))
        await self._upkeep.until_fit(node, FIT_TIMEOUT, steps)
        view = await must_look(self._service)
        able = [one.name for one in view.nodes if one.running]
        moves = {
            (move.vhost, move.queue): move
            for move in (
                *plan_restore(had, view.queues, node),
                *plan_join(view.queues, able, node, Spread.MISSING),
            )
        }
        failed, _ = await moving.move(tuple(moves.values()), to_the_end=True)
        failed |= await moving.wait_for(plan_return(had, view.queues, node))
        return ReplaceNodeAnswer(
            node=node,
            pid=self._upkeep.row(node).pid,
            failed=failed,
            lost=[_name(queue) for queue in alone],
        )

    # -- sessions

    def _serves(self, node: NodeName) -> bool:
        runs = self._upkeep.row(node).state is NodeState.RUNNING
        return runs and not self._upkeep.why_broken(node)

    async def _move_sessions_off(self, node: NodeName, timeout: float, steps: Steps) -> DrainAnswer:
        if node in await self._upkeep.drained_nodes():
            return DrainAnswer(node=node, already=True)
        return report.drain(await self._upkeep.move_off(node, timeout, steps))

    def _take_back(self, node: NodeName, serves: bool) -> None:
        if serves:
            self._upkeep.balancer().revive(node)
            self._service.events.record(Event("node.removal_undone", node))

    def _refuse_if_others_are_down(self, node: NodeName | None, why: str) -> None:
        down = [
            row
            for row in self._service.cluster.nodes()
            if row.name != node and (row.state is not NodeState.RUNNING or row.frozen)
        ]
        if down:
            first = down[0]
            lost = first.state is NodeState.LOST
            mend = f"`warrener node {'replace' if lost else 'restart'} {short_name(first.name)}`"
            states = ", ".join(
                f"{short_name(row.name)} is {'frozen' if row.frozen else row.state}" for row in down
            )
            raise Refused(
                Refusal.UNWISE, f"{states}: {why}; {mend} first. With --force I go on all the same"
            )


def _full_name(typed: str) -> NodeName:
    return NodeName(typed if "@" in typed else f"{typed}@{HOST}")


def _name(queue: QueueView) -> str:
    return queue.name if queue.vhost == "/" else f"{queue.vhost}/{queue.name}"


def _replicas(number: int) -> str:
    return f"{number} replica{'' if number == 1 else 's'}"


def _told(failed: dict[str, str], at_most: int = 3) -> str:
    shown = "; ".join(f"{queue}: {why}" for queue, why in list(failed.items())[:at_most])
    more = f" and {len(failed) - at_most} queues more" if len(failed) > at_most else ""
    return shown + more
