"""Looks at a cluster through the management API and tells it as one ``ClusterSnapshot``.

Any node can describe the whole cluster, so one good answer is enough. The node that answered last
is asked first; if it hasn't answered after a short delay the next one is asked too, and so on: a
node that hangs costs a fraction of a second, not a time-out. The first whole answer wins and the
rest is called off.

``snapshot`` and what it is made of are pure; only ``observe`` and ``first_answer``, which is how
any question goes to a cluster, wait.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from warrener.cluster.replicas import REPLICATED
from warrener.facts.ids import NodeName
from warrener.facts.snapshot import ClusterSnapshot, NodeView, QueueView
from warrener.management.answers import Node, Overview, Queue, number, words
from warrener.management.client import FEW_QUEUES, ManagementClient, ManagementError

STAGGER: Final = 0.5
"""Seconds until the next node is asked too. A healthy node has answered by then, 5,000 queues
excepted, and a second question costs little."""

Clients = Sequence[tuple[NodeName, ManagementClient]]

_T = TypeVar("_T")


async def observe(
    clients: Clients,
    *,
    queues: bool = True,
    now: Callable[[], float],
    first: NodeName | None = None,
    stagger: float = STAGGER,
) -> ClusterSnapshot:
    """The cluster as the first node that answers describes it.

    ``first`` (the ``source`` of the snapshot before, say) is asked first. Raises ManagementError if
    no node answers: the error of the node that was asked first, with the others' in its notes.
    """
    return (
        await first_answer(
            clients,
            lambda name, client: _look(name, client, queues, now),
            first=first,
            stagger=stagger,
            what="look",
        )
    )[1]


async def first_answer(
    clients: Clients,
    ask: Callable[[NodeName, ManagementClient], Coroutine[Any, Any, _T]],
    *,
    first: NodeName | None,
    stagger: float,
    what: str,
) -> tuple[NodeName, _T]:
    """Who answered, and what: node after node is asked, ``stagger`` seconds apart or as soon as
    one fails, until one answers. The others are called off. Raises as ``observe`` does."""
    if not clients:
        raise ValueError("no node to ask")
    order = sorted(clients, key=lambda client: client[0] != first)  # stable: the rest keep theirs
    names: dict[asyncio.Task[_T], NodeName] = {}
    running: set[asyncio.Task[_T]] = set()
    waiting = list(order)
    try:
        while waiting or running:
            if waiting:
                name, client = waiting.pop(0)
                task = asyncio.create_task(ask(name, client), name=f"{what}:{name}")
                names[task] = name
                running.add(task)
            done, running = await asyncio.wait(
                running,
                timeout=stagger if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                if task.exception() is None:
                    return names[task], task.result()
                if not isinstance(task.exception(), ManagementError):
                    task.result()  # our bug: raises
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    errors = [task.exception() for task in names]
    error = errors[0]
    assert isinstance(error, ManagementError), "all of them failed"
    for other in errors[1:]:
        error.add_note(str(other))
    raise error


async def _look(
    name: NodeName, client: ManagementClient, queues: bool, now: Callable[[], float]
) -> ClusterSnapshot:
    taken_at = now()  # the start: what is told may be older than the answer, never than this
    clock = asyncio.get_running_loop().time
    began = clock()  # by a clock that nobody sets
    overview = await client.overview()
    nodes = await client.nodes()
    told = await client.queues() if queues else ()
    took = clock() - began
    if len(told) > FEW_QUEUES:  # 5,000 take 35 ms, in which no session would be served
        return await asyncio.to_thread(snapshot, name, taken_at, overview, nodes, told, took=took)
    return snapshot(name, taken_at, overview, nodes, told, took=took)


def snapshot(
    source: NodeName,
    taken_at: float,
    overview: Overview,
    nodes: Iterable[Node],
    queues: Iterable[Queue],
    *,
    took: float = 0.0,
) -> ClusterSnapshot:
    """RabbitMQ's answers as Warrener's own value; nodes and queues in the order of their names."""
    return ClusterSnapshot(
        source=source,
        taken_at=taken_at,
        cluster_name=overview.cluster_name,
        nodes=tuple(sorted((node_view(node, overview) for node in nodes), key=lambda n: n.name)),
        queues=tuple(sorted(map(queue_view, queues), key=lambda q: (q.vhost, q.name))),
        took=took,
    )


def with_members(
    snapshot: ClusterSnapshot,
    held: Mapping[tuple[str, str], tuple[NodeName | None, tuple[NodeName, ...]]],
) -> ClusterSnapshot:
    """The same with the leader and the members that each replicated queue has by another source,
    by (vhost, name). One that isn't in ``held`` was deleted meanwhile."""
    queues = []
    for queue in snapshot.queues:
        found = held.get((queue.vhost, queue.name))
        if found is not None:
            leader, members = found
            online = tuple(node for node in queue.online if node in members)
            queues.append(replace(queue, leader=leader, members=members, online=online))
        elif queue.type not in REPLICATED:
            queues.append(queue)
    return replace(snapshot, queues=tuple(queues))


def node_view(node: Node, overview: Overview) -> NodeView:
    """One node. A node that is down is answered with its name and little else."""
    version = _application(node, "rabbit") or node.rabbitmq_version
    erlang = ""
    if node.name == overview.node:  # only the node that answers says its Erlang/OTP release
        version = version or overview.rabbitmq_version
        erlang = overview.erlang_version
    return NodeView(
        name=NodeName(node.name),
        running=node.running,
        being_drained=node.being_drained,
        partitions=_names(node.partitions),
        mem_alarm=node.mem_alarm is True,
        disk_alarm=node.disk_free_alarm is True,
        mem_used=number(node.mem_used),
        mem_limit=number(node.mem_limit),
        disk_free=number(node.disk_free),
        disk_free_limit=number(node.disk_free_limit),
        fd_used=number(node.fd_used),
        fd_total=number(node.fd_total),
        uptime=number(node.uptime) / 1000,
        version=version if isinstance(version, str) and node.running else "",
        erlang_version=erlang if node.running else "",
    )


def queue_view(queue: Queue) -> QueueView:
    """One queue. The leader of a quorum queue or stream is ``leader``; a classic queue's is
    ``node``, its home. A quorum queue without an elected leader has an empty or no ``leader``."""
    has_members = bool(words(queue.members)) or queue.leader is not None
    leader = queue.leader if has_members else queue.node
    if has_members and leader is None:
        leader = queue.node
    is_name = isinstance(leader, str) and leader not in {"", "none", "undefined"}
    return QueueView(
        vhost=queue.vhost,
        name=queue.name,
        type=queue.type,
        leader=NodeName(leader) if is_name else None,
        members=_names(queue.members),
        online=_names(queue.online),
        state=queue.state if isinstance(queue.state, str) else "",
        messages=number(queue.messages),
        messages_ready=number(queue.messages_ready),
        messages_unacknowledged=number(queue.messages_unacknowledged),
        consumers=number(queue.consumers),
        auto_delete=queue.auto_delete is True,
        exclusive=queue.exclusive is True,
    )


def _names(value: object) -> tuple[NodeName, ...]:
    return tuple(NodeName(name) for name in words(value))


def _application(node: Node, name: str) -> str:
    if isinstance(node.applications, list):
        for application in node.applications:
            if isinstance(application, dict) and application.get("name") == name:
                return str(application.get("version", ""))
    return ""
