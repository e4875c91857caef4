"""Nodes: their state and why, memory, CPU, sessions. Pure."""

from typing import Final

import msgspec

from warrener.control.operations import NodeStatus
from warrener.dashboard.documents.terms import Level, rate
from warrener.dashboard.moment import Measured, Moment
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState

NEAR: Final = 0.9
"""Of a memory limit: what is past this is about to raise an alarm."""


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``word`` and ``why`` say how it is; bytes/s in and out are clients'."""

    name: NodeName
    short: str
    word: str
    level: Level
    why: str
    alarms: tuple[str, ...]
    memory_used: int | None
    memory_limit: int | None
    disk_free: int | None
    disk_limit: int | None
    cpu: float | None
    busy: float | None
    rho: float | None
    sessions: int
    leaders: int | None
    weight: int
    weight_reason: str
    version: str
    erlang: str
    uptime: float | None
    host: str
    port: int
    bytes_in: float | None
    bytes_out: float | None
    failures: int
    drained: bool


def nodes(moment: Moment, before: Moment | None) -> list[NodeRow]:
    """One row per member, in the driver's order."""
    earlier = {node.name: node for node in before.status.nodes} if before is not None else {}
    seconds = moment.clock - before.clock if before is not None else 1.0
    return [
        _node(node, earlier.get(node.name), seconds, moment.measured)
        for node in moment.status.nodes
    ]


def _node(
    node: NodeStatus, earlier: NodeStatus | None, seconds: float, measured: Measured
) -> NodeRow:
    word, level, why = _how(node)
    measure = measured.nodes.get(node.name)
    runs = node.state is NodeState.RUNNING
    return NodeRow(
        name=node.name,
        short=short_name(node.name),
        word=word,
        level=level,
        why=why,
        alarms=node.alarms,
        memory_used=node.memory_used,
        memory_limit=node.memory_limit,
        disk_free=node.disk_free,
        disk_limit=node.disk_free_limit,
        cpu=measure.cpu if measure and runs else None,
        busy=measure.busy if measure and runs else None,
        rho=measure.rho if measure and runs else None,
        sessions=node.sessions,
        leaders=node.leaders,
        weight=node.weight,
        weight_reason=node.weight_reason,
        version=node.version,
        erlang=node.erlang_version,
        uptime=node.uptime,
        host=node.host,
        port=node.amqp_port,
        bytes_in=rate(earlier.bytes_in, node.bytes_in, seconds) if earlier else None,
        bytes_out=rate(earlier.bytes_out, node.bytes_out, seconds) if earlier else None,
        failures=node.failures_total,
        drained=node.being_drained,
    )


def _how(node: NodeStatus) -> tuple[str, Level, str]:
    """The word, how bad it is, and what there is to say of it; the worst comes first."""
    detail = node.unfit_detail or (node.unfit_reason.value if node.unfit_reason else "")
    match node.state:
        case NodeState.DOWN:
            return "down", Level.BAD, "its process ended by itself"
        case NodeState.LOST:
            return "lost", Level.BAD, "its data is gone: it has to be replaced"
        case NodeState.UNREACHABLE:
            return "unreachable", Level.BAD, detail or "its host can't be asked"
        case NodeState.STOPPED:
            return "stopped", Level.OFF, "it was stopped on purpose"
        case NodeState.STARTING | NodeState.STOPPING:
            return node.state.value, Level.WARN, ""
        case NodeState.RUNNING:
            pass
    if node.running is False:
        return "not running", Level.BAD, "its process is there, RabbitMQ in it doesn't run"
    if node.alarms:
        return "alarm", Level.BAD, f"{' and '.join(node.alarms)}: publishers are blocked"
    if node.being_drained:
        return "drained", Level.OFF, "in maintenance: it gets no sessions and leads no queues"
    if not node.fit:
        return "unfit", Level.BAD, detail
    if node.memory_used and node.memory_limit and node.memory_used > NEAR * node.memory_limit:
        return "running", Level.WARN, "its memory is nearly at the limit"
    return "running", Level.GOOD, ""
