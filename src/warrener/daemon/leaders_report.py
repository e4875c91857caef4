"""What is known of queues and nodes as the planner takes it, and its plans as answers. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from warrener.cluster.leaders.rates import cost
from warrener.cluster.leaders.terms import Plan, PlanNode, PlanQueue
from warrener.control.leaders_operations import (
    LeaderMoveLine,
    LeaderNodeLine,
    LeaderQueueLine,
    LeadersBalanceAnswer,
    LeaderShareLine,
    LeadersPlanAnswer,
    LeadersShowAnswer,
)
from warrener.facts.balance import BackendStatistics
from warrener.facts.ids import NodeName, short_name
from warrener.facts.leaders import Fixed, QueueRates, RateSample
from warrener.facts.places import AWAY
from warrener.facts.settings import DEFAULT_WEIGHT
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView

_IDLE: Final = QueueRates()


@dataclass(frozen=True, slots=True)
class Measured:
    """A view of the cluster, and what goes through its queues; both also as the planner takes
    them, in the same order. ``why_not``: why a node may get no leaders, empty if it may."""

    snapshot: ClusterSnapshot
    sample: RateSample
    nodes: tuple[PlanNode, ...]
    queues: tuple[PlanQueue, ...]
    why_not: Mapping[NodeName, str]

    def rates(self, queue: QueueView) -> QueueRates:
        """Of one queue."""
        return self.sample.rates.get((queue.vhost, queue.name), _IDLE)


def measured(
    snapshot: ClusterSnapshot,
    sample: RateSample,
    backends: Mapping[NodeName, BackendStatistics],
    drained: Collection[NodeName],
) -> Measured:
    """Puts together what the cluster, its counters, the balancer and RabbitMQ's tool say."""
    why_not = {
        view.name: _why_not(view, backends.get(view.name), drained) for view in snapshot.nodes
    }
    nodes = []
    for view in snapshot.nodes:
        backend = backends.get(view.name)
        weight = backend.weight if backend is not None else DEFAULT_WEIGHT
        nodes.append(PlanNode(view.name, receives=not why_not[view.name], weight=weight))
    queues = tuple(
        _plan_queue(queue, sample.rates.get((queue.vhost, queue.name), _IDLE))
        for queue in snapshot.queues
    )
    return Measured(snapshot, sample, tuple(nodes), queues, why_not)


def _why_not(
    view: NodeView, backend: BackendStatistics | None, drained: Collection[NodeName]
) -> str:
    if not view.running:
        return "not running"
    if view.name in drained or view.being_drained:
        return "drained"
    if view.mem_alarm or view.disk_alarm:
        return "memory alarm" if view.mem_alarm else "disk alarm"
    if view.partitions:
        return "partitioned"
    return "" if backend is None or backend.unfit is None else str(backend.unfit)


def _plan_queue(queue: QueueView, told: QueueRates) -> PlanQueue:
    load, follower = cost(queue.type, told)
    online = queue.online if queue.members else (queue.leader,) if queue.leader else ()
    if queue.type == "stream" and not online:  # a stream tells its members, not who is online
        online = queue.members
    return PlanQueue(
        vhost=queue.vhost,
        name=queue.name,
        type=queue.type,
        leader=queue.leader,
        online=online,
        load=load,
        follower=follower,
        fixed=why_fixed(queue),
    )


def why_fixed(queue: QueueView) -> Fixed | None:
    """Why its leader stays; None if it can be moved."""
    if queue.type == "classic":
        return Fixed.CLASSIC
    if queue.type == "stream":
        return Fixed.STREAM
    if queue.type != "quorum":
        return Fixed.TYPE
    if queue.leader is None or queue.state in AWAY or queue.leader not in queue.online:
        return Fixed.AWAY
    if len(queue.online) < 2:
        return Fixed.ALONE
    return None


def alarms(snapshot: ClusterSnapshot) -> list[str]:
    """What holds publishers back: rates mean nothing then, and moving leaders helps nobody."""
    found = []
    for view in snapshot.nodes:
        if view.running and (view.mem_alarm or view.disk_alarm):
            kind = "memory" if view.mem_alarm else "disk"
            found.append(f"{short_name(view.name)} has a {kind} alarm, which blocks publishers")
        if view.running and view.partitions:
            found.append(f"{short_name(view.name)} is partitioned from other nodes")
    return found


def obstacles(told: Measured) -> list[str]:
    """Why leaders shouldn't be moved by what was measured."""
    missing = [short_name(name) for name in told.sample.missing]
    seen = f"{', '.join(missing)} didn't tell what its clients do" if missing else ""
    return [*alarms(told.snapshot), *([seen] if seen else [])]


