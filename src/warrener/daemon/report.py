"""Puts what the driver, the cluster and the balancer say into one status. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import quote

from warrener.control.operations import (
    BalancerStatus,
    ChannelLine,
    DrainAnswer,
    NodeStatus,
    RebalanceAnswer,
    SessionLine,
    ShareLine,
    UrlAnswer,
)
from warrener.facts.balance import BackendStatistics, BalancerStatistics, SessionStatistics
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.moves import ChannelStatistics, DrainResult, RebalanceResult
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import DEFAULT_WEIGHT
from warrener.facts.snapshot import ClusterSnapshot, NodeView


class DrivenNode(Protocol):
    """What a driver says of a node it runs."""

    @property
    def name(self) -> NodeName: ...
    @property
    def state(self) -> NodeState: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def host(self) -> str: ...
    @property
    def amqp_port(self) -> int: ...
    @property
    def management_port(self) -> int: ...
    @property
    def prometheus_port(self) -> int: ...
    @property
    def drained(self) -> bool: ...
    @property
    def frozen(self) -> bool: ...


def nodes(
    driven: Sequence[DrivenNode],
    balancer: BalancerStatistics | None,
    snapshot: ClusterSnapshot | None,
    version: str,
) -> list[NodeStatus]:
    """One row per node of the driver. ``version`` is the installation's, for nodes not seen yet."""
    views = {view.name: view for view in snapshot.nodes} if snapshot else {}
    backends = {backend.name: backend for backend in balancer.backends} if balancer else {}
    leaders = Counter(queue.leader for queue in snapshot.queues) if snapshot else None
    return [
        _node(
            node,
            views.get(node.name),
            backends.get(node.name),
            None if leaders is None else leaders[node.name],
            version,
        )
        for node in driven
    ]


def _node(
    node: DrivenNode,
    view: NodeView | None,
    backend: BackendStatistics | None,
    leaders: int | None,
    version: str,
) -> NodeStatus:
    # A view that is a look old may still call a node running whose process is known to be gone.
    seen = view if view and view.running and node.state is NodeState.RUNNING else None
    return NodeStatus(
        name=node.name,
        state=node.state,
        running=view.running if view else None,
        pid=node.pid,
        host=node.host,
        amqp_port=node.amqp_port,
        management_port=node.management_port,
        prometheus_port=node.prometheus_port,
        version=(seen.version if seen else "") or version,
        erlang_version=seen.erlang_version if seen else "",
        # A node's first statistics come some seconds after its listeners; until then all are 0.
        uptime=(seen.uptime or None) if seen else None,
        memory_used=(seen.mem_used or None) if seen else None,
        memory_limit=(seen.mem_limit or None) if seen else None,
        disk_free=(seen.disk_free or None) if seen else None,
        disk_free_limit=(seen.disk_free_limit or None) if seen else None,
        alarms=_alarms(seen),
        being_drained=node.drained
        or bool(seen and seen.being_drained)
        or (backend is not None and backend.unfit is Unfit.DRAINED),
        leaders=leaders,
        sessions=backend.sessions if backend else 0,
        sessions_total=backend.sessions_total if backend else 0,
        weight=backend.weight if backend else DEFAULT_WEIGHT,
        fit=backend is not None and backend.unfit is None,
        unfit_reason=backend.unfit if backend else Unfit.NOT_PROBED,
        unfit_detail=backend.unfit_detail if backend else "",
        failures_total=backend.failures_total if backend else 0,
        bytes_in=backend.bytes_in if backend else None,
        bytes_out=backend.bytes_out if backend else None,
    )


def _alarms(view: NodeView | None) -> tuple[str, ...]:
    if view is None:
        return ()
    raised = (("memory", view.mem_alarm), ("disk", view.disk_alarm), ("partition", view.partitions))
    return tuple(name for name, on in raised if on)


