"""What each node had to do: the acts of ``costs``, by a load or over a stretch of history. Pure.

    history's samples -> ``worked`` -> Stretch, Stretch, ... -> ``passive`` -> Calibration

A stretch has the CPU that was used and what it was used for. It is of no use where the one isn't
the whole reason of the other: messages that nobody counted (channels that live for seconds only,
as those of a calibration do), nodes that didn't tell, queues that aren't kept singly. Such samples
are left out, and it is said how many and why.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from warrener.facts.ids import NodeName
from warrener.planner import history
from warrener.planner.costs import Act, QueueType
from warrener.planner.load import QueueLoad
from warrener.planner.samples import QueueSample, Sample

UNKEPT: Final = 0.05
"""Of what goes through all queues, the part in queues that aren't kept singly from which on a
sample is left out."""

CALIBRATED: Final = "a calibration ran"

Rates = Mapping[NodeName, Mapping[QueueType, Mapping[Act, float]]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A cluster at work for ``seconds``: cores that each node used, and the acts a second that fell
    on it, by type of queue. ``passed``: messages a second that were published and delivered;
    ``balanced``: those that passed the balancer. ``balancer``, ``clients``: cores used by it, and
    by the clients on this machine. None: nobody told."""

    seconds: float
    cpu: Mapping[NodeName, float]
    rates: Rates
    passed: float = 0.0
    balanced: float | None = None
    balancer: float | None = None
    clients: float | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """What a history is good for. ``left_out``: how many samples were not, by the reason in
    words."""

    stretches: tuple[Stretch, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def acts(queue: QueueLoad, running: Collection[NodeName]) -> Iterator[tuple[NodeName, Act, float]]:
    """What a queue's messages make nodes do: node, act, times a second. Nothing where its leader
    doesn't run."""
    if queue.leader is None or queue.leader not in running:
        return
    yield queue.leader, Act.PUBLISH, queue.published
    elsewhere = 0.0
    if queue.type is QueueType.STREAM:  # read where the consumer is, of that node's own replica
        for node, part in queue.leaving:
            yield node, Act.DELIVER, part * queue.delivered
            elsewhere += part
    yield queue.leader, Act.DELIVER, max(0.0, 1 - elsewhere) * queue.delivered
    if queue.type is not QueueType.CLASSIC:
        for member in queue.members:
            if member != queue.leader and member in running:
                yield member, Act.REPLICATE, queue.published
    for node, part in queue.entering:
        yield node, Act.ENTER, part * queue.published
    for node, part in queue.leaving:
        yield node, Act.LEAVE, part * queue.delivered


def worked(samples: Sequence[Sample]) -> Worked:
    """What of a history tells what messages cost."""
    stretches = []
    left_out: Counter[str] = Counter()
    why = ""
    for sample in samples:
        # When it ends, its queues are gone before the next look at them.
        ends = why == CALIBRATED
        why = _useless(sample)
        if why or ends:
            left_out[why or CALIBRATED] += sample.merged
        else:
            stretches.append(_stretch(sample))
    return Worked(tuple(stretches), dict(left_out))


def _useless(sample: Sample) -> str:
    """Why; empty if it is of use."""
    if any(queue.vhost.startswith(history.OWN_VHOSTS) for queue in sample.queues):
        return CALIBRATED
    if sample.missing:
        return "nodes didn't tell what clients do there"
    kept = sum(queue.published + queue.delivered for queue in sample.queues)
    rest = sample.rest.published + sample.rest.delivered
    if rest > UNKEPT * (kept + rest):
        return "there are more queues than are kept singly"
    if any(queue.traffic > 0 and _type(queue) is None for queue in sample.queues):
        return "there was traffic in queues of a type that isn't known"
    published = sum(queue.published for queue in sample.queues) + sample.rest.published
    counted = sample.balancer.published if sample.balancer is not None else None
    if counted is not None and published < history.UNSEEN * counted:
        return "messages went through channels that live for seconds only"
    if all(node.cpu is None for node in sample.nodes):
        return "nobody told how much CPU nodes used"
    return ""


def _stretch(sample: Sample) -> Stretch:
    rates: dict[NodeName, dict[QueueType, dict[Act, float]]] = {}
    running = [node.name for node in sample.nodes if node.running]
    for queue in sample.queues:
        if (kind := _type(queue)) is None:
            continue
        for node, act, rate in acts(_load(queue, kind), running):
            if rate > 0:
                of_node = rates.setdefault(node, {}).setdefault(kind, defaultdict(float))
                of_node[act] += rate
    balancer = sample.balancer
    through = None
    if balancer is not None and balancer.published is not None and balancer.delivered is not None:
        through = balancer.published + balancer.delivered
    clients = [host.clients for host in sample.hosts if host.clients is not None]
    return Stretch(
        seconds=sample.seconds,
        cpu={node.name: node.cpu for node in sample.nodes if node.cpu is not None},
        rates=rates,
        passed=sum(queue.published + queue.delivered for queue in sample.queues),
        balanced=through,
        balancer=None if balancer is None else balancer.cpu,
        clients=sum(clients) if clients else None,
    )


def _type(queue: QueueSample) -> QueueType | None:
    try:
        return QueueType(queue.type)
    except ValueError:
        return None


def _load(queue: QueueSample, kind: QueueType) -> QueueLoad:
    return QueueLoad(
        vhost=queue.vhost,
        name=queue.name,
        type=kind,
        leader=queue.leader,
        members=queue.members,
        published=queue.published,
        delivered=queue.delivered,
        acked=queue.acked,
        entering=history.detours(queue.entering.items(), queue.published, queue.leader),
        leaving=history.detours(queue.leaving.items(), queue.delivered, queue.leader),
    )
