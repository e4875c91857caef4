"""A window of the history as the control socket tells it. Pure."""

from collections.abc import Sequence

from warrener.control.history_operations import (
    FigureLine,
    HistoryAnswer,
    HistoryBalancerLine,
    HistoryHostLine,
    HistoryNodeLine,
    HistoryQueueLine,
    HistoryRestLine,
)
from warrener.planner.history import Figure, NodeHistory, QueueHistory, Window, load


def answer_of(
    window: Window, queues: Sequence[QueueHistory], limit: int, source: str
) -> HistoryAnswer:
    """``queues`` are those that were asked for, the busiest first."""
    rest, balancer = window.rest, window.balancer
    return HistoryAnswer(
        since=window.since,
        until=window.until,
        seconds=window.seconds,
        samples=window.samples,
        source=source,
        nodes=[_node(node) for node in window.nodes],
        queues=[_queue(queue) for queue in queues[: max(0, limit)]],
        queues_total=len(queues),
        rest=HistoryRestLine(
            queues=rest.queues,
            published=rest.published,
            delivered=rest.delivered,
            acked=rest.acked,
            ready=rest.ready,
            unacked=rest.unacked,
        ),
        hosts=[
            HistoryHostLine(
                host=host.name, cores=host.cores, others=host.others, clients=host.clients
            )
            for host in window.hosts
        ],
        balancer=None
        if balancer is None
        else HistoryBalancerLine(
            bytes_in=balancer.bytes_in,
            bytes_out=balancer.bytes_out,
            published=balancer.published,
            delivered=balancer.delivered,
            cpu=balancer.cpu,
        ),
        warnings=list(load(window).warnings),
    )


def _figure(figure: Figure) -> FigureLine:
    return FigureLine(mean=figure.mean, min=figure.low, max=figure.high)


def _node(node: NodeHistory) -> HistoryNodeLine:
    return HistoryNodeLine(
        node=node.means.name,
        host=node.means.host,
        running=node.means.running,
        cpu=None if node.cpu is None else _figure(node.cpu),
        memory_used=None if node.mem_used is None else _figure(node.mem_used),
        memory_limit=round(node.means.mem_limit),
        sessions=_figure(node.sessions),
        published=node.published,
        delivered=node.delivered,
        points=node.points,
        cores=node.means.cores,
    )


def _queue(queue: QueueHistory) -> HistoryQueueLine:
    means = queue.means
    return HistoryQueueLine(
        vhost=means.vhost,
        name=means.name,
        type=means.type,
        leader=means.leader,
        members=means.members,
        published=_figure(queue.published),
        delivered=_figure(queue.delivered),
        acked=_figure(queue.acked),
        ready=_figure(queue.ready),
        unacked=_figure(queue.unacked),
        consumers=means.consumers,
        prefetch=means.prefetch,
        body=queue.body,
        body_from=queue.body_from,
        service_time=queue.service.seconds,
        service_from=queue.service.why,
        entering={node: part for node, part in queue.entering},
        leaving={node: part for node, part in queue.leaving},
        points=queue.points,
    )