def balancer(statistics: BalancerStatistics, pid: int) -> BalancerStatus:
    """The balancer's part of the status; ``pid`` is the daemon's process, where Warrener's own
    balancer runs."""
    return BalancerStatus(
        host=statistics.host,
        port=statistics.port,
        pid=pid if statistics.data_plane is DataPlane.WARRENER else statistics.pid,
        policy=statistics.policy,
        locality=statistics.locality,
        locality_error=statistics.locality_error,
        fit_nodes=sum(backend.unfit is None for backend in statistics.backends),
        sessions=statistics.sessions,
        sessions_total=statistics.sessions_total,
        sessions_ended=_counts(statistics.sessions_ended),
        rejected_total=statistics.rejected_total,
        bytes_in=statistics.bytes_in,
        bytes_out=statistics.bytes_out,
        published=statistics.published,
        delivered=statistics.delivered,
        messages_local=statistics.messages_local,
        messages_remote=statistics.messages_remote,
        moves=_counts(statistics.moves),
        moves_failed=statistics.moves_failed,
        replayed=statistics.replayed,
        parked=statistics.parked,
        journal_bytes=statistics.journal_bytes,
        data_plane=statistics.data_plane,
        data_plane_version=statistics.version,
        tls=statistics.tls,
        plain_port=statistics.plain_port,
        tls_rejected=statistics.tls_rejected,
    )


def _counts(pairs: tuple[tuple[str, int], ...] | None) -> dict[str, int] | None:
    return None if pairs is None else dict(pairs)


def session(statistics: SessionStatistics, now: float) -> SessionLine:
    """One session; ``now`` is the balancer's clock."""
    return SessionLine(
        id=statistics.id,
        client=statistics.client,
        user=statistics.user,
        vhost=statistics.vhost,
        name=statistics.name,
        node=statistics.node,
        state=statistics.state,
        channels=statistics.channels,
        age=max(0.0, now - statistics.opened_at),
        bytes_in=statistics.bytes_in,
        bytes_out=statistics.bytes_out,
        published=statistics.published,
        delivered=statistics.delivered,
        links=statistics.links,
        moves=statistics.moves,
        parked=statistics.parked,
        journal_bytes=statistics.journal_bytes,
        messages_local=statistics.messages_local,
        messages_remote=statistics.messages_remote,
    )


def channel(statistics: ChannelStatistics, now: float) -> ChannelLine:
    """One channel; ``now`` is the balancer's clock."""
    return ChannelLine(
        session=statistics.session,
        client=statistics.client,
        channel=statistics.number,
        state=statistics.state,
        node=statistics.node,
        queue=statistics.queue,
        leader=statistics.leader,
        why=statistics.why,
        age=max(0.0, now - statistics.since),
        moves={reason.value: count for reason, count in statistics.moves},
        consumers=statistics.consumers,
        parked=statistics.parked,
        unsettled=statistics.unsettled,
        unconfirmed=statistics.unconfirmed,
        journal_bytes=statistics.journal_bytes,
        messages_local=statistics.messages_local,
        messages_remote=statistics.messages_remote,
    )


def drain(result: DrainResult) -> DrainAnswer:
    """What a drain came to."""
    return DrainAnswer(
        node=result.node,
        moved=result.moved,
        forced=result.forced,
        left=result.left,
        seconds=result.seconds,
        why_left=result.why_left,
    )


def rebalance(result: RebalanceResult, *, dry_run: bool) -> RebalanceAnswer:
    """What a rebalancing came to, or would."""
    return RebalanceAnswer(
        dry_run=dry_run,
        shares=[
            ShareLine(node=share.node, before=share.before, wanted=share.wanted, after=share.after)
            for share in result.shares
        ],
        moved=result.moved,
        failed=result.failed,
        skew_before=result.skew_before,
        skew_after=result.skew_after,
        stopped=result.stopped,
        seconds=result.seconds,
    )


def url(
    address: tuple[str, int], credentials: tuple[str, str], vhost: str = "/", *, ca: str = ""
) -> UrlAnswer:
    """The AMQP URL of ``address``, each part escaped as the AMQP URI specification asks.

    With ``ca``, the file that the balancer is verified with, it is one for TLS. The file stands in
    it twice: ``cacertfile`` is RabbitMQ's own word, ``cafile`` that of aio-pika.
    """
    host, port = address
    user, password = credentials
    shown = f"[{host}]" if ":" in host else host
    query = f"?cacertfile={quote(ca)}&cafile={quote(ca)}" if ca else ""
    return UrlAnswer(
        url=f"amqp{'s' if ca else ''}://{quote(user, safe='')}:{quote(password, safe='')}"
        f"@{shown}:{port}/{quote(vhost, safe='')}{query}",
        ca=ca,
        host=host,
        port=port,
        user=user,
        password=password,
        vhost=vhost,
    )
