"""``cluster.drivers.attached`` as the service's cluster; its errors become ``DaemonError``.

What takes the nodes' hosts is refused before it gets here (``possible``); were it asked for all the
same, the answer would be the same reason.
"""

import asyncio
import os
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import structlog

from warrener.cluster.attach import Attach
from warrener.cluster.catalogue.schema import Datatype, Known, Schema
from warrener.cluster.drivers.attached import AttachedCluster
from warrener.cluster.drivers.attached_record import RECORD, read_record
from warrener.cluster.drivers.config_scripts import Told, Value
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.errors import ClusterError
from warrener.cluster.mistakes import Mistake, SpecError
from warrener.cluster.passwords import password_to_attach
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.contexts import least
from warrener.cluster.tls.rotation import Act
from warrener.control.state_folder import StateFolder
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.options import Options
from warrener.daemon.report import DrivenNode
from warrener.facts.balance import Backend
from warrener.facts.booting import BootLook
from warrener.facts.capability import Can, Capabilities
from warrener.facts.happenings import EventSink, ProgressSink
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderMove, NotMoved, RateSample
from warrener.facts.places import Found, Lookup
from warrener.facts.replicas import Position, ReplicaMove
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.tls import TlsPart, TlsSettings
from warrener.management import listeners as api
from warrener.management.answers import number
from warrener.management.client import ManagementClient, ManagementError
from warrener.management.metrics import MetricsPlace

log = structlog.get_logger(__name__)


def refuse_mixed(spec: ClusterSpec, folder: StateFolder) -> None:
    """A folder that is attached to a cluster starts none of its own. Raises DaemonError."""
    if spec.attach is not None:
        return
    try:
        record = read_record(folder.path)
    except ClusterError as error:
        raise DaemonError(str(error)) from None
    if record is not None:
        raise DaemonError(
            f"{folder.path} was attached to the cluster {record.cluster_name} at "
            f"{record.urls[0]}, which somebody else runs: `warrener up --attach {record.urls[0]} "
            f"--user {record.user}` attaches to it again; --state DIR chooses another folder for a "
            f"cluster of your own",
            exit_code=BAD_INPUT,
        )


def is_attached(state: Path) -> bool:
    """Whether the folder belongs to a cluster that somebody else runs."""
    return (state / RECORD).exists()


def make_attached(
    spec: ClusterSpec,
    options: Options,
    state: Path,
    *,
    progress: ProgressSink,
    on_event: EventSink,
) -> "Attached":
    """The cluster that ``spec.attach`` says, not asked yet. ``DaemonError`` for what is missing."""
    attach = spec.attach
    assert attach is not None
    if not attach.user:
        raise DaemonError(
            "whom to log in as isn't said: give --user NAME, or user under [attach]",
            exit_code=BAD_INPUT,
        )
    folder = options.file.parent if options.file is not None else Path()
    try:
        trust = Trust(attach, spec.tls)
        password = options.password or password_to_attach(
            attach, source=spec.source or "[attach]", folder=folder, environment=os.environ
        )
    except SpecError as error:
        raise DaemonError(str(error), exit_code=BAD_INPUT) from None
    if not password:
        raise DaemonError(
            f"the password of user {attach.user!r} isn't known: give --password-file FILE, set "
            f'WARRENER_PASSWORD, or write password = {{ env = "NAME" }} or {{ file = "PATH" }} '
            f"under [attach]",
            exit_code=BAD_INPUT,
        )
    cluster = AttachedCluster(
        attach,
        password,
        state,
        tls=trust.web,
        balancer=spec.balancer,
        speaks=spec.tls,
        progress=progress,
        on_event=on_event,
        now=time.time,
    )
    return Attached(spec, cluster, trust)


class Trust:
    """What the nodes' certificates are verified with: the file that the description names, or the
    system's. SpecError if the file can't be used."""

    def __init__(self, attach: Attach, speaks: TlsSettings) -> None:
        self._ca = attach.ca
        self._web = any(url.startswith("https:") for url in attach.urls)
        self._least = least(speaks.min_version) if speaks.has(TlsPart.LINKS) else None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.reload()

    def reload(self) -> None:
        """What is in the file now counts for connections from here on."""
        made = {}
        try:
            if self._web:
                made["web"] = ssl.create_default_context(cafile=self._ca)
            if self._least is not None:
                made["links"] = ssl.create_default_context(cafile=self._ca)
                made["links"].minimum_version = self._least
        except (OSError, ssl.SSLError) as error:
            text = f"{self._ca} can't be used: {error.strerror or error}"
            allowed = "a file with certificates in PEM form"
            raise SpecError("--ca", [Mistake("attach.ca", text, allowed)]) from None
        self._contexts = made

    @property
    def web(self) -> Callable[[], ssl.SSLContext] | None:
        """For https; None: no URL has it."""
        return (lambda: self._contexts["web"]) if self._web else None

    @property
    def links(self) -> Callable[[], ssl.SSLContext] | None:
        """For the nodes' AMQP ports; None: they are spoken to without TLS."""
        return (lambda: self._contexts["links"]) if self._least is not None else None


