"""A cluster of private RabbitMQ nodes that Warrener runs, wherever they are: started, stopped, and
what it takes in between.

    start   leftovers of a killed daemon are stopped -> ports are claimed -> files are written
            -> epmd -> all nodes at once, each looking for its peers -> each serves and sees all
    stop    all nodes at once, in order, by force after a while -> epmd -> ports are let go

The nodes form the cluster by themselves (``classic_config`` peer discovery; why, and what it costs:
docs/decisions/0003-forming-the-cluster.md). They boot at once also when they have been a cluster
before: each waits for the tables of the one that stopped last, whichever that was.

Nothing is read from a machine's own RabbitMQ; the password is in private files only. Subclasses say
on which machines the nodes are (``local``, ``ssh``); what is done to a cluster that runs is in
``running``.
"""

import asyncio
import contextlib
import os
import secrets
from abc import abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from warrener.cluster.catalogue.schema import Schema
from warrener.cluster.drivers.configuration import Configuration
from warrener.cluster.drivers.epmd import Epmd
from warrener.cluster.drivers.host import Host
from warrener.cluster.drivers.installation import Installation
from warrener.cluster.drivers.node import LocalNode, Node
from warrener.cluster.drivers.node_config import (
    ADVANCED_IS_OURS,
    advanced_config,
    environment,
    node_files,
    own_settings,
)
from warrener.cluster.drivers.ports import (
    USUAL_AMQPS_PORT,
    ClusterPorts,
    NodePorts,
    claim_balancer_port,
)
from warrener.cluster.drivers.private_files import (
    Credentials,
    PrivateFiles,
    Record,
    write_private,
)
from warrener.cluster.drivers.processes import Child, mark
from warrener.cluster.drivers.running import Running, finish
from warrener.cluster.drivers.survivors import going_on_without
from warrener.cluster.drivers.upkeep import Upkeep
from warrener.cluster.errors import (
    BootFailed,
    BootSilent,
    ClusterError,
    StartFailed,
)
from warrener.cluster.members import (
    StartPlan,
    by_number,
    plan,
)
from warrener.cluster.spec import ClusterSpec
from warrener.cluster.tls.cluster import ClusterTls
from warrener.facts.balance import Backend
from warrener.facts.happenings import Event, EventSink, Progress, ProgressSink
from warrener.facts.ids import NodeName, short_name
from warrener.facts.reasons import NodeState
from warrener.management.client import ManagementClient

START_TIMEOUT: Final = 120.0
"""Seconds for the whole cluster to come up. Three nodes take 8 to 25 s on two cores; a restart
after a crash replays what the queues hold."""

UNCERTAIN_TIMEOUT: Final = 60.0
"""Seconds, once the others serve, for a node to turn out to be a member. One that is boots as they
do, in 10 s."""

_T = TypeVar("_T")


