"""A cluster on this machine: nodes as child processes of Warrener, which share it and a block of
ports. Nothing listens anywhere but on loopback."""

import asyncio
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.driven import DrivenCluster
from warrener.cluster.drivers.host import Host, LocalHost
from warrener.cluster.drivers.installation import Installation, find_installation
from warrener.cluster.drivers.installations import Candidate, Installations, candidate
from warrener.cluster.drivers.leftovers import Leftover, find_leftovers, stop_leftovers
from warrener.cluster.drivers.ports import (
    NodePorts,
    claim_block,
    extended,
)
from warrener.cluster.drivers.private_files import (
    Record,
)
from warrener.cluster.drivers.processes import kill_marked
from warrener.cluster.drivers.running import finish
from warrener.cluster.drivers.schema_files import load_schema
from warrener.cluster.errors import (
    MembersDiffer,
    UnknownNode,
)
from warrener.cluster.members import (
    MAX_NODES,
    next_name,
    node_names,
    number_of,
)
from warrener.facts.happenings import Event, Progress
from warrener.facts.ids import NodeName, short_name


class LocalCluster(DrivenCluster):
    """A cluster on this machine. Its nodes share it, and a block of ports."""

    @property
    def installation(self) -> Installation:
        """The RabbitMQ that all nodes run, or are to. Raises RabbitMQMissing or ErlangMissing."""
        return self._installations.common(self._nodes)

    @functools.cached_property
    def _installations(self) -> Installations:
        return Installations(
            self.spec.rabbitmq,
            self._described,
            lambda: self._record or Record(id=""),
            self._remember,
        )

    @functools.cache  # noqa: B019  one cluster lives as long as its process
    def _described(self) -> Installation:
        """The one that the description leads to."""
        return find_installation(self.spec.rabbitmq, os.environ.get("PATH", ""))

    async def _find_installation(self) -> None:
        self._described().check_plugins(self.spec.plugins)

    def _installation_of(self, name: NodeName) -> Installation:
        return self._installations.of(name)

    # -- another RabbitMQ under its nodes

    async def look_at_installation(self, path: Path, names: Sequence[NodeName]) -> Candidate:
        """What is there to be known of the installation at ``path``. Takes half a second. Raises
        RabbitMQMissing or ErlangMissing."""
        settings = {**self.configuration.chosen, **self.configuration.described}
        return (await asyncio.to_thread(candidate, path, self.plugins(), settings))[1]

    def try_installation(self, name: NodeName, path: Path) -> None:
        """From its next start on a node runs the RabbitMQ at ``path``. ``settle_installation`` says
        whether it does. Raises RabbitMQMissing or ErlangMissing."""
        found = find_installation(path, os.environ.get("PATH", ""))
        self._installations.begin_trial(name, found)
        self._use(name, found)

    def settle_installation(self, name: NodeName, *, keep: bool) -> None:
        """The node serves with it; or its next start is with its old one again."""
        self._installations.end_trial(keep=keep)
        self._use(name, self._installations.of(name))
        self.configuration.forget_schema()

    def _use(self, name: NodeName, installation: Installation) -> None:
        self._nodes[name].server = installation.server
        self._write_configs()

    # -- where it is

    def _schema(self) -> Schema:
        installation = self.installation
        return load_schema(installation.root, installation.version, self.spec.plugins)

    async def _reach_hosts(self, record: Record) -> Record:
        if record.hosts:
            raise MembersDiffer(
                f"the cluster in {self.state} runs on other hosts ("
                f"{', '.join(host.host for host in record.hosts)}), and none is named; start it "
                f"with the warrener.toml that has them (-f FILE)"
            )
        return self._installations.settled(record)

    def _host(self, name: NodeName) -> Host:
        return self._this_machine

    @functools.cached_property
    def _this_machine(self) -> LocalHost:
        return LocalHost(self.state)

    def _mark_on(self, host: Host, record: Record) -> str:
        return self._files.mark(record)

    async def _kill_everything(self, record: Record) -> None:
        await asyncio.to_thread(kill_marked, self._files.mark(record))

    @property
    def _inherited(self) -> Mapping[str, str]:
        return os.environ

    def _possible_names(self, record: Record) -> tuple[NodeName, ...]:
        return node_names(MAX_NODES)

    def _new_name(self, name: NodeName | None) -> NodeName:
        name = name if name is not None else next_name(self._nodes)
        if name is None:
            raise UnknownNode(f"the cluster has {MAX_NODES} nodes; more don't fit on one machine")
        if name not in self._nodes and name not in node_names(MAX_NODES):
            raise UnknownNode(f"a local node is n1 to n{MAX_NODES}, not '{short_name(name)}'")
        return name

    def find_leftovers(self) -> tuple[Leftover, ...]:
        """Processes of this cluster that no Warrener drives any more."""
        return find_leftovers(self.state)

    async def _stop_leftovers(self, record: Record) -> None:
        left = await asyncio.to_thread(find_leftovers, self.state)
        if not left:
            return
        parts = ", ".join(dict.fromkeys(one.part for one in left))
        self._progress(Progress("cluster", f"stops what a killed daemon left running: {parts}"))
        # To the end even if cancelled: the lock on the folder must not be let go before.
        count = await finish(asyncio.to_thread(stop_leftovers, self.state))
        self._on_event(Event("cluster.leftovers_stopped", detail={"processes": count}))

    async def _claim_ports(self, record: Record) -> None:
        before = record.base
        self._ports, lock = claim_block(
            number_of(self._planned().names[-1]),
            wanted=self.spec.base_port,
            last=before,
            seed=str(self.state),
        )
        self._holds.callback(lock.release)
        if before is not None and before != self._ports.base:
            self._on_event(
                Event("cluster.ports_moved", detail={"from": before, "to": self._ports.base})
            )

    async def _make_room(self, name: NodeName) -> None:
        self._ports = extended(self.ports, number_of(name))

    def _node_ports(self, name: NodeName) -> NodePorts:
        return self.ports.node(number_of(name))
