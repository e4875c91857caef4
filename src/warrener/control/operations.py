"""What can be asked of a daemon: one request type and one answer type per operation.

``registry.OPERATIONS`` is the only list of them; the server looks names up in it and refuses what
isn't there. A new operation is a pair of structs, an ``Operation``, its line in the registry and a
handler in ``warrener.daemon.handlers``; nothing else has to know.

Sizes are bytes, times are seconds (``*_at``: since the epoch), ``None`` means "not known".
"""

from enum import StrEnum
from typing import Final

import msgspec

from warrener.control.leaders_operations import (
    LeadersBalanceAnswer,
    LeadersBalanceRequest,
    LeadersPlanAnswer,
    LeadersPlanRequest,
    LeadersShowAnswer,
    LeadersShowRequest,
)
from warrener.control.operation import Operation as Operation  # noqa: PLC0414  re-exported
from warrener.control.operation import ProgressLine as ProgressLine  # noqa: PLC0414  re-exported
from warrener.control.operation import Request as Request  # noqa: PLC0414  re-exported
from warrener.control.spread import LeadersSpread
from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName
from warrener.facts.reasons import NodeState, Placement, Unfit
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import QueueView


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
    being_drained: bool  # in maintenance mode, or being emptied for it
    leaders: int | None  # queues led by this node
    sessions: int
    sessions_total: int
    weight: int
    fit: bool
    unfit_reason: Unfit | None
    unfit_detail: str
    failures_total: int = 0  # connects and handshakes that failed
    bytes_in: int | None = None  # from clients; None: the data plane doesn't count by node
    bytes_out: int | None = None
    weight_reason: str = ""  # what an automatic weight goes by; empty for one set by hand


class BalancerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The balancer, since it started. ``pid`` is the process that carries the bytes."""

    host: str
    port: int
    pid: int | None
    policy: PolicyName
    locality: bool  # whether channels go to their queues' leaders
    locality_error: str = ""  # why leaders aren't known at present; empty while they are
    fit_nodes: int
    sessions: int
    sessions_total: int
    sessions_ended: dict[str, int] | None  # SessionEnd value -> count
    rejected_total: int
    bytes_in: int
    bytes_out: int
    published: int | None
    delivered: int | None
    messages_local: int | None = 0  # entered or left through the node that leads their queue
    messages_remote: int | None = 0  # through another one
    moves: dict[str, int] | None = {}  # MoveReason value -> channels moved
    moves_failed: int | None = 0
    replayed: int | None = 0  # unconfirmed publishes sent again on another node
    parked: int | None = 0  # consumers that wait for their queue
    journal_bytes: int | None = 0
    data_plane: DataPlane = DataPlane.WARRENER
    data_plane_version: str = ""  # HAProxy's; empty for Warrener's own
    tls: bool = False  # host and port are those of the listener with TLS
    plain_port: int | None = None  # of the one without TLS beside it
    tls_rejected: int | None = 0  # connections that didn't get through the TLS handshake
    auto_weights: bool = False  # weights follow what nodes can carry


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
    tls: list[str] = []  # which connections speak it: clients, links, management, inter_node
    driver: str = "local"  # who runs the nodes; attached: somebody else
    metrics_url: str = ""  # of the daemon's own metrics; empty: none are served
    prometheus_url: str = ""  # of the Prometheus beside the cluster; empty: none is run
    page_url: str = ""  # of the web page, without the token; empty: it isn't served


# ------------------------------------------------------------------------------------- url


class UrlRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Asks for working credentials through the balancer: Warrener's own, or those of a user whose
    password was generated. ``vhost`` empty: one that the user may use."""

    user: str = ""
    vhost: str = ""


class UrlAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``url`` is ready to paste; the parts are the same, unescaped. ``ca`` is the file that the
    balancer's certificate is verified with; empty: it has no TLS."""

    url: str
    host: str
    port: int
    user: str
    password: str
    vhost: str
    ca: str = ""


# ------------------------------------------------------------------------------------ stop


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stops the cluster, the balancer and the daemon. Progress streams before the answer.

    ``discard``: its data is removed afterwards, so nodes need no time to put it in order."""

    discard: bool = False


class StopAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes are gone; the daemon ends right after this line."""

    seconds: float


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


class RebalanceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spreads the open sessions as the policy would have. Progress streams before the answer; it
    ends when the asker hangs up: each session is either moved or where it was."""

    dry_run: bool = False


class ShareLine(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions at home on a node. ``after`` is what came of it, in a dry run what would."""

    node: NodeName
    before: int
    wanted: int
    after: int


class RebalanceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``stopped`` says why it ended early, empty if it didn't. ``skew`` is the largest share over
    the mean one, 1.0 at best."""

    dry_run: bool
    shares: list[ShareLine]
    moved: int
    failed: int
    skew_before: float
    skew_after: float
    stopped: str
    seconds: float


# ----------------------------------------------------------------------------------- nodes


class DrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Moves all sessions off a node, then puts it into RabbitMQ's maintenance mode.

    ``timeout`` (s) is for the sessions; those that can't be moved in it are taken off by RabbitMQ.
    ``force`` also where it is unwise. Hanging up before RabbitMQ's own drain has begun undoes it.
    """

    node: str
    timeout: float = 60.0
    force: bool = False


class DrainAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``already``: it was drained before, nothing was done. The rest counts sessions: of those
    ``moved``, ``forced`` get some deliveries again, marked as redelivered. ``why_left``: why the
    data plane could move none."""

    node: NodeName
    already: bool = False
    moved: int = 0
    forced: int = 0
    left: int = 0  # taken off by RabbitMQ's own drain
    seconds: float = 0.0
    why_left: str = ""
    note: str = ""  # what of a drain was not done, and why


class ReviveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Takes a node out of maintenance mode and waits up to ``timeout`` s until it is fit. With
    ``balance`` the leaders of queues are spread again afterwards."""

    node: str
    timeout: float = 30.0
    balance: bool = True


class ReviveAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``already``: it was not drained. ``not_online``: queues whose replica on the node isn't."""

    node: NodeName
    already: bool = False
    not_online: list[str] = []
    seconds: float = 0.0
    leaders: LeadersSpread | None = None


class RestartRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stops a node, if there is anything to stop, and starts it; ``timeout`` s are for the start.
    With ``drain`` its sessions are moved off first. It goes on when the asker hangs up, unless it
    is still moving sessions. With ``balance`` the leaders of queues are spread again afterwards."""

    node: str
    timeout: float = 120.0
    drain: bool = False
    force: bool = False
    balance: bool = True


class RestartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``drained`` is None unless that was asked for. ``pid`` is the node's new process."""

    node: NodeName
    pid: int | None
    drained: DrainAnswer | None
    not_online: list[str]
    seconds: float
    leaders: LeadersSpread | None = None


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
    links: tuple[NodeName, ...] = ()  # the nodes it has a link to
    moves: int = 0  # of its channels
    parked: int = 0
    journal_bytes: int = 0
    messages_local: int = 0
    messages_remote: int = 0


class SessionsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    total: int
    sessions: list[SessionLine]


# --------------------------------------------------------------------------------- explain


class ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The channels of one session, or of all; ``queue`` (a name or a pattern such as ``jobs.*``)
    and ``node`` choose among them. ``limit`` bounds the answer."""

    session: int | None = None
    queue: str = ""
    node: str = ""
    limit: int = 1000


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a channel is and why. ``queue`` is the one that it is placed for, empty if none;
    ``moves`` counts by MoveReason value; ``age`` is how long it has been there."""

    session: int
    client: str
    channel: int
    state: str
    node: NodeName | None
    queue: str
    leader: NodeName | None
    why: Placement
    age: float
    moves: dict[str, int]
    consumers: int
    parked: int  # of them, waiting for their queue
    unsettled: int  # deliveries the client has not settled yet
    unconfirmed: int  # publishes kept to be sent again if need be
    journal_bytes: int
    messages_local: int
    messages_remote: int


class ExplainAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Channels by session and number; ``total`` of them match. ``session`` where one was asked
    for."""

    total: int
    channels: list[ChannelLine]
    session: SessionLine | None
    locality: bool
    locality_error: str


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


STATUS: Final = Operation("status", StatusRequest, StatusAnswer)
URL: Final = Operation("url", UrlRequest, UrlAnswer)
STOP: Final = Operation("stop", StopRequest, StopAnswer, ProgressLine)
SET_POLICY: Final = Operation("set-policy", SetPolicyRequest, SetPolicyAnswer)
SET_WEIGHT: Final = Operation("set-weight", SetWeightRequest, SetWeightAnswer)
REBALANCE: Final = Operation("rebalance", RebalanceRequest, RebalanceAnswer, ProgressLine)
DRAIN: Final = Operation("drain-node", DrainRequest, DrainAnswer, ProgressLine)
REVIVE: Final = Operation("revive-node", ReviveRequest, ReviveAnswer, ProgressLine)
RESTART: Final = Operation("restart-node", RestartRequest, RestartAnswer, ProgressLine)
LEADERS_SHOW: Final = Operation("leaders-show", LeadersShowRequest, LeadersShowAnswer, ProgressLine)
LEADERS_PLAN: Final = Operation("leaders-plan", LeadersPlanRequest, LeadersPlanAnswer, ProgressLine)
LEADERS_BALANCE: Final = Operation(
    "leaders-balance", LeadersBalanceRequest, LeadersBalanceAnswer, ProgressLine
)
SESSIONS: Final = Operation("sessions", SessionsRequest, SessionsAnswer)
EXPLAIN: Final = Operation("explain", ExplainRequest, ExplainAnswer)
EVENTS: Final = Operation("events", EventsRequest, EventsAnswer, EventLine)
