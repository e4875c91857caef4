"""What can be asked of a daemon: one request type and one answer type per operation.

``OPERATIONS`` is the only list of them; the server looks names up in it and refuses what isn't
there. A new operation is a pair of structs, an ``Operation`` in the registry and a handler in
``warrener.daemon.handlers``; nothing else has to know.

Sizes are bytes, times are seconds (``*_at``: since the epoch), ``None`` means "not known".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

import msgspec

from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView

Request = TypeVar("Request", bound=msgspec.Struct)
Answer = TypeVar("Answer", bound=msgspec.Struct)


class Phase(StrEnum):
    """Where in its life a daemon is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


# ---------------------------------------------------------------------------------- status


class StatusRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``queues=False`` leaves the queues out: on a big cluster they are most of the answer."""

    queues: bool = True


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One node: what the driver that runs it, the cluster and the balancer each say of it."""

    name: NodeName
    state: NodeState  # the driver's word
    running: bool | None  # the cluster's word
    pid: int | None  # the node's process, where Warrener runs it
    host: str
    amqp_port: int
    management_port: int
    prometheus_port: int
    version: str  # RabbitMQ's
    erlang_version: str
    uptime: float | None
    memory_used: int | None
    memory_limit: int | None
    disk_free: int | None
    disk_free_limit: int | None
    alarms: tuple[str, ...]  # memory, disk, partition
    being_drained: bool
    leaders: int | None  # queues led by this node
    sessions: int
    sessions_total: int
    weight: int
    fit: bool
    unfit_reason: Unfit | None
    unfit_detail: str


class BalancerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The balancer, since it started."""

    host: str
    port: int
    pid: int
    policy: PolicyName
    locality: bool
    fit_nodes: int
    sessions: int
    sessions_total: int
    sessions_ended: dict[str, int]  # SessionEnd value -> count
    rejected_total: int
    bytes_in: int
    bytes_out: int
    published: int
    delivered: int


class ViewStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How good the cluster's own view is: who gave it, how old it is, what went wrong since.

    ``source`` is None until the management API has answered once; ``error`` is empty while the
    last attempt succeeded. While there is no view young enough, the balancer goes by its probes.
    """

    source: NodeName | None
    taken_at: float | None
    age: float | None
    error: str


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Everything ``warrener status`` shows. ``balancer`` is None until it listens."""

    phase: Phase
    cluster: str
    version: str  # Warrener's
    pid: int  # the daemon's
    state_folder: str
    uptime: float
    nodes: list[NodeStatus]
    balancer: BalancerStatus | None
    queues: list[QueueView]
    management: ViewStatus


# ------------------------------------------------------------------------------------- url


class UrlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for working credentials through the balancer."""


class UrlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` is ready to paste; the parts are the same, unescaped."""

    url: str
    host: str
    port: int
    user: str
    password: str
    vhost: str


# ------------------------------------------------------------------------------------ stop


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stops the cluster, the balancer and the daemon. Progress streams before the answer."""


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes are gone; the daemon ends right after this line."""

    seconds: float


class ProgressLine(msgspec.Struct, frozen=True):
    """``facts.happenings.Progress`` on the wire."""

    subject: str
    text: str
    done: bool = False
    failed: bool = False


# --------------------------------------------------------------------------------- balance


class SetPolicyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes effect with the next session; sessions that are open stay where they are."""

    policy: PolicyName


class SetPolicyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    policy: PolicyName
    before: PolicyName


class SetWeightRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``node`` may be the short name; ``weight`` is 0 to 1000, 0 meaning "only if no other"."""

    node: str
    weight: int


class SetWeightAnswer(msgspec.Struct, frozen=True, kw_only=True):
    node: NodeName
    weight: int
    before: int


# -------------------------------------------------------------------------------- sessions


class SessionsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``limit`` bounds the answer; the oldest sessions come first."""

    limit: int = 1000


class SessionLine(msgspec.Struct, frozen=True, kw_only=True):
    """One open session. Byte counts are what was received from either side."""

    id: int
    client: str
    user: str
    vhost: str
    name: str
    node: NodeName | None
    state: str
    channels: int
    age: float
    bytes_in: int
    bytes_out: int
    published: int
    delivered: int


class SessionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    total: int
    sessions: list[SessionLine]


# ---------------------------------------------------------------------------------- events


class EventsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``last`` recent events, then, with ``follow``, each new one until the client hangs up."""

    last: int = 100
    follow: bool = False


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """``facts.happenings.Event`` with its place in the daemon's record."""

    number: int  # counted from 1 over the daemon's life
    at: float
    kind: str
    subject: str = ""
    reason: str = ""
    detail: dict[str, str | int | float | bool] = {}


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``missed``: events a follower was too slow for; they are in the log file."""

    sent: int
    missed: int


# -------------------------------------------------------------------------------- registry


@dataclass(frozen=True, slots=True)
class Operation(Generic[Request, Answer]):
    """One thing that can be asked. ``streams`` is what may come before the answer."""

    name: str
    request: type[Request]
    answer: type[Answer]
    streams: type[msgspec.Struct] | None = None


STATUS: Final = Operation("status", StatusRequest, StatusAnswer)
URL: Final = Operation("url", UrlRequest, UrlAnswer)
STOP: Final = Operation("stop", StopRequest, StopAnswer, ProgressLine)
SET_POLICY: Final = Operation("set-policy", SetPolicyRequest, SetPolicyAnswer)
SET_WEIGHT: Final = Operation("set-weight", SetWeightRequest, SetWeightAnswer)
SESSIONS: Final = Operation("sessions", SessionsRequest, SessionsAnswer)
EVENTS: Final = Operation("events", EventsRequest, EventsAnswer, EventLine)

OPERATIONS: Final[Mapping[str, Operation[msgspec.Struct, msgspec.Struct]]] = {
    operation.name: operation  # type: ignore[misc]  # Operation is invariant; read-only here
    for operation in (STATUS, URL, STOP, SET_POLICY, SET_WEIGHT, SESSIONS, EVENTS)
}
