"""The real parts behind the service: the local driver, the balancer, the description of both."""

import asyncio
import contextlib
import importlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import structlog

from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.server import BalancerServer
from warrener.cluster.attach import Attach
from warrener.cluster.catalogue.check import WrongSetting, check_setting
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import leftovers
from warrener.cluster.drivers.config_scripts import Told
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.driven import DrivenCluster
from warrener.cluster.drivers.installation import Installation, find_installation
from warrener.cluster.drivers.installations import Candidate
from warrener.cluster.drivers.local import LocalCluster
from warrener.cluster.drivers.node import LocalNode
from warrener.cluster.drivers.private_files import PrivateFiles
from warrener.cluster.drivers.processes import Child
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.errors import ClusterError, HostUnreachable, StateBroken
from warrener.cluster.look_up import look_up
from warrener.cluster.mistakes import SpecError
from warrener.cluster.observe import observe, stagger_after, with_members
from warrener.cluster.spec import ClusterSpec, load_spec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.cluster.tls.rotation import Act
from warrener.daemon.attached import Attached, make_attached
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.haproxy import haproxy_factory, remove_files
from warrener.daemon.options import Options
from warrener.daemon.parts import BalancerFactory
from warrener.daemon.prometheus import Launcher
from warrener.daemon.tls import balancer_tls, with_ports
from warrener.facts.balance import Backend
from warrener.facts.booting import BootLook
from warrener.facts.capability import Capabilities
from warrener.facts.data_plane import DataPlane
from warrener.facts.happenings import EventSink, ProgressSink
from warrener.facts.ids import NodeName
from warrener.facts.leaders import LeaderMove, NotMoved, RateSample
from warrener.facts.places import Found, Lookup
from warrener.facts.replicas import Position, ReplicaMove
from warrener.facts.snapshot import ClusterSnapshot
from warrener.facts.tls import TlsPart
from warrener.management.client import ManagementClient, ManagementError
from warrener.management.metrics import MetricsPlace

if TYPE_CHECKING:
    from warrener.cluster.drivers.ssh_looks import Seen

log = structlog.get_logger(__name__)


def make_cluster(
    spec: ClusterSpec,
    options: Options,
    state: Path,
    *,
    progress: ProgressSink,
    on_event: EventSink,
) -> "Local | Attached":
    """The driver that the description asks for. ``DaemonError`` for what is missing."""
    if spec.attach is not None:
        return make_attached(spec, options, state, progress=progress, on_event=on_event)
    return Local(spec, state, progress=progress, on_event=on_event)


def read_spec(
    file: Path | None,
    nodes: int | None,
    data_plane: DataPlane | None = None,
    attach: Attach | None = None,
    *,
    auto_weights: bool = False,
) -> ClusterSpec:
    """The cluster that is wanted; ``DaemonError`` with every mistake and exit code 2."""
    try:
        spec = load_spec(file)
        spec = spec if attach is None else spec.with_attach(attach)
        spec = spec if data_plane is None else spec.with_data_plane(data_plane)
        spec = spec.with_auto_weights() if auto_weights else spec
        return spec if nodes is None else spec.with_nodes(nodes)
    except SpecError as error:
        raise DaemonError(str(error), exit_code=BAD_INPUT) from error


def balancer_factory(
    spec: ClusterSpec, cluster: "Local | Attached", on_event: EventSink, progress: ProgressSink
) -> BalancerFactory:
    """Makes the balancer once the cluster is prepared: it probes with the cluster's login."""
    if spec.balancer.data_plane is DataPlane.HAPROXY and isinstance(cluster, Local):
        return haproxy_factory(spec, cluster, on_event, progress)

    trust = cluster.trust.links if isinstance(cluster, Attached) else None

    def make(port: int) -> BalancerServer:
        login = ProbeLogin(*cluster.credentials())
        settings = with_ports(spec, cluster, port)
        return BalancerServer(
            settings,
            (),
            probe_login=login,
            on_event=on_event,
            look_up=cluster.look_up,
            tls=balancer_tls(cluster.tls, trust),
        )

    return make


