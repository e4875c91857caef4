"""What the service needs of the rooms it wires, so that its tests can use small stand-ins."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.config_scripts import Told
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.rotation import Act
from warrener.control.operations import StatusAnswer, UrlAnswer
from warrener.daemon.report import DrivenNode
from warrener.facts.balance import Backend, BalancerStatistics, ClientWork, SessionStatistics
from warrener.facts.booting import BootLook
from warrener.facts.capability import Capabilities
from warrener.facts.happenings import Progress
from warrener.facts.ids import NodeName, SessionId
from warrener.facts.leaders import LeaderMove, NotMoved, RateSample
from warrener.facts.moves import ChannelStatistics, DrainResult, MoveProgress, RebalanceResult
from warrener.facts.replicas import Position, ReplicaMove
from warrener.facts.settings import PolicyName
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.telemetry import BalancerFigures
from warrener.management.client import ManagementClient
from warrener.management.metrics import MetricsPlace

MoveSink = Callable[[MoveProgress], None]


class Configured(Protocol):
    """``cluster.drivers.configuration``, with its errors as ``DaemonError``."""

    @property
    def schema(self) -> Schema: ...
    @property
    def described(self) -> Mapping[str, str]: ...
    @property
    def chosen(self) -> Mapping[str, str]: ...
    def own(self, name: NodeName) -> Mapping[str, str]: ...
    def settings(
        self, name: NodeName, chosen: Mapping[str, str] | None = None
    ) -> Mapping[str, str]: ...
    def describe(self, key: str, value: str | None) -> None: ...
    def record(self, chosen: Mapping[str, str]) -> None: ...
    def write_file(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> None: ...
    def running(self) -> list[NodeName]: ...
    async def values(self, name: NodeName, targets: Iterable[str]) -> Told: ...
    async def check(
        self, name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]
    ) -> Told: ...
    async def apply(self, name: NodeName, targets: Sequence[str]) -> None: ...


class Cluster(Protocol):
    """A cluster that is driven: ``cluster.drivers.local`` behind ``wiring.Local``, or one that
    somebody else runs: ``cluster.drivers.attached`` behind ``attached.Attached``."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can't do, and why; known once prepared."""

    @property
    def name(self) -> str:
        """What the cluster is called."""

    def unreachable(self) -> Mapping[NodeName, str]:
        """Running nodes that nobody knows how to connect to, and why."""

    @property
    def balancer_port(self) -> int:
        """Where the balancer should listen; known once prepared."""

    @property
    def telemetry_ports(self) -> tuple[int, int]:
        """Where metrics and a Prometheus may listen, if nobody else does; known once prepared."""

    async def prepare(self) -> None:
        """Ports are claimed, credentials made; no node boots. ``stop`` undoes it."""

    async def start(self) -> None:
        """Nothing is left running if this raises or is cancelled."""

    async def stop(self, *, discard: bool = False) -> None:
        """Orderly and bounded; cancelling it means: at once, by force. ``discard``: by force as
        well, since nobody needs the data any more."""

    async def hand_over_node(self, name: NodeName) -> None:
        """Other nodes lead its queues from here on, as far as can be; ``DaemonError``."""

    async def drain_node(self, name: NodeName) -> None:
        """RabbitMQ's own maintenance mode, on. ``DaemonError`` if that fails."""

    async def revive_node(self, name: NodeName) -> None:
        """The opposite; ``DaemonError`` also if the node doesn't serve afterwards."""

    async def restart_node(self, name: NodeName, timeout: float) -> None:
        """Stops the node if it runs, starts it, waits until it serves. ``DaemonError``."""

    async def boot_look(self, name: NodeName) -> BootLook:
        """How far RabbitMQ is on a node whose process runs. ``DaemonError`` if it doesn't say."""

    async def stop_app(self, name: NodeName) -> None:
        """RabbitMQ stops on the node, whose process stays. ``DaemonError``."""

    async def start_app(self, name: NodeName) -> None:
        """RabbitMQ starts again there. ``DaemonError``."""

    async def add_node(self, name: NodeName | None, timeout: float) -> NodeName:
        """One node more, once it serves and is clustered; ``DaemonError``, nothing is left then."""

    async def remove_node(self, name: NodeName) -> None:
        """Stopped, forgotten by the others, its data removed. ``DaemonError``; to be said again."""

    async def replace_node(self, name: NodeName, timeout: float) -> None:
        """Forgotten, its data removed, joined anew. ``DaemonError``; to be said again."""

    def unspread(self) -> Sequence[NodeName]:
        """Nodes that have joined and were not given their share of replicas yet."""

    def spread(self, name: NodeName) -> None:
        """From here on it was."""

    async def add_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        """On ``to``; the numbers of the moves that failed, and why. ``DaemonError``."""

    async def delete_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        """On ``away``, as ``add_replicas``."""

    async def replica_positions(self, moves: Sequence[ReplicaMove]) -> list[Position]:
        """How far the replicas on ``to`` are. ``DaemonError``."""

    async def drained_nodes(self) -> frozenset[NodeName]:
        """Those in maintenance mode, whoever put them there. ``DaemonError`` if nobody tells."""

    def metrics_places(self) -> Sequence[MetricsPlace]:
        """Where each node's own metrics are; empty if they can't be asked."""

    async def cpu_shares(self) -> Mapping[NodeName, float]:
        """Cores that nodes may use of their hosts, where that is known."""

    async def measure_rates(self, seconds: float) -> RateSample:
        """What goes through the queues; ``DaemonError`` or ``ManagementError`` if nobody tells."""

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> Sequence[NotMoved]:
        """Other members lead these queues; what was left where it was. ``DaemonError``."""

    def rename(self, name: str) -> None:
        """Nodes that boot call the cluster so."""

    async def set_plugins(self, names: Sequence[str]) -> None:
        """Exactly these are enabled on every node, at once. ``DaemonError``."""

    def plugins(self) -> frozenset[str]:
        """Those that are enabled by name. ``DaemonError`` if that can't be read."""

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        """What RabbitMQ is there for these nodes, and whether it has what is used here.
        ``DaemonError``."""

    def installation_of(self, name: NodeName) -> Installation:
        """What a node runs, or starts with. ``DaemonError``."""

    def try_installation(self, name: NodeName, path: Path) -> None:
        """The node's next start is with that one. ``DaemonError``."""

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        """The node serves with it, or is to have its old one again. ``DaemonError``."""

    @property
    def spec(self) -> ClusterSpec:
        """What it was started as."""

    def management(self) -> Sequence[ManagementClient]:
        """A client of each node's management API."""

    @property
    def tls(self) -> ClusterTls:
        """Its certificates."""

    async def perform_tls(self, act: Act) -> None:
        """One step of a rotation, on files. ``DaemonError``."""

    async def reload_tls(self) -> None:
        """Who runs goes by the files of ``tls`` from here on. ``DaemonError``."""

    @property
    def configuration(self) -> Configured: ...
    def nodes(self) -> Sequence[DrivenNode]: ...
    def backends(self) -> tuple[Backend, ...]: ...
    def credentials(self) -> tuple[str, str]: ...
    def version(self) -> str: ...

    async def look(self, *, whole: bool = False) -> ClusterSnapshot:
        """The cluster's own view; ``ManagementError`` if no node gives it. ``whole``: with the
        members that each queue has now, however many queues there are."""