class Attached:
    """See the module."""

    def __init__(self, spec: ClusterSpec, cluster: AttachedCluster, trust: Trust) -> None:
        self.spec = spec
        self.trust = trust
        self._cluster = cluster
        # Certificates for the balancer; those of the nodes are somebody else's.
        self.tls = ClusterTls(spec.tls, cluster.state, cluster=spec.name, host=spec.balancer.host)
        self.configuration = AttachedConfiguration(cluster)

    @property
    def capabilities(self) -> Capabilities:
        return self._cluster.capabilities

    @property
    def name(self) -> str:
        return self._cluster.name or self.spec.name

    @property
    def balancer_port(self) -> int:
        if self.tls.has(TlsPart.CLIENTS):
            return self._cluster.tls_port
        return self._cluster.balancer_port

    @property
    def telemetry_ports(self) -> tuple[int, int]:
        return self._cluster.telemetry_ports

    @property
    def plain_port(self) -> int:
        return self._cluster.balancer_port

    async def perform_tls(self, act: Act) -> None:
        try:
            await asyncio.to_thread(self.tls.perform, act)
        except ClusterError as error:
            raise DaemonError(str(error)) from error

    async def reload_tls(self) -> None:
        """The nodes' certificates are somebody else's, but with what they are verified may be
        another file's content now."""
        try:
            self.trust.reload()
            self.tls.reload()
        except (SpecError, ClusterError) as error:
            raise DaemonError(str(error)) from error

    async def prepare(self) -> None:
        try:
            await self._cluster.prepare()
            try:
                self.tls.prepare()
            except ClusterError:
                await self._cluster.stop()
                raise
        except ClusterError as error:
            raise DaemonError(str(error)) from error

    async def start(self) -> None:
        """It runs already."""

    async def stop(self, *, discard: bool = False) -> None:
        await self._cluster.stop()

    # -- nodes

    async def hand_over_node(self, name: NodeName) -> None:
        """Leaders stay: the API can't move them."""

    async def drain_node(self, name: NodeName) -> None:
        try:
            self._cluster.drain(name)
        except ClusterError as error:
            raise DaemonError(str(error)) from error

    async def revive_node(self, name: NodeName) -> None:
        try:
            self._cluster.revive(name)
        except ClusterError as error:
            raise DaemonError(str(error)) from error

    async def drained_nodes(self) -> frozenset[NodeName]:
        return self._cluster.drained_nodes()

    async def restart_node(self, name: NodeName, timeout: float) -> None:
        self._impossible(Can.RESTART_NODE)

    async def boot_look(self, name: NodeName) -> BootLook:
        self._impossible(Can.RESTART_NODE)

    async def stop_app(self, name: NodeName) -> None:
        self._impossible(Can.STOP_APP)

    async def start_app(self, name: NodeName) -> None:
        self._impossible(Can.START_APP)

    async def add_node(self, name: NodeName | None, timeout: float) -> NodeName:
        self._impossible(Can.ADD_NODE)

    async def remove_node(self, name: NodeName) -> None:
        self._impossible(Can.REMOVE_NODE)

    async def replace_node(self, name: NodeName, timeout: float) -> None:
        self._impossible(Can.REPLACE_NODE)

    async def add_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        self._impossible(Can.ADD_NODE)

    async def delete_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        self._impossible(Can.REMOVE_NODE)

    async def replica_positions(self, moves: Sequence[ReplicaMove]) -> list[Position]:
        self._impossible(Can.ADD_NODE)

    def unspread(self) -> Sequence[NodeName]:
        return ()

    def spread(self, name: NodeName) -> None:
        """Replicas on new nodes are whoever's who adds them."""

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        self._impossible(Can.UPGRADE)

    def installation_of(self, name: NodeName) -> Installation:
        self._impossible(Can.UPGRADE)

    def try_installation(self, name: NodeName, path: Path) -> None:
        self._impossible(Can.UPGRADE)

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        self._impossible(Can.UPGRADE)

    def rename(self, name: str) -> None:
        pass  # its nodes' files are theirs

    async def set_plugins(self, names: Sequence[str]) -> None:
        self._impossible(Can.PLUGINS)

    def plugins(self) -> frozenset[str]:
        return self._cluster.plugins()

    # -- leaders

    def metrics_places(self) -> Sequence[MetricsPlace]:
        return self._cluster.metrics_places()

    async def cpu_shares(self) -> Mapping[NodeName, float]:
        return {}  # their hosts are out of reach; the history goes by what nodes tell

    async def measure_rates(self, seconds: float) -> RateSample:
        return await self._cluster.measure_rates(seconds)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> Sequence[NotMoved]:
        self._impossible(Can.MOVE_LEADERS)

    def _impossible(self, can: Can) -> NoReturn:
        raise DaemonError(self.capabilities.why_not(can))

    # -- what is there

    def management(self) -> Sequence[ManagementClient]:
        return [client for _, client in self._cluster.management_clients()]

    def nodes(self) -> Sequence[DrivenNode]:
        return self._cluster.nodes()

    def backends(self) -> tuple[Backend, ...]:
        return self._cluster.backends()

    def unreachable(self) -> Mapping[NodeName, str]:
        """Running nodes that nobody knows how to connect to, and why."""
        return self._cluster.unreachable()

    def credentials(self) -> tuple[str, str]:
        return self._cluster.credentials()

    def version(self) -> str:
        return self._cluster.version

    async def look(self, *, whole: bool = False) -> ClusterSnapshot:
        return await self._cluster.look()

    async def look_up(self, lookup: Lookup) -> Found:
        """None also if nobody answers."""
        try:
            return await self._cluster.look_up(lookup)
        except ManagementError as error:
            log.debug("look_up_failed", kind=lookup.kind, name=lookup.name, error=str(error))
            return None


