"""The same load on another cluster, another load on the same: what ``plan what-if`` asks for. Pure.

Each change gives a new ``Load``. What is spread anew (leaders over nodes that come, replicas) is
spread as Warrener would do it: the busiest queue first, to the node that has least.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from warrener.facts.ids import NodeName
from warrener.models.terms import WrongInput
from warrener.planner.costs import QueueType
from warrener.planner.load import HostLoad, Load, NodeLoad, QueueLoad
from warrener.planner.sessions import Sessions

REPLICAS = 3
"""Of a quorum queue or a stream, as RabbitMQ makes them."""


def scaled(load: Load, factor: float) -> Load:
    """So many times the traffic, in proportion. What waits is left as it was measured."""
    if not math.isfinite(factor) or factor <= 0:
        raise WrongInput(f"the load is to be multiplied by {factor}; it has to be more than 0")
    queues = tuple(
        replace(
            queue,
            published=queue.published * factor,
            delivered=queue.delivered * factor,
            acked=queue.acked * factor,
        )
        for queue in load.queues
    )
    return replace(load, queues=queues, through_balancer=load.through_balancer * factor)


def more_from_each(sessions: Sessions, factor: float) -> Sessions:
    """As many sessions, each of which does so many times as much."""
    kinds = tuple(replace(kind, rate=kind.rate * factor) for kind in sessions.kinds)
    return replace(sessions, kinds=kinds)


def without_node(load: Load, name: NodeName) -> tuple[Load, tuple[str, ...]]:
    """The same with a node gone: quorum queues and streams go on with another member as their
    leader if most of them are left, clients go to the nodes that are left; the rest stop. Those by
    name."""
    nodes = tuple(replace(n, running=n.running and n.name != name) for n in load.nodes)
    running = {node.name for node in nodes if node.running}
    led = {name: 0 for name in running}
    for queue in load.queues:
        if queue.leader in led:
            led[queue.leader] += 1
    queues: list[QueueLoad] = []
    stopped: list[QueueLoad] = []
    for before in load.queues:
        left = [member for member in before.members if member in running]
        queue = replace(
            before,
            entering=tuple((node, part) for node, part in before.entering if node != name),
            leaving=tuple((node, part) for node, part in before.leaving if node != name),
        )
        if queue.leader != name:
            majority = queue.type is QueueType.CLASSIC or 2 * len(left) > len(queue.members)
            (queues if majority else stopped).append(queue)
            continue
        if queue.type is QueueType.CLASSIC or 2 * len(left) <= len(queue.members):
            stopped.append(queue)
            continue
        leader = min(left, key=lambda member: (led[member], member))
        led[leader] += 1
        queues.append(replace(queue, leader=leader))
    served = sum(queue.published + queue.delivered for queue in queues)
    total = sum(queue.published + queue.delivered for queue in load.queues)
    through = load.through_balancer * (served / total if total > 0 else 1.0)
    left_load = replace(load, nodes=nodes, queues=tuple(queues), through_balancer=through)
    return left_load, tuple(queue.full_name for queue in stopped)


def with_nodes(load: Load, more: int, *, same_host: bool) -> Load:
    """So many nodes more, each on a host of its own like the others (``same_host``: on the host
    of the first), with the leaders and replicas spread anew over all."""
    if more < 1:
        raise WrongInput(f"{more} nodes are to be added; it has to be 1 or more")
    if not load.hosts or not load.nodes:
        raise WrongInput("no node is known, so none can be added like it")
    nodes, hosts = list(load.nodes), list(load.hosts)
    cores = min(host.cores for host in hosts)
    limit = min(node.mem_limit for node in load.nodes)
    share = min((node.cores for node in load.nodes if node.cores is not None), default=None)
    for number in range(1, more + 1):
        host = hosts[0].name
        if not same_host:
            host = f"new-host-{number}"
            hosts.append(HostLoad(host, cores))
        name = NodeName(f"new-{number}@{host}")
        nodes.append(NodeLoad(name, host, mem_limit=limit, cores=share))
    return spread(replace(load, nodes=tuple(nodes), hosts=tuple(hosts)))


def with_fewer_nodes(load: Load, fewer: int, *, staying: Collection[NodeName] = ()) -> Load:
    """So many nodes fewer, in order, so that nothing stops: what they led and copied is spread over
    the rest. The last ones go, but for those of ``staying``."""
    if fewer < 1:
        raise WrongInput(f"{fewer} nodes are to go; it has to be 1 or more")
    running = load.running()
    may_go = [node.name for node in running if node.name not in staying]
    if fewer >= len(running) or fewer > len(may_go):
        raise WrongInput(f"{fewer} nodes are to go, of {len(running)} that run; one has to stay")
    gone = set(may_go[-fewer:])
    nodes = tuple(replace(n, running=n.running and n.name not in gone) for n in load.nodes)
    return spread(replace(load, nodes=nodes))


def spread(load: Load) -> Load:
    """All leaders and replicas over all nodes that run: the busiest queue first, to the node that
    leads least; replicas to those that have least to copy."""
    running = [node.name for node in load.running()]
    if not running:
        raise WrongInput("no node runs that queues could be spread over")
    leads = dict.fromkeys(running, 0.0)
    copies = dict.fromkeys(running, 0.0)
    placed: dict[int, QueueLoad] = {}
    order = sorted(range(len(load.queues)), key=lambda at: -load.queues[at].published)
    for at in order:
        queue = load.queues[at]
        work = queue.published + queue.delivered
        leader = min(running, key=lambda name: (leads[name], running.index(name)))
        leads[leader] += work
        members = [leader]
        if queue.type is not QueueType.CLASSIC:
            others = sorted(
                (name for name in running if name != leader),
                key=lambda name: (copies[name], leads[name], running.index(name)),
            )
            members += others[: max(1, len(queue.members) or REPLICAS) - 1]
            for name in members[1:]:
                copies[name] += queue.published
        placed[at] = replace(queue, leader=leader, members=tuple(members), entering=(), leaving=())
    return replace(load, queues=tuple(placed[at] for at in range(len(load.queues))))


def with_consumers(load: Load, name: str, change: Callable[[int], int]) -> Load:
    """Another number of consumers of the queues that are called so."""

    def changed(queue: QueueLoad) -> QueueLoad:
        number = change(queue.consumers)
        if number < 0:
            raise WrongInput(
                f"queue {queue.full_name} has {queue.consumers} consumers; {number} can't be left"
            )
        return replace(queue, consumers=number)

    return _queues(load, name, changed)


def with_type(load: Load, name: str, kind: QueueType) -> Load:
    """The queues that are called so being of another type. A queue that comes to be replicated gets
    two more members, one that is no longer keeps its leader."""
    running = [node.name for node in load.running()]

    def changed(queue: QueueLoad) -> QueueLoad:
        if kind is QueueType.CLASSIC:
            members: Sequence[NodeName] = queue.members[:0]
        else:
            first = queue.leader
            others = [one for one in running if one != first]
            wanted = max(REPLICAS, len(queue.members))
            members = [*([first] if first is not None else []), *others][:wanted]
        return replace(queue, type=kind, members=tuple(members))

    return _queues(load, name, changed)


def with_body(load: Load, name: str, body: float) -> Load:
    """The messages of the queues that are called so with bodies of so many bytes."""
    if not math.isfinite(body) or body < 0:
        raise WrongInput(f"bodies are to be {body} bytes; it has to be 0 or more")
    return _queues(load, name, lambda queue: replace(queue, body=body))


EVERY = "*"


def _queues(load: Load, name: str, change: Callable[[QueueLoad], QueueLoad]) -> Load:
    """``name``: as it is said, with its virtual host if that isn't the default one; ``EVERY``."""
    found = [queue for queue in load.queues if name in (EVERY, queue.full_name)]
    if not found and name != EVERY:
        raise WrongInput(f"there is no queue {name}; there are {_some(load.queues)}")
    return replace(
        load,
        queues=tuple(
            change(queue) if name in (EVERY, queue.full_name) else queue for queue in load.queues
        ),
    )


def _some(queues: Iterable[QueueLoad], most: int = 5) -> str:
    names = [queue.full_name for queue in queues]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "none"
