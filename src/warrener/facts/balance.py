"""What the balancer is told about nodes and what it tells about itself."""

from dataclasses import dataclass

from warrener.facts.data_plane import DataPlane
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.reasons import Unfit
from warrener.facts.settings import PolicyName


@dataclass(frozen=True, slots=True)
class Backend:
    """Where a node serves AMQP 0-9-1. ``server_name``: it speaks TLS, with a certificate for this
    name; empty: it doesn't."""

    name: NodeName
    host: str
    port: int
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class BackendStatistics:
    """One node as the balancer sees it. ``unfit`` is None while new sessions may go there."""

    name: NodeName
    host: str
    port: int
    weight: int
    unfit: Unfit | None
    unfit_detail: str  # for people; empty while fit
    sessions: int  # open now
    sessions_total: int
    failures_total: int  # connects and handshakes that failed
    probes_total: int
    probes_failed: int
    bytes_in: int | None = None  # from clients; None: not counted by node
    bytes_out: int | None = None


@dataclass(frozen=True, slots=True)
class SessionStatistics:
    """One session. Byte counts are what was received from either side."""

    id: SessionId
    client: str  # address:port of the client
    user: str
    vhost: str
    name: str  # connection_name from the client's properties; may be empty
    node: NodeName | None
    state: str
    channels: int
    opened_at: float  # the balancer's clock, seconds
    bytes_in: int  # from the client
    bytes_out: int  # to the client
    published: int
    delivered: int
    links: tuple[NodeName, ...] = ()  # nodes it has a link to
    moves: int = 0  # of its channels
    parked: int = 0  # consumers that wait for their queue
    journal_bytes: int = 0
    messages_local: int = 0  # entered or left through the node that leads their queue
    messages_remote: int = 0  # through another one


@dataclass(frozen=True, slots=True)
class ClientWork:
    """What the clients of one queue did.

    Consumers: ``seconds`` at work, all of them together, and the messages that they settled in that
    time. ``timed`` of them took a time of their own, one after the other; the sum of these times
    and that of their squares. ``pauses``: some of the times (s) from when one had settled all that
    it had until it was given more.

    Publishers: ``spaced`` messages of which it is known how long after the one before on their
    channel they came; ``arrival_spread``: each times the squared coefficient of variation (scv) of
    these times on its channel; ``square``: the sum over channels of their numbers' squares, so that
    ``spaced ** 2 / square`` channels publish alike. ``confirmed`` messages, of which ``stalled``
    came while the broker confirmed nothing for unusually long, and waited ``stalled_seconds`` in
    all until it did."""

    seconds: float = 0.0
    messages: int = 0
    timed: int = 0
    timed_seconds: float = 0.0
    timed_squares: float = 0.0
    spaced: int = 0
    arrival_spread: float = 0.0
    square: float = 0.0
    pauses: tuple[float, ...] = ()
    confirmed: int = 0
    stalled: int = 0
    stalled_seconds: float = 0.0

    def and_also(self, other: "ClientWork", most_pauses: int) -> "ClientWork":
        """Both together."""
        return ClientWork(
            seconds=self.seconds + other.seconds,
            messages=self.messages + other.messages,
            timed=self.timed + other.timed,
            timed_seconds=self.timed_seconds + other.timed_seconds,
            timed_squares=self.timed_squares + other.timed_squares,
            spaced=self.spaced + other.spaced,
            arrival_spread=self.arrival_spread + other.arrival_spread,
            square=self.square + other.square,
            pauses=(self.pauses + other.pauses)[:most_pauses],
            confirmed=self.confirmed + other.confirmed,
            stalled=self.stalled + other.stalled,
            stalled_seconds=self.stalled_seconds + other.stalled_seconds,
        )


@dataclass(frozen=True, slots=True)
class BalancerStatistics:
    """The balancer as a whole, since it started. None: its data plane can't know that."""

    host: str
    port: int
    policy: PolicyName
    locality: bool
    sessions: int
    sessions_total: int
    sessions_ended: tuple[tuple[str, int], ...] | None  # (SessionEnd value, count), sorted
    rejected_total: int  # clients that never got a session: no fit node, limit, bad handshake
    bytes_in: int
    bytes_out: int
    published: int | None
    delivered: int | None
    backends: tuple[BackendStatistics, ...]
    locality_error: str = ""  # why leaders aren't known at present; empty while they are
    moves: tuple[tuple[str, int], ...] | None = ()  # (MoveReason value, channels moved), sorted
    moves_failed: int | None = 0
    replayed: int | None = 0  # unconfirmed publishes sent again on another node
    parked: int | None = 0
    journal_bytes: int | None = 0
    messages_local: int | None = 0
    messages_remote: int | None = 0
    data_plane: DataPlane = DataPlane.WARRENER
    version: str = ""  # of the data plane's program; Warrener's own has none of its own
    pid: int | None = None  # of that program's process; None: the balancer's own, or not running
    tls: bool = False  # host and port are those of the listener with TLS
    plain_port: int | None = None  # of the one without TLS beside it; None: there is none
    tls_rejected: int = 0  # connections that didn't get through the TLS handshake