class DrivenCluster(Running):
    """The cluster whose state is in the folder ``state``, wherever its nodes run: subclasses say
    on which hosts. One at a time drives a folder; all methods belong to one event loop."""

    def __init__(
        self,
        spec: ClusterSpec,
        state: Path,
        *,
        progress: ProgressSink,
        on_event: EventSink,
        start_timeout: float = START_TIMEOUT,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``settings``: keys of rabbitmq.conf that the cluster's description sets, checked."""
        self.spec = spec
        self.state = state.absolute()
        self._progress = progress
        self._on_event = on_event
        self._start_timeout = start_timeout
        self._files = PrivateFiles(self.state)
        self.configuration = Configuration(self._files, settings or {}, self._schema)
        self.tls = ClusterTls(spec.tls, self.state, cluster=spec.name, host=spec.balancer.host)
        self._record: Record | None = None
        self._ports: ClusterPorts | None = None
        self._nodes: dict[NodeName, Node] = {}
        self._upkeep: Upkeep | None = None
        self._epmds: list[Epmd] = []
        self._plan: StartPlan | None = None
        self._holds = contextlib.ExitStack()  # locks of the folder and of ports
        self._balancer_port: int | None = None
        self._tls_port: int | None = None

    # -- what it is

    @property
    def version(self) -> str:
        """The installation's version of RabbitMQ."""
        return self.installation.version

    @property
    def ports(self) -> ClusterPorts:
        """The block of ports; claimed by ``start``, the first time by ``prepare``."""
        assert self._ports is not None, "prepare() first"
        return self._ports

    @property
    def telemetry_ports(self) -> tuple[int, int]:
        """Where the daemon's metrics and a Prometheus may listen: nobody has locked these."""
        return self.ports.metrics, self.ports.prometheus

    @property
    def balancer_port(self) -> int:
        """Where a balancer should listen: the port from warrener.toml, else the one of last time,
        5672, or one of the block. Chosen when first asked for; held against other Warreners until
        ``stop``. ``prepare`` comes first. Raises PortTaken."""
        assert self._record is not None, "prepare() first"
        if self._balancer_port is None:
            self._balancer_port, lock = claim_balancer_port(
                self.spec.balancer.host,
                wanted=self.spec.balancer.port,
                last=self._record.balancer_port,
                spares=self.ports.spares,
            )
            self._holds.callback(lock.release)
            self._remember(balancer_port=self._balancer_port)
        return self._balancer_port

    @property
    def tls_port(self) -> int:
        """Where a balancer should listen with TLS, chosen as ``balancer_port`` is. Raises
        PortTaken."""
        assert self._record is not None, "prepare() first"
        if self._tls_port is None:
            self._tls_port, lock = claim_balancer_port(
                self.spec.balancer.host,
                wanted=self.spec.balancer.tls_port,
                last=self._record.tls_port,
                spares=self.ports.spares,
                usual=USUAL_AMQPS_PORT,
                key="tls_port",
            )
            self._holds.callback(lock.release)
            self._remember(tls_port=self._tls_port)
        return self._tls_port

    def nodes(self) -> tuple[LocalNode, ...]:
        """Every node as it is now; before ``prepare`` there is none."""
        return tuple(node.view() for node in self._nodes.values())

    def backends(self) -> tuple[Backend, ...]:
        """Where each node serves AMQP."""
        return tuple(
            Backend(node.name, node.host.address, node.ports.amqp, self._server_name(node.name))
            for node in self._nodes.values()
        )

    def _server_name(self, name: NodeName) -> str:
        verify = self.tls.link(name)
        return "" if verify is None else verify.server_name

    def credentials(self) -> tuple[str, str]:
        """User and password of an administrator."""
        found = self._files.credentials()
        return found.user, found.password

    def management_clients(self) -> tuple[tuple[NodeName, ManagementClient], ...]:
        """A client for each node's management API. They are closed by ``stop``."""
        return tuple((node.name, node.client) for node in self._nodes.values())

    # -- start

    async def prepare(self) -> None:
        """Makes everything ready to start: folder, lock, ports, files. ``start`` does this if it
        wasn't done; alone it serves who needs the ports first. ``stop`` undoes it.
        """
        if self._record is not None:
            return
        try:
            await self._find_installation()
            self._files.prepare()
            self._holds.callback(os.close, self._files.lock())
            record = self._files.read_record() or Record(id=secrets.token_hex(8))
            record = await self._reach_hosts(record)
            self._plan = await self._start_plan(record)
            if record.base is not None:
                await self._stop_leftovers(record)
            await self._claim_ports(record)
            record = msgspec.structs.replace(
                record,
                base=self.ports.base,
                rabbitmq=self.installation.version,
            )
            self._files.write_record(record)
            self._record = record
            await self._write_files(record)
        except OSError as error:
            await self._let_go()
            raise ClusterError(
                f"the state folder {self.state} can't be used: {error}; choose another with "
                f"--state DIR"
            ) from error
        except BaseException:
            await finish(self._let_go())
            raise

    async def start(self) -> None:
        """Starts all nodes; returns when each serves and sees all the others.

        Raises a ClusterError, and leaves nothing running then; the same when it is cancelled.
        """
        if self._epmds:
            return  # runs
        await self.prepare()
        record = self._record
        assert record is not None
        try:
            hosts = {node.host: node for node in self._nodes.values()}
            self._epmds = [self._make_epmd(host, node.name) for host, node in hosts.items()]
            await _all([epmd.start(self._on_event) for epmd in self._epmds])
            await self._start_nodes()
        except BaseException:
            await self._call_off(record)
            raise

    async def _start_nodes(self) -> None:
        """Members at once, then those to come: a node that is new has to find a running cluster,
        or it would found its own."""
        assert self._plan is not None
        plan = self._plan
        deadline = asyncio.get_running_loop().time() + self._start_timeout
        for name in plan.lost:
            self._nodes[name].state = NodeState.LOST
            self._progress(Progress(short_name(name), "has lost its data", failed=True))
            self._on_event(Event("node.data_lost", name))
        for name in plan.uncertain:
            await self._nodes[name].launch()
        serving = list(plan.known)
        new = list(plan.new)
        if plan.known:
            nodes = [self._nodes[name] for name in plan.known]
            await self._boot(nodes, plan.known, deadline, without=(*plan.lost, *plan.gone))
            for name in plan.uncertain:
                if name != plan.leaving and await self._turned_out_well(name, serving):
                    serving.append(name)
                else:
                    await self._nodes[name].stop()
            cleared = [name for name in (*plan.uncertain, *plan.gone) if name not in serving]
            await self._membership().forget([*cleared, *new])
            for name in cleared:
                await self._clear(name)
            new += [name for name in cleared if name in plan.wanted]
        if new:
            nodes = [self._nodes[name] for name in new]
            await self._boot(nodes, [*serving, *new], deadline)
            if plan.known:
                await self._membership().streams_follow()
        members = by_number((*serving, *new, *plan.lost))
        self._write_configs()
        came = [name for name in (*plan.uncertain, *new) if name in members] if plan.known else []
        left = [name for name in self.unspread() if name in members]
        self._remember(
            members=members, joining=None, leaving=None, unspread=by_number((*left, *came))
        )

    async def _turned_out_well(self, name: NodeName, serving: Sequence[NodeName]) -> bool:
        """Whether a node that may have joined before Warrener was killed is in the cluster."""
        node = self._nodes[name]
        if node.state is not NodeState.STARTING:
            return False  # it has ended by itself
        try:
            await node.wait_serving([*serving, name], UNCERTAIN_TIMEOUT)
        except StartFailed:
            return False
        return True

    async def _clear(self, name: NodeName) -> None:
        """A node that was on its way is taken away, or prepared to join anew."""
        self._on_event(Event("node.cleared_away", name))
        files = node_files(self.state, name)
        host = self._host(name)
        if name in self._planned().wanted:
            await host.remove_folder(files.data)
            return
        node = self._nodes.pop(name, None)
        self.tls.forget_node(name)
        if node is not None:
            await node.client.close()
        await host.remove_folder(files.folder)
        self._files.remove_node(files.folder)
        await self._leave_host(name)

    async def _boot(
        self,
        nodes: Sequence[Node],
        expected: Sequence[NodeName],
        deadline: float,
        without: Sequence[NodeName] = (),
    ) -> None:
        """All at once, ``without`` those that have no data any more. What they exchange while they
        boot can cross, and one of them ends on it (RabbitMQ 3.10: it asks a node to enable a
        feature flag which that one doesn't know yet); so a node that ends by itself, or doesn't
        even begin, gets a second try, as a service manager would give it."""
        for node in nodes:
            await node.launch()
        limit = max(1.0, deadline - asyncio.get_running_loop().time())
        alone = len(expected) == 1
        coming = _all([self._come_up(node, expected, limit, alone) for node in nodes])
        if not without:
            return await coming
        ask = self._works().evaluate_on
        async with going_on_without(without, nodes, ask, self._progress, self._on_event):
            await coming

    async def _come_up(
        self, node: Node, expected: Sequence[NodeName], limit: float, alone: bool
    ) -> None:
        try:
            return await node.wait_serving(expected, limit, once=False)
        except BootFailed as error:
            if alone and not isinstance(error, BootSilent):
                raise
            await node.end_to_repeat(error)
        await node.launch()
        await node.wait_serving(expected, limit)

    # -- what runs beside the nodes

    def start_beside(
        self,
        part: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        output: Path,
        descriptors: Sequence[int] = (),
    ) -> Child:
        """Starts a process that belongs to the cluster without being a node of it. Whoever asks for
        it stops it; if nobody does, ``stop`` ends it, and the next start if a daemon was killed.
        OSError if the program can't be run."""
        assert self._record is not None, "prepare() first"
        return Child.start(
            part,
            arguments,
            environment={"PATH": self.installation.path}
            | mark(self._files.mark(self._record), part),
            folder=folder,
            output=output,
            descriptors=descriptors,
        )

    # -- stop

    async def stop(self, *, discard: bool = False) -> None:
        """Stops all nodes in order and at once, by force after a while. Cancelled: by force.
        ``discard``: by force as well; it is for a cluster whose data is removed afterwards.

        What is being done to a node is called off first: a restart must not start one again.
        """
        try:
            if self._upkeep is not None:
                await self._upkeep.end()
            if not discard:
                await _all([node.stop() for node in self._nodes.values()])
        finally:
            await finish(self._end())

    async def _call_off(self, record: Record) -> None:
        """After a failed or cancelled start. Nodes of a cluster that never was hold nothing."""
        self._progress(Progress("cluster", "is stopped again", failed=True))
        grace = 10.0 if record.members else 0.0
        await finish(self._stop_within(grace))

    async def _stop_within(self, grace: float) -> None:
        await asyncio.gather(*(node.stop(grace) for node in self._nodes.values()))
        await self._end()

    async def _end(self) -> None:
        """What is left when the nodes have stopped; also ends those that haven't."""
        epmds, self._epmds = self._epmds, []
        for epmd in epmds:
            await epmd.let_go()
        for node in self._nodes.values():
            node.kill()
            await node.stop(0)
            await node.client.close()
        if self._record is not None:
            await self._kill_everything(self._record)
        for epmd in epmds:
            await epmd.wait_gone()
        await self._let_go()

    async def _let_go(self) -> None:
        self._holds.close()
        self._record = None
        self._balancer_port = None
        self._tls_port = None

    # -- where its nodes run

    @abstractmethod
    async def _find_installation(self) -> None:
        """It has what is wanted of it; where it is on hosts that is found out later."""

    @abstractmethod
    async def _reach_hosts(self, record: Record) -> Record:
        """Each host can be asked, and is as it has to be; what is to be remembered of them."""

    @abstractmethod
    def _installation_of(self, name: NodeName) -> Installation: ...
    @abstractmethod
    def _schema(self) -> Schema: ...
    @abstractmethod
    def _node_ports(self, name: NodeName) -> NodePorts: ...

    @abstractmethod
    def _mark_on(self, host: Host, record: Record) -> str:
        """What marks the cluster's processes on a host."""

    @property
    @abstractmethod
    def _inherited(self) -> Mapping[str, str]:
        """The environment of which a node may get something."""

    @abstractmethod
    def _possible_names(self, record: Record) -> tuple[NodeName, ...]:
        """Of nodes that the cluster may have, in the order in which they come."""

    @abstractmethod
    async def _stop_leftovers(self, record: Record) -> None: ...
    @abstractmethod
    async def _claim_ports(self, record: Record) -> None: ...
    @abstractmethod
    async def _kill_everything(self, record: Record) -> None: ...

    # -- the pieces of a start

    async def _start_plan(self, record: Record) -> StartPlan:
        on_their_way = [name for name in (record.joining, record.leaving) if name is not None]
        return plan(
            record.members,
            joining=record.joining,
            leaving=record.leaving,
            without_data=[
                name
                for name in (*record.members, *on_their_way)
                if not await self._host(name).has_data(node_files(self.state, name), name)
            ],
            possible=self._possible_names(record),
            wanted=self.spec.nodes,
            given=self.spec.nodes_given,
            more_may_run=self.spec.more_may_run,
            folder=str(self.state),
        )

    def _planned(self) -> StartPlan:
        assert self._plan is not None
        return self._plan

    async def _write_files(self, record: Record) -> None:
        files = self._files
        credentials = files.credentials()
        files.prepare_cookie()
        self.tls.prepare()
        write_private(self.state / "rabbitmq-env.conf", b"")
        self._write_plugins(self.spec.plugins)
        for wrong in self.configuration.read():
            self._progress(Progress("config", f"left out: {wrong}", failed=True))
            self._on_event(Event("config.left_out", detail={"why": wrong}))
        self._nodes = {}
        for name in self._planned().names:
            if name in self._planned().new:
                # A start that was called off: half a database, nobody's data.
                await self._host(name).remove_folder(node_files(self.state, name).data)
            self._nodes[name] = self._make_node(name, record, credentials)
        self._write_configs()
        self._upkeep = Upkeep(self._nodes, self._progress)
        self.configuration.run_by(self._nodes, self._upkeep)

    def rename(self, name: str) -> None:
        """What the cluster is called from here on: each node that boots gives it the name that is
        in its file."""
        self.spec = replace(self.spec, name=name)
        self._write_configs()

    def _write_configs(self) -> None:
        """Every node's ``rabbitmq.conf``, for its next start: it depends on who the others are."""
        credentials = self._files.credentials()
        for node in self._nodes.values():
            own = own_settings(
                release=self._installation_of(node.name).release,
                cluster_name=self.spec.name,
                members=tuple(self._nodes),
                address=node.host.address,
                shared_by=self._nodes_on(node.host),
                ports=node.ports,
                user=credentials.user,
                password=credentials.password,
            )
            own = self.tls.node_settings(node.name, own)
            text = self.configuration.add_node(node.name, own)
            write_private(node.files.config, text.encode())
            self._write_advanced(node)

    def _write_advanced(self, node: Node) -> None:
        text = advanced_config(self._installation_of(node.name).release, node.host.address)
        path = node.files.advanced
        if text and (not path.is_file() or path.read_text().startswith(ADVANCED_IS_OURS)):
            write_private(path, text.encode())

    def _make_node(self, name: NodeName, record: Record, credentials: Credentials) -> Node:
        host = self._host(name)
        installation = self._installation_of(name)
        ports = self._node_ports(name)
        files = node_files(self.state, name)
        files.folder.mkdir(mode=0o700, exist_ok=True)
        self.tls.prepare_node(name, host.path)
        cluster_mark = self._mark_on(host, record)
        return Node(
            name,
            host=host,
            ports=ports,
            files=files,
            server=installation.server,
            environment=environment(
                name=name,
                files=node_files(host.path(self.state), name),
                address=host.address,
                distribution_port=ports.distribution,
                epmd_port=self.ports.epmd,
                path=installation.path,
                mark=mark(cluster_mark, short_name(name)),
                inherited=self._inherited,
                flags=self.tls.erlang_flags(name),
            ),
            cluster_mark=cluster_mark,
            client=ManagementClient(
                f"{self.tls.scheme}://{host.address}:{ports.management}",
                credentials.user,
                credentials.password,
                verify=self.tls.management(name),
            ),
            progress=self._progress,
            on_event=self._on_event,
            verify=self.tls.link(name),
        )

    def _make_epmd(self, host: Host, name: NodeName) -> Epmd:
        assert self._record is not None
        return Epmd(
            host,
            self._installation_of(name),
            port=self.ports.epmd,
            cluster_mark=self._mark_on(host, self._record),
            folder=self.state,
            log=self.state / "nodes" / "epmd.log",
        )

    def _nodes_on(self, host: Host) -> int:
        return sum(1 for node in self._nodes.values() if node.host is host)

    def _remember(self, **changes: object) -> None:
        assert self._record is not None
        changed = msgspec.structs.replace(self._record, **changes)
        if changed != self._record:
            self._record = changed
            self._files.write_record(changed)


async def _all(works: Sequence[Awaitable[None]]) -> None:
    """All of them at once; the first failure cancels the rest and is raised as itself."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if not tasks:
        return
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
