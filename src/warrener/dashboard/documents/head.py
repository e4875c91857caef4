"""What stands above every view. Pure."""

from typing import Final

import msgspec

from warrener.control.operations import Phase
from warrener.dashboard.documents.queues import health
from warrener.dashboard.documents.terms import Level, rate, up
from warrener.dashboard.moment import Moment

STALE: Final = 10.0
"""Seconds after which the cluster's view of itself isn't acted on, as in the observer."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every view shows above. Rates in messages/s."""

    cluster: str
    phase: Phase
    version: str
    driver: str
    state_folder: str
    uptime: float
    policy: str
    data_plane: str
    address: str
    nodes: int
    nodes_up: int
    alarms: int
    sessions: int
    queues: int
    queues_bad: int
    ready: int
    unacked: int
    published: float | None
    delivered: float | None
    remote: float | None  # part of the messages that takes a hop between nodes
    view_age: float | None
    trouble: str  # why what is shown of the cluster isn't current; empty: it is


def head(moment: Moment, before: Moment | None) -> Head:
    """What stands above every view."""
    status = moment.status
    balancer, earlier = status.balancer, before.status.balancer if before is not None else None
    serving = up(status.nodes)
    published = delivered = remote = None
    if balancer is not None and earlier is not None and before is not None:
        seconds = moment.clock - before.clock
        published = rate(earlier.published, balancer.published, seconds)
        delivered = rate(earlier.delivered, balancer.delivered, seconds)
        local = rate(earlier.messages_local, balancer.messages_local, seconds)
        far = rate(earlier.messages_remote, balancer.messages_remote, seconds)
        if local is not None and far is not None and local + far > 0:
            remote = far / (local + far)
    return Head(
        cluster=status.cluster,
        phase=status.phase,
        version=status.version,
        driver=status.driver,
        state_folder=status.state_folder,
        uptime=status.uptime,
        policy=balancer.policy if balancer else "",
        data_plane=balancer.data_plane if balancer else "",
        address=f"{balancer.host}:{balancer.port}" if balancer else "",
        nodes=len(status.nodes),
        nodes_up=len(serving),
        alarms=sum(len(node.alarms) for node in status.nodes),
        sessions=balancer.sessions if balancer else 0,
        queues=len(status.queues),
        queues_bad=sum(health(queue, serving)[1] is Level.BAD for queue in status.queues),
        ready=sum(queue.messages_ready for queue in status.queues),
        unacked=sum(queue.messages_unacknowledged for queue in status.queues),
        published=published,
        delivered=delivered,
        remote=remote,
        view_age=status.management.age,
        trouble=_trouble(moment),
    )


def _trouble(moment: Moment) -> str:
    view = moment.status.management
    if view.taken_at is None:
        return view.error or "the cluster hasn't told anything of itself yet"
    if view.error:
        return f"the cluster doesn't answer: {view.error}"
    if view.age is not None and view.age > STALE:
        return "the cluster answers slowly: what is shown of it is old"
    return ""