_NUMBER: Final = (Datatype("integer"),)
_TEXT: Final = (Datatype("string"),)

_TOLD: Final = (
    Known("listeners.tcp.default", "rabbit.tcp_listeners", _NUMBER),
    Known("listeners.ssl.default", "rabbit.ssl_listeners", _NUMBER),
    Known("management.tcp.port", "rabbitmq_management.tcp_config.port", _NUMBER),
    Known("management.ssl.port", "rabbitmq_management.ssl_config.port", _NUMBER),
    Known("prometheus.tcp.port", "rabbitmq_prometheus.tcp_config.port", _NUMBER),
    Known("cluster_name", "rabbit.cluster_name", _TEXT),
    Known("vm_memory_high_watermark.absolute", "rabbit.vm_memory_high_watermark", _NUMBER),
    Known("vm_memory_calculation_strategy", "rabbit.vm_memory_calculation_strategy", _TEXT),
    Known("disk_free_limit.absolute", "rabbit.disk_free_limit", _NUMBER),
    Known("net_ticktime", "kernel.net_ticktime", _NUMBER),
    Known("management.rates_mode", "rabbitmq_management.rates_mode", _TEXT),
)
"""What the management API tells of a node's configuration."""

_PROTOCOLS: Final[Mapping[str, str]] = {
    "rabbit.tcp_listeners": "amqp",
    "rabbit.ssl_listeners": "amqp/ssl",
    "rabbitmq_management.tcp_config.port": "http",
    "rabbitmq_management.ssl_config.port": "https",
    "rabbitmq_prometheus.tcp_config.port": "http/prometheus",
}


class AttachedConfiguration:
    """A node's configuration as far as the management API tells: values in force, no files."""

    described: Mapping[str, str] = {}
    chosen: Mapping[str, str] = {}

    def __init__(self, cluster: AttachedCluster) -> None:
        self._cluster = cluster

    @property
    def schema(self) -> Schema:
        return Schema.of(self._cluster.version, _TOLD)

    def own(self, name: NodeName) -> Mapping[str, str]:
        return {}

    def settings(
        self, name: NodeName, chosen: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        return {}

    def running(self) -> list[NodeName]:
        return list(self._cluster.settings())

    async def values(self, name: NodeName, targets: Iterable[str]) -> Told:
        """Of the last look, a few seconds old at most."""
        found = self._cluster.settings().get(name)
        if found is None:
            raise DaemonError(f"{name} doesn't run")
        node, listeners = found
        values = {}
        for target in targets:
            text = _in_force(target, node, listeners, self._cluster.name)
            values[target] = Value(text, None, same=True)
        loaded = {one.target.partition(".")[0] for one in _TOLD}
        return Told(values, frozenset(loaded), "")

    # -- what takes the hosts

    def describe(self, key: str, value: str | None) -> None:
        self._impossible()

    def record(self, chosen: Mapping[str, str]) -> None:
        self._impossible()

    def write_file(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> None:
        self._impossible()

    async def check(
        self, name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]
    ) -> Told:
        self._impossible()

    async def apply(self, name: NodeName, targets: Sequence[str]) -> None:
        self._impossible()

    def _impossible(self) -> NoReturn:
        raise DaemonError(self._cluster.capabilities.why_not(Can.CONFIGURE))


def _in_force(
    target: str, node: api.WholeNode, listeners: Sequence[api.Listener], cluster_name: str
) -> str | None:
    """One setting, as Erlang prints it; None where the API doesn't tell or there is none."""
    if target in _PROTOCOLS:
        ports = [str(one.port) for one in listeners if one.protocol == _PROTOCOLS[target]]
        return ", ".join(dict.fromkeys(ports)) or None
    match target:
        case "rabbit.cluster_name":
            return cluster_name
        case "rabbit.vm_memory_high_watermark":
            return _whole(node.mem_limit)
        case "rabbit.disk_free_limit":
            return _whole(node.disk_free_limit)
        case "rabbit.vm_memory_calculation_strategy":
            return _word(node.mem_calculation_strategy)
        case "kernel.net_ticktime":
            return _whole(node.net_ticktime)
        case "rabbitmq_management.rates_mode":
            return _word(node.rates_mode)
    raise AssertionError(f"the API isn't asked for {target}")


def _whole(value: object) -> str | None:
    return str(number(value)) if number(value) else None


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None
