"""Moments for the tests of the page."""

from typing import Any

import msgspec

from warrener.control.operations import (
    BalancerStatus,
    EventLine,
    NodeStatus,
    Phase,
    SessionLine,
    StatusAnswer,
    ViewStatus,
)
from warrener.dashboard.moment import Measured, Moment
from warrener.dashboard.plan import Plan
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView

N1, N2, N3 = (NodeName(f"n{number}@localhost") for number in (1, 2, 3))
ALL = (N1, N2, N3)


def node(name: NodeName = N1, **changes: Any) -> NodeStatus:
    """One that is well."""
    made = NodeStatus(
        name=name,
        state=NodeState.RUNNING,
        running=True,
        pid=7,
        host="127.0.0.1",
        amqp_port=5672,
        management_port=15672,
        prometheus_port=15692,
        version="3.10.8",
        erlang_version="25.2",
        uptime=60.0,
        memory_used=100,
        memory_limit=1000,
        disk_free=5000,
        disk_free_limit=50,
        alarms=(),
        being_drained=False,
        leaders=1,
        sessions=2,
        sessions_total=9,
        weight=100,
        fit=True,
        unfit_reason=None,
        unfit_detail="",
        bytes_in=0,
        bytes_out=0,
    )
    return msgspec.structs.replace(made, **changes)


def queue(name: str, leader: NodeName | None = N1, **changes: Any) -> QueueView:
    values: dict[str, Any] = {
        "type": "quorum",
        "members": ALL,
        "online": ALL,
        "state": "running",
        "consumers": 1,
    }
    return QueueView("/", name, leader=leader, **(values | changes))


def session(number: int, **changes: Any) -> SessionLine:
    made = SessionLine(
        id=number,
        client=f"127.0.0.1:{40_000 + number}",
        user="shop",
        vhost="/",
        name=f"worker {number}",
        node=N1,
        state="open",
        channels=1,
        age=5.0,
        bytes_in=0,
        bytes_out=0,
        published=0,
        delivered=0,
    )
    return msgspec.structs.replace(made, **changes)


def event(number: int, kind: str = "node.fit", **changes: Any) -> EventLine:
    return msgspec.structs.replace(EventLine(number=number, at=number, kind=kind), **changes)


def status(
    nodes: list[NodeStatus] | None = None,
    queues: list[QueueView] | None = None,
    *,
    published: int = 0,
    local: int = 0,
    remote: int = 0,
    view: ViewStatus | None = None,
) -> StatusAnswer:
    return StatusAnswer(
        phase=Phase.RUNNING,
        cluster="warren",
        version="0.1.0",
        pid=1,
        state_folder="/state",
        uptime=100.0,
        nodes=[node(name) for name in ALL] if nodes is None else nodes,
        balancer=BalancerStatus(
            host="127.0.0.1",
            port=5672,
            pid=1,
            policy=PolicyName("leastconn"),
            locality=True,
            fit_nodes=3,
            sessions=2,
            sessions_total=2,
            sessions_ended={},
            rejected_total=0,
            bytes_in=0,
            bytes_out=0,
            published=published,
            delivered=0,
            messages_local=local,
            messages_remote=remote,
        ),
        queues=queues or [],
        management=view or ViewStatus(source=N1, taken_at=1.0, age=0.5, error=""),
    )


def moment(
    clock: float = 10.0,
    told: StatusAnswer | None = None,
    *,
    sessions: list[SessionLine] | None = None,
    events: list[EventLine] | None = None,
    measured: Measured | None = None,
    plan: Plan | None = None,
) -> Moment:
    return Moment(
        at=1_000_000.0 + clock,
        clock=clock,
        status=told or status(),
        events=events or [],
        sessions=sessions,
        measured=measured or Measured(),
        plan=plan or Plan(),
    )