def prometheus_launcher(cluster: "Local | Attached") -> Launcher | None:
    """How a Prometheus is started beside the cluster; None if it can't be: nobody would find one
    that a killed daemon left."""
    if not isinstance(cluster, Local):
        return None
    local = cluster

    def launch(part: str, arguments: Sequence[str], folder: Path, output: Path) -> Child:
        return local.start_beside(part, arguments, folder=folder, output=output)

    return launch


def stop_leftovers(state: Path) -> int:
    """Stops what a killed daemon left in a state folder; how many processes that were."""
    with _told():
        stopped = leftovers.stop_leftovers(state)
        if _has_hosts(state):
            stopped += asyncio.run(_ssh("ssh_leftovers").stop_leftovers(state))
    if stopped:
        remove_files(state)
    return stopped


def remove_from_hosts(state: Path) -> None:
    """Removes what a cluster that doesn't run has on other hosts, if it has any there."""
    with _told():
        if _has_hosts(state):
            asyncio.run(_ssh("ssh_leftovers").stop_leftovers(state, remove=True))


def _has_hosts(state: Path) -> bool:
    try:
        record = PrivateFiles(state).read_record()
    except StateBroken:
        return False
    return record is not None and bool(record.hosts)


def look_at_hosts(spec: ClusterSpec) -> "tuple[list[Seen], list[str]]":
    """What the hosts of a description are like, and what they should have in common and haven't.
    Nothing is changed there but that the folder for clusters is made."""
    looks = _ssh("ssh_looks")
    seen: list[Seen] = asyncio.run(looks.look_around(spec.hosts, spec.rabbitmq))
    return seen, looks.common(seen)


def _ssh(module: str) -> ModuleType:
    """The driver, loaded when it is needed: its cryptography takes 0.2 s at every start."""
    return importlib.import_module(f"warrener.cluster.drivers.{module}")


def count_leftovers(state: Path) -> int:
    """How many processes a killed daemon has left."""
    with _told():
        found = len(leftovers.find_leftovers(state))
        if _has_hosts(state):
            found += len(asyncio.run(_ssh("ssh_leftovers").find_leftovers(state)))
        return found