def show(told: Measured, plan: Plan, limit: int) -> LeadersShowAnswer:
    """The hottest ``limit`` queues, and all nodes."""
    loads = {node.name: node for node in plan.nodes}
    weights = {node.name: node.weight for node in told.nodes}
    total = sum(node.before for node in plan.nodes)
    usual = _usual_weight(told.nodes)
    lines = []
    for view in told.snapshot.nodes:
        mine = [queue for queue in told.snapshot.queues if queue.leader == view.name]
        node = loads[view.name]
        mean = plan.mean * (weights[view.name] or usual) / usual if usual else plan.mean
        lines.append(
            LeaderNodeLine(
                node=view.name,
                why_not=told.why_not[view.name],
                weight=int(weights[view.name]),
                leaders=dict(sorted(Counter(queue.type for queue in mine).items())),
                published=sum(told.rates(queue).published for queue in mine),
                delivered=sum(told.rates(queue).delivered for queue in mine),
                load=node.before,
                share=node.before / total if total else 0.0,
                wanted=node.share,
                skew=node.before / mean if mean else 0.0,
            )
        )
    pairs = sorted(
        zip(told.snapshot.queues, told.queues, strict=True),
        key=lambda pair: (-pair[1].load, pair[0].vhost, pair[0].name),
    )
    return LeadersShowAnswer(
        nodes=lines,
        queues=[_queue_line(view, queue, told.rates(view)) for view, queue in pairs[:limit]],
        queues_total=len(pairs),
        queues_active=sum(queue.load > 0 for _, queue in pairs),
        mean=plan.mean,
        skew=plan.skew_before,
        moves=len(plan.moves),
        skew_after=plan.skew_after,
        short=plan.short,
        short_node=plan.short_node,
        short_queue=_queue_name(plan.short_queue),
        seconds=told.sample.seconds,
        missing=told.sample.missing,
    )


def _usual_weight(nodes: Collection[PlanNode]) -> float:
    weights = [node.weight for node in nodes if node.receives and node.weight > 0]
    return sum(weights) / len(weights) if weights else 0.0


def _queue_line(view: QueueView, queue: PlanQueue, told: QueueRates) -> LeaderQueueLine:
    return LeaderQueueLine(
        vhost=view.vhost,
        name=view.name,
        type=view.type,
        leader=view.leader,
        members=view.members,
        online=queue.online,
        published=told.published,
        delivered=told.delivered,
        acked=told.acked,
        load=queue.load,
        fixed=queue.fixed,
    )


def _queue_name(place: tuple[str, str] | None) -> str:
    if place is None:
        return ""
    vhost, name = place
    return name if vhost == "/" else f"{vhost}/{name}"


def planned(number: int, told: Measured, plan: Plan) -> LeadersPlanAnswer:
    """A plan as it is shown before it is carried out."""
    return LeadersPlanAnswer(
        plan=number,
        moves=[
            LeaderMoveLine(
                vhost=move.vhost,
                name=move.name,
                source=move.source,
                target=move.target,
                load=move.load,
                shift=move.shift,
                reason=move.reason,
            )
            for move in plan.moves
        ],
        nodes=_shares(plan, None),
        skew_before=plan.skew_before,
        skew_expected=plan.skew_after,
        short=plan.short,
        short_node=plan.short_node,
        short_queue=_queue_name(plan.short_queue),
        obstacles=obstacles(told),
        seconds=told.sample.seconds,
    )


def balanced(
    plan: Plan,
    after: Plan | None,
    *,
    moved: int,
    skipped: int,
    failed: int,
    stopped: str,
    seconds: float,
) -> LeadersBalanceAnswer:
    """What came of a plan; ``after`` is one made of what was measured then."""
    return LeadersBalanceAnswer(
        moved=moved,
        skipped=skipped,
        failed=failed,
        planned=len(plan.moves),
        nodes=_shares(plan, after),
        skew_before=plan.skew_before,
        skew_expected=plan.skew_after,
        skew_after=None if after is None else after.skew_before,
        stopped=stopped,
        seconds=seconds,
    )


def _shares(plan: Plan, after: Plan | None) -> list[LeaderShareLine]:
    now = {node.name: node for node in after.nodes} if after is not None else {}
    lines = []
    for node in plan.nodes:
        then = now.get(node.name)
        lines.append(
            LeaderShareLine(
                node=node.name,
                before=node.before,
                wanted=node.share,
                expected=node.after,
                after=None if then is None else then.before,
                leaders_before=node.leaders_before,
                leaders_expected=node.leaders_after,
                leaders_after=None if then is None else then.leaders_before,
            )
        )
    return lines
