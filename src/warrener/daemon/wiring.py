"""The real parts behind the service: the local driver, the balancer, the description of both."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from warrener.balancer.shell.probe import ProbeLogin
from warrener.balancer.shell.server import BalancerServer
from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers import leftovers
from warrener.cluster.drivers.config_scripts import Told
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.local import LocalCluster
from warrener.cluster.drivers.node import LocalNode
from warrener.cluster.errors import ClusterError
from warrener.cluster.look_up import look_up
from warrener.cluster.mistakes import SpecError
from warrener.cluster.observe import observe
from warrener.cluster.spec import ClusterSpec, load_spec
from warrener.daemon.errors import BAD_INPUT, DaemonError
from warrener.daemon.parts import BalancerFactory
from warrener.facts.balance import Backend
from warrener.facts.happenings import EventSink, ProgressSink
from warrener.facts.ids import NodeName
from warrener.facts.places import Found, Lookup
from warrener.facts.snapshot import ClusterSnapshot
from warrener.management.client import ManagementError

log = structlog.get_logger(__name__)


def read_spec(file: Path | None, nodes: int | None) -> ClusterSpec:
    """The cluster that is wanted; ``DaemonError`` with every mistake and exit code 2."""
    try:
        spec = load_spec(file)
        return spec if nodes is None else spec.with_nodes(nodes)
    except SpecError as error:
        raise DaemonError(str(error), exit_code=BAD_INPUT) from error


def balancer_factory(spec: ClusterSpec, cluster: "Local", on_event: EventSink) -> BalancerFactory:
    """Makes the balancer once the cluster is prepared: it probes with the cluster's login."""

    def make(port: int) -> BalancerServer:
        login = ProbeLogin(*cluster.credentials())
        settings = replace(spec.balancer, port=port)
        return BalancerServer(
            settings, (), probe_login=login, on_event=on_event, look_up=cluster.look_up
        )

    return make


def stop_leftovers(state: Path) -> int:
    """Stops what a killed daemon left in a state folder; how many processes that were."""
    with _told():
        return leftovers.stop_leftovers(state)


def count_leftovers(state: Path) -> int:
    """How many processes a killed daemon has left."""
    with _told():
        return len(leftovers.find_leftovers(state))


class Local:
    """``cluster.drivers.local`` as the service's cluster; its errors become ``DaemonError``."""

    def __init__(
        self, spec: ClusterSpec, state: Path, *, progress: ProgressSink, on_event: EventSink
    ) -> None:
        self._cluster = LocalCluster(spec, state, progress=progress, on_event=on_event)
        self._asked_last: NodeName | None = None
        self.configuration = LocalConfiguration(self._cluster.configuration)

    @property
    def balancer_port(self) -> int:
        with _told():
            return self._cluster.balancer_port

    async def prepare(self) -> None:
        with _told():
            await self._cluster.prepare()

    async def start(self) -> None:
        with _told():
            await self._cluster.start()

    async def stop(self) -> None:
        with _told():
            await self._cluster.stop()

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

    async def drained_nodes(self) -> frozenset[NodeName]:
        with _told():
            return await self._cluster.drained_nodes()

    def nodes(self) -> Sequence[LocalNode]:
        return self._cluster.nodes()

    def backends(self) -> tuple[Backend, ...]:
        return self._cluster.backends()

    def credentials(self) -> tuple[str, str]:
        return self._cluster.credentials()

    def version(self) -> str:
        return self._cluster.version

    async def look(self) -> ClusterSnapshot:
        """Asks the node that answered last time first."""
        clients = self._cluster.management_clients()
        snapshot = await observe(clients, now=time.time, first=self._asked_last)
        self._asked_last = snapshot.source
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