class Local:
    """``cluster.drivers`` as the service's cluster; its errors become ``DaemonError``."""

    def __init__(
        self, spec: ClusterSpec, state: Path, *, progress: ProgressSink, on_event: EventSink
    ) -> None:
        self.spec = spec
        self._cluster = _driven(spec, state, progress, on_event)
        self._asked_last: NodeName | None = None
        self._took = 0.0
        self.configuration = LocalConfiguration(self._cluster.configuration)

    @property
    def capabilities(self) -> Capabilities:
        return self._cluster.capabilities

    @property
    def name(self) -> str:
        return self.spec.name

    def unreachable(self) -> Mapping[NodeName, str]:
        return {}

    @property
    def balancer_port(self) -> int:
        with _told():
            if self.tls.has(TlsPart.CLIENTS):
                return self._cluster.tls_port
            return self._cluster.balancer_port

    @property
    def telemetry_ports(self) -> tuple[int, int]:
        return self._cluster.telemetry_ports

    @property
    def plain_port(self) -> int:
        """Where the balancer should listen without TLS, beside the port with it."""
        with _told():
            return self._cluster.balancer_port

    @property
    def tls(self) -> ClusterTls:
        return self._cluster.tls

    async def reload_tls(self) -> None:
        with _told():
            await self._cluster.reload_tls()

    async def perform_tls(self, act: Act) -> None:
        with _told():
            await asyncio.to_thread(self._cluster.tls.perform, act)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self._cluster.state

    def start_beside(
        self,
        part: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """A process that belongs to the cluster; OSError if it can't be run."""
        return self._cluster.start_beside(
            part, arguments, folder=folder, output=output, descriptors=descriptors
        )

    async def prepare(self) -> None:
        with _told():
            await self._cluster.prepare()

    async def start(self) -> None:
        with _told():
            await self._cluster.start()

    async def stop(self, *, discard: bool = False) -> None:
        with _told():
            await self._cluster.stop(discard=discard)

    async def hand_over_node(self, name: NodeName) -> None:
        with _told():
            await self._cluster.hand_over_node(name)

    async def drain_node(self, name: NodeName) -> None:
        with _told():
            await self._cluster.drain_node(name)

    async def revive_node(self, name: NodeName) -> None:
        with _told():
            await self._cluster.revive_node(name)

    async def restart_node(self, name: NodeName, timeout: float) -> None:
        with _told():
            await self._cluster.restart_node(name, timeout)

    async def boot_look(self, name: NodeName) -> BootLook:
        with _told():
            return await self._cluster.boot_look(name)

    async def stop_app(self, name: NodeName) -> None:
        with _told():
            await self._cluster.stop_app(name)

    async def start_app(self, name: NodeName) -> None:
        with _told():
            await self._cluster.start_app(name)

    async def add_node(self, name: NodeName | None, timeout: float) -> NodeName:
        with _told():
            return await self._cluster.add_node(name, timeout)

    async def remove_node(self, name: NodeName) -> None:
        with _told():
            await self._cluster.remove_node(name)

    async def replace_node(self, name: NodeName, timeout: float) -> None:
        with _told():
            await self._cluster.replace_node(name, timeout)

    def unspread(self) -> Sequence[NodeName]:
        return self._cluster.unspread()

    def spread(self, name: NodeName) -> None:
        with _told():
            self._cluster.spread(name)

    async def add_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        with _told():
            return await self._cluster.add_replicas(moves)

    async def delete_replicas(self, moves: Sequence[ReplicaMove]) -> dict[int, str]:
        with _told():
            return await self._cluster.delete_replicas(moves)

    async def replica_positions(self, moves: Sequence[ReplicaMove]) -> list[Position]:
        with _told():
            return await self._cluster.replica_positions(moves)

    async def drained_nodes(self) -> frozenset[NodeName]:
        with _told():
            return await self._cluster.drained_nodes()

    def metrics_places(self) -> Sequence[MetricsPlace]:
        return self._cluster.metrics_places()

    async def cpu_shares(self) -> Mapping[NodeName, float]:
        return await self._cluster.cpu_shares()

    async def measure_rates(self, seconds: float) -> RateSample:
        with _told():
            return await self._cluster.measure_rates(seconds)

    async def move_leaders(self, moves: Sequence[LeaderMove]) -> Sequence[NotMoved]:
        with _told():
            return await self._cluster.move_leaders(moves)

    def rename(self, name: str) -> None:
        self._cluster.rename(name)

    async def set_plugins(self, names: Sequence[str]) -> None:
        with _told():
            await self._cluster.set_plugins(names)

    def plugins(self) -> frozenset[str]:
        with _told():
            return self._cluster.plugins()

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        try:
            return await self._cluster.look_at_installation(path, names)
        except HostUnreachable as error:
            raise DaemonError(str(error)) from error
        except ClusterError as error:  # what is there isn't what was said
            raise DaemonError(str(error), exit_code=BAD_INPUT) from error

    def installation_of(self, name: NodeName) -> Installation:
        with _told():
            return self._cluster.installation_of(name)

    def try_installation(self, name: NodeName, path: Path) -> None:
        with _told():
            self._cluster.try_installation(name, path)

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        with _told():
            self._cluster.settle_installation(name, keep=keep)

    def management(self) -> Sequence[ManagementClient]:
        return [client for _, client in self._cluster.management_clients()]

    def nodes(self) -> Sequence[LocalNode]:
        return self._cluster.nodes()

    def backends(self) -> tuple[Backend, ...]:
        return self._cluster.backends()

    def credentials(self) -> tuple[str, str]:
        return self._cluster.credentials()

    def version(self) -> str:
        return self._cluster.version

    async def look(self, *, whole: bool = False) -> ClusterSnapshot:
        """Asks the node that answered last time first."""
        clients = self._cluster.management_clients()
        stagger = stagger_after(self._took)
        snapshot = await observe(clients, now=time.time, first=self._asked_last, stagger=stagger)
        self._asked_last = snapshot.source
        self._took = snapshot.took
        if whole:
            with _told():
                holdings = await self._cluster.holdings()
            held = {(one.vhost, one.queue): (one.leader, one.members) for one in holdings}
            return with_members(snapshot, held)
        return snapshot

    async def look_up(self, lookup: Lookup) -> Found:
        """Where one queue is, or one exchange leads; None also if no node answers."""
        try:
            self._asked_last, found = await look_up(
                self._cluster.management_clients(), lookup, first=self._asked_last
            )
        except ManagementError as error:
            log.debug("look_up_failed", kind=lookup.kind, name=lookup.name, error=str(error))
            return None
        return found


def _driven(
    spec: ClusterSpec, state: Path, progress: ProgressSink, on_event: EventSink
) -> DrivenCluster:
    with _told():
        if spec.hosts or _has_hosts(state):
            made: DrivenCluster = _ssh("ssh").SshCluster(
                spec, state, progress=progress, on_event=on_event
            )
            return made
    return LocalCluster(
        spec, state, progress=progress, on_event=on_event, settings=_described(spec)
    )


def _described(spec: ClusterSpec) -> dict[str, str]:
    """What warrener.toml sets in rabbitmq.conf, checked; ``DaemonError`` with every mistake."""
    if not spec.config:
        return {}
    with _told():
        installation = find_installation(spec.rabbitmq, os.environ.get("PATH", ""))
    schema = load_schema(installation.root, installation.version)
    settings, mistakes = {}, []
    for key, value in spec.config.items():
        try:
            settings[key] = check_setting(key, value, schema).value
        except WrongSetting as wrong:
            mistakes.append(f"  {wrong}")
    if mistakes:
        raise DaemonError(
            "\n".join([f"{spec.source}, [config], for RabbitMQ {schema.version}:", *mistakes]),
            exit_code=BAD_INPUT,
        )
    return settings


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ClusterError as error:
        raise DaemonError(str(error)) from error


class LocalConfiguration:
    """``cluster.drivers.configuration`` as the service's; its errors become ``DaemonError``."""

    def __init__(self, configuration: Configuration) -> None:
        self._it = configuration

    @property
    def schema(self) -> Schema:
        with _told():
            return self._it.schema

    @property
    def described(self) -> Mapping[str, str]:
        return self._it.described

    @property
    def chosen(self) -> Mapping[str, str]:
        return self._it.chosen

    def own(self, name: NodeName) -> Mapping[str, str]:
        return self._it.own(name)

    def settings(
        self, name: NodeName, chosen: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        return self._it.settings(name, chosen)

    def describe(self, key: str, value: str | None) -> None:
        self._it.describe(key, value)

    def record(self, chosen: Mapping[str, str]) -> None:
        with _told():
            self._it.record(chosen)

    def write_file(self, name: NodeName, chosen: Mapping[str, str] | None = None) -> None:
        with _told():
            self._it.write_file(name, chosen)

    def running(self) -> list[NodeName]:
        return self._it.running()

    async def values(self, name: NodeName, targets: Iterable[str]) -> Told:
        with _told():
            return await self._it.values(name, targets)

    async def check(
        self, name: NodeName, chosen: Mapping[str, str], targets: Iterable[str]
    ) -> Told:
        with _told():
            return await self._it.check(name, chosen, targets)

    async def apply(self, name: NodeName, targets: Sequence[str]) -> None:
        with _told():
            await self._it.apply(name, targets)