class Balancer(Protocol):
    """``balancer.shell.server.BalancerServer``."""

    @property
    def address(self) -> tuple[str, int]: ...
    async def start(self) -> None: ...
    async def close(self, grace: float = 2.0) -> None: ...
    def set_backends(self, backends: Sequence[Backend]) -> None: ...
    def set_policy(self, policy: PolicyName) -> None: ...
    def set_weight(self, node: NodeName, weight: int) -> None: ...
    def apply_snapshot(self, snapshot: ClusterSnapshot | None) -> None: ...
    def statistics(self) -> BalancerStatistics: ...
    async def figures(self) -> BalancerFigures: ...
    def take_work(self) -> Mapping[tuple[str, str], ClientWork]: ...
    def sessions(self) -> tuple[SessionStatistics, ...]: ...
    async def wait_ready(self, nodes: int, timeout: float) -> bool: ...
    async def drain(
        self, node: NodeName, *, timeout: float, on_progress: MoveSink
    ) -> DrainResult: ...
    def revive(self, node: NodeName) -> None: ...
    async def reload_tls(self) -> None: ...
    async def rebalance(self, *, dry_run: bool, on_progress: MoveSink) -> RebalanceResult: ...
    def explain(self, session: SessionId | None) -> tuple[ChannelStatistics, ...]: ...


class Reporter(Protocol):
    """Who is told how the daemon's start and stop go: a terminal, or a pipe to one."""

    def progress(self, progress: Progress) -> None: ...
    def ready(self, status: StatusAnswer, url: UrlAnswer) -> None: ...


BalancerFactory = Callable[[int], Balancer]
"""Makes a balancer for a port (0: any)."""
